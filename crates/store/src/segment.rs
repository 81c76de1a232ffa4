//! Segment files: preallocated pieces of the journal, named by their number.
//!
//! | bytes | field |
//! | --- | --- |
//! | 0..8 | `LVTSEGMT` |
//! | 8..12 | CRC-32 of bytes 12..64 |
//! | 12..16 | format version, 1 |
//! | 16..24 | number of the segment |
//! | 24..32 | salt, random |
//! | 32..36 | shard, 0 |
//! | 36..64 | reserved, 0 |
//! | 64.. | units, one after the other |

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Disk, DiskFile, encoding::Reader, unit, upkeep::is_no_space};

/// Bytes before the first unit.
pub(crate) const HEADER: u64 = HEADER_SIZE as u64;

/// [`HEADER`] as the size of an array.
pub(crate) const HEADER_SIZE: usize = 64;

/// The format this code writes.
pub(crate) const VERSION: u32 = 1;

/// Kept free at the end of a segment for the mark of a clean stop.
pub(crate) const MARK_ROOM: u64 = unit::HEADER as u64;

/// A segment file with a valid header.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) salt: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Bytes allocated.
    pub(crate) capacity: u64,
}

/// What a segment's first bytes can say.
pub(crate) enum HeaderError {
    /// Of this newer version.
    Newer(u32),
    /// Not a header of this segment.
    Bad(&'static str),
}

impl Segment {
    /// Makes an empty segment of `size` bytes, durable when this returns.
    pub(crate) fn create(disk: &dyn Disk, dir: &Path, number: u64, size: u64) -> io::Result<Self> {
        let path = dir.join(new_name(number));
        let file = disk.create(&path)?;
        if let Err(error) = file.allocate(size) {
            if is_no_space(&error) {
                // What there is of space is left to those who need less. If this fails too, the next
                // attempt begins with it.
                let _ = file.set_len(0);
            }
            return Err(error);
        }
        Self::put_in_place(disk, dir, number, file, size)
    }

    /// Makes this segment, which nothing needs any more, into the empty segment `number`.
    pub(crate) fn recycle(self, disk: &dyn Disk, dir: &Path, number: u64) -> io::Result<Self> {
        disk.rename(&self.path, &dir.join(new_name(number)))?;
        // Before any younger segment goes: the numbers that are there have no hole.
        disk.sync_dir(dir)?;
        Self::put_in_place(disk, dir, number, self.file, self.capacity)
    }

    /// Renames the file, durably, to what no start reads. Answers its new name.
    pub(crate) fn set_aside(self, disk: &dyn Disk, dir: &Path) -> io::Result<PathBuf> {
        let kept = free_name(&self.path, &disk.list(dir)?);
        disk.rename(&self.path, &kept)?;
        disk.sync_dir(dir)?;
        Ok(kept)
    }

    /// Removes the file, durably.
    pub(crate) fn remove(self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        disk.remove(&self.path)?;
        disk.sync_dir(dir)
    }

    fn put_in_place(
        disk: &dyn Disk,
        dir: &Path,
        number: u64,
        file: Arc<dyn DiskFile>,
        capacity: u64,
    ) -> io::Result<Self> {
        let salt = getrandom::u64()?;
        file.write_all_at(&[&encode_header(number, salt)], 0)?;
        file.sync_data()?;
        let path = dir.join(name(number));
        disk.rename(&dir.join(new_name(number)), &path)?;
        disk.sync_dir(dir)?;
        Ok(Self { number, salt, path, file, capacity })
    }
}

/// Removes, durably, the file that was to become segment `number`, which it may have come near to.
pub(crate) fn remove_recycled(
    disk: &dyn Disk,
    dir: &Path,
    path: &Path,
    number: u64,
) -> io::Result<()> {
    for path in [path, &dir.join(new_name(number)), &dir.join(name(number))] {
        match disk.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    disk.sync_dir(dir)
}

/// The path under which a damaged file is kept: one whose name is not among those `taken` in its folder.
pub(crate) fn free_name(path: &Path, taken: &[String]) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = (1..).map(|attempt: u32| match attempt {
        1 => format!("{name}.damaged"),
        attempt => format!("{name}.damaged.{attempt}"),
    });
    let free = names.into_iter().find(|name| !taken.contains(name)).unwrap_or_default();
    path.with_file_name(free)
}

/// The name of the file of segment `number`.
pub(crate) fn name(number: u64) -> String {
    format!("{number:016x}.{SUFFIX}")
}

/// The number in a file name; `None` if it is no segment's.
pub(crate) fn number(file: &str) -> Option<u64> {
    let digits = file.strip_suffix(SUFFIX)?.strip_suffix('.')?;
    u64::from_str_radix(digits, 16).ok().filter(|number| name(*number) == file)
}

/// Whether the name is that of a segment still being made.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED).is_some_and(|name| name.ends_with('.'))
}

/// Reads the salt from the header of segment `number`.
pub(crate) fn decode_header(bytes: &[u8; HEADER_SIZE], number: u64) -> Result<u64, HeaderError> {
    const SHORT: HeaderError = HeaderError::Bad("too short");
    let mut reader = Reader(bytes);
    if reader.array().ok_or(SHORT)? != MAGIC {
        return Err(HeaderError::Bad("wrong first bytes"));
    }
    let crc = reader.u32().ok_or(SHORT)?;
    if crc != crc32fast::hash(reader.0) {
        return Err(HeaderError::Bad("wrong checksum"));
    }
    let version = reader.u32().ok_or(SHORT)?;
    if version > VERSION {
        return Err(HeaderError::Newer(version));
    }
    if reader.u64().ok_or(SHORT)? != number {
        return Err(HeaderError::Bad("it belongs to another file name"));
    }
    reader.u64().ok_or(SHORT)
}

pub(crate) fn encode_header(number: u64, salt: u64) -> [u8; HEADER_SIZE] {
    let mut bytes = [0; HEADER_SIZE];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&number.to_le_bytes());
    bytes[24..32].copy_from_slice(&salt.to_le_bytes());
    let crc = crc32fast::hash(&bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

pub(crate) fn new_name(number: u64) -> String {
    format!("{number:016x}.{UNFINISHED}")
}

const MAGIC: [u8; 8] = *b"LVTSEGMT";
const SUFFIX: &str = "seg";
/// Of a file that is being made.
pub(crate) const UNFINISHED: &str = "new";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{Operation, SimDisk};

    #[test]
    fn names_are_those_of_their_numbers() {
        assert_eq!(name(0x1f), "000000000000001f.seg");
        assert_eq!(number(&name(0x1f)), Some(0x1f));
        for other in [
            "000000000000001f.new",
            "1f.seg",
            "000000000000001f_seg",
            "lock",
            "+00000000000001f.seg",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn a_segment_for_which_there_is_no_space_is_gone_whatever_refused_it() {
        let dir = Path::new("/journal");
        let mut refusals = 0;
        let operations = [Operation::Name, Operation::Write, Operation::Sync, Operation::SyncDir];
        for (operation, count) in operations.into_iter().flat_map(|of| [(of, 0), (of, 1)]) {
            let disk = SimDisk::new(1);
            let segment = Segment::create(&disk, dir, 3, 4096).expect("made");
            let path = segment.path.clone();
            disk.refuse_after(operation, count);
            let Err(error) = segment.recycle(&disk, dir, 9) else { continue };
            assert!(is_no_space(&error), "{error}");
            refusals += 1;
            remove_recycled(&disk, dir, &path, 9).expect("removes");
            assert_eq!(disk.reboot().list(dir).expect("lists"), [""; 0], "{operation:?} {count}");
        }
        assert_eq!(refusals, 6);
    }

    #[test]
    fn damaged_files_get_names_of_their_own() {
        let path = Path::new("/journal/0000000000000003.seg");
        let mut taken = Vec::new();
        for name in ["0000000000000003.seg.damaged", "0000000000000003.seg.damaged.2"] {
            assert_eq!(free_name(path, &taken), path.with_file_name(name));
            taken.push(name.to_owned());
        }
    }

    #[test]
    fn a_header_is_for_one_number_and_version() {
        let header = encode_header(3, 77);
        assert!(matches!(decode_header(&header, 3), Ok(77)));
        assert!(matches!(decode_header(&header, 4), Err(HeaderError::Bad(_))));
        let mut damaged = header;
        damaged[25] ^= 1;
        assert!(matches!(decode_header(&damaged, 3), Err(HeaderError::Bad("wrong checksum"))));
        let mut newer = header;
        newer[12] = 2;
        let crc = crc32fast::hash(&newer[12..]);
        newer[8..12].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(decode_header(&newer, 3), Err(HeaderError::Newer(2))));
    }
}
