//! A broker that runs already and that the tests must leave as they found it.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use leveret_codec::Method;
use parking_lot::{Mutex, MutexGuard};

use crate::{Connection, Login, delete, delete_exchange};

/// The variable that names the broker to use.
const VARIABLE: &str = "LEVERET_TEST_URL";

/// The tests share the broker's names, so one runs at a time.
static TURN: Mutex<()> = Mutex::new(());

/// The broker of [`VARIABLE`], for one test.
pub(crate) struct Given {
    pub(crate) address: SocketAddr,
    pub(crate) declared: Arc<Declared>,
    _turn: MutexGuard<'static, ()>,
}

impl Given {
    pub(crate) fn is_set() -> bool {
        std::env::var_os(VARIABLE).is_some()
    }

    pub(crate) fn take() -> Option<Self> {
        let url = std::env::var(VARIABLE).ok()?;
        let mut addresses = url.to_socket_addrs().unwrap_or_else(|error| {
            panic!("{VARIABLE}={url} is no host:port: {error}");
        });
        let address = addresses.next().unwrap_or_else(|| panic!("{url} has no address"));
        Some(Self { address, declared: Arc::default(), _turn: TURN.lock() })
    }
}

/// Deletes what the test declared.
impl Drop for Given {
    fn drop(&mut self) {
        let names = self.declared.0.lock().clone();
        if names.is_empty() {
            return;
        }
        let connection = Connection::dial(self.address);
        if connection.open(&Login::default()).is_err() {
            return;
        }
        let channel = connection.channel(1);
        for name in names {
            // A queue exclusive to a connection that is being closed is locked for a moment more.
            for _ in 0..1000 {
                let answer = match &name {
                    Name::Queue(queue) => channel.call(&delete(queue)),
                    Name::Exchange(exchange) => channel.call(&delete_exchange(exchange)),
                };
                if !answer.starts_with("channel.close ") {
                    break;
                }
                channel.reopen();
                if !answer.starts_with("channel.close 405 ") {
                    break;
                }
            }
        }
    }
}

/// What the connections of a test declared.
#[derive(Default)]
pub(crate) struct Declared(Mutex<BTreeSet<Name>>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Queue(String),
    Exchange(String),
}

impl Declared {
    pub(crate) fn note(&self, sent: &Method<'_>) {
        let name = match sent {
            Method::QueueDeclare(declare) if !declare.passive => Name::Queue(declare.queue.into()),
            Method::ExchangeDeclare(declare) if !declare.passive => {
                Name::Exchange(declare.exchange.into())
            }
            _ => return,
        };
        self.0.lock().insert(name);
    }
}
