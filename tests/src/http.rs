use std::net::SocketAddr;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, Method, Request};

/// A client of the HTTP API.
pub struct Api {
    base: String,
    login: Option<String>,
    agent: Agent,
}

/// What the API answered.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came; nothing of events, which go on.
    pub text: String,
}

impl Reply {
    /// The body as JSON; null for none.
    #[must_use]
    pub fn json(&self) -> Value {
        if self.text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// A header's value, empty if it isn't there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Api {
    /// A client of `guest`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).build();
        let login = Some("guest:guest".to_owned());
        Self { base: format!("http://{address}"), login, agent: config.into() }
    }

    /// The same client with another login, `user:password`, or with none.
    #[must_use]
    pub fn with_login(&self, login: Option<&str>) -> Self {
        let (base, agent) = (self.base.clone(), self.agent.clone());
        Self { base, login: login.map(str::to_owned), agent }
    }

    /// Makes a request and gives the answer, whatever its status.
    ///
    /// # Panics
    /// If there is none.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let method: Method = method.parse().expect("a method");
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(login) = &self.login {
            request = request.header("authorization", format!("Basic {}", base64(login)));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.to_owned()).expect("a request");
        let response = self.agent.run(request).unwrap_or_else(|error| panic!("{path}: {error}"));
        let (parts, mut body) = response.into_parts();
        let is_endless =
            parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let text =
            if is_endless { String::new() } else { body.read_to_string().expect("a body of text") };
        Reply { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    /// A request of the API with a JSON body, or without one for null.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, &format!("/api{path}"), &[("content-type", "application/json")], &body)
    }

    /// What a GET finds.
    ///
    /// # Panics
    /// If it finds nothing.
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        let reply = self.call("GET", path, &Value::Null);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        reply.json()
    }

    /// Puts something there.
    ///
    /// # Panics
    /// If that is refused.
    pub fn put(&self, path: &str, body: &Value) {
        let reply = self.call("PUT", path, body);
        assert!([201, 204].contains(&reply.status), "{path}: {} {}", reply.status, reply.text);
    }
}

/// Only here to make headers: the alphabet of RFC 4648, section 4.
fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let place = (bits >> (18 - 6 * index)) & 63;
            let symbol = char::from(ALPHABET[place as usize]);
            encoded.push(if index <= chunk.len() { symbol } else { '=' });
        }
    }
    encoded
}
