//! Field tables and arrays, kept as the bytes they came in.

mod array;
mod build;
mod owned;
mod raw;
mod validate;
mod value;

use std::fmt;

pub use array::{Array, ArrayIter};
pub use build::{ArrayBuilder, TableBuilder};
pub use owned::{ArrayBuf, TableBuf};
pub use value::Value;

use crate::AmqpError;
use crate::erlang::Term;

/// A field table: the arguments of a method or the headers of a message.
///
/// Holds the bytes as they came, without the length before them, so a table that is passed on is
/// passed on bit for bit. They have been checked: iteration cannot fail. Order is kept, keys may
/// repeat, keys are bytes. Two tables are equal when their bytes are; to compare by meaning see
/// [`Value::loosely_equals`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Table<'a> {
    bytes: &'a [u8],
}

impl<'a> Table<'a> {
    /// The table without entries.
    pub const EMPTY: Self = Self { bytes: &[] };

    /// Checks the bytes of a table (without the length before them): every value has a known type
    /// and ends where its container allows, and neither depth nor number of entries exceeds
    /// `limits`. Takes constant space, whatever the nesting.
    ///
    /// # Errors
    /// [`TableError`], which becomes a 502 when converted to [`AmqpError`].
    #[inline]
    pub fn parse(bytes: &'a [u8], limits: &TableLimits) -> Result<Self, TableError> {
        if !bytes.is_empty() {
            validate::table(bytes, limits)?;
        }
        Ok(Self { bytes })
    }

    /// The entries in their order.
    #[inline]
    pub fn iter(&self) -> TableIter<'a> {
        TableIter { rest: self.bytes }
    }

    /// Where the entries begin, in their order: for who looks at them again and again, and remembers
    /// where they are rather than what they say.
    pub fn offsets(&self) -> impl Iterator<Item = u32> + use<'a> {
        let mut entries = self.iter();
        let len = self.bytes.len();
        std::iter::from_fn(move || {
            let offset = len - entries.rest.len();
            entries.next()?;
            // The length before a table has four bytes.
            u32::try_from(offset).ok()
        })
    }

    /// The entry that begins at one of the [offsets](Self::offsets).
    #[must_use]
    pub fn entry(&self, offset: u32) -> Option<(&'a [u8], Value<'a>)> {
        TableIter { rest: self.from(offset)? }.next()
    }

    /// The key of the [entry](Self::entry) there.
    #[must_use]
    pub fn key(&self, offset: u32) -> Option<&'a [u8]> {
        raw::key(self.from(offset)?).map(|(key, _)| key)
    }

    fn from(&self, offset: u32) -> Option<&'a [u8]> {
        self.bytes.get(usize::try_from(offset).ok()?..)
    }

    /// The value of the first entry named `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.iter().find_map(|(name, value)| (name == key.as_bytes()).then_some(value))
    }

    /// Whether there is no entry.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes as they came, without the length before them.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Takes bytes known to be a table: checked before, or written by this crate.
    #[inline]
    fn from_checked(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl<'a> IntoIterator for Table<'a> {
    type Item = (&'a [u8], Value<'a>);
    type IntoIter = TableIter<'a>;

    fn into_iter(self) -> TableIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Table<'a> {
    type Item = (&'a [u8], Value<'a>);
    type IntoIter = TableIter<'a>;

    fn into_iter(self) -> TableIter<'a> {
        self.iter()
    }
}

/// As Erlang prints it: `[{<<"x-expires">>,signedint,1000}]`.
impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Term(Value::Table(*self)).fmt(f)
    }
}

impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The entries of a [`Table`] in their order.
#[derive(Clone, Debug)]
pub struct TableIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for TableIter<'a> {
    type Item = (&'a [u8], Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = raw::key(self.rest)?;
        let (value, rest) = Value::read(rest)?;
        self.rest = rest;
        Some((key, value))
    }
}

impl std::iter::FusedIterator for TableIter<'_> {}

/// How much nesting and how many entries a table may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableLimits {
    /// Tables and arrays inside each other, the outermost included; at most
    /// [`TableLimits::DEEPEST`] whatever is set here.
    pub max_depth: usize,
    /// Entries of all tables and elements of all arrays together.
    pub max_fields: usize,
}

impl TableLimits {
    /// No table nested deeper is ever accepted: code that walks tables may recurse.
    pub const DEEPEST: usize = 32;
    /// Unless a broker is told otherwise.
    pub const DEFAULT: Self = Self { max_depth: 16, max_fields: 4096 };
    /// For tables that were accepted before, by whatever limits.
    pub const ACCEPTED: Self = Self { max_depth: Self::DEEPEST, max_fields: usize::MAX };
}

impl Default for TableLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why bytes are not a table.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableError {
    /// A key or value reaches over the end of the table or array it is in.
    #[error("malformed table: a field exceeds its container")]
    Truncated,
    /// A type tag RabbitMQ does not know.
    #[error("malformed table: unknown field type {0}")]
    UnknownType(u8),
    /// Deeper than [`TableLimits::max_depth`], which is this.
    #[error("table nested deeper than {0}")]
    TooDeep(usize),
    /// More than [`TableLimits::max_fields`], which is this.
    #[error("table with more than {0} fields")]
    TooManyFields(usize),
}

/// 502. RabbitMQ drops the connection without a word on such a table.
impl From<TableError> for AmqpError {
    fn from(error: TableError) -> Self {
        Self::syntax_error(error.to_string())
    }
}

#[cfg(test)]
mod tests;
