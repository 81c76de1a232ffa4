use std::collections::BTreeSet;

use leveret_codec::{Properties, TableBuilder, Value};

use super::names::NAMES_MAX;
use super::*;
use crate::message::{Body, MessageArena};

mod model;

/// A message of `size` body bytes, published at `time`.
fn message(time: u64, size: usize, filter: Option<&str>) -> Message {
    let headers = filter
        .map(|value| TableBuilder::new().put("x-stream-filter-value", Value::text(value)).build());
    let headers = headers.as_ref().map(|headers| headers.as_table());
    let properties = Properties { headers, ..Properties::default() };
    let mut raw = Vec::new();
    properties.encode(&mut raw);
    let body = vec![b'x'; size];
    MessageArena::new().message(Millis(time), "", "s", &properties, &raw, Body::Copy(&body))
}

fn reader(id: u64, start: StartAt) -> ReaderSpec {
    ReaderSpec { id: ConsumerId(id), prefetch: 1000, start, filter: None, name: None }
}

fn named(id: u64, name: &str) -> ReaderSpec {
    ReaderSpec { name: Some(name.into()), ..reader(id, StartAt::Next) }
}

/// Turns away whom it is told to.
#[derive(Default)]
struct TestGate {
    closed: BTreeSet<u64>,
    /// Those it was asked about in vain.
    turned_away: BTreeSet<u64>,
    admitted: Option<ConsumerId>,
}

impl Gate for TestGate {
    fn admit(&mut self, consumer: ConsumerId) -> Admission {
        assert_eq!(self.admitted, None, "an admission was not used");
        if self.closed.contains(&consumer.0) {
            self.turned_away.insert(consumer.0);
            return Admission::Blocked;
        }
        self.admitted = Some(consumer);
        Admission::Ready
    }

    fn delivered(&mut self, consumer: ConsumerId, _: usize) {
        assert_eq!(self.admitted.take(), Some(consumer));
    }
}

/// Serves until nobody can go on; the offsets each reader got, in order of the runs. On disk are
/// small messages.
fn serve(stream: &mut Stream) -> Vec<(u64, Vec<u64>)> {
    let (mut gate, mut runs) = (TestGate::default(), Vec::new());
    loop {
        while stream.is_behind() {
            let mut allowance = Allowance::default();
            let mut run = Vec::new();
            while let Some(id) = stream.serve(&mut gate, &mut allowance, &mut run) {
                runs.push((id.0, run.drain(..).map(|entry| entry.lsn.0).collect()));
            }
        }
        let Some(request) = stream.next_pages(u64::MAX) else { return runs };
        let read = |lsn: &Lsn| (*lsn, message(1000, 1, None));
        let messages: Vec<_> = request.lsns().iter().map(read).collect();
        stream.page_in(&request, &messages);
    }
}

/// What one reader gets.
fn offsets(stream: &mut Stream, id: u64) -> Vec<u64> {
    let runs = serve(stream).into_iter().filter(|(of, _)| *of == id);
    runs.flat_map(|(_, offsets)| offsets).collect()
}

/// A stream of `count` messages, published a millisecond apart from 1000 on, all committed.
fn stream_of(count: u64, settings: StreamSettings) -> Stream {
    let mut stream = Stream::new(settings);
    for number in 0..count {
        stream.begin_chunk();
        assert_eq!(stream.append(Lsn(number), message(1000 + number, 10, None)), number);
    }
    stream.commit(Lsn(count));
    stream
}

fn stream() -> Stream {
    stream_of(10, StreamSettings::default())
}

fn start_of(stream: &mut Stream, start: StartAt) -> Vec<u64> {
    stream.add_reader(reader(1, start));
    let got = offsets(stream, 1);
    stream.remove_reader(ConsumerId(1));
    got
}

/// What has changed of names, taken.
fn changes(stream: &mut Stream) -> Vec<(String, Option<u64>)> {
    let mut changes = Vec::new();
    stream.take_changed_names(&mut changes);
    changes.into_iter().map(|change| (change.name.to_string(), change.offset)).collect()
}

#[test]
fn readers_begin_where_they_ask_to() {
    let mut stream = stream();
    let all: Vec<u64> = (0..10).collect();
    let cases = [
        (StartAt::First, &all[..]),
        (StartAt::Last, &[9]),
        (StartAt::Next, &[]),
        (StartAt::Offset(0), &all),
        (StartAt::Offset(7), &[7, 8, 9]),
        (StartAt::Offset(10), &[]),
        (StartAt::Time(Millis(0)), &all),
        (StartAt::Time(Millis(1008)), &[8, 9]),
        (StartAt::Time(Millis(1010)), &[]),
    ];
    for (start, expected) in cases {
        assert_eq!(start_of(&mut stream, start), expected, "{start:?}");
    }
}

#[test]
fn an_empty_stream_has_nothing_to_begin_with() {
    let starts = [
        StartAt::First,
        StartAt::Last,
        StartAt::Next,
        StartAt::Offset(0),
        StartAt::Time(Millis(5)),
    ];
    for start in starts {
        let mut stream = Stream::new(StreamSettings::default());
        stream.add_reader(reader(1, start));
        assert_eq!(serve(&mut stream), []);
        stream.append(Lsn(5), message(1, 1, None));
        stream.commit(Lsn(5));
        assert_eq!(serve(&mut stream), [(1, vec![0])], "{start:?}");
    }
}

#[test]
fn an_offset_to_come_is_waited_for() {
    let mut stream = stream();
    stream.add_reader(reader(1, StartAt::Offset(12)));
    for number in 10..15 {
        stream.append(Lsn(number), message(2000, 1, None));
        stream.commit(Lsn(number));
    }
    assert_eq!(offsets(&mut stream, 1), [12, 13, 14]);
}

#[test]
fn the_last_chunk_is_what_was_appended_together() {
    let mut stream = stream();
    for chunk in [&[10_u64, 11][..], &[12, 13, 14]] {
        stream.begin_chunk();
        for number in chunk {
            stream.append(Lsn(*number), message(1100, 1, None));
        }
    }
    stream.commit(Lsn(14));
    assert_eq!(start_of(&mut stream, StartAt::Last), [12, 13, 14]);
    stream.begin_chunk();
    assert_eq!(start_of(&mut stream, StartAt::Last), [12, 13, 14]);
}

#[test]
fn restored_messages_of_a_millisecond_are_a_chunk() {
    let mut stream = stream();
    // The clock ran backwards once.
    for (number, time) in [(10, 1100), (11, 1100), (12, 1050), (13, 1100)] {
        assert_eq!(stream.restore(Lsn(number), Millis(time), 50), number);
    }
    assert_eq!(start_of(&mut stream, StartAt::Last), [10, 11, 12, 13]);
    assert_eq!(start_of(&mut stream, StartAt::Time(Millis(1100))), [10, 11, 12, 13]);
    assert_eq!(start_of(&mut stream, StartAt::Time(Millis(1101))), [0; 0]);
    stream.append(Lsn(14), message(1100, 1, None));
    stream.commit(Lsn(14));
    assert_eq!(start_of(&mut stream, StartAt::Last), [14]);
}

#[test]
fn what_is_not_committed_is_not_read() {
    let mut stream = stream();
    stream.add_reader(reader(1, StartAt::Offset(9)));
    for number in 10..14 {
        stream.append(Lsn(number * 10), message(2000, 1, None));
    }
    assert_eq!(stream.uncommitted(), Some(Lsn(100)));
    assert_eq!(offsets(&mut stream, 1), [9]);
    stream.commit(Lsn(115));
    assert_eq!(offsets(&mut stream, 1), [10, 11]);
    stream.commit(Lsn(5));
    assert_eq!((stream.committed_offset(), stream.uncommitted()), (12, Some(Lsn(120))));
    stream.commit(Lsn(130));
    assert_eq!(offsets(&mut stream, 1), [12, 13]);
    assert_eq!(stream.uncommitted(), None);
}

#[test]
fn reading_takes_nothing_away_and_every_reader_is_told_of_news() {
    let mut stream = stream();
    for id in 1..=100 {
        stream.add_reader(reader(id, StartAt::Next));
    }
    stream.append(Lsn(10), message(2000, 1, None));
    stream.commit(Lsn(10));
    let runs: Vec<_> = (1..=100).map(|id| (id, vec![10])).collect();
    assert_eq!(serve(&mut stream), runs);
    assert_eq!((stream.len(), stream.unsettled()), (11, 100));
}

#[test]
fn a_reader_has_credit_for_its_prefetch_count() {
    let mut stream = stream();
    stream.add_reader(ReaderSpec { prefetch: 3, ..reader(1, StartAt::First) });
    assert_eq!(offsets(&mut stream, 1), [0, 1, 2]);
    assert!(!stream.is_behind());
    stream.settle(ConsumerId(1), Settled::Done, [1].into_iter());
    assert_eq!(offsets(&mut stream, 1), [3]);
    stream.settle(ConsumerId(1), Settled::Returned, [0, 2].into_iter());
    assert_eq!(offsets(&mut stream, 1), [4, 5]);
    assert_eq!(stream.unsettled(), 3);
    // Nobody's.
    stream.settle(ConsumerId(2), Settled::Done, [3].into_iter());
    stream.remove_reader(ConsumerId(1));
    assert_eq!(stream.unsettled(), 0);
}

#[test]
fn readers_far_behind_take_turns_and_bounded_time() {
    let mut stream = stream_of(10_000, StreamSettings::default());
    for id in 1..=2 {
        stream.add_reader(ReaderSpec { prefetch: u16::MAX, ..reader(id, StartAt::First) });
    }
    let (mut allowance, mut run) = (Allowance::default(), Vec::new());
    let mut turns = Vec::new();
    while let Some(id) = stream.serve(&mut TestGate::default(), &mut allowance, &mut run) {
        turns.push((id.0, std::mem::take(&mut run).len()));
    }
    let expected: Vec<_> = [1, 2].into_iter().cycle().take(32).map(|id| (id, 128)).collect();
    assert_eq!(turns, expected);
    assert!(stream.is_behind());
}

#[test]
fn filters_that_match_nothing_take_bounded_time_too() {
    let mut stream = stream_of(10_000, StreamSettings::default());
    let filter = Some(Filter::new([&b"none"[..]], false));
    stream.add_reader(ReaderSpec { filter, ..reader(1, StartAt::First) });
    for _ in 0..2 {
        let mut run = Vec::new();
        let served = stream.serve(&mut TestGate::default(), &mut Allowance::default(), &mut run);
        assert_eq!(served, None);
        assert!(stream.is_behind());
    }
    assert_eq!(stream.readers()[0].next, 2 * 4096);
    assert_eq!(serve(&mut stream), []);
    assert_eq!(stream.readers()[0].next, 10_000);
}

#[test]
fn a_blocked_reader_is_passed_over() {
    let mut stream = stream();
    stream.add_reader(reader(1, StartAt::First));
    stream.add_reader(reader(2, StartAt::Last));
    let mut gate = TestGate { closed: [1].into(), ..TestGate::default() };
    let (mut allowance, mut run) = (Allowance::default(), Vec::new());
    assert_eq!(stream.serve(&mut gate, &mut allowance, &mut run), Some(ConsumerId(2)));
    assert_eq!(stream.serve(&mut gate, &mut allowance, &mut run), None);
    assert!(!stream.is_behind());
    stream.unblock(ConsumerId(1));
    assert_eq!(offsets(&mut stream, 1).len(), 10);
}

#[test]
fn filters_choose_by_the_value_of_a_header() {
    let mut stream = Stream::new(StreamSettings::default());
    for (number, value) in (0..).zip([Some("a"), Some("b"), None, Some(""), Some("a")]) {
        stream.append(Lsn(number), message(number, 1, value));
    }
    stream.commit(Lsn(9));
    let cases: [(&[&str], bool, &[u64]); 7] = [
        (&["a"], false, &[0, 4]),
        (&["b", "a"], false, &[0, 1, 4]),
        (&["a"], true, &[0, 2, 3, 4]),
        (&["x"], false, &[]),
        (&[], false, &[]),
        (&[], true, &[2, 3]),
        (&[""], false, &[2, 3]),
    ];
    for (values, match_unfiltered, expected) in cases {
        let values = values.iter().map(|value| value.as_bytes());
        let filter = Some(Filter::new(values, match_unfiltered));
        stream.add_reader(ReaderSpec { filter, ..reader(1, StartAt::First) });
        assert_eq!(offsets(&mut stream, 1), expected);
        stream.remove_reader(ConsumerId(1));
    }
}

/// How many bytes the messages of [`stream_of`] count for.
fn message_bytes() -> u64 {
    (message(1000, 10, None).stored_len() as u64).next_multiple_of(8)
}

fn retain(stream: &mut Stream, now: u64) -> Vec<u64> {
    let mut dropped = Vec::new();
    while stream.next_deadline().is_some_and(|at| at.0 <= now) {
        let before = dropped.len();
        stream.retain(Millis(now), &mut dropped);
        assert!(dropped.len() > before);
    }
    dropped.into_iter().map(|lsn| lsn.0).collect()
}

#[test]
fn old_segments_leave_as_a_whole_and_the_last_one_stays() {
    let three = StreamSettings {
        max_segment_bytes: 3 * message_bytes() - 5,
        max_age: Some(Millis(100)),
        ..StreamSettings::default()
    };
    let mut stream = stream_of(10, three);
    assert_eq!(stream.segments(), 4);
    assert_eq!(stream.next_deadline(), Some(Millis(1102)));
    assert_eq!(retain(&mut stream, 1101), [0; 0]);
    assert_eq!(retain(&mut stream, 1102), [0, 1, 2]);
    assert_eq!((stream.first_offset(), stream.len()), (3, 7));
    assert_eq!(retain(&mut stream, 9999), [3, 4, 5, 6, 7, 8]);
    assert_eq!(stream.next_deadline(), None);
    assert_eq!((stream.first_offset(), stream.next_offset(), stream.segments()), (9, 10, 1));
    assert_eq!(stream.bytes(), message_bytes());
}

#[test]
fn segments_leave_while_there_are_too_many_bytes() {
    let two = StreamSettings {
        max_segment_bytes: 2 * message_bytes(),
        max_length_bytes: Some(5 * message_bytes()),
        ..StreamSettings::default()
    };
    let mut stream = stream_of(10, two);
    assert_eq!(retain(&mut stream, 0), [0, 1, 2, 3, 4, 5]);
    let nothing = StreamSettings { max_length_bytes: Some(0), ..two };
    stream.set_settings(nothing);
    assert_eq!(retain(&mut stream, 0), [6, 7]);
}

#[test]
fn what_is_not_committed_does_not_leave() {
    let one = StreamSettings {
        max_segment_bytes: 1,
        max_length_bytes: Some(0),
        ..StreamSettings::default()
    };
    let mut stream = Stream::new(one);
    for number in 0..5 {
        stream.append(Lsn(number), message(0, 1, None));
    }
    assert_eq!((stream.segments(), retain(&mut stream, 9)), (5, vec![]));
    stream.commit(Lsn(2));
    assert_eq!(retain(&mut stream, 9), [0, 1, 2]);
}

#[test]
fn a_segment_of_many_messages_leaves_in_portions() {
    let huge = StreamSettings {
        max_segment_bytes: 9000 * message_bytes(),
        max_length_bytes: Some(0),
        ..StreamSettings::default()
    };
    let mut stream = stream_of(9001, huge);
    for portion in [4096, 4096, 808] {
        assert_eq!(stream.next_deadline(), Some(Millis(0)));
        let mut dropped = Vec::new();
        stream.retain(Millis(0), &mut dropped);
        assert_eq!(dropped.len(), portion);
    }
    assert_eq!((stream.next_deadline(), stream.len()), (None, 1));
}

#[test]
fn a_reader_overtaken_by_retention_goes_on_with_what_is_there() {
    let single = StreamSettings { max_segment_bytes: 1, ..StreamSettings::default() };
    let mut stream = stream_of(10, single);
    stream.add_reader(ReaderSpec { prefetch: 2, ..reader(1, StartAt::First) });
    assert_eq!(offsets(&mut stream, 1), [0, 1]);
    stream.set_settings(StreamSettings { max_length_bytes: Some(3 * message_bytes()), ..single });
    assert_eq!(retain(&mut stream, 0).len(), 7);
    stream.settle(ConsumerId(1), Settled::Done, [0, 1].into_iter());
    assert_eq!(offsets(&mut stream, 1), [7, 8]);
}

#[test]
fn offsets_go_on_where_they_were() {
    let mut stream = Stream::new(StreamSettings::default());
    stream.begin_at(100);
    assert_eq!(stream.append(Lsn(7), message(0, 1, None)), 100);
    stream.commit(Lsn(7));
    assert_eq!(start_of(&mut stream, StartAt::First), [100]);
    assert_eq!(start_of(&mut stream, StartAt::Offset(50)), [100]);
}

#[test]
fn a_named_reader_goes_on_where_it_was() {
    let mut stream = stream();
    stream.add_reader(ReaderSpec { start: StartAt::Offset(2), ..named(1, "n") });
    assert_eq!(changes(&mut stream), [("n".into(), Some(2))]);
    assert_eq!(offsets(&mut stream, 1), [2, 3, 4, 5, 6, 7, 8, 9]);
    stream.settle(ConsumerId(1), Settled::Done, [3, 4, 7].into_iter());
    assert!(!stream.has_changed_names(), "the oldest is open");
    stream.settle(ConsumerId(1), Settled::Done, [2].into_iter());
    assert_eq!(changes(&mut stream), [("n".into(), Some(5))]);
    stream.remove_reader(ConsumerId(1));
    // What it holds may be acknowledged when it has gone.
    stream.settle(ConsumerId(1), Settled::Done, [5].into_iter());
    assert_eq!(changes(&mut stream), [("n".into(), Some(6))]);
    stream.settle(ConsumerId(1), Settled::Returned, [6, 8, 9].into_iter());
    assert_eq!(changes(&mut stream), []);
    assert_eq!(stream.names().collect::<Vec<_>>(), [("n", 6)]);

    stream.add_reader(ReaderSpec { start: StartAt::First, ..named(2, "n") });
    assert_eq!(offsets(&mut stream, 2), [6, 7, 8, 9]);
    stream.settle(ConsumerId(2), Settled::Done, [6, 7, 8, 9].into_iter());
    assert_eq!(changes(&mut stream), [("n".into(), Some(10))]);
}

#[test]
fn a_named_reader_misses_nothing_while_it_is_away() {
    let mut stream = stream();
    stream.add_reader(named(1, "n"));
    stream.remove_reader(ConsumerId(1));
    stream.append(Lsn(10), message(0, 1, None));
    stream.commit(Lsn(10));
    stream.add_reader(named(2, "n"));
    assert_eq!(offsets(&mut stream, 2), [10]);
}

#[test]
fn what_a_named_reader_gives_back_it_gets_again_when_it_returns() {
    let mut stream = stream();
    stream.add_reader(ReaderSpec { start: StartAt::First, ..named(1, "n") });
    serve(&mut stream);
    stream.settle(ConsumerId(1), Settled::Done, [0, 1].into_iter());
    stream.settle(ConsumerId(1), Settled::Returned, [2].into_iter());
    stream.settle(ConsumerId(1), Settled::Done, (3..10).collect::<Vec<_>>().into_iter());
    assert_eq!(changes(&mut stream), [("n".into(), Some(2))]);
    stream.remove_reader(ConsumerId(1));
    stream.add_reader(named(2, "n"));
    assert_eq!(offsets(&mut stream, 2), (2..10).collect::<Vec<_>>());
}

#[test]
fn of_several_readers_with_one_name_the_latest_has_it() {
    let mut stream = stream();
    stream.add_reader(ReaderSpec { start: StartAt::First, ..named(1, "n") });
    stream.add_reader(ReaderSpec { start: StartAt::First, ..named(2, "n") });
    assert_eq!(serve(&mut stream).len(), 2);
    changes(&mut stream);
    stream.settle(ConsumerId(1), Settled::Done, (0..10).collect::<Vec<_>>().into_iter());
    stream.remove_reader(ConsumerId(1));
    assert_eq!(changes(&mut stream), []);
    stream.settle(ConsumerId(2), Settled::Done, [0].into_iter());
    assert_eq!(changes(&mut stream), [("n".into(), Some(1))]);
}

#[test]
fn positions_move_past_what_a_filter_leaves_out() {
    let mut stream = stream();
    let filter = Some(Filter::new([&b"none"[..]], false));
    stream.add_reader(ReaderSpec { filter, start: StartAt::First, ..named(1, "n") });
    serve(&mut stream);
    stream.remove_reader(ConsumerId(1));
    assert_eq!(changes(&mut stream), [("n".into(), Some(10))]);
}

#[test]
fn a_restored_name_is_nothing_new() {
    let mut stream = stream();
    stream.restore_name("n", 8);
    assert!(!stream.has_changed_names());
    stream.add_reader(named(1, "n"));
    assert!(!stream.has_changed_names());
    assert_eq!(offsets(&mut stream, 1), [8, 9]);
}

#[test]
fn the_names_unused_for_longest_are_forgotten() {
    let mut stream = stream();
    let count = NAMES_MAX as u64;
    for id in 0..count {
        stream.add_reader(named(id, &format!("n{id}")));
        if id > 0 {
            stream.remove_reader(ConsumerId(id));
        }
    }
    assert_eq!(changes(&mut stream).len(), NAMES_MAX);
    stream.add_reader(named(count, "new"));
    assert_eq!(changes(&mut stream), [("n1".into(), None), ("new".into(), Some(10))]);
    assert_eq!(stream.names().count(), NAMES_MAX);
}
