//! JSON posted to a URL.

use std::path::PathBuf;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use axum::http::{Request, StatusCode, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use leveret_server::config::Receiver;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::courier::Undelivered;
use super::notice::Telling;
use super::trust;

/// Posts once, on a connection of its own; any 2xx is an answer.
pub(super) async fn post(
    receiver: &Receiver,
    ca_file: Option<&PathBuf>,
    telling: &Telling,
) -> Result<(), Undelivered> {
    let uri: Uri = receiver
        .webhook
        .as_deref()
        .unwrap_or_default()
        .parse()
        .map_err(|_| Undelivered::Url("it is none"))?;
    let host = uri.host().ok_or(Undelivered::Url("it names no host"))?;
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    // An IPv6 address stands in brackets in a URL only.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, port)).await?;
    let request = request(&uri, receiver, telling)?;
    let status = if is_tls {
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| Undelivered::Url("its host is no name"))?;
        let connector = TlsConnector::from(trust::client_config(ca_file)?);
        exchange(connector.connect(server, stream).await?, request).await?
    } else {
        exchange(stream, request).await?
    };
    if status.is_success() { Ok(()) } else { Err(Undelivered::Status(status)) }
}

fn request(
    uri: &Uri,
    receiver: &Receiver,
    telling: &Telling,
) -> Result<Request<Body>, Undelivered> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri
        .authority()
        .map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    let mut request = Request::post(path)
        .header(HOST, host)
        .header(USER_AGENT, "leveret")
        .header(CONTENT_TYPE, "application/json");
    for (name, value) in &receiver.headers {
        request = request.header(name, value);
    }
    Ok(request.body(Body::from(telling.json.clone()))?)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
) -> Result<StatusCode, Undelivered> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    // The connection has to be driven for the answer to come.
    tokio::select! {
        answer = &mut answer => Ok(answer?.status()),
        ended = &mut connection => match ended {
            Ok(()) => Ok(answer.await?.status()),
            Err(error) => Err(error.into()),
        },
    }
}
