//! What streams have to do for their readers though nobody asks for it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

use leveret_engine::{Millis, QueueId};
use leveret_store::Lsn;
use parking_lot::Mutex;

use crate::broker::Broker;
use crate::queue::SharedQueue;
use crate::tick::Progress;
use crate::turn::Turn;

/// Why a stream has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Messages have reached the disk.
    Committed,
    /// Its readers got as much as one turn gives.
    Behind,
}

/// Streams served in one go.
const STREAMS_AT_ONCE: usize = 64;

/// Streams that wait for their messages to be on disk, and streams whose readers got as much as one
/// turn gives. A leaf among the locks, taken under a queue's.
#[derive(Default)]
pub(crate) struct StreamWork(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    /// By the first message that is not known to be on disk; each stream once.
    awaiting: BTreeMap<(Lsn, QueueId), Weak<SharedQueue>>,
    behind: Vec<Weak<SharedQueue>>,
    /// Whoever serves them has to look.
    has_news: bool,
    waker: Option<Waker>,
}

impl StreamWork {
    /// A stream can show a message once this record is on disk.
    pub(crate) fn await_commit(&self, lsn: Lsn, id: QueueId, stream: Weak<SharedQueue>) {
        let mut lists = self.0.lock();
        let is_first = lists.awaiting.first_key_value().is_none_or(|((first, _), _)| *first > lsn);
        lists.awaiting.insert((lsn, id), stream);
        if is_first {
            lists.tell();
        }
    }

    /// A stream has readers that can go on at once.
    pub(crate) fn go_on(&self, stream: Weak<SharedQueue>) {
        let mut lists = self.0.lock();
        lists.behind.push(stream);
        lists.tell();
    }

    /// Takes some of the streams that have something to do.
    fn take_due(&self, durable: Lsn) -> Vec<(Arc<SharedQueue>, Due)> {
        let mut lists = self.0.lock();
        let mut due = Vec::new();
        let count = lists.behind.len().min(STREAMS_AT_ONCE);
        let behind = lists.behind.drain(..count).filter_map(|stream| stream.upgrade());
        due.extend(behind.map(|stream| (stream, Due::Behind)));
        while due.len() < STREAMS_AT_ONCE {
            let Some(first) = lists.awaiting.first_entry() else { break };
            let (lsn, _) = first.key();
            if *lsn > durable {
                break;
            }
            due.extend(first.remove().upgrade().map(|stream| (stream, Due::Committed)));
        }
        lists.has_news = false;
        due
    }

    /// Whether a stream has something to do.
    fn is_due(&self, durable: Lsn) -> bool {
        let lists = self.0.lock();
        let first = lists.awaiting.first_key_value();
        !lists.behind.is_empty() || first.is_some_and(|((lsn, _), _)| *lsn <= durable)
    }
}

impl Lists {
    fn tell(&mut self) {
        self.has_news = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Broker {
    /// Lets readers of streams have what has reached the disk, and those go on that are far behind.
    pub fn serve_streams(&self, now: Millis, turn: &mut Turn) -> Progress {
        turn.begin(now, self.store());
        let durable = self.store().durable_lsn();
        for (stream, due) in self.agenda.streams.take_due(durable) {
            stream.commit(durable, due, turn);
        }
        self.finish(turn);
        if self.agenda.streams.is_due(durable) { Progress::More } else { Progress::Done }
    }

    /// The record that a stream waits for to be on disk, if one does. When it is, and at
    /// [news](Self::stream_news), [`serve_streams`](Self::serve_streams) has something to do.
    pub fn awaited_by_streams(&self) -> Option<Lsn> {
        let lists = self.agenda.streams.0.lock();
        lists.awaiting.first_key_value().map(|((lsn, _), _)| *lsn)
    }

    /// Resolves when streams have something new to do. For one task.
    pub async fn stream_news(&self) {
        poll_fn(|context| {
            let mut lists = self.agenda.streams.0.lock();
            if std::mem::take(&mut lists.has_news) {
                return Poll::Ready(());
            }
            lists.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
