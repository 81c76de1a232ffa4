//! Terms as expressions, and their values.

use std::cmp::Ordering;

use leveret_codec::Value as HeaderValue;

use super::effort::Effort;
use super::like::Pattern;
use super::term::Term;
use super::value::Value;

/// An expression. What no rule covers is its own value, as in RabbitMQ.
#[derive(Debug)]
pub(super) enum Expression {
    Literal(Term),
    /// A header by name.
    Header(Box<[u8]>),
    Undefined,
    Error,
    IsNull(Box<[u8]>),
    Not(Box<Self>),
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    /// The value first, then the bounds, both included.
    Between(Box<[Self; 3]>),
    Like(Box<Self>, Pattern),
    /// The sign alone, or the sign turned.
    Signed(Sign, Box<Self>),
    Binary(Operator, Box<[Self; 2]>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Sign {
    Plus,
    Minus,
    /// A word that is none.
    None,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    Add,
    Subtract,
    Multiply,
    Divide,
    /// A word that is none.
    None,
}

impl Operator {
    fn of(term: &Term) -> Self {
        let Term::Atom(word) = term else { return Self::None };
        match *word {
            "=" => Self::Equal,
            "<>" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            "in" => Self::In,
            "not_in" => Self::NotIn,
            "+" => Self::Add,
            "-" => Self::Subtract,
            "*" => Self::Multiply,
            "/" => Self::Divide,
            _ => Self::None,
        }
    }
}

impl Expression {
    /// What a term means. Terms are nested no deeper than they can be parsed.
    pub(super) fn of(term: Term) -> Self {
        let elements = match term {
            Term::Tuple(elements) => elements.into_vec(),
            other => return Self::Literal(other),
        };
        let elements = match <[Term; 2]>::try_from(elements) {
            Ok([operator, operand]) => return Self::of_two(&operator, operand),
            Err(elements) => elements,
        };
        let elements = match <[Term; 3]>::try_from(elements) {
            Ok([operator, left, right]) => return Self::of_three(&operator, left, right),
            Err(elements) => elements,
        };
        match <[Term; 4]>::try_from(elements) {
            Ok(elements) => Self::of_four(elements),
            Err(elements) => Self::Literal(Term::Tuple(elements.into())),
        }
    }

    fn of_two(operator: &Term, operand: Term) -> Self {
        let Term::Atom(word) = operator else { return Self::signed(Sign::None, operand) };
        match *word {
            "ident" => match operand {
                Term::Binary(name) => Self::Header(name),
                _ => Self::Undefined,
            },
            "not" => Self::Not(Box::new(Self::of(operand))),
            // Only a header can be missing.
            "is_null" => match header_name(operand) {
                Some(name) => Self::IsNull(name),
                None => Self::Literal(Term::Atom("false")),
            },
            "not_null" => match header_name(operand) {
                Some(name) => Self::Not(Box::new(Self::IsNull(name))),
                None => Self::Literal(Term::Atom("true")),
            },
            "+" => Self::signed(Sign::Plus, operand),
            "-" => Self::signed(Sign::Minus, operand),
            _ => Self::signed(Sign::None, operand),
        }
    }

    fn of_three(operator: &Term, left: Term, right: Term) -> Self {
        let both = |left, right| Box::new([Self::of(left), Self::of(right)]);
        match operator {
            Term::Atom("and") => return Self::And(both(left, right)),
            Term::Atom("or") => return Self::Or(both(left, right)),
            _ => {}
        }
        let Term::Tuple(range) = right else { return Self::binary(operator, left, right) };
        let range = match <[Term; 3]>::try_from(range.into_vec()) {
            Ok([Term::Atom("range"), from, to]) => {
                return Self::of_four([operator.clone(), left, from, to]);
            }
            Ok(range) => range.into(),
            Err(range) => range.into(),
        };
        Self::binary(operator, left, Term::Tuple(range))
    }

    fn of_four(elements: [Term; 4]) -> Self {
        match elements {
            [Term::Atom("between"), value, from, to] => {
                Self::Between(Box::new([value, from, to].map(Self::of)))
            }
            [Term::Atom("not_between"), value, from, to] => {
                let between = Self::Between(Box::new([value, from, to].map(Self::of)));
                Self::Not(Box::new(between))
            }
            [Term::Atom("like"), value, pattern, escape] => Self::like(value, &pattern, &escape),
            [Term::Atom("not_like"), value, pattern, escape] => {
                Self::Not(Box::new(Self::like(value, &pattern, &escape)))
            }
            other => Self::Literal(Term::Tuple(other.into())),
        }
    }

    fn like(value: Term, pattern: &Term, escape: &Term) -> Self {
        let Ok(pattern) = Pattern::compile(pattern, escape) else { return Self::Error };
        // A text or a header: nothing else is evaluated here.
        let value = match value {
            Term::Tuple(elements) => {
                let name = header_name(Term::Tuple(elements));
                name.map_or(Self::Error, Self::Header)
            }
            literal => Self::Literal(literal),
        };
        Self::Like(Box::new(value), pattern)
    }

    fn signed(sign: Sign, operand: Term) -> Self {
        Self::Signed(sign, Box::new(Self::of(operand)))
    }

    fn binary(operator: &Term, left: Term, right: Term) -> Self {
        let operands = Box::new([Self::of(left), Self::of(right)]);
        Self::Binary(Operator::of(operator), operands)
    }

    /// Its value for the headers that `header` looks up. It is none once the bound of `effort` is met.
    pub(super) fn evaluate<'a, 'h: 'a>(
        &'a self,
        header: &impl Fn(&[u8]) -> Option<HeaderValue<'h>>,
        effort: &Effort,
    ) -> Value<'a> {
        match self {
            Self::Literal(term) => Value::of_term(term),
            Self::Header(name) => header(name).map_or(Value::UNDEFINED, Value::of_header),
            Self::Undefined => Value::UNDEFINED,
            Self::Error => Value::ERROR,
            Self::IsNull(name) => Value::of_bool(header(name).is_none()),
            Self::Not(operand) => not(operand.evaluate(header, effort)),
            Self::And(operands) => {
                let [left, right] =
                    operands.each_ref().map(|operand| operand.evaluate(header, effort));
                and(left, right)
            }
            // One holds if not both don't.
            Self::Or(operands) => {
                let [left, right] =
                    operands.each_ref().map(|operand| operand.evaluate(header, effort));
                not(and(not(left), not(right)))
            }
            Self::Between(operands) => {
                let values = operands.each_ref().map(|operand| operand.evaluate(header, effort));
                if values.iter().any(|value| value.is_undefined()) {
                    return Value::UNDEFINED;
                }
                let [value, from, to] = values;
                Value::of_bool(from.compare(value).is_le() && value.compare(to).is_le())
            }
            Self::Like(operand, pattern) => match operand.evaluate(header, effort) {
                Value::Binary(text) => Value::of_bool(pattern.matches(text, effort)),
                value if value.is_undefined() => value,
                _ => Value::ERROR,
            },
            Self::Signed(sign, operand) => {
                let value = operand.evaluate(header, effort);
                match (sign, value) {
                    _ if value.is_undefined() => value,
                    (Sign::Plus, Value::Number(_)) => value,
                    (Sign::Minus, _) => value.calculate(value, |a, _| a.checked_neg(), |a, _| -a),
                    _ => Value::ERROR,
                }
            }
            Self::Binary(operator, operands) => {
                let [left, right] =
                    operands.each_ref().map(|operand| operand.evaluate(header, effort));
                if left.is_undefined() || right.is_undefined() {
                    return Value::UNDEFINED;
                }
                operate(*operator, left, right)
            }
        }
    }
}

fn operate<'a>(operator: Operator, left: Value<'a>, right: Value<'a>) -> Value<'a> {
    let holds = |is_so: fn(Ordering) -> bool| Value::of_bool(is_so(left.compare(right)));
    match operator {
        Operator::Equal => holds(Ordering::is_eq),
        Operator::NotEqual => holds(Ordering::is_ne),
        Operator::Less => holds(Ordering::is_lt),
        Operator::LessOrEqual => holds(Ordering::is_le),
        Operator::Greater => holds(Ordering::is_gt),
        Operator::GreaterOrEqual => holds(Ordering::is_ge),
        Operator::In => is_in(left, right),
        Operator::NotIn => not_known(is_in(left, right)),
        Operator::Add => left.calculate(right, i128::checked_add, |a, b| a + b),
        Operator::Subtract => left.calculate(right, i128::checked_sub, |a, b| a - b),
        Operator::Multiply => left.calculate(right, i128::checked_mul, |a, b| a * b),
        Operator::Divide => left.divide(right),
        Operator::None => Value::ERROR,
    }
}

fn is_in<'a>(value: Value<'a>, list: Value<'a>) -> Value<'a> {
    let Value::List(elements) = list else { return Value::ERROR };
    Value::of_bool(elements.iter().any(|element| value.is(Value::of_term(element))))
}

/// The opposite of what is true or false, and an error of anything else.
fn not_known(value: Value<'_>) -> Value<'_> {
    if value == Value::ERROR { value } else { not(value) }
}

fn not(value: Value<'_>) -> Value<'_> {
    if value == Value::TRUE {
        Value::FALSE
    } else if value == Value::FALSE {
        Value::TRUE
    } else {
        Value::UNDEFINED
    }
}

fn and<'a>(left: Value<'a>, right: Value<'a>) -> Value<'a> {
    if left == Value::FALSE || right == Value::FALSE {
        Value::FALSE
    } else if left == Value::TRUE && right == Value::TRUE {
        Value::TRUE
    } else {
        Value::UNDEFINED
    }
}

/// The name in `{ident,<<"name">>}`.
fn header_name(term: Term) -> Option<Box<[u8]>> {
    let Term::Tuple(elements) = term else { return None };
    match <[Term; 2]>::try_from(elements.into_vec()) {
        Ok([Term::Atom("ident"), Term::Binary(name)]) => Some(name),
        _ => None,
    }
}
