//! When memory or disk space runs short: publishers wait, all others go on.

use leveret_broker::Resource;
use leveret_tests::codec::{Method, basic, connection};
use leveret_tests::{
    Broker, Channel, Login, ack, bind, confirm_select, consume, declare, declare_exchange,
    eventually, get, passive, purge, qos,
};

const BECAUSE: &str = "sets alarms inside the broker";
const ALL: Option<u64> = Some(u64::MAX);

fn pretend(broker: &Broker, resource: Resource, bytes: Option<u64>) {
    broker.inside().alarms().pretend(resource, bytes);
}

/// A broker with a limit for disk space, which one without a disk has no figure for.
fn start() -> Option<Broker> {
    let broker = Broker::embedded(&[], BECAUSE)?;
    pretend(&broker, Resource::Disk, ALL);
    Some(broker)
}

fn blocked_connections(broker: &Broker) -> usize {
    broker.inside().connections().all().iter().filter(|one| one.is_blocked()).count()
}

/// A channel in confirm mode, with a queue declared.
fn publisher(broker: &Broker) -> Channel {
    let channel = broker.connect().channel(1);
    assert_eq!(channel.call(&confirm_select()), "confirm.select-ok");
    assert_eq!(channel.call(&declare("q")), "queue.declare-ok q 0 0");
    channel
}

#[test]
fn publishers_are_told_why_they_wait_and_go_on_by_themselves() {
    let Some(broker) = start() else { return };
    let channel = publisher(&broker);
    channel.publish("", "q", "before");
    assert_eq!(channel.recv(), "basic.ack 1");
    for (number, reason, memory, disk) in [
        (2, "low on memory", ALL, ALL),
        (3, "low on disk", Some(0), Some(0)),
        (4, "low on memory & disk", ALL, Some(0)),
    ] {
        pretend(&broker, Resource::Memory, memory);
        pretend(&broker, Resource::Disk, disk);
        channel.publish("", "q", "held");
        assert_eq!(channel.connection().recv(), format!("connection.blocked {reason}"));
        // The message is neither there nor lost.
        let other = broker.connect().channel(1);
        assert_eq!(other.call(&passive("q")), format!("queue.declare-ok q {} 0", number - 1));
        pretend(&broker, Resource::Memory, Some(0));
        pretend(&broker, Resource::Disk, ALL);
        assert_eq!(channel.connection().recv(), "connection.unblocked");
        assert_eq!(channel.recv(), format!("basic.ack {number}"));
        assert_eq!(other.call(&passive("q")), format!("queue.declare-ok q {number} 0"));
    }
}

/// One notice each way, whatever happens meanwhile.
#[test]
fn one_alarm_after_the_other_is_one_wait() {
    let Some(broker) = start() else { return };
    let channel = publisher(&broker);
    pretend(&broker, Resource::Memory, ALL);
    channel.publish("", "q", "m");
    assert_eq!(channel.connection().recv(), "connection.blocked low on memory");
    pretend(&broker, Resource::Disk, Some(0));
    pretend(&broker, Resource::Memory, Some(0));
    assert_eq!(blocked_connections(&broker), 1);
    pretend(&broker, Resource::Disk, ALL);
    assert_eq!(channel.connection().recv(), "connection.unblocked");
    assert_eq!(channel.recv(), "basic.ack 1");
    eventually(|| blocked_connections(&broker) == 0);
    let status = broker.inside().alarms().status(Resource::Memory);
    assert_eq!((status.is_set, status.times_set), (false, 1));
}

#[test]
fn consumers_and_their_acknowledgements_go_on() {
    let Some(broker) = start() else { return };
    let channel = publisher(&broker);
    for number in 1..=20 {
        channel.publish("", "q", number.to_string());
        assert_eq!(channel.recv(), format!("basic.ack {number}"));
    }
    pretend(&broker, Resource::Memory, ALL);
    channel.publish("", "q", "21");
    assert_eq!(channel.connection().recv(), "connection.blocked low on memory");
    // One that was there, and one that comes.
    let consumer = broker.connect().channel(1);
    consumer.call(&qos(1));
    assert_eq!(consumer.call(&consume("q", "c")), "basic.consume-ok c");
    for number in 1..=20 {
        assert_eq!(consumer.recv(), format!("basic.deliver c {number} '' q: {number}"));
        consumer.send(&ack(number));
    }
    assert_eq!(consumer.call(&passive("q")), "queue.declare-ok q 0 1");
    pretend(&broker, Resource::Memory, Some(0));
    assert_eq!(channel.recv(), "basic.ack 21");
    assert_eq!(consumer.recv(), "basic.deliver c 21 '' q: 21");
}

/// What an exchange repeats to a new binding fills memory as publishes do.
#[test]
fn a_new_binding_gets_no_history_under_an_alarm() {
    let Some(broker) = start() else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare_exchange("x", "x-recent-history"));
    channel.publish("x", "k", "m");
    for (queue, memory, repeated) in [("held", ALL, 0), ("late", Some(0), 1)] {
        channel.call(&declare(queue));
        pretend(&broker, Resource::Memory, memory);
        assert_eq!(channel.call(&bind(queue, "x", "")), "queue.bind-ok");
        let expected = format!("queue.declare-ok {queue} {repeated} 0");
        assert_eq!(channel.call(&passive(queue)), expected);
    }
}

#[test]
fn a_connection_that_opens_under_an_alarm_is_held_at_its_first_publish() {
    let Some(broker) = start() else { return };
    pretend(&broker, Resource::Memory, ALL);
    let channel = publisher(&broker);
    assert_eq!(channel.call(&get("q")), "basic.get-empty");
    assert_eq!(blocked_connections(&broker), 0);
    channel.publish("", "q", "m");
    assert_eq!(channel.connection().recv(), "connection.blocked low on memory");
    assert_eq!(blocked_connections(&broker), 1);
    pretend(&broker, Resource::Memory, Some(0));
    assert_eq!(channel.connection().recv(), "connection.unblocked");
    assert_eq!(channel.recv(), "basic.ack 1");
}

/// What the client sent before its publish is answered.
#[test]
fn what_comes_before_the_publish_is_done() {
    let Some(broker) = start() else { return };
    pretend(&broker, Resource::Memory, ALL);
    let channel = broker.connect().channel(1);
    channel.send(&declare("q"));
    channel.send(&confirm_select());
    channel.publish("", "q", "m");
    channel.send(&passive("q"));
    assert_eq!(channel.recv_many(2), ["queue.declare-ok q 0 0", "confirm.select-ok"]);
    assert_eq!(channel.connection().recv(), "connection.blocked low on memory");
    pretend(&broker, Resource::Memory, Some(0));
    let answers = channel.recv_many(2);
    assert!(answers.iter().any(|answer| *answer == "basic.ack 1"), "{answers:?}");
    assert!(answers.iter().any(|answer| *answer == "queue.declare-ok q 1 0"), "{answers:?}");
}

#[test]
fn transactions_wait_like_others() {
    let Some(broker) = start() else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.call(&leveret_tests::codec::tx::Select {});
    channel.publish("", "q", "1");
    assert_eq!(channel.call(&leveret_tests::codec::tx::Commit {}), "tx.commit-ok");
    pretend(&broker, Resource::Memory, ALL);
    channel.publish("", "q", "2");
    assert_eq!(channel.connection().recv(), "connection.blocked low on memory");
    channel.send(&leveret_tests::codec::tx::Commit {});
    pretend(&broker, Resource::Memory, Some(0));
    assert_eq!(channel.recv(), "tx.commit-ok");
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 2 0");
}

/// It waits all the same.
#[test]
fn a_client_without_the_capability_is_told_nothing() {
    let Some(broker) = start() else { return };
    let login = Login { capabilities: false, ..Login::default() };
    let connection = broker.connect_as(&login).unwrap();
    let channel = connection.channel(1);
    channel.call(&confirm_select());
    channel.call(&declare("q"));
    pretend(&broker, Resource::Memory, ALL);
    channel.publish("", "q", "m");
    eventually(|| blocked_connections(&broker) == 1);
    pretend(&broker, Resource::Memory, Some(0));
    let (on, answer) = connection.recv_any();
    assert_eq!((on, answer.to_string().as_str()), (1, "basic.ack 1"));
}

/// Nobody listens to it, so its silence means nothing; the broker's own signs of life go on.
#[test]
fn a_held_client_is_not_taken_for_dead() {
    let Some(broker) = start() else { return };
    let tune = connection::TuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 1 };
    let login = Login { tune: Some(tune), ..Login::default() };
    let connection = broker.connect_as(&login).unwrap();
    let channel = connection.channel(1);
    channel.call(&confirm_select());
    channel.call(&declare("q"));
    pretend(&broker, Resource::Memory, ALL);
    channel.publish("", "q", "m");
    assert_eq!(connection.recv(), "connection.blocked low on memory");
    // Half a second each: longer than a silent client is given.
    for _ in 0..8 {
        assert_eq!(connection.recv(), "heartbeat");
    }
    pretend(&broker, Resource::Memory, Some(0));
    assert_eq!(connection.recv(), "connection.unblocked");
    assert_eq!(channel.recv(), "basic.ack 1");
}

#[test]
fn a_broker_that_stops_tells_those_it_held() {
    let config = "[alarms]\nvm_memory_high_watermark = 0\n";
    let Some(mut broker) = Broker::configured(config, "needs an alarm") else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    await_alarm(&broker, "memory");
    channel.publish("", "q", "m");
    assert_eq!(channel.connection().recv(), "connection.blocked low on memory");
    let connection = channel.connection().clone();
    broker.begin_to_terminate();
    assert_eq!(
        connection.recv(),
        "connection.close 320 0.0 CONNECTION_FORCED - \
         broker forced connection closure with reason 'shutdown'"
    );
    connection.send(&connection::CloseOk {});
    assert!(broker.await_exit().success());
}

#[test]
fn an_operator_closes_connections_that_are_held() {
    let Some(broker) = start() else { return };
    let channel = publisher(&broker);
    pretend(&broker, Resource::Memory, ALL);
    channel.publish("", "q", "m");
    assert_eq!(channel.connection().recv(), "connection.blocked low on memory");
    broker.inside().connections().all().iter().for_each(|one| one.close("enough"));
    let closed = channel.connection().recv();
    assert_eq!(closed, "connection.close 320 0.0 CONNECTION_FORCED - enough");
    channel.connection().send(&connection::CloseOk {});
    eventually(|| broker.inside().connections().is_empty());
}

fn await_alarm(broker: &Broker, resource: &str) {
    eventually(|| broker.log().contains(&format!("{resource} resource limit alarm set")));
}

/// Measured, not pretended; and logged once, not with every connection.
#[test]
fn the_process_measures_itself() {
    let config = "[alarms]\nvm_memory_high_watermark = \"1MiB\"\ndisk_free_limit = \"none\"\n";
    let Some(broker) = Broker::configured(config, "needs an alarm") else { return };
    await_alarm(&broker, "memory");
    for _ in 0..3 {
        let channel = publisher(&broker);
        channel.publish("", "q", "m");
        assert_eq!(channel.connection().recv(), "connection.blocked low on memory");
    }
    assert_eq!(broker.log().matches("alarm set").count(), 1, "{}", broker.log());
}

#[test]
fn the_disk_of_the_data_is_measured() {
    let config =
        "[alarms]\nvm_memory_high_watermark = \"none\"\ndisk_free_limit = \"9000000GiB\"\n";
    let Some(broker) = Broker::configured(config, "needs an alarm") else { return };
    await_alarm(&broker, "disk");
    let channel = publisher(&broker);
    channel.publish("", "q", "m");
    assert_eq!(channel.connection().recv(), "connection.blocked low on disk");
    // Who takes messages is no publisher, whatever else it does.
    let other = broker.connect().channel(1);
    assert_eq!(other.call(&basic::Get { no_ack: true, ..get("q") }), "basic.get-empty");
}

/// The alarm is set by a backlog and ends with it: the process gives its memory back.
#[test]
fn a_backlog_that_is_gone_ends_the_alarm_it_set() {
    let config = "[alarms]\nvm_memory_high_watermark = \"128MiB\"\n";
    let Some(broker) = Broker::configured(config, "needs a limit") else { return };
    let channel = publisher(&broker);
    let body = [0; 4096];
    let mut published = 0;
    let reason = 'published: loop {
        for _ in 0..100 {
            channel.publish("", "q", body);
            published += 1;
        }
        loop {
            let (_, answer) = channel.connection().recv_any();
            match answer.method() {
                Method::BasicAck(ack) if ack.delivery_tag == published => break,
                Method::BasicAck(_) => {}
                _ => break 'published answer,
            }
        }
    };
    assert_eq!(reason, "connection.blocked low on memory");
    let other = broker.connect().channel(1);
    assert!(other.call(&purge("q")).starts_with("queue.purge-ok "));
    loop {
        let (_, answer) = channel.connection().recv_any();
        if answer == "connection.unblocked" {
            break;
        }
        assert!(answer.starts_with("basic.ack "), "{answer}");
    }
    eventually(|| broker.log().contains("memory resource limit alarm cleared"));
    // What was held is confirmed.
    loop {
        let (_, answer) = channel.connection().recv_any();
        let Method::BasicAck(ack) = answer.method() else { panic!("{answer}") };
        if ack.delivery_tag == published {
            break;
        }
    }
}
