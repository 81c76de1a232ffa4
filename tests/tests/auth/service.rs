//! A small HTTP service that decides, as those do that RabbitMQ's HTTP backend asks.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use leveret_tests::tls::{self, ServerConfig};
use parking_lot::{Condvar, Mutex};

/// The service, on a free port of this machine.
pub(crate) struct Service {
    /// What its paths begin with.
    base: String,
    state: Arc<State>,
}

type Decide = dyn Fn(&Asked) -> Reply + Send + Sync;

struct State {
    decide: Box<Decide>,
    asked: Mutex<Vec<Asked>>,
    changed: Condvar,
    /// What it serves TLS with, if it does.
    tls: Mutex<Option<Arc<ServerConfig>>>,
    /// Questions for which that holds are not answered.
    held: Mutex<Option<String>>,
}

/// A question.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// `user`, `vhost`, `resource` or `topic`.
    pub(crate) path: String,
    pub(crate) fields: BTreeMap<String, String>,
}

/// An answer.
pub(crate) enum Reply {
    Say(&'static str),
    Status(&'static str),
}

impl Asked {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The question in one line, as in `resource configure queue q of anna in /`.
    pub(crate) fn line(&self) -> String {
        let user = self.field("username");
        match self.path.as_str() {
            "user" => format!("user {user}"),
            "vhost" => format!("vhost {} of {user}", self.field("vhost")),
            "resource" => {
                let names = ["permission", "resource", "name"].map(|name| self.field(name));
                format!("resource {}", names.join(" "))
            }
            _ => {
                let names = ["permission", "name", "routing_key"].map(|name| self.field(name));
                format!("topic {}", names.join(" "))
            }
        }
    }
}

impl Service {
    pub(crate) fn start(decide: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(None, "127.0.0.1", decide)
    }

    /// Within TLS, to be asked by the name of that host.
    pub(crate) fn within(
        tls: Arc<ServerConfig>,
        host: &str,
        decide: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Some(tls), host, decide)
    }

    fn serve(
        tls: Option<Arc<ServerConfig>>,
        host: &str,
        decide: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            decide: Box::new(decide),
            asked: Mutex::default(),
            changed: Condvar::new(),
            tls: Mutex::new(tls),
            held: Mutex::default(),
        });
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), Arc::clone(&serving));
                let tls = state.tls.lock().clone();
                thread::spawn(move || match tls {
                    None => while state.answer(&mut &stream).is_some() {},
                    Some(tls) => {
                        // Whoever doesn't trust it leaves.
                        let mut stream = tls::serve(stream, &tls);
                        while state.answer(&mut stream).is_some() {}
                    }
                });
            }
        });
        let base = format!("{scheme}://{host}:{port}/auth");
        Self { base, state }
    }

    /// Serves TLS in another way from now on.
    pub(crate) fn secure(&self, tls: Arc<ServerConfig>) {
        *self.state.tls.lock() = Some(tls);
    }

    /// The settings that have it asked.
    pub(crate) fn settings(&self) -> String {
        let base = &self.base;
        format!(
            "[auth_http]\nuser_path = \"{base}/user\"\nvhost_path = \"{base}/vhost\"\n\
             resource_path = \"{base}/resource\"\ntopic_path = \"{base}/topic\"\n"
        )
    }

    /// Everything it was asked so far; forgotten with that.
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.asked.lock())
    }

    /// The same in lines.
    pub(crate) fn take_lines(&self) -> Vec<String> {
        self.take().iter().map(Asked::line).collect()
    }

    /// Answers no question that has this in its line, until released.
    pub(crate) fn hold(&self, part: &str) {
        *self.state.held.lock() = Some(part.to_owned());
    }

    /// Waits until it has been asked this, and takes what it was asked before as well.
    pub(crate) fn await_line(&self, line: &str) {
        let mut asked = self.state.asked.lock();
        while !asked.iter().any(|one| one.line() == line) {
            let timed_out = self.state.changed.wait_for(&mut asked, leveret_tests::PATIENCE);
            assert!(!timed_out.timed_out(), "it was not asked '{line}'");
        }
    }

    pub(crate) fn release(&self) {
        *self.state.held.lock() = None;
        self.state.changed.notify_all();
    }
}

/// Connections that wait for an answer end.
impl Drop for Service {
    fn drop(&mut self) {
        self.release();
    }
}

impl State {
    /// Answers one request; nothing at the end of the connection.
    fn answer(&self, stream: &mut (impl Read + Write)) -> Option<()> {
        let mut reader = BufReader::new(&mut *stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let mut words = head.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let length = head
            .to_lowercase()
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let form =
            if method == "POST" { String::from_utf8(body).unwrap() } else { query.to_owned() };
        let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
        let asked = Asked {
            method,
            path: path.rsplit('/').next()?.to_owned(),
            fields: pairs.map(|(name, value)| (decoded(name), decoded(value))).collect(),
        };
        let line = asked.line();
        self.asked.lock().push(asked.clone());
        self.changed.notify_all();
        let mut held = self.held.lock();
        while held.as_ref().is_some_and(|part| line.contains(part)) {
            self.changed.wait(&mut held);
        }
        drop(held);
        let (status, said) = match (self.decide)(&asked) {
            Reply::Say(said) => ("200 OK", said),
            Reply::Status(status) => (status, "allow"),
        };
        let length = said.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{said}");
        stream.write_all(answer.as_bytes()).ok()?;
        stream.flush().ok()
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).unwrap()
}
