//! Erlang terms as text, as far as selectors are made of them.

use std::fmt;

use super::value::written_float;

/// An Erlang term.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    Integer(i128),
    Float(f64),
    /// One of [`ATOMS`].
    Atom(&'static str),
    Binary(Box<[u8]>),
    Tuple(Box<[Self]>),
    /// A list; a string is the list of its characters.
    List(Box<[Self]>),
}

/// The atoms selectors are made of.
const ATOMS: [&str; 27] = [
    "ident",
    "not",
    "and",
    "or",
    "is_null",
    "not_null",
    "like",
    "not_like",
    "between",
    "not_between",
    "range",
    "=",
    "<>",
    ">",
    "<",
    ">=",
    "<=",
    "in",
    "not_in",
    "+",
    "-",
    "*",
    "/",
    "true",
    "false",
    "no_escape",
    "regex",
];

/// Tuples and lists within each other, at most: RabbitMQ's bound.
pub(super) const DEPTH_MAX: usize = 16;

/// Why a text is no term. Displays as RabbitMQ prints the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidTerm {
    #[error("max_depth_exceeded")]
    TooDeep,
    #[error("unexpected_end")]
    UnexpectedEnd,
    #[error("unexpected_character")]
    UnexpectedCharacter,
    #[error("trailing_characters")]
    TrailingCharacters,
    #[error("expected_comma_or_closing_brace")]
    ExpectedBrace,
    #[error("expected_comma_or_closing_bracket")]
    ExpectedBracket,
    #[error("invalid_binary")]
    InvalidBinary,
    #[error("expected_closing_binary")]
    ExpectedClosingBinary,
    #[error("unterminated_string")]
    UnterminatedString,
    #[error("unterminated_quoted_atom")]
    UnterminatedAtom,
    /// A number that Erlang doesn't take, or one beyond what is calculated with here.
    #[error("invalid_term")]
    InvalidNumber,
    #[error("{{unknown_atom,\"{0}\"}}")]
    UnknownAtom(String),
}

impl Term {
    /// Reads one term, with or without a full stop behind it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, InvalidTerm> {
        let mut reader = Reader { rest: text };
        reader.skip_space();
        let term = reader.term(0)?;
        reader.skip_space();
        reader.take(b".");
        reader.skip_space();
        if reader.rest.is_empty() { Ok(term) } else { Err(InvalidTerm::TrailingCharacters) }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn term(&mut self, depth: usize) -> Result<Term, InvalidTerm> {
        if depth > DEPTH_MAX {
            return Err(InvalidTerm::TooDeep);
        }
        match *self.rest {
            [] => Err(InvalidTerm::UnexpectedEnd),
            [b'{', ..] => {
                let elements = self.elements(depth, b'}', InvalidTerm::ExpectedBrace)?;
                Ok(Term::Tuple(elements))
            }
            [b'[', ..] => {
                let elements = self.elements(depth, b']', InvalidTerm::ExpectedBracket)?;
                Ok(Term::List(elements))
            }
            [b'<', b'<', ..] => self.binary(),
            [b'"', ..] => {
                let characters = self.quoted(b'"', InvalidTerm::UnterminatedString)?;
                let characters = characters.into_iter().map(|byte| Term::Integer(byte.into()));
                Ok(Term::List(characters.collect()))
            }
            [b'\'', ..] => {
                let name = self.quoted(b'\'', InvalidTerm::UnterminatedAtom)?;
                atom(&name)
            }
            [sign @ (b'+' | b'-'), ..] => {
                self.skip(1);
                self.skip_space();
                match self.rest {
                    [b'0'..=b'9', ..] => self.number(sign == b'-'),
                    _ => Err(InvalidTerm::UnexpectedCharacter),
                }
            }
            [b'0'..=b'9', ..] => self.number(false),
            [b'a'..=b'z', ..] => {
                let name = self
                    .while_of(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'@'));
                atom(name)
            }
            _ => Err(InvalidTerm::UnexpectedCharacter),
        }
    }

    /// What stands between an opening bracket and its `end`.
    fn elements(
        &mut self,
        depth: usize,
        end: u8,
        unfinished: InvalidTerm,
    ) -> Result<Box<[Term]>, InvalidTerm> {
        self.skip(1);
        self.skip_space();
        let mut elements = Vec::new();
        if self.take(&[end]) {
            return Ok(elements.into());
        }
        loop {
            elements.push(self.term(depth + 1)?);
            self.skip_space();
            if self.take(&[end]) {
                return Ok(elements.into());
            }
            if !self.take(b",") {
                return Err(unfinished);
            }
            self.skip_space();
        }
    }

    fn binary(&mut self) -> Result<Term, InvalidTerm> {
        self.skip(2);
        self.skip_space();
        let mut bytes = Vec::new();
        match self.rest {
            [b'>', b'>', ..] => {}
            [b'"', ..] => bytes = self.quoted(b'"', InvalidTerm::UnterminatedString)?,
            _ => return Err(InvalidTerm::InvalidBinary),
        }
        self.skip_space();
        if !self.take(b">>") {
            return Err(InvalidTerm::ExpectedClosingBinary);
        }
        Ok(Term::Binary(bytes.into()))
    }

    /// What stands between two quotes; a backslash escapes.
    fn quoted(&mut self, quote: u8, unterminated: InvalidTerm) -> Result<Vec<u8>, InvalidTerm> {
        let mut bytes = Vec::new();
        self.skip(1);
        loop {
            let (byte, taken) = match *self.rest {
                [byte, ..] if byte == quote => {
                    self.skip(1);
                    return Ok(bytes);
                }
                [b'\\', escaped, ..] => {
                    let meant = match escaped {
                        b'n' if quote == b'"' => b'\n',
                        b't' if quote == b'"' => b'\t',
                        b'r' if quote == b'"' => b'\r',
                        other => other,
                    };
                    (meant, 2)
                }
                [byte, ..] => (byte, 1),
                [] => return Err(unterminated),
            };
            bytes.push(byte);
            self.skip(taken);
        }
    }

    fn number(&mut self, is_negative: bool) -> Result<Term, InvalidTerm> {
        let integer = self.digits();
        let [b'.', b'0'..=b'9', ..] = *self.rest else {
            let integer: i128 = integer.parse().map_err(|_| InvalidTerm::InvalidNumber)?;
            return Ok(Term::Integer(if is_negative { -integer } else { integer }));
        };
        self.skip(1);
        let mut number = format!("{integer}.{}", self.digits());
        if self.take(b"e") || self.take(b"E") {
            number.push('e');
            if self.take(b"-") {
                number.push('-');
            } else {
                self.take(b"+");
            }
            number += self.digits();
        }
        let float = number.parse().ok().filter(|float: &f64| float.is_finite());
        let float = float.ok_or(InvalidTerm::InvalidNumber)?;
        Ok(Term::Float(if is_negative { -float } else { float }))
    }

    fn digits(&mut self) -> &'a str {
        str::from_utf8(self.while_of(|byte| byte.is_ascii_digit())).unwrap_or_default()
    }

    fn while_of(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !belongs(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    fn skip_space(&mut self) {
        self.while_of(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    fn take(&mut self, token: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

fn atom(name: &[u8]) -> Result<Term, InvalidTerm> {
    let known = ATOMS.into_iter().find(|atom| atom.as_bytes() == name);
    let unknown = || InvalidTerm::UnknownAtom(String::from_utf8_lossy(name).into_owned());
    known.map(Term::Atom).ok_or_else(unknown)
}

/// As Erlang prints it.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => integer.fmt(f),
            Self::Float(float) => f.write_str(&written_float(*float)),
            Self::Atom(name) => {
                let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                if is_plain && !["and", "or", "not"].contains(name) {
                    f.write_str(name)
                } else {
                    write!(f, "'{name}'")
                }
            }
            Self::Binary(bytes) => {
                f.write_str("<<")?;
                if !bytes.is_empty() {
                    f.write_str("\"")?;
                    let escaped = bytes.escape_ascii().to_string().replace("\\'", "'");
                    f.write_str(&escaped)?;
                    f.write_str("\"")?;
                }
                f.write_str(">>")
            }
            Self::Tuple(elements) => bracketed(f, '{', elements, '}'),
            Self::List(elements) => bracketed(f, '[', elements, ']'),
        }
    }
}

fn bracketed(f: &mut fmt::Formatter<'_>, open: char, all: &[Term], close: char) -> fmt::Result {
    write!(f, "{open}")?;
    for (position, element) in all.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        write!(f, "{comma}{element}")?;
    }
    write!(f, "{close}")
}
