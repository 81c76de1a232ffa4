//! The policies of a vhost, and which of them an object has.

use std::sync::Arc;

use super::applied::AppliedPolicies;
use super::{NamedPolicy, PolicyKind, Target};
use crate::queue_type::QueueType;

/// The steps of a pattern that looks around or refers back take as long as putting so many messages into a
/// queue, about.
const PLACES_OF_STEPS: usize = 1024;

/// The policies of a vhost. Cheap to clone: objects share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicySet {
    users: Ranking,
    operators: Ranking,
}

/// Policies of one kind by priority, those of one priority by name.
#[derive(Clone, Debug, Default)]
struct Ranking(Vec<Arc<NamedPolicy>>);

impl PolicySet {
    /// Adds a policy, in the place of one of its name.
    pub(crate) fn insert(&mut self, kind: PolicyKind, policy: Arc<NamedPolicy>) {
        self.ranking_mut(kind).insert(policy);
    }

    /// Whether there was one of that name.
    pub(crate) fn remove(&mut self, kind: PolicyKind, name: &str) -> bool {
        self.ranking_mut(kind).remove(name)
    }

    pub(crate) fn get(&self, kind: PolicyKind, name: &str) -> Option<&Arc<NamedPolicy>> {
        self.of(kind).iter().find(|policy| &*policy.name == name)
    }

    /// Those of one kind, the one that wins first.
    pub(crate) fn of(&self, kind: PolicyKind) -> &[Arc<NamedPolicy>] {
        match kind {
            PolicyKind::User => &self.users.0,
            PolicyKind::Operator => &self.operators.0,
        }
    }

    /// What their patterns take in memory at most, in bytes, about.
    pub(crate) fn pattern_memory(&self) -> usize {
        self.users.0.iter().chain(&self.operators.0).map(|policy| policy.pattern_memory).sum()
    }

    /// What looking for the policies of a name takes, in places that messages take in queues.
    pub(crate) fn places(&self) -> usize {
        let all = self.users.0.iter().chain(&self.operators.0);
        all.filter(|policy| policy.may_step_back()).count() * PLACES_OF_STEPS
    }

    /// Those a queue has.
    pub(crate) fn of_queue(&self, name: &str, queue_type: QueueType) -> AppliedPolicies {
        let target = Target::Queue { name, queue_type };
        let [user, operator] = [&self.users, &self.operators].map(|ranking| ranking.first(target));
        AppliedPolicies { user, operator }
    }

    /// The one an exchange has: operators' are for queues.
    pub(crate) fn of_exchange(&self, name: &str) -> AppliedPolicies {
        AppliedPolicies { user: self.users.first(Target::Exchange(name)), operator: None }
    }

    fn ranking_mut(&mut self, kind: PolicyKind) -> &mut Ranking {
        match kind {
            PolicyKind::User => &mut self.users,
            PolicyKind::Operator => &mut self.operators,
        }
    }
}

impl Ranking {
    fn insert(&mut self, policy: Arc<NamedPolicy>) {
        self.remove(&policy.name);
        let before = |other: &Arc<NamedPolicy>| {
            let (own, others) = (policy.policy.priority, other.policy.priority);
            others > own || (others == own && other.name < policy.name)
        };
        let place = self.0.partition_point(before);
        self.0.insert(place, policy);
    }

    fn remove(&mut self, name: &str) -> bool {
        let count = self.0.len();
        self.0.retain(|policy| &*policy.name != name);
        self.0.len() < count
    }

    fn first(&self, target: Target<'_>) -> Option<Arc<NamedPolicy>> {
        self.0.iter().find(|policy| policy.applies_to(target)).cloned()
    }
}
