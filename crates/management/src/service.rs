//! The listeners of the API, and the tasks that serve them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use leveret_server::config::Config;
use leveret_server::{BoundListener, Server, StartError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dispatch::{self, PeerAddress};
use crate::node::{Listening, Node};
use crate::routes::{METRICS_ROUTES, ROUTES};
use crate::sampler;

/// Connections of a listener at a time; further ones wait in the kernel.
const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take for the head of a request, or between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long requests may go on when the broker stops.
const STOP_TIMEOUT: Duration = Duration::from_millis(250);
/// How long the accept loop pauses when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Addresses that are taken and not yet served: a broker that can't have them should not open its
/// data first.
pub struct Bound {
    management: Vec<BoundListener>,
    metrics: Vec<BoundListener>,
}

/// The running API.
pub struct Management {
    management: Vec<SocketAddr>,
    metrics: Vec<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Bound {
    /// Takes the addresses the configuration names.
    ///
    /// # Errors
    /// When one can't be had.
    pub fn new(config: &Config) -> Result<Self, StartError> {
        let bind = |setting, all: &[SocketAddr]| {
            let listeners = all.iter().map(|address| BoundListener::new(setting, *address, all));
            listeners.collect::<Result<Vec<_>, _>>()
        };
        let management = bind("management", &config.management)?;
        Ok(Self { management, metrics: bind("metrics", &config.metrics)? })
    }

    /// Serves a running broker.
    ///
    /// # Errors
    /// When an address can't be listened on after all.
    pub fn serve(self, server: &Server, config: &Config) -> Result<Management, StartError> {
        let listen = |bound: Vec<BoundListener>| {
            bound.into_iter().map(BoundListener::listen).collect::<Result<Vec<_>, _>>()
        };
        let (management, metrics) = (listen(self.management)?, listen(self.metrics)?);
        let addresses = |listeners: &[(SocketAddr, TcpListener)]| {
            listeners.iter().map(|(address, _)| *address).collect::<Vec<_>>()
        };
        let serving = Management {
            management: addresses(&management),
            metrics: addresses(&metrics),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        if management.is_empty() && metrics.is_empty() {
            return Ok(serving);
        }
        let listening = [
            ("amqp", server.addresses()),
            ("http", &serving.management),
            ("http/prometheus", &serving.metrics),
        ];
        let listening = listening.into_iter().flat_map(|(protocol, addresses)| {
            addresses.iter().map(move |address| Listening { protocol, address: *address })
        });
        let broker = Arc::clone(server.broker());
        let node = Arc::new(Node::new(broker, config.clone(), listening.collect()));
        if !management.is_empty() {
            serving.tasks.spawn(sampler::run(Arc::clone(&node), serving.stop.clone()));
        }
        serving.accept_all("HTTP", management, &dispatch::router(&node, ROUTES));
        serving.accept_all("metrics", metrics, &dispatch::router(&node, METRICS_ROUTES));
        Ok(serving)
    }
}

impl Management {
    fn accept_all(&self, name: &str, listeners: Vec<(SocketAddr, TcpListener)>, router: &Router) {
        for (address, listener) in listeners {
            tracing::info!("started {name} listener on {address}");
            let (stop, tasks) = (self.stop.clone(), self.tasks.clone());
            self.tasks.spawn(accept(listener, router.clone(), stop, tasks));
        }
    }

    /// Where the API listens, ports resolved.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.management
    }

    /// Where the metrics are, ports resolved.
    pub fn metrics_addresses(&self) -> &[SocketAddr] {
        &self.metrics
    }

    /// Stops: requests that are being worked on get a moment to finish.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        // What isn't done by then has no client that waits for it much longer.
        let _ = tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait()).await;
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, stop) = (router.clone(), stop.clone());
                tasks.spawn(async move {
                    serve(stream, peer, router, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!("cannot accept an HTTP connection: {error}; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // Answers are written whole.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = trimmed(request);
        request.extensions_mut().insert(PeerAddress(peer));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("HTTP connection from {peer}: {error}");
    }
}

/// A path means the same with and without a slash at its end.
fn trimmed(mut request: Request<Incoming>) -> Request<Incoming> {
    let uri = request.uri();
    let path = uri.path();
    let shorter = path.trim_end_matches('/');
    if shorter.is_empty() || shorter.len() == path.len() {
        return request;
    }
    let target = match uri.query() {
        Some(query) => format!("{shorter}?{query}"),
        None => shorter.to_owned(),
    };
    if let Ok(uri) = target.parse() {
        *request.uri_mut() = uri;
    }
    request
}
