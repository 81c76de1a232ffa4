//! Connections: how fast they come and go, and what an idle one costs.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use leveret_codec::{Table, basic, queue};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::broker::Broker;
use crate::client::{CHANNEL, Client};
use crate::clock::Nanos;
use crate::control::{Control, Meter, last, total};
use crate::error::{ClientError, PerfError};
use crate::flow::unique_prefix;
use crate::layout::delete_queue;
use crate::observer::{Gauge, Observer, Progress};
use crate::report::{Phase, Unit};
use crate::scenario::{ConnectionChurn, IdleConnections};

/// Bytes of a connection's buffer: enough for a handshake.
const READ_BYTES: usize = 16 << 10;

/// Opens and closes connections.
pub(crate) fn churn(
    broker: &Broker,
    churn: &ConnectionChurn,
    progress: Progress,
) -> Result<Phase, PerfError> {
    let control = Control::new(Nanos(0));
    let tickets = AtomicU64::new(0);
    let meters = meters(churn.threads);
    let one = |meter: &Meter| -> Result<(), PerfError> {
        let client = broker.connect("connection", READ_BYTES)?;
        let client = match churn.channel {
            true => with_channel(client),
            false => Ok(client),
        };
        let closed = client.and_then(Client::close_without_trace);
        closed.map_err(|source| broker.failed(source))?;
        meter.set(meter.count() + 1, control.clock.now());
        Ok(())
    };
    let mut observer = Observer::new(broker, progress, control.clock);
    let start = observer.mark()?;
    let duration = Nanos::from(churn.duration);
    let work = |meter: &Meter| {
        let result = loop {
            let is_over =
                control.publishing_is_over() || tickets.fetch_add(1, Relaxed) >= churn.connections;
            if is_over {
                break Ok(());
            }
            if let Err(error) = one(meter) {
                break Err(error);
            }
        };
        meter.finish();
        result
    };
    let gauges = [Gauge { label: "opened", meters: &meters }];
    thread::scope(|scope| {
        let handles: Vec<_> = meters.iter().map(|meter| scope.spawn(|| work(meter))).collect();
        let watched =
            observer.watch(&gauges, |now| now >= duration || meters.iter().any(Meter::is_done));
        control.stop_publishing();
        for handle in handles {
            handle.join().map_err(|_| PerfError::ThreadLost)??;
        }
        watched
    })?;
    let end = observer.mark()?;
    let marks = (&start, &end);
    Ok(observer.phase("open and close", Unit::Connection, total(&meters), marks, last(&meters)))
}

/// Opens connections with a channel and a consumer each, and keeps them for a while.
pub(crate) fn idle(
    broker: &Broker,
    idle: &IdleConnections,
    progress: Progress,
) -> Result<Phase, PerfError> {
    raise_descriptor_limit();
    let name = unique_prefix();
    let mut admin = broker.open("admin", READ_BYTES)?;
    declare(&mut admin, &name).map_err(|source| broker.failed(source))?;

    let control = Control::new(Nanos(0));
    let meters = meters(idle.threads);
    let mut observer = Observer::new(broker, progress, control.clock);
    let start = observer.mark()?;
    let work = |meter: &Meter, count: u32| {
        let open = || -> Result<TcpStream, PerfError> {
            let mut client = broker.open("idle", READ_BYTES)?;
            consume(&mut client, &name).map_err(|source| broker.failed(source))?;
            meter.set(meter.count() + 1, control.clock.now());
            Ok(client.into_idle())
        };
        let opened: Result<Vec<_>, _> = (0..count).map(|_| open()).collect();
        meter.finish();
        opened
    };
    let gauges = [Gauge { label: "opened", meters: &meters }];
    let connections = thread::scope(|scope| {
        let shares = shares(idle.connections, idle.threads);
        let handles: Vec<_> = (meters.iter().zip(shares))
            .map(|(meter, count)| scope.spawn(move || work(meter, count)))
            .collect();
        observer.watch(&gauges, |_| meters.iter().all(Meter::is_done))?;
        let opened =
            handles.into_iter().map(|handle| handle.join().unwrap_or(Err(PerfError::ThreadLost)));
        opened.collect::<Result<Vec<_>, _>>()
    })?;
    let kept_until = Nanos(control.clock.now().0.saturating_add(Nanos::from(idle.duration).0));
    observer.watch(&[], |now| now >= kept_until)?;
    let end = observer.mark()?;
    let opened = total(&meters);
    let phase = observer.phase("open", Unit::Connection, opened, (&start, &end), last(&meters));
    drop(connections);
    // Brokers take a while to notice.
    thread::sleep(Duration::from_millis(200));
    delete_queue(&mut admin, &name).map_err(|source| broker.failed(source))?;
    admin.close().map_err(|source| broker.failed(source))?;
    Ok(phase)
}

fn with_channel(mut client: Client) -> Result<Client, ClientError> {
    client.open_channel()?;
    Ok(client)
}

fn declare(client: &mut Client, name: &str) -> Result<(), ClientError> {
    let declare = queue::Declare {
        queue: name,
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: Table::EMPTY,
    };
    client.send(|out| declare.encode_frame(CHANNEL, out))?;
    client.expect(queue::DeclareOk::ID, |_| ())
}

fn consume(client: &mut Client, queue: &str) -> Result<(), ClientError> {
    let consume = basic::Consume {
        queue,
        consumer_tag: "",
        no_local: false,
        no_ack: true,
        exclusive: false,
        nowait: false,
        arguments: Table::EMPTY,
    };
    client.send(|out| consume.encode_frame(CHANNEL, out))?;
    client.expect(basic::ConsumeOk::ID, |_| ())
}

fn meters(count: u16) -> Vec<Meter> {
    (0..count).map(|_| Meter::default()).collect()
}

/// Splits a number as evenly as it goes.
fn shares(total: u32, parts: u16) -> impl Iterator<Item = u32> {
    let parts = u32::from(parts.max(1));
    (0..parts).map(move |part| total / parts + u32::from(part < total % parts))
}

/// Thousands of connections need as many descriptors. What the system refuses shows when a
/// connection fails.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_in_splitting() {
        assert_eq!(shares(10, 4).collect::<Vec<_>>(), [3, 3, 2, 2]);
        assert_eq!(shares(1, 3).sum::<u32>(), 1);
    }
}
