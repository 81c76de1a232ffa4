//! A broker with a session, for tests of what a session doesn't show.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leveret_codec::{Properties, Table};
use leveret_engine::{Body, DestinationName, Millis};
use leveret_store::{Disk, StoreOptions};

use crate::broker::{Broker, BrokerOptions};
use crate::session::{DeclareQueue, Publish, Session, Ticket};

pub(crate) const NOW: Millis = Millis(1_700_000_000_000);

pub(crate) fn open(disk: &Arc<dyn Disk>) -> (Arc<Broker>, Session) {
    let store = StoreOptions {
        segment_bytes: 256 << 10,
        first_segment_bytes: 64 << 10,
        lazy_sync: Duration::from_millis(1),
        on_fatal: Arc::new(|_| {}),
        ..StoreOptions::default()
    };
    let options = BrokerOptions { store, ..BrokerOptions::default() };
    let broker = Broker::open(Arc::clone(disk), Path::new("/data"), &options).unwrap();
    let session = session(&broker);
    (broker, session)
}

pub(crate) fn session(broker: &Arc<Broker>) -> Session {
    let user = broker.access().user("guest").unwrap();
    let mut session = Session::open(broker, user, "/", "test".into(), None).unwrap();
    session.begin(NOW);
    session
}

pub(crate) fn declare(session: &mut Session, name: &str, arguments: Table<'_>) {
    let queue =
        DeclareQueue { name, durable: true, exclusive: false, auto_delete: false, arguments };
    session.declare_queue(queue).unwrap();
}

/// Has a queue get what is published to `amq.fanout`.
pub(crate) fn bind(session: &mut Session, queue: &str) {
    session.bind("amq.fanout", DestinationName::Queue(queue), "", Table::EMPTY).unwrap();
}

/// A persistent message for `amq.fanout`.
pub(crate) fn with_message<R>(
    routing_key: &str,
    body: &[u8],
    publish: impl FnOnce(Publish<'_>) -> R,
) -> R {
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    let mut raw_properties = Vec::new();
    properties.encode(&mut raw_properties);
    publish(Publish {
        channel: 1,
        exchange: "amq.fanout",
        routing_key,
        properties: &properties,
        raw_properties: &raw_properties,
        body: Body::Copy(body),
        replies_to: None,
    })
}

/// Publishes it, as all there is in a turn.
pub(crate) fn publish(session: &mut Session, routing_key: &str, body: &[u8]) {
    let ticket = Ticket { channel: 1, sequence: 1 };
    let _ = with_message(routing_key, body, |one| session.publish(one, Some(ticket))).unwrap();
    session.flush(&mut Vec::new());
    session.finish();
}
