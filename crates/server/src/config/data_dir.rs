//! Where the data goes when nobody says.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::error::ConfigError;
use super::sources::Sources;

/// The place of a broker that runs as a service.
pub(super) const SYSTEM: &str = "/var/lib/leveret";

/// [`SYSTEM`] when it is writable or can be made, else the state directory of the user.
pub(super) fn find(sources: &Sources) -> Result<PathBuf, ConfigError> {
    let system = Path::new(SYSTEM);
    if is_usable(system) {
        return Ok(system.to_owned());
    }
    let state = match (sources.place("XDG_STATE_HOME"), sources.place("HOME")) {
        (Some(state), _) => state.to_owned(),
        (None, Some(home)) => home.join(".local/state"),
        (None, None) => return Err(ConfigError::NoDataDirectory),
    };
    Ok(state.join("leveret"))
}

/// Asks the system without leaving a trace: looking at a configuration makes no directories.
fn is_usable(directory: &Path) -> bool {
    let writable = |path| access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    if directory.exists() {
        directory.is_dir() && writable(directory)
    } else {
        directory.parent().is_some_and(writable)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_directory_is_usable_when_it_can_be_written_or_made() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_usable(folder.path()));
        assert!(is_usable(&folder.path().join("new")));
        assert!(!is_usable(&folder.path().join("no/new")));
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(!is_usable(&folder.path().join("file")));
    }
}
