//! A client of the HTTP API, over the control socket or a connection.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use leveret_server::config::Secret;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{self, Runtime};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// Longest answer that is read, in bytes: what a hundred thousand queues come to, several times over.
const ANSWER_MAX: usize = 512 << 20;

/// What is left as it is in a part of a path.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What can't stand in a path as it is; the path itself is in order.
const PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');

/// Who answers.
#[derive(Debug)]
pub(crate) enum Place {
    /// The broker of this machine.
    Socket(PathBuf),
    /// Any broker, with a login.
    Host {
        host: String,
        port: u16,
        user: String,
        password: Secret,
        /// Whom to trust, if it is within TLS.
        tls: Option<Arc<ClientConfig>>,
    },
}

/// A client that asks one thing at a time.
pub(crate) struct Http {
    place: Place,
    timeout: Duration,
    runtime: Runtime,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// No answer.
#[derive(Debug)]
pub(crate) enum NoReply {
    /// Nobody is there.
    Unreachable(io::Error),
    /// It took longer than this.
    TimedOut(Duration),
    /// The connection broke.
    Broken(String),
}

impl Http {
    pub(crate) fn new(place: Place, timeout: Duration) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { place, timeout, runtime })
    }

    /// Makes a request, with a JSON body unless it is null.
    ///
    /// # Errors
    /// [`NoReply`]; a refusal is a reply.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<Reply, NoReply> {
        self.runtime.block_on(self.ask(method, path, body, headers))
    }

    /// As [`send`](Self::send), within a runtime.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<Reply, NoReply> {
        let exchange = async {
            match &self.place {
                Place::Socket(path_of_socket) => {
                    let stream = UnixStream::connect(path_of_socket).await;
                    let stream = stream.map_err(NoReply::Unreachable)?;
                    self.exchange(stream, method, path, body, headers).await
                }
                Place::Host { host, port, tls, .. } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await;
                    let stream = stream.map_err(NoReply::Unreachable)?;
                    let Some(tls) = tls else {
                        return self.exchange(stream, method, path, body, headers).await;
                    };
                    let name = ServerName::try_from(host.clone());
                    let name = name.map_err(|error| NoReply::Broken(error.to_string()))?;
                    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
                    let stream = stream.map_err(NoReply::Unreachable)?;
                    self.exchange(stream, method, path, body, headers).await
                }
            }
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(reply) => reply,
            Err(_) => Err(NoReply::TimedOut(self.timeout)),
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        method: &str,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<Reply, NoReply> {
        let broken = |error: hyper::Error| NoReply::Broken(error.to_string());
        let mut request = Request::builder()
            .method(method)
            .uri(utf8_percent_encode(path, PATH).to_string())
            .header(header::CONTENT_TYPE, "application/json");
        request = match &self.place {
            Place::Socket(_) => request.header(header::HOST, "localhost"),
            Place::Host { host, port, user, password, .. } => {
                let login = STANDARD.encode(format!("{user}:{}", &**password));
                request
                    .header(header::HOST, format!("{host}:{port}"))
                    .header(header::AUTHORIZATION, format!("Basic {login}"))
            }
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body)));
        let request = request.map_err(|error| NoReply::Broken(error.to_string()))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| NoReply::Broken(error.to_string()))?.to_bytes().to_vec();
        connection.abort();
        Ok(Reply { status, body })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl Reply {
    /// The body as JSON; null for none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Why it was refused.
    pub(crate) fn reason(&self) -> String {
        match self.json().get("reason") {
            Some(Value::String(reason)) => reason.clone(),
            Some(reason) => reason.to_string(),
            None => self.status.to_string(),
        }
    }
}

/// A name as a part of a path.
pub(crate) fn part(name: &str) -> String {
    utf8_percent_encode(name, PART).to_string()
}
