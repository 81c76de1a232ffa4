use super::{Array, ArrayBuf, Table, TableBuf, Value, raw};
use crate::wire;

/// Makes a table, or a changed copy of one. Entries that are not touched keep their bytes.
///
/// Building cannot fail: keys are cut at 255 bytes.
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct TableBuilder {
    bytes: Vec<u8>,
}

impl TableBuilder {
    /// Starts with no entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with the entries of `table`.
    pub fn from_table(table: Table<'_>) -> Self {
        Self { bytes: table.as_bytes().to_vec() }
    }

    /// Appends an entry, also when the key is there already.
    pub fn put<'v>(mut self, key: &str, value: impl Into<Value<'v>>) -> Self {
        self.append(key, value.into());
        self
    }

    /// Gives the entry named `key` a new value in its old place, or appends one. Further entries of
    /// that name go.
    pub fn set<'v>(mut self, key: &str, value: impl Into<Value<'v>>) -> Self {
        let value = value.into();
        let old = std::mem::take(&mut self.bytes);
        let mut is_set = false;
        for entry in raw::entries(&old) {
            if entry.key != key.as_bytes() {
                self.bytes.extend_from_slice(entry.bytes);
            } else if !is_set {
                self.append(key, value);
                is_set = true;
            }
        }
        if !is_set {
            self.append(key, value);
        }
        self
    }

    /// Drops the entries named `key`.
    pub fn remove(mut self, key: &str) -> Self {
        let old = std::mem::take(&mut self.bytes);
        for entry in raw::entries(&old).filter(|entry| entry.key != key.as_bytes()) {
            self.bytes.extend_from_slice(entry.bytes);
        }
        self
    }

    /// The table, entries in the order they were put.
    #[must_use]
    pub fn build(self) -> TableBuf {
        TableBuf::from_checked(self.bytes)
    }

    /// The table sorted by key, as RabbitMQ leaves headers it rewrites. Entries of one name keep
    /// their order.
    #[must_use]
    pub fn build_sorted(self) -> TableBuf {
        let mut entries: Vec<_> = raw::entries(&self.bytes).collect();
        entries.sort_by_key(|entry| entry.key);
        let mut sorted = Vec::with_capacity(self.bytes.len());
        entries.iter().for_each(|entry| sorted.extend_from_slice(entry.bytes));
        TableBuf::from_checked(sorted)
    }

    fn append(&mut self, key: &str, value: Value<'_>) {
        wire::put_short_bytes(&mut self.bytes, wire::cut(key, wire::SHORT_STR_MAX).as_bytes());
        value.write(&mut self.bytes);
    }
}

/// Makes an array, or a longer copy of one.
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct ArrayBuilder {
    bytes: Vec<u8>,
}

impl ArrayBuilder {
    /// Starts with no element.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with the elements of `array`.
    pub fn from_array(array: Array<'_>) -> Self {
        Self { bytes: array.as_bytes().to_vec() }
    }

    /// Appends an element.
    pub fn push<'v>(mut self, value: impl Into<Value<'v>>) -> Self {
        value.into().write(&mut self.bytes);
        self
    }

    /// The array.
    #[must_use]
    pub fn build(self) -> ArrayBuf {
        ArrayBuf::from_checked(self.bytes)
    }
}
