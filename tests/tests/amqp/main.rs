//! What clients see of the broker over AMQP 0-9-1, compared with RabbitMQ's recorded answers.
//!
//! One module a topic. Most tests are tables of requests and the lines a client reads as answers;
//! where Leveret is meant to differ from RabbitMQ 4.x the test says so.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod acknowledgements;
mod alarms;
mod at_least_once;
mod backlogs;
mod bindings;
mod cancels;
mod channels;
mod client_habits;
mod concurrency;
mod confirms;
mod consumer_timeout;
mod consumers;
mod dead_letters;
mod delayed;
mod delayed_retry;
mod direct_reply;
mod durability;
mod exchange_types;
mod exchanges;
mod expiry;
mod fairness;
mod frame_trace;
mod framing;
mod handshake;
mod heartbeats;
mod hostile;
mod jms_topic;
mod lengths;
mod limits;
mod matrix;
mod permissions;
mod policies;
mod prefetch;
mod priorities;
mod process;
mod proxies;
mod publishing;
mod queue_names;
mod queues;
mod quorum;
mod refusals;
mod repeated_publishes;
mod routing;
mod slow_readers;
mod strangers;
mod streams;
mod transactions;
mod uncommitted;
mod unfinished_messages;
mod unread_limits;
mod update_secret;
mod wire;
mod wrong_passwords;
mod x_death;

use leveret_tests::{Channel, Request};

/// A request and the line a client reads as the answer.
type Case<'a> = (&'a dyn Request, &'a str);

/// Makes each request in turn and compares the answers. A channel that an answer closes is opened
/// again for the next.
fn check(channel: &Channel, cases: &[Case<'_>]) {
    for &(request, expected) in cases {
        let answer = channel.call(request);
        assert_eq!(answer, expected, "to {:?}", request.method());
        if answer.starts_with("channel.close ") {
            channel.reopen();
        }
    }
}

/// The bodies of the next `count` deliveries, whatever else they say.
fn bodies(channel: &Channel, count: usize) -> Vec<String> {
    let deliveries = channel.recv_many(count);
    deliveries
        .iter()
        .map(|delivery| {
            assert!(delivery.starts_with("basic.deliver "), "{delivery}");
            String::from_utf8_lossy(delivery.body()).into_owned()
        })
        .collect()
}
