//! Setting and clearing policies, and what that does to the objects that exist.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ahash::HashMap;
use leveret_engine::Millis;
use leveret_store::{Definition, Lsn, Table};
use serde_json::{Value, json};
use thiserror::Error;

use super::applied::AppliedPolicies;
use super::invalid::InvalidPolicy;
use super::set::PolicySet;
use super::{NamedPolicy, PATTERNS_BYTES_MAX, Policy, PolicyKind};
use crate::administration::Administration;
use crate::broker::Broker;
use crate::definitions::{self, DefinitionError};
use crate::limits::reached;
use crate::session::define;
use crate::turn::Turn;
use crate::vhost::Vhost;

/// Why a policy was not set or cleared.
#[derive(Debug, Error)]
pub enum PolicyRefused {
    /// There is no such vhost.
    #[error("vhost '{0}' not found")]
    NoSuchVhost(String),
    /// The vhost has as many as it may have.
    #[error("cannot set {what} '{name}' in vhost '{vhost}': policy limit of {limit} is reached")]
    TooMany {
        /// What it is to be.
        what: &'static str,
        /// Its name.
        name: String,
        /// Where it is to be.
        vhost: String,
        /// How many there may be.
        limit: u64,
    },
    /// The patterns of the vhost's policies would take too much memory.
    #[error(
        "cannot set {what} '{name}' in vhost '{vhost}': compiled, the patterns of its policies would take more \
         than {limit} bytes"
    )]
    TooMuchToMatch {
        /// What it is to be.
        what: &'static str,
        /// Its name.
        name: String,
        /// Where it is to be.
        vhost: String,
        /// What they may take.
        limit: usize,
    },
    /// There is no policy of that name to clear.
    #[error("Parameter does not exist")]
    NoSuchPolicy,
    /// It is not sound.
    #[error(transparent)]
    Invalid(#[from] InvalidPolicy),
}

impl Administration<'_> {
    /// Sets a policy, in the place of one of its name, and applies it to the queues and exchanges
    /// that exist. It is durable once the LSN is.
    ///
    /// Queues take new limits at once, though a long queue comes down to a lower one over several
    /// ticks; messages that are there keep the time to live they came with. Unused queues begin a new
    /// term when `expires` changes.
    ///
    /// # Errors
    /// When there is no such vhost, the policy is not sound: in RabbitMQ's words, or it is one too many.
    pub fn put_policy(
        &self,
        vhost: &str,
        kind: PolicyKind,
        name: &str,
        policy: Policy,
        now: Millis,
    ) -> Result<Option<Lsn>, PolicyRefused> {
        let policy = Arc::new(NamedPolicy::new(kind, name, policy)?);
        policy.check_length()?;
        let found = self.broker.vhost(vhost);
        let vhost = found.ok_or_else(|| PolicyRefused::NoSuchVhost(vhost.to_owned()))?;
        let definition = Definition::Put {
            table: Table::Policies,
            key: key(&vhost, kind, name),
            value: definitions::encode(&policy.policy.to_json()),
        };
        let legacy: Vec<&str> = policy.legacy_settings().collect();
        if !legacy.is_empty() {
            tracing::warn!(
                "{} '{name}' in vhost '{}': no effect of {}",
                kind.component(),
                vhost.name(),
                legacy.join(", ")
            );
        }
        let before = vhost.policy(kind, name).map_or(Value::Null, |it| it.policy.to_json());
        let after = policy.policy.to_json();
        let limit = self.broker.limits.policies_per_vhost;
        let insert = |policies: &mut PolicySet| {
            let is_new = policies.get(kind, name).is_none();
            let reached = reached(limit, policies.of(kind).len() as u64).filter(|_| is_new);
            if let Some(limit) = reached {
                let (what, name) = (kind.words(), name.to_owned());
                let vhost = vhost.name().to_string();
                return Err(PolicyRefused::TooMany { what, name, vhost, limit });
            }
            let before = policies.pattern_memory();
            policies.insert(kind, Arc::clone(&policy));
            // What was set before there was a bound stays.
            if policies.pattern_memory() > before.max(PATTERNS_BYTES_MAX) {
                let (what, name) = (kind.words(), name.to_owned());
                let (vhost, limit) = (vhost.name().to_string(), PATTERNS_BYTES_MAX);
                return Err(PolicyRefused::TooMuchToMatch { what, name, vhost, limit });
            }
            Ok(())
        };
        let commit = self.change_policies(&vhost, definition, insert, now)?;
        self.record(&action(kind, "set"), object(&vhost, name), before, after);
        Ok(commit)
    }

    /// Clears a policy: objects that had it have the next one that matches, or what their arguments
    /// say. Durable once the LSN is.
    ///
    /// # Errors
    /// When there is no such vhost, or no such policy in it.
    pub fn delete_policy(
        &self,
        vhost: &str,
        kind: PolicyKind,
        name: &str,
        now: Millis,
    ) -> Result<Option<Lsn>, PolicyRefused> {
        let found = self.broker.vhost(vhost);
        let vhost = found.ok_or_else(|| PolicyRefused::NoSuchVhost(vhost.to_owned()))?;
        let before = vhost.policy(kind, name).ok_or(PolicyRefused::NoSuchPolicy)?;
        let definition =
            Definition::Delete { table: Table::Policies, key: key(&vhost, kind, name) };
        let remove = |policies: &mut PolicySet| {
            policies.remove(kind, name);
            Ok(())
        };
        let commit = self.change_policies(&vhost, definition, remove, now)?;
        let before = before.policy.to_json();
        self.record(&action(kind, "cleared"), object(&vhost, name), before, Value::Null);
        Ok(commit)
    }

    fn change_policies(
        &self,
        vhost: &Vhost,
        definition: Definition,
        change: impl FnOnce(&mut PolicySet) -> Result<(), PolicyRefused>,
        now: Millis,
    ) -> Result<Option<Lsn>, PolicyRefused> {
        // One change at a time: the last one is the one that the queues end up with.
        let _changing = vhost.policy_changes.lock();
        let directory = vhost.directory.read();
        let (mut policies, exchanges) =
            (Arc::clone(&directory.policies), directory.exchange_names());
        drop(directory);
        change(Arc::make_mut(&mut policies))?;
        // Before anybody has to wait for the directory: expressions may take their time.
        let exchanges = exchanges.into_iter().map(|name| {
            let policies = policies.of_exchange(&name);
            (name, policies)
        });
        let exchanges: HashMap<Arc<str>, AppliedPolicies> = exchanges.collect();
        let gone = |_| PolicyRefused::NoSuchVhost(vhost.name().to_string());
        let mut directory = vhost.directory_mut().map_err(gone)?;
        // A queue that comes later finds the new policies in the directory.
        directory.policies = Arc::clone(&policies);
        let commit = define(self.broker, &[definition]);
        if directory.apply_policies_to_exchanges(&exchanges) {
            vhost.changed();
        }
        let queues = directory.all_queues();
        drop(directory);
        let mut turn = Turn::new();
        turn.begin(now, self.broker.store());
        for queue in queues {
            queue.apply_policies(policies.of_queue(&queue.name, queue.queue_type), &mut turn);
            self.broker.finish(&mut turn);
        }
        self.broker.policy_generation.fetch_add(1, Ordering::Release);
        Ok(commit)
    }
}

impl Broker {
    /// A number that changes with every change of policies, once the queues know of it.
    pub fn policy_generation(&self) -> u64 {
        self.policy_generation.load(Ordering::Acquire)
    }
}

impl Vhost {
    /// The policies of one kind, by name.
    pub fn policies(&self, kind: PolicyKind) -> Vec<Arc<NamedPolicy>> {
        let mut policies = self.directory.read().policies.of(kind).to_vec();
        policies.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        policies
    }

    /// The policy of this name.
    pub fn policy(&self, kind: PolicyKind, name: &str) -> Option<Arc<NamedPolicy>> {
        self.directory.read().policies.get(kind, name).cloned()
    }

    /// The policies an exchange has; none for one that isn't there, and for the default exchange.
    /// Those of a queue are its own to tell: [`SharedQueue::policies`](crate::SharedQueue::policies).
    pub fn exchange_policies(&self, exchange: &str) -> Option<AppliedPolicies> {
        let directory = self.directory.read();
        directory.topology.exchange(exchange)?;
        let policies = Arc::clone(&directory.policies);
        drop(directory);
        Some(policies.of_exchange(exchange))
    }
}

/// Puts a stored policy back. The vhost has no queues yet.
pub(crate) fn restore(broker: &Broker, key: &[u8], value: &[u8]) -> Result<(), DefinitionError> {
    let [vhost, kind, name] = definitions::key_parts(key)?;
    let kinds = [PolicyKind::User, PolicyKind::Operator];
    let kind = kinds.into_iter().find(|one| one.component().as_bytes() == kind);
    let kind = kind.ok_or(DefinitionError::Key)?;
    let (name, stored): (_, Value) = (definitions::name(name)?, definitions::decode(value)?);
    let policy = NamedPolicy::new(kind, name, Policy::from_json(name, &stored)?)?;
    let vhost = broker.vhost(definitions::name(vhost)?).ok_or(DefinitionError::Orphan)?;
    let mut directory = vhost.directory.write();
    Arc::make_mut(&mut directory.policies).insert(kind, Arc::new(policy));
    directory.apply_policies_to_exchanges(&HashMap::default());
    Ok(())
}

/// The deletions that take all policies of a vhost away.
pub(crate) fn deletions(vhost: &Vhost, policies: &PolicySet) -> Vec<Definition> {
    let of_kind = |kind: PolicyKind| {
        policies.of(kind).iter().map(move |policy| Definition::Delete {
            table: Table::Policies,
            key: key(vhost, kind, &policy.name),
        })
    };
    of_kind(PolicyKind::User).chain(of_kind(PolicyKind::Operator)).collect()
}

/// RabbitMQ's words for policies, also of operators.
fn action(kind: PolicyKind, verb: &str) -> String {
    match kind {
        PolicyKind::User => format!("policy.{verb}"),
        PolicyKind::Operator => format!("operator.policy.{verb}"),
    }
}

fn object(vhost: &Vhost, name: &str) -> Value {
    json!({ "vhost": vhost.name().as_ref(), "policy": name })
}

fn key(vhost: &Vhost, kind: PolicyKind, name: &str) -> Vec<u8> {
    definitions::key(&[vhost.name().as_bytes(), kind.component().as_bytes(), name.as_bytes()])
}
