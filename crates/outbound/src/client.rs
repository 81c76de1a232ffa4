//! A client with a few connections that it uses again.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, USER_AGENT};
use hyper::http::request::Builder;
use hyper::http::uri::InvalidUri;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::trust::{Trust, TrustError};

/// Connections that wait for the next request.
const IDLE_MAX: usize = 4;

/// Makes requests. Nothing is connected before the first.
#[derive(Debug, Default)]
pub struct HttpClient {
    trust: Trust,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    /// Scheme, host and port.
    origin: Origin,
    sender: Sender,
}

type Sender = SendRequest<Full<Bytes>>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    is_tls: bool,
    host: String,
    port: u16,
}

/// What a server has answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// What was given for a URL is none that can be asked.
    #[error("the URL can't be used: {0}")]
    Url(&'static str),
    /// As [`Url`](Self::Url).
    #[error("the URL can't be used: {0}")]
    Uri(#[from] InvalidUri),
    /// A header can't be sent.
    #[error("the request can't be made: {0}")]
    Request(#[from] hyper::http::Error),
    /// Nobody is there, or the TLS handshake failed.
    #[error("cannot connect: {0}")]
    Connect(#[source] std::io::Error),
    /// The connection failed.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The body is too long, or doesn't end.
    #[error("its body can't be read: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Certificates can't be used.
    #[error("certificates: {0}")]
    Trust(#[from] TrustError),
}

impl HttpClient {
    /// A client that checks servers in this way.
    pub fn new(trust: Trust) -> Self {
        Self { trust, idle: Mutex::default() }
    }

    /// Sends a request to a URL and reads its answer, up to `body_max` bytes of body, with 0 none.
    /// `make` adds method and headers. No time limit of its own.
    ///
    /// # Errors
    /// When there is no answer. One with a status of failure is an answer.
    pub async fn send(
        &self,
        url: &str,
        make: impl Fn(Builder) -> Builder,
        body: Bytes,
        body_max: usize,
    ) -> Result<Answer, HttpError> {
        let uri: Uri = url.parse()?;
        let origin = Origin::of(&uri)?;
        let request = || request(&uri, &make, body.clone());
        // A server may close a connection that waits while the request is on its way.
        while let Some(mut sender) = self.take(&origin) {
            if sender.ready().await.is_ok()
                && let Ok(answer) = sender.send_request(request()?).await
            {
                return self.read(origin, sender, answer, body_max).await;
            }
        }
        let mut sender = self.connect(&origin).await?;
        let answer = sender.send_request(request()?).await?;
        self.read(origin, sender, answer, body_max).await
    }

    async fn read(
        &self,
        origin: Origin,
        sender: Sender,
        answer: hyper::Response<hyper::body::Incoming>,
        body_max: usize,
    ) -> Result<Answer, HttpError> {
        let status = answer.status();
        if body_max == 0 {
            return Ok(Answer { status, body: Bytes::new() });
        }
        let body = Limited::new(answer.into_body(), body_max).collect().await;
        let body = body.map_err(HttpError::Body)?.to_bytes();
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(Idle { origin, sender });
        }
        Ok(Answer { status, body })
    }

    fn take(&self, origin: &Origin) -> Option<Sender> {
        let mut idle = self.idle.lock();
        idle.retain(|one| !one.sender.is_closed());
        let index = idle.iter().position(|one| one.origin == *origin)?;
        Some(idle.swap_remove(index).sender)
    }

    async fn connect(&self, origin: &Origin) -> Result<Sender, HttpError> {
        let Origin { is_tls, host, port } = origin;
        let stream = TcpStream::connect((host.as_str(), *port)).await;
        let stream = stream.map_err(HttpError::Connect)?;
        stream.set_nodelay(true).map_err(HttpError::Connect)?;
        if !is_tls {
            return handshake(stream).await;
        }
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|_| HttpError::Url("its host is no name"))?;
        let connector = TlsConnector::from(self.trust.client_config()?);
        handshake(connector.connect(name, stream).await.map_err(HttpError::Connect)?).await
    }
}

async fn handshake<S>(stream: S) -> Result<Sender, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its sender, or when the server closes it.
    tokio::spawn(connection);
    Ok(sender)
}

fn request(
    uri: &Uri,
    make: impl Fn(Builder) -> Builder,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, HttpError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    // Who is in front of an @ is nobody's business.
    let host = authority.rsplit('@').next().unwrap_or_default();
    let request = Request::builder().uri(path).header(HOST, host).header(USER_AGENT, "leveret");
    Ok(make(request).body(Full::new(body))?)
}

impl Origin {
    fn of(uri: &Uri) -> Result<Self, HttpError> {
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(HttpError::Url("it is neither http nor https")),
        };
        let host = uri.host().ok_or(HttpError::Url("it names no host"))?;
        // An IPv6 address stands in brackets in a URL only.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { is_tls, host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_where_to_connect() {
        let origin = |url: &str| Origin::of(&url.parse().unwrap());
        let expected = Origin { is_tls: false, host: "::1".to_owned(), port: 80 };
        assert_eq!(origin("http://[::1]/x").unwrap(), expected);
        let expected = Origin { is_tls: true, host: "host".to_owned(), port: 443 };
        assert_eq!(origin("https://user:secret@host").unwrap(), expected);
        assert!(origin("ftp://host").is_err());
        assert!(origin("/path").is_err());
    }

    #[test]
    fn the_request_says_nothing_of_who_stands_in_the_url() {
        let uri = "https://user:secret@host:1/p?q=1".parse().unwrap();
        let request = request(&uri, |builder| builder.method("POST"), Bytes::new()).unwrap();
        assert_eq!(request.headers()[HOST], "host:1");
        assert_eq!(request.uri(), "/p?q=1");
    }
}
