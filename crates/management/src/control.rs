//! The control socket: the API for who runs the broker, without a login.
//!
//! It lies in the data directory and opens for the broker's own user only. Who can open it can read
//! and change the data anyway, so a request that comes through it is the administrator's.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use leveret_server::config::CONTROL_SOCKET;
use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;
const OWNER_ONLY: u32 = 0o600;

/// The socket of a running broker; dropping it takes its file away.
pub(crate) struct ControlSocket {
    path: PathBuf,
}

impl ControlSocket {
    /// Listens in a data directory, which has to be locked: a socket that is there already is one
    /// that a crash left behind.
    ///
    /// # Errors
    /// When the system refuses, as it does for paths of more than about a hundred bytes.
    pub(crate) fn listen(data: &Path) -> io::Result<(Self, UnixListener)> {
        let path = data.join(CONTROL_SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // On Linux the file gets the mode of the socket, so that it is never there with another.
        fchmod(&socket, Mode::from_raw_mode(OWNER_ONLY))?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
        set_permissions(&path, Permissions::from_mode(OWNER_ONLY))?;
        rustix::net::listen(&socket, BACKLOG)?;
        let listener = UnixListener::from_std(socket.into())?;
        Ok((Self { path }, listener))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // If it stays, the next start takes it away.
        let _ = fs::remove_file(&self.path);
    }
}
