//! What a process costs: CPU, memory, disk, as Linux counts them.

use std::fs;
use std::io;
use std::time::Duration;

/// A process that can be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Process {
    pid: u32,
}

/// What a process has used so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Sample {
    /// User and system time of all its threads, also those that have ended.
    pub(crate) cpu: Duration,
    /// Bytes of memory it occupies now.
    pub(crate) resident: u64,
    /// Bytes it has caused to be written to disks; `None` if that is not ours to see.
    pub(crate) written: Option<u64>,
    /// Bytes it has caused to be read from disks, likewise.
    pub(crate) read: Option<u64>,
}

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// The generator itself.
    pub(crate) fn own() -> Self {
        Self { pid: std::process::id() }
    }

    pub(crate) fn pid(self) -> u32 {
        self.pid
    }

    /// Looks at everything.
    pub(crate) fn sample(self) -> io::Result<Sample> {
        let io = self.file("io").unwrap_or_default();
        Ok(Sample {
            cpu: self.cpu()?,
            resident: self.resident()?,
            written: field(&io, "write_bytes:"),
            read: field(&io, "read_bytes:"),
        })
    }

    /// User and system time only.
    pub(crate) fn cpu(self) -> io::Result<Duration> {
        let ticks = cpu_ticks(&self.file("stat")?).ok_or(io::ErrorKind::InvalidData)?;
        let nanos = ticks.saturating_mul(1_000_000_000) / rustix::param::clock_ticks_per_second();
        Ok(Duration::from_nanos(nanos))
    }

    /// Bytes of memory it occupies now.
    pub(crate) fn resident(self) -> io::Result<u64> {
        let kib = field(&self.file("status")?, "VmRSS:").ok_or(io::ErrorKind::InvalidData)?;
        Ok(kib * 1024)
    }

    fn file(self, name: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{name}", self.pid))
    }
}

/// The sum of the 14th and 15th field, counted after the name, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut times = after_name.split_ascii_whitespace().skip(11);
    let (user, system) = (times.next()?, times.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}

/// The number on the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "4 (a) b 7) S 1 1 1 0 -1 4 9 0 0 0 250 30 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(280));
        assert_eq!(cpu_ticks("4 (a) S 1"), None);
    }

    #[test]
    fn fields_are_found_by_name() {
        let status = "VmPeak:\t  900 kB\nVmRSS:\t  123 kB\n";
        assert_eq!(field(status, "VmRSS:"), Some(123));
        assert_eq!(field(status, "VmSwap:"), None);
    }

    #[test]
    fn the_own_process_uses_something() {
        let sample = Process::own().sample().unwrap();
        assert!(sample.resident > 100_000);
        assert!(Process::new(0).sample().is_err());
    }
}
