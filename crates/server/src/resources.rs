//! What the machine says of memory and disk space.
//!
//! Memory is read from `/proc` and `/sys`, as Linux has them; elsewhere it is unknown.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of physical memory this process holds.
pub(crate) fn memory_in_use() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Bytes of memory this process may have: the machine's, or less if a control group it is in (a
/// container) has less.
pub(crate) fn memory_available() -> Option<u64> {
    memory_available_below(Path::new("/"))
}

/// How many files, sockets included, this process may have open.
pub(crate) fn descriptors_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Bytes free for us on the file system a path is on.
pub(crate) fn disk_free(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

fn memory_available_below(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok();
    let machine = machine.and_then(|text| field(&text, "MemTotal:"));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    groups.lines().filter_map(|line| group_limit(root, line)).chain(machine).min()
}

/// The limit of a line of `/proc/self/cgroup`: `0::/path` (version 2) or `4:memory:/path`.
fn group_limit(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|controller| controller == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    // A limit of any group above counts as well; in a container the path often is one of outside,
    // and its own group is what is mounted.
    let own: PathBuf = root.join(mount).join(path.trim_start_matches('/'));
    let above = own.ancestors().take_while(|folder| folder.starts_with(root.join(mount)));
    above.filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()).min()
}

/// The bytes of a line such as `VmRSS:   1024 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_some_of_the_memory_there_is() {
        let (held, all) = (memory_in_use().unwrap(), memory_available().unwrap());
        assert!(held > 1 << 20 && held < all, "{held} of {all}");
        assert!(disk_free(Path::new("/")).is_some());
        assert_eq!(disk_free(Path::new("/no/such/place")), None);
    }

    /// A machine, made of the files that matter.
    fn machine(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        memory_available_below(root.path())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\n");
    const ALL: u64 = 1000 * 1024;

    #[test]
    fn the_machine_bounds_what_no_group_does() {
        assert_eq!(machine(&[]), None);
        assert_eq!(machine(&[MEMINFO]), Some(ALL));
        let unlimited = ("sys/fs/cgroup/a/memory.max", "max\n");
        assert_eq!(machine(&[MEMINFO, ("proc/self/cgroup", "0::/a\n"), unlimited]), Some(ALL));
    }

    #[test]
    fn a_group_bounds_and_so_do_those_above() {
        let groups = ("proc/self/cgroup", "0::/a/b\n");
        let own = ("sys/fs/cgroup/a/b/memory.max", "5000\n");
        let above = ("sys/fs/cgroup/a/memory.max", "4000\n");
        assert_eq!(machine(&[MEMINFO, groups, own]), Some(5000));
        assert_eq!(machine(&[MEMINFO, groups, own, above]), Some(4000));
        // A path of outside: what is mounted is the group.
        let mounted = ("sys/fs/cgroup/memory.max", "3000\n");
        assert_eq!(machine(&[MEMINFO, groups, mounted]), Some(3000));
    }

    #[test]
    fn the_older_version_has_its_own_places() {
        let groups = ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n");
        let unlimited = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        let own = ("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "6000\n");
        assert_eq!(machine(&[MEMINFO, groups, unlimited]), Some(ALL));
        assert_eq!(machine(&[MEMINFO, groups, unlimited, own]), Some(6000));
    }
}
