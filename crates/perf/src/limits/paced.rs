use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroU64;
use std::thread;
use std::time::Duration;

use super::relay::{join, pair, relay};
use crate::clock::{Clock, Nanos};
use crate::latency::{Percentiles, Recorder};
use crate::pace::Pace;

/// Sends `per_second` pieces through a thread that copies them from socket to socket; how long after
/// it was due each arrived.
pub(super) fn measure(per_second: u64, time: Duration) -> io::Result<Option<Percentiles>> {
    let (mut publisher, mut inlet) = pair()?;
    let (mut outlet, mut consumer) = pair()?;
    let clock = Clock::start();
    thread::scope(|scope| {
        let publishing = scope.spawn(move || publish(&mut publisher, per_second, clock, time));
        let relaying = scope.spawn(move || relay(&mut inlet, &mut outlet));
        let mut latencies = Recorder::new();
        let mut due = [0; PIECE];
        while consumer.read_exact(&mut due).is_ok() {
            latencies.record(clock.now().since(Nanos(u64::from_be_bytes(due))));
        }
        join(publishing)?;
        join(relaying)?;
        Ok(latencies.percentiles())
    })
}

/// Each piece is the time it was due.
fn publish(to: &mut TcpStream, per_second: u64, clock: Clock, time: Duration) -> io::Result<()> {
    // Refused where there is no such thing; then the system wakes this thread late.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let start = clock.now();
    let pace = Pace::new(start, per_second);
    for sequence in 0.. {
        let due = pace.due_at(sequence);
        if sequence > 0 && due.since(start).to_duration() >= time {
            break;
        }
        thread::sleep(due.since(clock.now()).to_duration());
        to.write_all(&due.0.to_be_bytes())?;
    }
    to.shutdown(Shutdown::Write)
}

/// Bytes of a piece.
const PIECE: usize = 8;
