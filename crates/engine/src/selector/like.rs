//! The patterns of `like`.

use super::effort::Effort;
use super::term::Term;

/// A pattern: `%` stands for any number of bytes, `_` for one, neither for a line feed. RabbitMQ
/// makes it a regular expression, and the dot of that is no line feed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// What the text begins with.
    first: Run,
    /// What follows, if there is a `%`.
    rest: Option<Rest>,
}

#[derive(Debug, PartialEq, Eq)]
struct Rest {
    /// What stands between two `%`.
    between: Box<[Run]>,
    /// What the text ends with.
    last: Run,
}

/// What stands for as many bytes.
type Run = Box<[Token]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
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
        let (mut runs, mut run, mut length) = (Vec::new(), Vec::new(), 0);
        let mut rest = &**text;
        while let [byte, after @ ..] = rest {
            (rest, length) = (after, length + 1);
            match (*byte, rest) {
                (byte, [escaped, after @ ..]) if escape == Some(byte) => {
                    rest = after;
                    run.push(Token::Byte(*escaped));
                }
                (b'_', _) => run.push(Token::One),
                (b'%', _) => runs.push(std::mem::take(&mut run).into()),
                (byte, _) => run.push(Token::Byte(byte)),
            }
        }
        if length > LENGTH_MAX {
            return Err(InvalidPattern::TooLong);
        }
        let (last, mut runs) = (run.into(), runs.into_iter());
        let Some(first) = runs.next() else { return Ok(Self { first: last, rest: None }) };
        Ok(Self { first, rest: Some(Rest { between: runs.collect(), last }) })
    }

    /// Whether it stands for all of `text`. When the bound of `effort` is met the answer is no.
    ///
    /// What begins and ends the text is looked at first: most texts that don't fit have another. What a `%`
    /// stands for is the shortest, which leaves the later ones the most choices.
    pub(super) fn matches(&self, text: &[u8], effort: &Effort) -> bool {
        let Self { first, rest } = self;
        let Some((head, text)) = text.split_at_checked(first.len()) else { return false };
        if !fits(first, head, effort) {
            return false;
        }
        let Some(Rest { between, last }) = rest else { return text.is_empty() };
        let tail = text.len().checked_sub(last.len()).and_then(|at| text.split_at_checked(at));
        let Some((mut text, tail)) = tail else { return false };
        if !fits(last, tail, effort) {
            return false;
        }
        for run in between {
            let Some(behind) = behind(run, text, effort) else { return false };
            text = behind;
        }
        effort.compare(text.len()) && !text.contains(&b'\n')
    }
}

/// What is behind the first place of a run that nothing but bytes which `%` stands for is in front of.
fn behind<'t>(run: &[Token], mut text: &'t [u8], effort: &Effort) -> Option<&'t [u8]> {
    loop {
        let (here, behind) = text.split_at_checked(run.len())?;
        if fits(run, here, effort) {
            return Some(behind);
        }
        let (passed, left) = text.split_first()?;
        if *passed == b'\n' || effort.is_over() {
            return None;
        }
        text = left;
    }
}

/// Whether a run stands for a text of its length.
fn fits(run: &[Token], text: &[u8], effort: &Effort) -> bool {
    let is_other = |(token, byte): (&Token, &u8)| match token {
        Token::Byte(expected) => expected != byte,
        Token::One => *byte == b'\n',
    };
    let other = run.iter().zip(text).position(is_other);
    effort.compare(other.map_or(run.len(), |at| at + 1)) && other.is_none()
}
