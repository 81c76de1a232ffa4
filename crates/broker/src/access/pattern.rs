//! The regular expressions of permissions.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest pattern text, in bytes.
const PATTERN_BYTES_MAX: usize = 16 * 1024;
/// Most memory one compiled pattern, and then its match cache, may take.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// Deepest nesting of groups.
const NEST_MAX: u32 = 64;

/// A permission's pattern: a regular expression searched for anywhere in a name.
///
/// As in RabbitMQ it is not anchored (`foo` also grants `my-foo-2`), and the empty pattern matches
/// only the empty name, that is, it denies. The `regex` crate matches in linear time, at the price
/// of look-around and back-references, which are refused with a clear text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: Box<str>,
    matcher: Matcher,
}

#[derive(Clone)]
enum Matcher {
    EmptyName,
    Anything,
    Search(Regex),
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`PatternError`] when it is no valid expression, or too large.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let matcher = match text {
            "" => Matcher::EmptyName,
            ".*" | "^.*" | "^.*$" | ".*$" => Matcher::Anything,
            _ => Matcher::Search(compile(text)?),
        };
        Ok(Self { text: text.into(), matcher })
    }

    /// Whether the name is granted.
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::EmptyName => name.is_empty(),
            Matcher::Anything => true,
            Matcher::Search(regex) => regex.is_match(name.as_bytes()),
        }
    }

    /// Whether every name is granted, known without looking at any.
    pub fn matches_anything(&self) -> bool {
        matches!(self.matcher, Matcher::Anything)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// RabbitMQ matches bytes: `.` is one byte and `\w`, `\d`, `\s` are ASCII. A pattern that needs
/// characters, such as `[äöü]`, is compiled for UTF-8 instead.
fn compile(text: &str) -> Result<Regex, PatternError> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(PatternError::TooLong { bytes: text.len() });
    }
    let mut builder = RegexBuilder::new(text);
    builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).nest_limit(NEST_MAX);
    builder.unicode(false).build().or_else(|_| builder.unicode(true).build()).map_err(|error| {
        match error {
            regex::Error::CompiledTooBig(_) => {
                PatternError::TooComplex { pattern: text.to_owned() }
            }
            error => PatternError::Invalid {
                pattern: text.to_owned(),
                reason: last_line(&error.to_string()),
            },
        }
    })
}

/// The `regex` crate draws the pattern and points below it; its last line is the message.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or(message);
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::new(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text.into()
    }
}

/// Why a permission's pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// Not a regular expression, or one with look-around or back-references.
    #[error("invalid regular expression '{pattern}': {reason}")]
    Invalid {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It would take too much memory.
    #[error("regular expression '{pattern}' is too complex: it compiles to more than 1 MiB")]
    TooComplex {
        /// The pattern.
        pattern: String,
    },
    /// Its text is too long.
    #[error("a regular expression of {bytes} bytes is longer than the 16384 allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(name)
    }

    #[test]
    fn searches_without_anchors() {
        assert!(matches("foo", "my-foo-2"));
        assert!(matches("^ro-.*", "ro-queue"));
        assert!(!matches("^ro-.*", "a-ro-queue"));
        assert!(matches("^(ro-.*|amq\\.topic)$", "amq.topic"));
        assert!(!matches("^(ro-.*|amq\\.topic)$", "amq.topic2"));
    }

    #[test]
    fn empty_pattern_matches_only_the_empty_name() {
        assert!(matches("", ""));
        assert!(!matches("", "q"));
        assert!(!matches("^$", "q"));
    }

    #[test]
    fn the_usual_everything_needs_no_search() {
        for everything in [".*", "^.*$", "^.*", ".*$"] {
            let pattern = Pattern::new(everything).unwrap();
            assert!(pattern.matches_anything());
            assert!(pattern.matches("") && pattern.matches("any") && pattern.matches("日本"));
            assert_eq!(pattern.as_str(), everything);
        }
        assert!(!Pattern::new(".+").unwrap().matches_anything());
    }

    #[test]
    fn classes_are_ascii_and_literals_are_utf8() {
        assert!(matches("^[\\w.-]{1,200}$", "orders.eu-1"));
        assert!(!matches("^\\d+$", "٣"));
        assert!(matches("^straße", "straße-1"));
        assert!(matches("^[äöü]$", "ö"));
    }

    #[test]
    fn a_bad_pattern_says_what_is_wrong_with_it() {
        let text = |pattern: &str| Pattern::new(pattern).unwrap_err().to_string();
        assert_eq!(text("a("), "invalid regular expression 'a(': unclosed group");
        assert_eq!(
            text("^(?!amq)"),
            "invalid regular expression '^(?!amq)': look-around, including look-ahead and \
             look-behind, is not supported"
        );
        assert!(matches!(Pattern::new("(a{1000}){1000}"), Err(PatternError::TooComplex { .. })));
        assert!(matches!(Pattern::new(&"a".repeat(20_000)), Err(PatternError::TooLong { .. })));
        assert!(Pattern::new(&format!("{}a{}", "(".repeat(100), ")".repeat(100))).is_err());
    }
}
