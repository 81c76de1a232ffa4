use std::fmt;

use bytes::Bytes;

use super::{Array, Table, TableError, TableLimits};

/// A [`Table`] that owns its bytes. Cloning shares them.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct TableBuf(Bytes);

impl TableBuf {
    /// Checks the bytes of a table as [`Table::parse`] does, and keeps them without a copy.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn parse(bytes: Bytes, limits: &TableLimits) -> Result<Self, TableError> {
        Table::parse(&bytes, limits)?;
        Ok(Self(bytes))
    }

    /// The table, borrowed.
    #[must_use]
    #[inline]
    pub fn as_table(&self) -> Table<'_> {
        Table::from_checked(&self.0)
    }

    /// The bytes, without the length before them.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether there is no entry.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn from_checked(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

/// Copies the bytes.
impl From<Table<'_>> for TableBuf {
    fn from(table: Table<'_>) -> Self {
        Self(Bytes::copy_from_slice(table.as_bytes()))
    }
}

impl fmt::Debug for TableBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_table().fmt(f)
    }
}

/// An [`Array`] that owns its bytes. Cloning shares them.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct ArrayBuf(Bytes);

impl ArrayBuf {
    /// The array, borrowed.
    #[must_use]
    #[inline]
    pub fn as_array(&self) -> Array<'_> {
        Array::from_checked(&self.0)
    }

    pub(super) fn from_checked(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

/// Copies the bytes.
impl From<Array<'_>> for ArrayBuf {
    fn from(array: Array<'_>) -> Self {
        Self(Bytes::copy_from_slice(array.as_bytes()))
    }
}

impl fmt::Debug for ArrayBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_array().fmt(f)
    }
}
