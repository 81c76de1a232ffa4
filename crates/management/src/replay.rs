//! Replaying dead letters: back to where they came from, some at a time.
//!
//! A replay goes through a queue from the front and publishes what is meant again, as its user would.
//! Each message leaves the queue in the same unit of the journal in which it reaches its new ones: it
//! is neither lost nor doubled, whatever happens. What can't go stays in its place.

mod origin;
mod plan;
mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leveret_broker::access::{Principal, User};
use leveret_broker::{Actor, Place, Session};
use leveret_engine::Millis;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) use self::origin::Target;
pub(crate) use self::plan::plan;
use crate::answer::Failure;
use crate::message_filter::Filter;
use crate::node::Node;

/// Replays that run at a time.
const RUNNING_MAX: usize = 8;
/// Replays that are remembered when they have ended.
const ENDED_MAX: usize = 100;

/// From where a replay is to bring messages to where.
pub(crate) struct Order {
    pub(crate) vhost: String,
    pub(crate) queue: String,
    pub(crate) target: Target,
    /// Messages a second.
    pub(crate) rate: u32,
}

/// Which messages of its queue a replay is to bring. It takes far more than all else of a replay, and is
/// kept for as long as that runs.
pub(crate) struct Wanted {
    pub(crate) filter: Filter,
    /// Only those with these ids.
    pub(crate) ids: Option<BTreeSet<u64>>,
}

impl Wanted {
    fn names(&self, id: u64) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(&id))
    }
}

/// A replay that somebody has asked for.
pub(crate) struct Replay {
    id: u64,
    principal: Principal,
    actor: Arc<Actor>,
    order: Order,
    started_at: Millis,
    /// Messages with greater ids have come later: what dies again is not replayed again.
    until: u64,
    progress: Mutex<Progress>,
    cancelled: CancellationToken,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    state: State,
    looked_at: u64,
    replayed: u64,
    unroutable: u64,
    no_room: u64,
    refused: u64,
    last_refusal: Option<String>,
    /// Why it waits, if it does.
    held: Option<&'static str>,
    error: Option<String>,
    ended_at: Option<Millis>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    Done,
    Cancelled,
    Failed,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// All replays, those that run and the latest that have ended.
pub(crate) struct Replays {
    last: AtomicU64,
    all: Mutex<BTreeMap<u64, Arc<Replay>>>,
    stop: CancellationToken,
}

impl Replays {
    /// All of them end with `stop`.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self { last: AtomicU64::new(0), all: Mutex::default(), stop }
    }

    /// Starts a replay. Called within a runtime.
    ///
    /// # Errors
    /// 400 while as many run as may.
    pub(crate) fn start(
        &self,
        node: &Arc<Node>,
        principal: Principal,
        actor: Arc<Actor>,
        order: Order,
        wanted: Arc<Wanted>,
        now: Millis,
    ) -> Result<Arc<Replay>, Failure> {
        let mut all = self.all.lock();
        let (running, ended): (Vec<u64>, Vec<u64>) =
            all.keys().partition(|id| all.get(id).is_some_and(|replay| replay.is_running()));
        if running.len() >= RUNNING_MAX {
            let reason = format!("{RUNNING_MAX} replays are running already");
            return Err(Failure::bad_request(reason));
        }
        for id in ended.iter().rev().skip(ENDED_MAX) {
            all.remove(id);
        }
        let replay = Arc::new(Replay {
            id: self.last.fetch_add(1, Ordering::Relaxed) + 1,
            principal,
            actor,
            order,
            started_at: now,
            until: node.broker.store().reserve(1).0,
            progress: Mutex::default(),
            cancelled: self.stop.child_token(),
        });
        all.insert(replay.id, Arc::clone(&replay));
        drop(all);
        tokio::spawn(running::run(Arc::clone(&replay), Arc::clone(node), wanted));
        Ok(replay)
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Replay>> {
        self.all.lock().get(&id).cloned()
    }

    /// The latest first.
    pub(crate) fn all(&self) -> Vec<Arc<Replay>> {
        self.all.lock().values().rev().cloned().collect()
    }
}

impl Replay {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn is_of(&self, user: &User) -> bool {
        self.principal.user.name == user.name
    }

    /// Has it end after the step it is at.
    pub(crate) fn cancel(&self) {
        self.cancelled.cancel();
    }

    fn is_running(&self) -> bool {
        self.progress.lock().state == State::Running
    }

    fn session(&self, node: &Node, now: Millis) -> Result<Session, Failure> {
        session(node, &self.principal, &self.actor, &self.order.vhost, now)
    }

    pub(crate) fn to_json(&self) -> Value {
        let Order { vhost, queue, target, rate } = &self.order;
        let progress = self.progress.lock().clone();
        json!({
            "id": self.id,
            "user": self.principal.user.name,
            "vhost": vhost,
            "queue": queue,
            "to": target.as_str(),
            "rate": rate,
            "started_at": self.started_at.0,
            "ended_at": progress.ended_at.map(|at| at.0),
            "state": progress.state.as_str(),
            "held": progress.held,
            "error": progress.error,
            "looked_at": progress.looked_at,
            "replayed": progress.replayed,
            "unroutable": progress.unroutable,
            "no_room": progress.no_room,
            "refused": progress.refused,
            "last_refusal": progress.last_refusal,
        })
    }
}

/// A session of whoever asks.
fn session(
    node: &Node,
    principal: &Principal,
    actor: &Arc<Actor>,
    vhost: &str,
    now: Millis,
) -> Result<Session, Failure> {
    let (principal, actor) = (principal.clone(), Arc::clone(actor));
    let mut session = match actor.from() {
        Place::ControlSocket => Session::of_system(&node.broker, vhost, actor)?,
        _ => Session::of_operator(&node.broker, principal, vhost, actor)?,
    };
    session.begin(now);
    Ok(session)
}

#[cfg(test)]
mod tests {
    use leveret_broker::{DeclareQueue, Imported};
    use leveret_codec::{ArrayBuilder, Properties, TableBuilder, TableLimits};
    use leveret_server::Server;
    use leveret_server::config::{Config, Storage};

    use super::*;
    use crate::login;
    use crate::node::now;

    /// One whose broker listens nowhere.
    pub(super) async fn node() -> (Server, Arc<Node>) {
        let config =
            Config { listen: Vec::new(), storage: Storage::Ephemeral, ..Config::default() };
        let server = Server::start(config).await.unwrap();
        let node = Node::new(&server, Vec::new(), None, CancellationToken::new());
        (server, Arc::new(node))
    }

    /// Letters that another broker had, which died in `orders`.
    pub(super) fn set_up(node: &Node, actor: &Arc<Actor>, letters: usize) {
        let mut session = Session::of_system(&node.broker, "/", Arc::clone(actor)).unwrap();
        session.begin(now());
        for name in ["orders", "dead"] {
            let queue = DeclareQueue {
                name,
                durable: true,
                exclusive: false,
                auto_delete: false,
                arguments: Default::default(),
            };
            session.declare_queue(queue).unwrap();
        }
        let death = TableBuilder::new().put("queue", "orders").put("reason", "rejected").build();
        let deaths = ArrayBuilder::new().push(death.as_table()).build();
        let headers = TableBuilder::new().put("x-death", deaths.as_array()).build();
        let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        let mut raw_properties = Vec::new();
        properties.encode(&mut raw_properties);
        let letter = Imported {
            redelivered: false,
            exchange: "",
            routing_key: "dead",
            raw_properties: &raw_properties,
            body: b"b",
        };
        session.import("dead", &vec![letter; letters], None, &TableLimits::ACCEPTED).unwrap();
        session.finish();
    }

    /// A hundred of those that have ended are remembered, of any number of users.
    #[tokio::test]
    async fn a_replay_that_has_ended_keeps_nothing_of_what_it_looked_for() {
        let (server, node) = node().await;
        let (vhost, queue) = ("/".to_owned(), "nowhere".to_owned());
        let order = Order { vhost, queue, target: Target::Exchange, rate: 1 };
        let wanted = Arc::new(Wanted { filter: Filter::default(), ids: Some([1].into()) });
        let kept = Arc::downgrade(&wanted);
        let (operator, actor) = (login::operator().into(), Actor::at(Place::ControlSocket).into());
        let replay = node.replays.start(&node, operator, actor, order, wanted, now());
        let replay = replay.ok().unwrap();
        assert!(replay.is_running() && kept.strong_count() > 0);
        while replay.is_running() {
            tokio::task::yield_now().await;
        }
        assert_eq!(replay.to_json()["error"], "no queue 'nowhere' in vhost '/'");
        assert_eq!(kept.strong_count(), 0);
        assert!(node.replays.get(replay.id()).is_some());
        server.stop().await;
    }
}
