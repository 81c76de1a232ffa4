//! For `crates/fuzz`: a connection without socket and tasks, and what is read of a client nobody knows.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leveret_auth::Backends;
use leveret_broker::{Broker, BrokerOptions, Progress, Turn};
use leveret_engine::Millis;
use leveret_store::{MemDisk, StoreOptions};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::alarms;
use crate::config::Config;
use crate::connection::{Connection, Next, Peer};
use crate::control::Control;
use crate::outbox::{Outbox, Segments, Work};
use crate::proxy;
use crate::sasl::{Identity, Transport};
use crate::server::{StartError, context, logins};

/// A client's connection to a broker of its own, both in memory.
pub struct Bench {
    broker: Arc<Broker>,
    connection: Connection,
    outbox: Arc<Outbox>,
    runtime: Runtime,
    input: Vec<u8>,
    sent: Vec<u8>,
    turn: Turn,
    now: Millis,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It takes more.
    Open,
    /// It is over.
    Closed,
}

impl Bench {
    /// A fresh broker, and a client that has just connected.
    ///
    /// # Errors
    /// When the broker doesn't start.
    pub fn new() -> Result<Self, StartError> {
        let store = StoreOptions { first_segment_bytes: 64 << 10, ..StoreOptions::default() };
        let options = BrokerOptions { store, ..BrokerOptions::default() };
        let broker = Broker::open(Arc::new(MemDisk::new()), Path::new("/"), &options)?;
        let mut config = Config::default();
        config.amqp.consumer_timeout = Some(Duration::from_secs(1));
        let shortage = alarms::set_up(&broker, &config.alarms);
        let backends = Arc::new(Backends::new(&config.auth.backends, broker.access()));
        let context = Arc::new(context(&broker, &config, &backends, shortage));
        let guest = context.admission.admit(Ipv4Addr::LOCALHOST.into(), &context.amqp);
        let guest = guest.ok_or(StartError::Interrupted)?;
        let outbox = Outbox::new(&context);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 5672));
        let peer = Peer { address, local: address, tls: None, certificate: None };
        let control = Control::new(Arc::clone(&outbox), CancellationToken::new());
        Ok(Self {
            connection: Connection::new(context, Arc::new(control), peer, guest),
            broker,
            outbox,
            runtime: Builder::new_current_thread().build().map_err(|_| StartError::Interrupted)?,
            input: Vec::new(),
            sent: Vec::new(),
            turn: Turn::new(),
            now: Millis(1_700_000_000_000),
        })
    }

    /// What the client sends in one piece, as the driver handles it.
    pub fn receive(&mut self, bytes: &[u8]) -> Status {
        self.input.extend_from_slice(bytes);
        loop {
            let received = self.connection.receive(&self.input, self.now);
            self.input.drain(..received.consumed);
            match received.next {
                Next::Wait(lsn) => {
                    self.runtime.block_on(self.broker.store().durable(lsn));
                    self.connection.durable();
                }
                Next::Yield => {}
                Next::Pause => self.write(),
                // Nothing is ever short here.
                Next::Read | Next::Hold => {
                    self.write();
                    return Status::Open;
                }
                // Nobody outside is asked.
                Next::Ask | Next::Close | Next::Refused => {
                    self.write();
                    return Status::Closed;
                }
            }
        }
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        self.now.0 += u64::try_from(time.as_millis()).unwrap_or_default();
        while self.broker.tick(self.now, &mut self.turn) == Progress::More {}
        self.connection.check_timeouts(Duration::from_millis(self.now.0), self.now);
        self.write();
    }

    /// The socket is gone; what the broker has sent.
    pub fn hang_up(mut self) -> Vec<u8> {
        self.connection.end(self.now);
        while self.connection.is_leaving() {
            self.connection.leave(self.now);
        }
        self.outbox.finish();
        self.write();
        drop(self.connection);
        self.broker.close(self.now);
        self.sent
    }

    /// The writer's task.
    fn write(&mut self) {
        let mut segments = Segments::default();
        while let Work::Write = self.outbox.take(self.broker.store().durable_lsn(), &mut segments) {
            for slice in segments.slices() {
                self.sent.extend_from_slice(&slice);
            }
            segments.clear();
            self.turn.begin(self.now, self.broker.store());
            for (queue, consumer) in self.outbox.written() {
                queue.unblock(consumer, &mut self.turn);
            }
            self.broker.finish(&mut self.turn);
        }
    }
}

/// Whose login this is, if it is one, over a connection without TLS and with the default settings.
pub fn login(mechanism: &str, response: &[u8]) -> Option<String> {
    let logins = logins(&Config::default().auth);
    match logins.identity(mechanism, response, Transport::Plain).ok()? {
        Identity::Password { user, .. } => Some(user.to_owned()),
        Identity::Certificate { user } => Some(user),
    }
}

/// Reads the header of a proxy, and says whether it is one.
///
/// # Errors
/// When there is no runtime to be had.
pub fn proxy_header(stream: &mut &[u8]) -> std::io::Result<bool> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    Ok(runtime.block_on(proxy::read(stream, Duration::from_secs(1))).is_ok())
}
