//! Rewriting: against RabbitMQ's recorded answers, and the history against a naive model.

use std::path::Path;
use std::sync::Arc;

use leveret_codec::{
    ArrayBuf, ArrayBuilder, Properties, Table, TableBuf, TableBuilder, TableLimits, Value,
};
use leveret_engine::{
    AnyEntry, Body, Entry, LARGE_BODY, Lsn, Message, MessageArena, Millis, NewMessage, QueueId,
};
use leveret_store::{Batch, MemDisk, ReadError, Store, StoreOptions};
use parking_lot::Mutex;
use proptest::collection::vec;
use proptest::prelude::*;

use super::history::{self, Circle, Event};
use super::letter::Letter;
use super::portion::PORTION;
use super::postponed::{Behind, Lot, Postponed, WAITING_BYTES};
use super::{DeadLettering, Death, Onward, Reason, TURN, with_messages};
use crate::annotations::Annotations;

const NOW: Millis = Millis(1_700_000_000_999);

fn keys(keys: &[&str]) -> ArrayBuf {
    keys.iter().fold(ArrayBuilder::new(), |array, key| array.push(*key)).build()
}

fn message(properties: Properties<'_>, annotations: &Annotations<'_>, body: &[u8]) -> Message {
    let mut raw_properties = Vec::new();
    properties.encode(&mut raw_properties);
    MessageArena::new().make(NewMessage {
        now: Millis(1),
        exchange: "x",
        routing_key: "key",
        properties: &properties,
        raw_properties: &raw_properties,
        annotations: &annotations.to_bytes(),
        body: Body::Copy(body),
    })
}

fn death(message: Message, queue: &str, reason: Reason, routing_key: Option<&str>) -> Death {
    let source = DeadLettering {
        queue: QueueId(1),
        queue_name: queue.into(),
        vhost: "/".into(),
        exchange: "dlx".into(),
        routing_key: routing_key.map(Arc::from),
        onward: Onward::Dead,
        strategy: super::Strategy::AtMostOnce,
        _dying: super::Dying::default(),
    };
    Death { source: Arc::new(source), entry: Entry::new(Lsn(1), message), reason, past: None }
}

fn properties(message: &Message) -> Properties<'_> {
    Properties::parse(message.properties(), &TableLimits::default()).unwrap()
}

fn headers(message: &Message) -> Table<'_> {
    properties(message).headers.unwrap()
}

fn deaths(queue: u64, numbers: std::ops::Range<u64>) -> Vec<Death<AnyEntry>> {
    let Death { source, entry, reason, past } = death(
        message(Properties::default(), &Annotations::default(), b"body"),
        &queue.to_string(),
        Reason::Rejected,
        None,
    );
    let queue = QueueId(queue);
    let source = Arc::new(DeadLettering { queue, ..Arc::into_inner(source).unwrap() });
    let entry = |number| AnyEntry::Hot(Entry { lsn: Lsn(number), stored: true, ..entry.clone() });
    let one = |number| (Arc::clone(&source), entry(number), past.clone());
    numbers.map(one).map(|(source, entry, past)| Death { source, entry, reason, past }).collect()
}

/// Their bodies say nothing of their headers.
#[test]
fn no_more_is_read_than_a_portion_takes() {
    let disk = Arc::new(MemDisk::new());
    let (store, _) = Store::open(disk, Path::new("/data"), StoreOptions::default()).unwrap();
    let died = |header: &str| {
        let headers = TableBuilder::new().put("header", header).build();
        let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        let message = message(properties, &Annotations::default(), b"");
        let mut batch = Batch::new();
        for _ in 0..PORTION {
            batch.message(&[1], &message.stored_parts());
        }
        batch.set_durable();
        let appended = store.append(&mut batch);
        while store.readable_lsn() < appended.last {
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        let mut died = deaths(1, appended.first.0..appended.last.0 + 1);
        died.iter_mut().for_each(|death| death.page_out(Lsn(u64::MAX)));
        died
    };
    let lsns = |deaths: &[Death<AnyEntry>]| -> Vec<Lsn> {
        deaths.iter().map(|death| death.entry.lsn()).collect()
    };
    for (header, most) in [(&*"x".repeat(20_000), 128), ("x", PORTION)] {
        let died = died(header);
        let all = lsns(&died);
        let (found, unread) = with_messages(&store, died);
        assert!(unread.is_none() && found.lost.is_empty());
        let count = found.deaths.len();
        assert!((most / 2..=most).contains(&count), "{count}");
        let found: Vec<_> = found.deaths.into_iter().map(Death::from).chain(found.rest).collect();
        assert_eq!(lsns(&found), all);
    }
}

#[test]
fn turns_do_not_overtake_each_other() {
    let numbers = |lot: &Lot<'_>| -> Vec<(u64, u64)> {
        lot.deaths.iter().map(|death| (death.source.queue.0, death.entry.lsn().0)).collect()
    };
    let of = |queue: u64, range: std::ops::Range<u64>| range.map(move |number| (queue, number));
    let (turn, all) = (TURN as u64, TURN as u64 + 2);
    let postponed = Mutex::new(Postponed::default());
    let mut one = Lot::of(&postponed, deaths(1, 0..all), Lsn(0));
    assert!(numbers(&one).into_iter().eq(of(1, 0..turn)));
    // The ticker and another turn wait for it; what died elsewhere does not.
    assert_eq!(numbers(&Lot::next_of(&postponed, NOW, Lsn(0), |_| true)), []);
    let other = [deaths(1, all..all + 1), deaths(2, 0..1)].concat();
    let mut other = Lot::of(&postponed, other, Lsn(0));
    assert_eq!(numbers(&other), [(2, 0)]);
    other.deaths.clear();
    drop(other);
    // It gets as far as its last two.
    one.deaths.drain(..TURN - 2);
    drop(one);
    let mut rest = Lot::next_of(&postponed, NOW, Lsn(0), |_| true);
    assert!(numbers(&rest).into_iter().eq(of(1, turn - 2..all + 1)));
    // What a turn's work makes die goes first, though not before others of its queue.
    rest.add([deaths(3, 0..2), deaths(1, all + 1..all + 2)].concat());
    assert!(numbers(&rest).into_iter().eq(of(3, 0..2).chain(of(1, turn - 2..all + 2))));
    rest.deaths.clear();
    drop(rest);
    assert!(postponed.lock().is_empty());
    assert_eq!(numbers(&Lot::of(&postponed, deaths(1, 0..1), Lsn(0))), [(1, 0)]);
}

/// Others may have more die in a queue for ever.
#[test]
fn nobody_waits_for_what_lined_up_later() {
    let postponed = Mutex::new(Postponed::default());
    let is_to_go = |behind: &[Behind]| {
        let postponed = postponed.lock();
        behind.iter().any(|behind| postponed.is_to_go(*behind))
    };
    let take = |count: usize| {
        let mut lot = Lot::next_of(&postponed, NOW, Lsn(0), |_| true);
        lot.deaths.drain(..count);
    };
    let turn = TURN as u64;
    // Of the first three remain, which go back in front of the two for which there was no room.
    let mut lot = Lot::of(&postponed, deaths(1, 0..turn + 2), Lsn(0));
    lot.deaths.drain(..TURN - 3);
    let first = lot.leave();
    let second = Lot::of(&postponed, deaths(1, turn + 2..turn + 4), Lsn(0)).leave();
    assert!(is_to_go(&first) && is_to_go(&second));
    take(4);
    assert!(is_to_go(&first) && is_to_go(&second));
    take(1);
    assert!(!is_to_go(&first) && is_to_go(&second));
    let third = Lot::of(&postponed, deaths(1, turn + 4..turn + 6), Lsn(0)).leave();
    take(3);
    assert!(!is_to_go(&second) && is_to_go(&third));
    take(1);
    assert!(postponed.lock().is_empty() && !is_to_go(&third));
    // A queue that has none for a while begins anew, also with what is put back at once.
    let fourth = Lot::of(&postponed, deaths(1, 0..3), Lsn(0)).leave();
    assert!(is_to_go(&fourth) && !is_to_go(&first) && !is_to_go(&third));
    take(3);
    let mut held = Lot::of(&postponed, deaths(1, 0..1), Lsn(0));
    let later = Lot::of(&postponed, deaths(1, 1..9), Lsn(0)).leave();
    assert!(is_to_go(&later) && !is_to_go(&first) && !is_to_go(&third) && !is_to_go(&fourth));
    // All of its own has gone, if not of others.
    held.deaths.clear();
    assert_eq!(held.leave(), []);
    assert!(is_to_go(&later));
}

#[test]
fn who_deletes_a_queue_knows_what_is_dying_in_any_turn() {
    let postponed = Mutex::new(Postponed::default());
    let dying = || {
        let postponed = postponed.lock();
        postponed.places(QueueId(1)).map(|place| place.lsn().0).collect::<Vec<_>>()
    };
    let all = TURN as u64 + 2;
    let mut lot = Lot::of(&postponed, [deaths(2, 0..1), deaths(1, 0..all)].concat(), Lsn(0));
    assert!(dying().into_iter().eq(0..all));
    lot.deaths.drain(..3);
    assert!(dying().into_iter().eq(0..all));
    drop(lot);
    assert!(dying().into_iter().eq(2..all));
    let mut lot = Lot::next_of(&postponed, NOW, Lsn(0), |_| true);
    assert!(dying().into_iter().eq(2..all));
    lot.deaths.clear();
    drop(lot);
    assert_eq!(dying(), [0; 0]);
    // What is not in the journal is not dying there.
    let mut transient = deaths(1, 0..1);
    for death in &mut transient {
        let AnyEntry::Hot(entry) = &mut death.entry else { continue };
        entry.stored = false;
    }
    let _lot = Lot::of(&postponed, transient, Lsn(0));
    assert_eq!(dying(), [0; 0]);
}

#[test]
fn what_waits_for_long_takes_a_byte_or_two() {
    let postponed = Mutex::new(Postponed::default());
    let all = 100_000;
    drop(Lot::of(&postponed, deaths(1, 0..all), Lsn(all)));
    let hot = postponed.lock().load().0;
    assert!(hot <= WAITING_BYTES + 1000, "{hot}");
    let parts = postponed.lock().load().1;
    assert!(parts <= usize::try_from(hot / 200 + all / 256).unwrap() + 3, "{parts}");
    // More of them, when the first have been tried in vain.
    drop(Lot::next_of(&postponed, NOW, Lsn(all), |_| true));
    assert!(postponed.lock().load().1 <= parts + 3);
    let mut numbers = Vec::new();
    while numbers.len() < 100_000 {
        let mut lot = Lot::next_of(&postponed, NOW, Lsn(all), |_| true);
        numbers.extend(lot.deaths.drain(..).map(|death| death.entry.lsn().0));
    }
    assert!(numbers.into_iter().eq(0..all), "in their order");
    assert_eq!(postponed.lock().load().0, 0);
    // What the journal has not written yet keeps its messages.
    drop(Lot::of(&postponed, deaths(1, 0..all), Lsn(10)));
    assert!(postponed.lock().load().0 > 200 * (all - 10_000));
}

#[test]
fn queues_that_cannot_be_read_hold_up_no_others() {
    let postponed = Mutex::new(Postponed::default());
    let numbers = |lot: &Lot<'_>| -> Vec<(u64, u64)> {
        lot.deaths.iter().map(|death| (death.source.queue.0, death.entry.lsn().0)).collect()
    };
    let error = || ReadError { path: "1.seg".into(), source: std::io::ErrorKind::Other.into() };
    let dead = [deaths(1, 0..1), deaths(2, 0..1), deaths(1, 1..3), deaths(2, 1..2)].concat();
    let mut lot = Lot::of(&postponed, dead, Lsn(0));
    let unread = vec![lot.deaths.pop_front().unwrap()];
    lot.rest(unread, &error(), NOW);
    assert_eq!(numbers(&lot), [(2, 0), (2, 1)]);
    lot.add(deaths(1, 3..4));
    assert_eq!(numbers(&lot), [(2, 0), (2, 1)]);
    lot.deaths.clear();
    drop(lot);
    let later = Millis(NOW.0 + 999);
    assert_eq!(numbers(&Lot::of(&postponed, deaths(1, 4..5), Lsn(0))), []);
    assert_eq!(numbers(&Lot::next_of(&postponed, later, Lsn(0), |_| true)), []);
    let later = Millis(NOW.0 + 1000);
    let all = [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4)];
    assert_eq!(numbers(&Lot::next_of(&postponed, later, Lsn(0), |_| true)), all);
    assert_eq!(numbers(&Lot::next_of(&postponed, NOW, Lsn(0), |_| true)), all, "it rests no more");
}

/// The reference's first row: a message with an expiration, a `CC` and a `BCC`.
#[test]
fn a_first_death_reads_as_rabbitmq_writes_it() {
    let cc = keys(&["zz"]);
    let given = TableBuilder::new().put("a", 1).put("CC", cc.as_array()).build();
    let given = Properties {
        headers: Some(given.as_table()),
        expiration: Some(b"050"),
        delivery_mode: Some(2),
        priority: Some(3),
        message_id: Some(b"m"),
        ..Properties::default()
    };
    let bcc = Annotations { bcc: ["yy"].as_slice().into(), ..Annotations::default() };
    let death = death(message(given, &bcc, b"body"), "src", Reason::Expired, None);
    let letter = Letter::write(&death, None, NOW, &mut MessageArena::new());

    let message = &letter.message;
    assert_eq!((message.exchange(), message.routing_key()), ("dlx", "key"));
    assert_eq!((message.body(), message.timestamp()), (&b"body"[..], NOW));
    assert_eq!((message.priority(), message.is_persistent()), (Some(3), true));
    assert_eq!(message.expiration(), None);
    let rewritten = properties(message);
    let expected = Properties { expiration: None, headers: rewritten.headers, ..given };
    assert_eq!(rewritten, expected);

    assert_eq!(letter.routing_keys.as_slice(), ["key", "zz", "yy"]);
    let routing_keys = keys(&["key", "zz"]);
    let entry = TableBuilder::new()
        .put("original-expiration", "50")
        .put("count", 1_i64)
        .put("reason", "expired")
        .put("queue", "src")
        .put("time", Value::Timestamp(1_700_000_000))
        .put("exchange", "x")
        .put("routing-keys", routing_keys.as_array())
        .build();
    let deaths = ArrayBuilder::new().push(entry.as_table()).build();
    let expected = TableBuilder::new()
        .put("CC", cc.as_array())
        .put("a", 1)
        .put("x-death", deaths.as_array())
        .put("x-first-death-exchange", "x")
        .put("x-first-death-queue", "src")
        .put("x-first-death-reason", "expired")
        .put("x-last-death-exchange", "x")
        .put("x-last-death-queue", "src")
        .put("x-last-death-reason", "expired")
        .build();
    assert_eq!(headers(message), expected.as_table());
}

#[test]
fn a_key_of_the_queue_replaces_all_others_for_good() {
    let cc = keys(&["zz"]);
    let given = TableBuilder::new().put("CC", cc.as_array()).build();
    let given = Properties { headers: Some(given.as_table()), ..Properties::default() };
    let bcc = Annotations { bcc: ["yy"].as_slice().into(), ..Annotations::default() };
    let mut arena = MessageArena::new();
    let first = death(message(given, &bcc, b""), "q", Reason::Expired, Some("other"));
    let first = Letter::write(&first, None, NOW, &mut arena);
    assert_eq!(first.routing_keys.as_slice(), ["other"]);
    assert_eq!(first.message.routing_key(), "other");
    // The header stays where it is, it only routes no more.
    assert_eq!(headers(&first.message).get("CC"), Some(Value::Array(cc.as_array())));

    let second = death(first.message, "r", Reason::Rejected, None);
    let second = Letter::write(&second, None, NOW, &mut arena);
    assert_eq!(second.routing_keys.as_slice(), ["other"]);
    let latest = second.deaths.as_array().iter().next().and_then(|death| death.as_table()).unwrap();
    let used = keys(&["other"]);
    assert_eq!(latest.get("routing-keys"), Some(Value::Array(used.as_array())));
}

#[test]
fn hidden_keys_outlive_a_death_that_keeps_the_keys() {
    let bcc = Annotations { bcc: ["yy"].as_slice().into(), ..Annotations::default() };
    let mut arena = MessageArena::new();
    let first = death(message(Properties::default(), &bcc, b""), "q", Reason::Expired, None);
    let first = Letter::write(&first, None, NOW, &mut arena);
    let second = death(first.message, "r", Reason::Expired, None);
    let second = Letter::write(&second, None, NOW, &mut arena);
    assert_eq!(second.routing_keys.as_slice(), ["key", "yy"]);
    let shown = keys(&["key"]);
    for death in second.deaths.as_array() {
        let death = death.as_table().unwrap();
        assert_eq!(death.get("routing-keys"), Some(Value::Array(shown.as_array())));
    }
}

#[test]
fn what_a_publisher_claims_of_deaths_is_replaced() {
    let claimed = TableBuilder::new()
        .put("x-death", "long ago")
        .put("x-first-death-queue", "nowhere")
        .put("x-last-death-reason", "boredom")
        .put("x-delay", 1)
        .build();
    let given = Properties { headers: Some(claimed.as_table()), ..Properties::default() };
    let claimant = message(given, &Annotations::default(), b"");
    let honest = TableBuilder::new().put("x-delay", 1).build();
    let given = Properties { headers: Some(honest.as_table()), ..Properties::default() };
    let innocent = message(given, &Annotations::default(), b"");
    let mut arena = MessageArena::new();
    let [claimant, innocent] = [claimant, innocent].map(|message| {
        let death = death(message, "q", Reason::MaxLength, None);
        Letter::write(&death, None, NOW, &mut arena).message
    });
    assert_eq!(headers(&claimant), headers(&innocent));
}

#[test]
fn large_bodies_are_not_copied() {
    let body = vec![7; LARGE_BODY];
    let large = message(Properties::default(), &Annotations::default(), &body);
    let address = large.body().as_ptr();
    let death = death(large, "q", Reason::Rejected, None);
    let letter = Letter::write(&death, None, NOW, &mut MessageArena::new());
    assert_eq!(letter.message.body().as_ptr(), address);
}

#[derive(Clone, Debug)]
struct Happened {
    queue: &'static str,
    reason: Reason,
    time: u64,
    expiration: Option<u64>,
}

fn happened() -> impl Strategy<Value = Happened> {
    let reasons =
        [Reason::Rejected, Reason::Expired, Reason::MaxLength, Reason::DeliveryLimit].as_slice();
    let queue = prop::sample::select(["a", "b", "c"].as_slice());
    let expiration = prop::option::of(0..10_u64);
    (queue, prop::sample::select(reasons), 0..10_000_u64, expiration)
        .prop_map(|(queue, reason, time, expiration)| Happened { queue, reason, time, expiration })
}

/// What one entry of `x-death` says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    queue: String,
    reason: String,
    count: i128,
    time: u64,
    expiration: Option<String>,
}

fn told(headers: &TableBuf) -> Vec<Told> {
    let deaths = headers.as_table().get("x-death").and_then(|deaths| deaths.as_array()).unwrap();
    let text = |table: Table<'_>, key: &str| table.get(key)?.as_str().map(str::to_owned);
    let one = |death: Value<'_>| {
        let death = death.as_table().unwrap();
        let Some(Value::Timestamp(time)) = death.get("time") else { panic!("{death}") };
        Told {
            queue: text(death, "queue").unwrap(),
            reason: text(death, "reason").unwrap(),
            count: death.get("count").and_then(|count| count.as_integer()).unwrap(),
            time,
            expiration: text(death, "original-expiration"),
        }
    };
    deaths.iter().map(one).collect()
}

proptest! {
    #[test]
    fn deaths_are_told_latest_first_and_counted(history in vec(happened(), 1..20)) {
        let mut headers = TableBuf::default();
        let mut model: Vec<Told> = Vec::new();
        for (index, happened) in history.iter().enumerate() {
            let Happened { queue, reason, time, expiration } = *happened;
            let event = Event {
                queue,
                reason,
                time: Millis(time),
                exchange: "x",
                routing_keys: &["k"],
                expiration: expiration.map(Millis),
            };
            let deaths;
            (headers, deaths) = history::add(headers.as_table(), index > 0, &event);

            let same = |told: &Told| told.queue == queue && told.reason == reason.as_str();
            let latest = match model.iter().position(same) {
                Some(old) => Told { count: model[old].count + 1, ..model.remove(old) },
                None => Told {
                    queue: queue.to_owned(),
                    reason: reason.as_str().to_owned(),
                    count: 1,
                    time: time / 1000,
                    expiration: expiration.map(|ms| ms.to_string()),
                },
            };
            model.insert(0, latest);
            prop_assert_eq!(told(&headers), model.clone());

            let table = headers.as_table();
            let says = |key: &str| table.get(key).and_then(|v| v.as_str());
            prop_assert_eq!(says("x-first-death-queue"), Some(history[0].queue));
            prop_assert_eq!(says("x-first-death-reason"), Some(history[0].reason.as_str()));
            prop_assert_eq!(says("x-last-death-queue"), Some(queue));
            prop_assert_eq!(says("x-last-death-reason"), Some(reason.as_str()));
            prop_assert!(table.iter().map(|(key, _)| key).is_sorted());

            for target in ["a", "b", "c", "d"] {
                let since = model.iter().position(|told| told.queue == target);
                let automatic = |since: usize| {
                    model[..=since].iter().all(|told| told.reason != "rejected")
                };
                let expected = since.is_some_and(automatic);
                prop_assert_eq!(Circle::of(deaths.as_array()).contains(target), expected);
            }
        }
    }
}
