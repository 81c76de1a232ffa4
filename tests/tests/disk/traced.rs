//! System calls of the broker, watched and made to fail with `strace`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use leveret_tests::codec::{Method, Properties, connection, encode_heartbeat, queue};
use leveret_tests::{
    Login, SetOnDrop, confirm_select, consume, declare, eventually, get, passive, publish,
};
use rustix::process::{Pid, Signal};
use serde_json::json;
use tempfile::TempDir;

use crate::running::Running;
use crate::skipped::skip;

/// Whether processes can be traced; says why not.
fn can_trace() -> bool {
    let tried = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    let why = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    skip(&format!("strace: {why}"), "LEVERET_REQUIRE_STRACE");
    false
}

fn start(strace: &[&str], home: &TempDir) -> Running {
    start_with("", strace, home)
}

fn start_with(settings: &str, strace: &[&str], home: &TempDir) -> Running {
    let config = home.path().join("leveret.toml");
    fs::write(&config, settings).unwrap();
    let wrapper: Vec<&str> = ["strace", "-f", "-y", "-qq"].iter().chain(strace).copied().collect();
    Running::start(&wrapper, &home.path().join("data"), &config).expect("starts")
}

/// A call of the trace, with the places in time where it was entered and left.
struct Call {
    name: String,
    text: String,
    entered: usize,
    left: usize,
}

/// Puts the halves of interrupted lines together: `pid name(... <unfinished ...>` and
/// `pid <... name resumed>...`.
fn calls(trace: &Path) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let text = fs::read_to_string(trace).unwrap();
    for (at, line) in text.lines().enumerate() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let name = format!("{pid} {}", resumed.split(' ').next().unwrap());
            if let Some(call) = calls.iter_mut().rfind(|call| call.name == name) {
                call.left = at;
            }
            continue;
        }
        let Some((name, _)) = rest.split_once('(') else { continue };
        let left = if rest.ends_with("<unfinished ...>") { usize::MAX } else { at };
        let (name, text) = (format!("{pid} {name}"), rest.to_owned());
        calls.push(Call { name, text, entered: at, left });
    }
    calls
}

#[test]
fn a_confirm_never_precedes_the_sync_that_covers_it() {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let trace = home.path().join("trace");
    let output = trace.to_str().unwrap().to_owned();
    let watched = "trace=pwrite64,pwritev,fdatasync,write,writev,sendto,sendmsg";
    let running = start(&["-s", "100000", "-x", "-o", &output, "-e", watched], &home);
    let channel = running.channel();
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    channel.call(&confirm_select());
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    for number in 1..=20_u64 {
        channel.publish_with(&publish("", "q"), &properties, format!("body{number:04}").as_bytes());
        let answer = channel.recv();
        let Method::BasicAck(confirm) = answer.method() else { panic!("{answer}") };
        assert_eq!(confirm.delivery_tag, number);
    }
    drop(running);

    let calls = calls(&trace);
    let is = |call: &Call, names: &[&str]| names.iter().any(|name| call.name.ends_with(name));
    for number in 1..=20_u64 {
        // Each message is written, then synced, and only then is its confirm sent.
        let body = format!("body{number:04}");
        let bytes: String = body.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        let written = calls
            .iter()
            .find(|call| is(call, &["pwrite64", "pwritev"]) && call.text.contains(&bytes))
            .unwrap_or_else(|| panic!("{body} was never written"));
        assert!(written.text.contains(".seg>"), "{}", written.text);
        // basic.ack is class 60, method 80; the tag follows in eight bytes.
        let confirm =
            format!("\\x00\\x3c\\x00\\x50\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x{number:02x}");
        let sent = calls
            .iter()
            .find(|call| {
                is(call, &[" write", " writev", " sendto", " sendmsg"])
                    && call.text.contains(&confirm)
            })
            .unwrap_or_else(|| panic!("the confirm of {body} was never sent"));
        let is_covered = calls.iter().any(|call| {
            is(call, &["fdatasync"])
                && call.text.contains(".seg>")
                && call.entered > written.left
                && call.left < sent.entered
        });
        assert!(is_covered, "{body} was confirmed before it was synced");
    }
}

#[test]
fn a_segment_has_its_name_for_good_before_anything_is_written_to_it() {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let trace = home.path().join("trace");
    let output = trace.to_str().unwrap().to_owned();
    let watched = "trace=rename,renameat,renameat2,fsync,pwrite64,pwritev";
    let strace = ["-s", "0", "-o", &output, "-e", watched];
    let running = start_with("store.segment_size = \"1MiB\"\n", &strace, &home);
    let channel = running.channel();
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    channel.call(&confirm_select());
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    let body = vec![7; 100_000];
    for number in 1..=50_u64 {
        channel.publish_with(&publish("", "q"), &properties, &body);
        assert_eq!(channel.recv(), format!("basic.ack {number}"));
    }
    drop(running);

    let calls = calls(&trace);
    let is = |call: &Call, names: &[&str]| names.iter().any(|name| call.name.ends_with(name));
    let mut written = Vec::new();
    for call in calls.iter().filter(|call| is(call, &[" pwrite64", " pwritev"])) {
        let Some((path, _)) = call.text.split_once(".seg>") else { continue };
        let name = path.rsplit('/').next().unwrap();
        if written.contains(&name) {
            continue;
        }
        written.push(name);
        let named = calls
            .iter()
            .find(|call| {
                is(call, &[" rename", " renameat", " renameat2"])
                    && call.text.contains(&format!("{name}.new\""))
                    && call.text.contains(&format!("{name}.seg\""))
            })
            .unwrap_or_else(|| panic!("{name} was never given its name"));
        let is_kept = calls.iter().any(|synced| {
            is(synced, &[" fsync"])
                && synced.text.contains("/journal>")
                && synced.entered > named.left
                && synced.left < call.entered
        });
        assert!(is_kept, "{name} was written to before its name was synced");
    }
    assert!(written.len() >= 4, "{written:?}");
}

#[test]
fn a_failed_sync_or_write_ends_the_process_and_its_last_line_says_why() {
    if !can_trace() {
        return;
    }
    for (call, what) in [("fdatasync", "syncing"), ("pwrite64", "writing")] {
        let home = tempfile::tempdir().unwrap();
        let inject = format!("inject={call}:error=EIO:when=40+");
        let mut running = start(&["-o", "/dev/null", "-e", &inject], &home);
        let channel = running.channel();
        channel.call(&queue::Declare { durable: true, ..declare("q") });
        channel.call(&confirm_select());
        let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
        let mut confirmed = 0;
        loop {
            channel.publish_with(&publish("", "q"), &properties, b"body");
            let answer = channel.recv();
            if answer.ends_connection() {
                break;
            }
            confirmed += 1;
            assert!(confirmed < 1000, "the error goes unnoticed");
        }
        let mut text = String::new();
        running.stderr.as_mut().unwrap().read_to_string(&mut text).unwrap();
        assert!(!running.child.wait().unwrap().success());
        let last = text.lines().last().unwrap_or_default();
        assert!(last.contains("[error]") && last.contains(what), "{call}: {text}");
        assert!(last.contains(".seg failed: Input/output error"), "{text}");
        assert!(last.ends_with("nothing more can be made durable, ending the process"), "{text}");

        // What was confirmed is there when the disk is well again.
        let config = home.path().join("leveret.toml");
        let again = Running::start(&[], &home.path().join("data"), &config).expect("starts");
        let left = again.channel().call(&passive("q"));
        let Method::QueueDeclareOk(left) = left.method() else { panic!("{left}") };
        assert!(left.message_count >= confirmed, "{} of {confirmed}", left.message_count);
    }
}

#[test]
fn a_disk_that_cannot_be_read_for_a_while_is_waited_for_and_keeps_nothing_else() {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (data, config) = (home.path().join("data"), home.path().join("leveret.toml"));
    fs::write(&config, "store.message_memory = \"1MiB\"\n").unwrap();
    let mut running = Running::start(&[], &data, &config).expect("starts");
    let log = running.log();
    let channel = running.channel();
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    channel.call(&confirm_select());
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    let body = |number: u8| vec![b'0' + number; 100_000];
    for number in 0..40 {
        channel.publish_with(&publish("", "q"), &properties, &body(number));
        assert_eq!(channel.recv(), format!("basic.ack {}", number + 1));
    }

    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", "inject=pread64:error=EIO"]);
    for file in fs::read_dir(data.join("journal")).unwrap() {
        strace.arg("-P").arg(file.unwrap().path());
    }
    strace.args(["-p", &running.child.id().to_string()]).stderr(Stdio::piped());
    let mut strace = strace.spawn().unwrap();
    let mut attached = String::new();
    let mut stderr = BufReader::new(strace.stderr.take().unwrap());
    stderr.read_line(&mut attached).unwrap();
    assert!(attached.contains("attached"), "{attached}");
    channel.call(&consume("q", "c"));
    let told = "[error] queue 'q' in vhost '/' waits for its messages: cannot read ";
    eventually(|| log.lock().contains(told));
    // Others are served, also from the disk in the other direction.
    let other = running.channel();
    other.call(&queue::Declare { durable: true, ..declare("other") });
    other.call(&confirm_select());
    other.publish_with(&publish("", "other"), &properties, b"body");
    assert_eq!(other.recv(), "basic.ack 1");
    assert_eq!(other.call(&get("other")).body(), b"body");

    rustix::process::kill_process(Pid::from_child(&strace), Signal::TERM).unwrap();
    strace.wait().unwrap();
    for number in 0..40 {
        let delivery = channel.recv();
        assert!(delivery.body() == body(number), "{number}: {delivery}");
    }
    let log = log.lock();
    assert_eq!(log.matches(told).count(), 1, "{log}");
    assert!(log.contains(".seg: Input/output error"), "{log}");
}

#[test]
fn a_slow_disk_holds_back_confirms_and_nothing_else() {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    // Once it has started each sync takes one and a half seconds.
    let inject = "inject=fdatasync:delay_enter=1500000:when=40+";
    let running = start(&["-o", "/dev/null", "-e", inject], &home);
    let other = running.channel();
    other.call(&queue::Declare { exclusive: true, ..declare("quick") });
    let tune = connection::TuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 1 };
    let connection = running.connect_as(&Login { tune: Some(tune), ..Login::default() });
    let channel = connection.channel(1);
    channel.call(&queue::Declare { durable: true, ..declare("slow") });
    channel.call(&confirm_select());
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    let mut heartbeat = Vec::new();
    encode_heartbeat(&mut heartbeat);
    let mut published = 0;
    loop {
        channel.publish_with(&publish("", "slow"), &properties, b"body");
        published += 1;
        assert!(published < 1000, "the disk is never slow");
        if let (_, answer) = connection.recv_any()
            && answer == "heartbeat"
        {
            break;
        }
    }
    // The client hears from the broker while it waits, and others are served.
    other.publish("", "quick", b"body");
    assert_eq!(other.call(&get("quick")).body(), b"body");
    loop {
        match connection.recv_any() {
            (0, answer) => {
                assert_eq!(answer, "heartbeat");
                connection.send_bytes(&heartbeat);
            }
            (_, answer) => {
                let Method::BasicAck(confirm) = answer.method() else { panic!("{answer}") };
                assert_eq!(confirm.delivery_tag, published);
                return;
            }
        }
    }
}

/// Nothing is read from a connection that publishes then; over HTTP it is for the client to wait.
#[test]
fn a_publish_over_http_is_refused_while_the_disk_is_behind() {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let inject = "inject=fdatasync:delay_enter=1500000:when=40+";
    let running = start(&["-o", "/dev/null", "-e", inject], &home);
    let other = running.channel();
    other.call(&queue::Declare { exclusive: true, ..declare("quick") });
    let (api, is_over) = (running.api(), AtomicBool::new(false));
    let message = json!({
        "routing_key": "quick", "payload": "x", "payload_encoding": "string", "properties": {},
    });
    let publish_one = || api.call("POST", "/exchanges/%2F/amq.default/publish", &message);
    let accepted = thread::scope(|scope| {
        let _over = SetOnDrop(&is_over);
        scope.spawn(|| {
            let channel = running.channel();
            channel.call(&queue::Declare { durable: true, ..declare("slow") });
            let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
            let body = vec![b'x'; 1 << 20];
            while !is_over.load(Ordering::Relaxed) {
                channel.publish_with(&publish("", "slow"), &properties, &body);
            }
        });
        let replies = (0..10_000).map(|accepted| (accepted, publish_one()));
        let refused = replies.into_iter().find(|(_, reply)| reply.status != 200);
        let (accepted, refused) = refused.expect("the disk is behind some time");
        assert_eq!(
            (refused.status, refused.json()),
            (503, json!({ "reason": "the disk is behind" }))
        );
        accepted
    });
    let held = other.call(&passive("quick"));
    assert_eq!(held, format!("queue.declare-ok quick {accepted} 0"));
    eventually(|| publish_one().status == 200);
}
