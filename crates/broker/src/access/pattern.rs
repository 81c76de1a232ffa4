//! The regular expressions of permissions and policies.

use std::borrow::Cow;
use std::fmt;

use fancy_regex::BytesMode;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ast::{self, Ast, GroupKind};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest pattern text, in bytes.
pub(super) const PATTERN_BYTES_MAX: usize = 16 * 1024;
/// Most memory one compiled pattern, and then its match cache, may take.
pub(super) const COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// What one pattern may take of very many, in bytes: of these it counts with the first that it fits into.
const COMPILED_BYTES: [usize; 4] = [4 << 10, 32 << 10, 256 << 10, COMPILED_BYTES_MAX];
/// Of such a pattern its match cache takes so many times that.
const CACHES_OF_FRUGAL: usize = 2;
/// What such a pattern takes at most with that.
pub(crate) const PATTERN_MEMORY_MAX: usize = (1 + CACHES_OF_FRUGAL) * COMPILED_BYTES_MAX;
/// Deepest nesting of groups.
const NEST_MAX: u32 = 64;
/// Steps back one search may take: far more than a sensible pattern needs, over within milliseconds.
const STEPS_BACK_MAX: usize = 50_000;

/// A permission's pattern: a regular expression searched for anywhere in a name.
///
/// As in RabbitMQ it is not anchored (`foo` also grants `my-foo-2`), and the empty pattern matches
/// only the empty name, that is, it denies. Matching takes linear time, unless the pattern looks
/// around or refers back (`^(?!amq\.)`); then its search takes back so many steps at most, and
/// beyond them it does not match.
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
    SearchWithSteps(Box<fancy_regex::Regex>),
}

impl Matcher {
    /// Of a text that needs none.
    fn without_search(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::EmptyName),
            ".*" | "^.*" | "^.*$" | ".*$" => Some(Self::Anything),
            _ => None,
        }
    }
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`PatternError`] when it is no valid expression, or too large.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let matcher = match Matcher::without_search(text) {
            Some(matcher) => matcher,
            None => compile(text, COMPILED_BYTES_MAX, COMPILED_BYTES_MAX)?,
        };
        Ok(Self { text: text.into(), matcher })
    }

    /// Compiles a pattern that is one of very many: it remembers little of its matches. Answers as well what it
    /// takes in memory at most, in bytes, about.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn frugal(text: &str) -> Result<(Self, usize), PatternError> {
        if let Some(matcher) = Matcher::without_search(text) {
            return Ok((Self { text: text.into(), matcher }, 0));
        }
        for size in COMPILED_BYTES {
            let cache = CACHES_OF_FRUGAL * size;
            if let Ok(matcher) = compile(text, size, cache) {
                return Ok((Self { text: text.into(), matcher }, size + cache));
            }
        }
        // What is wrong with it is told as always.
        Self::new(text).map(|pattern| (pattern, PATTERN_MEMORY_MAX))
    }

    /// Whether the name is granted.
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::EmptyName => name.is_empty(),
            Matcher::Anything => true,
            Matcher::Search(regex) => regex.is_match(name.as_bytes()),
            Matcher::SearchWithSteps(regex) => regex.is_match(name.as_bytes()).unwrap_or(false),
        }
    }

    /// Whether every name is granted, known without looking at any.
    pub fn matches_anything(&self) -> bool {
        matches!(self.matcher, Matcher::Anything)
    }

    /// Whether it looks around or refers back, so that a search may take steps back.
    pub(crate) fn may_step_back(&self) -> bool {
        matches!(self.matcher, Matcher::SearchWithSteps(_))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// RabbitMQ matches bytes: `.` is one byte and `\w`, `\d`, `\s` are ASCII. A pattern that needs
/// characters, such as `[äöü]`, is compiled for UTF-8 instead.
fn compile(text: &str, size: usize, cache: usize) -> Result<Matcher, PatternError> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(PatternError::TooLong { bytes: text.len() });
    }
    let pattern = || text.to_owned();
    let mut builder = RegexBuilder::new(&without_captures(text));
    builder.size_limit(size).dfa_size_limit(cache).nest_limit(NEST_MAX);
    match builder.unicode(false).build().or_else(|_| builder.unicode(true).build()) {
        Ok(regex) => Ok(Matcher::Search(regex)),
        Err(regex::Error::CompiledTooBig(_)) => {
            Err(PatternError::TooComplex { pattern: pattern() })
        }
        Err(error) => {
            let reason = last_line(&error.to_string());
            if !reason.ends_with(NOT_SUPPORTED) {
                return Err(PatternError::Invalid { pattern: pattern(), reason });
            }
            compile_with_steps(text, size, cache)
        }
    }
}

/// The same expression with groups that remember nothing, as nobody asks what they hold: what finds that out takes up
/// to a megabyte by itself, whatever the limits. What is no expression stays as it is.
fn without_captures(text: &str) -> Cow<'_, str> {
    if !text.contains('(') {
        return text.into();
    }
    let parsed = ast::parse::ParserBuilder::new().nest_limit(NEST_MAX).build().parse(text);
    let Ok(mut parsed) = parsed else { return text.into() };
    remember_nothing(&mut parsed);
    parsed.to_string().into()
}

fn remember_nothing(ast: &mut Ast) {
    match ast {
        Ast::Group(group) => {
            if group.is_capturing() {
                let flags = ast::Flags { span: group.span, items: Vec::new() };
                group.kind = GroupKind::NonCapturing(flags);
            }
            remember_nothing(&mut group.ast);
        }
        Ast::Repetition(repetition) => remember_nothing(&mut repetition.ast),
        Ast::Alternation(alternation) => alternation.asts.iter_mut().for_each(remember_nothing),
        Ast::Concat(concat) => concat.asts.iter_mut().for_each(remember_nothing),
        Ast::Empty(_)
        | Ast::Flags(_)
        | Ast::Literal(_)
        | Ast::Dot(_)
        | Ast::Assertion(_)
        | Ast::ClassUnicode(_)
        | Ast::ClassPerl(_)
        | Ast::ClassBracketed(_) => {}
    }
}

/// How the `regex` crate ends its refusal of look-around and back-references.
const NOT_SUPPORTED: &str = "not supported";

fn compile_with_steps(text: &str, size: usize, cache: usize) -> Result<Matcher, PatternError> {
    let mut builder = fancy_regex::RegexBuilder::new(text);
    builder
        .backtrack_limit(STEPS_BACK_MAX)
        .delegate_size_limit(size)
        .delegate_dfa_size_limit(cache);
    let mut build = |mode| builder.bytes_mode(mode).build();
    let regex = build(BytesMode::Ascii).or_else(|_| build(BytesMode::UnicodeBytes));
    regex.map(|regex| Matcher::SearchWithSteps(Box::new(regex))).map_err(|error| {
        PatternError::Invalid { pattern: text.to_owned(), reason: last_line(&error.to_string()) }
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
    /// Not a regular expression.
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
    fn groups_remember_nothing_and_match_what_they_did() {
        for pattern in [
            "^(ro-.*|amq\\.topic)$",
            "^((?P<tenant>a|b)\\.)+(x{2,3}?|[^()]*)$",
            "(?x) ^ ( a \\ b | c ) # a remark (",
            "(?i:(é|[[:alpha:]&&[^x]]))\\b",
            "^(a|)(b*)\\z",
            "()",
        ] {
            let plain = |unicode| RegexBuilder::new(pattern).unicode(unicode).build();
            let plain = plain(false).or_else(|_| plain(true)).unwrap();
            let Matcher::Search(regex) = Pattern::new(pattern).unwrap().matcher else { panic!() };
            assert_eq!(regex.captures_len(), 1, "{regex}");
            for name in [
                "",
                "a",
                "b",
                "ab",
                "abb",
                "a b",
                "c",
                "ro-queue",
                "amq.topic",
                "x",
                "é",
                "É!",
                "a.xx",
                "b.a.xxx",
                "a.(",
                "a.y",
            ] {
                assert_eq!(
                    regex.is_match(name.as_bytes()),
                    plain.is_match(name.as_bytes()),
                    "{regex} {name}"
                );
            }
        }
    }

    #[test]
    fn a_bad_pattern_says_what_is_wrong_with_it() {
        let text = |pattern: &str| Pattern::new(pattern).unwrap_err().to_string();
        assert_eq!(text("a("), "invalid regular expression 'a(': unclosed group");
        assert!(matches!(Pattern::new("(a{1000}){1000}"), Err(PatternError::TooComplex { .. })));
        assert!(matches!(Pattern::new(&"a".repeat(20_000)), Err(PatternError::TooLong { .. })));
        assert!(Pattern::new(&format!("{}a{}", "(".repeat(100), ")".repeat(100))).is_err());
        let deep = format!("(?!b){}a{}", "(".repeat(1000), ")".repeat(1000));
        assert!(Pattern::new(&deep).is_err());
        assert!(text("^(?!amq").starts_with("invalid regular expression '^(?!amq': "));
    }

    /// The most widely used pattern of all policies is of this kind.
    #[test]
    fn looks_around_and_refers_back() {
        assert!(matches("^(?!amq\\.).*", "orders"));
        assert!(!matches("^(?!amq\\.).*", "amq.gen-1"));
        assert!(matches("(?<=eu-)\\d+$", "orders-eu-1"));
        assert!(matches("^(\\w+)-\\1$", "a-a") && !matches("^(\\w+)-\\1$", "a-b"));
        assert!(matches("^(?!x).[äöü]$", "aö"));
    }

    /// Without a bound this would not end.
    #[test]
    fn a_search_that_takes_too_many_steps_does_not_match() {
        let pattern = Pattern::new("^(a+)+(?=b)\\1$").unwrap();
        assert!(!pattern.matches(&"a".repeat(255)));
    }
}
