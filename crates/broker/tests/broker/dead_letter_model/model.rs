//! Queues that dead-letter into each other, as plain lists that are searched.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use leveret_engine::Return;

/// What a queue was declared with.
#[derive(Clone, Debug, Default)]
pub(super) struct Spec {
    pub(super) is_quorum: bool,
    pub(super) dead_letter_exchange: Option<&'static str>,
    pub(super) dead_letter_key: Option<&'static str>,
    pub(super) ttl: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) max_bytes: Option<u64>,
    pub(super) overflow: Overflow,
    pub(super) max_priority: Option<u8>,
    pub(super) delivery_limit: Option<u32>,
    pub(super) delay: Option<Delay>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Overflow {
    #[default]
    DropHead,
    RejectPublish,
    RejectPublishDlx,
}

/// Delayed retry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delay {
    pub(super) only: Option<Return>,
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Spec {
    fn level(&self, priority: Option<u8>) -> u8 {
        match self.max_priority {
            None if self.is_quorum => priority.unwrap_or(4).min(31),
            None => 0,
            Some(max) => priority.unwrap_or(0).min(max),
        }
    }

    /// How often a message may come back.
    fn limit(&self) -> u32 {
        if self.is_quorum { self.delivery_limit.unwrap_or(20) } else { u32::MAX }
    }

    fn drops_head(&self) -> bool {
        let is_odd = self.is_quorum && self.overflow == Overflow::RejectPublishDlx;
        self.overflow == Overflow::DropHead || is_odd
    }
}

/// A death in `x-death`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Death {
    pub(super) queue: &'static str,
    pub(super) reason: &'static str,
    pub(super) count: i64,
    /// Seconds.
    pub(super) time: u64,
    pub(super) exchange: &'static str,
    pub(super) keys: Vec<&'static str>,
    pub(super) original_expiration: Option<u64>,
}

/// Exchange, queue and reason of a death.
pub(super) type Brief = [&'static str; 3];

/// A message as it is published, and as its deaths have changed it.
#[derive(Clone, Debug)]
pub(super) struct Mail {
    pub(super) body: String,
    pub(super) exchange: &'static str,
    pub(super) key: &'static str,
    pub(super) priority: Option<u8>,
    pub(super) expiration: Option<u64>,
    pub(super) cc: Option<&'static str>,
    pub(super) bcc: Option<&'static str>,
    /// Whether its publisher says it had died before.
    pub(super) is_forged: bool,
    /// It was dead-lettered with a key of the queue's.
    pub(super) is_rerouted: bool,
    pub(super) deaths: Vec<Death>,
    pub(super) first: Option<Brief>,
    pub(super) last: Option<Brief>,
}

impl Mail {
    /// The keys that are shown of it.
    fn shown_keys(&self) -> Vec<&'static str> {
        let copies = self.cc.filter(|_| !self.is_rerouted);
        std::iter::once(self.key).chain(copies).collect()
    }

    /// The keys it is routed by.
    pub(super) fn keys(&self) -> Vec<&'static str> {
        self.shown_keys().into_iter().chain(self.bcc).collect()
    }

    /// What becomes of it when it dies.
    fn die(&mut self, queue: &'static str, spec: &Spec, reason: &'static str, now: u64) {
        let brief = [self.exchange, queue, reason];
        self.first.get_or_insert(brief);
        self.last = Some(brief);
        let known = self.deaths.iter().position(|old| (old.queue, old.reason) == (queue, reason));
        let death = match known {
            Some(known) => {
                let old = self.deaths.remove(known);
                Death { count: old.count + 1, ..old }
            }
            None => Death {
                queue,
                reason,
                count: 1,
                time: now / 1000,
                exchange: self.exchange,
                keys: self.shown_keys(),
                original_expiration: self.expiration,
            },
        };
        self.deaths.insert(0, death);
        self.expiration = None;
        self.exchange = spec.dead_letter_exchange.unwrap();
        if let Some(key) = spec.dead_letter_key {
            (self.key, self.bcc, self.is_rerouted) = (key, None, true);
        }
    }

    /// Whether it has come round to a queue without having been rejected.
    fn has_come_round(&self, queue: &str) -> bool {
        let since = self.deaths.iter().take_while(|death| death.reason != "rejected");
        since.into_iter().any(|death| death.queue == queue)
    }
}

/// A message in a queue.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) mail: Mail,
    /// Its number among all that have arrived anywhere.
    place: u64,
    level: u8,
    deadline: Option<u64>,
    pub(super) deliveries: u32,
    pub(super) redelivered: bool,
}

impl Slot {
    fn bytes(&self) -> u64 {
        self.mail.body.len() as u64
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// Those that come first have the least.
    fn rank(&self) -> (u8, u64) {
        (u8::MAX - self.level, self.place)
    }
}

/// A queue.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) name: &'static str,
    pub(super) spec: Spec,
    /// Its number among all that were declared.
    pub(super) number: u64,
    pub(super) ready: Vec<Slot>,
    /// With the time until when each waits.
    pub(super) delayed: Vec<(u64, Slot)>,
}

impl Queue {
    fn is_over(&self, more: u64, more_bytes: u64) -> bool {
        let all = || self.ready.iter().chain(self.delayed.iter().map(|(_, slot)| slot));
        let len = all().count() as u64 + more;
        let bytes = all().map(Slot::bytes).sum::<u64>() + more_bytes;
        self.spec.max_length.is_some_and(|most| len > most)
            || self.spec.max_bytes.is_some_and(|most| bytes > most)
    }

    fn take(&mut self, place: u64) -> Slot {
        let at = self.ready.iter().position(|slot| slot.place == place).unwrap();
        self.ready.remove(at)
    }

    fn head(&self) -> Option<&Slot> {
        self.ready.iter().min_by_key(|slot| slot.rank())
    }
}

/// A message that has died.
pub(super) struct Dead {
    queue: &'static str,
    spec: Spec,
    slot: Slot,
    reason: &'static str,
}

/// How many have died, by reason, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) dead_lettered: BTreeMap<&'static str, u64>,
    pub(super) discarded: BTreeMap<&'static str, u64>,
    pub(super) unroutable: u64,
}

/// Puts the queues an exchange routes to by some keys in the order in which the broker, whose choice
/// that is, serves them.
pub(super) type Order<'a> =
    &'a dyn Fn(&'static str, &[&'static str], BTreeSet<&'static str>) -> Vec<&'static str>;

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) now: u64,
    /// In the order in which they were declared.
    pub(super) queues: Vec<Queue>,
    /// Exchanges but the default one.
    pub(super) exchanges: BTreeSet<&'static str>,
    /// Exchange, key (none of a fanout's) and queue.
    pub(super) bindings: BTreeSet<(&'static str, &'static str, &'static str)>,
    pub(super) tally: Tally,
    places: u64,
    declared: u64,
}

impl Model {
    pub(super) fn new(now: u64) -> Self {
        Self { now, ..Self::default() }
    }

    pub(super) fn declare(&mut self, name: &'static str, spec: Spec) {
        self.declared += 1;
        let number = self.declared;
        self.queues.push(Queue { name, spec, number, ready: Vec::new(), delayed: Vec::new() });
    }

    /// All messages in queues.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.queues
            .iter()
            .flat_map(|queue| queue.ready.iter().chain(queue.delayed.iter().map(|(_, slot)| slot)))
    }

    pub(super) fn queue(&mut self, name: &str) -> Option<&mut Queue> {
        self.queues.iter_mut().find(|queue| queue.name == name)
    }

    pub(super) fn delete(&mut self, name: &str) {
        self.queues.retain(|queue| queue.name != name);
        self.bindings.retain(|(.., queue)| *queue != name);
    }

    /// The queues an exchange routes to by these keys.
    pub(super) fn route(
        &self,
        exchange: &'static str,
        keys: &[&'static str],
    ) -> BTreeSet<&'static str> {
        let names = self.queues.iter().map(|queue| queue.name);
        names
            .filter(|queue| match exchange {
                "" => keys.contains(queue),
                "fan" => self.bindings.contains(&("fan", "", *queue)),
                direct => keys.iter().any(|key| self.bindings.contains(&(direct, *key, *queue))),
            })
            .collect()
    }

    fn targets(&self, mail: &Mail, order: Order<'_>) -> Vec<&'static str> {
        let keys = mail.keys();
        order(mail.exchange, &keys, self.route(mail.exchange, &keys))
    }

    /// Publishes a message. Whether no queue has refused it.
    pub(super) fn publish(&mut self, mail: Mail, order: Order<'_>) -> bool {
        let targets = self.targets(&mail, order);
        let (mut dead, mut is_taken) = (VecDeque::new(), true);
        for target in targets {
            is_taken &= self.push(target, mail.clone(), false, &mut dead);
            self.tidy(target, &mut dead);
        }
        self.bury(dead, order);
        is_taken
    }

    /// Puts a message into a queue, which may refuse it.
    fn push(
        &mut self,
        name: &'static str,
        mail: Mail,
        redelivered: bool,
        dead: &mut VecDeque<Dead>,
    ) -> bool {
        self.places += 1;
        let (now, place) = (self.now, self.places);
        let queue = self.queue(name).unwrap();
        let ttl = queue.spec.ttl.into_iter().chain(mail.expiration).min();
        let slot = Slot {
            level: queue.spec.level(mail.priority),
            deadline: ttl.map(|ttl| now + ttl),
            deliveries: 0,
            mail,
            place,
            redelivered,
        };
        if queue.spec.drops_head() || !queue.is_over(1, slot.bytes()) {
            queue.ready.push(slot);
            return true;
        }
        if queue.spec.overflow == Overflow::RejectPublishDlx {
            let spec = queue.spec.clone();
            dead.push_back(Dead { queue: name, spec, slot, reason: "maxlen" });
        }
        false
    }

    /// Ends delays, and drops what has expired or is too much.
    fn tidy(&mut self, name: &'static str, dead: &mut VecDeque<Dead>) {
        let now = self.now;
        let queue = self.queue(name).unwrap();
        let is_overdue = |slot: &Slot| slot.deadline.is_some_and(|deadline| deadline < now);
        let over = queue.delayed.extract_if(.., |(at, slot)| *at <= now || is_overdue(slot));
        let over: Vec<Slot> = over.map(|(_, slot)| slot).collect();
        queue.ready.extend(over);
        let due = |slot: &&Slot| slot.deadline.is_some_and(|deadline| deadline <= now);
        let mut expired: Vec<_> = queue
            .ready
            .iter()
            .filter(due)
            .map(|slot| (slot.deadline, slot.rank(), slot.place))
            .collect();
        expired.sort_unstable();
        let spec = queue.spec.clone();
        for (.., place) in expired {
            let slot = queue.take(place);
            dead.push_back(Dead { queue: name, spec: spec.clone(), slot, reason: "expired" });
        }
        while spec.drops_head() && queue.is_over(0, 0) {
            let Some(place) = queue.head().map(|slot| slot.place) else { break };
            let slot = queue.take(place);
            dead.push_back(Dead { queue: name, spec: spec.clone(), slot, reason: "maxlen" });
        }
    }

    /// Dead-letters what has died, and what dies of that.
    fn bury(&mut self, mut dead: VecDeque<Dead>, order: Order<'_>) {
        while !dead.is_empty() {
            let mut arrivals: Vec<(&'static str, Vec<(Mail, bool)>)> = Vec::new();
            for Dead { queue, spec, slot, reason } in dead.drain(..) {
                let Slot { mut mail, redelivered, .. } = slot;
                if spec.dead_letter_exchange.is_none() {
                    *self.tally.discarded.entry(reason).or_default() += 1;
                    continue;
                }
                *self.tally.dead_lettered.entry(reason).or_default() += 1;
                mail.die(queue, &spec, reason, self.now);
                let mut targets = self.targets(&mail, order);
                targets.retain(|target| reason == "rejected" || !mail.has_come_round(target));
                self.tally.unroutable += u64::from(targets.is_empty());
                for target in targets {
                    let letter = (mail.clone(), redelivered || reason == "rejected");
                    match arrivals.iter_mut().find(|(queue, _)| *queue == target) {
                        Some((_, letters)) => letters.push(letter),
                        None => arrivals.push((target, vec![letter])),
                    }
                }
            }
            for (target, letters) in arrivals {
                for (mail, redelivered) in letters {
                    self.push(target, mail, redelivered, &mut dead);
                }
                self.tidy(target, &mut dead);
            }
        }
    }

    /// A millisecond passes.
    pub(super) fn tick(&mut self, order: Order<'_>) {
        self.now += 1;
        let mut dead = VecDeque::new();
        for index in 0..self.queues.len() {
            self.tidy(self.queues[index].name, &mut dead);
        }
        self.bury(dead, order);
    }

    /// Takes the next message of a queue.
    pub(super) fn get(&mut self, name: &'static str) -> Option<Slot> {
        let queue = self.queue(name)?;
        let place = queue.head()?.place;
        Some(queue.take(place))
    }

    /// Messages of a queue are acknowledged.
    pub(super) fn acknowledge(&mut self, name: &'static str, order: Order<'_>) {
        let mut dead = VecDeque::new();
        self.tidy(name, &mut dead);
        self.bury(dead, order);
    }

    /// Messages of a queue are rejected for good.
    pub(super) fn reject(&mut self, name: &'static str, slots: Vec<Slot>, order: Order<'_>) {
        let spec = self.queue(name).unwrap().spec.clone();
        let dead = |slot| Dead { queue: name, spec: spec.clone(), slot, reason: "rejected" };
        let mut dead: VecDeque<_> = slots.into_iter().map(dead).collect();
        self.tidy(name, &mut dead);
        self.bury(dead, order);
    }

    /// Messages of a queue come back.
    pub(super) fn requeue(
        &mut self,
        name: &'static str,
        slots: Vec<Slot>,
        kind: Return,
        order: Order<'_>,
    ) {
        let (mut dead, now) = (VecDeque::new(), self.now);
        let queue = self.queue(name).unwrap();
        let spec = queue.spec.clone();
        for mut slot in slots {
            slot.redelivered = true;
            slot.deliveries += 1;
            let is_overdue = slot.deadline.is_some_and(|deadline| deadline <= now);
            let waits = spec.delay.filter(|delay| delay.only.is_none_or(|only| only == kind));
            let spec = spec.clone();
            if slot.deliveries > spec.limit() {
                dead.push_back(Dead { queue: name, spec, slot, reason: "delivery_limit" });
            } else if is_overdue {
                dead.push_back(Dead { queue: name, spec, slot, reason: "expired" });
            } else if let Some(Delay { min, max, .. }) = waits {
                let until = now + (min * u64::from(slot.deliveries)).min(max);
                queue.delayed.push((until, slot));
            } else {
                queue.ready.push(slot);
            }
        }
        self.tidy(name, &mut dead);
        self.bury(dead, order);
    }

    /// Drops all that waits in a queue; how much that was.
    pub(super) fn purge(&mut self, name: &'static str) -> u64 {
        let queue = self.queue(name).unwrap();
        let count = queue.ready.len() + queue.delayed.len();
        (queue.ready, queue.delayed) = (Vec::new(), Vec::new());
        count as u64
    }
}
