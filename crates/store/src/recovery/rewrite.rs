//! Writes the end of a journal once more.
//!
//! A process that could not sync ends, and the next one reads what it wrote. But the system may take for
//! written what a failed sync did not write, and would then not write it at the next sync either. So what
//! was not stated to be durable is written again, as it was read.

use std::io;

use super::refused;
use crate::{
    OpenError,
    segment::Segment,
    unit::{self, UnitHeader},
};

/// Makes the units from `start`, where one begins, up to `end` durable.
pub(super) fn rewrite(segment: &Segment, start: u64, end: u64) -> Result<(), OpenError> {
    let mut at = start;
    while at < end {
        let mut bytes = vec![0; usize::try_from((end - at).min(PIECE)).unwrap_or_default()];
        let read = |bytes: &mut Vec<u8>| {
            let read = segment.file.read_exact_at(bytes, at);
            read.map_err(refused("read", &segment.path))
        };
        read(&mut bytes)?;
        if let Some(header) = UnitHeader::decode(&bytes) {
            let first = unit::HEADER as u64 + header.length;
            if first > bytes.len() as u64 && first <= end - at {
                bytes = vec![0; usize::try_from(first).unwrap_or_default()];
                read(&mut bytes)?;
            }
        }
        let length = whole_units(&bytes, segment.salt);
        if length == 0 {
            // It was whole a moment ago.
            let source = io::ErrorKind::InvalidData.into();
            return Err(refused("read again what was read from", &segment.path)(source));
        }
        let units = bytes.get(..length).unwrap_or_default();
        segment.file.write_all_at(&[units], at).map_err(refused("write to", &segment.path))?;
        at += length as u64;
    }
    segment.file.sync_data().map_err(refused("sync", &segment.path))
}

/// Bytes of the units that are whole and right.
fn whole_units(bytes: &[u8], salt: u64) -> usize {
    let mut length = 0;
    while let Some(unit) = bytes.get(length..)
        && let Some(header) = UnitHeader::decode(unit)
        && header.salt == salt
        && let Ok(size) = usize::try_from(header.length)
        && let Some(body) = unit.get(unit::HEADER..unit::HEADER.saturating_add(size))
        && header.vouches_for(body)
    {
        length += unit::HEADER + size;
    }
    length
}

const PIECE: u64 = 1 << 20;
