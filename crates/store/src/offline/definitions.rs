//! The tables of definitions, read without being changed.

use std::{io, path::Path, sync::Arc};

use super::is_there;
use crate::{
    Disk, DiskFile, MemDisk, OpenError,
    recovery::refused,
    tables::{self, State, Tables},
};

/// The tables as they are in `dir`, and the LSN up to which changes are in them; or what is wrong
/// with them.
///
/// They are read from a copy in memory: opening the file itself would change it.
pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Result<(State, u64), String>, OpenError> {
    let path = dir.join(tables::FILE);
    let file = match disk.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok((State::new(), 0))),
        Err(error) => return Err(refused("open", &path)(error)),
    };
    let copy: Arc<dyn Disk> = match copy(&*file, &path) {
        Ok(copy) => Arc::new(copy),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let opened = tables::verify(&copy, &path).and_then(|()| {
        Tables::open(copy, dir).map_err(|error| match error {
            OpenError::Definitions { source, .. } => source.to_string(),
            other => other.to_string(),
        })
    });
    Ok(opened.map(|(_, state, applied)| (state, applied)))
}

/// Whether there are tables in `dir`.
pub(super) fn are_there(disk: &dyn Disk, dir: &Path) -> Result<bool, OpenError> {
    is_there(disk, &dir.join(tables::FILE))
}

fn copy(file: &dyn DiskFile, path: &Path) -> io::Result<MemDisk> {
    let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    let copy = MemDisk::new();
    copy.create(path)?.write_all_at(&[&bytes], 0)?;
    Ok(copy)
}
