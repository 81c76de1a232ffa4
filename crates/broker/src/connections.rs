//! Who is connected: what an operator sees of connections and channels, and how one is closed.
//!
//! A front end enters each connection that has opened a session and keeps its [`Registration`].
//! What it counts is plain numbers in atomics that one task at a time writes, so that counting
//! costs an addition: see [`Count`].

mod channel;
mod count;
mod sizes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leveret_codec::TableBuf;
use leveret_engine::Millis;
use parking_lot::{Mutex, RwLock};

pub(crate) use self::channel::PastChannels;
pub use self::channel::{ChannelCounters, ChannelMode, ChannelTotals, OpenChannel};
pub use self::count::Count;
pub(crate) use self::count::Sum;
use self::sizes::PastSizes;
pub use self::sizes::{MessageSizes, SIZE_CLASSES, SizeTotals};
use crate::churn::Churn;
use crate::queue::SharedQueue;
use crate::session::SessionId;
use crate::vhost::Vhost;

/// All open connections of the node.
#[derive(Default)]
pub struct Connections {
    open: RwLock<BTreeMap<SessionId, Arc<OpenConnection>>>,
    pub(crate) churn: Churn,
    past_sizes: PastSizes,
}

/// What stays the same while a connection is open.
#[derive(Clone, Debug)]
pub struct ConnectionAbout {
    /// RabbitMQ's name for it: `127.0.0.1:50298 -> 127.0.0.1:5672`.
    pub name: Arc<str>,
    /// Who logged in.
    pub user: Arc<str>,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// What protects it, if anything does.
    pub tls: Option<Arc<TlsAbout>>,
    /// What it speaks, such as `AMQP 0-9-1`.
    pub protocol: &'static str,
    /// How it logged in, such as `PLAIN`.
    pub mechanism: Box<str>,
    /// What the client says about itself.
    pub client_properties: TableBuf,
    /// When it was opened.
    pub connected_at: Millis,
    /// Most channels it may open.
    pub channel_max: u16,
    /// Largest frame in bytes.
    pub frame_max: u32,
    /// The negotiated heartbeat in seconds, 0 for none.
    pub heartbeat_seconds: u16,
}

/// What TLS has come to on a connection. Names and ciphers are written as RabbitMQ has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsAbout {
    /// The version: `tlsv1.3`.
    pub protocol: &'static str,
    /// How the key was agreed on: `ecdhe_rsa`, or `any` since 1.3.
    pub key_exchange: String,
    /// The cipher: `aes_256_gcm`.
    pub cipher: String,
    /// Whose certificate the client has shown; empty without one.
    pub peer_subject: String,
    /// Who signed it.
    pub peer_issuer: String,
    /// From when until when it is valid.
    pub peer_validity: String,
}

/// What an operator may do to a connection: the side a front end implements.
pub trait ConnectionControl: Send + Sync {
    /// Asks the connection to tell its client why, and to end. Returns at once.
    fn close(&self, reason: &str);

    /// What its user may do has changed. Returns at once.
    fn permissions_changed(&self);

    /// Bytes that wait for the client to fetch them.
    fn pending_bytes(&self) -> usize;

    /// Notes which deliveries have been made by now, for [`held_for`](Self::held_for). Times count
    /// from any fixed moment.
    fn note_deliveries(&self, now: Duration);

    /// Says, channel by channel, how long the client has held the delivery of a queue that it has held
    /// longest: from when it was first noted, so that it may be longer.
    fn held_for(&self, now: Duration, each: &mut dyn FnMut(&SharedQueue, Duration));
}

/// A connection that has a session.
pub struct OpenConnection {
    id: SessionId,
    about: ConnectionAbout,
    vhost: Arc<Vhost>,
    channels: Mutex<BTreeMap<u16, Arc<OpenChannel>>>,
    control: Arc<dyn ConnectionControl>,
    traffic: Arc<ConnectionTraffic>,
    sizes: Arc<MessageSizes>,
    is_blocked: AtomicBool,
}

/// What goes over a connection's socket.
#[derive(Debug, Default)]
pub struct ConnectionTraffic {
    /// Bytes read.
    pub received_bytes: Count,
    /// Reads.
    pub reads: Count,
    /// Bytes written.
    pub sent_bytes: Count,
    /// Writes.
    pub writes: Count,
}

impl Connections {
    /// Enters a connection. It is listed until the registration is dropped.
    pub fn register(
        self: &Arc<Self>,
        id: SessionId,
        vhost: &Arc<Vhost>,
        about: ConnectionAbout,
        control: Arc<dyn ConnectionControl>,
        traffic: Arc<ConnectionTraffic>,
    ) -> Registration {
        let connection = Arc::new(OpenConnection {
            id,
            about,
            vhost: Arc::clone(vhost),
            channels: Mutex::default(),
            control,
            traffic,
            sizes: Arc::default(),
            is_blocked: AtomicBool::new(false),
        });
        self.open.write().insert(id, Arc::clone(&connection));
        self.churn.connections_opened.add(1);
        Registration { connections: Arc::clone(self), connection }
    }

    /// All of them, in the order in which they were opened.
    pub fn all(&self) -> Vec<Arc<OpenConnection>> {
        self.open.read().values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.open.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.open.read().is_empty()
    }

    /// The connection of a session.
    pub fn get(&self, id: SessionId) -> Option<Arc<OpenConnection>> {
        self.open.read().get(&id).cloned()
    }

    /// The connection of that name.
    pub fn find(&self, name: &str) -> Option<Arc<OpenConnection>> {
        self.open.read().values().find(|one| *one.about.name == *name).cloned()
    }

    /// How large the messages were that were published since the broker started.
    pub fn message_sizes(&self) -> SizeTotals {
        let mut totals = self.past_sizes.read();
        self.all().iter().for_each(|one| totals.add(&one.sizes.read()));
        totals
    }

    /// Has those of a user look again at what they may do.
    pub(crate) fn permissions_changed(&self, user: &str) {
        let open = self.open.read();
        let own = open.values().filter(|one| *one.about.user == *user);
        own.for_each(|one| one.control.permissions_changed());
    }

    /// Asks those to end that a condition names.
    pub(crate) fn close_where(&self, reason: &str, is_it: impl Fn(&OpenConnection) -> bool) {
        self.all().iter().filter(|one| is_it(one)).for_each(|one| one.close(reason));
    }
}

impl OpenConnection {
    /// Its session.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// What stays the same while it is open.
    pub fn about(&self) -> &ConnectionAbout {
        &self.about
    }

    /// What goes over its socket.
    pub fn traffic(&self) -> &ConnectionTraffic {
        &self.traffic
    }

    /// Where it is.
    pub fn vhost(&self) -> &Arc<Vhost> {
        &self.vhost
    }

    /// The name its client gave it.
    pub fn client_name(&self) -> Option<&str> {
        let name = self.about.client_properties.as_table().get("connection_name");
        name.and_then(|name| name.as_str())
    }

    /// Asks it to tell its client why, and to end.
    pub fn close(&self, reason: &str) {
        self.control.close(reason);
    }

    /// Bytes that wait for the client to fetch them.
    pub fn pending_bytes(&self) -> usize {
        self.control.pending_bytes()
    }

    /// See [`ConnectionControl::note_deliveries`].
    pub fn note_deliveries(&self, now: Duration) {
        self.control.note_deliveries(now);
    }

    /// See [`ConnectionControl::held_for`].
    pub fn held_for(&self, now: Duration, each: &mut dyn FnMut(&SharedQueue, Duration)) {
        self.control.held_for(now, each);
    }

    /// Whether nothing is read from it because the node is short of something.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    /// See [`is_blocked`](Self::is_blocked).
    pub fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    /// Its open channels, by their numbers.
    pub fn channels(&self) -> Vec<Arc<OpenChannel>> {
        self.channels.lock().values().cloned().collect()
    }

    /// How many channels it has open.
    pub fn channel_count(&self) -> usize {
        self.channels.lock().len()
    }

    /// The channel of that number.
    pub fn channel(&self, number: u16) -> Option<Arc<OpenChannel>> {
        self.channels.lock().get(&number).cloned()
    }

    /// RabbitMQ's name for a channel: `127.0.0.1:50298 -> 127.0.0.1:5672 (1)`.
    pub fn channel_name(&self, number: u16) -> String {
        format!("{} ({number})", self.about.name)
    }
}

/// A connection's place in the list, for its front end to count in.
pub struct Registration {
    connections: Arc<Connections>,
    connection: Arc<OpenConnection>,
}

impl Registration {
    /// The connection.
    pub fn connection(&self) -> &Arc<OpenConnection> {
        &self.connection
    }

    /// Enters a channel.
    pub fn open_channel(&self, number: u16) -> Arc<OpenChannel> {
        let sizes = Arc::clone(&self.connection.sizes);
        let channel = Arc::new(OpenChannel::new(number, sizes));
        self.connection.channels.lock().insert(number, Arc::clone(&channel));
        self.connections.churn.channels_opened.add(1);
        channel
    }

    /// Takes a channel out; what it counted stays with its vhost.
    pub fn close_channel(&self, number: u16) {
        if let Some(channel) = self.connection.channels.lock().remove(&number) {
            self.connection.vhost.past_channels.add(&channel.counters.read());
            self.connections.churn.channels_closed.add(1);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        for number in self.connection.channels().iter().map(|channel| channel.number()) {
            self.close_channel(number);
        }
        self.connections.open.write().remove(&self.connection.id);
        self.connections.past_sizes.add(&self.connection.sizes.read());
        self.connections.churn.connections_closed.add(1);
    }
}
