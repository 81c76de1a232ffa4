//! What operators change, and what is left of it after a restart.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use leveret_broker::access::{Change, Permission, PermissionKey, TopicPermission, User, tag};
use leveret_broker::{
    Actor, ConnectionAbout, ConnectionControl, DeclareQueue, QueueType, Session, SharedQueue, Turn,
    VhostMetadata, VhostNotDeleted,
};
use leveret_codec::{Table, TableBuf, Value};
use leveret_engine::Millis;
use parking_lot::Mutex;

use crate::world::{World, table};

/// A connection that remembers why it was closed, and how often it was told of permissions.
#[derive(Default)]
struct Closed(Mutex<Vec<String>>, AtomicUsize);

impl ConnectionControl for Closed {
    fn close(&self, reason: &str) {
        self.0.lock().push(reason.to_owned());
    }

    fn permissions_changed(&self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }

    fn pending_bytes(&self) -> usize {
        0
    }

    fn note_deliveries(&self, _: Duration) {}

    fn held_for(&self, _: Duration, _: &mut dyn FnMut(&SharedQueue, Duration)) {}
}

fn about(user: &str) -> ConnectionAbout {
    let address = SocketAddr::from(([127, 0, 0, 1], 5672));
    ConnectionAbout {
        name: "127.0.0.1:5672 -> 127.0.0.1:5672".into(),
        user: user.into(),
        peer: address,
        local: address,
        tls: None,
        protocol: "AMQP 0-9-1",
        mechanism: "PLAIN".into(),
        client_properties: TableBuf::default(),
        connected_at: Millis(0),
        channel_max: 1,
        frame_max: 4096,
        heartbeat_seconds: 0,
    }
}

fn everything() -> Permission {
    Permission::new(".*", ".*", ".*").unwrap()
}

#[test]
fn a_deleted_vhost_takes_everything_with_it() {
    let mut world = World::new();
    let broker = Arc::clone(&world.broker);
    let key = PermissionKey::new("guest", "v");
    let metadata = VhostMetadata { description: "a test".to_owned(), ..Default::default() };
    assert_eq!(
        broker
            .administration(&Actor::program())
            .put_vhost("v", |_| metadata.clone())
            .unwrap()
            .change,
        Change::Created
    );
    assert_eq!(
        broker
            .administration(&Actor::program())
            .put_vhost("v", |_| metadata.clone())
            .unwrap()
            .change,
        Change::Updated
    );
    broker.administration(&Actor::program()).put_permission(key.clone(), everything()).unwrap();
    let topic = TopicPermission::new("amq.topic", ".*", ".*").unwrap();
    broker.administration(&Actor::program()).put_topic_permission(key.clone(), topic).unwrap();

    let guest = broker.access().user("guest").unwrap();
    world.session = Session::open(&broker, guest, "v", "test".into(), None).unwrap();
    world.session.begin(Millis(world.now));
    world.declare("q", &[]);
    world.declare_exchange("x", "fanout");
    world.bind("q", "x", "");
    world.publish("x", "", "lost");
    let closed = Arc::new(Closed::default());
    let _registration = broker.connections().register(
        world.session.id(),
        world.session.vhost(),
        about("guest"),
        Arc::clone(&closed) as Arc<dyn ConnectionControl>,
        Arc::default(),
    );

    let mut world = world.restart();
    let broker = Arc::clone(&world.broker);
    assert_eq!(broker.vhost("v").unwrap().metadata(), metadata);
    let guest = broker.access().user("guest").unwrap();
    let mut session = Session::open(&broker, guest, "v", "test".into(), None).unwrap();
    let _registration = broker.connections().register(
        session.id(),
        session.vhost(),
        about("guest"),
        Arc::clone(&closed) as Arc<dyn ConnectionControl>,
        Arc::default(),
    );
    assert_eq!(broker.vhost("v").unwrap().queue("q").unwrap().counts().ready, 1);

    assert_eq!(
        broker.administration(&Actor::program()).delete_vhost("nowhere", &mut Turn::new()),
        Err(VhostNotDeleted::NotFound)
    );
    broker.administration(&Actor::program()).delete_vhost("v", &mut Turn::new()).unwrap();
    assert_eq!(*closed.0.lock(), ["vhost 'v' is deleted"]);
    assert!(broker.access().permission("guest", "v").is_none());
    // Whoever is still there adds nothing to a vhost that is gone, nor to its namesake.
    broker.administration(&Actor::program()).put_vhost("v", |_| VhostMetadata::default()).unwrap();
    broker.administration(&Actor::program()).put_permission(key, everything()).unwrap();
    let refused = session.declare_queue(durable("late", Table::EMPTY)).unwrap_err();
    assert_eq!(refused.reply_text(), "NOT_ALLOWED - vhost v not found");

    world = world.restart();
    let broker = Arc::clone(&world.broker);
    assert_eq!(broker.vhost("v").unwrap().metadata(), VhostMetadata::default());
    assert!(broker.vhost("v").unwrap().queues().is_empty());
    assert!(broker.access().topic_permissions().is_empty());
}

#[test]
fn a_protected_vhost_stays() {
    let world = World::new();
    let protected = VhostMetadata { protected_from_deletion: true, ..Default::default() };
    world.broker.administration(&Actor::program()).put_vhost("v", |_| protected).unwrap();
    let world = world.restart();
    let refused =
        world.broker.administration(&Actor::program()).delete_vhost("v", &mut Turn::new());
    assert_eq!(refused, Err(VhostNotDeleted::Protected));
    world
        .broker
        .administration(&Actor::program())
        .put_vhost("v", |_| VhostMetadata::default())
        .unwrap();
    assert!(
        world.broker.administration(&Actor::program()).delete_vhost("v", &mut Turn::new()).is_ok()
    );
}

#[test]
fn a_deleted_user_is_closed_and_forgotten() {
    let world = World::new();
    let anna = User::with_password("anna", b"p", [tag::MANAGEMENT]).unwrap();
    assert_eq!(
        world.broker.administration(&Actor::program()).put_user(anna.clone()).unwrap().change,
        Change::Created
    );
    assert_eq!(
        world.broker.administration(&Actor::program()).put_user(anna).unwrap().change,
        Change::Updated
    );
    let key = PermissionKey::new("anna", "/");
    world.broker.administration(&Actor::program()).put_permission(key, everything()).unwrap();
    let anna = world.broker.access().user("anna").unwrap();
    let session = Session::open(&world.broker, anna, "/", "test".into(), None).unwrap();
    let closed = Arc::new(Closed::default());
    let _registration = world.broker.connections().register(
        session.id(),
        session.vhost(),
        about("anna"),
        Arc::clone(&closed) as Arc<dyn ConnectionControl>,
        Arc::default(),
    );
    assert!(world.broker.administration(&Actor::program()).delete_user("anna").is_some());
    assert!(world.broker.administration(&Actor::program()).delete_user("anna").is_none());
    assert_eq!(*closed.0.lock(), ["user 'anna' is deleted"]);

    let world = world.restart();
    assert!(world.broker.access().user("anna").is_none());
    assert!(world.broker.access().permission("anna", "/").is_none());
}

#[test]
fn permissions_that_are_taken_away_stay_away() {
    let world = World::new();
    let key = PermissionKey::new("guest", "/");
    let topic = TopicPermission::new("amq.topic", "^a", ".*").unwrap();
    world
        .broker
        .administration(&Actor::program())
        .put_topic_permission(key.clone(), topic)
        .unwrap();
    let world = world.restart();
    assert_eq!(world.broker.access().topic_permissions().len(), 1);
    assert!(
        world
            .broker
            .administration(&Actor::program())
            .delete_topic_permissions(&key, Some("amq.direct"))
            .unwrap()
            .is_none()
    );
    assert!(
        world
            .broker
            .administration(&Actor::program())
            .delete_topic_permissions(&key, None)
            .unwrap()
            .is_some()
    );
    assert!(
        world.broker.administration(&Actor::program()).delete_permission(&key).unwrap().is_some()
    );
    assert!(
        world.broker.administration(&Actor::program()).delete_permission(&key).unwrap().is_none()
    );
    assert!(world.broker.access().topic_permissions().is_empty());
    assert!(world.broker.access().permissions().is_empty());
}

#[test]
fn queues_without_a_type_get_their_vhosts() {
    let mut world = World::new();
    let quorum =
        VhostMetadata { default_queue_type: Some(QueueType::Quorum), ..VhostMetadata::default() };
    world.broker.administration(&Actor::program()).put_vhost("/", |_| quorum).unwrap();
    let classic = table(&[("x-queue-type", Value::text("classic"))]);
    let cases = [
        (durable("open", Table::EMPTY), "quorum"),
        (durable("open", Table::EMPTY), "quorum"),
        (durable("says", classic.as_table()), "classic"),
        (DeclareQueue { exclusive: true, ..durable("own", Table::EMPTY) }, "classic"),
        (DeclareQueue { auto_delete: true, ..durable("going", Table::EMPTY) }, "classic"),
        (DeclareQueue { durable: false, ..durable("brief", Table::EMPTY) }, "classic"),
    ];
    for (request, expected) in cases {
        world.session.declare_queue(request).unwrap();
        let queue = world.broker.vhost("/").unwrap().queue(request.name).unwrap();
        assert_eq!(queue.queue_type().as_str(), expected, "{}", request.name);
    }
}

fn durable<'a>(name: &'a str, arguments: Table<'a>) -> DeclareQueue<'a> {
    DeclareQueue { name, durable: true, exclusive: false, auto_delete: false, arguments }
}

/// Those of others have nothing to look at: there may be very many.
#[test]
fn connections_hear_of_changes_of_their_own_user() {
    let world = World::new();
    let broker = Arc::clone(&world.broker);
    let actor = Actor::program();
    let administration = broker.administration(&actor);
    let anna = || User::with_password("anna", b"anna", [tag::MANAGEMENT]).unwrap();
    administration.put_user(anna()).unwrap();
    administration.put_permission(PermissionKey::new("anna", "/"), everything()).unwrap();
    let user = broker.access().user("anna").unwrap();
    let other = Session::open(&broker, user, "/", "other".into(), None).unwrap();
    let mut all = [(&world.session, "guest"), (&other, "anna")].map(|(session, user)| {
        let told = Arc::new(Closed::default());
        let control = Arc::clone(&told) as Arc<dyn ConnectionControl>;
        let (vhost, about) = (session.vhost(), about(user));
        let registration =
            broker.connections().register(session.id(), vhost, about, control, Arc::default());
        (session, told, registration)
    });
    // Whether something is to be looked at again, and was told.
    let mut changes = |change: &dyn Fn()| {
        let before = all.each_ref().map(|(session, ..)| session.own_permissions());
        change();
        let told = all.each_mut().map(|(_, told, _)| told.1.swap(0, Ordering::Relaxed));
        let now = all.each_ref().map(|(session, ..)| session.own_permissions());
        [0, 1].map(|one| (before[one] != now[one], told[one]))
    };
    let (unchanged, changed) = ((false, 0), (true, 1));
    let key = || PermissionKey::new("anna", "/");
    let topic = || TopicPermission::new("amq.topic", "^a", "^a").unwrap();
    let all: [&dyn Fn(); 5] = [
        &|| {
            administration.put_permission(key(), everything()).unwrap();
        },
        &|| {
            administration.put_topic_permission(key(), topic()).unwrap();
        },
        &|| {
            administration.delete_topic_permissions(&key(), None).unwrap();
        },
        &|| {
            administration.delete_permission(&key()).unwrap();
        },
        &|| {
            administration.put_user(anna()).unwrap();
        },
    ];
    for change in all {
        assert_eq!(changes(change), [unchanged, changed]);
    }
    let guests = PermissionKey::new("guest", "/");
    let change = || {
        administration.put_permission(guests.clone(), everything()).unwrap();
    };
    assert_eq!(changes(&change), [changed, unchanged]);
    // So do those of who is deleted.
    assert_eq!(
        changes(&|| {
            administration.delete_user("anna").unwrap();
        }),
        [unchanged, changed]
    );
}
