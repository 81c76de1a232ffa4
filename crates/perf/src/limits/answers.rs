use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::disk::{RECORD, Scratch, places};
use super::relay::{join, pair};

/// Sends one record after the other to a thread that writes it, syncs, and answers; answers a second.
pub(super) fn measure(scratch: &Scratch, time: Duration) -> io::Result<f64> {
    let (mut client, mut server) = pair()?;
    thread::scope(|scope| {
        let serving = scope.spawn(move || answer(&mut server, &scratch.file));
        let asked = ask(&mut client, time);
        drop(client);
        join(serving)?;
        asked
    })
}

fn ask(server: &mut TcpStream, time: Duration) -> io::Result<f64> {
    let record = [b'x'; RECORD];
    let mut answer = [0; ANSWER];
    let mut count = 0_u32;
    let began = Instant::now();
    while count == 0 || began.elapsed() < time {
        server.write_all(&record)?;
        server.read_exact(&mut answer)?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// Until the client has gone.
fn answer(client: &mut TcpStream, file: &File) -> io::Result<()> {
    let mut record = [0; RECORD];
    for at in places(RECORD) {
        match client.read_exact(&mut record) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        super::disk::write_synced(file, &record, at)?;
        client.write_all(&[b'y'; ANSWER])?;
    }
    Ok(())
}

/// Bytes of a `basic.ack`.
const ANSWER: usize = 21;
