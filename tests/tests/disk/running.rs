//! A broker's process, started as each test wants it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::thread;

use leveret_tests::{Api, Channel, Connection, Login, binary};
use parking_lot::Mutex;

/// A broker that listens; dropping it kills it.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stderr: Option<ChildStderr>,
    address: SocketAddr,
    management: SocketAddr,
    data: PathBuf,
}

impl Running {
    /// Starts a broker on these data behind a wrapper, which may be none; `None` if it does not start.
    pub(crate) fn start(wrapper: &[&str], data: &Path, config: &Path) -> Option<Self> {
        let words: Vec<_> =
            wrapper.iter().map(Into::into).chain([binary().as_os_str().to_owned()]).collect();
        let mut command = Command::new(&words[0]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LEVERET_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(&words[1..])
            .args(["--listen=127.0.0.1:0", "--management=127.0.0.1:0", "--metrics=none"])
            .arg("--data-dir")
            .arg(data)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let stderr = child.stderr.take();
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a pipe");
        let address = |listener: &str| {
            let (_, rest) = line.split_once(listener)?;
            rest.split([' ', ';']).next().and_then(|text| text.parse().ok())
        };
        let Some(address_of_amqp) = address("AMQP on ") else {
            child.wait().expect("ends");
            return None;
        };
        let management = address("management on ").expect("an address");
        Some(Self { child, stderr, address: address_of_amqp, management, data: data.to_owned() })
    }

    /// The HTTP API, as an administrator.
    pub(crate) fn api(&self) -> Api {
        Api::new(self.management)
    }

    pub(crate) fn connect(&self) -> Connection {
        self.connect_as(&Login::default())
    }

    pub(crate) fn connect_as(&self, login: &Login<'_>) -> Connection {
        let connection = Connection::dial(self.address);
        connection.open(login).unwrap_or_else(|answer| panic!("{answer}"));
        connection
    }

    /// The broker's own process, by its lock, if it is still that.
    fn pid(&self) -> Option<rustix::process::Pid> {
        let text = std::fs::read_to_string(self.data.join("lock")).ok()?;
        let id: i32 = text.trim().parse().ok()?;
        let words = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let data = self.data.as_os_str().as_encoded_bytes();
        let is_it = words.split(|byte| *byte == 0).any(|word| word == data);
        is_it.then(|| rustix::process::Pid::from_raw(id)).flatten()
    }

    /// What it logs, as it comes.
    pub(crate) fn log(&mut self) -> Arc<Mutex<String>> {
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(self.stderr.take().expect("a pipe")).lines();
        let text = Arc::clone(&log);
        thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| *text.lock() += &(line + "\n"));
        });
        log
    }

    pub(crate) fn channel(&self) -> Channel {
        self.connect().channel(1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Who watches it may go without it.
        if let Some(pid) = self.pid() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        // Both fail when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
