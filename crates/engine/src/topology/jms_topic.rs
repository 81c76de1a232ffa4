//! The JMS topic index: bindings whose selectors hold for a message's headers.
//!
//! As in RabbitMQ, the binding key decides nothing: the JMS client has a topic exchange in front
//! that looks at keys, and binds this one to it.

use super::binding::{BindingId, BindingList};
use super::exchange::NewBinding;
use super::headers::MessageHeaders;
use super::steps::{Steps, TooManySteps};
use crate::give_back::GiveBack;
use crate::selector::{Effort, InvalidSelector, Selector};

/// The binding argument that holds the compiled selector.
const SELECTOR: &str = "rjms_erlang_selector";

/// All bindings of a JMS topic exchange, each with its selector. They are tried one by one.
#[derive(Debug, Default)]
pub(super) struct JmsTopicIndex {
    bindings: BindingList,
    selectors: Vec<Selector>,
}

/// Why binding arguments select nothing. Displays as RabbitMQ's explanation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJmsBinding {
    /// There is no selector.
    #[error(
        "cannot parse selector 'error' binding destination '{destination}' to exchange '{exchange}'"
    )]
    Missing {
        /// The queue or exchange that was to be bound.
        destination: String,
        /// The exchange it was to be bound to.
        exchange: String,
    },
    /// It is none.
    #[error(transparent)]
    Selector(#[from] InvalidSelector),
}

/// Compiles the selector of a binding.
pub(super) fn selector(binding: &NewBinding<'_>) -> Result<Selector, InvalidJmsBinding> {
    let text = binding.arguments.as_table().get(SELECTOR).and_then(|value| value.as_bytes());
    let missing = || InvalidJmsBinding::Missing {
        destination: binding.name.as_str().to_owned(),
        exchange: binding.source.to_owned(),
    };
    Ok(Selector::parse(text.ok_or_else(missing)?)?)
}

impl JmsTopicIndex {
    pub(super) fn insert(&mut self, selector: Selector, id: BindingId) -> u32 {
        self.selectors.push(selector);
        self.bindings.push(id)
    }

    /// Removes a binding by its place and returns the one that stands there now, if any.
    pub(super) fn remove(&mut self, place: u32) -> Option<BindingId> {
        if (place as usize) < self.selectors.len() {
            self.selectors.swap_remove(place as usize);
            self.selectors.give_back();
        }
        self.bindings.remove(place)
    }

    /// Calls `found` for every binding that matches.
    ///
    /// # Errors
    /// [`TooManySteps`] when the bound of `steps` is met. Some bindings may have been found by then.
    pub(super) fn for_each_match(
        &self,
        headers: &MessageHeaders<'_>,
        steps: &mut Steps,
        mut found: impl FnMut(BindingId),
    ) -> Result<(), TooManySteps> {
        steps.try_each(self.selectors.len());
        for (selector, &id) in self.selectors.iter().zip(self.bindings.as_slice()) {
            steps.compare(selector.len())?;
            let effort = Effort::up_to(steps.comparable());
            if selector.matches(|name| headers.get(name), &effort) {
                found(id);
            }
            steps.compare(effort.compared())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use leveret_codec::TableBuilder;

    use super::*;

    /// One binding is enough.
    #[test]
    fn a_pattern_that_is_tried_everywhere_meets_the_bound() {
        let pattern = format!("%{}b%", "a".repeat(1000));
        let text = format!("{{like,{{ident,<<\"h\">>}},<<\"{pattern}\">>,no_escape}}.");
        let mut index = JmsTopicIndex::default();
        index.insert(Selector::parse(text.as_bytes()).unwrap(), BindingId::of(1));
        let look = |length: usize| {
            let headers = TableBuilder::new().put("h", &*"a".repeat(length)).build();
            let headers = MessageHeaders::new(Some(headers.as_table()));
            index.for_each_match(&headers, &mut Steps::up_to(50_000), |_| {})
        };
        assert_eq!(look(10_000), Ok(()));
        assert_eq!(look(20_000), Err(TooManySteps(50_000)));
    }
}
