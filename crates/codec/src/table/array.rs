use std::fmt;

use super::{TableError, TableLimits, Value, validate};
use crate::erlang::Term;

/// An array of values, kept as the checked bytes it came in.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Array<'a> {
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// The array without elements.
    pub const EMPTY: Self = Self { bytes: &[] };

    /// Checks the bytes of an array (without the length before them), as
    /// [`Table::parse`](super::Table::parse) does for a table.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn parse(bytes: &'a [u8], limits: &TableLimits) -> Result<Self, TableError> {
        validate::array(bytes, limits)?;
        Ok(Self { bytes })
    }

    /// The elements.
    #[inline]
    pub fn iter(&self) -> ArrayIter<'a> {
        ArrayIter { rest: self.bytes }
    }

    /// Whether there is no element.
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

    /// Takes bytes known to be an array: checked before, or written by this crate.
    #[inline]
    pub(super) fn from_checked(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl<'a> IntoIterator for Array<'a> {
    type Item = Value<'a>;
    type IntoIter = ArrayIter<'a>;

    fn into_iter(self) -> ArrayIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Array<'a> {
    type Item = Value<'a>;
    type IntoIter = ArrayIter<'a>;

    fn into_iter(self) -> ArrayIter<'a> {
        self.iter()
    }
}

/// As Erlang prints it: `[{longstr,<<"a">>},{bool,true}]`.
impl fmt::Display for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Term(Value::Array(*self)).fmt(f)
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The elements of an [`Array`].
#[derive(Clone, Debug)]
pub struct ArrayIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for ArrayIter<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        let (value, rest) = Value::read(self.rest)?;
        self.rest = rest;
        Some(value)
    }
}

impl std::iter::FusedIterator for ArrayIter<'_> {}
