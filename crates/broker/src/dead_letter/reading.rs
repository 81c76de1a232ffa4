//! The messages of deaths that are on disk only.

use std::sync::Arc;

use leveret_engine::{AnyEntry, Lsn};
use leveret_store::{ReadError, Store};

use super::{Death, PORTION_BYTES};
use crate::queue::read_messages;

/// Deaths whose messages are looked for at a time. Before that nobody knows how large their headers are.
const STEP: usize = 64;

/// Deaths with their messages.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) deaths: Vec<Death>,
    /// Those whose messages are gone.
    pub(crate) lost: Vec<Death<AnyEntry>>,
    /// Those behind them, which are too much for one portion: they were not looked for.
    pub(crate) rest: Vec<Death<AnyEntry>>,
}

impl Found {
    fn is_empty(&self) -> bool {
        self.deaths.is_empty() && self.lost.is_empty()
    }

    fn append(&mut self, mut more: Self) {
        self.deaths.append(&mut more.deaths);
        self.lost.append(&mut more.lost);
    }
}

/// Deaths whose messages cannot be read now, and why.
pub(crate) struct Unread {
    pub(crate) deaths: Vec<Death<AnyEntry>>,
    pub(crate) error: ReadError,
}

/// Finds the messages of deaths, which are read if need be, until they are a portion. Where some of the
/// first can't be read, all of their queues are left unread, and no others.
pub(crate) fn with_messages(
    store: &Store,
    deaths: Vec<Death<AnyEntry>>,
) -> (Found, Option<Unread>) {
    let mut deaths = deaths.into_iter();
    let (mut found, mut unread, mut bytes) = (Found::default(), None, 0);
    while deaths.len() > 0 && bytes < PORTION_BYTES {
        match find(store, deaths.by_ref().take(STEP).collect()) {
            Ok(more) => {
                bytes += more.deaths.iter().map(stored_len).sum::<u64>();
                found.append(more);
            }
            Err(first) if found.is_empty() => {
                (found, unread) = find_by_queue(store, first.deaths);
                break;
            }
            // The next portion begins with them.
            Err(later) => {
                found.rest = later.deaths;
                break;
            }
        }
    }
    found.rest.extend(deaths);
    (found, unread)
}

fn stored_len(death: &Death) -> u64 {
    death.entry.message.stored_len() as u64
}

/// As [`with_messages`], of all whose queues can be read.
fn find_by_queue(store: &Store, deaths: Vec<Death<AnyEntry>>) -> (Found, Option<Unread>) {
    let mut of_queues: Vec<Vec<Death<AnyEntry>>> = Vec::new();
    for death in deaths {
        let is_its = |of_queue: &&mut Vec<Death<AnyEntry>>| {
            of_queue.first().is_some_and(|first| first.source.queue == death.source.queue)
        };
        match of_queues.iter_mut().find(is_its) {
            Some(of_queue) => of_queue.push(death),
            None => of_queues.push(vec![death]),
        }
    }
    let (mut found, mut all_unread) = (Found::default(), None::<Unread>);
    for of_queue in of_queues {
        match (find(store, of_queue), &mut all_unread) {
            (Ok(more), _) => found.append(more),
            (Err(mut more), Some(unread)) => unread.deaths.append(&mut more.deaths),
            (Err(unread), None) => all_unread = Some(unread),
        }
    }
    (found, all_unread)
}

/// As [`with_messages`], of all or of none.
fn find(store: &Store, deaths: Vec<Death<AnyEntry>>) -> Result<Found, Unread> {
    let mut lsns: Vec<Lsn> = Vec::new();
    let mut spilled = Vec::new();
    for death in &deaths {
        match &death.entry {
            AnyEntry::Hot(_) => {}
            AnyEntry::Paged(entry) => match &entry.spilled {
                Some(block) => spilled.push(block.clone()),
                None => lsns.push(entry.lsn),
            },
        }
    }
    let messages = if lsns.is_empty() && spilled.is_empty() {
        Vec::new()
    } else {
        lsns.sort_unstable();
        lsns.dedup();
        spilled.sort_unstable_by_key(|block| Arc::as_ptr(block).cast::<()>());
        spilled.dedup_by(|one, other| Arc::ptr_eq(one, other));
        match read_messages(store, &lsns, &spilled) {
            Ok(messages) => messages,
            Err(error) => return Err(Unread { deaths, error }),
        }
    };
    let message = |lsn: Lsn| {
        let at = messages.binary_search_by_key(&lsn, |(lsn, _)| *lsn).ok()?;
        messages.get(at).map(|(_, message)| message.clone())
    };
    let mut found = Found::default();
    for Death { source, entry, reason, past } in deaths {
        let entry = match entry {
            AnyEntry::Hot(entry) => entry,
            AnyEntry::Paged(entry) => match message(entry.lsn) {
                Some(message) => entry.with(message),
                None => {
                    tracing::error!(
                        "queue '{}' in vhost '{}' has lost a message that cannot be read",
                        source.queue_name,
                        source.vhost
                    );
                    found.lost.push(Death { source, entry: entry.into(), reason, past });
                    continue;
                }
            },
        };
        found.deaths.push(Death { source, entry, reason, past });
    }
    Ok(found)
}
