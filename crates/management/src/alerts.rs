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
mod trust;
mod watch;
mod webhook;

use std::collections::BTreeMap;

use leveret_engine::Millis;
use leveret_server::config::AlertsConfig;
use parking_lot::Mutex;
use serde_json::{Value, json};

use self::courier::Courier;
use self::machine::Machine;
pub(crate) use self::silence::Silence;
use self::silence::Silences;
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
    silences: Silences,
    couriers: BTreeMap<String, Courier>,
    /// When the rules were looked at.
    looked_at: Option<Millis>,
}

impl Alerts {
    /// Adds a silence and gives its id; `None` if there are too many.
    pub(crate) fn silence(&self, silence: Silence, now: Millis) -> Option<u64> {
        self.state.lock().silences.add(silence, now)
    }

    /// Ends a silence; whether there was one.
    pub(crate) fn end_silence(&self, id: u64, now: Millis) -> bool {
        self.state.lock().silences.remove(id, now)
    }

    /// Whether there is such a rule.
    pub(crate) fn has_rule(&self, name: &str) -> bool {
        self.state.lock().config.rules.iter().any(|rule| rule.name == name)
    }

    /// The silences that hold.
    pub(crate) fn silences(&self, now: Millis) -> Value {
        self.state.lock().silences.holding(now).map(Silence::to_json).collect()
    }

    /// Rules, what fires, silences, and how the receivers are reached.
    pub(crate) fn to_json(&self, now: Millis) -> Value {
        let state = self.state.lock();
        let (mut rules, mut alerts) = (Vec::new(), Vec::new());
        for (rule, firing) in state.machine.firing() {
            rules.push(notice::rule_to_json(rule, firing.len()));
            for alert in firing {
                let is_silenced = state.silences.cover(&rule.name, &alert.subject, now);
                alerts.push(notice::shown_to_json(rule, &alert, is_silenced));
            }
        }
        let receivers = state.couriers.iter().map(|(name, courier)| courier.to_json(name));
        json!({
            "interval_ms": notice::millis(state.config.interval),
            "looked_at": state.looked_at.map(|at| at.0),
            "rules": rules,
            "alerts": alerts,
            "silences": state.silences.holding(now).map(Silence::to_json).collect::<Value>(),
            "receivers": receivers.collect::<Value>(),
        })
    }
}
