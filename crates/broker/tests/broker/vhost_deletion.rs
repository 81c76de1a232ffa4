//! The end of a vhost, and who waits for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use leveret_broker::access::{Permission, PermissionKey};
use leveret_broker::{Actor, Consume, Session, Subscriber, Turn, Wake};
use leveret_codec::Table;
use leveret_engine::{Admission, Entry, Millis};
use parking_lot::Mutex;

use crate::world::World;

/// Says when it is delivered something, and takes it when it is told to.
struct Slow {
    is_at_it: Mutex<SyncSender<()>>,
    go_on: Mutex<Receiver<()>>,
}

impl Subscriber for Slow {
    fn admit(&self, _: usize) -> Admission {
        Admission::Ready
    }

    fn deliver(&self, entries: &mut Vec<Entry>) -> Wake {
        entries.clear();
        self.is_at_it.lock().send(()).unwrap();
        self.go_on.lock().recv().unwrap();
        Wake::NotNeeded
    }

    fn wake(&self) {}

    fn cancelled(&self) {}
}

/// There may be very many of them, and whoever publishes in the vhost is in a thread that serves others.
#[test]
fn nobody_waits_for_the_queues_of_a_vhost_that_is_deleted() {
    let mut world = World::new();
    let broker = Arc::clone(&world.broker);
    let actor = Actor::program();
    let administration = broker.administration(&actor);
    administration.put_vhost("v", |of_none| of_none).unwrap();
    let everything = Permission::new(".*", ".*", ".*").unwrap();
    administration.put_permission(PermissionKey::new("guest", "v"), everything).unwrap();
    let guest = broker.access().user("guest").unwrap();
    world.session = Session::open(&broker, guest, "v", "test".into(), None).unwrap();
    world.session.begin(Millis(world.now));
    world.declare("q", &[]);
    let (is_at_it, told) = sync_channel(1);
    let (to_go_on, go_on) = sync_channel(1);
    let subscriber = Arc::new(Slow { is_at_it: Mutex::new(is_at_it), go_on: Mutex::new(go_on) });
    let request = Consume {
        tag: &Arc::from("c"),
        is_tag_chosen: true,
        channel: 1,
        queue: "q",
        no_ack: true,
        exclusive: false,
        prefetch: 0,
        shared_limit: 0,
        arguments: Table::EMPTY,
    };
    let (queue, id) = world.session.consume(request, |_| subscriber).unwrap();
    world.session.unblock(&queue, id);
    let vhost = Arc::clone(world.session.vhost());
    thread::scope(|scope| {
        scope.spawn(|| world.publish("", "q", "x"));
        told.recv().unwrap();
        // It waits for the queue now, in which a delivery is on its way.
        scope.spawn(|| administration.delete_vhost("v", &mut Turn::new()).unwrap());
        while broker.vhost("v").is_some() {
            thread::yield_now();
        }
        let (is_empty, seen) = sync_channel(1);
        scope.spawn(move || {
            while vhost.topology(|topology| topology.exchanges().count()) > 0 {
                thread::yield_now();
            }
            is_empty.send(()).unwrap();
        });
        let seen = seen.recv_timeout(Duration::from_secs(10));
        to_go_on.send(()).unwrap();
        assert!(seen.is_ok(), "whoever looks for an exchange waits for the queue");
    });
}
