//! Spans that wait to be sent.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use leveret_broker::{Span, SpanSink};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Spans that may wait; what comes then is lost. A span takes about half a kilobyte.
const WAITING_MAX: usize = 8192;

/// Where the broker leaves spans, for whoever sends them.
pub struct WaitingSpans {
    waiting: Mutex<Vec<Span>>,
    /// Those that found no room.
    lost: AtomicU64,
    /// Told when there is one again.
    some: Notify,
}

impl WaitingSpans {
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::default(), lost: AtomicU64::new(0), some: Notify::new() }
    }

    /// Resolves when spans wait.
    pub async fn some(&self) {
        loop {
            let told = self.some.notified();
            if !self.waiting.lock().is_empty() {
                return;
            }
            told.await;
        }
    }

    /// Takes the oldest, so many at most.
    pub fn take(&self, most: usize) -> Vec<Span> {
        let mut waiting = self.waiting.lock();
        let count = most.min(waiting.len());
        waiting.drain(..count).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty()
    }

    /// How many were lost since this was last asked.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl SpanSink for WaitingSpans {
    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn record(&self, span: Span) {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= WAITING_MAX {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.push(span);
        let is_first = waiting.len() == 1;
        drop(waiting);
        if is_first {
            self.some.notify_one();
        }
    }
}

impl fmt::Debug for WaitingSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingSpans").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use leveret_broker::{SpanMessage, Step};

    use super::*;

    fn span(id: u64) -> Span {
        let message = SpanMessage {
            vhost: "/".into(),
            exchange: "".into(),
            routing_key: "q".into(),
            size: 0,
            message_id: None,
            correlation_id: None,
            trace_state: None,
        };
        Span {
            trace: 1,
            id,
            parent: None,
            is_parent_remote: false,
            began: 0,
            ended: 0,
            message: Arc::new(message),
            step: Step::Route { queues: 1 },
        }
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let spans = WaitingSpans::new();
        let all = WAITING_MAX as u64 + 3;
        (0..all).for_each(|id| spans.record(span(id)));
        assert_eq!((spans.len(), spans.take_lost(), spans.take_lost()), (WAITING_MAX, 3, 0));
        let ids: Vec<u64> = spans.take(2).iter().map(|span| span.id).collect();
        assert_eq!(ids, [0, 1]);
        spans.record(span(all));
        assert_eq!(spans.take(usize::MAX).last().map(|span| span.id), Some(all));
        assert!(spans.is_empty());
    }
}
