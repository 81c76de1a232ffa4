//! The queue against a naive model, under random histories, and the rules one by one.

mod model;

use leveret_codec::Properties;

use super::*;
use crate::ids::Lsn;
use crate::message::{Body, Message, MessageArena};

const NOW: Millis = Millis(1_000);

fn message(body: &[u8], priority: Option<u8>, expiration: Option<u64>) -> Message {
    let digits = expiration.map(|expiration| expiration.to_string());
    let expiration = digits.as_ref().map(String::as_bytes);
    let properties = Properties { priority, expiration, ..Properties::default() };
    let mut raw = Vec::new();
    properties.encode(&mut raw);
    MessageArena::new().message(NOW, "x", "key", &properties, &raw, Body::Copy(body))
}

fn entry(lsn: u64) -> Entry {
    Entry::new(Lsn(lsn), message(b"body", None, None))
}

fn consumer(id: u64) -> ConsumerSpec {
    ConsumerSpec { id: ConsumerId(id), prefetch: 0, no_ack: false, exclusive: false, priority: 0 }
}

fn limited(limit: u64, overflow: Overflow) -> Queue {
    Queue::new(QueueSettings { max_length: Some(limit), overflow, ..QueueSettings::default() })
}

/// Lets everything through.
struct Open;

impl Gate for Open {
    fn admit(&mut self, _: ConsumerId) -> Admission {
        Admission::Ready
    }
}

/// Lets so many deliveries through.
struct Few(u32);

impl Gate for Few {
    fn admit(&mut self, _: ConsumerId) -> Admission {
        if self.0 == 0 { Admission::Blocked } else { Admission::Ready }
    }

    fn delivered(&mut self, _: ConsumerId, bytes: usize) {
        assert_eq!(bytes, 4);
        self.0 -= 1;
    }
}

fn push(queue: &mut Queue, lsns: impl IntoIterator<Item = u64>) {
    for lsn in lsns {
        assert!(matches!(queue.push(entry(lsn), NOW), Pushed::Accepted));
    }
}

fn dispatch(queue: &mut Queue, now: Millis) -> Vec<Effect> {
    let mut effects = Vec::new();
    queue.dispatch(now, &mut Open, &mut effects);
    effects
}

/// Consumer and message of the deliveries; there may be nothing else.
fn deliveries(effects: &[Effect]) -> Vec<(u64, u64)> {
    let delivery = |effect: &Effect| match effect {
        Effect::Deliver { consumer, entry } => (consumer.0, entry.lsn.0),
        Effect::Drop { .. } => panic!("{effect:?}"),
    };
    effects.iter().map(delivery).collect()
}

/// Message and reason of what was dropped; there may be nothing else.
fn drops(effects: &[Effect]) -> Vec<(u64, &'static str)> {
    let dropped = |effect: &Effect| match effect {
        Effect::Drop { entry, reason } => (entry.lsn().0, reason.as_str()),
        Effect::Deliver { .. } => panic!("{effect:?}"),
    };
    effects.iter().map(dropped).collect()
}

fn delivered_entry(effects: Vec<Effect>) -> Entry {
    match effects.into_iter().next() {
        Some(Effect::Deliver { entry, .. }) => entry,
        other => panic!("{other:?}"),
    }
}

fn get(queue: &mut Queue) -> Option<u64> {
    queue.get(NOW, false, &mut Vec::new()).message().map(|entry| entry.lsn.0)
}

#[test]
fn an_idle_queue_is_small() {
    assert!(size_of::<Queue>() <= 288, "{}", size_of::<Queue>());
    assert!(size_of::<Entry>() <= 96, "{}", size_of::<Entry>());
    assert!(size_of::<Message>() <= 56, "{}", size_of::<Message>());
}

#[test]
fn consumers_take_turns_within_one_message() {
    let mut queue = Queue::new(QueueSettings::default());
    for id in 0..3 {
        queue.add_consumer(consumer(id)).unwrap();
    }
    push(&mut queue, 0..7);
    let turns: Vec<_> = deliveries(&dispatch(&mut queue, NOW));
    assert_eq!(turns, [(0, 0), (1, 1), (2, 2), (0, 3), (1, 4), (2, 5), (0, 6)]);
    assert_eq!((queue.ready_len(), queue.unacked_len(), queue.unacked_bytes()), (0, 7, 28));
}

#[test]
fn prefetch_holds_a_consumer_back_until_it_settles() {
    let mut queue = Queue::new(QueueSettings::default());
    queue.add_consumer(ConsumerSpec { prefetch: 2, ..consumer(0) }).unwrap();
    push(&mut queue, 0..5);
    assert_eq!(dispatch(&mut queue, NOW).len(), 2);
    assert!(dispatch(&mut queue, NOW).is_empty());
    queue.settle(Some(ConsumerId(0)), 2, 8);
    assert_eq!(deliveries(&dispatch(&mut queue, NOW)), [(0, 2), (0, 3)]);
    assert_eq!((queue.ready_len(), queue.unacked_len(), queue.unacked_bytes()), (1, 2, 8));
}

#[test]
fn no_ack_consumers_hold_nothing_and_have_no_prefetch() {
    let mut queue = Queue::new(QueueSettings::default());
    queue.add_consumer(ConsumerSpec { prefetch: 1, no_ack: true, ..consumer(0) }).unwrap();
    push(&mut queue, 0..5);
    assert_eq!(dispatch(&mut queue, NOW).len(), 5);
    assert_eq!(queue.unacked_len(), 0);
}

#[test]
fn a_higher_consumer_priority_is_served_first_while_it_has_credit() {
    let mut queue = Queue::new(QueueSettings::default());
    queue.add_consumer(consumer(0)).unwrap();
    for id in 1..3 {
        let spec = ConsumerSpec { prefetch: 1, priority: 10, ..consumer(id) };
        queue.add_consumer(spec).unwrap();
    }
    push(&mut queue, 0..4);
    assert_eq!(deliveries(&dispatch(&mut queue, NOW)), [(1, 0), (2, 1), (0, 2), (0, 3)]);
}

#[test]
fn a_blocked_consumer_waits_until_it_is_unblocked() {
    let mut queue = Queue::new(QueueSettings::default());
    queue.add_consumer(consumer(0)).unwrap();
    push(&mut queue, 0..5);
    let mut effects = Vec::new();
    queue.dispatch(NOW, &mut Few(2), &mut effects);
    assert_eq!(effects.len(), 2);
    assert!(dispatch(&mut queue, NOW).is_empty());
    queue.unblock(ConsumerId(0));
    assert_eq!(dispatch(&mut queue, NOW).len(), 3);
}

#[test]
fn a_requeued_message_takes_its_original_position() {
    let mut queue = Queue::new(QueueSettings::default());
    push(&mut queue, 0..4);
    let mut effects = Vec::new();
    let taken: Vec<_> =
        (0..3).filter_map(|_| queue.get(NOW, false, &mut effects).message()).collect();
    for entry in taken.into_iter().rev() {
        queue.requeue(None, entry, Return::Released, NOW, &mut effects);
    }
    assert_eq!(queue.unacked_len(), 0);
    let first = queue.get(NOW, false, &mut effects).message().unwrap();
    assert_eq!((first.lsn, first.redelivered, first.deliveries), (Lsn(0), true, 1));
    assert_eq!((get(&mut queue), get(&mut queue), get(&mut queue)), (Some(1), Some(2), Some(3)));
    assert!(effects.is_empty());
}

#[test]
fn a_message_is_delivered_once_more_than_the_limit() {
    let settings = QueueSettings { delivery_limit: Some(2), ..QueueSettings::default() };
    let mut queue = Queue::new(settings);
    push(&mut queue, [7]);
    let mut effects = Vec::new();
    for _ in 0..3 {
        let entry = queue.get(NOW, false, &mut effects).message().unwrap();
        assert!(effects.is_empty());
        queue.requeue(None, entry, Return::Released, NOW, &mut effects);
    }
    assert_eq!(drops(&effects), [(7, "delivery_limit")]);
    assert_eq!((queue.ready_len(), queue.unacked_len()), (0, 0));
}

#[test]
fn messages_come_by_priority_then_in_order() {
    let settings = QueueSettings { max_priority: Some(5), ..QueueSettings::default() };
    let mut queue = Queue::new(settings);
    let priorities = [Some(1), None, Some(9), Some(3), Some(5), Some(0)];
    for (lsn, priority) in (0..).zip(priorities) {
        let entry = Entry::new(Lsn(lsn), message(b"", priority, None));
        assert!(matches!(queue.push(entry, NOW), Pushed::Accepted));
    }
    let order: Vec<_> = std::iter::from_fn(|| get(&mut queue)).collect();
    assert_eq!(order, [2, 4, 3, 0, 1, 5]);
}

#[test]
fn the_single_active_consumer_stays_until_it_leaves() {
    let settings = QueueSettings { single_active_consumer: true, ..QueueSettings::default() };
    let mut queue = Queue::new(settings);
    for (id, priority) in (0..).zip([0, 1, 5, 5]) {
        queue.add_consumer(ConsumerSpec { priority, ..consumer(id) }).unwrap();
    }
    let exclusive = ConsumerSpec { exclusive: true, ..consumer(9) };
    assert_eq!(queue.add_consumer(exclusive), Err(ConsumeRefused::ExclusiveInUse));
    push(&mut queue, 0..2);
    assert_eq!(deliveries(&dispatch(&mut queue, NOW)), [(0, 0), (0, 1)]);
    assert_eq!(queue.remove_consumer(ConsumerId(0)).promoted, Some(ConsumerId(2)));
    push(&mut queue, 2..3);
    assert_eq!(deliveries(&dispatch(&mut queue, NOW)), [(2, 2)]);
    assert_eq!(queue.remove_consumer(ConsumerId(1)).promoted, None);
    assert_eq!(queue.remove_consumer(ConsumerId(2)).promoted, Some(ConsumerId(3)));
    let removed = queue.remove_consumer(ConsumerId(3));
    assert!(removed.was_last);
    assert_eq!(removed.promoted, None);
    queue.add_consumer(consumer(4)).unwrap();
    assert!(queue.consumers()[0].active, "the mode survives an empty queue");
}

#[test]
fn exclusive_consumers_refuse_company() {
    let exclusive = ConsumerSpec { exclusive: true, ..consumer(1) };
    let mut queue = Queue::new(QueueSettings::default());
    queue.add_consumer(consumer(0)).unwrap();
    assert_eq!(queue.add_consumer(exclusive), Err(ConsumeRefused::ExclusiveInUse));
    assert!(queue.remove_consumer(ConsumerId(0)).was_last);
    queue.add_consumer(exclusive).unwrap();
    assert!(queue.is_exclusively_consumed());
    assert_eq!(queue.add_consumer(consumer(2)), Err(ConsumeRefused::ExclusiveInUse));
    queue.remove_consumer(ConsumerId(1));
    assert!(!queue.is_exclusively_consumed());
    queue.add_consumer(consumer(2)).unwrap();
}

#[test]
fn what_a_cancelled_consumer_holds_stays_outstanding() {
    let mut queue = Queue::new(QueueSettings::default());
    queue.add_consumer(consumer(0)).unwrap();
    push(&mut queue, 0..2);
    let effects = dispatch(&mut queue, NOW);
    queue.remove_consumer(ConsumerId(0));
    assert_eq!(queue.unacked_len(), 2);
    queue.settle(Some(ConsumerId(0)), 1, 4);
    queue.requeue(
        Some(ConsumerId(0)),
        delivered_entry(effects),
        Return::Failed,
        NOW,
        &mut Vec::new(),
    );
    assert_eq!((queue.ready_len(), queue.unacked_len(), queue.unacked_bytes()), (1, 0, 0));
}

#[test]
fn the_head_gives_way_to_the_limit() {
    let mut queue = limited(2, Overflow::DropHead);
    push(&mut queue, 0..5);
    assert_eq!(drops(&dispatch(&mut queue, NOW)), [(0, "maxlen"), (1, "maxlen"), (2, "maxlen")]);
    assert_eq!(get(&mut queue), Some(3));

    let bytes = QueueSettings { max_length_bytes: Some(9), ..QueueSettings::default() };
    let mut queue = Queue::new(bytes);
    push(&mut queue, 0..3);
    assert_eq!(drops(&dispatch(&mut queue, NOW)), [(0, "maxlen")]);
    assert_eq!(queue.ready_bytes(), 8);
}

#[test]
fn a_queue_of_length_0_only_reaches_waiting_consumers() {
    let mut queue = limited(0, Overflow::DropHead);
    queue.add_consumer(ConsumerSpec { prefetch: 1, ..consumer(0) }).unwrap();
    push(&mut queue, 0..2);
    let mut effects = dispatch(&mut queue, NOW);
    assert_eq!(drops(&effects.split_off(1)), [(1, "maxlen")]);
    assert_eq!(deliveries(&effects), [(0, 0)]);
}

#[test]
fn a_full_queue_refuses_what_no_consumer_can_take() {
    for overflow in [Overflow::RejectPublish, Overflow::RejectPublishDlx] {
        let mut queue = limited(1, overflow);
        push(&mut queue, 0..1);
        let Pushed::Refused(refused) = queue.push(entry(1), NOW) else { panic!("taken") };
        assert_eq!(refused.lsn, Lsn(1));
        queue.add_consumer(ConsumerSpec { prefetch: 3, ..consumer(0) }).unwrap();
        push(&mut queue, 2..4);
        assert!(matches!(queue.push(entry(4), NOW), Pushed::Refused(_)));
        assert_eq!(deliveries(&dispatch(&mut queue, NOW)), [(0, 0), (0, 2), (0, 3)]);
        push(&mut queue, 5..6);
        assert!(matches!(queue.push(entry(6), NOW), Pushed::Refused(_)));
    }
}

#[test]
fn a_message_lives_as_long_as_the_shorter_of_its_times() {
    let settings = QueueSettings { message_ttl: Some(Millis(50)), ..QueueSettings::default() };
    for (own, life) in [(None, 50), (Some(20), 20), (Some(90), 50)] {
        let mut queue = Queue::new(settings);
        let pushed = queue.push(Entry::new(Lsn(0), message(b"", None, own)), NOW);
        assert!(matches!(pushed, Pushed::Accepted));
        let end = Millis(NOW.0 + life);
        assert_eq!(queue.next_deadline(), Some(end));
        assert!(dispatch(&mut queue, Millis(end.0 - 1)).is_empty());
        assert_eq!(drops(&dispatch(&mut queue, end)), [(0, "expired")]);
        assert_eq!(queue.next_deadline(), None);
    }
}

#[test]
fn a_time_to_live_of_0_only_reaches_waiting_consumers() {
    let settings = QueueSettings { message_ttl: Some(Millis(0)), ..QueueSettings::default() };
    let mut queue = Queue::new(settings);
    push(&mut queue, 0..1);
    assert_eq!(drops(&dispatch(&mut queue, NOW)), [(0, "expired")]);
    queue.add_consumer(consumer(0)).unwrap();
    push(&mut queue, 1..2);
    let effects = dispatch(&mut queue, NOW);
    assert_eq!(deliveries(&effects), [(0, 1)]);
    // Given back, it has had its time, though that be the same millisecond.
    let (entry, mut effects) = (delivered_entry(effects), Vec::new());
    queue.requeue(Some(ConsumerId(0)), entry, Return::Released, NOW, &mut effects);
    assert_eq!(drops(&effects), [(1, "expired")]);
}

#[test]
fn an_expired_message_leaves_from_behind_a_live_one() {
    let mut queue = Queue::new(QueueSettings::default());
    push(&mut queue, 0..1);
    for (lsn, life) in [(1, 30), (2, 10), (3, 20)] {
        let pushed = queue.push(Entry::new(Lsn(lsn), message(b"", None, Some(life))), NOW);
        assert!(matches!(pushed, Pushed::Accepted));
    }
    let mut effects = Vec::new();
    assert_eq!(queue.next_deadline(), Some(Millis(NOW.0 + 10)));
    queue.expire(Millis(NOW.0 + 20), &mut effects);
    assert_eq!(drops(&effects), [(2, "expired"), (3, "expired")]);
    assert_eq!(queue.next_deadline(), Some(Millis(NOW.0 + 30)));
    assert_eq!(queue.ready().map(|entry| entry.lsn.0).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_crowd_that_expires_at_once_leaves_in_portions() {
    let crowd = 2 * u64::try_from(EXPIRED_AT_ONCE).unwrap() + 10;
    let filled = || {
        let message_ttl = Some(Millis(10));
        let mut queue = Queue::new(QueueSettings { message_ttl, ..QueueSettings::default() });
        push(&mut queue, 0..crowd);
        let fresh = Entry { deadline: Some(Millis(NOW.0 + 100)), ..entry(crowd) };
        assert!(matches!(queue.push(fresh, NOW), Pushed::Accepted));
        queue
    };
    let late = Millis(NOW.0 + 20);
    for consumed in [false, true] {
        let mut queue = filled();
        if consumed {
            queue.add_consumer(consumer(1)).unwrap();
        }
        for expected in [EXPIRED_AT_ONCE, EXPIRED_AT_ONCE, 10 + usize::from(consumed)] {
            assert!(queue.next_deadline().is_some_and(|deadline| deadline <= late));
            assert_eq!(dispatch(&mut queue, late).len(), expected);
        }
        assert_eq!(queue.ready_len(), u64::from(!consumed));
    }
    // Who asks for a message gets the first live one.
    let mut effects = Vec::new();
    let got = filled().get(late, true, &mut effects);
    assert_eq!(got.message().map(|entry| entry.lsn), Some(Lsn(crowd)));
    assert_eq!(effects.len(), usize::try_from(crowd).unwrap());
}

#[test]
fn a_lowered_limit_is_worked_off_in_portions() {
    let lowered = [
        QueueSettings { max_length: Some(10), ..QueueSettings::default() },
        QueueSettings { max_length_bytes: Some(10 * 4), ..QueueSettings::default() },
    ];
    for settings in lowered {
        let mut queue = Queue::new(QueueSettings::default());
        push(&mut queue, 0..2500);
        queue.set_settings(settings);
        assert!(queue.is_shrinking());
        assert_eq!(drops(&dispatch(&mut queue, Millis(0))).len(), 1024);
        assert_eq!(queue.ready_len(), 1476);
        // What comes meanwhile makes room for itself, and does not hold the rest up.
        push(&mut queue, 2500..5000);
        assert_eq!(drops(&dispatch(&mut queue, Millis(0))).len(), 1024 + 2500);
        assert_eq!(queue.ready_len(), 452);
        assert!(queue.is_shrinking());
        dispatch(&mut queue, Millis(0));
        assert!(!queue.is_shrinking());
        // From here on the limit holds at each dispatch.
        push(&mut queue, 5000..9000);
        dispatch(&mut queue, Millis(0));
        let left: Vec<u64> = queue.ready().map(|entry| entry.lsn.0).collect();
        assert_eq!(left, (8990..9000).collect::<Vec<_>>());
    }
}

#[test]
fn an_emptied_queue_shrinks_no_more() {
    let mut queue = Queue::new(QueueSettings::default());
    push(&mut queue, 0..2000);
    queue.set_settings(QueueSettings { max_length: Some(10), ..QueueSettings::default() });
    queue.purge(|_, _| {});
    assert!(!queue.is_shrinking());
}

#[test]
fn a_requeued_message_keeps_its_deadline() {
    let mut queue = Queue::new(QueueSettings::default());
    let pushed = queue.push(Entry::new(Lsn(0), message(b"", None, Some(10))), NOW);
    assert!(matches!(pushed, Pushed::Accepted));
    let mut effects = Vec::new();
    let entry = queue.get(NOW, false, &mut effects).message().unwrap();
    queue.requeue(None, entry, Return::Released, Millis(NOW.0 + 5), &mut effects);
    assert_eq!(queue.next_deadline(), Some(Millis(NOW.0 + 10)));
    let entry = queue.get(NOW, false, &mut effects).message().unwrap();
    assert!(effects.is_empty());
    queue.requeue(None, entry, Return::Released, Millis(NOW.0 + 10), &mut effects);
    assert_eq!(drops(&effects), [(0, "expired")]);
}

#[test]
fn purge_takes_what_is_ready_and_clear_everything() {
    let mut queue = Queue::new(QueueSettings::default());
    push(&mut queue, 0..600);
    assert_eq!(get(&mut queue), Some(0));
    let mut removed = Vec::new();
    queue.purge(|lsn, stored| removed.push((lsn.0, stored)));
    assert!(removed.into_iter().eq((1..600).map(|lsn| (lsn, false))));
    assert_eq!((queue.ready_len(), queue.ready_bytes(), queue.unacked_len()), (0, 0, 1));

    queue.add_consumer(ConsumerSpec { prefetch: 1, ..consumer(5) }).unwrap();
    push(&mut queue, 600..603);
    assert_eq!(dispatch(&mut queue, NOW).len(), 1);
    queue.clear();
    assert_eq!((queue.ready_len(), queue.unacked_len(), queue.consumer_count()), (0, 0, 0));
}

#[test]
fn recovered_messages_are_never_refused() {
    let mut queue = limited(1, Overflow::RejectPublish);
    (0..3).for_each(|lsn| queue.restore(entry(lsn)));
    assert_eq!(queue.ready_len(), 3);
}

#[test]
fn a_message_that_comes_back_waits_longer_each_time() {
    let retry = DelayedRetry { only: None, min: Millis(10), max: Millis(25) };
    let settings = QueueSettings { delayed_retry: Some(retry), ..QueueSettings::default() };
    let mut queue = Queue::new(settings);
    push(&mut queue, [7]);
    let mut now = NOW;
    for delay in [10, 20, 25, 25] {
        let entry = queue.get(now, false, &mut Vec::new()).message().unwrap();
        let ready_at = Millis(now.0 + delay);
        let requeued = queue.requeue(None, entry, Return::Failed, now, &mut Vec::new());
        assert_eq!(requeued, Some(ready_at));
        assert_eq!((queue.ready_len(), queue.unacked_len(), queue.delayed_len()), (0, 0, 1));
        assert_eq!(queue.next_deadline(), Some(ready_at));
        assert!(queue.get(Millis(ready_at.0 - 1), false, &mut Vec::new()).message().is_none());
        now = ready_at;
    }
}

#[test]
fn delayed_messages_become_ready_in_portions() {
    let retry = DelayedRetry { only: None, min: Millis(10), max: Millis(10) };
    let settings = QueueSettings { delayed_retry: Some(retry), ..QueueSettings::default() };
    let mut queue = Queue::new(settings);
    push(&mut queue, 0..3000);
    let taken: Vec<_> =
        std::iter::from_fn(|| queue.get(NOW, false, &mut Vec::new()).message()).collect();
    for entry in taken {
        queue.requeue(None, entry, Return::Released, NOW, &mut Vec::new());
    }
    let due = Millis(NOW.0 + 10);
    for ready in [1024, 2048, 3000] {
        assert_eq!(queue.next_deadline(), Some(due));
        assert!(dispatch(&mut queue, due).is_empty());
        assert_eq!(queue.ready_len(), ready);
    }
    assert_eq!((queue.next_deadline(), queue.delayed_len()), (None, 0));
}

#[test]
fn a_lowered_limit_leaves_delayed_messages_alone() {
    let retry = DelayedRetry { only: None, min: Millis(10), max: Millis(10) };
    let settings = QueueSettings { delayed_retry: Some(retry), ..QueueSettings::default() };
    let mut queue = Queue::new(settings);
    push(&mut queue, 0..2);
    for _ in 0..2 {
        let entry = queue.get(NOW, false, &mut Vec::new()).message().unwrap();
        queue.requeue(None, entry, Return::Released, NOW, &mut Vec::new());
    }
    queue.set_settings(QueueSettings { max_length: Some(1), ..settings });
    assert!(dispatch(&mut queue, NOW).is_empty());
    assert!(!queue.is_shrinking());
    assert_eq!(queue.delayed_len(), 2);
    // They count, so nothing else finds room.
    push(&mut queue, [2]);
    assert_eq!(drops(&dispatch(&mut queue, NOW)), [(2, "maxlen")]);
    assert_eq!(drops(&dispatch(&mut queue, Millis(NOW.0 + 10))), [(0, "maxlen")]);
    assert_eq!(queue.ready_len(), 1);
}

#[test]
fn nothing_is_read_ahead_for_consumers_that_take_nothing() {
    const WINDOW: u64 = 10_000;
    let mut queue = Queue::new(QueueSettings::default());
    queue.add_consumer(ConsumerSpec { prefetch: 1, ..consumer(1) }).unwrap();
    for lsn in 0..600 {
        let stored = Entry { stored: true, ..entry(lsn) };
        assert!(matches!(queue.push(stored, NOW), Pushed::Accepted));
    }
    assert_eq!(deliveries(&dispatch(&mut queue, NOW)), [(1, 0)]);
    let read = |queue: &mut Queue| {
        let request = queue.next_pages(WINDOW)?;
        let mut lsns = request.lsns().to_vec();
        lsns.sort_unstable();
        let messages: Vec<_> =
            lsns.iter().map(|lsn| (*lsn, message(b"body", None, None))).collect();
        assert_eq!(queue.page_in(request, &messages), []);
        Some(lsns.len())
    };
    // Other queues need the memory; this one would have what it reads taken away again.
    assert_eq!(queue.page_out(Lsn(u64::MAX), 0, usize::MAX), 599);
    assert_eq!(read(&mut queue), None);
    queue.settle(Some(ConsumerId(1)), 1, 4);
    assert_eq!(deliveries(&dispatch(&mut queue, NOW)), []);
    assert!(read(&mut queue).is_some_and(|count| count > 0));
    assert_eq!(deliveries(&dispatch(&mut queue, NOW)), [(1, 1)]);
    // Now that something has gone, more is read, until that has to go in its turn.
    while read(&mut queue).is_some() {}
    assert!(queue.page_out(Lsn(u64::MAX), 0, usize::MAX) > 0);
    assert_eq!(read(&mut queue), None);
}

/// Headers take memory as bodies do, and fill pages.
#[test]
fn large_headers_count_as_memory() {
    const HEAD: usize = 100_000;
    let large = |lsn: u64| {
        let id = vec![b'i'; 255];
        let headers =
            leveret_codec::TableBuilder::new().put("h", "x".repeat(HEAD).as_str()).build();
        let properties = Properties {
            headers: Some(headers.as_table()),
            message_id: Some(&id),
            ..Properties::default()
        };
        let mut raw = Vec::new();
        properties.encode(&mut raw);
        let body = Body::Copy(b"body");
        let message = MessageArena::new().message(NOW, "x", "key", &properties, &raw, body);
        Entry { stored: true, ..Entry::new(Lsn(lsn), message) }
    };
    let mut queue = Queue::new(QueueSettings::default());
    for lsn in 0..20 {
        assert!(matches!(queue.push(large(lsn), NOW), Pushed::Accepted));
    }
    let all = queue.memory();
    assert!(all > 20 * HEAD as u64);
    assert_eq!(queue.page_out(Lsn(u64::MAX), 0, usize::MAX), 20);
    assert_eq!(queue.memory(), 0);
    // A page has no more than some: two of these.
    assert!(matches!(queue.get(NOW, true, &mut Vec::new()), Got::Paged));
    let request = queue.front_page().unwrap();
    assert_eq!(request.lsns().len(), 2);
    let messages: Vec<_> = request.lsns().iter().map(|lsn| (*lsn, large(lsn.0).message)).collect();
    assert_eq!(queue.page_in(request, &messages), []);
    assert_eq!(queue.memory(), all / 10);
    let mut gone = 0;
    while let Got::Message(entry) = queue.get(NOW, true, &mut Vec::new()) {
        queue.requeue(None, entry, Return::Released, NOW, &mut Vec::new());
        gone += 1;
        if gone == 2 {
            break;
        }
    }
    assert_eq!(queue.memory(), all / 10);
}

#[test]
fn no_more_is_named_to_be_written_than_a_page_beyond_what_is_asked_for() {
    let mut queue = Queue::new(QueueSettings::default());
    let large = message(&[7; 10_000], None, None);
    for lsn in 0..600 {
        assert!(matches!(queue.push(Entry::new(Lsn(lsn), large.clone()), NOW), Pushed::Accepted));
    }
    let named = |most| queue.spill(0, most).iter().map(|block| block.messages().len()).sum();
    let sizes: [usize; 4] = [1, 300_000, 1_000_000, u64::MAX].map(named);
    // 26 of them are on a page, of 256 KiB.
    assert_eq!(sizes, [26, 52, 104, 600]);
}
