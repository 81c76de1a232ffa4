//! A client that means well: it sends itself messages.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use leveret_tests::codec::queue;
use leveret_tests::{Connection, Login, confirm_select, consume, declare, delete};

/// How often it sends one when its work is measured: what a service does, not what a broker can do.
const PACE: Duration = Duration::from_millis(2);

/// What its work came to.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) messages: usize,
    pub(crate) took: Duration,
    /// From the publish until the message was back and confirmed, ascending.
    latencies: Vec<Duration>,
}

impl Work {
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// The time in which so much of 100 were back.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len() - 1;
        self.latencies[last * percent / 100]
    }
}

/// A worker's thread.
pub(crate) struct Worker<'scope> {
    thread: ScopedJoinHandle<'scope, Work>,
}

impl<'scope> Worker<'scope> {
    /// Works until it is told to stop, and has at least this much done.
    pub(crate) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        address: SocketAddr,
        is_over: &'env AtomicBool,
        messages_min: usize,
        is_measured: bool,
    ) -> Self {
        let thread = scope.spawn(move || work(address, is_over, messages_min, is_measured));
        Self { thread }
    }

    pub(crate) fn join(self) -> Work {
        self.thread.join().expect("the well-behaved client did its work")
    }
}

fn work(address: SocketAddr, is_over: &AtomicBool, messages_min: usize, is_measured: bool) -> Work {
    let connection = Connection::dial(address);
    connection.open(&Login::default()).expect("the well-behaved client is let in");
    let channel = connection.channel(1);
    channel.call(&queue::Declare { exclusive: true, ..declare("of-the-worker") });
    channel.call(&confirm_select());
    let no_ack =
        leveret_tests::codec::basic::Consume { no_ack: true, ..consume("of-the-worker", "worker") };
    channel.call(&no_ack);
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    while latencies.len() < messages_min || !is_over.load(Ordering::Relaxed) {
        let due = begun + PACE * u32::try_from(latencies.len()).expect("a short test");
        if is_measured && let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        let sent = Instant::now();
        channel.publish("", "of-the-worker", "work");
        let answers = channel.recv_many(2);
        assert!(answers.iter().any(|answer| answer.starts_with("basic.deliver")), "{answers:?}");
        assert!(answers.iter().any(|answer| answer.starts_with("basic.ack")), "{answers:?}");
        latencies.push(sent.elapsed());
    }
    let took = begun.elapsed();
    // Else metrics may still have its deliveries, beside those to attackers, when it is gone.
    channel.call(&delete("of-the-worker"));
    latencies.sort_unstable();
    Work { messages: latencies.len(), took, latencies }
}
