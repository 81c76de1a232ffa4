//! The primitive types of the protocol: a cursor that reads them and a cursor that writes them.

use crate::table::{Table, TableError, TableLimits};

/// The most bytes a short string holds.
pub(crate) const SHORT_STR_MAX: usize = u8::MAX as usize;

/// Why arguments could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadError {
    /// The input ends inside a value.
    Truncated,
    /// A short string of a method is not UTF-8.
    MalformedUtf8,
    /// A table is malformed or over the limits.
    Table(TableError),
}

/// Reads values front to back. Bits pack into one octet from the lowest up, as long as only bits
/// follow each other.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    bits: u8,
    bits_left: u8,
    tables: TableLimits,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self::within(input, &TableLimits::default())
    }

    /// With these limits of tables.
    #[inline]
    pub(crate) fn within(input: &'a [u8], tables: &TableLimits) -> Self {
        Self { rest: input, bits: 0, bits_left: 0, tables: *tables }
    }

    /// What has not been read.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn bit(&mut self) -> Result<bool, ReadError> {
        if self.bits_left == 0 {
            self.bits = self.octet()?;
            self.bits_left = 8;
        }
        let bit = self.bits & 1 != 0;
        self.bits >>= 1;
        self.bits_left -= 1;
        Ok(bit)
    }

    #[inline]
    pub(crate) fn octet(&mut self) -> Result<u8, ReadError> {
        self.chunk().map(u8::from_be_bytes)
    }

    #[inline]
    pub(crate) fn short(&mut self) -> Result<u16, ReadError> {
        self.chunk().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn long(&mut self) -> Result<u32, ReadError> {
        self.chunk().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn longlong(&mut self) -> Result<u64, ReadError> {
        self.chunk().map(u64::from_be_bytes)
    }

    #[inline]
    pub(crate) fn shortstr(&mut self) -> Result<&'a str, ReadError> {
        str::from_utf8(self.short_bytes()?).map_err(|_| ReadError::MalformedUtf8)
    }

    /// A short string of any bytes.
    #[inline]
    pub(crate) fn short_bytes(&mut self) -> Result<&'a [u8], ReadError> {
        let len = self.octet()?;
        self.bytes(usize::from(len))
    }

    #[inline]
    pub(crate) fn longstr(&mut self) -> Result<&'a [u8], ReadError> {
        let len = usize::try_from(self.long()?).map_err(|_| ReadError::Truncated)?;
        self.bytes(len)
    }

    #[inline]
    pub(crate) fn table(&mut self) -> Result<Table<'a>, ReadError> {
        let bytes = self.longstr()?;
        Table::parse(bytes, &self.tables).map_err(ReadError::Table)
    }

    #[inline]
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], ReadError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(ReadError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    pub(crate) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (chunk, rest) = self.rest.split_first_chunk().ok_or(ReadError::Truncated)?;
        self.rest = rest;
        self.bits_left = 0;
        Ok(*chunk)
    }
}

/// Appends values; the mirror image of [`Reader`]. Bits are written when something else follows, so
/// a caller ends with [`Writer::flush_bits`].
pub(crate) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    bits: u8,
    used: u8,
}

impl<'o> Writer<'o> {
    #[inline]
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, bits: 0, used: 0 }
    }

    #[inline]
    pub(crate) fn bit(&mut self, bit: bool) {
        if self.used == 8 {
            self.flush_bits();
        }
        self.bits |= u8::from(bit) << self.used;
        self.used += 1;
    }

    #[inline]
    pub(crate) fn octet(&mut self, value: u8) {
        self.put(&[value]);
    }

    #[inline]
    pub(crate) fn short(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub(crate) fn long(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub(crate) fn longlong(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub(crate) fn shortstr(&mut self, text: &str) {
        debug_assert!(text.len() <= SHORT_STR_MAX, "a short string of {} bytes", text.len());
        self.short_bytes(cut(text, SHORT_STR_MAX).as_bytes());
    }

    #[inline]
    pub(crate) fn short_bytes(&mut self, bytes: &[u8]) {
        self.flush_bits();
        put_short_bytes(self.out, bytes);
    }

    #[inline]
    pub(crate) fn longstr(&mut self, bytes: &[u8]) {
        self.flush_bits();
        put_long_bytes(self.out, bytes);
    }

    #[inline]
    pub(crate) fn table(&mut self, table: Table<'_>) {
        self.longstr(table.as_bytes());
    }

    #[inline]
    pub(crate) fn flush_bits(&mut self) {
        if self.used > 0 {
            self.out.push(self.bits);
            self.bits = 0;
            self.used = 0;
        }
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.flush_bits();
        self.out.extend_from_slice(bytes);
    }
}

/// Appends a one-byte length and the bytes, at most 255 of them.
#[inline]
pub(crate) fn put_short_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = bytes.get(..SHORT_STR_MAX).unwrap_or(bytes);
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}

/// Appends a four-byte length and the bytes, less than 4 GiB of them.
#[inline]
pub(crate) fn put_long_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let (len, bytes) = match u32::try_from(bytes.len()) {
        Ok(len) => (len, bytes),
        Err(_) => (0, &[][..]),
    };
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A length as a frame's size field. Frames of 4 GiB and more do not exist.
#[inline]
pub(crate) fn size(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// The longest prefix of at most `max` bytes that ends on a character boundary.
#[inline]
pub(crate) fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_pack_from_the_lowest_and_start_anew_after_other_values() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        for bit in [true, false, true, true, false, false, false, true, true] {
            writer.bit(bit);
        }
        writer.octet(9);
        writer.bit(true);
        writer.flush_bits();
        assert_eq!(out, [0b1000_1101, 1, 9, 1]);

        let mut reader = Reader::new(&out);
        for bit in [true, false, true, true, false, false, false, true, true] {
            assert_eq!(reader.bit(), Ok(bit));
        }
        assert_eq!(reader.octet(), Ok(9));
        assert_eq!(reader.bit(), Ok(true));
        assert!(reader.rest().is_empty());
    }

    #[test]
    fn short_input_is_truncated_never_a_panic() {
        for len in 0..4 {
            assert_eq!(Reader::new(&[0xff; 8][..len]).long(), Err(ReadError::Truncated));
        }
        assert_eq!(Reader::new(&[2, b'a']).shortstr(), Err(ReadError::Truncated));
        assert_eq!(Reader::new(&[0xff; 9]).longstr(), Err(ReadError::Truncated));
        assert_eq!(Reader::new(&[1, 0xff]).shortstr(), Err(ReadError::MalformedUtf8));
        assert_eq!(Reader::new(&[1, 0xff]).short_bytes(), Ok(&[0xff][..]));
    }

    #[test]
    fn cuts_are_on_character_boundaries() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 2), "ab");
        assert_eq!(cut("a\u{20ac}", 3), "a");
    }
}
