//! A broker inside a test.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;

use leveret_broker::access::HashingAlgorithm;
use leveret_broker::policy::{AppliedPolicies, Policy, PolicyKind, PolicyRefused};
use leveret_broker::{Actor, AlarmStatus, Broker, Resource};
use leveret_server::StartError;
use leveret_server::config::{AlarmConfig, AuthConfig, Config, Limit, Storage};
use thiserror::Error;
use tokio::runtime;
use tokio::sync::oneshot;

use crate::Node;

/// A real broker on a free loopback port, until it is stopped or dropped.
///
/// It runs on threads of its own, so that it works the same from a plain test and from an async
/// one of any runtime, and is never starved by a test that blocks. Starting and stopping block
/// the caller for some milliseconds.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let broker = leveret::TestBroker::on_directory(folder.path())?;
/// let first = broker.url().to_owned();
/// broker.stop();
///
/// // What was durable is still there.
/// let broker = leveret::TestBroker::on_directory(folder.path())?;
/// # drop((first, broker));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TestBroker {
    address: SocketAddr,
    management: Option<SocketAddr>,
    url: String,
    vhost: String,
    broker: Arc<Broker>,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl TestBroker {
    /// Starts a broker that keeps everything in memory.
    ///
    /// # Errors
    /// [`TestBrokerError`] when the machine gives no port or no threads.
    pub fn start() -> Result<Self, TestBrokerError> {
        Self::with_config(Self::config())
    }

    /// Starts a broker with its data in a directory, where a later one finds what was durable.
    ///
    /// # Errors
    /// [`TestBrokerError`], also when another broker uses the directory.
    pub fn on_directory(directory: impl Into<PathBuf>) -> Result<Self, TestBrokerError> {
        let storage = Storage::Directory(directory.into());
        Self::with_config(Config { storage, ..Self::config() })
    }

    /// The settings of [`start`](Self::start): the broker's defaults, in memory, on a free port of
    /// 127.0.0.1, without HTTP (`config.management`, `config.metrics`). Alarms are for
    /// [`pretend`](Self::pretend) only, as the memory that could be measured is the test's, too.
    /// Passwords are hashed with SHA-256. A test changes what it is about:
    ///
    /// ```
    /// use leveret::TestBroker;
    ///
    /// let mut config = TestBroker::config();
    /// config.amqp.max_message_bytes = 1000;
    /// let broker = TestBroker::with_config(config)?;
    /// # drop(broker);
    /// # Ok::<(), leveret::TestBrokerError>(())
    /// ```
    pub fn config() -> Config {
        let auth = AuthConfig {
            // Argon2id takes a second in a build that is not optimised, as those of tests are.
            password_hashing: HashingAlgorithm::Sha256,
            ..Config::default().auth
        };
        Config {
            auth,
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            management: Vec::new(),
            metrics: Vec::new(),
            storage: Storage::Ephemeral,
            alarms: AlarmConfig {
                vm_memory_high_watermark: Limit::Bytes(u64::MAX / 2),
                disk_free_limit: Limit::Bytes(1),
            },
            ..Config::default()
        }
    }

    /// Starts a broker with these settings.
    ///
    /// # Errors
    /// [`TestBrokerError`] when it does not start, or has no listener.
    pub fn with_config(config: Config) -> Result<Self, TestBrokerError> {
        if config.listen.is_empty() {
            return Err(TestBrokerError::NoListener);
        }
        let login = format!(
            "{}:{}",
            percent_encoded(&config.auth.default_user),
            percent_encoded(&config.auth.default_pass)
        );
        let vhost = config.auth.default_vhost.clone();
        let (stop, stopped) = oneshot::channel();
        let (started, start) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("leveret".to_owned())
            .spawn(move || run(config, &started, stopped))
            .map_err(TestBrokerError::Threads)?;
        let Started { broker, addresses, management } = match start.recv() {
            Ok(started) => started?,
            Err(mpsc::RecvError) => return Err(TestBrokerError::Panicked),
        };
        let running = Running { stop, thread };
        let address = *addresses.first().ok_or(TestBrokerError::NoListener)?;
        let url = format!("amqp://{login}@{address}/{}", percent_encoded(&vhost));
        Ok(Self { address, management, url, vhost, broker, running: Some(running) })
    }

    /// The first address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first address the HTTP API listens on, if the settings name one.
    pub fn management_address(&self) -> Option<SocketAddr> {
        self.management
    }

    /// Where clients connect, as the default user, to the default vhost:
    /// `amqp://guest:guest@127.0.0.1:40123/%2F`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sets a policy in the default vhost, in the place of one of its name: queues and exchanges
    /// that match have it when this returns, those that exist and those to come.
    ///
    /// ```
    /// use leveret::TestBroker;
    /// use leveret::policy::{ApplyTo, Policy};
    ///
    /// let broker = TestBroker::start()?;
    /// let limit = Policy::parse("^orders", r#"{"max-length": 1000}"#)?;
    /// broker.set_policy("limit", Policy { apply_to: ApplyTo::Queues, priority: 5, ..limit })?;
    /// // ... and see what that does to a client.
    /// broker.clear_policy("limit")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PolicyRefused`], in RabbitMQ's words, when the policy is not sound.
    pub fn set_policy(&self, name: &str, policy: Policy) -> Result<(), PolicyRefused> {
        self.put_policy(PolicyKind::User, name, policy)
    }

    /// Clears a policy of [`set_policy`](Self::set_policy).
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn clear_policy(&self, name: &str) -> Result<(), PolicyRefused> {
        self.delete_policy(PolicyKind::User, name)
    }

    /// Sets an operator policy, which bounds what users' policies say of queues.
    ///
    /// # Errors
    /// As [`set_policy`](Self::set_policy).
    pub fn set_operator_policy(&self, name: &str, policy: Policy) -> Result<(), PolicyRefused> {
        self.put_policy(PolicyKind::Operator, name, policy)
    }

    /// Clears an operator policy.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn clear_operator_policy(&self, name: &str) -> Result<(), PolicyRefused> {
        self.delete_policy(PolicyKind::Operator, name)
    }

    /// The policies a queue of the default vhost has; `None` if there is no such queue.
    pub fn queue_policies(&self, queue: &str) -> Option<AppliedPolicies> {
        Some(self.broker.vhost(&self.vhost)?.queue(queue)?.policies())
    }

    /// The policies an exchange of the default vhost has; `None` if there is no such exchange.
    pub fn exchange_policies(&self, exchange: &str) -> Option<AppliedPolicies> {
        self.broker.vhost(&self.vhost)?.exchange_policies(exchange)
    }

    /// Has the broker take a number of bytes for the memory in use, or for the disk space that is
    /// free, until it is `None` again: enough of the one, or too few of the other, and publishers
    /// get `connection.blocked` and wait.
    ///
    /// ```
    /// use leveret::{Resource, TestBroker};
    ///
    /// let broker = TestBroker::start()?;
    /// broker.pretend(Resource::Memory, Some(u64::MAX));
    /// assert!(broker.alarm(Resource::Memory).is_set);
    /// // Clients that publish are blocked now, "low on memory" ...
    /// broker.pretend(Resource::Memory, None);
    /// // ... and go on.
    /// # Ok::<(), leveret::TestBrokerError>(())
    /// ```
    pub fn pretend(&self, resource: Resource, bytes: Option<u64>) {
        self.broker.alarms().pretend(resource, bytes);
    }

    /// The alarm for a resource.
    pub fn alarm(&self, resource: Resource) -> AlarmStatus {
        self.broker.alarms().status(resource)
    }

    fn put_policy(
        &self,
        kind: PolicyKind,
        name: &str,
        policy: Policy,
    ) -> Result<(), PolicyRefused> {
        let now = leveret_server::now();
        self.broker
            .administration(&Actor::program())
            .put_policy(&self.vhost, kind, name, policy, now)
            .map(|_| ())
    }

    fn delete_policy(&self, kind: PolicyKind, name: &str) -> Result<(), PolicyRefused> {
        let now = leveret_server::now();
        self.broker
            .administration(&Actor::program())
            .delete_policy(&self.vhost, kind, name, now)
            .map(|_| ())
    }

    /// Stops it: closes its connections, writes what is left, frees its directory.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            // Its thread may have panicked, which it has reported.
            let _ = running.stop.send(());
            let _ = running.thread.join();
        }
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for TestBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestBroker").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What the broker's thread reports.
struct Started {
    broker: Arc<Broker>,
    addresses: Vec<SocketAddr>,
    management: Option<SocketAddr>,
}

/// The broker's whole life, on a thread and a runtime of its own.
fn run(
    config: Config,
    started: &mpsc::SyncSender<Result<Started, TestBrokerError>>,
    stop: oneshot::Receiver<()>,
) {
    // There is room for the one report, and somebody waits for it.
    let report = |result| {
        let _ = started.send(result);
    };
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("leveret")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return report(Err(TestBrokerError::Threads(error))),
    };
    runtime.block_on(async {
        let node = match Node::start(config).await {
            Ok(node) => node,
            Err(error) => return report(Err(error.into())),
        };
        let (broker, addresses) = (node.server().broker(), node.server().addresses());
        let (broker, addresses) = (Arc::clone(broker), addresses.to_vec());
        let management = node.management_addresses().first().copied();
        report(Ok(Started { broker, addresses, management }));
        // A handle that is gone without a word means the same as one that asks.
        let _ = stop.await;
        node.stop().await;
    });
}

/// Many tests run at a time: each broker takes few threads.
const WORKERS: usize = 2;

/// A part of a URL, with everything escaped that is not unreserved (RFC 3986, section 2.3).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Why a [`TestBroker`] did not start.
#[derive(Debug, Error)]
pub enum TestBrokerError {
    /// The broker did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system gave no threads.
    #[error("cannot start the threads of the broker: {0}")]
    Threads(io::Error),
    /// The settings have no listener, so nothing could connect.
    #[error("a test broker needs an address to listen on")]
    NoListener,
    /// The broker's thread panicked while starting.
    #[error("the broker panicked while starting")]
    Panicked,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_for_the_url() {
        assert_eq!(percent_encoded("/"), "%2F");
        assert_eq!(percent_encoded("guest-1_a.b~"), "guest-1_a.b~");
        assert_eq!(percent_encoded("pä:s@s"), "p%C3%A4%3As%40s");
    }
}
