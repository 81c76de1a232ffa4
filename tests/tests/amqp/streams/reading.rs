//! Deliveries, credit, many readers.

use leveret_tests::codec::{Properties, TableLimits, Value, tx};
use leveret_tests::{ack, cancel, declare_exchange, nack, reject};

use super::*;

#[test]
fn every_delivery_says_where_it_is_and_nothing_is_redelivered() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    let publisher = broker.connect().channel(1);
    publisher.call(&confirm_select());
    let headers = table([("x-stream-offset", Value::I32(77)), ("k", Value::text("v"))]);
    let all = Properties {
        content_type: Some(b"text/plain"),
        headers: Some(headers.as_table()),
        delivery_mode: Some(1),
        priority: Some(9),
        expiration: Some(b"1"),
        message_id: Some(b"id"),
        ..Properties::default()
    };
    publisher.publish_with(&publish("", "s"), &all, b"with everything");
    publisher.publish("", "s", "with nothing");
    publisher.recv_many(1);
    for tag in ["once", "again"] {
        from_first(&channel, tag);
        let [full, empty] = channel.recv_many(2).try_into().unwrap();
        assert!(full.to_string().ends_with(" '' s: with everything"), "{full}");
        let expected = table([("x-stream-offset", Value::I64(0)), ("k", Value::text("v"))]);
        let headers = Some(expected.as_table());
        assert_eq!(full.properties(), Properties { headers, ..all });
        assert_eq!(offset(&empty), 1);
        let only = table([("x-stream-offset", Value::I64(1))]);
        let headers = Some(only.as_table());
        assert_eq!(empty.properties(), Properties { headers, ..Properties::default() });
    }
}

#[test]
fn messages_neither_expire_nor_overtake() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    let publisher = broker.connect().channel(1);
    publisher.call(&confirm_select());
    for (number, (priority, expiration)) in
        (1..).zip([(0, "0"), (9, "1"), (4, "100000"), (255, "0")])
    {
        let properties = Properties {
            priority: Some(priority),
            expiration: Some(expiration.as_bytes()),
            ..Properties::default()
        };
        publisher.publish_with(&publish("", "s"), &properties, number.to_string().as_bytes());
        assert_eq!(publisher.recv(), format!("basic.ack {number}"));
    }
    from_first(&channel, "c");
    assert_eq!(bodies(&channel, 4), ["1", "2", "3", "4"]);
}

#[test]
fn every_reader_gets_everything_and_is_told_of_news() {
    let broker = Broker::start();
    with_stream(&broker, &[]);
    fill(&broker, ["0"]);
    let channels: Vec<_> = (0..20).map(|_| reader(&broker)).collect();
    for (number, channel) in channels.iter().enumerate() {
        // Whoever asks for itself alone is let in, and so are the others.
        let exclusive = number % 2 == 0;
        let first = table([("x-stream-offset", Value::text("first"))]);
        let consume = basic::Consume { exclusive, ..from("c", &first) };
        assert_eq!(channel.call(&consume), "basic.consume-ok c");
        assert_eq!(offsets(channel, 1), [0]);
    }
    for round in 1..4 {
        fill(&broker, [round.to_string()]);
        for channel in &channels {
            assert_eq!(offsets(channel, 1), [round]);
            channel.send(&ack(u64::try_from(round).unwrap()));
        }
    }
}

#[test]
fn any_settlement_gives_credit_and_nothing_comes_back() {
    let broker = Broker::start();
    with_stream(&broker, &[]);
    fill(&broker, (0..10).map(|number| number.to_string()));
    let channel = broker.connect().channel(1);
    channel.call(&qos(2));
    from_first(&channel, "c");
    assert_eq!(offsets(&channel, 2), [0, 1]);
    assert_quiet(&channel);
    channel.send(&nack(1));
    assert_eq!(offsets(&channel, 1), [2]);
    channel.send(&basic::Reject { requeue: false, ..reject(2) });
    assert_eq!(offsets(&channel, 1), [3]);
    channel.send(&basic::Recover { requeue: true });
    let mut answers: Vec<String> = channel.recv_many(3).iter().map(ToString::to_string).collect();
    answers.sort();
    let expected = ["basic.deliver c 5 '' s: 4", "basic.deliver c 6 '' s: 5", "basic.recover-ok"];
    assert_eq!(answers, expected);
    channel.send(&basic::Ack { delivery_tag: 6, multiple: true });
    assert_eq!(offsets(&channel, 2), [6, 7]);
    assert_quiet(&channel);
    assert_eq!(
        channel.call(&ack(6)),
        "channel.close 406 basic.ack PRECONDITION_FAILED - unknown delivery tag 6"
    );
}

#[test]
fn what_a_cancelled_reader_holds_can_be_settled() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    fill(&broker, ["0", "1", "2"]);
    from_first(&channel, "c");
    assert_eq!(offsets(&channel, 3), [0, 1, 2]);
    assert_eq!(channel.call(&cancel("c")), "basic.cancel-ok c");
    channel.send(&nack(1));
    channel.send(&ack(2));
    let arguments = table([("x-stream-offset", Value::I32(2))]);
    assert_eq!(channel.call(&from("c", &arguments)), "basic.consume-ok c");
    assert_eq!(channel.recv(), "basic.deliver c 4 '' s: 2");
    channel.send(&ack(3));
    assert_quiet(&channel);
}

#[test]
fn a_reader_that_goes_leaves_nothing_behind() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    fill(&broker, ["0", "1"]);
    from_first(&channel, "c");
    assert_eq!(offsets(&channel, 2), [0, 1]);
    channel.close();
    let other = reader(&broker);
    assert_eq!(other.call(&passive("s")), "queue.declare-ok s 2 0");
    from_first(&other, "c");
    assert_eq!(other.recv(), "basic.deliver c 1 '' s: 0");
}

#[test]
fn a_large_body_comes_in_whole_to_all() {
    let broker = Broker::start();
    let channels = [with_stream(&broker, &[]), reader(&broker)];
    let body: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    fill(&broker, [&body]);
    for channel in channels {
        from_first(&channel, "c");
        let delivery = channel.recv();
        assert_eq!(offset(&delivery), 0);
        assert!(delivery.body() == body);
    }
}

#[test]
fn a_reader_far_behind_gets_it_all_in_order() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    let publisher = broker.connect().channel(1);
    publisher.call(&confirm_select());
    let count = 20_000;
    for number in 0..count {
        publisher.publish("", "s", format!("{number}"));
    }
    let mut confirmed = 0;
    while confirmed < count {
        confirmed = publisher.recv().delivery_tag();
    }
    from_first(&channel, "c");
    for number in 0..count {
        let delivery = channel.recv();
        assert_eq!(delivery.body(), number.to_string().as_bytes());
        assert_eq!(offset(&delivery), i64::try_from(number).unwrap());
        if number % 500 == 499 {
            channel.send(&basic::Ack { delivery_tag: number + 1, multiple: true });
        }
    }
}

#[test]
fn a_transaction_publishes_to_a_stream_at_its_commit() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    let publisher = broker.connect().channel(1);
    publisher.call(&tx::Select {});
    publisher.publish("", "s", "dropped");
    assert_eq!(publisher.call(&tx::Rollback {}), "tx.rollback-ok");
    publisher.publish("", "s", "kept");
    from_first(&channel, "c");
    assert_quiet(&channel);
    assert_eq!(publisher.call(&tx::Commit {}), "tx.commit-ok");
    assert_eq!(channel.recv(), "basic.deliver c 1 '' s: kept");
}

#[test]
fn credit_comes_back_at_a_transactions_commit() {
    let broker = Broker::start();
    with_stream(&broker, &[]);
    fill(&broker, ["0", "1"]);
    let channel = broker.connect().channel(1);
    channel.call(&qos(1));
    channel.call(&tx::Select {});
    from_first(&channel, "c");
    assert_eq!(offsets(&channel, 1), [0]);
    channel.send(&ack(1));
    assert_quiet(&channel);
    channel.send(&tx::Commit {});
    let mut answers: Vec<String> = channel.recv_many(2).iter().map(ToString::to_string).collect();
    answers.sort();
    assert_eq!(answers, ["basic.deliver c 2 '' s: 1", "tx.commit-ok"]);
}

#[test]
fn dead_letters_go_into_a_stream() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    channel.call(&declare_exchange("dlx", "fanout"));
    channel.call(&leveret_tests::bind("s", "dlx", ""));
    let arguments = table([("x-dead-letter-exchange", Value::text("dlx"))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    from_first(&channel, "c");
    let worker = broker.connect().channel(1);
    worker.publish("", "q", "poison");
    worker.call(&consume("q", "w"));
    worker.send(&basic::Reject { requeue: false, ..reject(1) });
    let letter = channel.recv();
    assert_eq!(letter, "basic.deliver c 1 dlx q: poison");
    assert_eq!(offset(&letter), 0);
    let headers = letter.properties().headers.unwrap();
    assert_eq!(headers.get("x-first-death-reason"), Some(Value::text("rejected")));
    assert!(Properties::parse(letter.raw_properties(), &TableLimits::default()).is_ok());
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody() {
    let broker = Broker::start();
    with_stream(&broker, &[]);
    let slow = reader(&broker);
    from_first(&slow, "c");
    let fast = reader(&broker);
    from_first(&fast, "c");
    let body = vec![b'x'; 100_000];
    // More than the sockets' buffers hold.
    for number in 0..200 {
        fill(&broker, [&body]);
        assert_eq!(offsets(&fast, 1), [number]);
        fast.send(&ack(u64::try_from(number + 1).unwrap()));
    }
    assert_eq!(offsets(&slow, 200), (0..200).collect::<Vec<_>>());
}
