//! Random histories of everything a stream can do, compared with a model that keeps plain lists
//! and searches them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::histories::histories;

#[derive(Clone, Debug)]
enum Step {
    /// A message of this size, with this filter value, so many milliseconds after the last.
    Append {
        size: usize,
        value: Option<&'static str>,
        after: u64,
        begins_chunk: bool,
    },
    /// All but the latest few.
    Commit(u64),
    /// Serves everyone until nobody can go on.
    Serve,
    /// Serves once, with so little allowance.
    ServeSome(Allowance),
    AddReader {
        prefetch: u16,
        start: Start,
        filter: Option<(Vec<&'static str>, bool)>,
        name: Option<&'static str>,
    },
    RemoveReader(Index),
    /// Makes the gate turn a reader away.
    Close(Index),
    Unblock(Index),
    /// One delivery, whoever has it.
    Settle(Index, Settled),
    SettleAllOf(Index, Settled),
    Retain(u64),
    Settings(StreamSettings),
    Restart,
    /// What is committed, but for the latest few, is paged out.
    PageOut {
        keep: u64,
        most: usize,
        unwritten: u64,
    },
    /// What readers want is read, unless the disk fails.
    Read {
        window: u64,
        fails: bool,
    },
}

/// Where to begin, without knowing what offsets and times there are.
#[derive(Clone, Copy, Debug)]
enum Start {
    First,
    Last,
    Next,
    /// Relative to the next offset.
    Offset(i64),
    /// Relative to the time of the last message.
    Time(i64),
}

#[derive(Clone, Debug)]
struct Line {
    lsn: u64,
    offset: u64,
    bytes: u64,
    time: u64,
    value: Option<&'static str>,
    begins_chunk: bool,
}

#[derive(Clone, Debug)]
struct ModelReader {
    id: u64,
    prefetch: u16,
    next: u64,
    filter: Option<(Vec<&'static str>, bool)>,
    name: Option<&'static str>,
    /// Deliveries and how they were settled.
    deliveries: Vec<(u64, Option<Settled>)>,
    is_blocked: bool,
    is_gone: bool,
}

#[derive(Debug, Default)]
struct Model {
    settings: StreamSettings,
    segments: Vec<Vec<Line>>,
    next: u64,
    committed: u64,
    /// Those that have gone as well.
    readers: Vec<ModelReader>,
    closed: BTreeSet<u64>,
    /// Offset and owner by name.
    names: BTreeMap<&'static str, (u64, Option<u64>)>,
}

impl ModelReader {
    fn open(&self) -> usize {
        self.deliveries.iter().filter(|(_, settled)| settled.is_none()).count()
    }

    fn wants(&self, line: &Line) -> bool {
        let Some((values, match_unfiltered)) = &self.filter else { return true };
        match line.value {
            None | Some("") => *match_unfiltered || values.contains(&""),
            Some(value) => values.contains(&value),
        }
    }

    /// The first offset it is not done with.
    fn position(&self) -> u64 {
        let undone = self.deliveries.iter().filter(|(_, settled)| *settled != Some(Settled::Done));
        undone.map(|(offset, _)| *offset).chain([self.next]).min().unwrap()
    }
}

impl Model {
    fn lines(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.segments.iter().flatten()
    }

    fn first(&self) -> u64 {
        self.lines().next().map_or(self.next, |line| line.offset)
    }

    fn bytes(&self) -> u64 {
        self.lines().map(|line| line.bytes).sum()
    }

    fn append(&mut self, mut line: Line) {
        let last = self.lines().next_back().map_or(0, |last| last.time);
        line.time = line.time.max(last);
        self.next += 1;
        match self.segments.last_mut() {
            Some(segment)
                if segment.iter().map(|line| line.bytes).sum::<u64>()
                    < self.settings.max_segment_bytes =>
            {
                segment.push(line);
            }
            _ => self.segments.push(vec![line]),
        }
    }

    fn start(&self, start: StartAt) -> u64 {
        match start {
            StartAt::First => self.first(),
            StartAt::Next => self.next,
            StartAt::Offset(offset) => offset.max(self.first()),
            StartAt::Time(time) => {
                let found = self.lines().find(|line| line.time >= time.0);
                found.map_or(self.next, |line| line.offset)
            }
            StartAt::Last => {
                let Some(segment) = self.segments.last() else { return self.next };
                let begin = segment.iter().rfind(|line| line.begins_chunk);
                begin.unwrap_or(&segment[0]).offset
            }
        }
    }

    /// What a reader gets until it can get no more.
    fn read(&mut self, id: u64) -> Vec<u64> {
        let lines: Vec<Line> = self.lines().cloned().collect();
        let (first, committed, is_closed) =
            (self.first(), self.committed, self.closed.contains(&id));
        let reader = self.reader(id);
        let mut got = Vec::new();
        loop {
            if reader.is_blocked || reader.open() >= usize::from(reader.prefetch) {
                return got;
            }
            if reader.next >= committed {
                return got;
            }
            reader.next = reader.next.max(first);
            if reader.next >= committed {
                return got;
            }
            let Some(line) = lines.iter().find(|line| line.offset == reader.next) else {
                return got;
            };
            if reader.wants(line) {
                if is_closed {
                    reader.is_blocked = true;
                    return got;
                }
                got.push(reader.next);
                reader.deliveries.push((reader.next, None));
            }
            reader.next += 1;
        }
    }

    fn reader(&mut self, id: u64) -> &mut ModelReader {
        self.readers.iter_mut().find(|reader| reader.id == id).unwrap()
    }

    fn live(&self) -> Vec<u64> {
        let live = self.readers.iter().filter(|reader| !reader.is_gone);
        live.map(|reader| reader.id).collect()
    }

    fn store(&mut self, id: u64) {
        let reader = self.reader(id);
        let position = reader.position();
        let Some(name) = reader.name else { return };
        let (offset, owner) = self.names.get_mut(name).unwrap();
        if *owner == Some(id) {
            *offset = position;
        }
    }

    fn retain(&mut self, now: u64) -> Vec<u64> {
        let mut dropped = Vec::new();
        loop {
            let [oldest, second, ..] = &self.segments[..] else { return dropped };
            let is_excessive =
                self.settings.max_length_bytes.is_some_and(|most| self.bytes() > most)
                    || self
                        .settings
                        .max_age
                        .is_some_and(|age| oldest.last().unwrap().time + age.0 <= now);
            if !is_excessive || second[0].offset > self.committed {
                return dropped;
            }
            dropped.extend(self.segments.remove(0).into_iter().map(|line| line.lsn));
        }
    }
}

struct Pair {
    stream: Stream,
    model: Model,
    gate: TestGate,
    now: u64,
    next_lsn: u64,
    next_reader: u64,
    /// Reader and offset of deliveries that are not settled.
    held: Vec<(u64, u64)>,
    /// Names as recorded.
    recorded: BTreeMap<String, u64>,
    /// Nothing was appended since.
    is_restarted: bool,
    /// What can be read back.
    disk: BTreeMap<Lsn, Message>,
}

impl Pair {
    fn new() -> Self {
        Self {
            stream: Stream::new(StreamSettings::default()),
            model: Model::default(),
            gate: TestGate::default(),
            now: 1000,
            next_lsn: 1,
            next_reader: 1,
            held: Vec::new(),
            recorded: BTreeMap::new(),
            is_restarted: true,
            disk: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append { size, value, after, begins_chunk } => {
                if begins_chunk {
                    self.stream.begin_chunk();
                }
                self.now += after;
                // Others' messages have numbers in between.
                self.next_lsn += 1 + self.now % 3;
                let (lsn, offset) = (self.next_lsn, self.model.next);
                let message = message(self.now, size, value);
                let bytes = (message.stored_len() as u64).next_multiple_of(8);
                self.disk.insert(Lsn(lsn), message.clone());
                assert_eq!(self.stream.append(Lsn(lsn), message), offset);
                let time = self.now;
                let begins_chunk = std::mem::take(&mut self.is_restarted) || begins_chunk;
                self.model.append(Line { lsn, offset, bytes, time, value, begins_chunk });
            }
            Step::Commit(but) => {
                let lsn = self.next_lsn.saturating_sub(but);
                self.stream.commit(Lsn(lsn));
                let committed = self.model.lines().filter(|line| line.lsn <= lsn);
                let committed = committed.map(|line| line.offset + 1).max().unwrap_or_default();
                self.model.committed = self.model.committed.max(committed);
            }
            Step::Serve => self.serve(),
            Step::ServeSome(allowance) => self.serve_some(allowance),
            Step::AddReader { prefetch, start, filter, name } => {
                self.add_reader(prefetch, start, filter, name);
            }
            Step::RemoveReader(index) => {
                let Some(id) = self.pick(index) else { return };
                self.stream.remove_reader(ConsumerId(id));
                self.model.reader(id).is_gone = true;
                self.model.store(id);
            }
            Step::Close(index) => {
                let Some(id) = self.pick(index) else { return };
                self.gate.closed.insert(id);
                self.model.closed.insert(id);
            }
            Step::Unblock(index) => {
                let Some(id) = self.pick(index) else { return };
                self.gate.closed.remove(&id);
                self.model.closed.remove(&id);
                self.stream.unblock(ConsumerId(id));
                self.model.reader(id).is_blocked = false;
            }
            Step::Settle(index, how) => {
                if !self.held.is_empty() {
                    let (id, offset) = self.held[index.index(self.held.len())];
                    self.settle(id, how, vec![offset]);
                }
            }
            Step::SettleAllOf(index, how) => {
                if !self.held.is_empty() {
                    let (id, _) = self.held[index.index(self.held.len())];
                    let all = self.held.iter().filter(|(of, _)| *of == id);
                    let all = all.map(|(_, offset)| *offset).collect();
                    self.settle(id, how, all);
                }
            }
            Step::Retain(after) => {
                self.now += after;
                assert_eq!(retain(&mut self.stream, self.now), self.model.retain(self.now));
            }
            Step::Settings(settings) => {
                self.stream.set_settings(settings);
                self.model.settings = settings;
            }
            Step::Restart => self.restart(),
            Step::PageOut { keep, most, unwritten } => {
                let before = self.stream.memory();
                let readable = self.next_lsn.saturating_sub(unwritten);
                let gone = self.stream.page_out(Lsn(readable), keep, most);
                assert!(self.stream.memory() + gone * 120 <= before);
            }
            Step::Read { window, fails } => drop(self.read(window, fails)),
        }
    }

    /// Reads what readers want. Whether there was anything.
    fn read(&mut self, window: u64, fails: bool) -> bool {
        let is_wanted = self.stream.wants_pages();
        let Some(request) = self.stream.next_pages(window) else { return is_wanted };
        assert!(is_wanted && !self.stream.wants_pages(), "one at a time");
        if fails {
            self.stream.abandon();
            return true;
        }
        let mut lsns = request.lsns().to_vec();
        lsns.sort_unstable();
        let messages = lsns.into_iter().map(|lsn| (lsn, self.disk[&lsn].clone()));
        let messages: Vec<_> = messages.collect();
        assert_eq!(self.stream.page_in(&request, &messages), []);
        true
    }

    fn serve(&mut self) {
        let mut got: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        while self.stream.is_behind() || self.read(150, false) {
            let (mut allowance, mut run) = (Allowance::default(), Vec::new());
            while let Some(id) = self.stream.serve(&mut self.gate, &mut allowance, &mut run) {
                let offsets = run.drain(..).map(|entry| entry.lsn.0);
                got.entry(id.0).or_default().extend(offsets);
            }
        }
        for id in self.model.live() {
            let expected = self.model.read(id);
            let got = got.remove(&id).unwrap_or_default();
            assert_eq!(got, expected, "reader {id}");
            self.held.extend(got.into_iter().map(|offset| (id, offset)));
        }
        assert_eq!(got, BTreeMap::new());
    }

    /// Those served get a part of what they would get; to the model they have a smaller world.
    fn serve_some(&mut self, mut allowance: Allowance) {
        let most = allowance.messages;
        let mut run = Vec::new();
        let mut looked_at = 0;
        self.gate.turned_away.clear();
        let before: BTreeMap<_, _> = positions(&self.stream);
        while let Some(id) = self.stream.serve(&mut self.gate, &mut allowance, &mut run) {
            for entry in run.drain(..) {
                self.held.push((id.0, entry.lsn.0));
                self.model.reader(id.0).deliveries.push((entry.lsn.0, None));
            }
        }
        let first = self.model.first();
        for (id, next) in positions(&self.stream) {
            let before = before[&id];
            if next != before {
                looked_at += next - before.max(first);
            }
            let lines: Vec<Line> = self.model.lines().cloned().collect();
            let is_turned_away = self.gate.turned_away.contains(&id);
            let reader = self.model.reader(id);
            let seen = lines.iter().filter(|line| (before..next).contains(&line.offset));
            let wanted: Vec<u64> =
                seen.filter(|line| reader.wants(line)).map(|line| line.offset).collect();
            let got = reader.deliveries.iter().map(|(offset, _)| *offset);
            let got: Vec<u64> = got.filter(|offset| (before..next).contains(offset)).collect();
            assert_eq!(got, wanted, "reader {id}");
            assert!(reader.open() <= usize::from(reader.prefetch));
            reader.next = next;
            reader.is_blocked |= is_turned_away;
        }
        assert!(looked_at <= most as u64);
    }

    fn add_reader(
        &mut self,
        prefetch: u16,
        start: Start,
        filter: Option<(Vec<&'static str>, bool)>,
        name: Option<&'static str>,
    ) {
        let id = self.next_reader;
        self.next_reader += 1;
        let last = self.model.lines().next_back().map_or(0, |line| line.time);
        let start = match start {
            Start::First => StartAt::First,
            Start::Last => StartAt::Last,
            Start::Next => StartAt::Next,
            Start::Offset(by) => StartAt::Offset(self.model.next.saturating_add_signed(by)),
            Start::Time(by) => StartAt::Time(Millis(last.saturating_add_signed(by))),
        };
        self.stream.add_reader(ReaderSpec {
            id: ConsumerId(id),
            prefetch,
            start,
            filter: filter.as_ref().map(|(values, match_unfiltered)| {
                Filter::new(values.iter().map(|value| value.as_bytes()), *match_unfiltered)
            }),
            name: name.map(Into::into),
        });
        let mut next = self.model.start(start);
        if let Some(name) = name {
            let (offset, owner) = self.model.names.entry(name).or_insert((next, None));
            *owner = Some(id);
            next = *offset;
        }
        self.model.readers.push(ModelReader {
            id,
            prefetch,
            next,
            filter,
            name,
            deliveries: Vec::new(),
            is_blocked: false,
            is_gone: false,
        });
    }

    fn settle(&mut self, id: u64, how: Settled, offsets: Vec<u64>) {
        self.held.retain(|(of, offset)| *of != id || !offsets.contains(offset));
        let reader = self.model.reader(id);
        for (offset, settled) in &mut reader.deliveries {
            if offsets.contains(offset) && settled.is_none() {
                *settled = Some(how);
            }
        }
        self.model.store(id);
        self.stream.settle(ConsumerId(id), how, offsets.into_iter());
    }

    /// What is not committed is lost, and so is who read; the rest comes back.
    fn restart(&mut self) {
        self.record();
        let settings = *self.stream.settings();
        let committed = self.model.committed;
        self.stream = Stream::new(settings);
        self.stream.begin_at(self.model.first().min(committed));
        let lines: Vec<Line> =
            self.model.lines().filter(|line| line.offset < committed).cloned().collect();
        self.model.segments.clear();
        self.model.next = self.stream.next_offset();
        let mut last = None;
        for mut line in lines {
            line.begins_chunk = last.replace(line.time) < Some(line.time);
            let offset = self.stream.restore(Lsn(line.lsn), Millis(line.time), line.bytes);
            assert_eq!(offset, line.offset);
            self.model.append(line);
        }
        self.is_restarted = true;
        self.model.readers.clear();
        self.model.closed.clear();
        self.gate = TestGate::default();
        self.held.clear();
        for (name, offset) in &self.recorded {
            self.stream.restore_name(name, *offset);
        }
        self.model.names.values_mut().for_each(|(_, owner)| *owner = None);
    }

    fn record(&mut self) {
        for (name, offset) in changes(&mut self.stream) {
            let offset = offset.expect("there is room for these names");
            self.recorded.insert(name, offset);
        }
    }

    fn pick(&self, index: Index) -> Option<u64> {
        let live = self.model.live();
        (!live.is_empty()).then(|| live[index.index(live.len())])
    }

    fn check(&mut self) {
        let (stream, model) = (&self.stream, &self.model);
        assert_eq!(stream.first_offset(), model.first());
        assert_eq!(stream.next_offset(), model.next);
        assert_eq!(stream.committed_offset(), model.committed);
        assert_eq!(stream.bytes(), model.bytes());
        assert_eq!(stream.segments(), model.segments.len());
        let shown = stream.browse(0, usize::MAX, u64::MAX);
        let committed = model.lines().filter(|line| line.offset < model.committed);
        assert!(
            shown
                .iter()
                .map(|it| (it.offset, it.lsn.0))
                .eq(committed.map(|it| (it.offset, it.lsn)))
        );
        let in_memory = shown.iter().filter_map(|it| it.message.as_ref());
        let bytes = |message: &Message| (message.stored_len() as u64).next_multiple_of(8);
        let committed_memory: u64 = in_memory.map(|message| bytes(message) + 120).sum();
        let uncommitted = model.lines().filter(|line| line.offset >= model.committed);
        let memory = committed_memory + uncommitted.map(|line| line.bytes + 120).sum::<u64>();
        assert_eq!(stream.memory(), memory);
        let middle = model.first() + (model.committed - model.first()) / 2;
        let some = stream.browse(middle, 2, u64::MAX);
        let expected = (middle..model.committed).take(2);
        assert!(some.iter().map(|it| it.offset).eq(expected));
        let live = model.readers.iter().filter(|reader| !reader.is_gone);
        let unsettled: usize = live.clone().map(ModelReader::open).sum();
        assert_eq!(stream.unsettled(), unsettled as u64);
        assert_eq!(stream.reader_count(), live.count());
        self.record();
        let names =
            self.model.names.iter().map(|(name, (offset, _))| ((*name).to_owned(), *offset));
        assert_eq!(self.recorded, names.collect());
    }
}

fn positions(stream: &Stream) -> BTreeMap<u64, u64> {
    stream.readers().into_iter().map(|reader| (reader.id.0, reader.next)).collect()
}

const VALUES: &[&str] = &["a", "b", ""];

fn settled() -> impl Strategy<Value = Settled> {
    prop_oneof![4 => Just(Settled::Done), 1 => Just(Settled::Returned)]
}

fn settings() -> impl Strategy<Value = StreamSettings> {
    (option::of(0..60_u64), option::of(0..1500_u64), 0..400_u64).prop_map(
        |(age, length, segment)| StreamSettings {
            max_age: age.map(Millis),
            max_length_bytes: length,
            max_segment_bytes: segment,
        },
    )
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        Just(Start::First),
        Just(Start::Last),
        Just(Start::Next),
        (-12..5_i64).prop_map(Start::Offset),
        (-40..5_i64).prop_map(Start::Time),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let value = || select(VALUES);
    let filter = (vec(value(), 0..3), any::<bool>());
    let allowance =
        (1..20_usize, 1..50_usize).prop_map(|(messages, bytes)| Allowance { messages, bytes });
    prop_oneof![
        10 => (0..40_usize, option::of(value()), 0..5_u64, any::<bool>()).prop_map(
            |(size, value, after, begins_chunk)| Step::Append { size, value, after, begins_chunk }
        ),
        4 => prop_oneof![2 => Just(0_u64), 1 => 0..8_u64].prop_map(Step::Commit),
        4 => Just(Step::Serve),
        2 => allowance.prop_map(Step::ServeSome),
        3 => (
            0..6_u16,
            start(),
            option::of(filter),
            option::weighted(0.4, select(&["n", "m"][..])),
        )
            .prop_map(|(prefetch, start, filter, name)| {
                Step::AddReader { prefetch, start, filter, name }
            }),
        1 => any::<Index>().prop_map(Step::RemoveReader),
        1 => any::<Index>().prop_map(Step::Close),
        2 => any::<Index>().prop_map(Step::Unblock),
        5 => (any::<Index>(), settled()).prop_map(|(index, how)| Step::Settle(index, how)),
        2 => (any::<Index>(), settled()).prop_map(|(index, how)| Step::SettleAllOf(index, how)),
        2 => (0..40_u64).prop_map(Step::Retain),
        1 => settings().prop_map(Step::Settings),
        1 => Just(Step::Restart),
        5 => (prop_oneof![Just(0), 0..600_u64], 1..20_usize, 0..4_u64)
            .prop_map(|(keep, most, unwritten)| Step::PageOut { keep, most, unwritten }),
        2 => (0..400_u64, prop::bool::weighted(0.2))
            .prop_map(|(window, fails)| Step::Read { window, fails }),
    ]
}

proptest! {
    #![proptest_config(histories(2_000))]
    #[test]
    fn a_stream_does_what_its_model_does(steps in vec(step(), 1..120)) {
        let mut pair = Pair::new();
        for step in steps {
            pair.take(step);
            pair.check();
        }
        pair.take(Step::Commit(0));
        pair.take(Step::Serve);
        pair.check();
    }
}
