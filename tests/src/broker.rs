use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::account::{Account, Embedded, Management};
use crate::given::Given;
use crate::process::Process;
use crate::{Answer, Connection, Login, binary};

/// A broker to test: a process of our own on fresh data, one within this process, or the one of
/// `LEVERET_TEST_URL`.
///
/// Dropping it kills the process and removes the data, or deletes from the given broker what the
/// test declared.
pub struct Broker {
    /// Dropped first: accounts go before the given broker is handed on.
    _management: Option<Management>,
    kind: Kind,
}

enum Kind {
    Own(Own),
    Embedded(Embedded),
    Given(Given),
}

/// How a broker ended.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// What the process left, a code or a signal.
    pub status: ExitStatus,
    /// From the signal until the process was gone.
    pub took: Duration,
}

impl Broker {
    /// A broker with the built-in settings.
    #[must_use]
    pub fn start() -> Self {
        Self::of_kind(Given::take().map_or_else(|| Kind::Own(Own::start(&[], None)), Kind::Given))
    }

    /// A broker with more users; `None`, and a note, if the given one has no management API.
    #[must_use]
    pub fn with_accounts(accounts: &[Account<'_>]) -> Option<Self> {
        let Some(given) = Given::take() else {
            return Some(Self::of_kind(Kind::Embedded(Embedded::start(accounts))));
        };
        let Some(mut management) = Management::of_given() else {
            println!("skipped: needs users, and LEVERET_TEST_MANAGEMENT is not set");
            return None;
        };
        accounts.iter().for_each(|account| management.add(account));
        Some(Self { _management: Some(management), kind: Kind::Given(given) })
    }

    /// A broker in this process with more users, for what only [`inside`](Self::inside) sets up;
    /// `None`, and a note, if the tests are to use a given one.
    #[must_use]
    pub fn embedded(accounts: &[Account<'_>], because: &str) -> Option<Self> {
        if Given::is_set() {
            println!("skipped: {because}");
            return None;
        }
        Some(Self::of_kind(Kind::Embedded(Embedded::start(accounts))))
    }

    /// What is behind the listeners of a broker in this process.
    ///
    /// # Panics
    /// If it is in none, or in another.
    #[must_use]
    pub fn inside(&self) -> &leveret_broker::Broker {
        match &self.kind {
            Kind::Embedded(embedded) => embedded.broker(),
            _ => panic!("the broker is in another process"),
        }
    }

    /// A broker of our own; `None`, and a note, if the tests are to use a given one.
    #[must_use]
    pub fn own(because: &str) -> Option<Self> {
        Self::own_with(None, because)
    }

    /// A broker of our own with this configuration file; `None`, and a note, if the tests are to
    /// use a given one.
    #[must_use]
    pub fn configured(toml: &str, because: &str) -> Option<Self> {
        Self::own_with(Some(toml), because)
    }

    /// A broker of our own with the HTTP API on; `None`, and a note, if the tests are to use a
    /// given one.
    #[must_use]
    pub fn managed() -> Option<Self> {
        let listeners = "management = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n";
        Self::own_with(Some(listeners), "drives the HTTP API")
    }

    /// A broker of our own with this configuration file behind another command, which may change what
    /// it finds of the system; `None`, and a note, if the tests are to use a given one.
    #[must_use]
    pub fn behind(wrapper: &[&str], toml: &str, because: &str) -> Option<Self> {
        if Given::is_set() {
            println!("skipped: {because}");
            return None;
        }
        Some(Self::of_kind(Kind::Own(Own::start(wrapper, Some(toml)))))
    }

    fn own_with(config: Option<&str>, because: &str) -> Option<Self> {
        if Given::is_set() {
            println!("skipped: {because}");
            return None;
        }
        Some(Self::of_kind(Kind::Own(Own::start(&[], config))))
    }

    fn of_kind(kind: Kind) -> Self {
        Self { _management: None, kind }
    }

    /// Where it listens for AMQP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match &self.kind {
            Kind::Own(own) => own.address,
            Kind::Embedded(embedded) => embedded.address(),
            Kind::Given(given) => given.address,
        }
    }

    /// Where a broker of [`managed`](Self::managed) listens for HTTP.
    ///
    /// # Panics
    /// If it doesn't.
    #[must_use]
    pub fn management_address(&self) -> SocketAddr {
        self.address_of("management")
    }

    /// Where a broker of [`managed`](Self::managed) listens for Prometheus.
    ///
    /// # Panics
    /// If it doesn't.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.address_of("metrics")
    }

    /// Where it listens for something else that its ready line names, such as `AMQP over TLS`.
    ///
    /// # Panics
    /// If it doesn't.
    #[must_use]
    pub fn address_of(&self, listener: &str) -> SocketAddr {
        let line = self.process().output().await_line(|line| {
            let (_, rest) = line.split_once(&format!("; {listener} on "))?;
            rest.split_whitespace().next()?.trim_end_matches([',', ';']).parse().ok()
        });
        line.unwrap_or_else(|| panic!("the ready line names no {listener}"))
    }

    /// The address as clients take it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.address())
    }

    /// A socket to it, nothing sent.
    #[must_use]
    pub fn dial(&self) -> Connection {
        match &self.kind {
            Kind::Given(given) => {
                Connection::dial_noting(given.address, Arc::clone(&given.declared))
                    .expect("the given broker listens")
            }
            _ => Connection::dial(self.address()),
        }
    }

    /// An open connection of `guest`.
    ///
    /// # Panics
    /// If the broker refuses it.
    #[must_use]
    pub fn connect(&self) -> Connection {
        self.connect_as(&Login::default()).unwrap_or_else(|answer| panic!("{answer}"))
    }

    /// An open connection.
    ///
    /// # Errors
    /// What the broker answered instead of letting it in.
    pub fn connect_as(&self, login: &Login<'_>) -> Result<Connection, Answer> {
        let connection = self.dial();
        connection.open(login)?;
        Ok(connection)
    }

    /// An open connection of `guest` from another address of this machine's, such as 127.0.0.2.
    ///
    /// # Errors
    /// What the broker answered instead of letting it in.
    ///
    /// # Panics
    /// If the broker can't be reached from there.
    pub fn connect_from(&self, source: IpAddr) -> Result<Connection, Answer> {
        let connection = Connection::dial_from(source, self.address()).expect("a local address");
        connection.open(&Login::default())?;
        Ok(connection)
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self) -> Exit {
        self.stop(Signal::TERM)
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill9(&mut self) -> Exit {
        self.stop(Signal::KILL)
    }

    /// Sends SIGTERM and goes on; [`await_exit`](Self::await_exit) waits.
    pub fn begin_to_terminate(&self) {
        self.process().signal(Signal::TERM);
    }

    /// Waits until the process has ended.
    pub fn await_exit(&mut self) -> ExitStatus {
        self.own_mut().process.await_exit()
    }

    /// Starts it again on the same data, at a new address.
    pub fn restart(&mut self) {
        self.own_mut().restart();
    }

    /// The directory of its data.
    ///
    /// # Panics
    /// As all about the process, if it is none of ours.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        match &self.kind {
            Kind::Own(own) => own.home.path().join(DATA),
            _ => panic!("{NO_PROCESS}"),
        }
    }

    /// Bytes of physical memory it holds.
    #[must_use]
    pub fn resident_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process().id()));
        let status = status.expect("a running process on Linux");
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        kilobytes.expect("VmRSS in kB") * 1024
    }

    /// Sends SIGHUP.
    ///
    /// # Panics
    /// If it is no process of ours.
    pub fn hang_up(&self) {
        self.process().signal(Signal::HUP);
    }

    /// Its process.
    ///
    /// # Panics
    /// If it is no process of ours.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process().id()
    }

    /// Its configuration file.
    ///
    /// # Panics
    /// If it is no process of ours.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        match &self.kind {
            Kind::Own(own) => own.home.path().join(CONFIG),
            _ => panic!("{NO_PROCESS}"),
        }
    }

    /// The first line it prints that has this text in it.
    ///
    /// # Panics
    /// If it prints none.
    pub fn await_line(&self, text: &str) -> String {
        let found =
            self.process().output().await_line(|line| line.contains(text).then(|| line.to_owned()));
        found.unwrap_or_else(|| panic!("it printed no '{text}'"))
    }

    /// What it has printed.
    #[must_use]
    pub fn log(&self) -> String {
        self.process().output().text()
    }

    /// Runs the binary with arguments that make it end by itself; gives its exit status and what it
    /// printed.
    #[must_use]
    pub fn run(arguments: &[&str]) -> (ExitStatus, String) {
        let mut process = Process::spawn(Command::new(binary::path()).args(arguments));
        let status = process.await_exit();
        (status, process.output().text())
    }

    fn stop(&mut self, signal: Signal) -> Exit {
        let asked = Instant::now();
        self.process().signal(signal);
        let status = self.await_exit();
        Exit { status, took: asked.elapsed() }
    }

    fn process(&self) -> &Process {
        match &self.kind {
            Kind::Own(own) => &own.process,
            _ => panic!("{NO_PROCESS}"),
        }
    }

    fn own_mut(&mut self) -> &mut Own {
        match &mut self.kind {
            Kind::Own(own) => own,
            _ => panic!("{NO_PROCESS}"),
        }
    }
}

/// Shows what the broker printed when the test fails, and fails the test when a task of the broker
/// has panicked, which clients need not notice.
impl Drop for Broker {
    fn drop(&mut self) {
        let Kind::Own(own) = &self.kind else { return };
        if std::thread::panicking() {
            println!("--- the broker printed ---\n{}", own.process.output().text());
        } else {
            own.assert_no_panic();
        }
    }
}

/// A broker process and the directory its configuration and data are in.
struct Own {
    process: Process,
    address: SocketAddr,
    home: TempDir,
    /// In front of the binary and its arguments.
    wrapper: Vec<String>,
}

impl Own {
    fn start(wrapper: &[&str], config: Option<&str>) -> Self {
        let home = TempDir::with_prefix("leveret-test-").expect("a temporary directory");
        if let Some(config) = config {
            std::fs::write(home.path().join(CONFIG), config).expect("a writable directory");
        }
        let wrapper: Vec<String> = wrapper.iter().map(|word| (*word).to_owned()).collect();
        let (process, address) = launch(&wrapper, home.path());
        Self { process, address, home, wrapper }
    }

    fn restart(&mut self) {
        self.assert_no_panic();
        (self.process, self.address) = launch(&self.wrapper, self.home.path());
    }

    fn assert_no_panic(&self) {
        let printed = self.process.output().text();
        assert!(!printed.contains("panicked at"), "the broker printed:\n{printed}");
    }
}

fn launch(wrapper: &[String], home: &Path) -> (Process, SocketAddr) {
    let words: Vec<&OsStr> =
        wrapper.iter().map(OsStr::new).chain([binary::path().as_os_str()]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    let config = home.join(CONFIG);
    if config.exists() {
        command.arg("--config").arg(&config);
    }
    command.arg("--data-dir").arg(home.join(DATA));
    let configured = std::fs::read_to_string(&config).unwrap_or_default();
    for (listener, address) in
        [("listen", "127.0.0.1:0"), ("management", "none"), ("metrics", "none")]
    {
        if !configured.contains(listener) {
            command.args([&format!("--{listener}"), address]);
        }
    }
    let process = Process::spawn(&mut command);
    let address = process.output().await_line(ready_address);
    let address = address.unwrap_or_else(|| {
        panic!("the broker did not get ready; it printed:\n{}", process.output().text());
    });
    (process, address)
}

/// The first address after the words that say the broker is ready.
fn ready_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("Server startup complete")?;
    rest.split_whitespace().find_map(|word| word.trim_matches([',', ';', '.']).parse().ok())
}

const CONFIG: &str = "leveret.toml";
const DATA: &str = "data";
const NO_PROCESS: &str = "this broker is no process of ours";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_address() {
        let line = "2026-01-01 INFO Server startup complete: AMQP on 127.0.0.1:40123, HTTP none";
        assert_eq!(ready_address(line), Some("127.0.0.1:40123".parse().unwrap()));
        assert_eq!(ready_address("Server startup complete"), None);
        assert_eq!(ready_address("listening on 127.0.0.1:1"), None);
    }
}
