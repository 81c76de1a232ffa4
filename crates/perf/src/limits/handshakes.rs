use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use leveret_codec::{PROTOCOL_HEADER, Table, connection};

use super::Opened;
use super::relay::{join, thread_cpu};
use crate::broker::Broker;
use crate::client::Client;
use crate::connections::churn;
use crate::error::{ClientError, PerfError};
use crate::observer::Progress;
use crate::preset::CHURN;
use crate::scenario::ConnectionChurn;
use crate::target::{Reach, Target};

/// Opens and closes connections, as many at once as the preset `connection-churn` does, to threads
/// that answer always the same.
pub(super) fn measure(time: Duration) -> Result<Opened, PerfError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(PerfError::Loopback)?;
    let address = listener.local_addr().map_err(PerfError::Loopback)?;
    let (is_over, opened) = (AtomicBool::new(false), AtomicU64::new(0));
    let scenario = ConnectionChurn { duration: time, connections: u64::MAX, ..CHURN };
    let (phase, cpu) = thread::scope(|scope| {
        let serve = || serve(&listener, &is_over, &opened);
        let serving: Vec<_> = (0..CHURN.threads).map(|_| scope.spawn(serve)).collect();
        let phase =
            machine(address).and_then(|machine| churn(&machine, &scenario, Progress::Hidden));
        is_over.store(true, Relaxed);
        // Who waits for a connection notices with the next one.
        let woken: io::Result<Vec<_>> =
            serving.iter().map(|_| TcpStream::connect(address)).collect();
        let cpu: io::Result<Duration> = serving.into_iter().map(join).sum();
        (phase, woken.and(cpu))
    });
    let cpu = cpu.map_err(PerfError::Loopback)?.as_secs_f64();
    let millions = opened.into_inner() as f64 / 1e6;
    Ok(Opened { rate: phase?.rate, cpu_seconds_per_million: cpu / millions.max(f64::MIN_POSITIVE) })
}

fn machine(address: SocketAddr) -> Result<Broker, PerfError> {
    let target = Target {
        host: address.ip().to_string(),
        port: address.port(),
        user: "guest".to_owned(),
        password: "guest".to_owned(),
        vhost: "/".to_owned(),
    };
    let machine = Broker::new("this machine", target, None, Reach::Loopback);
    machine.map_err(|error| PerfError::Loopback(io::Error::other(error)))
}

/// Serves one connection after the other until it is over; says what CPU time it took.
fn serve(listener: &TcpListener, is_over: &AtomicBool, opened: &AtomicU64) -> io::Result<Duration> {
    let before = thread_cpu();
    loop {
        let (stream, _) = listener.accept()?;
        if is_over.load(Relaxed) {
            return Ok(thread_cpu().saturating_sub(before));
        }
        answer(stream).map_err(io::Error::other)?;
        opened.fetch_add(1, Relaxed);
    }
}

/// What a broker says from the protocol header to `connection.close-ok`.
fn answer(mut stream: TcpStream) -> Result<(), ClientError> {
    const DURING: &str = "answering";
    let mut header = [0; PROTOCOL_HEADER.len()];
    let begin = stream.set_nodelay(true).and_then(|()| stream.read_exact(&mut header));
    begin.map_err(|source| ClientError::io(DURING, source))?;
    let mut client = Client::accepted(stream);
    let start = connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: Table::EMPTY,
        mechanisms: b"PLAIN AMQPLAIN",
        locales: b"en_US",
    };
    client.send(|out| start.encode_frame(0, out))?;
    client.expect(connection::StartOk::ID, |_| ())?;
    let tune = connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
    client.send(|out| tune.encode_frame(0, out))?;
    client.expect(connection::Open::ID, |_| ())?;
    client.send(|out| connection::OpenOk {}.encode_frame(0, out))?;
    client.expect(connection::Close::ID, |_| ())?;
    client.send(|out| connection::CloseOk {}.encode_frame(0, out))
}
