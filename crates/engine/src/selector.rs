//! JMS selectors: conditions over the headers of a message, as bindings of `x-jms-topic` exchanges
//! carry them.
//!
//! A selector is written in a subset of SQL-92 and compiled by RabbitMQ's JMS client into an
//! Erlang term, whose text is the binding argument `rjms_erlang_selector`:
//! `{'=',{ident,<<"colour">>},<<"blue">>}.` Here the text is read ([`term`]), made into an
//! expression and evaluated as RabbitMQ's `sjx_evaluator` does it: what is unknown stays unknown
//! through comparisons, and `and`, `or` and `not` have three values. Where RabbitMQ's evaluation
//! breaks down (a sum of texts, say) and takes the publisher's connection with it, the part that
//! can't be evaluated has the value `error`, which is neither true nor false.

mod effort;
mod expression;
mod like;
mod term;
#[cfg(test)]
mod tests;
mod value;

use leveret_codec::Value as HeaderValue;

pub(crate) use effort::Effort;
use expression::Expression;
use like::InvalidPattern;
use term::{InvalidTerm, Term};
use value::Value;

/// A compiled selector.
#[derive(Debug)]
pub(crate) struct Selector {
    expression: Expression,
    len: usize,
}

/// Why a text is no selector. Displays as RabbitMQ's explanation of the channel error 406.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelector {
    /// It is no Erlang term, or one that no selector is made of.
    #[error("invalid JMS selector: {0}")]
    Term(String),
    /// It is one, but for a pattern of a `like`.
    #[error("invalid JMS selector pattern: {0}")]
    Pattern(String),
}

impl From<InvalidTerm> for InvalidSelector {
    fn from(invalid: InvalidTerm) -> Self {
        Self::Term(invalid.to_string())
    }
}

impl From<InvalidPattern> for InvalidSelector {
    fn from(invalid: InvalidPattern) -> Self {
        Self::Pattern(invalid.to_string())
    }
}

impl Selector {
    /// Reads the text of a compiled selector.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, InvalidSelector> {
        let term = Term::parse(text)?;
        like::check_patterns(&term)?;
        Ok(Self { expression: Expression::of(term), len: text.len() })
    }

    /// The length of its text.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds for the headers that `header` looks up. What it says once the bound of `effort` is met counts
    /// for nothing.
    pub(crate) fn matches<'h>(
        &self,
        header: impl Fn(&[u8]) -> Option<HeaderValue<'h>> + Copy,
        effort: &Effort,
    ) -> bool {
        self.expression.evaluate(&header, effort) == Value::TRUE
    }
}
