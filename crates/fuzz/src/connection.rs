//! A client that sends anything, before and after its login.

use std::time::Duration;

use leveret_codec::{FRAME_END, FrameKind, Method, PROTOCOL_HEADER, Table, connection, split};
use leveret_server::fuzz::{Bench, Status};

const FRAME_MAX: u32 = 4096;
/// A piece of this kind is no frame: time passes, the longer the greater its length.
const TIME_PASSES: u8 = 0;

/// The first byte says what the rest is: the stream from its first byte on, the stream behind a login,
/// or pieces behind a login that are put into sound frames. The second is the size of the reads. What
/// the broker answers must be sound frames.
pub fn connection(input: &[u8]) {
    let [mode, read_size, rest @ ..] = input else { return };
    let mut bench = Bench::new().expect("a broker in memory");
    let mode = mode % 3;
    if mode > 0 {
        assert_eq!(bench.receive(&login()), Status::Open);
    }
    if mode == 2 {
        pieces(&mut bench, rest);
    } else {
        let read_size = usize::from(*read_size).max(1) * 8;
        for read in rest.chunks(read_size) {
            if bench.receive(read) == Status::Closed {
                break;
            }
        }
    }
    check(&bench.hang_up(), mode);
}

/// Each piece is a kind, a channel, a length and a payload.
fn pieces(bench: &mut Bench, mut rest: &[u8]) {
    while let [kind, channel, length, tail @ ..] = rest {
        let kind = kind % 4;
        if kind == TIME_PASSES {
            bench.pass(Duration::from_millis(u64::from(*length) * 16));
            rest = tail;
            continue;
        }
        let (payload, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        let mut frame = vec![kind, 0, channel % 4];
        frame.extend_from_slice(&u32::try_from(payload.len()).expect("a byte").to_be_bytes());
        frame.extend_from_slice(payload);
        frame.push(FRAME_END);
        if bench.receive(&frame) == Status::Closed {
            break;
        }
    }
}

fn login() -> Vec<u8> {
    let mut out = PROTOCOL_HEADER.to_vec();
    connection::StartOk {
        client_properties: Table::EMPTY,
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    }
    .encode_frame(0, &mut out);
    connection::TuneOk { channel_max: 8, frame_max: FRAME_MAX, heartbeat: 0 }
        .encode_frame(0, &mut out);
    connection::Open { virtual_host: "/" }.encode_frame(0, &mut out);
    for channel in 1..3 {
        leveret_codec::channel::Open {}.encode_frame(channel, &mut out);
    }
    out
}

/// What was answered is a sound stream.
fn check(mut sent: &[u8], mode: u8) {
    if mode == 0 && sent == PROTOCOL_HEADER {
        return;
    }
    // Before the login, frames may be as large as the broker pleases.
    let frame_max = if mode == 0 { u32::MAX } else { FRAME_MAX };
    while !sent.is_empty() {
        let (frame, length) = split(sent, frame_max).expect("a frame").expect("all of it");
        if frame.kind == FrameKind::Method {
            Method::decode(frame.payload).expect("a method");
        }
        sent = &sent[length..];
    }
}
