//! A replay, step by step.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use leveret_broker::{Moved, Publish};
use leveret_codec::{Properties, TableLimits};
use leveret_engine::{Body, Entry};
use leveret_store::Lsn;
use tokio::time::timeout;

use super::origin::Origin;
use super::{Replay, State, Wanted};
use crate::answer::Failure;
use crate::call::CHANNEL;
use crate::node::{Node, now};

/// Messages, and bytes of their bodies, that one step looks at.
const AT_ONCE: usize = 256;
const AT_ONCE_BYTES: u64 = 4 << 20;
/// Steps a second, if the rate allows for as many messages.
const STEPS_PER_SECOND: u32 = 10;
/// How often one that is held looks whether it may go on.
const HELD_PAUSE: Duration = Duration::from_millis(250);

/// How far a replay has got.
#[derive(Default)]
struct Cursor {
    position: u64,
    /// Messages that have gone since it was last at the front.
    moved: u64,
    /// Those that can't go.
    left: HashSet<u64>,
    /// Of those that were named, how many are dealt with.
    dealt_with: usize,
}

/// What a step came to.
struct Step {
    replayed: u64,
    commit: Option<Lsn>,
    is_last: bool,
}

/// Runs until nothing is left to replay, or it is cancelled.
pub(super) async fn run(replay: Arc<Replay>, node: Arc<Node>, wanted: Arc<Wanted>) {
    let ended = replay.steps(&node, wanted).await;
    let mut progress = replay.progress.lock();
    progress.held = None;
    progress.state = ended;
    progress.ended_at = Some(now());
}

impl Replay {
    /// Takes them all, and says how that ended.
    async fn steps(self: &Arc<Self>, node: &Arc<Node>, wanted: Arc<Wanted>) -> State {
        let mut cursor = Cursor::default();
        loop {
            if self.cancelled.is_cancelled() {
                return State::Cancelled;
            }
            // It publishes, and so waits for what publishers wait for.
            let held = node.holds_publishers();
            self.progress.lock().held = held;
            if held.is_some() {
                self.pause(HELD_PAUSE).await;
                continue;
            }
            let began = Instant::now();
            let (this, its_node) = (Arc::clone(self), Arc::clone(node));
            let its_wanted = Arc::clone(&wanted);
            let stepped = tokio::task::spawn_blocking(move || {
                let step = this.step(&its_node, &its_wanted, &mut cursor);
                (cursor, step)
            });
            let Ok((then, step)) = stepped.await else { return State::Failed };
            cursor = then;
            let Ok(Step { replayed, commit, is_last }) =
                step.inspect_err(|failure| self.progress.lock().error = Some(failure.to_string()))
            else {
                return State::Failed;
            };
            if let Some(lsn) = commit {
                node.broker.store().durable(lsn).await;
            }
            self.progress.lock().replayed += replayed;
            if is_last {
                return State::Done;
            }
            let takes = Duration::from_secs(replayed) / self.order.rate;
            self.pause(takes.saturating_sub(began.elapsed())).await;
        }
    }

    /// Waits, unless it is cancelled meanwhile.
    async fn pause(&self, time: Duration) {
        let _ = timeout(time, self.cancelled.cancelled()).await;
    }

    /// Looks at the next messages and moves those that are meant.
    fn step(&self, node: &Node, wanted: &Wanted, cursor: &mut Cursor) -> Result<Step, Failure> {
        let queue = &self.order.queue;
        let most = (self.order.rate / STEPS_PER_SECOND).max(1) as usize;
        let mut session = self.session(node, now())?;
        let browsed = session.browse(queue, cursor.position, AT_ONCE, AT_ONCE_BYTES)?;
        let mut position = browsed.next;
        let mut is_end = browsed.next <= cursor.position || browsed.next >= browsed.end;
        let mut prepared = Vec::new();
        let (mut looked_at, mut refused, mut last_refusal) = (0, 0, None);
        for (at, entry) in &browsed.messages {
            // It may have far to go, and the broker waits for it when it stops.
            if self.cancelled.is_cancelled() {
                (position, is_end) = (*at, false);
                break;
            }
            looked_at += 1;
            let Some(origin) = self.meant(entry, wanted, cursor) else { continue };
            let Origin { exchange, routing_key, properties: raw_properties } = origin;
            let properties = Properties::parse(&raw_properties, &TableLimits::ACCEPTED)?;
            let publish = Publish {
                channel: CHANNEL,
                exchange: &exchange,
                routing_key: &routing_key,
                properties: &properties,
                raw_properties: &raw_properties,
                body: Body::Shared(entry.message.shared_body()),
                replies_to: None,
            };
            match session.prepare(publish) {
                Ok(message) => prepared.push((entry.lsn, message)),
                Err(error) => {
                    refused += 1;
                    last_refusal = Some(error.reply_text().to_string());
                    cursor.stays(entry.lsn.0);
                }
            }
            if prepared.len() == most {
                (position, is_end) = (at + 1, false);
                break;
            }
        }
        let ids: Vec<u64> = prepared.iter().map(|(lsn, _)| lsn.0).collect();
        let movement = session.relocate(queue, prepared)?;
        session.finish();
        let count = |wanted| movement.moved.iter().filter(|moved| **moved == wanted).count() as u64;
        let [replayed, gone] = [Moved::There, Moved::Gone].map(count);
        for (id, moved) in ids.into_iter().zip(&movement.moved) {
            match moved {
                Moved::There | Moved::Gone => cursor.dealt_with += 1,
                Moved::Unroutable | Moved::NoRoom => cursor.stays(id),
            }
        }
        cursor.position = position.saturating_sub(replayed + gone);
        cursor.moved += replayed;
        let is_last = match &wanted.ids {
            Some(ids) if cursor.dealt_with >= ids.len() => true,
            // Those that others have taken meanwhile have brought it forward past some.
            _ if is_end && cursor.moved > 0 => {
                (cursor.position, cursor.moved) = (0, 0);
                false
            }
            _ => is_end,
        };
        let mut progress = self.progress.lock();
        progress.looked_at += looked_at;
        progress.refused += refused;
        progress.unroutable += count(Moved::Unroutable);
        progress.no_room += count(Moved::NoRoom);
        progress.last_refusal = last_refusal.or_else(|| progress.last_refusal.take());
        Ok(Step { replayed, commit: movement.commit, is_last })
    }

    /// What a message was, if it is one of those to be replayed.
    fn meant(&self, entry: &Entry, wanted: &Wanted, cursor: &Cursor) -> Option<Origin> {
        let id = entry.lsn.0;
        if id > self.until || !wanted.names(id) || cursor.left.contains(&id) {
            return None;
        }
        let properties = Properties::parse(entry.message.properties(), &TableLimits::ACCEPTED);
        let properties = properties.unwrap_or_default();
        if !wanted.filter.matches(&entry.message, &properties) {
            return None;
        }
        Origin::of(&entry.message, &properties, self.order.target)
    }
}

impl Cursor {
    fn stays(&mut self, id: u64) {
        self.left.insert(id);
        self.dealt_with += 1;
    }
}

#[cfg(test)]
mod tests {
    use leveret_broker::{Actor, Place};
    use tokio_util::sync::CancellationToken;

    use super::super::tests::{node, set_up};
    use super::super::{Order, Progress, Target};
    use super::*;
    use crate::login;
    use crate::message_filter::Filter;

    #[tokio::test]
    async fn a_step_ends_where_its_replay_is_cancelled() {
        let (server, node) = node().await;
        let actor = Arc::new(Actor::at(Place::ControlSocket));
        set_up(&node, &actor, 3);
        let (vhost, queue) = ("/".to_owned(), "dead".to_owned());
        let mut replay = Replay {
            id: 1,
            principal: login::operator().into(),
            actor,
            order: Order { vhost, queue, target: Target::Queue, rate: 1000 },
            started_at: now(),
            until: u64::MAX,
            progress: Progress::default().into(),
            cancelled: CancellationToken::new(),
        };
        let filter = Filter { is_dead: true, ..Filter::default() };
        let (wanted, mut cursor) = (Wanted { filter, ids: None }, Cursor::default());
        replay.cancel();
        let step = replay.step(&node, &wanted, &mut cursor).ok().unwrap();
        assert_eq!((step.replayed, step.is_last, cursor.position), (0, false, 0));
        assert_eq!(replay.to_json()["looked_at"], 0);
        replay.cancelled = CancellationToken::new();
        let step = replay.step(&node, &wanted, &mut cursor).ok().unwrap();
        assert_eq!(step.replayed, 3);
        assert_eq!(replay.to_json()["looked_at"], 3);
        server.stop().await;
    }
}
