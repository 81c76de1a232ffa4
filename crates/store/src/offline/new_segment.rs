//! A segment that a repair makes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::survey::SurveyedFile;
use crate::{
    Batch, Disk, DiskFile, OpenError,
    encoding::Reader,
    record::Record,
    recovery::refused,
    segment::{self, HEADER, MARK_ROOM},
    unit::{self, UnitHeader},
};

/// A segment's file under its name as long as it is made.
pub(super) struct NewSegment {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    capacity: u64,
    salt: u64,
    pub(super) at: u64,
    pub(super) records: u64,
    pub(super) session: u32,
}

impl NewSegment {
    pub(super) fn create(
        disk: &dyn Disk,
        dir: &Path,
        of: &SurveyedFile,
    ) -> Result<Self, OpenError> {
        let path = dir.join(segment::new_name(of.number));
        let file = disk.create(&path).map_err(refused("create", &path))?;
        let salt = getrandom::u64()
            .map_err(io::Error::from)
            .map_err(refused("choose a salt for", &path))?;
        let capacity = of.capacity.max(HEADER + MARK_ROOM);
        file.allocate(capacity).map_err(refused("allocate", &path))?;
        let header = segment::encode_header(of.number, salt);
        file.write_all_at(&[&header], 0).map_err(refused("write to", &path))?;
        Ok(Self { path, file, capacity, salt, at: HEADER, records: 0, session: of.session })
    }

    /// Adds the records as a unit that follows `previous`.
    pub(super) fn unit(
        &mut self,
        previous: u64,
        of: &UnitHeader,
        records: &[u8],
    ) -> Result<(), OpenError> {
        let mut digest = crc32fast::Hasher::new();
        let mut reader = Reader(records);
        while let Some(record) = Record::read_own(&mut reader) {
            digest.update(&record.crc.to_le_bytes());
        }
        self.session = of.session;
        self.records += u64::from(of.count);
        self.write(
            UnitHeader {
                digest: digest.finalize(),
                salt: self.salt,
                previous,
                durable: previous,
                length: records.len() as u64,
                flags: 0,
                ..*of
            },
            records,
        )
    }

    /// Adds records without messages, the first with this number, as a unit that follows `previous`.
    pub(super) fn tombstones(
        &mut self,
        previous: u64,
        first: u64,
        session: u32,
        batch: &Batch,
    ) -> Result<(), OpenError> {
        let records = batch.bytes.get(unit::HEADER..).unwrap_or_default();
        let header = UnitHeader {
            first,
            count: batch.count,
            digest: batch.digest.clone().finalize(),
            length: records.len() as u64,
            session,
            ..self.filler_header(previous)
        };
        self.write(header, records)
    }

    /// Adds a unit that says nothing but has the numbers up to `last`.
    pub(super) fn filler(&mut self, previous: u64, last: u64) -> Result<(), OpenError> {
        if last <= previous {
            let header = UnitHeader { first: previous + 1, ..self.filler_header(previous) };
            return self.write(header, &[]);
        }
        let mut batch = Batch::new();
        batch.nothing();
        let records = batch.bytes.get(unit::HEADER..).unwrap_or_default();
        let header = UnitHeader {
            first: last,
            count: batch.count,
            digest: batch.digest.clone().finalize(),
            length: records.len() as u64,
            ..self.filler_header(previous)
        };
        self.write(header, records)
    }

    fn filler_header(&self, previous: u64) -> UnitHeader {
        UnitHeader {
            salt: self.salt,
            previous,
            durable: previous,
            session: self.session,
            ..UnitHeader::default()
        }
    }

    fn write(&mut self, header: UnitHeader, records: &[u8]) -> Result<(), OpenError> {
        let end = self.at + unit::HEADER as u64 + records.len() as u64;
        // Units in pieces have more headers than the whole ones had.
        if end + MARK_ROOM > self.capacity {
            self.capacity = end + MARK_ROOM;
            self.file.allocate(self.capacity).map_err(refused("allocate", &self.path))?;
        }
        self.file
            .write_all_at(&[&header.encode(), records], self.at)
            .map_err(refused("write to", &self.path))?;
        self.at = end;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), OpenError> {
        self.file.sync_data().map_err(refused("sync", &self.path))
    }
}
