//! Random histories of everything a queue can do, compared with a model that keeps plain lists
//! and searches them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::histories::histories;

#[derive(Clone, Debug)]
enum Step {
    Push {
        priority: Option<u8>,
        expiration: Option<u64>,
        size: usize,
    },
    Dispatch,
    Wait(u64),
    AddConsumer {
        prefetch: u16,
        no_ack: bool,
        exclusive: bool,
        priority: i32,
    },
    RemoveConsumer(Index),
    /// Makes the gate turn a consumer away.
    Close(Index),
    Unblock(Index),
    Settle(Index),
    SettleAllOf(Index),
    Requeue(Index, Return),
    Get {
        no_ack: bool,
    },
    Purge,
    Expire,
    /// What is stored, but for what came last, is paged out.
    PageOut {
        keep: u64,
        most: usize,
        unwritten: u64,
    },
    /// A delivery that is not settled is paged out.
    PageOutHeld(Index),
    /// What is not stored is named, and what was named before is paged out.
    Spill {
        keep: u64,
        most: u64,
    },
    Trim,
    /// Room is taken by what has left the queue.
    Reserve {
        count: u64,
        bytes: u64,
    },
    /// The queue is made anew, with what it held.
    Restart,
    Settings(QueueSettings),
}

/// A message as the model sees it. Its number is its LSN and its order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    lsn: u64,
    level: u8,
    bytes: u64,
    deadline: Option<u64>,
    deliveries: u32,
}

impl Line {
    fn is_overdue(&self, now: u64) -> bool {
        self.deadline.is_some_and(|deadline| deadline < now)
    }
}

#[derive(Clone, Debug)]
struct ModelConsumer {
    spec: ConsumerSpec,
    outstanding: u32,
    blocked: bool,
}

#[derive(Debug, Default)]
struct Model {
    settings: QueueSettings,
    ready: Vec<Line>,
    /// With the time at which each is ready again.
    delayed: Vec<(u64, Line)>,
    /// In order of subscription.
    consumers: Vec<ModelConsumer>,
    /// Consumers that can take a message, in order of their turns.
    turns: Vec<ConsumerId>,
    active: Option<ConsumerId>,
    closed: BTreeSet<u64>,
    unacked: u64,
    unacked_bytes: u64,
    reserved: (u64, u64),
}

/// What happened, in a form to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Delivered { consumer: u64, lsn: u64, deliveries: u32, redelivered: bool },
    Dropped { lsn: u64, reason: &'static str },
}

/// More than there are messages, or credit of those that have a limit.
const UNLIMITED: u64 = 1_000_000;

impl Model {
    /// The message next to be delivered.
    fn front(&self) -> Option<Line> {
        self.ready.iter().copied().min_by_key(|line| (u8::MAX - line.level, line.lsn))
    }

    fn take(&mut self, lsn: u64) -> Line {
        let at = self.ready.iter().position(|line| line.lsn == lsn).unwrap();
        self.ready.swap_remove(at)
    }

    fn drop_line(&mut self, lsn: u64, reason: &'static str, events: &mut Vec<Event>) {
        self.take(lsn);
        events.push(Event::Dropped { lsn, reason });
    }

    fn bytes(&self) -> u64 {
        self.ready.iter().map(|line| line.bytes).sum()
    }

    fn delayed_bytes(&self) -> u64 {
        self.delayed.iter().map(|(_, line)| line.bytes).sum()
    }

    /// Moves to the ready messages what is delayed no longer, or has expired.
    fn end_delays(&mut self, now: u64) {
        let over = self.delayed.extract_if(.., |(at, line)| *at <= now || line.is_overdue(now));
        self.ready.extend(over.map(|(_, line)| line));
    }

    /// How long a message waits that comes back for the `deliveries`th time.
    fn delay(&self, kind: Return, deliveries: u32) -> Option<u64> {
        let DelayedRetry { only, min, max } = self.settings.delayed_retry?;
        let is_for = only.is_none() || only == Some(kind);
        is_for.then(|| (min.0 * u64::from(deliveries)).min(max.0))
    }

    fn is_over(&self, more: u64, more_bytes: u64) -> bool {
        let len = (self.ready.len() + self.delayed.len()) as u64 + more;
        let bytes = self.bytes() + self.delayed_bytes() + more_bytes;
        self.settings.max_length.is_some_and(|limit| len > limit)
            || self.settings.max_length_bytes.is_some_and(|most| bytes > most)
    }

    fn credit(&self, id: ConsumerId) -> u64 {
        let consumer = self.consumers.iter().find(|it| it.spec.id == id).unwrap();
        match consumer.spec {
            ConsumerSpec { no_ack: true, .. } | ConsumerSpec { prefetch: 0, .. } => UNLIMITED,
            ConsumerSpec { prefetch, .. } => {
                u64::from(prefetch).saturating_sub(consumer.outstanding.into())
            }
        }
    }

    /// Brings the list of turns up to date with what changed.
    fn refresh(&mut self) {
        let single = self.settings.single_active_consumer;
        if !self.consumers.iter().any(|it| Some(it.spec.id) == self.active) || !single {
            let highest = self.consumers.iter().rev().max_by_key(|it| it.spec.priority);
            self.active = highest.map(|it| it.spec.id);
        }
        let can_take = |it: &&ModelConsumer| {
            let id = it.spec.id;
            !it.blocked && self.credit(id) > 0 && (!single || self.active == Some(id))
        };
        let able: Vec<_> = self.consumers.iter().filter(can_take).map(|it| it.spec.id).collect();
        self.turns.retain(|id| able.contains(id));
        for id in able {
            if !self.turns.contains(&id) {
                self.turns.push(id);
            }
        }
    }

    fn next_turn(&self) -> Option<ConsumerId> {
        let priority = |id: &ConsumerId| {
            self.consumers.iter().find(|it| it.spec.id == *id).unwrap().spec.priority
        };
        let best = self.turns.iter().map(priority).max()?;
        self.turns.iter().copied().find(|id| priority(id) == best)
    }

    fn consumer(&mut self, id: ConsumerId) -> Option<&mut ModelConsumer> {
        self.consumers.iter_mut().find(|it| it.spec.id == id)
    }

    /// What those that can take a message would take together.
    fn credit_of_all(&self) -> u64 {
        self.turns.iter().map(|&id| self.credit(id)).sum()
    }

    fn push(&mut self, line: Line) -> bool {
        let refused = self.settings.overflow != Overflow::DropHead
            && self.is_over(self.reserved.0 + 1, self.reserved.1 + line.bytes)
            && self.credit_of_all() <= self.ready.len() as u64;
        if !refused {
            self.ready.push(line);
        }
        !refused
    }

    fn dispatch(&mut self, now: u64) -> Vec<Event> {
        let mut events = Vec::new();
        self.end_delays(now);
        while let (Some(id), Some(front)) = (self.next_turn(), self.front()) {
            if front.is_overdue(now) {
                self.drop_line(front.lsn, "expired", &mut events);
                continue;
            }
            if self.closed.contains(&id.0) {
                self.consumer(id).unwrap().blocked = true;
                self.refresh();
                continue;
            }
            self.take(front.lsn);
            self.turns.retain(|&other| other != id);
            let consumer = self.consumer(id).unwrap();
            if !consumer.spec.no_ack {
                consumer.outstanding += 1;
                self.unacked += 1;
                self.unacked_bytes += front.bytes;
            }
            self.refresh();
            events.push(Event::Delivered {
                consumer: id.0,
                lsn: front.lsn,
                deliveries: front.deliveries,
                redelivered: front.deliveries > 0,
            });
        }
        self.expire(now, &mut events);
        while self.settings.overflow == Overflow::DropHead && self.is_over(0, 0) {
            let Some(front) = self.front() else { break };
            self.drop_line(front.lsn, "maxlen", &mut events);
        }
        events
    }

    fn expire(&mut self, now: u64, events: &mut Vec<Event>) {
        self.end_delays(now);
        for line in self.ready.clone() {
            if line.deadline.is_some_and(|deadline| deadline <= now) {
                self.drop_line(line.lsn, "expired", events);
            }
        }
    }

    fn settle(&mut self, consumer: Option<ConsumerId>, bytes: u64) {
        self.unacked -= 1;
        self.unacked_bytes -= bytes;
        if let Some(consumer) = consumer.and_then(|id| self.consumer(id)) {
            consumer.outstanding -= 1;
        }
        self.refresh();
    }
}

/// Consults the model's list, and checks that every admission is used.
struct ModelGate<'a> {
    closed: &'a BTreeSet<u64>,
    admitted: Option<ConsumerId>,
    used: Vec<u64>,
}

impl Gate for ModelGate<'_> {
    fn admit(&mut self, consumer: ConsumerId) -> Admission {
        assert_eq!(self.admitted, None, "an admission was not used");
        if self.closed.contains(&consumer.0) {
            return Admission::Blocked;
        }
        self.admitted = Some(consumer);
        Admission::Ready
    }

    fn delivered(&mut self, consumer: ConsumerId, _: usize) {
        assert_eq!(self.admitted.take(), Some(consumer));
        self.used.push(consumer.0);
    }
}

/// The queue under test, its model, and what consumers hold.
struct Pair {
    queue: Queue,
    model: Model,
    now: u64,
    held: Vec<(Option<ConsumerId>, AnyEntry)>,
    next_lsn: u64,
    next_consumer: u64,
    effects: Vec<Effect>,
    /// What can be read back.
    disk: Vec<(Lsn, Message)>,
    /// What is being written elsewhere.
    spilling: Vec<SpillBlock>,
    /// Where deliveries were written, by what there was then and what of it.
    blocks: BTreeMap<(usize, u64), Spilled>,
}

/// Bytes of messages that the queue may read ahead.
const WINDOW: u64 = 1000;

impl Pair {
    fn new(settings: QueueSettings) -> Self {
        Self {
            queue: Queue::new(settings),
            model: Model { settings, ..Model::default() },
            now: NOW.0,
            held: Vec::new(),
            next_lsn: 0,
            next_consumer: 0,
            effects: Vec::new(),
            disk: Vec::new(),
            spilling: Vec::new(),
            blocks: BTreeMap::new(),
        }
    }

    fn now(&self) -> Millis {
        Millis(self.now)
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let mut expected = Vec::new();
        match *step {
            Step::Push { priority, expiration, size } => self.push(priority, expiration, size)?,
            Step::Dispatch => expected = self.dispatch()?,
            Step::Wait(span) => self.now += span,
            Step::AddConsumer { prefetch, no_ack, exclusive, priority } => {
                let id = ConsumerId(self.next_consumer);
                self.next_consumer += 1;
                self.add(ConsumerSpec { id, prefetch, no_ack, exclusive, priority })?;
            }
            Step::RemoveConsumer(index) => self.remove(index)?,
            Step::Close(index) => {
                let id = self.some_consumer(index);
                self.model.closed.extend(id.map(|id| id.0));
            }
            Step::Unblock(index) => {
                if let Some(id) = self.some_consumer(index) {
                    self.queue.unblock(id);
                    self.model.closed.remove(&id.0);
                    self.model.consumer(id).unwrap().blocked = false;
                    self.model.refresh();
                }
            }
            Step::Settle(index) => {
                if let Some((consumer, entry)) = self.some_held(index) {
                    self.queue.settle(consumer, 1, entry.bytes());
                    self.settled(&entry);
                    self.model.settle(consumer, entry.bytes());
                }
            }
            Step::SettleAllOf(index) => {
                if let Some((consumer, entry)) = self.some_held(index) {
                    self.held.push((consumer, entry));
                    let of = |(owner, _): &mut (Option<ConsumerId>, AnyEntry)| *owner == consumer;
                    let entries: Vec<_> = self.held.extract_if(.., of).collect();
                    let bytes: Vec<_> = entries.iter().map(|(_, entry)| entry.bytes()).collect();
                    let count = u32::try_from(bytes.len()).unwrap();
                    self.queue.settle(consumer, count, bytes.iter().sum());
                    entries.iter().for_each(|(_, entry)| self.settled(entry));
                    bytes.into_iter().for_each(|bytes| self.model.settle(consumer, bytes));
                }
            }
            Step::Requeue(index, kind) => {
                if let Some((consumer, entry)) = self.some_held(index) {
                    expected = self.requeue(consumer, entry, kind)?;
                }
            }
            Step::Get { no_ack } => expected = self.get(no_ack)?,
            Step::Purge => {
                let mut removed = Vec::new();
                self.queue.purge(|lsn, _| removed.push(lsn.0));
                let mut order = Vec::new();
                while let Some(front) = self.model.front() {
                    order.push(self.model.take(front.lsn).lsn);
                }
                self.model.delayed.sort_by_key(|delayed| (leaves_at(delayed), delayed.1.lsn));
                order.extend(self.model.delayed.drain(..).map(|(_, line)| line.lsn));
                prop_assert_eq!(removed, order);
            }
            Step::Expire => {
                self.expire();
                self.model.expire(self.now, &mut expected);
            }
            Step::PageOut { keep, most, unwritten } => self.page_out(keep, most, unwritten),
            Step::PageOutHeld(index) => {
                if let Some((consumer, entry)) = self.some_held(index) {
                    let entry = self.page_out_held(entry);
                    self.held.push((consumer, entry));
                }
            }
            Step::Spill { keep, most } => self.spill(keep, most),
            Step::Trim => self.queue.trim(),
            Step::Reserve { count, bytes } => {
                self.queue.reserve(count, bytes);
                self.model.reserved = (count, bytes);
            }
            Step::Restart => self.restart(),
            Step::Settings(settings) => {
                // Policies cannot change it.
                let QueueSettings { max_priority, default_priority, .. } = self.model.settings;
                let settings = QueueSettings { max_priority, default_priority, ..settings };
                if settings.single_active_consumer != self.model.settings.single_active_consumer {
                    self.model.turns.clear();
                }
                self.queue.set_settings(settings);
                self.model.settings = settings;
                self.model.refresh();
            }
        }
        self.check(expected)
    }

    /// Restores all but what is held, as the journal has it: in order, and what was delayed with
    /// its time.
    fn restart(&mut self) {
        let mut entries = Vec::new();
        loop {
            if let Some(entry) = self.queue.ready.pop() {
                entries.push(entry);
            } else if let Some(request) = self.queue.front_page() {
                assert!(answer(&mut self.queue, request, &self.disk).is_empty());
            } else {
                break;
            }
        }
        let delayed = self.queue.delayed.take();
        let delayed = delayed.into_iter().flat_map(|mut delayed| delayed.take_all());
        entries.extend(delayed.map(|entry| match entry {
            AnyEntry::Hot(entry) => entry,
            AnyEntry::Paged(entry) => {
                let (_, message) = self.disk.iter().find(|(lsn, _)| *lsn == entry.lsn).unwrap();
                entry.with(message.clone())
            }
        }));
        entries.sort_by_key(|entry| entry.lsn);
        self.held.clear();
        let Model { settings, ready, delayed, .. } = std::mem::take(&mut self.model);
        self.queue = Queue::new(settings);
        let last_delayed = delayed.iter().map(|(_, line)| line.lsn).max();
        for entry in entries {
            let until = delayed.iter().find(|(_, line)| line.lsn == entry.lsn.0);
            match until {
                Some((until, _)) => self.queue.restore_delayed(Millis(*until), entry),
                None if Some(entry.lsn.0) < last_delayed => self.queue.restore_ahead(entry),
                None => self.queue.restore(entry),
            }
        }
        self.model = Model { settings, ready, delayed, ..Model::default() };
    }

    fn push(
        &mut self,
        priority: Option<u8>,
        expiration: Option<u64>,
        size: usize,
    ) -> Result<(), TestCaseError> {
        let lsn = self.next_lsn;
        self.next_lsn += 1;
        let message = message(&vec![0; size], priority, expiration);
        // Numbers of journals have gaps, and messages come out of order.
        self.disk.push((Lsn(lsn), message.clone()));
        let entry = Entry { stored: !lsn.is_multiple_of(5), ..Entry::new(Lsn(lsn), message) };
        let pushed = self.queue.push(entry, self.now());
        let settings = self.model.settings;
        let life = settings.message_ttl.map(|ttl| ttl.0).into_iter().chain(expiration).min();
        let line = Line {
            lsn,
            level: settings
                .max_priority
                .map_or(0, |max| priority.unwrap_or(settings.default_priority).min(max)),
            bytes: size as u64,
            deadline: life.map(|life| self.now + life),
            deliveries: 0,
        };
        prop_assert_eq!(matches!(pushed, Pushed::Accepted), self.model.push(line));
        Ok(())
    }

    fn dispatch(&mut self) -> Result<Vec<Event>, TestCaseError> {
        let now = self.now();
        let mut gate = ModelGate { closed: &self.model.closed, admitted: None, used: Vec::new() };
        self.queue.dispatch(now, &mut gate, &mut self.effects);
        while page_in(&mut self.queue, &self.disk) {
            self.queue.dispatch(now, &mut gate, &mut self.effects);
        }
        prop_assert_eq!(gate.admitted, None);
        let used = gate.used;
        let events = self.model.dispatch(self.now);
        let of = |event: &Event| match *event {
            Event::Delivered { consumer, .. } => Some(consumer),
            Event::Dropped { .. } => None,
        };
        prop_assert_eq!(used, events.iter().filter_map(of).collect::<Vec<_>>());
        Ok(events)
    }

    fn add(&mut self, spec: ConsumerSpec) -> Result<(), TestCaseError> {
        let added = self.queue.add_consumer(spec);
        let exclusive = self.model.consumers.iter().any(|it| it.spec.exclusive);
        let single = self.model.settings.single_active_consumer;
        let lonely = self.model.consumers.is_empty() && !single;
        let refused = exclusive || (spec.exclusive && !lonely);
        prop_assert_eq!(added.is_err(), refused);
        if !refused {
            let consumer = ModelConsumer { spec, outstanding: 0, blocked: false };
            self.model.consumers.push(consumer);
            self.model.refresh();
        }
        Ok(())
    }

    fn remove(&mut self, index: Index) -> Result<(), TestCaseError> {
        let Some(id) = self.some_consumer(index) else { return Ok(()) };
        let was_active = self.model.active == Some(id);
        let removed = self.queue.remove_consumer(id);
        self.model.consumers.retain(|it| it.spec.id != id);
        self.model.refresh();
        let promotes = was_active && self.model.settings.single_active_consumer;
        let expected = RemovedConsumer {
            existed: true,
            was_last: self.model.consumers.is_empty(),
            promoted: self.model.active.filter(|_| promotes),
        };
        prop_assert_eq!(removed, expected);
        prop_assert_eq!(self.queue.remove_consumer(id), RemovedConsumer::default());
        Ok(())
    }

    fn requeue(
        &mut self,
        consumer: Option<ConsumerId>,
        entry: AnyEntry,
        kind: Return,
    ) -> Result<Vec<Event>, TestCaseError> {
        let (lsn, deliveries) = (entry.lsn().0, entry.deliveries() + 1);
        let settings = self.model.settings;
        let priority = entry.priority().unwrap_or(settings.default_priority);
        let line = Line {
            lsn,
            level: settings.max_priority.map_or(0, |max| priority.min(max)),
            bytes: entry.bytes(),
            deadline: entry.deadline().map(|deadline| deadline.0),
            deliveries,
        };
        let now = self.now();
        let ready_at = self.queue.requeue(consumer, entry, kind, now, &mut self.effects);
        self.model.settle(consumer, line.bytes);
        if settings.delivery_limit.is_some_and(|limit| deliveries > limit) {
            return Ok(vec![Event::Dropped { lsn, reason: "delivery_limit" }]);
        }
        if line.deadline.is_some_and(|deadline| deadline <= self.now) {
            return Ok(vec![Event::Dropped { lsn, reason: "expired" }]);
        }
        let expected = self.model.delay(kind, deliveries).map(|delay| self.now + delay);
        prop_assert_eq!(ready_at.map(|at| at.0), expected);
        match expected {
            Some(at) => self.model.delayed.push((at, line)),
            None => self.model.ready.push(line),
        }
        Ok(Vec::new())
    }

    fn get(&mut self, no_ack: bool) -> Result<Vec<Event>, TestCaseError> {
        let got = loop {
            match self.queue.get(self.now(), no_ack, &mut self.effects) {
                Got::Message(entry) => break Some(entry),
                Got::Nothing => break None,
                Got::Paged => {
                    let request = self.queue.front_page().expect("a page in front");
                    prop_assert!(answer(&mut self.queue, request, &self.disk).is_empty());
                }
            }
        };
        self.expire();
        let mut expected = Vec::new();
        self.model.expire(self.now, &mut expected);
        let front = self.model.front();
        prop_assert_eq!(got.as_ref().map(|entry| entry.lsn.0), front.map(|line| line.lsn));
        if let (Some(entry), Some(line)) = (got, front) {
            self.model.take(line.lsn);
            prop_assert_eq!(entry.deliveries, line.deliveries);
            prop_assert_eq!(entry.redelivered, line.deliveries > 0);
            if !no_ack {
                self.model.unacked += 1;
                self.model.unacked_bytes += line.bytes;
                self.held.push((None, entry.into()));
            }
        }
        Ok(expected)
    }

    fn expire(&mut self) {
        self.queue.expire(self.now(), &mut self.effects);
        while page_in(&mut self.queue, &self.disk) {
            self.queue.expire(self.now(), &mut self.effects);
        }
    }

    fn page_out(&mut self, keep: u64, most: usize, unwritten: u64) {
        let Some(readable) = self.next_lsn.checked_sub(1 + unwritten) else { return };
        let (before, paged) = (self.queue.ready.memory(), self.queue.paged_len());
        let delayed = self.queue.delayed_paged_len();
        let gone = self.queue.page_out(Lsn(readable), keep, most);
        let gone_delayed = self.queue.delayed_paged_len() - delayed;
        let gone_ready = gone - gone_delayed;
        assert_eq!(self.queue.paged_len(), paged + gone_ready);
        assert!(self.queue.ready.memory() + gone_ready * 200 <= before);
    }

    /// What is not stored is written elsewhere, with its neighbours.
    fn page_out_held(&mut self, entry: AnyEntry) -> AnyEntry {
        let AnyEntry::Hot(entry) = entry else { return entry };
        let near = |(lsn, _): &&(Lsn, Message)| lsn.0 / 20 == entry.lsn.0 / 20;
        let spilled = (!entry.stored).then(|| {
            let block = self.blocks.entry((self.disk.len(), entry.lsn.0 / 20));
            let written = || -> Spilled {
                Arc::new(self.disk.iter().filter(near).cloned().collect::<Vec<_>>())
            };
            Arc::clone(block.or_insert_with(written))
        });
        self.queue.unacked_paged(1, entry.bytes().cast_signed());
        AnyEntry::Paged(PagedEntry::of(&entry, spilled))
    }

    /// A delivery is settled, which may have been paged out.
    fn settled(&mut self, entry: &AnyEntry) {
        if entry.is_paged() {
            self.queue.unacked_paged(-1, -entry.bytes().cast_signed());
        }
    }

    fn spill(&mut self, keep: u64, most: u64) {
        let blocks = self.queue.spill(keep, most);
        for block in std::mem::replace(&mut self.spilling, blocks) {
            let (before, paged) = (self.queue.memory(), self.queue.paged_len());
            let written: Spilled = Arc::new(block.messages().to_vec());
            let gone = self.queue.spilled(&block, &written);
            assert!(gone <= block.messages().len() as u64);
            assert_eq!(self.queue.paged_len(), paged + gone);
            assert!(self.queue.memory() + gone * 200 <= before);
        }
    }

    /// Compares what happened and all that can be seen from outside.
    fn check(&mut self, mut expected: Vec<Event>) -> Result<(), TestCaseError> {
        let mut events = Vec::new();
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Deliver { consumer, entry } => {
                    events.push(Event::Delivered {
                        consumer: consumer.0,
                        lsn: entry.lsn.0,
                        deliveries: entry.deliveries,
                        redelivered: entry.redelivered,
                    });
                    let by = |it: &ModelConsumer| it.spec.id == consumer && it.spec.no_ack;
                    if !self.model.consumers.iter().any(by) {
                        self.held.push((Some(consumer), entry.into()));
                    }
                }
                Effect::Drop { entry, reason } => {
                    events.push(Event::Dropped { lsn: entry.lsn().0, reason: reason.as_str() });
                }
            }
        }
        // Which of several messages that expire at once is named first is left open.
        let expired = |event: &Event| matches!(event, Event::Dropped { reason: "expired", .. });
        let mut events_expired: Vec<_> = events.extract_if(.., |it| expired(it)).collect();
        let mut expected_expired: Vec<_> = expected.extract_if(.., |it| expired(it)).collect();
        events_expired.sort();
        expected_expired.sort();
        prop_assert_eq!(events_expired, expected_expired);
        prop_assert_eq!(events, expected);

        let (queue, model) = (&self.queue, &self.model);
        prop_assert_eq!(queue.ready_len(), model.ready.len() as u64);
        prop_assert_eq!(queue.ready_bytes(), model.bytes());
        prop_assert_eq!(queue.unacked_len(), model.unacked);
        prop_assert_eq!(queue.unacked_bytes(), model.unacked_bytes);
        prop_assert_eq!(queue.unacked_len(), self.held.len() as u64);
        let credit = model.credit_of_all();
        prop_assert!(queue.would_be_taken(credit));
        prop_assert_eq!(queue.would_be_taken(credit + 1), credit >= UNLIMITED);
        let paged = || self.held.iter().filter(|(_, entry)| entry.is_paged());
        prop_assert_eq!(queue.unacked_paged_len(), paged().count() as u64);
        let bytes = paged().map(|(_, entry)| entry.bytes()).sum::<u64>();
        prop_assert_eq!(queue.unacked_paged_bytes(), bytes);
        if !queue.ready.is_front_paged() {
            prop_assert_eq!(queue.head().map(|entry| entry.lsn.0), model.front().map(|it| it.lsn));
        }
        prop_assert_eq!(
            queue.ready.memory(),
            queue.ready().map(|entry| entry.bytes() + 200).sum::<u64>()
        );
        let delayed = queue.delayed.as_ref().map_or(0, |delayed| delayed.memory());
        prop_assert_eq!(queue.memory(), queue.ready.memory() + delayed);
        let in_memory = queue.ready().count() as u64;
        prop_assert_eq!(queue.ready_len() - queue.paged_len(), in_memory);
        prop_assert_eq!(queue.delayed_len(), model.delayed.len() as u64);
        prop_assert_eq!(queue.delayed_bytes(), model.delayed_bytes());
        let delayed = || model.delayed.iter().map(leaves_at);
        prop_assert_eq!(queue.next_delayed_at().map(|at| at.0), delayed().min());
        prop_assert_eq!(queue.last_delayed_at().map(|at| at.0), delayed().max());
        let deadlines = model.ready.iter().filter_map(|line| line.deadline);
        let deadline = deadlines.chain(delayed()).min();
        prop_assert_eq!(queue.next_deadline().map(|deadline| deadline.0), deadline);
        let mut order = model.ready.clone();
        order.sort_by_key(|line| (u8::MAX - line.level, line.lsn));
        prop_assert!(
            queue.ready.slots().map(|slot| slot.lsn().0).eq(order.iter().map(|it| it.lsn))
        );
        prop_assert_eq!(queue.consumer_count(), model.consumers.len());
        let is_exclusive = model.consumers.iter().any(|it| it.spec.exclusive);
        prop_assert_eq!(queue.is_exclusively_consumed(), is_exclusive);
        let single = model.settings.single_active_consumer;
        let status = |it: &ModelConsumer| ConsumerStatus {
            spec: it.spec,
            outstanding: it.outstanding,
            active: !single || model.active == Some(it.spec.id),
        };
        let statuses: Vec<_> = model.consumers.iter().map(status).collect();
        prop_assert_eq!(queue.consumers(), statuses);
        Ok(())
    }

    fn some_consumer(&self, index: Index) -> Option<ConsumerId> {
        let consumers = &self.model.consumers;
        (!consumers.is_empty()).then(|| consumers[index.index(consumers.len())].spec.id)
    }

    fn some_held(&mut self, index: Index) -> Option<(Option<ConsumerId>, AnyEntry)> {
        let len = self.held.len();
        (len > 0).then(|| self.held.swap_remove(index.index(len)))
    }
}

/// When a delayed message is ready again or has expired.
fn leaves_at((ready_at, line): &(u64, Line)) -> u64 {
    line.deadline.map_or(*ready_at, |deadline| (deadline + 1).min(*ready_at))
}

/// Reads a request: from the journal what is there, the rest from where it was written.
fn answer(queue: &mut Queue, request: PageRequest, disk: &[(Lsn, Message)]) -> Vec<Lsn> {
    let stored = disk.iter().filter(|(lsn, _)| request.lsns().contains(lsn)).cloned();
    let spilled = request.spilled().iter().flat_map(|written| {
        written.downcast_ref::<Vec<(Lsn, Message)>>().cloned().unwrap_or_default()
    });
    let mut messages: Vec<(Lsn, Message)> = stored.chain(spilled).collect();
    messages.sort_unstable_by_key(|(lsn, _)| *lsn);
    messages.dedup_by_key(|(lsn, _)| *lsn);
    queue.page_in(request, &messages)
}

/// Reads what the queue asks for. Answers whether it asked.
fn page_in(queue: &mut Queue, disk: &[(Lsn, Message)]) -> bool {
    let Some(request) = queue.next_pages(WINDOW) else { return false };
    assert!(queue.next_pages(WINDOW).is_none(), "one at a time");
    assert!(answer(queue, request, disk).is_empty());
    true
}

proptest! {
    #![proptest_config(histories(3_000))]

    #[test]
    fn random_histories_agree_with_the_model(
        settings in settings(),
        steps in vec(step(), 1..80),
    ) {
        let mut pair = Pair::new(settings);
        for step in &steps {
            pair.step(step)?;
        }
        pair.step(&Step::Dispatch)?;
    }
}

proptest! {
    #![proptest_config(histories(100))]

    /// While every consumer keeps up, nobody is ever more than one message ahead.
    #[test]
    fn consumers_that_keep_up_get_equal_shares(
        consumers in 1..8_u64,
        prefetch in 1..4_u16,
        batches in vec(1..12_u64, 1..40),
    ) {
        let mut queue = Queue::new(QueueSettings::default());
        for id in 0..consumers {
            queue.add_consumer(ConsumerSpec { prefetch, ..consumer(id) }).unwrap();
        }
        let mut turns = Vec::new();
        let mut lsn = 0;
        for batch in batches {
            push(&mut queue, lsn..lsn + batch);
            lsn += batch;
            loop {
                let effects = deliveries(&dispatch(&mut queue, NOW));
                if effects.is_empty() {
                    break;
                }
                for (id, _) in effects {
                    turns.push(id);
                    queue.settle(Some(ConsumerId(id)), 1, 4);
                }
            }
        }
        for window in 1..turns.len().min(30) {
            for part in turns.windows(window) {
                let share = |id| part.iter().filter(|&&turn| turn == id).count();
                let shares: Vec<_> = (0..consumers).map(share).collect();
                let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
                prop_assert!(most - least <= 1, "{:?}", part);
            }
        }
    }

    /// Long enough for several chunks of a ring, with holes from expiry.
    #[test]
    fn long_backlogs_agree_with_the_model(
        settings in settings(),
        rounds in vec((1..400_usize, 0..400_usize, option::of(0..40_u64)), 1..6),
    ) {
        let mut pair = Pair::new(QueueSettings { max_length: None, ..settings });
        for (pushes, gets, wait) in rounds {
            for number in 0..pushes {
                let expiration = (number % 3 == 0).then_some((number * 7 % 50) as u64);
                let priority = Some(u8::from(number % 2 == 0));
                pair.push(priority, expiration, 1)?;
            }
            pair.now += wait.unwrap_or(0);
            for _ in 0..gets {
                let expected = pair.get(true)?;
                pair.check(expected)?;
            }
            pair.page_out(300 * (pushes as u64 % 5), pushes, gets as u64 % 10);
            pair.spill(200 * (gets as u64 % 4), 300 * pushes as u64);
            pair.step(&Step::Expire)?;
        }
        pair.step(&Step::Purge)?;
    }
}

fn settings() -> impl Strategy<Value = QueueSettings> {
    let overflow = prop_oneof![
        Just(Overflow::DropHead),
        Just(Overflow::RejectPublish),
        Just(Overflow::RejectPublishDlx),
    ];
    let rarely = |range: std::ops::Range<u64>| option::weighted(0.3, range);
    (
        option::weighted(0.3, (0..4_u8, 0..6_u8)),
        rarely(0..30),
        rarely(0..8),
        rarely(0..40),
        overflow,
        any::<[bool; 2]>(),
        option::weighted(0.3, 0..3_u32),
        option::weighted(0.5, delayed_retry()),
    )
        .prop_map(
            |(priorities, ttl, length, bytes, overflow, single, delivery_limit, retry)| {
                QueueSettings {
                    max_priority: priorities.map(|(max, _)| max),
                    default_priority: priorities.map_or(0, |(_, default)| default),
                    message_ttl: ttl.map(Millis),
                    max_length: length,
                    max_length_bytes: bytes,
                    overflow,
                    single_active_consumer: single == [true, true],
                    delivery_limit,
                    delayed_retry: retry,
                }
            },
        )
}

fn return_kind() -> impl Strategy<Value = Return> {
    prop_oneof![Just(Return::Released), Just(Return::Failed)]
}

fn delayed_retry() -> impl Strategy<Value = DelayedRetry> {
    (option::of(return_kind()), 1..20_u64, 1..40_u64).prop_map(|(only, min, max)| DelayedRetry {
        only,
        min: Millis(min),
        max: Millis(max),
    })
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        20 => (option::of(0..6_u8), option::weighted(0.3, 0..30_u64), 0..10_usize)
            .prop_map(|(priority, expiration, size)| Step::Push { priority, expiration, size }),
        10 => Just(Step::Dispatch),
        4 => (0..15_u64).prop_map(Step::Wait),
        4 => (0..4_u16, any::<bool>(), prop::bool::weighted(0.1), -1..2_i32).prop_map(
            |(prefetch, no_ack, exclusive, priority)| {
                Step::AddConsumer { prefetch, no_ack, exclusive, priority }
            }
        ),
        2 => index().prop_map(Step::RemoveConsumer),
        2 => index().prop_map(Step::Close),
        2 => index().prop_map(Step::Unblock),
        6 => index().prop_map(Step::Settle),
        2 => index().prop_map(Step::SettleAllOf),
        8 => (index(), return_kind()).prop_map(|(index, kind)| Step::Requeue(index, kind)),
        4 => any::<bool>().prop_map(|no_ack| Step::Get { no_ack }),
        1 => Just(Step::Purge),
        2 => Just(Step::Expire),
        6 => (prop_oneof![Just(0), 0..1500_u64], 1..40_usize, 0..4_u64)
            .prop_map(|(keep, most, unwritten)| Step::PageOut { keep, most, unwritten }),
        8 => index().prop_map(Step::PageOutHeld),
        4 => (prop_oneof![Just(0), 0..1500_u64], 1..10_000_u64)
            .prop_map(|(keep, most)| Step::Spill { keep, most }),
        1 => Just(Step::Trim),
        1 => (0..3_u64, 0..6_u64).prop_map(|(count, bytes)| Step::Reserve { count, bytes }),
        1 => Just(Step::Restart),
        1 => settings().prop_map(Step::Settings),
    ]
}
