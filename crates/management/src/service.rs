//! The listeners of the API, and the tasks that serve them.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{HeaderMap, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use leveret_server::config::{Config, Storage, WebConfig};
use leveret_server::{BoundListener, HttpCapacity, Server, StartError, Tls, steadily};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::Failure;
use crate::client::{Client, Peer};
use crate::control::ControlSocket;
use crate::dispatch;
use crate::node::{Listening, Node};
use crate::order::Orders;
use crate::places::{Followed, Place, Places};
use crate::protection::Protection;
use crate::routes::{CONTROL_ROUTES, METRICS_ROUTES, ROUTES};
use crate::stalled::Stalled;
use crate::{alerts, sampler, traces, web};

/// How long requests may go on when the broker stops.
const STOP_TIMEOUT: Duration = Duration::from_millis(250);
/// How long the accept loop pauses when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Addresses that are taken and not yet served: a broker that can't have them should not open its
/// data first.
pub struct Bound {
    management: Vec<BoundListener>,
    management_tls: Vec<BoundListener>,
    metrics: Vec<BoundListener>,
    metrics_tls: Vec<BoundListener>,
}

/// The running API.
pub struct Management {
    management: Vec<SocketAddr>,
    management_tls: Vec<SocketAddr>,
    metrics: Vec<SocketAddr>,
    metrics_tls: Vec<SocketAddr>,
    /// Taken away when the broker stops.
    _control: Option<ControlSocket>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Bound {
    /// Takes the addresses the configuration names.
    ///
    /// # Errors
    /// When one can't be had.
    pub fn new(config: &Config) -> Result<Self, StartError> {
        Ok(Self {
            management: BoundListener::all("management", &config.management)?,
            management_tls: BoundListener::all("management_tls", &config.management_tls)?,
            metrics: BoundListener::all("metrics", &config.metrics)?,
            metrics_tls: BoundListener::all("metrics_tls", &config.metrics_tls)?,
        })
    }

    /// Serves a running broker. Operators get a control socket in its data directory if there is a
    /// way for their orders.
    ///
    /// # Errors
    /// When an address can't be listened on after all.
    pub fn serve(
        self,
        server: &Server,
        config: &Config,
        orders: Option<Orders>,
    ) -> Result<Management, StartError> {
        let tls = server.tls();
        let management = listen(self.management, None)?;
        let management_tls = listen(self.management_tls, tls.management.as_ref())?;
        let metrics = listen(self.metrics, None)?;
        let metrics_tls = listen(self.metrics_tls, tls.metrics.as_ref())?;
        let addresses = |listeners: &[Http]| listeners.iter().map(|one| one.address).collect();
        let (socket, control) = control_socket(config, orders.is_some()).unzip();
        let serving = Management {
            management: addresses(&management),
            management_tls: addresses(&management_tls),
            metrics: addresses(&metrics),
            metrics_tls: addresses(&metrics_tls),
            _control: socket,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let api: Vec<Http> = management.into_iter().chain(management_tls).collect();
        let metrics: Vec<Http> = metrics.into_iter().chain(metrics_tls).collect();
        let listening = [
            ("amqp", server.addresses(), None),
            ("amqp/ssl", server.tls_addresses(), tls.amqp.as_ref()),
            ("http", &serving.management, None),
            ("https", &serving.management_tls, tls.management.as_ref()),
            ("http/prometheus", &serving.metrics, None),
            ("https/prometheus", &serving.metrics_tls, tls.metrics.as_ref()),
        ];
        let listening = listening.into_iter().flat_map(|(protocol, addresses, tls)| {
            let listening = move |address: &SocketAddr| Listening {
                protocol,
                address: *address,
                tls: tls.cloned(),
            };
            addresses.iter().map(listening)
        });
        let node = Node::new(server, listening.collect(), orders, serving.stop.clone());
        let node = Arc::new(node);
        if !api.is_empty() {
            let (node, stop) = (Arc::clone(&node), serving.stop.clone());
            serving
                .tasks
                .spawn(steadily("sampling", move || sampler::run(Arc::clone(&node), stop.clone())));
        }
        let (alerting, stop) = (Arc::clone(&node), serving.stop.clone());
        serving.tasks.spawn(steadily("watching for alerts", move || {
            alerts::run(Arc::clone(&alerting), stop.clone())
        }));
        if let Some(spans) = server.spans() {
            let (config, name) = (config.tracing.clone(), node.name.clone());
            let (spans, stop) = (Arc::clone(spans), serving.stop.clone());
            serving.tasks.spawn(steadily("sending spans", move || {
                traces::run(config.clone(), name.clone(), Arc::clone(&spans), stop.clone())
            }));
        }
        let listeners = api.len() + metrics.len() + usize::from(control.is_some());
        let capacity = HttpCapacity::here(listeners);
        let served = |router| Served { node: Arc::clone(&node), router, capacity };
        let router = web::with_web(dispatch::router(&node, &[ROUTES]));
        serving.accept_all("HTTP", api, &served(router));
        let router = dispatch::router(&node, &[METRICS_ROUTES]);
        serving.accept_all("metrics", metrics, &served(router));
        if let Some(listener) = control {
            let router = dispatch::router(&node, &[ROUTES, CONTROL_ROUTES]);
            serving.accept(Listener::Control(listener), served(router));
        }
        Ok(serving)
    }
}

/// A listener with an address.
struct Http {
    address: SocketAddr,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
}

fn listen(bound: Vec<BoundListener>, tls: Option<&Arc<Tls>>) -> Result<Vec<Http>, StartError> {
    let listen = |bound: BoundListener| {
        let (address, listener) = bound.listen()?;
        Ok(Http { address, listener, tls: tls.cloned() })
    };
    bound.into_iter().map(listen).collect()
}

/// The socket for operators. The broker serves its clients without one, too.
fn control_socket(config: &Config, is_wanted: bool) -> Option<(ControlSocket, UnixListener)> {
    let Storage::Directory(directory) = &config.storage else { return None };
    if !is_wanted {
        return None;
    }
    ControlSocket::listen(directory)
        .inspect_err(|error| {
            let directory = directory.display();
            tracing::warn!("no control socket in {directory}, commands won't work: {error}");
        })
        .ok()
}

impl Management {
    fn accept_all(&self, name: &str, listeners: Vec<Http>, served: &Served) {
        for Http { address, listener, tls } in listeners {
            let over = if tls.is_some() { " over TLS" } else { "" };
            tracing::info!("started {name} listener{over} on {address}");
            self.accept(Listener::Tcp(listener, tls), served.clone());
        }
    }

    fn accept(&self, listener: Listener, served: Served) {
        let (stop, tasks) = (self.stop.clone(), self.tasks.clone());
        self.tasks.spawn(accept(listener, served, stop, tasks));
    }

    /// Where the API listens, ports resolved.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.management
    }

    /// Where the API listens over TLS, ports resolved.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.management_tls
    }

    /// Where the metrics are, ports resolved.
    pub fn metrics_addresses(&self) -> &[SocketAddr] {
        &self.metrics
    }

    /// Where the metrics are over TLS, ports resolved.
    pub fn metrics_tls_addresses(&self) -> &[SocketAddr] {
        &self.metrics_tls
    }

    /// Stops: requests that are being worked on get a moment to finish.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        // What isn't done by then has no client that waits for it much longer.
        let _ = tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait()).await;
    }
}

/// What a listener serves.
#[derive(Clone)]
struct Served {
    node: Arc<Node>,
    router: Router,
    /// What all listeners have for connections.
    capacity: HttpCapacity,
}

/// What connections come from.
enum Listener {
    Tcp(TcpListener, Option<Arc<Tls>>),
    Control(UnixListener),
}

/// A connection, and who has opened it.
enum Accepted {
    Ready(Box<dyn Stream>, Connected),
    /// Before its handshake.
    Tls(TcpStream, SocketAddr, Arc<Tls>),
}

/// Who has opened a connection.
#[derive(Clone, Copy)]
enum Connected {
    From { address: SocketAddr, is_secure: bool },
    Operator,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Listener {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener, tls) => {
                let (stream, address) = listener.accept().await?;
                // Answers are written whole.
                let _ = stream.set_nodelay(true);
                Ok(match tls {
                    None => {
                        let from = Connected::From { address, is_secure: false };
                        Accepted::Ready(Box::new(stream), from)
                    }
                    Some(tls) => Accepted::Tls(stream, address, Arc::clone(tls)),
                })
            }
            Self::Control(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted::Ready(Box::new(stream), Connected::Operator))
            }
        }
    }

    /// What TLS has each connection hold at worst, in bytes.
    fn tls_bytes(&self) -> u64 {
        match self {
            Self::Tcp(_, Some(tls)) => tls.connection_bytes(),
            Self::Tcp(_, None) | Self::Control(_) => 0,
        }
    }
}

impl Accepted {
    /// Who has opened it. Operators are at this machine.
    fn address(&self) -> IpAddr {
        match self {
            Self::Ready(_, Connected::From { address, .. }) | Self::Tls(_, address, _) => {
                address.ip()
            }
            Self::Ready(_, Connected::Operator) => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// After the handshake, if there is to be one; nothing if that fails.
    async fn ready(self, node: &Node) -> Option<(Box<dyn Stream>, Connected)> {
        match self {
            Self::Ready(stream, connected) => Some((stream, connected)),
            Self::Tls(stream, address, tls) => match tls.accept(stream).await {
                Ok(stream) => {
                    Some((Box::new(stream), Connected::From { address, is_secure: true }))
                }
                Err(error) if error.is_silent() => {
                    tracing::debug!("HTTP connection from {address}: TLS handshake: {error}");
                    None
                }
                Err(error) => {
                    if let Some(count) = node.failed_handshakes.count(Instant::now()) {
                        tracing::warn!(
                            "HTTP connection from {address}: TLS handshake: {error}; {count} such \
                             since the start"
                        );
                    }
                    None
                }
            },
        }
    }
}

async fn accept(listener: Listener, served: Served, stop: CancellationToken, tasks: TaskTracker) {
    let mut is_short = false;
    let places = Arc::<Places>::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = async {
                places.settle().await;
                listener.accept().await
            } => accepted,
        };
        match accepted {
            Ok(accepted) => {
                if std::mem::take(&mut is_short) {
                    tracing::info!("accepting HTTP connections again");
                }
                let node = &served.node;
                let WebConfig { connection_max, head_max, .. } = node.config().web;
                let auto = || served.capacity.connections(head_max, listener.tls_bytes());
                let max = connection_max.map_or_else(auto, |max| max as usize);
                let place = places.admit(accepted.address(), max, &node.turned_away);
                let Some(place) = place.map(Arc::new) else { continue };
                let (served, stop) = (served.clone(), stop.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = serve(accepted, &place, served, stop) => (),
                        () = place.lost() => (),
                    }
                });
            }
            Err(error) => {
                if !std::mem::replace(&mut is_short, true) {
                    tracing::warn!("cannot accept HTTP connections: {error}; trying again");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(accepted: Accepted, place: &Arc<Place>, served: Served, stop: CancellationToken) {
    let ready = tokio::select! {
        ready = accepted.ready(&served.node) => ready,
        () = stop.cancelled() => return,
    };
    let Some((stream, connected)) = ready else { return };
    let Served { node, router, .. } = served;
    let WebConfig { head_max, head_timeout, body_timeout, .. } = node.config().web;
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let config = node.config();
        let mut request = trimmed(request);
        let peer = connected.peer(request.headers(), &config.web);
        request.extensions_mut().insert(peer);
        let is_secure = matches!(peer, Peer::Client(client) if client.is_secure);
        let protection = Protection::of(config, request.method(), request.headers(), is_secure);
        let is_allowed = match (peer, node.config().web.request_rate) {
            (Peer::Client(client), Some(per_second)) => {
                node.request_rate.allows(client.address, per_second, Instant::now())
            }
            (Peer::Operator, _) | (_, None) => true,
        };
        let (asking, answered) = (Arc::clone(place), Arc::clone(place));
        let request = request.map(|body| Followed::new(body, move || asking.is_answered()));
        let answer = is_allowed.then(|| router.call(request));
        async move {
            let mut response = match answer {
                Some(answer) => answer.await?,
                None => Failure::TooMany.into_response("HEAD, GET, OPTIONS"),
            };
            protection.protect(response.headers_mut());
            let response = response.map(|body| Followed::new(body, move || answered.waits()));
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(head_max as usize)
        .serve_connection(TokioIo::new(Stalled::after(body_timeout, stream)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        match connected {
            Connected::From { address, .. } => {
                tracing::debug!("HTTP connection from {address}: {error}");
            }
            Connected::Operator => tracing::debug!("connection to the control socket: {error}"),
        }
    }
}

impl Connected {
    /// Who makes a request over the connection.
    fn peer(self, headers: &HeaderMap, web: &WebConfig) -> Peer {
        match self {
            Self::From { address, is_secure } => {
                Peer::Client(Client::of(address.ip(), is_secure, headers, web))
            }
            Self::Operator => Peer::Operator,
        }
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
