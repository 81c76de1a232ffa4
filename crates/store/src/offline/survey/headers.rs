//! Finds units' headers, wherever they are.

use std::io;

use crate::{
    OpenError,
    recovery::{
        refused,
        scan::{Chain, Window},
    },
    segment::{HEADER, Segment},
    unit::{self, UnitHeader},
};

/// A unit's header and where it is.
pub(super) struct Found {
    pub(super) at: u64,
    pub(super) header: UnitHeader,
}

/// Whether a unit was cut off by a session that went on before it, which began the next file with `after`.
pub(super) fn is_outdated(header: &UnitHeader, after: &UnitHeader) -> bool {
    header.session < after.session && header.last() > after.previous
}

/// Whether the unit with `header` at `at` has all its records.
pub(super) fn is_whole(segment: &Segment, at: u64, header: &UnitHeader) -> io::Result<bool> {
    let chain = Chain { previous: Some(header.previous), ..Chain::default() };
    Ok(Window::new(segment).unit(at, &chain)?.is_some())
}

/// The header of the unit with which a file begins.
pub(super) fn header_at_start(segment: &Segment) -> Result<Option<UnitHeader>, OpenError> {
    let length = unit::HEADER as u64;
    if segment.capacity < HEADER + length {
        return Ok(None);
    }
    let header = UnitHeader::decode(&read(segment, HEADER, length)?);
    Ok(header.filter(|header| header.salt == segment.salt))
}

/// The salt of the newest unit in a file: those of older uses have lower numbers, and `others` are of other files, a
/// block of which may have been written here.
pub(super) fn newest_salt(segment: &Segment, others: &[u64]) -> io::Result<Option<u64>> {
    let mut newest: Option<UnitHeader> = None;
    headers(segment, HEADER, |_, header| {
        let is_newer = newest.is_none_or(|newest| newest.first < header.first);
        if is_newer && !others.contains(&header.salt) {
            newest = Some(header);
        }
        None::<()>
    })?;
    Ok(newest.map(|newest| newest.salt))
}

/// Shows the valid unit headers from `start` on to `choose`, at every multiple of 8, until it takes
/// one.
pub(super) fn headers<T>(
    segment: &Segment,
    start: u64,
    mut choose: impl FnMut(u64, UnitHeader) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut at = start;
    let mut buffer = Vec::new();
    while at + unit::HEADER as u64 <= segment.capacity {
        let size = usize::try_from((segment.capacity - at).min(PIECE)).map_err(io::Error::other)?;
        buffer.resize(size, 0);
        segment.file.read_exact_at(&mut buffer, at)?;
        for index in (0..size.saturating_sub(unit::HEADER - 1)).step_by(8) {
            let bytes = buffer.get(index..).unwrap_or_default();
            if !bytes.starts_with(&unit::MAGIC) {
                continue;
            }
            if let Some(header) = UnitHeader::decode(bytes)
                && let Some(chosen) = choose(at + index as u64, header)
            {
                return Ok(Some(chosen));
            }
        }
        if (size as u64) < PIECE {
            break;
        }
        at += PIECE - (unit::HEADER as u64 - 8);
    }
    Ok(None)
}

pub(super) fn read(segment: &Segment, at: u64, length: u64) -> Result<Vec<u8>, OpenError> {
    let failed = |error| refused("read", &segment.path)(error);
    let length = usize::try_from(length).map_err(|_| failed(io::ErrorKind::FileTooLarge.into()))?;
    let mut bytes = vec![0; length];
    segment.file.read_exact_at(&mut bytes, at).map_err(failed)?;
    Ok(bytes)
}

const PIECE: u64 = 1 << 20;
