//! The rules as a machine: what is seen and the time go in, what is to be told comes out.
//!
//! It knows no clock, broker or receiver. A look goes over everything once: [`Machine::look`], then
//! each queue, then the node, then [`Look::end`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use leveret_engine::Millis;
use leveret_server::config::{AlertKind, AlertRule};
use regex::Regex;

use super::silence::Silences;

/// Alerts of a rule at a time; what else meets it has to wait for a place.
pub(crate) const ALERTS_MAX: usize = 1000;

/// What an alert is about. Orders by vhost and queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    Node,
    Queue { vhost: Arc<str>, queue: Arc<str> },
}

/// A queue as it is seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueueSample {
    /// Tells it from another of the same name that was there before.
    pub(crate) id: u64,
    pub(crate) ready: u64,
    pub(crate) unacked: u64,
    pub(crate) consumers: usize,
    /// Messages it has got since the broker started.
    pub(crate) received: u64,
    /// When its first message was published, as far as known.
    pub(crate) first_published: Option<Millis>,
}

/// The node as it is seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NodeSample {
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) memory_alarm: bool,
    pub(crate) disk_free_bytes: Option<u64>,
    pub(crate) disk_alarm: bool,
    /// Messages without a route since the broker started.
    pub(crate) unroutable: u64,
}

/// An alert at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) subject: Subject,
    /// Messages, milliseconds or bytes, as the rule counts.
    pub(crate) value: u64,
    /// Since when the rule is met.
    pub(crate) since: Millis,
}

/// What somebody is to be told.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) rule: Arc<AlertRule>,
    /// Or that it is over.
    pub(crate) is_firing: bool,
    pub(crate) alerts: Vec<Alert>,
}

/// All rules and where they stand.
#[derive(Default)]
pub(crate) struct Machine {
    rules: Vec<Watched>,
    received: HashMap<u64, Counter>,
    unroutable: Option<u64>,
    /// Whether there was a look before, so that what a counter says can be compared.
    has_looked: bool,
    round: u64,
}

/// A counter at a look.
struct Counter {
    value: u64,
    round: u64,
}

struct Watched {
    rule: Arc<AlertRule>,
    queues: Option<Regex>,
    alerts: BTreeMap<Subject, Standing>,
}

/// Where an alert stands.
struct Standing {
    since: Millis,
    value: u64,
    last_met: Millis,
    is_firing: bool,
    told_at: Option<Millis>,
    /// The look that met it last.
    round: u64,
}

impl Machine {
    /// Takes rules over. What is known of one that stays the same goes on.
    pub(crate) fn set_rules(&mut self, rules: &[AlertRule]) {
        let mut old: HashMap<String, Watched> =
            self.rules.drain(..).map(|one| (one.rule.name.clone(), one)).collect();
        let watched = |rule: &AlertRule| match old.remove(&rule.name) {
            Some(same) if *same.rule == *rule => same,
            _ => Watched {
                rule: Arc::new(rule.clone()),
                // The configuration has checked that it is one.
                queues: rule.queues.as_deref().and_then(|queues| Regex::new(queues).ok()),
                alerts: BTreeMap::new(),
            },
        };
        self.rules = rules.iter().map(watched).collect();
    }

    /// Whether any rule needs to see the queues.
    pub(crate) fn needs_queues(&self) -> bool {
        self.rules.iter().any(|one| one.rule.when.is_of_queues())
    }

    /// The rules in their order, each with those of its alerts that fire.
    pub(crate) fn firing(&self) -> impl Iterator<Item = (&Arc<AlertRule>, Vec<Alert>)> {
        self.rules.iter().map(|one| (&one.rule, one.firing()))
    }

    /// Begins a look at everything.
    pub(crate) fn look(&mut self, now: Millis) -> Look<'_> {
        self.round += 1;
        Look { now, machine: self }
    }
}

/// A look that is under way.
pub(crate) struct Look<'m> {
    now: Millis,
    machine: &'m mut Machine,
}

impl Look<'_> {
    /// A queue. Called once for each there is.
    pub(crate) fn queue(&mut self, vhost: &Arc<str>, name: &Arc<str>, sample: &QueueSample) {
        let Machine { rules, received, has_looked, round, .. } = &mut *self.machine;
        let mut arrived = None;
        for watched in rules {
            if !watched.is_about(vhost, name) {
                continue;
            }
            let subject = || Subject::Queue { vhost: Arc::clone(vhost), queue: Arc::clone(name) };
            let bound = watched.rule.bound();
            let value = match watched.rule.when {
                AlertKind::Backlog => above(sample.ready + sample.unacked, bound),
                AlertKind::Age => {
                    let age = sample.first_published.map(|at| self.now.0.saturating_sub(at.0));
                    age.and_then(|age| above(age, bound))
                }
                AlertKind::NoConsumers if sample.consumers == 0 => {
                    above(sample.ready, bound.or(Some(0)))
                }
                AlertKind::DeadLetters => {
                    let arrived = *arrived.get_or_insert_with(|| {
                        let seen = Counter { value: sample.received, round: *round };
                        match received.insert(sample.id, seen) {
                            Some(before) => sample.received.saturating_sub(before.value),
                            // A queue that is new has got all of it since the last look.
                            None if *has_looked => sample.received,
                            None => 0,
                        }
                    });
                    let held = sample.ready + sample.unacked;
                    let goes_on = held > 0 && watched.alerts.contains_key(&subject());
                    above(arrived, bound.or(Some(0)))
                        .or_else(|| goes_on.then_some(0))
                        .map(|_| held.max(arrived))
                }
                _ => None,
            };
            if let Some(value) = value {
                watched.met(subject(), value, self.now, *round);
            }
        }
    }

    /// The node.
    pub(crate) fn node(&mut self, sample: &NodeSample) {
        let Machine { rules, unroutable, has_looked, round, .. } = &mut *self.machine;
        let lost = match unroutable.replace(sample.unroutable) {
            Some(before) if *has_looked => sample.unroutable.saturating_sub(before),
            _ => 0,
        };
        for watched in rules {
            let bound = watched.rule.bound();
            let value = match (watched.rule.when, bound) {
                (AlertKind::Memory, Some(_)) => {
                    sample.memory_bytes.and_then(|bytes| above(bytes, bound))
                }
                (AlertKind::Memory, None) => {
                    sample.memory_alarm.then(|| sample.memory_bytes.unwrap_or_default())
                }
                (AlertKind::Disk, Some(bound)) => {
                    sample.disk_free_bytes.filter(|bytes| *bytes < bound)
                }
                (AlertKind::Disk, None) => {
                    sample.disk_alarm.then(|| sample.disk_free_bytes.unwrap_or_default())
                }
                (AlertKind::Unroutable, bound) => above(lost, bound.or(Some(0))),
                _ => None,
            };
            if let Some(value) = value {
                watched.met(Subject::Node, value, self.now, *round);
            }
        }
    }

    /// Ends the look and says what is to be told. What is silenced is told when the silence is over,
    /// if it is still so.
    pub(crate) fn end(self, silences: &Silences) -> Vec<Notice> {
        let Self { now, machine } = self;
        machine.has_looked = true;
        let round = machine.round;
        machine.received.retain(|_, counter| counter.round == round);
        let mut notices = Vec::new();
        for watched in &mut machine.rules {
            watched.end(now, round, silences, &mut notices);
        }
        notices
    }
}

impl Watched {
    fn is_about(&self, vhost: &str, queue: &str) -> bool {
        self.rule.when.is_of_queues()
            && self.rule.vhost.as_deref().is_none_or(|own| own == vhost)
            && self.queues.as_ref().is_none_or(|queues| queues.is_match(queue))
    }

    fn met(&mut self, subject: Subject, value: u64, now: Millis, round: u64) {
        if let Some(standing) = self.alerts.get_mut(&subject) {
            (standing.value, standing.last_met, standing.round) = (value, now, round);
        } else if self.alerts.len() < ALERTS_MAX {
            let standing = Standing {
                since: now,
                value,
                last_met: now,
                is_firing: false,
                told_at: None,
                round,
            };
            self.alerts.insert(subject, standing);
        }
    }

    fn end(&mut self, now: Millis, round: u64, silences: &Silences, notices: &mut Vec<Notice>) {
        let (rule, repeat) = (Arc::clone(&self.rule), millis(self.rule.repeat));
        let is_silenced = |subject: &Subject| silences.cover(&rule.name, subject, now);
        let over_after = millis(rule.over_after);
        let mut over = Vec::new();
        self.alerts.retain(|subject, standing| {
            // One that doesn't fire yet has to be met without a break.
            let is_met = standing.round == round;
            let stays = is_met
                || (standing.is_firing && now.0.saturating_sub(standing.last_met.0) < over_after);
            if !stays && standing.told_at.is_some() && !is_silenced(subject) {
                over.push(alert(subject, standing));
            }
            stays
        });
        let mut told = Vec::new();
        for (subject, standing) in &mut self.alerts {
            if standing.round != round {
                continue;
            }
            let lasted = now.0.saturating_sub(standing.since.0);
            standing.is_firing |= lasted >= millis(rule.lasting);
            let is_due = standing.told_at.is_none_or(|at| now.0.saturating_sub(at.0) >= repeat);
            if standing.is_firing && is_due && !is_silenced(subject) {
                standing.told_at = Some(now);
                told.push(alert(subject, standing));
            }
        }
        for (is_firing, alerts) in [(false, over), (true, told)] {
            if !alerts.is_empty() {
                notices.push(Notice { rule: Arc::clone(&rule), is_firing, alerts });
            }
        }
    }

    fn firing(&self) -> Vec<Alert> {
        let firing = self.alerts.iter().filter(|(_, one)| one.is_firing);
        firing.map(|(subject, standing)| alert(subject, standing)).collect()
    }
}

fn alert(subject: &Subject, standing: &Standing) -> Alert {
    Alert { subject: subject.clone(), value: standing.value, since: standing.since }
}

/// The value, if it is above the bound.
fn above(value: u64, bound: Option<u64>) -> Option<u64> {
    bound.filter(|bound| value > *bound).map(|_| value)
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
