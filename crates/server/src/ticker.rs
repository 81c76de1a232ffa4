//! The task that tells the broker and its door the time.

use std::sync::Arc;
use std::time::Duration;

use leveret_broker::{Broker, Progress, Turn};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::clock;

/// How late something that is due may be noticed.
const INTERVAL: Duration = Duration::from_millis(20);

/// Ticks until the broker stops.
pub(crate) async fn run(broker: Arc<Broker>, admission: Arc<Admission>, stop: CancellationToken) {
    let mut turn = Turn::new();
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ticks = async {
        loop {
            clock::follow();
            admission.tick(clock::now());
            match broker.tick(clock::now(), &mut turn) {
                Progress::More => tokio::task::yield_now().await,
                Progress::Done => _ = interval.tick().await,
            }
        }
    };
    stop.run_until_cancelled(ticks).await;
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use leveret_broker::{
        BrokerOptions, DeclareQueue, Publish, Session, Staged, UNWRITTEN_JOURNAL_MAX, Vhost,
    };
    use leveret_codec::{Properties, TableBuilder, Value};
    use leveret_engine::Body;
    use leveret_store::{Batch, MemDisk, Store};

    use super::*;

    fn publish(session: &mut Session, queue: &str) {
        let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
        let mut raw_properties = Vec::new();
        properties.encode(&mut raw_properties);
        let publish = Publish {
            channel: 1,
            exchange: "",
            routing_key: queue,
            properties: &properties,
            raw_properties: &raw_properties,
            body: Body::Copy(b"body"),
            replies_to: None,
        };
        assert_eq!(session.publish(publish, None).unwrap(), Staged::Routed);
    }

    fn ready(vhost: &Vhost, queue: &str) -> u64 {
        vhost.queue(queue).unwrap().counts().ready
    }

    async fn await_written(store: &Store) {
        let mut batch = Batch::new();
        batch.nothing();
        batch.set_durable();
        let last = store.append(&mut batch).last;
        store.durable(last).await;
    }

    /// Dead letters, more than a tick makes, wait for a disk that takes nothing; no other queue does.
    #[tokio::test]
    async fn time_goes_on_while_the_journal_waits_for_the_disk() {
        let disk = Arc::new(MemDisk::new());
        let broker = Broker::open(disk, Path::new("/data"), &BrokerOptions::default()).unwrap();
        let user = broker.access().user("guest").unwrap();
        let mut session = Session::open(&broker, user, "/", "test".into(), None).unwrap();
        session.begin(clock::now());
        let ttl = TableBuilder::new().put("x-message-ttl", Value::I32(1));
        let dead_lettering = ttl.clone().put("x-dead-letter-exchange", Value::text("amq.fanout"));
        for (name, arguments) in [("q", dead_lettering.build()), ("other", ttl.build())] {
            let queue = DeclareQueue {
                name,
                durable: true,
                exclusive: false,
                auto_delete: false,
                arguments: arguments.as_table(),
            };
            session.declare_queue(queue).unwrap();
        }
        for _ in 0..10_000 {
            publish(&mut session, "q");
        }
        publish(&mut session, "other");
        session.flush(&mut Vec::new());
        session.finish();
        let vhost = broker.vhost("/").unwrap();
        assert_eq!((ready(&vhost, "q"), ready(&vhost, "other")), (10_000, 1));

        // Nobody else writes meanwhile.
        let pen = loop {
            await_written(broker.store()).await;
            if let Some(pen) = broker.store().pen() {
                break pen;
            }
        };
        let mut large = Batch::new();
        large.message(&[], &[&vec![0; UNWRITTEN_JOURNAL_MAX + 1]]);
        broker.store().append(&mut large);
        let admission = Arc::new(Admission::new());
        let ticker = run(Arc::clone(&broker), admission, CancellationToken::new());
        let expiry = async {
            while ready(&vhost, "other") > 0 {
                tokio::task::yield_now().await;
            }
        };
        let expired = tokio::select! {
            () = ticker => false,
            expired = tokio::time::timeout(Duration::from_secs(60), expiry) => expired.is_ok(),
        };
        assert!(expired);
        drop(pen);
    }
}
