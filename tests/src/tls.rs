//! Certificates, and a client's side of TLS.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::server::{WantsServerCert, WebPkiClientVerifier};
pub use rustls::{ClientConfig, ServerConfig};
use rustls::{
    ClientConnection, ConfigBuilder, RootCertStore, ServerConnection, StreamOwned, WantsVerifier,
};
use time::{Duration, OffsetDateTime};

use crate::PATIENCE;
use crate::client::socket_from;

/// Who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its chain and its key: PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, and those that follow it.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// What a certificate is for.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Its common name.
    pub name: &'a str,
    /// Hosts and addresses it is for.
    pub hosts: &'a [&'a str],
    /// How many days it is still valid, negative for one that has expired.
    pub days: i64,
}

impl Authority {
    /// A root of its own.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(CertifiedIssuer::self_signed(authority(name), key()).expect("a certificate"))
    }

    /// An authority below this one.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        Self(CertifiedIssuer::signed_by(authority(name), key(), &self.0).expect("a certificate"))
    }

    /// Its certificate: PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its key: PEM, for others to sign with.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// A certificate it has signed.
    #[must_use]
    pub fn sign(&self, wanted: &Wanted<'_>) -> Identity {
        let hosts: Vec<String> = wanted.hosts.iter().map(|host| (*host).to_owned()).collect();
        self.sign_params(CertificateParams::new(hosts).expect("hosts"), wanted)
    }

    /// A certificate it has signed, with more in it.
    #[must_use]
    pub fn sign_params(&self, params: CertificateParams, wanted: &Wanted<'_>) -> Identity {
        self.sign_all(params, wanted, &key())
    }

    /// A certificate for a key in PEM form, of whatever kind it is.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn sign_key(&self, wanted: &Wanted<'_>, key: &str) -> Identity {
        let hosts: Vec<String> = wanted.hosts.iter().map(|host| (*host).to_owned()).collect();
        let key = KeyPair::from_pem(key).expect("a key");
        self.sign_all(CertificateParams::new(hosts).expect("hosts"), wanted, &key)
    }

    fn sign_all(
        &self,
        mut params: CertificateParams,
        wanted: &Wanted<'_>,
        key: &KeyPair,
    ) -> Identity {
        params.distinguished_name.push(DnType::CommonName, wanted.name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let now = OffsetDateTime::now_utc();
        params.not_before = now - Duration::days(100);
        params.not_after = now + Duration::days(wanted.days);
        let certificate = params.signed_by(key, &self.0).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([]).expect("no hosts");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Identity {
    /// Writes both into a directory; where they are.
    #[must_use]
    pub fn write(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let files = ["pem", "key"].map(|end| directory.join(format!("{name}.{end}")));
        let [certificate, key] = files;
        std::fs::write(&certificate, &self.certificate).expect("a writable directory");
        std::fs::write(&key, &self.key).expect("a writable directory");
        (certificate, key)
    }
}

/// A client's socket.
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With it.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A client that trusts an authority, and shows a certificate if it has one.
#[must_use]
pub fn client(trusted: &str, identity: Option<&Identity>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots(trusted));
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
            builder
                .with_client_auth_cert(certificates(&identity.certificate), key)
                .expect("a certificate and its key")
        }
    })
}

/// A server that shows this certificate and asks for none.
#[must_use]
pub fn server(identity: &Identity) -> Arc<ServerConfig> {
    showing(identity, server_builder().with_no_client_auth())
}

/// A server that shows this certificate and serves whom an authority vouches for.
#[must_use]
pub fn server_for_known_clients(identity: &Identity, trusted: &str) -> Arc<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(trusted)), provider);
    let verifier = verifier.build().expect("an authority");
    showing(identity, server_builder().with_client_cert_verifier(verifier))
}

fn server_builder() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
}

fn showing(
    identity: &Identity,
    builder: ConfigBuilder<ServerConfig, WantsServerCert>,
) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let config = builder.with_single_cert(certificates(&identity.certificate), key);
    Arc::new(config.expect("a certificate and its key"))
}

fn roots(trusted: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(trusted) {
        roots.add(certificate).expect("an authority");
    }
    roots
}

/// A server's side of a connection; the handshake goes with the first read or write.
#[must_use]
pub fn serve(
    stream: TcpStream,
    server: &Arc<ServerConfig>,
) -> StreamOwned<ServerConnection, TcpStream> {
    let connection = ServerConnection::new(Arc::clone(server)).expect("a server");
    StreamOwned::new(connection, stream)
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes());
    all.collect::<Result<_, _>>().expect("certificates")
}

/// The common name and hosts of PEM don't matter here: the bytes of the first certificate.
#[must_use]
pub fn der(pem: &str) -> Vec<u8> {
    certificates(pem)[0].to_vec()
}

/// The first thing a client says that wants to talk to that host.
///
/// # Panics
/// If that is no host.
#[must_use]
pub fn hello(client: &Arc<ClientConfig>, host: &str) -> Vec<u8> {
    let host = ServerName::try_from(host.to_owned()).expect("a host");
    let mut connection = ClientConnection::new(Arc::clone(client), host).expect("a client");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("room");
    hello
}

/// Connects and shakes hands, as such a client.
///
/// # Errors
/// When one of the sides wants none of it.
pub fn connect(address: SocketAddr, client: &Arc<ClientConfig>, host: &str) -> io::Result<Stream> {
    connect_behind(b"", address, client, host)
}

/// The same from behind a proxy, which begins with this header.
///
/// # Errors
/// As [`connect`].
pub fn connect_behind(
    header: &[u8],
    address: SocketAddr,
    client: &Arc<ClientConfig>,
    host: &str,
) -> io::Result<Stream> {
    let mut socket = TcpStream::connect(address)?;
    socket.write_all(header)?;
    shake_hands(socket, client, host)
}

/// The same from another address of this machine's, such as 127.0.0.2.
///
/// # Errors
/// As [`connect`].
pub fn connect_from(
    source: IpAddr,
    address: SocketAddr,
    client: &Arc<ClientConfig>,
    host: &str,
) -> io::Result<Stream> {
    shake_hands(socket_from(source, address)?, client, host)
}

fn shake_hands(socket: TcpStream, client: &Arc<ClientConfig>, host: &str) -> io::Result<Stream> {
    let host = ServerName::try_from(host.to_owned()).expect("a host");
    let connection = ClientConnection::new(Arc::clone(client), host).map_err(io::Error::other)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(Stream::Tls(Box::new(stream)))
}

/// The certificate the server has shown: DER.
#[must_use]
pub fn shown(stream: &Stream) -> Vec<u8> {
    let Stream::Tls(stream) = stream else { return Vec::new() };
    let all = stream.conn.peer_certificates().unwrap_or_default();
    all.first().map(|certificate| certificate.to_vec()).unwrap_or_default()
}
