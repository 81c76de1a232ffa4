//! Where keys and values end, without looking into them.

/// How a value's bytes are laid out after its tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    /// So many bytes.
    Fixed(usize),
    /// A four-byte length and bytes of no further structure.
    Bytes,
    /// A four-byte length and elements.
    Array,
    /// A four-byte length and entries.
    Table,
}

impl Layout {
    /// The layout of a type RabbitMQ reads, `None` for any other tag.
    #[inline]
    pub(super) fn of(tag: u8) -> Option<Self> {
        Some(match tag {
            b'V' => Self::Fixed(0),
            b't' | b'b' | b'B' => Self::Fixed(1),
            b's' | b'u' => Self::Fixed(2),
            b'I' | b'i' | b'f' => Self::Fixed(4),
            b'D' => Self::Fixed(5),
            b'l' | b'L' | b'd' | b'T' => Self::Fixed(8),
            b'S' | b'x' => Self::Bytes,
            b'A' => Self::Array,
            b'F' => Self::Table,
            _ => return None,
        })
    }
}

/// Splits off a key.
#[inline]
pub(super) fn key(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = input.split_first()?;
    rest.split_at_checked(usize::from(len))
}

/// Splits off a four-byte length and as many bytes.
#[inline]
pub(super) fn long_bytes(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = input.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

/// An entry as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a [u8],
    /// Key and value.
    pub(super) bytes: &'a [u8],
}

/// Walks the entries of checked bytes.
pub(super) fn entries(table: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = table;
    std::iter::from_fn(move || {
        let (key, after_key) = key(rest)?;
        let (&tag, value) = after_key.split_first()?;
        let after = match Layout::of(tag)? {
            Layout::Fixed(len) => value.get(len..)?,
            Layout::Bytes | Layout::Array | Layout::Table => long_bytes(value)?.1,
        };
        let bytes = rest.get(..rest.len() - after.len())?;
        rest = after;
        Some(Entry { key, bytes })
    })
}
