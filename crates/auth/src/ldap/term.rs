//! Terms of Erlang, which RabbitMQ's LDAP queries are written in.

use thiserror::Error;

/// Deepest nesting of tuples and lists.
const DEPTH_MAX: usize = 32;

/// A term, as far as queries need them. Binaries are texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term {
    Atom(String),
    Text(String),
    Tuple(Vec<Self>),
    List(Vec<Self>),
}

/// Why a text is no term.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum TermError {
    #[error("it ends too early")]
    End,
    #[error("'{0}' is not expected")]
    Unexpected(char),
    #[error("it is nested too deeply")]
    TooDeep,
}

/// Reads a term, which may end with a full stop.
pub(super) fn parse(text: &str) -> Result<Term, TermError> {
    let mut reader = Reader { rest: text };
    let term = reader.term(0)?;
    if reader.peek() == Some('.') {
        reader.skip('.');
    }
    match reader.peek() {
        None => Ok(term),
        Some(more) => Err(TermError::Unexpected(more)),
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// What comes behind space and comments.
    fn peek(&mut self) -> Option<char> {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('%') {
                return self.rest.chars().next();
            }
            self.rest = self.rest.split_once('\n').map_or("", |(_, behind)| behind);
        }
    }

    fn skip(&mut self, one: char) {
        self.rest = self.rest.strip_prefix(one).unwrap_or(self.rest);
    }

    fn expect(&mut self, text: &str) -> Result<(), TermError> {
        let next = self.peek().ok_or(TermError::End)?;
        self.rest = self.rest.strip_prefix(text).ok_or(TermError::Unexpected(next))?;
        Ok(())
    }

    fn term(&mut self, depth: usize) -> Result<Term, TermError> {
        if depth >= DEPTH_MAX {
            return Err(TermError::TooDeep);
        }
        match self.peek().ok_or(TermError::End)? {
            '{' => self.sequence('{', '}', depth).map(Term::Tuple),
            '[' => self.sequence('[', ']', depth).map(Term::List),
            '"' => self.texts(),
            '\'' => self.quoted('\'').map(Term::Atom),
            '<' => {
                self.expect("<<")?;
                let text = if self.peek() == Some('>') {
                    Term::Text(String::new())
                } else {
                    self.texts()?
                };
                self.expect(">>")?;
                Ok(text)
            }
            first if first.is_ascii_lowercase() => {
                let ends = |one: char| !(one.is_alphanumeric() || one == '_' || one == '@');
                let end = self.rest.find(ends).unwrap_or(self.rest.len());
                let (atom, rest) = self.rest.split_at(end);
                self.rest = rest;
                Ok(Term::Atom(atom.to_owned()))
            }
            other => Err(TermError::Unexpected(other)),
        }
    }

    fn sequence(&mut self, begin: char, end: char, depth: usize) -> Result<Vec<Term>, TermError> {
        self.skip(begin);
        let mut terms = Vec::new();
        if self.peek() == Some(end) {
            self.skip(end);
            return Ok(terms);
        }
        loop {
            terms.push(self.term(depth + 1)?);
            match self.peek().ok_or(TermError::End)? {
                ',' => self.skip(','),
                one if one == end => {
                    self.skip(end);
                    return Ok(terms);
                }
                other => return Err(TermError::Unexpected(other)),
            }
        }
    }

    /// Texts that follow each other are one.
    fn texts(&mut self) -> Result<Term, TermError> {
        let mut text = String::new();
        while self.peek() == Some('"') {
            text += &self.quoted('"')?;
        }
        Ok(Term::Text(text))
    }

    fn quoted(&mut self, quote: char) -> Result<String, TermError> {
        self.skip(quote);
        let mut text = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next().ok_or(TermError::End)? {
                '\\' => text.push(match chars.next().ok_or(TermError::End)? {
                    'n' => '\n',
                    't' => '\t',
                    's' => ' ',
                    other => other,
                }),
                one if one == quote => {
                    self.rest = chars.as_str();
                    return Ok(text);
                }
                other => text.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(text: &str) -> Term {
        Term::Atom(text.to_owned())
    }

    fn text(text: &str) -> Term {
        Term::Text(text.to_owned())
    }

    #[test]
    fn reads_what_queries_are_written_in() {
        let written = "{'and', [ % both\n {in_group, \"cn=a,\" \"dc=b\"},\n {constant,true} ]}.\n";
        let group = Term::Tuple(vec![atom("in_group"), text("cn=a,dc=b")]);
        let constant = Term::Tuple(vec![atom("constant"), atom("true")]);
        let both = Term::Tuple(vec![atom("and"), Term::List(vec![group, constant])]);
        assert_eq!(parse(written), Ok(both));
        assert_eq!(parse("<<\"a\\\"b\\\\\">>"), Ok(text("a\"b\\")));
        assert_eq!(parse(" [ ] "), Ok(Term::List(Vec::new())));
        assert_eq!(parse("<<>>"), Ok(text("")));
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(parse(""), Err(TermError::End));
        assert_eq!(parse("{a"), Err(TermError::End));
        assert_eq!(parse("\"a"), Err(TermError::End));
        assert_eq!(parse("{a]"), Err(TermError::Unexpected(']')));
        assert_eq!(parse("{a} b"), Err(TermError::Unexpected('b')));
        assert_eq!(parse("fun() -> ok"), Err(TermError::Unexpected('(')));
        assert_eq!(parse("Upper"), Err(TermError::Unexpected('U')));
        assert_eq!(parse(&"[".repeat(1000)), Err(TermError::TooDeep));
    }
}
