//! `rabbitmqadmin`, over HTTP with a login: the words of version 1 (`declare queue name=q`) and
//! those of version 2 (`queues declare --name q`), whichever a script has.

mod display;
mod options;
mod resources;
mod words;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use self::display::Style;
use self::options::Options;
use self::resources::{
    CLOSED, DECLARED, DELETED, GET, LISTED, Listed, PUBLISH, PURGED, Resource, SHOWN,
};
use self::words::Words;
use crate::at::At;
use crate::failure::Failure;
use crate::http::{Http, NoReply, Place, Reply, part};

/// The only exit code but 0.
const FAILED: u8 = 1;

/// Runs it.
///
/// # Errors
/// What to print, and the exit code.
pub(crate) fn run(words: &[OsString]) -> Result<(), Failure> {
    let Some((options, words)) = options::parse(words)? else { return Ok(()) };
    let place = Place::Host {
        host: options.host.clone(),
        port: options.port,
        user: options.username.clone(),
        password: options.password.clone(),
        tls: None,
    };
    let http = Http::new(place, Duration::from_secs(options.timeout_seconds));
    let http = http.map_err(|error| failed(&error.to_string()))?;
    Admin { http, options }.carry_out(&Words::read(&words))
}

/// A command line that makes no sense.
fn misused(why: &str) -> Failure {
    Failure::plain(FAILED, format!("\nERROR: {why}\n\nrabbitmqadmin --help for help\n"))
}

fn failed(why: &str) -> Failure {
    Failure::plain(FAILED, format!("*** {why}\n"))
}

struct Admin {
    http: Http,
    options: Options,
}

impl Admin {
    fn carry_out(&self, words: &Words) -> Result<(), Failure> {
        match words.verb.as_str() {
            "" => Err(misused("Action not specified")),
            "list" => self.list(words),
            "show" => self.show(words),
            "declare" => self.declare(words),
            "delete" => {
                self.change("DELETE", DELETED, words)?;
                self.say(&format!("{} deleted", words.object))
            }
            "close" => {
                self.change("DELETE", CLOSED, words)?;
                self.say(&format!("{} closed", words.object))
            }
            "purge" => {
                self.change("DELETE", PURGED, words)?;
                self.say(&format!("{} purged", words.object))
            }
            "publish" => self.publish(words),
            "get" => self.get(words),
            "export" => self.export(words),
            "import" => self.import(words),
            "check" => self.check(words),
            "rebalance" => {
                self.send("POST", "/rebalance/queues", &[])?;
                self.say("Rebalancing queue leaders")
            }
            "salt_and_hash" => {
                let password = words.value("password").or_else(|| words.plain.first().cloned());
                let password = password.ok_or_else(|| misused("a password is required"))?;
                let reply = self.json(&format!("/auth/hash_password/{}", part(&password)))?;
                self.print(&format!("{}\n", reply.at("ok").as_str().unwrap_or_default()))
            }
            other => Err(misused(&format!("Action {other} not understood"))),
        }
    }

    /// A request that is carried out.
    fn send(&self, method: &str, path: &str, body: &[u8]) -> Result<Reply, Failure> {
        let path = format!("{}/api{path}", self.options.path_prefix);
        let reply = self.http.send(method, &path, body, &[]);
        let reply = reply.map_err(|none| match none {
            NoReply::Unreachable(error) => failed(&format!("Could not connect: {error}")),
            NoReply::TimedOut(after) => failed(&format!(
                "Timed out getting HTTP response (request timeout: {} seconds)",
                after.as_secs()
            )),
            NoReply::Broken(reason) => failed(&format!("Error getting HTTP response: {reason}")),
        })?;
        match reply.status.as_u16() {
            200..=299 => Ok(reply),
            401 => Err(failed(&format!("Access refused: {path}"))),
            404 => Err(failed(&format!("Not found: {path}"))),
            405 => Err(failed(&format!("Method not allowed: {path}"))),
            400 => Err(failed(&reply.reason())),
            status => {
                let text = String::from_utf8_lossy(&reply.body).into_owned();
                Err(failed(&format!("Received response {status} for path {path}\n{text}")))
            }
        }
    }

    fn json(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.send("GET", path, &[])?.json())
    }

    fn print(&self, text: &str) -> Result<(), Failure> {
        match io::stdout().write_all(text.as_bytes()) {
            // Whoever reads it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| failed(&error.to_string())),
        }
    }

    /// Unless nobody wants to hear it.
    fn say(&self, text: &str) -> Result<(), Failure> {
        if self.options.is_quiet { Ok(()) } else { self.print(&format!("{text}\n")) }
    }

    fn display(&self, items: &Value, columns: &[String], in_json: &[&str]) -> Result<(), Failure> {
        let text = display::shown(items, columns, in_json, &self.options);
        if text.is_empty() {
            return self.say("No items");
        }
        self.print(&text)
    }

    fn list(&self, words: &Words) -> Result<(), Failure> {
        let listed = LISTED.iter().find(|one| one.name == words.object);
        let listed =
            listed.ok_or_else(|| misused(&format!("Don't know how to list {}", words.object)))?;
        let mut path = format!("/{}", listed.path);
        match self.vhost_asked_for(words) {
            Some(vhost) if listed.is_of_vhost => path += &format!("/{}", part(&vhost)),
            _ => {}
        }
        self.show_list(words, listed, &path)
    }

    fn show(&self, words: &Words) -> Result<(), Failure> {
        let shown = SHOWN.iter().find(|one| one.name == words.object);
        let shown =
            shown.ok_or_else(|| misused(&format!("Don't know how to show {}", words.object)))?;
        self.show_list(words, shown, &format!("/{}", shown.path))
    }

    fn show_list(&self, words: &Words, listed: &Listed, path: &str) -> Result<(), Failure> {
        let mut columns = words.plain.clone();
        if let Some(given) = words.value("columns") {
            columns.extend(given.split(',').map(str::to_owned));
        }
        let is_short = self.options.depth == 1 && !self.options.style.is_json();
        if columns.is_empty() && is_short {
            columns = listed.columns.iter().map(|&name| name.to_owned()).collect();
        }
        let mut query = Vec::new();
        if !columns.is_empty() {
            query.push(format!("columns={}", columns.join(",")));
        }
        if let Some(sort) = &self.options.sort {
            query.push(format!("sort={sort}"));
        }
        if self.options.is_reversed {
            query.push("sort_reverse=true".to_owned());
        }
        let reply = self.send("GET", &format!("{path}?{}", query.join("&")), &[])?;
        if self.options.style == Style::RawJson {
            return self.print(&format!("{}\n", String::from_utf8_lossy(&reply.body)));
        }
        let items = match reply.json() {
            Value::Array(items) => Value::Array(items),
            one => Value::Array(vec![one]),
        };
        self.display(&items, &columns, listed.in_json)
    }

    fn declare(&self, words: &Words) -> Result<(), Failure> {
        let method = if words.object == "binding" { "POST" } else { "PUT" };
        self.change(method, DECLARED, words)?;
        self.say(&format!("{} declared", words.object))
    }

    /// Does something to an object.
    fn change(
        &self,
        method: &str,
        resources: &[Resource],
        words: &Words,
    ) -> Result<Reply, Failure> {
        if words.object.is_empty() {
            return Err(misused("Type not specified"));
        }
        let resource = resources.iter().find(|one| one.name == words.object);
        let resource =
            resource.ok_or_else(|| misused(&format!("Type {} not recognised", words.object)))?;
        let (path, body) = self.request(resource, words)?;
        let body = if method == "DELETE" { Vec::new() } else { bytes(&body) };
        match self.send(method, &path, &body) {
            // What is gone already is as good as deleted, to who says so.
            Err(_) if words.value("idempotently").is_some() && self.is_missing(&path) => {
                self.send("GET", "/whoami", &[])
            }
            reply => reply,
        }
    }

    fn is_missing(&self, path: &str) -> bool {
        self.send("GET", path, &[]).is_err_and(|error| error.text.starts_with("*** Not found"))
    }

    fn request(&self, resource: &Resource, words: &Words) -> Result<(String, Body), Failure> {
        let mut body = resource.read(words)?;
        if !body.contains_key("vhost") {
            body.insert("vhost".to_owned(), self.options.vhost().into());
        }
        let path = resource.path(&body)?;
        resources::finish(&mut body);
        Ok((path, body))
    }

    fn publish(&self, words: &Words) -> Result<(), Failure> {
        let (path, mut body) = self.request(&PUBLISH, words)?;
        if body.get("payload").is_none() {
            let mut payload = Vec::new();
            let read = io::stdin().read_to_end(&mut payload);
            read.map_err(|error| failed(&error.to_string()))?;
            body.insert("payload".to_owned(), STANDARD.encode(payload).into());
            body.insert("payload_encoding".to_owned(), "base64".into());
        }
        let reply = self.send("POST", &path, &bytes(&body))?.json();
        match reply.at("routed") == true {
            true => self.say("Message published"),
            false => self.say("Message published but NOT routed"),
        }
    }

    fn get(&self, words: &Words) -> Result<(), Failure> {
        let (path, body) = self.request(&GET, words)?;
        let file = body.get("payload_file").and_then(Value::as_str);
        if file.is_some() && body.get("count").is_some_and(|count| *count != "1") {
            return Err(misused("Cannot get multiple messages using payload_file"));
        }
        let messages = self.send("POST", &path, &bytes(&body))?.json();
        let Some(file) = file else { return self.display(&messages, &[], &[]) };
        if let Some(message) = messages.get(0) {
            let payload = message.at("payload").as_str().unwrap_or_default();
            let bytes = match message.at("payload_encoding") == "base64" {
                true => STANDARD.decode(payload).unwrap_or_default(),
                false => payload.as_bytes().to_vec(),
            };
            fs::write(file, bytes).map_err(|error| failed(&format!("{file}: {error}")))?;
        }
        let columns = ["routing_key", "exchange", "message_count", "payload_bytes", "redelivered"];
        self.display(&messages, &columns.map(str::to_owned), &[])
    }

    /// The option may stand in front of the verb or behind it.
    fn vhost_asked_for(&self, words: &Words) -> Option<String> {
        self.options.vhost.clone().or_else(|| words.value("vhost"))
    }

    fn definitions(&self, words: &Words) -> String {
        match self.vhost_asked_for(words) {
            Some(vhost) => format!("/definitions/{}", part(&vhost)),
            None => "/definitions".to_owned(),
        }
    }

    fn export(&self, words: &Words) -> Result<(), Failure> {
        let file = words.value("file").or_else(|| words.plain.first().cloned());
        let body = self.send("GET", &self.definitions(words), &[])?.body;
        match file.as_deref() {
            None if words.is_version_2 => self.print(&String::from_utf8_lossy(&body)),
            Some("-") => self.print(&String::from_utf8_lossy(&body)),
            None => Err(misused("Exactly one argument required")),
            Some(file) => {
                fs::write(file, body).map_err(|error| failed(&format!("{file}: {error}")))?;
                let host = &self.options.host;
                self.say(&format!("Exported definitions for {host} to \"{file}\""))
            }
        }
    }

    fn import(&self, words: &Words) -> Result<(), Failure> {
        let file = words.value("file").or_else(|| words.plain.first().cloned());
        let file = file.ok_or_else(|| misused("Exactly one argument required"))?;
        let read = match file.as_str() {
            "-" => {
                let mut text = Vec::new();
                io::stdin().read_to_end(&mut text).map(|_| text)
            }
            file => fs::read(file),
        };
        let definitions = read.map_err(|error| failed(&format!("{file}: {error}")))?;
        self.send("POST", &self.definitions(words), &definitions)?;
        let host = &self.options.host;
        self.say(&format!("Uploaded definitions from \"{host}\" to {file}."))
    }

    fn check(&self, words: &Words) -> Result<(), Failure> {
        let path = match words.object.as_str() {
            "local_alarms" => "local-alarms".to_owned(),
            "cluster_wide_alarms" | "alarms" => "alarms".to_owned(),
            "node_is_quorum_critical" => "node-is-quorum-critical".to_owned(),
            "virtual_hosts" => "virtual-hosts".to_owned(),
            "port_listener" => {
                format!("port-listener/{}", part(&words.value("port").unwrap_or_default()))
            }
            "protocol_listener" => {
                format!("protocol-listener/{}", part(&words.value("protocol").unwrap_or_default()))
            }
            other => return Err(misused(&format!("Don't know how to check {other}"))),
        };
        let reply = self.json(&format!("/health/checks/{path}"))?;
        self.display(&Value::Array(vec![reply]), &[], &[])
    }
}

/// A value that is JSON.
fn parsed(text: &str) -> Result<Value, Failure> {
    let wrong = |_| Failure::plain(FAILED, format!("ERROR: Could not parse JSON:\n  {text}"));
    serde_json::from_str(text).map_err(wrong)
}

/// A body under way.
type Body = Map<String, Value>;

fn bytes(body: &Body) -> Vec<u8> {
    // Writing JSON to memory does not fail.
    serde_json::to_vec(body).unwrap_or_default()
}
