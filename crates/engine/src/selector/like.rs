//! The patterns of `like`.

use super::effort::Effort;
use super::term::Term;

/// A pattern: `%` stands for any number of bytes, `_` for one, neither for a line feed. RabbitMQ
/// makes it a regular expression, and the dot of that is no line feed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern(Box<[Token]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
    Many,
}

/// RabbitMQ's bound of a pattern's length.
const LENGTH_MAX: usize = 1024;

/// Why a pattern is none. Displays as RabbitMQ prints the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPattern {
    #[error("{{invalid_like_pattern,invalid_escape}}")]
    Escape,
    #[error("{{invalid_like_pattern,pattern_too_long}}")]
    TooLong,
    #[error("{{invalid_like_pattern,{{not_a_binary_pattern,{0}}}}}")]
    NotABinary(String),
    /// RabbitMQ takes regular expressions here, which no client of it makes.
    #[error("{{invalid_regex,not_supported}}")]
    Regex,
}

/// Checks every pattern in a term, wherever it stands.
pub(super) fn check_patterns(term: &Term) -> Result<(), InvalidPattern> {
    let (Term::Tuple(elements) | Term::List(elements)) = term else { return Ok(()) };
    if let (Term::Tuple(_), [Term::Atom("like" | "not_like"), operand, pattern, escape]) =
        (term, &**elements)
    {
        Pattern::compile(pattern, escape)?;
        return check_patterns(operand);
    }
    elements.iter().try_for_each(check_patterns)
}

impl Pattern {
    pub(super) fn compile(pattern: &Term, escape: &Term) -> Result<Self, InvalidPattern> {
        let text = match pattern {
            Term::Binary(text) => text,
            Term::Atom("regex") => return Err(InvalidPattern::Regex),
            other => return Err(InvalidPattern::NotABinary(other.to_string())),
        };
        let escape = match escape {
            Term::Atom("no_escape") => None,
            Term::Binary(byte) => match **byte {
                [byte] => Some(byte),
                _ => return Err(InvalidPattern::Escape),
            },
            _ => return Err(InvalidPattern::Escape),
        };
        let mut tokens = Vec::new();
        let mut rest = &**text;
        while let [byte, after @ ..] = rest {
            rest = after;
            tokens.push(match (*byte, rest) {
                (byte, [escaped, after @ ..]) if escape == Some(byte) => {
                    rest = after;
                    Token::Byte(*escaped)
                }
                (b'_', _) => Token::One,
                (b'%', _) => Token::Many,
                (byte, _) => Token::Byte(byte),
            });
        }
        if tokens.len() > LENGTH_MAX {
            return Err(InvalidPattern::TooLong);
        }
        Ok(Self(tokens.into()))
    }

    /// Whether it stands for all of `text`. When the bound of `effort` is met the answer is no.
    ///
    /// What a `%` stands for grows only while no later one has been reached: the shortest run
    /// before the last `%` leaves it the most choices.
    pub(super) fn matches(&self, text: &[u8], effort: &Effort) -> bool {
        let (mut tokens, mut rest) = (&*self.0, text);
        let mut last_many: Option<(&[Token], &[u8])> = None;
        while effort.compare() {
            match (tokens, rest) {
                ([], []) => return true,
                ([Token::Many, after @ ..], _) => {
                    tokens = after;
                    last_many = Some((after, rest));
                    continue;
                }
                ([Token::Byte(expected), after @ ..], [byte, left @ ..]) if expected == byte => {
                    (tokens, rest) = (after, left);
                    continue;
                }
                ([Token::One, after @ ..], [byte, left @ ..]) if *byte != b'\n' => {
                    (tokens, rest) = (after, left);
                    continue;
                }
                _ => {}
            }
            match last_many {
                Some((after, [byte, left @ ..])) if *byte != b'\n' => {
                    (tokens, rest) = (after, left);
                    last_many = Some((after, left));
                }
                _ => return false,
            }
        }
        false
    }
}
