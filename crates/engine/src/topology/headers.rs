//! The headers index: bindings matched by their arguments.

use leveret_codec::{Table, TableBuf, Value};
use smallvec::SmallVec;

use super::binding::{BindingId, BindingList};
use super::erlang::ErlangBinary;
use super::steps::{Steps, TooManySteps};
use crate::give_back::GiveBack;

/// All bindings of a headers exchange, each with its compiled arguments. They are tried one by
/// one; a bloom word of header names turns most of them away at once.
#[derive(Debug, Default)]
pub(super) struct HeadersIndex {
    bindings: BindingList,
    matchers: Vec<Matcher>,
}

/// Compiled binding arguments.
#[derive(Debug)]
pub(super) struct Matcher {
    mode: Mode,
    scope: Scope,
    names: NameSet,
    arguments: TableBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    All,
    Any,
}

/// Which arguments take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    WithoutX,
    WithX,
}

/// Why binding arguments do not compile. Displays as RabbitMQ's explanation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMatch {
    /// `x-match` is a word that means nothing.
    #[error("Invalid x-match field value {0}; expected all, any, all-with-x, or any-with-x")]
    Value(String),
    /// `x-match` is not a string.
    #[error("Invalid x-match field type {type_name} (value {value}); expected longstr")]
    Type {
        /// RabbitMQ's name of the type it has.
        type_name: &'static str,
        /// Its value, as RabbitMQ prints it.
        value: String,
    },
}

const X_MATCH: &str = "x-match";
/// Bytes that could be compared in the time that a header is looked up in, about.
const LOOK: usize = 16;

impl Matcher {
    /// Compiles binding arguments; without `x-match` they mean `all`.
    pub(super) fn compile(arguments: &TableBuf) -> Result<Self, InvalidMatch> {
        let table = arguments.as_table();
        let (mode, scope) = match table.get(X_MATCH) {
            None => (Mode::All, Scope::WithoutX),
            Some(Value::LongStr(word)) => match word {
                b"all" => (Mode::All, Scope::WithoutX),
                b"any" => (Mode::Any, Scope::WithoutX),
                b"all-with-x" => (Mode::All, Scope::WithX),
                b"any-with-x" => (Mode::Any, Scope::WithX),
                other => return Err(InvalidMatch::Value(ErlangBinary(other).to_string())),
            },
            Some(other) => {
                let (type_name, value) = (other.type_name(), other.to_string());
                return Err(InvalidMatch::Type { type_name, value });
            }
        };
        let mut matcher =
            Self { mode, scope, names: NameSet::default(), arguments: arguments.clone() };
        let names = table.into_iter().map(|(name, _)| name).filter(|name| scope.has(name));
        matcher.names = names.map(NameSet::of).collect();
        Ok(matcher)
    }

    fn matches(
        &self,
        headers: &MessageHeaders<'_>,
        steps: &mut Steps,
    ) -> Result<bool, TooManySteps> {
        let may_match = match self.mode {
            Mode::All => headers.names.contains(self.names),
            Mode::Any => headers.names.meets(self.names),
        };
        if !may_match {
            return Ok(false);
        }
        for (name, expected) in self.arguments.as_table() {
            steps.compare(LOOK + length(&expected))?;
            if !self.scope.has(name) {
                continue;
            }
            let holds = headers.get(name).is_some_and(|value| agrees(&expected, &value));
            match (self.mode, holds) {
                (Mode::All, false) => return Ok(false),
                (Mode::Any, true) => return Ok(true),
                (Mode::All, true) | (Mode::Any, false) => {}
            }
        }
        Ok(self.mode == Mode::All)
    }
}

impl Scope {
    fn has(self, name: &[u8]) -> bool {
        match self {
            Self::WithoutX => !name.starts_with(b"x-"),
            Self::WithX => name != X_MATCH.as_bytes(),
        }
    }
}

impl HeadersIndex {
    pub(super) fn insert(&mut self, matcher: Matcher, id: BindingId) -> u32 {
        self.matchers.push(matcher);
        self.bindings.push(id)
    }

    /// Removes a binding by its place and returns the one that stands there now, if any.
    pub(super) fn remove(&mut self, place: u32) -> Option<BindingId> {
        if (place as usize) < self.matchers.len() {
            self.matchers.swap_remove(place as usize);
            self.matchers.give_back();
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
        steps.try_each(self.matchers.len());
        for (matcher, &id) in self.matchers.iter().zip(self.bindings.as_slice()) {
            if matcher.matches(headers, steps)? {
                found(id);
            }
        }
        Ok(())
    }
}

/// The headers of a message, prepared for many lookups.
pub(super) struct MessageHeaders<'a> {
    table: Table<'a>,
    /// Where its entries are, sorted by name: of thousands they themselves would take more than the message.
    /// Of entries with one name the last counts.
    offsets: SmallVec<[u32; 16]>,
    names: NameSet,
}

impl<'a> MessageHeaders<'a> {
    pub(super) fn new(headers: Option<Table<'a>>) -> Self {
        let table = headers.unwrap_or_default();
        let mut offsets: SmallVec<[_; 16]> = table.offsets().collect();
        offsets.sort_unstable_by_key(|&offset| (table.key(offset), offset));
        let names = offsets.iter().filter_map(|&offset| table.key(offset)).map(NameSet::of);
        let names = names.collect();
        Self { table, offsets, names }
    }

    /// The value of the header of that name.
    pub(super) fn get(&self, name: &[u8]) -> Option<Value<'a>> {
        let is_before = |&offset: &u32| self.table.key(offset) <= Some(name);
        let after = self.offsets.partition_point(is_before);
        let (found, value) = self.table.entry(*self.offsets.get(after.checked_sub(1)?)?)?;
        (found == name).then_some(value)
    }
}

/// A bloom filter of header names in one word.
#[derive(Clone, Copy, Debug, Default)]
struct NameSet(u64);

impl NameSet {
    fn of(name: &[u8]) -> Self {
        let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        // FNV leaves the last bytes in the low half: fold, and spread to the bits that count.
        Self(1 << ((hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58))
    }

    /// Whether all of `other` may be in it.
    const fn contains(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether some of `other` may be in it.
    const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl FromIterator<Self> for NameSet {
    fn from_iter<I: IntoIterator<Item = Self>>(sets: I) -> Self {
        Self(sets.into_iter().fold(0, |all, set| all | set.0))
    }
}

/// Whether a header has the value a binding asks for. RabbitMQ compares what is left of values in
/// Erlang: integers of any width by value, texts and binaries by their bytes; void asks only for
/// the header to be there.
fn agrees(expected: &Value<'_>, value: &Value<'_>) -> bool {
    if *expected == Value::Void {
        return true;
    }
    match (text(expected), text(value)) {
        (Some(expected), Some(value)) => return expected == value,
        (None, None) => {}
        _ => return false,
    }
    expected.loosely_equals(value)
}

/// The bytes of a value that there may be many of.
fn length(value: &Value<'_>) -> usize {
    match value {
        Value::LongStr(bytes) | Value::Binary(bytes) => bytes.len(),
        Value::Table(table) => table.as_bytes().len(),
        Value::Array(array) => array.as_bytes().len(),
        _ => 0,
    }
}

fn text<'a>(value: &Value<'a>) -> Option<&'a [u8]> {
    match *value {
        Value::LongStr(bytes) | Value::Binary(bytes) => Some(bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
