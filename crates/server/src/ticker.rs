//! The task that tells the broker and its door the time.

use std::sync::Arc;
use std::time::Duration;

use leveret_broker::{Broker, Progress, Turn};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::clock;

/// How late something that is due may be noticed.
const INTERVAL: Duration = Duration::from_millis(20);
/// Journal bytes that wait for the disk, beyond which dead-lettering waits too.
const UNWRITTEN_JOURNAL_MAX: usize = 16 * 1024 * 1024;

/// Ticks until the broker stops.
pub(crate) async fn run(broker: Arc<Broker>, admission: Arc<Admission>, stop: CancellationToken) {
    let mut turn = Turn::new();
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ticks = async {
        loop {
            interval.tick().await;
            clock::follow();
            admission.tick(clock::now());
            while broker.tick(clock::now(), &mut turn) == Progress::More {
                let store = broker.store();
                if store.buffered_bytes() > UNWRITTEN_JOURNAL_MAX {
                    store.writable(UNWRITTEN_JOURNAL_MAX).await;
                }
                tokio::task::yield_now().await;
            }
        }
    };
    stop.run_until_cancelled(ticks).await;
}
