//! The broker as the commands see it: what it has, what it takes, and RabbitMQ's words for why not.

use std::net::ToSocketAddrs;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value;

use crate::failure::{Failure, TIMEOUT, UNAVAILABLE};
use crate::http::{Http, NoReply, Place, Reply};

/// A broker and the name of its node.
pub(crate) struct Broker {
    http: Http,
    node: String,
}

impl Broker {
    pub(crate) fn new(http: Http, node: String) -> Self {
        Self { http, node }
    }

    /// The node's name: `rabbit@host`.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// What it is asked through.
    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    /// Makes a request, whatever comes of it.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Result<Reply, Failure> {
        self.send_with(method, path, body, &[])
    }

    /// As [`send`](Self::send), with headers.
    pub(crate) fn send_with(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Result<Reply, Failure> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.http.send(method, path, body.as_bytes(), headers);
        reply.map_err(|none| self.unanswered(none))
    }

    /// What is there.
    ///
    /// # Errors
    /// The reason of a refusal.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        accepted(self.send("GET", path, &Value::Null)?).map(|reply| reply.json())
    }

    /// What is there, if anything is.
    pub(crate) fn find(&self, path: &str) -> Result<Option<Value>, Failure> {
        let reply = self.send("GET", path, &Value::Null)?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        accepted(reply).map(|reply| Some(reply.json()))
    }

    /// A list, which is always there.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        match self.get(path)? {
            Value::Array(items) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Result<(), Failure> {
        accepted(self.send("PUT", path, body)?).map(drop)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        accepted(self.send("POST", path, body)?).map(|reply| reply.json())
    }

    /// Deletes what is there; `false` when nothing was.
    pub(crate) fn delete(&self, path: &str) -> Result<bool, Failure> {
        let reply = self.send("DELETE", path, &Value::Null)?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        accepted(reply).map(|_| true)
    }

    /// Whether anybody answers.
    pub(crate) fn is_up(&self) -> bool {
        self.http.send("GET", "/health/live", &[], &[]).is_ok()
    }

    fn unanswered(&self, none: NoReply) -> Failure {
        let node = &self.node;
        match none {
            NoReply::Unreachable(error) => {
                let place = match self.http.place() {
                    Place::Socket(path) => path.display().to_string(),
                    Place::Host { host, port, .. } => format!("{host}:{port}"),
                };
                Failure::plain(
                    UNAVAILABLE,
                    format!(
                        "Error: unable to perform an operation on node '{node}'. Please see \
                         diagnostics information and suggestions below.\n\n \
                         * {place}: {error}\n \
                         * Is the broker running, with this data directory? Name another with \
                         --data-dir or LEVERET_DATA_DIR.\n \
                         * Is this its user? Only that user, and root, may give it commands.\n"
                    ),
                )
            }
            NoReply::TimedOut(after) => Failure::plain(
                TIMEOUT,
                format!(
                    "Error: operation timed out on node {node}. Timeout value used: {}",
                    after.as_millis()
                ),
            ),
            NoReply::Broken(reason) => Failure::plain(
                UNAVAILABLE,
                format!("Error: the connection to node '{node}' broke: {reason}"),
            ),
        }
    }
}

/// A reply that is no refusal.
///
/// # Errors
/// The reason of a refusal.
pub(crate) fn accepted(reply: Reply) -> Result<Reply, Failure> {
    if reply.status.is_success() {
        return Ok(reply);
    }
    Err(Failure::refused(reply.reason()))
}

/// Whether somebody listens there.
pub(crate) fn can_connect(host: &str, port: u16, timeout: Duration) -> bool {
    let Ok(mut addresses) = (host, port).to_socket_addrs() else { return false };
    addresses.any(|address| std::net::TcpStream::connect_timeout(&address, timeout).is_ok())
}
