//! Listening in two steps: an address is taken first, and clients find it when the broker can serve
//! them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::server::StartError;

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// An address that is taken and not yet listened on.
pub struct BoundListener {
    setting: &'static str,
    address: SocketAddr,
    socket: Socket,
}

impl BoundListener {
    /// Takes all addresses of a setting.
    ///
    /// # Errors
    /// When one can't be had.
    pub fn all(setting: &'static str, all: &[SocketAddr]) -> Result<Vec<Self>, StartError> {
        all.iter().map(|address| Self::new(setting, *address, all)).collect()
    }

    /// Takes one of the addresses of a setting, which are `all`: the IPv6 wildcard serves IPv4 as
    /// well, unless that has a listener of its own.
    ///
    /// # Errors
    /// When it can't be had.
    fn new(
        setting: &'static str,
        address: SocketAddr,
        all: &[SocketAddr],
    ) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { setting, address, source };
        let open = |address: SocketAddr| {
            let socket =
                Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            if address.is_ipv6() {
                // `[::]` is every interface, unless IPv4 has a listener of its own.
                let any_v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
                socket.set_only_v6(!address.ip().is_unspecified() || all.contains(&any_v4))?;
            }
            socket.bind(&address.into())?;
            Ok(socket)
        };
        let everywhere_v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
        match open(address) {
            Ok(socket) => Ok(Self { setting, address, socket }),
            Err(error) if address.ip().is_unspecified() && has_no_ipv6(&error) => {
                let socket = open(everywhere_v4).map_err(failed)?;
                Ok(Self { setting, address: everywhere_v4, socket })
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Listens; where, with the port resolved.
    ///
    /// # Errors
    /// When that fails after all.
    pub fn listen(self) -> Result<(SocketAddr, TcpListener), StartError> {
        let Self { setting, address, socket } = self;
        let failed = |source| StartError::Listen { setting, address, source };
        socket.listen(BACKLOG).map_err(failed)?;
        let listener = TcpListener::from_std(socket.into()).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        Ok((local, listener))
    }
}

fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
        || error.raw_os_error() == Some(ADDRESS_FAMILY_NOT_SUPPORTED)
}

/// `EAFNOSUPPORT`, which has no kind of its own.
const ADDRESS_FAMILY_NOT_SUPPORTED: i32 = 97;
