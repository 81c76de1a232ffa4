//! Silences: alerts nobody is to be told of for a while.

use leveret_broker::{Administration, Broker};
use leveret_engine::Millis;
use leveret_store::Lsn;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::machine::Subject;

/// Silences at a time.
const SILENCES_MAX: usize = 1000;
/// The global parameter they are kept in, which outlives the broker.
pub(crate) const SILENCES: &str = "leveret_silences";

/// Whose alerts are not told of, and until when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Silence {
    pub(crate) id: u64,
    /// Only of this rule.
    pub(crate) rule: Option<String>,
    /// Only about queues of this vhost.
    pub(crate) vhost: Option<String>,
    /// Only about queues of this name.
    pub(crate) queue: Option<String>,
    /// In Unix milliseconds.
    pub(crate) until: u64,
    pub(crate) comment: String,
    /// Who wanted it.
    pub(crate) user: String,
}

/// Those that hold.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Silences {
    all: Vec<Silence>,
    last: u64,
}

impl Silences {
    /// Those a broker keeps; none if what stands in their place is something else.
    pub(crate) fn of(broker: &Broker) -> Self {
        let kept = broker.global_parameter(SILENCES);
        kept.and_then(|kept| serde_json::from_value(kept).ok()).unwrap_or_default()
    }

    /// Keeps them in the place of those the broker has; what has to be on disk for that.
    pub(crate) fn keep(&self, administration: Administration<'_>) -> Option<Lsn> {
        let kept = serde_json::to_value(self).unwrap_or_default();
        administration.keep_global_parameter(SILENCES, kept).commit
    }

    /// Adds one and gives its id; `None` if there are too many.
    pub(crate) fn add(&mut self, silence: Silence, now: Millis) -> Option<u64> {
        self.forget(now);
        if self.all.len() >= SILENCES_MAX {
            return None;
        }
        self.last += 1;
        self.all.push(Silence { id: self.last, ..silence });
        Some(self.last)
    }

    /// Ends one; whether there was one.
    pub(crate) fn remove(&mut self, id: u64, now: Millis) -> bool {
        self.forget(now);
        let before = self.all.len();
        self.all.retain(|one| one.id != id);
        self.all.len() < before
    }

    /// Those that hold at this time.
    fn holding(&self, now: Millis) -> impl Iterator<Item = &Silence> {
        self.all.iter().filter(move |one| now.0 < one.until)
    }

    /// Those that hold at this time, in JSON.
    pub(crate) fn to_json(&self, now: Millis) -> Value {
        self.holding(now).map(Silence::to_json).collect()
    }

    /// Whether nobody is to be told of this.
    pub(crate) fn cover(&self, rule: &str, subject: &Subject, now: Millis) -> bool {
        self.holding(now).any(|one| one.covers(rule, subject))
    }

    fn forget(&mut self, now: Millis) {
        self.all.retain(|one| now.0 < one.until);
    }
}

impl Silence {
    fn covers(&self, rule: &str, subject: &Subject) -> bool {
        let fits = |wanted: &Option<String>, is: Option<&str>| match wanted {
            None => true,
            Some(wanted) => is == Some(wanted),
        };
        let (vhost, queue) = match subject {
            Subject::Node => (None, None),
            Subject::Queue { vhost, queue } => (Some(vhost.as_ref()), Some(queue.as_ref())),
        };
        fits(&self.rule, Some(rule)) && fits(&self.vhost, vhost) && fits(&self.queue, queue)
    }

    fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "rule": self.rule,
            "vhost": self.vhost,
            "queue": self.queue,
            "until": self.until,
            "comment": self.comment,
            "user": self.user,
        })
    }
}
