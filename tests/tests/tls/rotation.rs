//! Certificates that are replaced under traffic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use leveret_tests::codec::queue;
use leveret_tests::tls::{self, shown};
use leveret_tests::{
    Connection, Login, SetOnDrop, ack, confirm_select, consume, declare, eventually,
};
use rustls::ClientConfig;

use crate::{LOCALHOST, Served};

const ROTATIONS: usize = 3;
const PAIRS: usize = 3;
/// Of each pair, from one rotation to the next.
const MESSAGES: u64 = 30;
const LAST: &[u8] = b"last";

/// A publisher and a consumer, each on a connection that is there before the first rotation.
struct Pair<'a> {
    queue: String,
    address: SocketAddr,
    client: &'a Arc<ClientConfig>,
    is_over: &'a AtomicBool,
    consumed: AtomicU64,
}

impl Pair<'_> {
    fn connect(&self) -> Connection {
        let stream = tls::connect(self.address, self.client, "localhost").expect("a handshake");
        let connection = Connection::within(stream);
        connection.open(&Login::default()).unwrap_or_else(|answer| panic!("{answer}"));
        connection
    }

    /// Sends numbers until it is over, each confirmed before the next.
    fn publish(&self) {
        let connection = self.connect();
        let channel = connection.channel(1);
        channel.call(&queue::Declare { durable: true, ..declare(&self.queue) });
        channel.call(&confirm_select());
        for number in 1_u64.. {
            let is_last = self.is_over.load(Ordering::Relaxed);
            let body = if is_last { LAST.to_vec() } else { number.to_be_bytes().to_vec() };
            channel.publish_persistent(&self.queue, body);
            assert_eq!(channel.recv(), format!("basic.ack {number}"));
            if is_last {
                break;
            }
        }
        connection.close();
    }

    /// Gets all of them, in order and once.
    fn consume(&self) {
        let connection = self.connect();
        let channel = connection.channel(1);
        channel.call(&queue::Declare { durable: true, ..declare(&self.queue) });
        channel.call(&consume(&self.queue, "c"));
        for number in 1_u64.. {
            let delivery = channel.recv();
            assert!(delivery.starts_with(&format!("basic.deliver c {number} ''")), "{delivery}");
            channel.send(&ack(number));
            if delivery.body() == LAST {
                break;
            }
            assert_eq!(delivery.body(), number.to_be_bytes());
            self.consumed.store(number, Ordering::Relaxed);
        }
        connection.close();
    }
}

/// Whoever connects gets what is new, whoever is there goes on: nothing is dropped, lost or delivered
/// again.
#[test]
fn traffic_goes_on_while_certificates_change() {
    let Some(served) = Served::with("reload_interval = \"100ms\"\n") else { return };
    let client = tls::client(&served.authority.pem(), None);
    let is_over = AtomicBool::new(false);
    let address = served.broker.address_of("AMQP over TLS");
    let pair = |number| Pair {
        queue: format!("q{number}"),
        address,
        client: &client,
        is_over: &is_over,
        consumed: AtomicU64::new(0),
    };
    let pairs: Vec<_> = (0..PAIRS).map(pair).collect();
    std::thread::scope(|scope| {
        for pair in &pairs {
            scope.spawn(|| pair.publish());
            scope.spawn(|| pair.consume());
        }
        let rotated = SetOnDrop(&is_over);
        let await_more = || {
            let seen = || pairs.iter().map(|pair| pair.consumed.load(Ordering::Relaxed));
            let due: Vec<_> = seen().map(|number| number + MESSAGES).collect();
            eventually(|| seen().zip(&due).all(|(number, due)| number >= *due));
        };
        await_more();
        for _ in 0..ROTATIONS {
            let new = served.authority.sign(&LOCALHOST);
            let _ = new.write(served.home.path(), "server");
            eventually(|| shown(&served.connect(None).unwrap()) == tls::der(&new.certificate));
            await_more();
        }
        drop(rotated);
    });
}
