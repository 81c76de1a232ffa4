//! Little-endian numbers and LEB128 variable-length numbers.

/// Reads from the front of a slice; every method answers `None` when the bytes do not hold what was
/// asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(head)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Option<u64> {
        // Most are small.
        if let Some((&byte, rest)) = self.0.split_first()
            && byte < 0x80
        {
            self.0 = rest;
            return Some(byte.into());
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A number given as the [difference](put_difference) to `from`.
    pub(crate) fn difference(&mut self, from: u64) -> Option<u64> {
        let zigzag = self.varint()?;
        Some(from.wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg()))
    }
}

/// Appends the difference from one number to another, negative or not: twice the difference, and
/// for a negative one the complement of that.
pub(crate) fn put_difference(into: &mut Vec<u8>, from: u64, to: u64) {
    let difference = to.wrapping_sub(from).cast_signed();
    put_varint(into, ((difference << 1) ^ (difference >> 63)).cast_unsigned());
}

/// Appends `value` in LEB128: seven bits a byte, lowest first, the top bit set on all but the last.
pub(crate) fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            into.push(low);
            return;
        }
        into.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_come_back(value: u64, shift in 0..64_u32) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut reader = Reader(&bytes);
            prop_assert_eq!(reader.varint(), Some(value));
            prop_assert!(reader.0.is_empty());
        }
    }

    proptest! {
        #[test]
        fn differences_come_back(from: u64, to: u64, is_near: bool) {
            let to = if is_near { from.wrapping_add(to % 100).wrapping_sub(50) } else { to };
            let mut bytes = Vec::new();
            put_difference(&mut bytes, from, to);
            prop_assert!(!is_near || bytes.len() == 1);
            prop_assert_eq!(Reader(&bytes).difference(from), Some(to));
        }
    }

    #[test]
    fn a_varint_too_long_or_cut_is_refused() {
        assert_eq!(Reader(&[0xff; 11]).varint(), None);
        assert_eq!(
            Reader(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).varint(),
            None
        );
        assert_eq!(Reader(&[0x80]).varint(), None);
    }
}
