//! The messages of deaths that are on disk only.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use leveret_engine::{AnyEntry, Lsn};

use super::Death;
use crate::broker::Broker;
use crate::queue::read_messages;

/// Deaths with their messages.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) deaths: Vec<Death>,
    /// Those whose messages are gone.
    pub(crate) lost: Vec<Death<AnyEntry>>,
}

/// Finds the messages of deaths, which are read if need be.
///
/// # Errors
/// All of them, when they cannot be read now.
pub(crate) fn with_messages(
    broker: &Broker,
    deaths: Vec<Death<AnyEntry>>,
) -> Result<Found, Vec<Death<AnyEntry>>> {
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
        let have_waited = &broker.letters_are_unread;
        match read_messages(broker.store(), &lsns, &spilled) {
            Ok(messages) => {
                have_waited.store(false, Relaxed);
                messages
            }
            Err(error) => {
                if !have_waited.swap(true, Relaxed) {
                    tracing::error!("dead letters have to wait: {error}");
                }
                return Err(deaths);
            }
        }
    };
    let find = |lsn: Lsn| {
        let at = messages.binary_search_by_key(&lsn, |(lsn, _)| *lsn).ok()?;
        messages.get(at).map(|(_, message)| message.clone())
    };
    let mut found = Found::default();
    for death in deaths {
        let Death { source, entry, reason, past } = death;
        let entry = match entry {
            AnyEntry::Hot(entry) => entry,
            AnyEntry::Paged(entry) => match find(entry.lsn) {
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
