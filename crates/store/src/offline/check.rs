//! Reads everything and says what is damaged.

use std::path::Path;

use super::{Damage, Lost, OfflineError, definitions, lock_to_read, survey};
use crate::{Disk, Lsn, OpenError, encoding::Reader, record::Record, store::JOURNAL, tables};

/// What a check found.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// Segment files that are there.
    pub segments: usize,
    /// Records that can be read.
    pub records: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// The last LSN.
    pub last_lsn: Lsn,
    /// The last broker stopped in order.
    pub clean_stop: bool,
    /// Bytes at the end that were written and never acknowledged: no damage.
    pub torn_bytes: u64,
    /// Rows of the definitions.
    pub definitions: usize,
    /// There are no tables of definitions, though segments are gone whose definitions they had, if there
    /// were any.
    pub lacks_tables: bool,
    /// What cannot be read, in the order of the journal.
    pub damages: Vec<Damage>,
}

/// Reads the journal and the definitions in `dir`, verifies every checksum and changes nothing.
///
/// # Errors
/// When there is nothing to check, a broker runs on it, it is of a newer format, or the system
/// refuses. Damage is no error.
pub fn check(disk: &dyn Disk, dir: &Path) -> Result<CheckReport, OfflineError> {
    let _lock = lock_to_read(disk, dir)?;
    inspect(disk, dir)
}

/// The same for one that holds the lock.
pub(super) fn inspect(disk: &dyn Disk, dir: &Path) -> Result<CheckReport, OfflineError> {
    let (mut records, mut bytes) = (0, 0);
    let journal = dir.join(JOURNAL);
    let (definitions, applied, unreadable) = match definitions::read(disk, dir)? {
        Ok((state, applied)) => (state.len(), applied, None),
        Err(reason) => (0, 0, Some(reason)),
    };
    let survey = survey::survey(disk, &journal, applied, |piece| {
        records += u64::from(piece.header.count);
        bytes += piece.records.len() as u64;
        let mut reader = Reader(piece.records);
        while let Some(record) = Record::read_own(&mut reader) {
            if record.entry().is_none() {
                let path = journal.join(crate::segment::name(piece.number));
                let what = "a record";
                return Err(OfflineError::Open(OpenError::NewerContent { path, what }));
            }
        }
        Ok(())
    })?;
    let mut damages = survey.damages;
    if let Some(reason) = unreadable {
        let path = dir.join(tables::FILE);
        damages.push(Damage { path, offset: 0, lost: Lost::Definitions { reason } });
    }
    let is_first_gone = survey.files.first().is_some_and(|file| file.number > 1);
    Ok(CheckReport {
        lacks_tables: is_first_gone && !definitions::are_there(disk, dir)?,
        segments: survey.files.iter().filter(|file| !file.is_missing).count(),
        records,
        bytes,
        last_lsn: Lsn(survey.chain.last()),
        clean_stop: survey.chain.clean_stop,
        torn_bytes: survey.torn_bytes,
        definitions,
        damages,
    })
}
