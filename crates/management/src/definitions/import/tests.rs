use std::path::Path;

use leveret_broker::{
    BrokerOptions, Consume, DeclareExchange, DeclareQueue, Publish, Subscriber, Wake,
};
use leveret_codec::{Properties, Table, TableBuilder};
use leveret_engine::{Admission, Body, Entry};
use leveret_store::{MemDisk, StoreOptions};

use super::*;

const NOW: Millis = Millis(1_700_000_000_000);
const KEPT: usize = 5000;

/// Has the broker stop with the first delivery.
struct Stopping(CancellationToken);

impl Subscriber for Stopping {
    fn admit(&self, _: usize) -> Admission {
        Admission::Ready
    }

    fn deliver(&self, entries: &mut Vec<Entry>) -> Wake {
        self.0.cancel();
        entries.clear();
        Wake::NotNeeded
    }

    fn wake(&self) {}

    fn cancelled(&self) {}
}

/// With queues `watched` and `q`, and an exchange `x` that has kept much for new bindings.
fn kept() -> (Arc<Broker>, Session) {
    let store = StoreOptions { first_segment_bytes: 64 << 10, ..StoreOptions::default() };
    let options = BrokerOptions { store, ..BrokerOptions::default() };
    let broker = Broker::open(Arc::new(MemDisk::new()), Path::new("/"), &options).unwrap();
    let user = broker.access().user("guest").unwrap();
    let mut session = Session::open(&broker, user, "/", "test".into(), None).unwrap();
    session.begin(NOW);
    let length =
        TableBuilder::new().put("x-recent-history-length", i64::try_from(KEPT).unwrap()).build();
    let history = DeclareExchange {
        name: "x",
        kind: "x-recent-history",
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: length.as_table(),
    };
    session.declare_exchange(history).unwrap();
    for name in ["watched", "q"] {
        let (durable, exclusive, auto_delete, arguments) = (false, false, false, Table::EMPTY);
        let queue = DeclareQueue { name, durable, exclusive, auto_delete, arguments };
        session.declare_queue(queue).unwrap();
    }
    for _ in 0..KEPT {
        let kept = Publish {
            channel: 1,
            exchange: "x",
            routing_key: "k",
            properties: &Properties::default(),
            raw_properties: &[0, 0],
            body: Body::Copy(b"kept"),
            replies_to: None,
        };
        let _ = session.publish(kept, None).unwrap();
    }
    session.flush(&mut Vec::new());
    session.finish();
    (broker, session)
}

/// A long history, or very many definitions, would keep a broker that is to stop from that.
#[test]
fn an_import_ends_with_the_broker() {
    let (broker, mut session) = kept();
    let stop = CancellationToken::new();
    let request = Consume {
        tag: &Arc::from("c"),
        is_tag_chosen: true,
        channel: 1,
        queue: "watched",
        no_ack: true,
        exclusive: false,
        prefetch: 0,
        shared_limit: 0,
        arguments: Table::EMPTY,
    };
    let subscriber = Arc::new(Stopping(stop.clone()));
    let (watched, id) = session.consume(request, |_| subscriber).unwrap();
    session.unblock(&watched, id);
    let binding = |queue: &str| {
        json!({
            "vhost": "/", "source": "x", "destination": queue, "destination_type": "queue",
            "routing_key": "", "arguments": {},
        })
    };
    let given = json!({ "bindings": [binding("watched"), binding("q")] });
    let given = given.as_object().unwrap();
    let actor = Arc::new(Actor::program());
    let ended = import(&broker, &actor, given, TableLimits::ACCEPTED, NOW, &stop);
    assert_eq!(ended, Err(Failure::stopping()));
    let counted = watched.totals().unwrap_or_default();
    assert!((1..KEPT as u64).contains(&counted.publish), "{counted:?}");
    let vhost = broker.vhost("/").unwrap();
    assert_eq!(vhost.topology(|topology| topology.bindings_to_queue("q").count()), 0);
    assert_eq!(vhost.topology(|topology| topology.bindings_to_queue("watched").count()), 1);
}
