//! Alerts: the broker tells by itself what an operator has to know.
//!
//! `machine.rs` decides, and is pure; `watch.rs` has it look at the broker at an interval; a courier
//! for each receiver brings what is to be told by webhook, e-mail or command.

mod command;
mod courier;
mod email;
mod machine;
mod notice;
mod silence;
mod watch;
mod webhook;

use std::collections::BTreeMap;

use leveret_broker::{Administration, Broker};
use leveret_engine::Millis;
use leveret_server::config::AlertsConfig;
use leveret_store::Lsn;
use parking_lot::Mutex;
use serde_json::{Value, json};

use self::courier::Courier;
#[cfg(test)]
pub(crate) use self::courier::TRY_TIMEOUT;
use self::machine::Machine;
pub(crate) use self::silence::{SILENCES, Silence, Silences};
pub(crate) use self::watch::run;

/// All that is known of alerts.
#[derive(Default)]
pub(crate) struct Alerts {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    config: AlertsConfig,
    machine: Machine,
    couriers: BTreeMap<String, Courier>,
    /// When the rules were looked at.
    looked_at: Option<Millis>,
}

impl Alerts {
    /// Adds a silence and gives its id, and what has to be on disk for it to last; `None` if there
    /// are too many.
    pub(crate) fn silence(
        &self,
        administration: Administration<'_>,
        silence: Silence,
        now: Millis,
    ) -> Option<(u64, Option<Lsn>)> {
        let _one_at_a_time = self.state.lock();
        let mut silences = Silences::of(administration.broker());
        let id = silences.add(silence, now)?;
        Some((id, silences.keep(administration)))
    }

    /// Ends a silence, and says what has to be on disk for that; `None` if there was none.
    pub(crate) fn end_silence(
        &self,
        administration: Administration<'_>,
        id: u64,
        now: Millis,
    ) -> Option<Option<Lsn>> {
        let _one_at_a_time = self.state.lock();
        let mut silences = Silences::of(administration.broker());
        silences.remove(id, now).then(|| silences.keep(administration))
    }

    /// Whether there is such a rule.
    pub(crate) fn has_rule(&self, name: &str) -> bool {
        self.state.lock().config.rules.iter().any(|rule| rule.name == name)
    }

    /// Rules, what fires, silences, and how the receivers are reached.
    pub(crate) fn to_json(&self, broker: &Broker, now: Millis) -> Value {
        let silences = Silences::of(broker);
        let state = self.state.lock();
        let (mut rules, mut alerts) = (Vec::new(), Vec::new());
        for (rule, firing) in state.machine.firing() {
            rules.push(notice::rule_to_json(rule, firing.len()));
            for alert in firing {
                let is_silenced = silences.cover(&rule.name, &alert.subject, now);
                alerts.push(notice::shown_to_json(rule, &alert, is_silenced));
            }
        }
        let receivers = state.couriers.iter().map(|(name, courier)| courier.to_json(name));
        json!({
            "interval_ms": notice::millis(state.config.interval),
            "looked_at": state.looked_at.map(|at| at.0),
            "rules": rules,
            "alerts": alerts,
            "silences": silences.to_json(now),
            "receivers": receivers.collect::<Value>(),
        })
    }
}
