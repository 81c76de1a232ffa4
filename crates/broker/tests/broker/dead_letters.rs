//! What dies in a queue arrives where it should, in order, once.

use leveret_broker::{DeadLetterCounts, DeathsByReason, DeleteIf, Outcome, Progress, Settlement};
use leveret_codec::{ArrayBuilder, Properties, Value};
use leveret_engine::Return;

use crate::world::{Got, World, table};

const DLX: &str = "x-dead-letter-exchange";
const DLRK: &str = "x-dead-letter-routing-key";
const TTL: &str = "x-message-ttl";
const MAX_LENGTH: &str = "x-max-length";

/// Arguments that send what dies to a queue.
fn to(queue: &str) -> [(&'static str, Value<'_>); 2] {
    [(DLX, Value::text("")), (DLRK, Value::text(queue))]
}

fn counts(world: &World) -> DeadLetterCounts {
    world.broker.dead_letter_counts()
}

#[test]
fn rejected_messages_arrive_as_seen_before() {
    let mut world = World::new();
    world.declare("dead", &[]);
    world.declare("q", &to("dead"));
    for body in ["1", "2", "3"] {
        let _ = world.publish("", "q", body);
    }
    let got: Vec<Got> = std::iter::from_fn(|| world.get("q")).collect();
    world.settle(Settlement::Discard, got);

    let first = world.get("dead").unwrap();
    assert_eq!(first.body, "1");
    assert!(first.redelivered);
    assert_eq!((&*first.exchange, &*first.routing_key), ("", "dead"));
    assert_eq!(first.deaths(), ["q rejected 1"]);
    world.ack(first);
    assert_eq!(world.drain("dead"), ["2", "3"]);
    let dead_lettered = DeathsByReason { rejected: 3, ..DeathsByReason::default() };
    assert_eq!(counts(&world), DeadLetterCounts { dead_lettered, ..DeadLetterCounts::default() });
}

#[test]
fn expired_messages_arrive_when_they_are_due() {
    let mut world = World::new();
    world.declare("dead", &[]);
    world.declare("q", &to("dead"));
    let expiration = |digits| Properties { expiration: Some(digits), ..Properties::default() };
    let _ = world.publish("", "q", "stays");
    let _ = world.publish_with("", "q", expiration(b"200"), "second");
    let _ = world.publish_with("", "q", expiration(b"100"), "first");
    world.pass(99);
    assert_eq!((world.ready("q"), world.ready("dead")), (3, 0));
    world.pass(1);
    assert_eq!((world.ready("q"), world.ready("dead")), (2, 1));
    world.pass(100);
    assert_eq!((world.ready("q"), world.ready("dead")), (1, 2));
    let first = world.get("dead").unwrap();
    assert_eq!((&*first.body, first.redelivered), ("first", false));
    assert_eq!(first.deaths(), ["q expired 1"]);
    let second = world.get("dead").unwrap();
    assert_eq!(second.entry().message.expiration(), None);
    // It is not to expire where it has gone.
    world.requeue(second);
    world.pass(1_000_000);
    assert_eq!(world.drain("dead"), ["second"]);
}

#[test]
fn a_time_to_live_of_0_dies_at_once_unless_it_is_wanted() {
    let mut world = World::new();
    world.declare("dead", &[]);
    let [dlx, dlrk] = to("dead");
    world.declare("q", &[dlx, dlrk, (TTL, Value::I32(0))]);
    assert!(matches!(world.publish("", "q", "m"), Outcome::DurableAt(_)));
    assert_eq!(world.ready("q"), 0);
    assert_eq!(world.drain("dead"), ["m"]);
}

#[test]
fn what_does_not_fit_arrives_oldest_first() {
    let mut world = World::new();
    world.declare("dead", &[]);
    let [dlx, dlrk] = to("dead");
    world.declare("q", &[dlx, dlrk, (MAX_LENGTH, Value::I32(2))]);
    world.declare("bytes", &[dlx, dlrk, ("x-max-length-bytes", Value::I32(3))]);
    for body in ["1", "2", "3", "4"] {
        let _ = world.publish("", "q", body);
    }
    let _ = world.publish("", "bytes", "ab");
    let _ = world.publish("", "bytes", "cd");
    let first = world.get("dead").unwrap();
    assert_eq!(first.deaths(), ["q maxlen 1"]);
    world.requeue(first);
    assert_eq!(world.drain("dead"), ["1", "2", "ab"]);
    assert_eq!(world.drain("q"), ["3", "4"]);
    assert_eq!(world.drain("bytes"), ["cd"]);
}

#[test]
fn a_refused_publish_is_dead_lettered_if_the_queue_says_so() {
    let mut world = World::new();
    world.declare("dead", &[]);
    let [dlx, dlrk] = to("dead");
    for (queue, overflow, dead) in
        [("a", "reject-publish", &[][..]), ("b", "reject-publish-dlx", &["2"])]
    {
        let overflow = ("x-overflow", Value::text(overflow));
        world.declare(queue, &[dlx, dlrk, overflow, (MAX_LENGTH, Value::I32(1))]);
        assert!(matches!(world.publish("", queue, "1"), Outcome::DurableAt(_)));
        assert_eq!(world.publish("", queue, "2"), Outcome::Refused);
        if let Some(got) = world.get("dead") {
            assert_eq!(got.deaths(), [format!("{queue} maxlen 1")]);
            world.requeue(got);
        }
        assert_eq!(world.drain("dead"), dead);
        assert_eq!(world.drain(queue), ["1"]);
    }
}

#[test]
fn who_arrives_counts_anew() {
    let mut world = World::new();
    world.declare("c", &[]);
    let ttl = |ms| (TTL, Value::I32(ms));
    let ([dlx, to_b], [_, to_c]) = (to("b"), to("c"));
    world.declare("b", &[dlx, to_c, ttl(50)]);
    world.declare("a", &[dlx, to_b, ttl(100)]);
    let _ = world.publish("", "a", "m");
    world.pass(100);
    assert_eq!(world.ready("b"), 1);
    world.pass(49);
    assert_eq!(world.ready("b"), 1);
    world.pass(1);
    assert_eq!(world.get("c").unwrap().deaths(), ["b expired 1", "a expired 1"]);
}

#[test]
fn only_rejection_lets_a_message_run_in_circles() {
    let mut world = World::new();
    let [dlx, to_q] = to("q");
    world.declare("q", &[dlx, to_q, (TTL, Value::I32(10))]);
    let _ = world.publish("", "q", "m");
    world.pass(10);
    assert_eq!(world.ready("q"), 0);
    assert_eq!(counts(&world).unroutable, 1);

    world.declare("p", &to("p"));
    let _ = world.publish("", "p", "m");
    for _ in 0..3 {
        let got = world.get("p").unwrap();
        world.reject(got);
    }
    assert_eq!(world.get("p").unwrap().deaths(), ["p rejected 3"]);

    // Out by itself, back by a client's doing: it may go round.
    let ([_, to_b], [_, to_a]) = (to("b"), to("a"));
    world.declare("a", &[dlx, to_b, (TTL, Value::I32(10))]);
    world.declare("b", &[dlx, to_a]);
    let _ = world.publish("", "a", "m");
    for round in 1..=3 {
        world.pass(10);
        let got = world.get("b").unwrap();
        let expired = format!("a expired {round}");
        let rejected = format!("b rejected {}", round - 1);
        assert_eq!(got.deaths(), if round == 1 { vec![expired] } else { vec![expired, rejected] });
        world.reject(got);
    }
}

#[test]
fn the_exchange_is_looked_up_when_a_message_dies() {
    let mut world = World::new();
    world.declare("q", &[(DLX, Value::text("later")), (MAX_LENGTH, Value::I32(0))]);
    let _ = world.publish("", "q", "lost");
    assert_eq!(counts(&world).unroutable, 1);
    world.declare_exchange("later", "fanout");
    let _ = world.publish("", "q", "lost");
    assert_eq!(counts(&world).unroutable, 2);
    world.declare("dead", &[]);
    world.bind("dead", "later", "");
    let _ = world.publish("", "q", "found");
    assert_eq!(world.get("dead").unwrap().routing_key, "q");
    assert_eq!(counts(&world).unroutable, 2);
}

#[test]
fn keys_of_its_own_keep_routing_unless_the_queue_has_one() {
    let keys =
        |keys: &[&str]| keys.iter().fold(ArrayBuilder::new(), |keys, key| keys.push(*key)).build();
    let (cc, bcc) = (keys(&["cc"]), keys(&["bcc"]));
    let headers = table(&[("CC", cc.as_array().into()), ("BCC", bcc.as_array().into())]);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    let dead = |key: Option<&'static str>| {
        let mut world = World::new();
        world.declare_exchange("dlx", "direct");
        for queue in ["cc", "bcc", "q", "own"] {
            world.declare(&format!("dead {queue}"), &[]);
            world.bind(&format!("dead {queue}"), "dlx", queue);
        }
        let mut arguments = vec![(DLX, Value::text("dlx")), (MAX_LENGTH, Value::I32(0))];
        arguments.extend(key.map(|key| (DLRK, Value::text(key))));
        world.declare("q", &arguments);
        let _ = world.publish_with("", "q", properties, "m");
        let mut world = world.restart();
        ["q", "cc", "bcc", "own"].map(|queue| world.drain(&format!("dead {queue}")).len())
    };
    assert_eq!(dead(None), [1, 1, 1, 0]);
    assert_eq!(dead(Some("own")), [0, 0, 0, 1]);
}

#[test]
fn without_an_exchange_the_dead_are_counted() {
    let mut world = World::new();
    world.declare("q", &[(TTL, Value::I32(10)), (MAX_LENGTH, Value::I32(2))]);
    for body in ["1", "2", "3"] {
        let _ = world.publish("", "q", body);
    }
    let got = world.get("q").unwrap();
    world.reject(got);
    world.pass(10);
    let discarded =
        DeathsByReason { rejected: 1, expired: 1, max_length: 1, ..DeathsByReason::default() };
    assert_eq!(counts(&world), DeadLetterCounts { discarded, ..DeadLetterCounts::default() });
    assert_eq!(world.restart().ready("q"), 0);
}

#[test]
fn purging_and_deleting_kill_nothing() {
    let mut world = World::new();
    world.declare("dead", &[]);
    world.declare("q", &to("dead"));
    for body in ["1", "2", "3"] {
        let _ = world.publish("", "q", body);
    }
    let held = world.get("q").unwrap();
    assert_eq!(world.session.purge_queue("q").unwrap(), 2);
    world.session.delete_queue("q", DeleteIf::default()).unwrap();
    world.session.finish();
    // It outlived its queue.
    world.reject(held);
    assert_eq!(world.ready("dead"), 0);
    assert_eq!(counts(&world), DeadLetterCounts::default());
}

#[test]
fn a_full_queue_refuses_dead_letters_too() {
    let mut world = World::new();
    let [dlx, to_next] = to("next");
    let full = [("x-overflow", Value::text("reject-publish")), (MAX_LENGTH, Value::I32(1))];
    world.declare("next", &full);
    world.declare("q", &[dlx, to_next, (MAX_LENGTH, Value::I32(0))]);
    for body in ["1", "2"] {
        let _ = world.publish("", "q", body);
    }
    let mut world = world.restart();
    assert_eq!(world.drain("next"), ["1"]);
}

#[test]
fn a_transaction_dead_letters_what_it_rejects() {
    let mut world = World::new();
    world.declare("dead", &[]);
    world.declare("q", &to("dead"));
    for body in ["1", "2", "3"] {
        let _ = world.publish("", "q", body);
    }
    let [one, two, three] = [(); 3].map(|()| world.get("q").unwrap());
    let settlements = [
        (Settlement::Discard, one),
        (Settlement::Requeue(Return::Released), two),
        (Settlement::Acknowledge, three),
    ];
    let commit = world.commit(settlements, &[("dead", "published")]);
    world.wait(commit.unwrap());
    let dead = world.session.vhost().queue("q").unwrap().counts();
    assert_eq!((dead.ready, dead.unacked), (1, 0));
    let mut world = world.restart();
    assert_eq!(world.drain("q"), ["2"]);
    assert_eq!(world.drain("dead"), ["published", "1"]);
}

/// What their headers take is known when they are read.
#[test]
fn all_arrive_in_order_however_many_are_read_at_once() {
    for is_transaction in [false, true] {
        let mut world = World::new();
        world.declare("dead", &[]);
        world.declare("q", &to("dead"));
        let bodies: Vec<String> = (0..200).map(|number| number.to_string()).collect();
        let text = "x".repeat(10_000);
        let headers = table(&[("header", Value::text(&text))]);
        for body in &bodies {
            let headers = Some(headers.as_table());
            let properties = Properties { headers, ..Properties::default() };
            let _ = world.publish_with("", "q", properties, body);
        }
        world.await_readable();
        let got: Vec<Got> = bodies.iter().map(|_| world.get("q").unwrap().paged_out()).collect();
        if is_transaction {
            world.commit(got.into_iter().map(|got| (Settlement::Discard, got)), &[]);
        } else {
            world.settle(Settlement::Discard, got);
        }
        world.pass(0);
        assert!(world.drain("dead") == bodies, "{is_transaction}");
    }
}

#[test]
fn after_a_restart_messages_know_what_they_went_through() {
    let mut world = World::new();
    world.declare("dead", &to("q"));
    world.declare("q", &to("dead"));
    let _ = world.publish("", "q", "m");
    let got = world.get("q").unwrap();
    world.reject(got);
    let mut world = world.restart();
    let got = world.get("dead").unwrap();
    assert!(got.redelivered);
    assert_eq!(got.deaths(), ["q rejected 1"]);
    let headers = got.headers();
    world.reject(got);
    let got = world.get("q").unwrap();
    assert_eq!(got.deaths(), ["dead rejected 1", "q rejected 1"]);
    let first = |headers: &leveret_codec::TableBuf| {
        headers.as_table().get("x-first-death-queue").and_then(|v| v.as_str()).map(str::to_owned)
    };
    assert_eq!(first(&got.headers()), first(&headers));
}

/// 2,500 messages are three portions of expiry and of dead-lettering.
#[test]
fn a_crowd_arrives_in_order() {
    let mut world = World::new();
    world.declare("dead", &[]);
    let [dlx, dlrk] = to("dead");
    world.declare("q", &[dlx, dlrk, (TTL, Value::I32(10))]);
    let bodies: Vec<String> = (0..2_500).map(|number| number.to_string()).collect();
    for body in &bodies {
        world.stage("", "q", Properties::default(), body);
    }
    world.session.flush(&mut Vec::new());
    world.session.finish();
    world.now += 10;
    assert_eq!(world.tick(), Progress::Done);
    assert_eq!((world.ready("q"), world.ready("dead")), (0, 2_500));
    assert_eq!(world.drain("dead"), bodies);
}

/// More deaths than a turn takes are left to the ticker; what dies later lines up behind them.
#[test]
fn nobody_overtakes_what_waits_for_the_ticker() {
    let mut world = World::new();
    world.declare("dead", &[]);
    world.declare("q", &to("dead"));
    world.declare("r", &to("dead"));
    let bodies: Vec<String> = (0..9_000).map(|number| number.to_string()).collect();
    for body in &bodies {
        world.stage("", "q", Properties::default(), body);
    }
    for body in ["later", "last"] {
        world.stage("", "q", Properties::default(), body);
    }
    world.stage("", "r", Properties::default(), "other");
    world.session.flush(&mut Vec::new());
    let got: Vec<_> = bodies.iter().map(|_| world.get("q").unwrap()).collect();
    world.settle(Settlement::Discard, got);
    let arrived = world.ready("dead");
    assert!((8_000..9_000).contains(&arrived), "{arrived}");
    // Two more turns before the ticker's.
    for _ in 0..2 {
        let later = world.get("q").unwrap();
        world.reject(later);
    }
    // Another queue's have nothing to wait for.
    let other = world.get("r").unwrap();
    world.reject(other);
    assert_eq!(world.ready("dead"), arrived + 1);
    while world.tick() == Progress::More {}
    let mut expected = bodies;
    expected.insert(usize::try_from(arrived).unwrap(), "other".to_owned());
    expected.extend(["later", "last"].map(str::to_owned));
    assert_eq!(world.drain("dead"), expected);
    // And it is as before once they are through.
    world.publish("", "q", "alone");
    let alone = world.get("q").unwrap();
    world.reject(alone);
    assert_eq!(world.drain("dead"), ["alone"]);
}

/// Eight queues without room that dead-letter into each other: one message has more than ten
/// thousand ways to go before the cycle rule ends them all.
#[test]
fn an_explosion_is_spread_over_ticks() {
    const QUEUES: u64 = 8;
    let mut world = World::new();
    world.declare_exchange("dlx", "fanout");
    for number in 0..QUEUES {
        let queue = format!("q{number}");
        world.declare(&queue, &[(DLX, Value::text("dlx")), (MAX_LENGTH, Value::I32(0))]);
        world.bind(&queue, "dlx", "");
    }
    let properties = Properties { delivery_mode: Some(1), ..Properties::default() };
    let _ = world.publish_with("", "q0", properties, "m");
    let after_publish = counts(&world).dead_lettered.max_length;
    // Each takes nine places: eight queues, and what it takes to look at as many bindings.
    assert!((3_600..4_200).contains(&after_publish), "{after_publish}");
    while world.tick() == Progress::More {}
    // All ways through all queues, by their length: 1 + 7 + 7*6 + ...
    let ways = (1..QUEUES).rev().scan(1, |ways, rest| {
        *ways *= rest;
        Some(*ways)
    });
    let ways: u64 = 1 + ways.sum::<u64>();
    assert_eq!(counts(&world).dead_lettered.max_length, ways);
}

/// It could not tell of all its deaths, nor be seen to come round.
#[test]
fn a_row_of_very_many_queues_has_an_end() {
    const QUEUES: usize = 257;
    let mut world = World::new();
    world.declare(&format!("q{QUEUES}"), &[]);
    for number in 0..QUEUES {
        let next = format!("q{}", number + 1);
        let [exchange, key] = to(&next);
        world.declare(&format!("q{number}"), &[exchange, key, (MAX_LENGTH, Value::I32(0))]);
    }
    for (first, arrives) in [(0, false), (1, false), (2, true)] {
        let _ = world.publish("", &format!("q{first}"), "m");
        while world.tick() == Progress::More {}
        let got = world.get(&format!("q{QUEUES}"));
        let deaths = got.map(|got| got.deaths().len());
        assert_eq!(deaths, arrives.then_some(QUEUES - first));
    }
    assert_eq!(counts(&world).unroutable, 2);
}
