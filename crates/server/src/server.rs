//! A running broker: its listeners, its connections, and how they end.

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use leveret_auth::Backends;
use leveret_broker::{Broker, BrokerOptions, NodeLimits, OpenError, Shortage, SpanOptions};
use leveret_codec::{TableBuf, TableBuilder, Value};
use leveret_store::{Disk, MemDisk, RealDisk, StoreOptions};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, Guest};
use crate::alarms;
use crate::audit::AuditFile;
use crate::budgets::Budgets;
use crate::clock;
use crate::config::{AuthConfig, Config, Reloaded, ServerProperties, Storage, TracingConfig};
use crate::connection::{Context, Peer};
use crate::contained::steadily;
use crate::driver;
use crate::listener::BoundListener;
use crate::message_memory;
use crate::pager;
use crate::proxy::{self, ProxyError};
use crate::resources;
use crate::sasl::{Anonymous, Logins};
use crate::spans::WaitingSpans;
use crate::stream_server;
use crate::ticker;
use crate::tls::{Tls, TlsError, TlsListeners};
use crate::{socket, tls};

/// The largest segment of a journal that is kept in memory.
const EPHEMERAL_SEGMENT_BYTES: u64 = 1 << 20;
/// How long the accept loop pauses when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A broker whose data is open, and whose addresses are taken and not yet listened on.
pub struct Opened {
    broker: Arc<Broker>,
    config: Config,
    audit: Arc<AuditFile>,
    spans: Option<Arc<WaitingSpans>>,
    listeners: Vec<BoundListener>,
    tls_listeners: Vec<BoundListener>,
    tls: TlsListeners,
}

/// A running broker.
pub struct Server {
    broker: Arc<Broker>,
    config: watch::Sender<Arc<Config>>,
    /// What connections are given that come from now on.
    context: watch::Sender<Arc<Context>>,
    admission: Arc<Admission>,
    budgets: Budgets,
    audit: Arc<AuditFile>,
    spans: Option<Arc<WaitingSpans>>,
    addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    tls: TlsListeners,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Why a broker did not start. Each is one line that says what to do.
#[derive(Debug, Error)]
pub enum StartError {
    /// A listener's address can't be had.
    #[error("cannot listen on {address}: {source}{}", hint(source, setting))]
    Listen {
        /// The setting, and the flag, that names the address.
        setting: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The data directory can't be used or read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// TLS can't be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Definitions that were to be loaded can't be.
    #[error("cannot load definitions from {}: {reason}", path.display())]
    Definitions {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A task of the start was lost; the broker is being torn down.
    #[error("the start was interrupted")]
    Interrupted,
}

fn hint(error: &io::Error, setting: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "; another broker may be running there, choose another address with --{setting}"
        ),
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges".to_owned(),
        _ => String::new(),
    }
}

impl Server {
    /// Opens the store, then listens. Returns when clients can connect.
    ///
    /// # Errors
    /// When an address is taken, or the data directory can't be used.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::open(config).await?.serve()
    }

    /// Opens the store, for something to be done before clients come.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn open(config: Config) -> Result<Opened, StartError> {
        let listeners = BoundListener::all("listen", &config.listen)?;
        let tls_listeners = BoundListener::all("listen_tls", &config.listen_tls)?;
        let tls = TlsListeners::new(&config)?;
        let audit = Arc::new(AuditFile::new(config.audit.clone()));
        let is_followed = config.tracing.endpoint.is_some();
        let spans = is_followed.then(|| Arc::new(WaitingSpans::new()));
        let options = BrokerOptions {
            audit: Some(audit.clone()),
            spans: spans.clone().map(|sink| span_options(sink, &config.tracing)),
            ..broker_options(&config)
        };
        let (disk, directory): (Arc<dyn Disk>, PathBuf) = match &config.storage {
            Storage::Directory(directory) => (Arc::new(RealDisk), directory.clone()),
            Storage::Ephemeral => (Arc::new(MemDisk::default()), Path::new("/").to_path_buf()),
        };
        let open = move || Broker::open(disk, &directory, &options);
        let broker = tokio::task::spawn_blocking(open).await;
        let broker = broker.map_err(|_| StartError::Interrupted)??;
        Ok(Opened { broker, config, audit, spans, listeners, tls_listeners, tls })
    }
}

impl Opened {
    /// The broker.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Listens. Clients can connect when this returns.
    ///
    /// # Errors
    /// When an address can't be listened on after all.
    pub fn serve(self) -> Result<Server, StartError> {
        let Self { broker, config, audit, spans, listeners, tls_listeners, tls } = self;
        let shortage = alarms::set_up(&broker, &config.alarms);
        broker.access().throttle().set_limits(config.auth.throttle);
        let backends = Backends::new(&config.auth.backends, broker.access());
        let backends = Arc::new(match config.auth.password_upgrade_on_login {
            true => backends.rehashing(&broker),
            false => backends,
        });
        let context = context(&broker, &config, &backends, shortage);
        let admission = Arc::clone(&context.admission);
        admission.set_tls(tls.amqp.as_deref());
        let budgets = context.budgets.clone();
        let (context, connecting) = watch::channel(Arc::new(context));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (mut addresses, mut tls_addresses) = (Vec::new(), Vec::new());
        let plain = listeners.into_iter().map(|listener| (listener, None));
        let secured = tls_listeners.into_iter().map(|listener| (listener, tls.amqp.clone()));
        for (listener, tls) in plain.chain(secured) {
            let (local, listener) = listener.listen()?;
            match &tls {
                None => {
                    tracing::info!("started TCP listener on {local}");
                    addresses.push(local);
                }
                Some(_) => {
                    tracing::info!("started TLS (SSL) listener on {local}");
                    tls_addresses.push(local);
                }
            }
            let context = connecting.clone();
            tasks.spawn(accept(listener, tls, context, stop.clone(), tasks.clone()));
        }
        pager::start(&broker, stop.clone(), &tasks);
        tasks.spawn({
            let (tls, stop) = (tls.clone(), stop.clone());
            steadily("watching certificates", move || tls::watch(tls.clone(), stop.clone()))
        });
        tasks.spawn({
            let (broker, stop) = (Arc::clone(&broker), stop.clone());
            let admission = Arc::clone(&admission);
            steadily("the ticker", move || {
                ticker::run(Arc::clone(&broker), Arc::clone(&admission), stop.clone())
            })
        });
        tasks.spawn({
            let (broker, stop) = (Arc::clone(&broker), stop.clone());
            let storage = config.storage.clone();
            let measure = move || alarms::run(Arc::clone(&broker), storage.clone(), stop.clone());
            steadily("measuring for alarms", measure)
        });
        tasks.spawn({
            let (broker, stop) = (Arc::clone(&broker), stop.clone());
            steadily("serving streams", move || {
                stream_server::run(Arc::clone(&broker), stop.clone())
            })
        });
        let (config, _) = watch::channel(Arc::new(config));
        Ok(Server {
            broker,
            config,
            context,
            admission,
            budgets,
            audit,
            spans,
            addresses,
            tls_addresses,
            tls,
            stop,
            tasks,
        })
    }
}

impl Server {
    /// Where it listens for AMQP, ports resolved.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it listens for AMQP over TLS, ports resolved.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls_addresses
    }

    /// What listeners serve TLS with.
    pub fn tls(&self) -> &TlsListeners {
        &self.tls
    }

    /// The broker behind the listeners.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Who may connect.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// What connections take of memory together.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Who decides about logins.
    pub fn backends(&self) -> Arc<Backends> {
        Arc::clone(&self.context.borrow().backends)
    }

    /// Spans of messages that wait to be sent, if messages are followed.
    pub fn spans(&self) -> Option<&Arc<WaitingSpans>> {
        self.spans.as_ref()
    }

    /// The settings in force.
    pub fn config(&self) -> watch::Receiver<Arc<Config>> {
        self.config.subscribe()
    }

    /// Takes over what of new settings may change while it runs, and reads certificates and keys
    /// again. Open connections keep theirs.
    pub fn reload(&self, new: &Config) -> Reloaded {
        let mut config = Config::clone(&self.config.borrow());
        let reloaded = config.reload(new);
        alarms::set_limits(&self.broker, &config.alarms);
        self.broker.access().throttle().set_limits(config.auth.throttle);
        self.tls.reload(&config);
        self.admission.set_tls(self.tls.amqp.as_deref());
        self.audit.reopen(config.audit.clone());
        let shortage = self.context.borrow().shortage.clone();
        let long_work = Arc::clone(&self.context.borrow().long_work);
        let admission = Arc::clone(self.admission());
        let budgets = self.budgets.clone();
        budgets.set(&config);
        let backends = self.backends();
        let context = context(&self.broker, &config, &backends, shortage);
        let relief = Arc::clone(&self.context.borrow().relief);
        let context = Context { long_work, admission, budgets, relief, ..context };
        self.context.send_replace(Arc::new(context));
        self.config.send_replace(Arc::new(config));
        reloaded
    }

    /// Stops: no new connections, clients are told (320 `CONNECTION_FORCED`), everything durable is
    /// on disk when this returns.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.admission.stop();
        let broker = self.broker;
        if tokio::task::spawn_blocking(move || broker.close(clock::now())).await.is_err() {
            tracing::error!("the store was not closed in order; it recovers at the next start");
        }
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    context: watch::Receiver<Arc<Context>>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let mut is_short = false;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(stream, address)| prepared(stream, address)) {
            Ok((stream, peer)) => {
                if std::mem::take(&mut is_short) {
                    tracing::info!("accepting connections again");
                }
                let context = Arc::clone(&context.borrow());
                let admission = Arc::clone(&context.admission);
                let Some(guest) = admission.admit(peer.address.ip(), &context.amqp) else {
                    continue;
                };
                let number = guest.number();
                let stop = stop.clone();
                let is_proxy = context.amqp.proxies.contain(peer.address.ip());
                let serving = match tls.clone() {
                    _ if is_proxy => {
                        tasks.spawn(serve_proxy(stream, tls.clone(), peer, guest, context, stop))
                    }
                    None => {
                        let socket = socket::plain(stream);
                        tasks.spawn(driver::serve(socket, peer, guest, context, stop))
                    }
                    Some(tls) => tasks.spawn(serve_tls(stream, tls, peer, guest, context, stop)),
                };
                admission.serve(number, serving.abort_handle());
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut is_short, true) {
                    tracing::error!("cannot accept connections: {error}; trying again");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves a client after its proxy has said who that is.
async fn serve_proxy(
    mut stream: TcpStream,
    tls: Option<Arc<Tls>>,
    mut peer: Peer,
    mut guest: Guest,
    context: Arc<Context>,
    stop: CancellationToken,
) {
    let read = tokio::select! {
        read = Box::pin(proxy::read(&mut stream, context.amqp.handshake_timeout)) => read,
        () = stop.cancelled() => return,
    };
    match read {
        Ok(None) => {}
        Ok(Some(proxied)) => {
            peer.address = canonical(proxied.client);
            peer.local = canonical(proxied.destination);
            guest.comes_from(peer.address.ip());
        }
        Err(ProxyError::Io(error)) => {
            tracing::debug!("closing connection of the proxy ({peer}): {error}");
            return;
        }
        Err(error) => {
            if context.admission.log_lines.handshakes.have_room(clock::now()) {
                tracing::warn!("closing connection of the proxy ({peer}): {error}");
            }
            return;
        }
    }
    match tls {
        None => Box::pin(driver::serve(socket::plain(stream), peer, guest, context, stop)).await,
        Some(tls) => serve_tls(stream, tls, peer, guest, context, stop).await,
    }
}

/// Serves a client after its handshake.
async fn serve_tls(
    stream: TcpStream,
    tls: Arc<Tls>,
    peer: Peer,
    guest: Guest,
    context: Arc<Context>,
    stop: CancellationToken,
) {
    let accepted = tokio::select! {
        accepted = Box::pin(tls.accept(stream)) => accepted,
        () = stop.cancelled() => return,
    };
    match accepted {
        Ok(stream) => {
            let (about, certificate) = tls::about(stream.get_ref().1);
            let (tls, certificate) = (Some(Arc::new(about)), certificate.map(Box::new));
            let peer = Peer { tls, certificate, ..peer };
            driver::serve(socket::tls(stream), peer, guest, context, stop).await;
        }
        Err(error) if error.is_silent() => {
            tracing::debug!("closing connection ({peer}): TLS handshake: {error}");
        }
        Err(error) => {
            if context.admission.log_lines.tls.have_room(clock::now()) {
                tracing::warn!("closing connection ({peer}): TLS handshake: {error}");
            }
        }
    }
}

fn prepared(stream: TcpStream, address: SocketAddr) -> io::Result<(TcpStream, Peer)> {
    stream.set_nodelay(true)?;
    let local = canonical(stream.local_addr()?);
    Ok((stream, Peer { address: canonical(address), local, tls: None, certificate: None }))
}

/// An IPv4 client of a listener for both shows under an IPv6 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The client gave up before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
    )
}

fn broker_options(config: &Config) -> BrokerOptions {
    let segment_bytes = match config.storage {
        Storage::Directory(_) => config.store.segment_bytes,
        // Segments are allocated whole, here out of memory.
        Storage::Ephemeral => config.store.segment_bytes.min(EPHEMERAL_SEGMENT_BYTES),
    };
    let store = StoreOptions {
        sync: config.store.sync_policy(),
        segment_bytes,
        compaction_bytes_per_second: config.store.compaction_bytes_per_second,
        ..StoreOptions::default()
    };
    let available = resources::memory_available();
    BrokerOptions {
        store,
        loopback_users: config.auth.loopback_users.clone(),
        default_user: config.auth.default_user.clone(),
        default_password: config.auth.default_pass.clone(),
        password_hashing: config.auth.password_hashing,
        default_vhost: config.auth.default_vhost.clone(),
        create_defaults: config.load_definitions.is_none(),
        node: config.node_name(),
        limits: NodeLimits {
            vhosts: config.amqp.vhost_max,
            connections: config.amqp.connection_max,
            channels: config.amqp.channel_max_per_node,
            queues: config.amqp.queue_max,
            exchanges: config.amqp.exchange_max,
            bindings: config.amqp.binding_max,
            policies_per_vhost: config.amqp.policy_max_per_vhost,
            global_parameters: config.amqp.global_parameter_max,
            routing_steps: config.amqp.routing_steps_max,
        },
        default_vhost_limits: config.amqp.default_vhost_limits.clone(),
        audit: None,
        spans: None,
        message_memory: message_memory::of_all(&config.store, available),
        transient_memory: message_memory::of_transient(&config.store, available),
        history_memory: message_memory::of_histories(&config.amqp, available),
    }
}

/// What those are told by who wait until what they publish has been coped with.
fn relief(broker: &Broker) -> Arc<Notify> {
    let relief = Arc::new(Notify::new());
    let listener = Arc::clone(&relief);
    broker.listen_to_relief(Arc::new(move || listener.notify_waiters()));
    relief
}

fn span_options(sink: Arc<WaitingSpans>, config: &TracingConfig) -> SpanOptions {
    let sampled_millionths = config.sample_ratio.millionths();
    SpanOptions { sink, sampled_millionths, header: config.header }
}

/// What connections are given under these settings.
pub(crate) fn context(
    broker: &Arc<Broker>,
    config: &Config,
    backends: &Arc<Backends>,
    shortage: watch::Receiver<Shortage>,
) -> Context {
    Context {
        broker: Arc::clone(broker),
        amqp: config.amqp.clone(),
        logins: logins(&config.auth),
        backends: Arc::clone(backends),
        server_properties: config.server_properties.clone(),
        shortage,
        relief: relief(broker),
        admission: Arc::new(Admission::new()),
        budgets: Budgets::new(config),
        long_work: Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZero::get))),
        may_block: Handle::try_current().is_ok_and(|on| on.metrics().num_workers() > 1),
    }
}

pub(crate) fn logins(auth: &AuthConfig) -> Logins {
    let password = &auth.anonymous_login_pass;
    let anonymous = |user| Anonymous { user, password: password.clone() };
    Logins {
        mechanisms: auth.mechanisms.clone(),
        anonymous: auth.anonymous_login_user.clone().map(anonymous),
        certificate_user: auth.certificate_user,
        alternative_name: (auth.certificate_name_type, auth.certificate_name_index),
    }
}

/// What `connection.start` says: clients branch on product, version and capabilities. The cluster has
/// the name an operator gave it, or the configured one.
pub(crate) fn server_properties(
    properties: &ServerProperties,
    cluster_name: Option<String>,
) -> TableBuf {
    let cluster_name = cluster_name.as_ref().unwrap_or(&properties.cluster_name);
    const CAPABILITIES: [&str; 9] = [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "consumer_priorities",
        "direct_reply_to",
        "exchange_exchange_bindings",
        "per_consumer_qos",
        "publisher_confirms",
    ];
    let mut capabilities = TableBuilder::new();
    for capability in CAPABILITIES {
        capabilities = capabilities.put(capability, Value::Bool(true));
    }
    let capabilities = capabilities.build();
    TableBuilder::new()
        .put("capabilities", Value::Table(capabilities.as_table()))
        .put("cluster_name", Value::text(cluster_name))
        .put("copyright", Value::text("Copyright (c) the Leveret authors"))
        .put("information", Value::text("Licensed under the Apache License 2.0"))
        .put("leveret_version", Value::text(env!("CARGO_PKG_VERSION")))
        .put("platform", Value::text("Leveret"))
        .put("product", Value::text(&properties.product))
        .put("version", Value::text(&properties.version))
        .build()
}
