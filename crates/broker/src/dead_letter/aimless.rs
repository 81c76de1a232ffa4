//! Dead letters that get nowhere: they take no space, so that they need not wait for any.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::{HashMap, HashSet};
use leveret_engine::{AnyEntry, QueueId};
use smallvec::SmallVec;

use super::{DeadLettering, Death, Onward, Strategy, take_portion};
use crate::broker::Broker;

/// Exchanges that a letter may be passed on by, each the alternate of the one before: behind so many it is not
/// looked whether there is one that leads on.
const PASSED_MAX: usize = 8;

impl Broker {
    /// Takes a portion of those out that get nowhere now, none from behind another of its queue that
    /// stays. That is told without their messages: where only a message's keys would tell, it stays.
    pub(super) fn take_aimless(
        &self,
        deaths: &mut VecDeque<Death<AnyEntry>>,
    ) -> Vec<Death<AnyEntry>> {
        // Of each queue how those are dead-lettered that may be taken, while some may.
        let mut ways: HashMap<QueueId, Option<Arc<DeadLettering>>> = HashMap::default();
        let (mut aimless, mut others): (VecDeque<_>, VecDeque<_>) =
            deaths.drain(..).partition(|Death { source, .. }| {
                let way = ways
                    .entry(source.queue)
                    .or_insert_with(|| self.is_aimless(source).then(|| Arc::clone(source)));
                way.take_if(|way| !Arc::ptr_eq(way, source));
                way.is_some()
            });
        let portion = take_portion(&mut aimless);
        aimless.append(&mut others);
        *deaths = aimless;
        portion
    }

    /// Queues of which letters wait, the first of them one that gets nowhere now.
    pub(super) fn aimless_queues(&self) -> HashSet<QueueId> {
        let sources = self.postponed.lock().look_at_first();
        let aimless = sources.iter().filter(|source| self.is_aimless(source));
        aimless.map(|source| source.queue).collect()
    }

    /// Whether no letter of such a queue gets anywhere now.
    fn is_aimless(&self, source: &DeadLettering) -> bool {
        if source.strategy != Strategy::AtMostOnce || source.onward != Onward::Dead {
            return false;
        }
        let Some(vhost) = self.vhost(&source.vhost) else { return true };
        let directory = vhost.directory.read();
        let (mut name, mut passed) = (&*source.exchange, SmallVec::<[&str; PASSED_MAX]>::new());
        while passed.len() < PASSED_MAX {
            if name.is_empty() {
                let key = source.routing_key.as_deref();
                return key.is_some_and(|key| directory.queue(key).is_none());
            }
            let Some(exchange) = directory.topology.exchange(name) else { return true };
            if exchange.keeper().is_some() || directory.topology.has_bindings_from(name) {
                return false;
            }
            passed.push(name);
            match exchange.alternate() {
                Some(alternate) if !passed.contains(&alternate) => name = alternate,
                _ => return true,
            }
        }
        false
    }
}
