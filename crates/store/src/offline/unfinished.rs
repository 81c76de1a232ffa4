//! Tells a repair that was cut off from one that is done.
//!
//! What is set aside stays for good, and its number may go meanwhile. So that a file is missing says nothing
//! of where a repair was: a file of its own does, as long as one is under way, and names what it puts aside.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::is_there;
use crate::{Disk, OpenError, recovery::refused, segment, store::JOURNAL};

/// A file that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// What it was, and what has been put in its place is.
    pub path: PathBuf,
    /// Where it is now.
    pub aside: PathBuf,
}

/// Whether a repair of `dir` was cut off: what is there is neither the damaged journal nor the repaired one.
pub(crate) fn is_unfinished(disk: &dyn Disk, dir: &Path) -> Result<bool, OpenError> {
    is_there(disk, &dir.join(MARK))
}

/// Says, durably, that files are about to be set aside: each with the name it gets. What one before had `replaced` comes
/// behind these, since it may be set aside another time.
pub(super) fn begin(
    disk: &dyn Disk,
    dir: &Path,
    files: &[(&Path, &Path)],
    replaced: &[SetAside],
) -> Result<(), OpenError> {
    let inside = |path: &Path| path.strip_prefix(dir).unwrap_or(path).display().to_string();
    let line = |(from, to): (&Path, &Path)| format!("{} {}\n", inside(from), inside(to));
    let before = replaced.iter().map(|one| (&*one.path, &*one.aside));
    let lines: String = files.iter().copied().chain(before).map(line).collect();
    // As long as this one cannot be read, the one of the repair before is there.
    let path = dir.join(NEW_MARK);
    let mark = disk.create(&path).map_err(refused("create", &path))?;
    mark.write_all_at(&[lines.as_bytes()], 0).map_err(refused("write to", &path))?;
    mark.sync_data().map_err(refused("sync", &path))?;
    disk.rename(&path, &dir.join(MARK)).map_err(refused("rename", &path))?;
    disk.sync_dir(dir).map_err(refused("sync", dir))
}

/// If a repair was cut off, puts back what it had set aside without replacing it. Answers then what it had
/// replaced.
pub(super) fn resume(disk: &dyn Disk, dir: &Path) -> Result<Option<Vec<SetAside>>, OpenError> {
    if !is_unfinished(disk, dir)? {
        return Ok(None);
    }
    let mut replaced = Vec::new();
    for line in read(disk, &dir.join(MARK))?.lines() {
        let Some((path, aside)) = line.split_once(' ') else { continue };
        let (path, aside) = (dir.join(path), dir.join(aside));
        if !is_there(disk, &aside)? {
            continue;
        }
        if is_there(disk, &path)? {
            replaced.push(SetAside { path, aside });
        } else {
            disk.rename(&aside, &path).map_err(refused("rename", &aside))?;
        }
    }
    sync_names(disk, dir)?;
    Ok(Some(replaced))
}

/// Says that the repair is done.
pub(super) fn finish(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    let path = dir.join(MARK);
    disk.remove(&path).map_err(refused("remove", &path))?;
    disk.sync_dir(dir).map_err(refused("sync", dir))
}

/// Makes the names of everything that a repair renames durable.
pub(super) fn sync_names(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    for dir in [dir.join(JOURNAL), dir.to_owned()] {
        disk.sync_dir(&dir).map_err(refused("sync", &dir))?;
    }
    Ok(())
}

/// The name under which a file is set aside: one that nothing has.
pub(super) fn free_name(disk: &dyn Disk, path: &Path) -> Result<PathBuf, OpenError> {
    let dir = path.parent().unwrap_or(path);
    let taken = disk.list(dir).map_err(refused("list", dir))?;
    Ok(segment::free_name(path, &taken))
}

fn read(disk: &dyn Disk, path: &Path) -> Result<String, OpenError> {
    let read = || {
        let file = disk.open(path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().map_err(refused("read", path))
}

/// The file that marks a repair as unfinished. A line has the name of a file and the one it is set aside
/// under, both seen from the data directory; the first line of a file is the last word on it.
const MARK: &str = "repair.unfinished";
/// That file while it is made.
const NEW_MARK: &str = "repair.new";
