//! Readers that want some messages only.

use leveret_codec::{Properties, TableLimits};

use super::page::Slot;
use crate::message::Message;

/// Which messages a reader wants (`x-stream-filter`, `x-stream-match-unfiltered`), by the value of
/// their header `x-stream-filter-value`.
///
/// RabbitMQ looks at a probabilistic filter per chunk, and then at each message; the outcome is the
/// same. A message without the header, with an empty value, or with one that is no string, is
/// unfiltered.
#[derive(Clone, Debug)]
pub struct Filter {
    values: Vec<(FilterKey, Box<[u8]>)>,
    match_unfiltered: bool,
}

impl Filter {
    /// A filter for messages with one of `values`, and for unfiltered ones if it matches them or
    /// names the empty value.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>, match_unfiltered: bool) -> Self {
        let mut filter = Self { values: Vec::new(), match_unfiltered };
        for value in values {
            match FilterKey::of(value) {
                FilterKey::UNFILTERED => filter.match_unfiltered = true,
                key => filter.values.push((key, value.into())),
            }
        }
        filter
    }

    pub(super) fn matches(&self, slot: &Slot) -> bool {
        if slot.key == FilterKey::UNFILTERED {
            return self.match_unfiltered;
        }
        let is_value = |value: &[u8]| slot.message.as_ref().and_then(filter_value) == Some(value);
        self.values.iter().any(|(key, value)| *key == slot.key && is_value(value))
    }
}

/// What is looked at before a message's header is: equal values have equal keys, and different
/// values hardly ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FilterKey(u64);

impl FilterKey {
    pub(super) const UNFILTERED: Self = Self(0);

    pub(super) fn of_message(message: &Message) -> Self {
        filter_value(message).map_or(Self::UNFILTERED, Self::of)
    }

    fn of(value: &[u8]) -> Self {
        if value.is_empty() {
            return Self::UNFILTERED;
        }
        Self(KEYS.hash_one(value).max(1))
    }
}

/// The same for all streams, as a reader's filter meets any message.
static KEYS: ahash::RandomState = ahash::RandomState::with_seeds(1, 2, 3, 4);

/// The flag of the property `headers`, in the first octet of the properties.
const HAS_HEADERS: u8 = 0x20;

fn filter_value(message: &Message) -> Option<&[u8]> {
    let raw = message.properties();
    if raw.first()? & HAS_HEADERS == 0 {
        return None;
    }
    let headers = Properties::parse(raw, &TableLimits::ACCEPTED).ok()?.headers?;
    headers.get("x-stream-filter-value")?.as_bytes()
}
