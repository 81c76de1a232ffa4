//! How a connection hears of what operators do: that it is to close, or that its user may do something else.

use std::sync::Arc;
use std::time::Duration;

use leveret_broker::{ConnectionControl, SharedQueue};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::outbox::Outbox;

/// See [`ConnectionControl`].
pub(crate) struct Control {
    outbox: Arc<Outbox>,
    reason: Mutex<Option<String>>,
    asked: CancellationToken,
    permissions: Notify,
}

impl Control {
    /// `asked` is cancelled when somebody wants the connection closed.
    pub(crate) fn new(outbox: Arc<Outbox>, asked: CancellationToken) -> Self {
        Self { outbox, reason: Mutex::default(), asked, permissions: Notify::new() }
    }

    /// The connection's way out.
    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Waits until what its user may do has changed, if it has not since the last time.
    pub(crate) async fn permissions_change(&self) {
        self.permissions.notified().await;
    }

    /// Why it was asked to close, once.
    pub(crate) fn take_reason(&self) -> Option<String> {
        self.reason.lock().take()
    }
}

impl ConnectionControl for Control {
    fn close(&self, reason: &str) {
        self.reason.lock().get_or_insert_with(|| reason.to_owned());
        self.asked.cancel();
    }

    fn permissions_changed(&self) {
        self.permissions.notify_one();
    }

    fn pending_bytes(&self) -> usize {
        self.outbox.queued()
    }

    fn note_deliveries(&self, now: Duration) {
        self.outbox.note_deliveries(now);
    }

    fn held_for(&self, now: Duration, each: &mut dyn FnMut(&SharedQueue, Duration)) {
        self.outbox.held_for(now, each);
    }
}
