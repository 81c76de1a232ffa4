//! Units: what one append wrote, the journal's atoms.
//!
//! | bytes | field |
//! | --- | --- |
//! | 0..4 | `LVTU` |
//! | 4..8 | CRC-32 of bytes 8..64 |
//! | 8..12 | digest: CRC-32 of the CRCs of the records, in order |
//! | 12..16 | count of records |
//! | 16..24 | salt of the segment |
//! | 24..32 | LSN of the first record |
//! | 32..40 | last LSN of the unit before |
//! | 40..48 | LSN known to be durable when this was written |
//! | 48..56 | length of the records in bytes, a multiple of 8 |
//! | 56..60 | session: how many times the journal had been opened |
//! | 60..64 | flags: 1 = clean stop, 2 = reopened |

use crate::{encoding::Reader, record::Record};

/// Bytes before a unit's records.
pub(crate) const HEADER: usize = 64;

/// Starts a unit.
pub(crate) const MAGIC: [u8; 4] = *b"LVTU";

/// Flag of the last unit of a process which closed the journal.
pub(crate) const CLEAN_STOP: u32 = 1;

/// Flag of a mark which took the place of that unit, because the segment had no room for another.
pub(crate) const REOPENED: u32 = 2;

/// The start of a unit. One without records is a mark: it only states how far the journal is
/// durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnitHeader {
    pub(crate) digest: u32,
    pub(crate) count: u32,
    pub(crate) salt: u64,
    pub(crate) first: u64,
    pub(crate) previous: u64,
    pub(crate) durable: u64,
    pub(crate) length: u64,
    pub(crate) session: u32,
    pub(crate) flags: u32,
}

impl UnitHeader {
    /// The LSN of the last record; for a mark that of the unit before.
    pub(crate) fn last(&self) -> u64 {
        match self.count {
            0 => self.previous,
            count => self.first.saturating_add(u64::from(count) - 1),
        }
    }

    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.digest.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.count.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.salt.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.previous.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.durable.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.length.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.session.to_le_bytes());
        bytes[60..64].copy_from_slice(&self.flags.to_le_bytes());
        let crc = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header at the front of `bytes`; `None` if there is none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let mut reader = Reader(bytes);
        if reader.array()? != MAGIC || reader.u32()? != crc32fast::hash(&bytes[8..]) {
            return None;
        }
        Some(Self {
            digest: reader.u32()?,
            count: reader.u32()?,
            salt: reader.u64()?,
            first: reader.u64()?,
            previous: reader.u64()?,
            durable: reader.u64()?,
            length: reader.u64()?,
            session: reader.u32()?,
            flags: reader.u32()?,
        })
    }

    /// Whether the records of `body` are this unit's, if they are whole themselves.
    pub(crate) fn counts(&self, body: &[u8]) -> bool {
        self.is_digest_of(body, Record::read_own)
    }

    /// Whether `body` holds this unit's records, whole.
    pub(crate) fn vouches_for(&self, body: &[u8]) -> bool {
        self.is_digest_of(body, Record::read)
    }

    fn is_digest_of<'a>(
        &self,
        body: &'a [u8],
        read: impl Fn(&mut Reader<'a>) -> Option<Record<'a>>,
    ) -> bool {
        let mut digest = crc32fast::Hasher::new();
        let mut reader = Reader(body);
        for _ in 0..self.count {
            let Some(record) = read(&mut reader) else { return false };
            digest.update(&record.crc.to_le_bytes());
        }
        reader.0.is_empty() && digest.finalize() == self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_any_flipped_bit_is_noticed() {
        let header = UnitHeader {
            digest: 1,
            count: 2,
            salt: 3,
            first: 4,
            previous: 5,
            durable: 6,
            length: 8,
            session: 7,
            flags: 1,
        };
        let bytes = header.encode();
        assert_eq!(UnitHeader::decode(&bytes), Some(header));
        for bit in 0..HEADER * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(UnitHeader::decode(&damaged), None, "bit {bit}");
        }
    }
}
