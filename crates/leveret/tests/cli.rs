//! The binary from outside: arguments, exit codes, what it prints, signals.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/process.rs"]
mod process;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use process::{Running, leveret, run};
use rustix::process::Signal;
use tempfile::TempDir;

fn file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leveret.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn check_config_prints_what_is_in_force() {
    let (_folder, path) = file("[amqp]\nheartbeat = 30\nhartbeat = 20\n");
    let arguments = ["check-config", "--config", &path, "--listen", "127.0.0.1:0", "--log=debug"];
    let (code, stdout, stderr) = run(&arguments);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("listen = [\"127.0.0.1:0\"]\n"), "{stdout}");
    assert!(stdout.contains("\nheartbeat = 30\n") && stdout.contains("\nlevel = \"debug\"\n"));
    assert_eq!(
        stderr,
        format!(
            "warning: {path}:3: unknown setting 'amqp.hartbeat' ignored; did you mean \
             'amqp.heartbeat'?\n"
        )
    );
    // What it prints is a configuration that means the same.
    let (_folder, printed) = file(&stdout);
    assert_eq!(run(&["--config", &printed, "check-config"]).1, stdout);
}

/// The command line has the last word.
#[test]
fn limits_for_alarms_are_flags() {
    let (_folder, path) = file("[alarms]\nvm_memory_high_watermark = 0.4\ndisk_free_limit = 1\n");
    let arguments = [
        "check-config",
        "--config",
        &path,
        "--vm-memory-high-watermark=70%",
        "--disk-free-limit",
        "2GiB",
    ];
    let (code, stdout, stderr) = run(&arguments);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for line in ["\nvm_memory_high_watermark = 0.7\n", "\ndisk_free_limit = \"2GiB\"\n"] {
        assert!(stdout.contains(line), "{line}\n{stdout}");
    }
    let (code, stdout, stderr) = run(&["--disk-free-limit=much"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(
        stderr,
        "leveret: flag --disk-free-limit: alarms.disk_free_limit = \"much\": must be a size such as \"50MB\", as many times the \
         memory as 0.0 to 10.0, or \"none\"\n"
    );
}

#[test]
fn settings_come_from_the_environment_too() {
    let (_folder, path) = file("log.level = \"debug\"\namqp.heartbeat = 30\n");
    let output = leveret(&["check-config"])
        .env("LEVERET_CONFIG", path)
        .env("LEVERET_LOG", "error")
        .env("LEVERET_DATA_DIR", "/somewhere")
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.stderr, b"");
    for line in ["level = \"error\"", "heartbeat = 30", "data_dir = \"/somewhere\""] {
        assert!(stdout.contains(line), "{line}\n{stdout}");
    }
}

#[test]
fn a_bad_setting_is_one_line_and_exit_code_1() {
    let (_folder, path) = file("\n[amqp]\nframe_max = \"1 byte\"\n");
    for arguments in [&["--config", path.as_str()][..], &["check-config", "--config", &path]] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (Some(1), ""));
        assert_eq!(
            stderr,
            format!(
                "leveret: {path}:3: amqp.frame_max = \"1 byte\": must be a size from 4KiB to \
                 128MiB\n"
            )
        );
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [&["--no-such-flag"][..], &["no-such-command"], &["--listen"]] {
        assert_eq!(run(arguments).0, Some(2), "{arguments:?}");
    }
    let (code, stdout, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for flag in ["--config", "--data-dir", "--listen", "--management", "--metrics", "--log"] {
        assert!(stdout.contains(flag), "{flag}");
    }
    assert_eq!(run(&["--version"]).1, format!("leveret {}\n", env!("CARGO_PKG_VERSION")));
}

/// Of a command, its help shows what it takes and nothing else.
#[test]
fn the_brokers_flags_are_not_those_of_perf() {
    for arguments in [&["perf", "--help"][..], &["perf", "run", "--help"]] {
        let (code, stdout, _) = run(arguments);
        assert_eq!(code, Some(0));
        for flag in ["--config", "--data-dir", "--listen", "--management", "--metrics", "--log "] {
            assert!(!stdout.contains(flag), "{flag}\n{stdout}");
        }
    }
    assert_eq!(run(&["perf", "presets", "--listen", "1"]).0, Some(2));
    let (code, _, stderr) = run(&["--listen", "1", "perf", "presets"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("the flag --listen is the broker's"), "{stderr}");
    // Before or behind check-config they mean the same, and the last one holds.
    let (_, before, _) = run(&["--listen", "1", "--log", "debug", "check-config"]);
    let (_, behind, _) = run(&["--log", "none", "check-config", "--listen", "1", "--log", "debug"]);
    assert!(before.contains("listen = [\"[::]:1\"]"), "{before}");
    assert_eq!(before, behind);
}

/// As `head` does it.
#[test]
fn a_reader_may_hang_up() {
    for arguments in [&["perf", "presets"][..], &["check-config", "--data-dir", "/data"]] {
        let mut child =
            leveret(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        assert_eq!((status.code(), &*String::from_utf8(stderr).unwrap()), (Some(0), ""));
    }
}

#[test]
fn a_taken_port_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    for flag in ["--listen", "--management", "--metrics"] {
        let listeners = ["--listen", "--management", "--metrics"].into_iter().flat_map(|one| {
            let address = if one == flag { address.as_str() } else { "none" };
            [one, address]
        });
        let arguments: Vec<&str> =
            ["--data-dir", data, "--log", "none"].into_iter().chain(listeners).collect();
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!((code, stdout.as_str()), (Some(1), ""));
        let start = format!("leveret: cannot listen on {address}: address already in use");
        assert!(stderr.to_lowercase().starts_with(&start), "{stderr}");
        assert!(stderr.trim_end().ends_with(flag), "{stderr}");
        assert_eq!(stderr.matches("already in use").count(), 1, "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn says_when_it_is_ready_and_stops_on_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let data = tempfile::tempdir().unwrap();
        let running = Running::start(data.path(), &[]);
        let (start, end) = running.ready.split_once(" (").unwrap();
        assert_eq!(start, format!("Server startup complete; AMQP on {}", running.address()));
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!("leveret {version}, data in {}, ", data.path().display());
        assert!(end.starts_with(&expected) && end.ends_with(" ms)\n"), "{end}");
        let client = TcpStream::connect(running.address()).unwrap();

        let asked = Instant::now();
        let (status, stderr, stdout) = running.end(signal);
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert_eq!(stdout, "", "one line only");
        assert!(stderr.contains(" [info] stopping on SIG"), "{stderr}");
        drop(client);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(data.path(), &[]);
    // A client that does not answer is given a moment, and that is when the second one comes.
    let client = TcpStream::connect(running.address()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    running.signal(Signal::TERM);
    let (status, stderr, _) = running.end(Signal::INT);
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(" [warning] ended at once by SIG"), "{stderr}");
    drop(client);
    Running::start(data.path(), &[]).end(Signal::TERM);
}

#[test]
fn logs_in_json() {
    let data = tempfile::tempdir().unwrap();
    let (_folder, path) = file("log.format = \"json\"\n");
    let (_, stderr, _) = Running::start(data.path(), &["--config", &path]).end(Signal::TERM);
    for line in stderr.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(object["time"].is_string() && object["msg"].is_string(), "{line}");
    }
    assert!(stderr.contains("\"level\":\"info\""), "{stderr}");
}

#[test]
fn a_locked_data_directory_says_so() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(data.path(), &[]);
    let path = data.path().to_str().unwrap();
    let (code, stdout, stderr) = run(&[
        "--listen=127.0.0.1:0",
        "--management=none",
        "--metrics=none",
        "--data-dir",
        path,
        "--log",
        "none",
    ]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.starts_with("leveret: ") && stderr.contains(path), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    running.end(Signal::TERM);
    Running::start(data.path(), &[]).end(Signal::TERM);
}

#[test]
fn an_unusable_data_directory_says_so() {
    let (_folder, file) = file("");
    let (code, _, stderr) = run(&[
        "--listen=127.0.0.1:0",
        "--management=none",
        "--metrics=none",
        "--data-dir",
        &file,
        "--log",
        "none",
    ]);
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("leveret: ") && stderr.contains(&file), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn perf_measures_a_broker_and_starts_one() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(data.path(), &[]);
    let target = format!("amqp://{}", running.address());
    let measured = ["perf", "run", "-q", "--messages", "100", "--json", "-", "--target", &target];
    let (code, report, errors) = run(&measured);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(report.contains("\"delivered\": 100"), "{report}");
    drop(running);

    let data = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (target, data) = (format!("amqp://{free}"), data.path().to_str().unwrap().to_owned());
    let broker = env!("CARGO_BIN_EXE_leveret");
    let started = ["perf", "start", "--rounds", "2", "--stop", "kill", "--target", &target];
    let broker = [
        "--",
        broker,
        "--listen",
        &free,
        "--management=none",
        "--metrics=none",
        "--data-dir",
        &data,
    ];
    let (code, times, errors) = run(&[started.as_slice(), &broker].concat());
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(times.starts_with("start to first channel: "), "{times}");
}
