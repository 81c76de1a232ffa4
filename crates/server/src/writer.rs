//! The task that writes a connection's outbox to its socket.

use std::future::pending;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use leveret_broker::{Broker, ConnectionTraffic, Turn};
use leveret_codec::encode_heartbeat;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep_until};

use crate::clock;
use crate::connection::Peer;
use crate::frame_trace;
use crate::outbox::{Outbox, Segments, Work};
use crate::socket::Writer;

/// Slices of one vectored write: the system takes no more.
const SLICES_MAX: usize = 1024;
/// Without heartbeats, how long a connection is silent before its buffers go.
const IDLE: Duration = Duration::from_secs(30);

/// Writes until the outbox is finished or the socket fails. After half of the
/// negotiated interval without a write a heartbeat is sent.
pub(crate) async fn write(
    mut socket: Writer,
    outbox: Arc<Outbox>,
    broker: Arc<Broker>,
    peer: &Peer,
    traffic: &ConnectionTraffic,
) -> io::Result<()> {
    let mut segments = Segments::default();
    let mut turn = Turn::new();
    let mut last_write = Instant::now();
    loop {
        match outbox.take(broker.store().durable_lsn(), &mut segments) {
            Work::Write => {
                let length = segments.len();
                send(&mut socket, &segments).await?;
                traffic.sent_bytes.add(length as u64);
                traffic.writes.add(1);
                frame_trace::sent(peer, &segments);
                segments.clear();
                last_write = Instant::now();
                let unblocked = outbox.written();
                if !unblocked.is_empty() {
                    turn.begin(clock::now(), broker.store());
                    for (queue, consumer) in unblocked {
                        queue.unblock(consumer, &mut turn);
                    }
                    broker.finish(&mut turn);
                }
            }
            Work::Wait(lsn) => {
                let durable = async {
                    match lsn {
                        Some(lsn) => broker.store().durable(lsn).await,
                        None => pending().await,
                    }
                };
                let interval = outbox.heartbeat();
                let quiet = if interval.is_zero() { IDLE } else { interval / 2 };
                tokio::select! {
                    biased;
                    () = outbox.woken() => {}
                    () = durable => {}
                    () = sleep_until(last_write + quiet) => {
                        last_write = Instant::now();
                        segments = Segments::default();
                        turn = Turn::new();
                        outbox.release();
                        if !interval.is_zero() {
                            outbox.write(encode_heartbeat);
                        }
                    }
                }
            }
            Work::Finish => return socket.shutdown().await,
        }
    }
}

async fn send(socket: &mut Writer, segments: &Segments) -> io::Result<()> {
    if !segments.has_large() {
        socket.write_all(&segments.bytes).await?;
        return socket.flush().await;
    }
    let mut slices = segments.slices();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let window = rest.get(..SLICES_MAX).unwrap_or(rest);
        let written = socket.write_vectored(window).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    socket.flush().await
}
