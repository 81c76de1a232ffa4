//! The threads that keep messages out of memory and read them back.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use leveret_broker::{Broker, Paging, Turn};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;

/// One may wait for the disk while the other goes on.
const THREADS: usize = 2;
/// How long one pauses after a panic, which may come again.
const PAUSE: Duration = Duration::from_secs(1);

/// Ends the threads, also if the task that has it is only dropped.
struct Guard(Arc<Broker>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.stop_paging();
    }
}

/// Starts them; they end when the broker stops.
pub(crate) fn start(broker: &Arc<Broker>, stop: CancellationToken, tasks: &TaskTracker) {
    let guard = Guard(Arc::clone(broker));
    tasks.spawn(async move {
        let _guard = guard;
        stop.cancelled().await;
    });
    for _ in 0..THREADS {
        let broker = Arc::clone(broker);
        tasks.spawn_blocking(move || {
            let mut turn = Turn::new();
            loop {
                let page = || broker.page(clock::now, &mut turn);
                match panic::catch_unwind(AssertUnwindSafe(page)) {
                    Ok(Paging::Open) => {}
                    Ok(_) => return,
                    Err(_) => {
                        tracing::error!("the pager goes on after its panic");
                        turn = Turn::new();
                        thread::sleep(PAUSE);
                    }
                }
            }
        });
    }
}
