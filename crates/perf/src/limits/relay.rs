use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::Relayed;
use crate::layout::Key;
use crate::template::{Ingredients, Template};

/// Sends publishes of this size through a thread that copies them from socket to socket.
pub(super) fn measure(size: usize, time: Duration) -> io::Result<Relayed> {
    let mut template = template(size);
    let (mut publisher, mut inlet) = pair()?;
    let (mut outlet, mut consumer) = pair()?;
    let began = Instant::now();
    let (sent, cpu, received) = thread::scope(|scope| {
        let publishing = scope.spawn(move || publish(&mut template, &mut publisher, began, time));
        let relaying = scope.spawn(move || relay(&mut inlet, &mut outlet));
        let received = drain(&mut consumer);
        (join(publishing), join(relaying), received)
    });
    let (seconds, sent) = (began.elapsed().as_secs_f64(), sent? as f64);
    received?;
    Ok(Relayed {
        size,
        rate: sent / seconds,
        cpu_seconds_per_million: cpu?.as_secs_f64() / (sent / 1e6).max(f64::MIN_POSITIVE),
    })
}

fn template(size: usize) -> Template {
    let properties = vec![0, 0];
    let keys = [Key { routing_key: "perf.queue.0".to_owned(), properties }];
    Template::new(&Ingredients {
        publisher: 0,
        exchange: "",
        keys: &keys,
        sizes: &[size],
        frame_max: FRAME_MAX,
        write_bytes: BUFFER,
    })
}

/// Two ends of a connection.
pub(super) fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

/// The number of messages sent.
fn publish(
    template: &mut Template,
    to: &mut TcpStream,
    began: Instant,
    time: Duration,
) -> io::Result<u64> {
    while began.elapsed() < time || template.sequence() == 0 {
        let (bytes, _) = template.take(u64::MAX, |_| None);
        to.write_all(bytes)?;
    }
    to.shutdown(Shutdown::Write)?;
    Ok(template.sequence())
}

/// The CPU time it took.
pub(super) fn relay(from: &mut TcpStream, to: &mut TcpStream) -> io::Result<Duration> {
    let before = thread_cpu();
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        to.write_all(buffer.get(..count).unwrap_or_default())?;
    }
    to.shutdown(Shutdown::Write)?;
    Ok(thread_cpu().saturating_sub(before))
}

/// Reads to the end.
fn drain(from: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    while from.read(&mut buffer)? > 0 {}
    Ok(())
}

pub(super) fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

pub(super) fn join<T>(thread: thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the generator was lost")))
}

/// Bytes read and written at a time.
const BUFFER: usize = 128 << 10;
/// The largest frame, as brokers have it.
const FRAME_MAX: u32 = 128 << 10;
