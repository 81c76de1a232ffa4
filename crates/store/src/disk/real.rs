//! The operating system's files.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Read, Seek, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    process,
    sync::Arc,
};

use rustix::fs::{FlockOperation, flock};

use super::{Disk, DiskFile, DiskLock, LockError};

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl RealDisk {
    /// The operating system's file system.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(PRIVATE)
            .open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> Result<DiskLock, LockError> {
        let failed = |source| LockError::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE)
            .open(path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let pid =
                    file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(LockError::Held { pid });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        let write_pid = |file: &mut File| {
            // What is there is overwritten, so that a full disk need not give a block back and another one out.
            file.rewind()?;
            let text = format!("{}\n", process::id());
            file.write_all(text.as_bytes())?;
            file.set_len(text.len() as u64)
        };
        write_pid(&mut file).map_err(failed)?;
        Ok(DiskLock::new(Locked(file)))
    }
}

/// A file that is locked until this is dropped, whoever else has a copy of its descriptor: a child has, from its fork
/// until it runs a program of its own.
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // To close it does the same if nobody has.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, slices: &[&[u8]], offset: u64) -> io::Result<()> {
        if let [one] = slices {
            return self.0.write_all_at(one, offset);
        }
        let mut vector: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let mut rest = vector.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        let mut at = offset;
        while !rest.is_empty() {
            let window = rest.get(..rest.len().min(MAX_SLICES)).unwrap_or(rest);
            let written = match rustix::io::pwritev(&self.0, window, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            IoSlice::advance_slices(&mut rest, written);
            at += written as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut at = self.len()?;
        if len <= at {
            return Ok(());
        }
        #[cfg(target_os = "linux")]
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), at, len - at) {
            // Not every file system can; writing the zeros allocates too, only in smaller pieces.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(errno) => return Err(errno.into()),
        }
        while at < len {
            let piece = usize::try_from(len - at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.0.write_all_at(ZEROS.get(..piece).unwrap_or(&ZEROS), at)?;
            at += piece as u64;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    #[cfg(target_os = "linux")]
    fn discard(&self, from: u64, to: u64) -> io::Result<()> {
        use rustix::fs::FallocateFlags;
        use rustix::io::Errno;

        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.0, flags, from, to.saturating_sub(from)) {
            // Not every file system can.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// There is no way that all these systems have.
    #[cfg(not(target_os = "linux"))]
    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Messages and password hashes are nobody else's business.
const PRIVATE: u32 = 0o600;

/// What Linux takes in one call.
const MAX_SLICES: usize = 1024;

static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
