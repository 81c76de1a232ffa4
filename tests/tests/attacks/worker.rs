//! A client that means well: it sends itself messages.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use leveret_tests::codec::{basic, encode_content, queue};
use leveret_tests::{
    Channel, Connection, Login, confirm_select, consume, declare, delete, publish,
};

/// Between two messages at the pace of a service.
const PERIOD: Duration = Duration::from_millis(2);
/// How many messages a busy client publishes before it looks for confirms.
const AT_A_TIME: u64 = 1000;
/// What it has to get done at least.
pub(crate) const MESSAGES_MIN: usize = 100;

/// What its work came to.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// At the pace of a service.
    pub(crate) steady: Pace,
    /// Each message as soon as the one before was back.
    pub(crate) at_once: Pace,
}

/// What came of it at a pace.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    took: Duration,
    /// From the publish until the message was back and confirmed, ascending.
    latencies: Vec<Duration>,
}

impl Pace {
    pub(crate) fn messages(&self) -> usize {
        self.latencies.len()
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.messages() as f64 / self.took.as_secs_f64()
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
    /// Works at the pace of a service for so long, and then as fast as it can until it is told to stop and
    /// has enough done.
    pub(crate) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        address: SocketAddr,
        is_over: &'env AtomicBool,
        steady_until: Instant,
    ) -> Self {
        Self { thread: scope.spawn(move || work(address, is_over, steady_until)) }
    }

    /// Publishes as much as the broker takes, as anybody may, until it is told to stop.
    pub(crate) fn start_busy<'env>(
        scope: &'scope Scope<'scope, 'env>,
        address: SocketAddr,
        is_over: &'env AtomicBool,
    ) -> ScopedJoinHandle<'scope, ()> {
        scope.spawn(move || {
            let channel = confirming(address);
            let mut messages = Vec::new();
            for _ in 0..AT_A_TIME {
                publish("amq.fanout", "").encode_frame(1, &mut messages);
                encode_content(1, &[0, 0], b"work", 4096, &mut messages);
            }
            let mut published = 0;
            while !is_over.load(Ordering::Relaxed) {
                channel.connection().send_bytes(&messages);
                // The broker has something to do while these are on their way.
                while published > 0 && channel.recv().delivery_tag() < published {}
                published += AT_A_TIME;
            }
        })
    }

    pub(crate) fn join(self) -> Work {
        self.thread.join().expect("the well-behaved client did its work")
    }
}

fn work(address: SocketAddr, is_over: &AtomicBool, steady_until: Instant) -> Work {
    let channel = confirming(address);
    let declared = channel.call(&queue::Declare { exclusive: true, ..declare("of-the-worker") });
    let queue = declared.queue();
    channel.call(&basic::Consume { no_ack: true, ..consume(queue, "worker") });
    let steady = measure(&channel, queue, PERIOD, |_| steady_until <= Instant::now());
    let is_enough = |done| done >= MESSAGES_MIN && is_over.load(Ordering::Relaxed);
    let at_once = measure(&channel, queue, Duration::ZERO, is_enough);
    // Else metrics may still have its deliveries, beside those to attackers, when it is gone.
    channel.call(&delete(queue));
    Work { steady, at_once }
}

/// A channel of somebody who means well.
fn confirming(address: SocketAddr) -> Channel {
    let connection = Connection::dial(address);
    connection.open(&Login::default()).expect("the well-behaved client is let in");
    let channel = connection.channel(1);
    channel.call(&confirm_select());
    channel
}

/// One message after the other, not faster than at this pace.
fn measure(
    channel: &Channel,
    queue: &str,
    period: Duration,
    is_enough: impl Fn(usize) -> bool,
) -> Pace {
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    while !is_enough(latencies.len()) {
        let due = begun + period * u32::try_from(latencies.len()).expect("a short test");
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        let sent = Instant::now();
        channel.publish("", queue, "work");
        let answers = channel.recv_many(2);
        assert!(answers.iter().any(|answer| answer.starts_with("basic.deliver")), "{answers:?}");
        assert!(answers.iter().any(|answer| answer.starts_with("basic.ack")), "{answers:?}");
        latencies.push(sent.elapsed());
    }
    let took = begun.elapsed();
    latencies.sort_unstable();
    Pace { took, latencies }
}
