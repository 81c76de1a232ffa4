//! What expressions come to, compared and calculated with as Erlang does it.

use std::cmp::Ordering;

use leveret_codec::Value as HeaderValue;

use super::term::Term;

/// A value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Number(Number),
    /// `true`, `false`, `undefined`, `error`, or a word.
    Atom(&'static str),
    Tuple(&'a [Term]),
    List(&'a [Term]),
    Binary(&'a [u8]),
}

/// A number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Integer(i128),
    /// Never infinite, nor no number.
    Float(f64),
}

impl<'a> Value<'a> {
    pub(super) const TRUE: Self = Self::Atom("true");
    pub(super) const FALSE: Self = Self::Atom("false");
    /// Of a header that isn't there, and of what depends on it.
    pub(super) const UNDEFINED: Self = Self::Atom("undefined");
    /// Of what means nothing.
    pub(super) const ERROR: Self = Self::Atom("error");

    pub(super) const fn of_bool(value: bool) -> Self {
        if value { Self::TRUE } else { Self::FALSE }
    }

    pub(super) fn of_term(term: &'a Term) -> Self {
        match term {
            Term::Integer(integer) => Self::Number(Number::Integer(*integer)),
            Term::Float(float) => Self::Number(Number::Float(*float)),
            Term::Atom(name) => Self::Atom(name),
            Term::Binary(bytes) => Self::Binary(bytes),
            Term::Tuple(elements) => Self::Tuple(elements),
            Term::List(elements) => Self::List(elements),
        }
    }

    /// A header's value, if it is of a type that selectors know.
    pub(super) fn of_header(value: HeaderValue<'a>) -> Self {
        match value {
            HeaderValue::LongStr(bytes) => Self::Binary(bytes),
            HeaderValue::Bool(value) => Self::of_bool(value),
            HeaderValue::F32(float) => Self::of_float(float.into()),
            HeaderValue::F64(float) => Self::of_float(float),
            other => match other.as_integer() {
                Some(integer) => Self::Number(Number::Integer(integer)),
                None => Self::ERROR,
            },
        }
    }

    fn of_float(float: f64) -> Self {
        if float.is_finite() { Self::Number(Number::Float(float)) } else { Self::ERROR }
    }

    pub(super) fn is_undefined(self) -> bool {
        self == Self::UNDEFINED
    }

    /// Erlang's order of all terms: numbers, atoms, tuples, lists, binaries. An integer and a
    /// float of one value are equal in it.
    pub(super) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.compare(b),
            (Self::Atom(a), Self::Atom(b)) => a.cmp(b),
            (Self::Tuple(a), Self::Tuple(b)) => {
                a.len().cmp(&b.len()).then_with(|| compare_each(a, b))
            }
            (Self::List(a), Self::List(b)) => {
                compare_each(a, b).then_with(|| a.len().cmp(&b.len()))
            }
            (Self::Binary(a), Self::Binary(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Atom(_) => 1,
            Self::Tuple(_) => 2,
            Self::List(_) => 3,
            Self::Binary(_) => 4,
        }
    }

    /// Whether the two are one and the same: an integer is no float.
    pub(super) fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::Number(Number::Integer(a)), Self::Number(Number::Integer(b))) => a == b,
            (Self::Number(Number::Float(a)), Self::Number(Number::Float(b))) => a == b,
            (Self::Number(_), _) | (_, Self::Number(_)) => false,
            (Self::Tuple(a), Self::Tuple(b)) | (Self::List(a), Self::List(b)) => a == b,
            _ => self.compare(other) == Ordering::Equal,
        }
    }

    /// Two numbers calculated with; anything else is an error.
    pub(super) fn calculate(
        self,
        other: Self,
        integers: impl Fn(i128, i128) -> Option<i128>,
        floats: impl Fn(f64, f64) -> f64,
    ) -> Self {
        let (Self::Number(a), Self::Number(b)) = (self, other) else { return Self::ERROR };
        if let (Number::Integer(a), Number::Integer(b)) = (a, b)
            && let Some(result) = integers(a, b)
        {
            return Self::Number(Number::Integer(result));
        }
        Self::of_float(floats(a.as_float(), b.as_float()))
    }

    /// A division, which always comes to a float; by zero it comes to a word.
    pub(super) fn divide(self, divisor: Self) -> Self {
        let zero = Self::Number(Number::Integer(0));
        if divisor.compare(zero) != Ordering::Equal {
            return self.calculate(divisor, |_, _| None, |a, b| a / b);
        }
        match self.compare(zero) {
            Ordering::Greater => Self::Atom("plus_infinity"),
            Ordering::Less => Self::Atom("minus_infinity"),
            Ordering::Equal => Self::Atom("nan"),
        }
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.is(*other)
    }
}

impl Number {
    #[expect(clippy::cast_precision_loss, reason = "Erlang rounds as well")]
    const fn as_float(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Float(float) => float,
        }
    }

    fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(&b),
            (Self::Integer(a), Self::Float(b)) => compare_mixed(a, b),
            (Self::Float(a), Self::Integer(b)) => compare_mixed(b, a).reverse(),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        }
    }
}

/// From here on not every integer is a float.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "each side is converted where that is exact, and saturates beyond"
)]
fn compare_mixed(integer: i128, float: f64) -> Ordering {
    if float.abs() < EXACT_MAX {
        return (integer as f64).partial_cmp(&float).unwrap_or(Ordering::Equal);
    }
    integer.cmp(&(float as i128))
}

fn compare_each(a: &[Term], b: &[Term]) -> Ordering {
    let each = a.iter().zip(b).map(|(a, b)| Value::of_term(a).compare(Value::of_term(b)));
    each.into_iter().find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
}

/// A float as Erlang writes it: with a point, always.
pub(super) fn written_float(float: f64) -> String {
    let written = format!("{float:?}");
    match written.split_once('e') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0e{exponent}"),
        _ => written,
    }
}
