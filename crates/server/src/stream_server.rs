//! The task that serves readers of streams when messages have reached the disk.

use std::future::pending;
use std::sync::Arc;

use leveret_broker::{Broker, Progress, Turn};
use tokio_util::sync::CancellationToken;

use crate::clock;

/// Serves until the broker stops.
pub(crate) async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let mut turn = Turn::new();
    let serve = async {
        loop {
            let awaited = broker.awaited_by_streams();
            let committed = async {
                match awaited {
                    Some(lsn) => broker.store().durable(lsn).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = committed => {}
                () = broker.stream_news() => {}
            }
            while broker.serve_streams(clock::now(), &mut turn) == Progress::More {
                tokio::task::yield_now().await;
            }
        }
    };
    stop.run_until_cancelled(serve).await;
}
