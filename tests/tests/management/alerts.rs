//! Alerts of the broker, told to receivers that are really there.

mod mail;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use leveret_tests::tls::{self, Authority, ServerConfig, Wanted};
use leveret_tests::{Api, Broker, declare, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest wait for something that surely comes.
const PATIENCE: Duration = Duration::from_secs(60);

const LISTENERS: &str = "management = \"127.0.0.1:0\"\nmetrics = \"none\"\n";

/// A broker that looks at these rules often.
fn alerting(alerts: &str) -> Option<(Broker, Api)> {
    let config = format!("{LISTENERS}[alerts]\ninterval = \"100ms\"\n{alerts}");
    let broker = Broker::configured(&config, "has alert rules")?;
    let api = Api::new(broker.management_address());
    Some((broker, api))
}

/// A server on a free port, which gives each connection to `serve` in turn, and what that makes of it.
fn server<T: Send + 'static>(
    serve: impl Fn(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, Receiver<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (seen, received): (SyncSender<T>, Receiver<T>) = sync_channel(16);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            if seen.send(serve(stream)).is_err() {
                return;
            }
        }
    });
    (address, received)
}

/// Reads a request and answers it: its head, and the JSON of its body.
fn answer_http(stream: impl Read + Write, status: &str) -> (String, Value) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).expect("a line"), 0, "{head}");
    }
    let head = head.to_lowercase();
    let length = head.split("content-length: ").nth(1).expect("a length");
    let length = length.split("\r\n").next().and_then(|text| text.parse().ok());
    let mut body = vec![0; length.expect("a number")];
    reader.read_exact(&mut body).expect("a body");
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    reader.get_mut().write_all(answer.as_bytes()).expect("an answer");
    (head, serde_json::from_slice(&body).expect("JSON"))
}

/// An authority, its certificate in a file, and a server's side of TLS for `localhost`.
struct Trusted {
    folder: TempDir,
    server: Arc<ServerConfig>,
}

impl Trusted {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new("root");
        fs::write(folder.path().join("ca.pem"), authority.pem()).expect("a file");
        let wanted = Wanted { name: "localhost", hosts: &["localhost"], days: 1 };
        let server = tls::server(&authority.sign(&wanted));
        Self { folder, server }
    }

    fn ca_file(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }
}

fn put(broker: &Broker, name: &str, bodies: usize) {
    let channel = broker.connect().channel(1);
    channel.call(&declare(name));
    for _ in 0..bodies {
        channel.publish("", name, b"body");
    }
    // Comes behind the publishes.
    channel.call(&declare(name));
}

#[test]
fn a_webhook_is_told_when_a_backlog_is_there_and_when_it_is_over() {
    let (hook, told) = server(|stream| answer_http(stream, "200 OK"));
    let Some((broker, api)) = alerting(&format!(
        "[alerts.receiver.hook]\nwebhook = \"http://{hook}/told?by=leveret\"\n\
         headers = {{ x-token = \"secret\" }}\n\
         [[alerts.rule]]\nname = \"orders\"\nwhen = \"backlog\"\nabove = 2\nqueues = \"^orders$\"\n\
         over_after = \"0s\"\nnotify = [\"hook\"]\n"
    )) else {
        return;
    };
    put(&broker, "others", 3);
    put(&broker, "orders", 3);
    let (head, notice) = told.recv_timeout(PATIENCE).expect("the hook is told");
    assert!(head.starts_with("post /told?by=leveret http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nx-token: secret\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
    assert_eq!(notice["status"], "firing");
    assert_eq!(notice["rule"], "orders");
    assert_eq!(notice["summary"], "queue 'orders' in vhost '/' holds 3 messages");
    assert_eq!(notice["alerts_total"], 1);
    let alert = &notice["alerts"][0];
    assert_eq!(
        (&alert["queue"], &alert["value"], &alert["bound"]),
        (&json!("orders"), &json!(3), &json!(2))
    );

    eventually(|| {
        let shown = api.get("/leveret/alerts");
        shown["receivers"][0]["delivered"] == 1
    });
    let shown = api.get("/leveret/alerts");
    assert_eq!(shown["rules"][0]["firing"], 1);
    assert_eq!(shown["alerts"][0]["summary"], notice["summary"]);

    assert_eq!(api.send("DELETE", "/api/queues/%2F/orders/contents", &[], "").status, 204);
    let (_, notice) = told.recv_timeout(PATIENCE).expect("the hook is told again");
    assert_eq!(notice["status"], "resolved");
    eventually(|| api.get("/leveret/alerts")["alerts"] == json!([]));
}

#[test]
fn a_receiver_that_fails_is_told_again() {
    let tried = AtomicBool::new(false);
    let (hook, told) = server(move |stream| {
        let is_first = !tried.swap(true, Ordering::Relaxed);
        answer_http(stream, if is_first { "503 Later" } else { "204 Fine" })
    });
    let Some((broker, api)) = alerting(&format!(
        "[alerts.receiver.hook]\nwebhook = \"http://{hook}/\"\n\
         [[alerts.rule]]\nname = \"alone\"\nwhen = \"no_consumers\"\nnotify = [\"hook\"]\n"
    )) else {
        return;
    };
    put(&broker, "q", 1);
    let (_, first) = told.recv_timeout(PATIENCE).expect("a first try");
    let (_, second) = told.recv_timeout(PATIENCE).expect("a second try");
    assert_eq!(first, second);
    assert_eq!(first["summary"], "queue 'q' in vhost '/' has 1 messages and no consumer");
    let receiver = || api.get("/leveret/alerts")["receivers"][0].clone();
    eventually(|| receiver()["delivered"] == 1);
    assert_eq!(receiver()["failed"], 0);
    assert_eq!(receiver()["last_error"], "it answered 503 Service Unavailable");
}

#[test]
fn a_webhook_within_tls_is_checked_by_the_certificates_of_the_file() {
    let (trusted, unknown) = (Trusted::new(), Trusted::new());
    let serve = |tls: &Arc<ServerConfig>| {
        let tls = Arc::clone(tls);
        server(move |stream| {
            let mut stream = tls::serve(stream, &tls);
            // A client that does not trust it ends the handshake.
            stream.conn.complete_io(&mut stream.sock).ok()?;
            Some(answer_http(stream, "200 OK"))
        })
    };
    let (hook, told) = serve(&trusted.server);
    let (other, refused) = serve(&unknown.server);
    let Some((broker, api)) = alerting(&format!(
        "ca_file = \"{}\"\n\
         [alerts.receiver.hook]\nwebhook = \"https://localhost:{}/told\"\n\
         [alerts.receiver.other]\nwebhook = \"https://localhost:{}/told\"\n\
         [[alerts.rule]]\nname = \"alone\"\nwhen = \"no_consumers\"\n\
         notify = [\"hook\", \"other\"]\n",
        trusted.ca_file(),
        hook.port(),
        other.port()
    )) else {
        return;
    };
    put(&broker, "q", 1);
    let (head, notice) = told.recv_timeout(PATIENCE).expect("the hook is told").expect("a request");
    assert!(head.starts_with("post /told http/1.1\r\n"), "{head}");
    assert_eq!(notice["rule"], "alone");
    assert_eq!(refused.recv_timeout(PATIENCE).expect("a try"), None);
    let error = || {
        let shown = api.get("/leveret/alerts");
        let receivers = shown["receivers"].as_array().expect("a list").clone();
        let other = receivers.into_iter().find(|one| one["name"] == "other").expect("the other");
        other["last_error"].as_str().unwrap_or_default().to_owned()
    };
    eventually(|| error().contains("certificate"));
}

#[test]
fn silences_outlive_a_restart() {
    let rule = "[[alerts.rule]]\nname = \"alone\"\nwhen = \"no_consumers\"\n";
    let Some((mut broker, api)) = alerting(rule) else { return };
    for queue in ["ended", "kept"] {
        let silence = json!({ "seconds": 3600, "rule": "alone", "queue": queue });
        assert_eq!(api.call("POST", "/leveret/silences", &silence).status, 201);
    }
    assert_eq!(api.send("DELETE", "/api/leveret/silences/1", &[], "").status, 204);
    let silences = api.get("/leveret/silences");
    assert_eq!(silences[0]["queue"], "kept");
    broker.kill9();
    broker.restart();
    let api = Api::new(broker.management_address());
    assert_eq!(api.get("/leveret/silences"), silences);
    let more = api.call("POST", "/leveret/silences", &json!({ "seconds": 3600 }));
    assert_eq!(more.json(), json!({ "id": 3 }), "no id is given twice");
    put(&broker, "kept", 1);
    eventually(|| api.get("/leveret/alerts")["alerts"][0]["is_silenced"] == true);
}

#[test]
fn a_command_gets_the_notice_on_its_standard_input() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("told");
    // Renamed when it is whole.
    let script = format!(
        "cat > {0}.part; echo >> {0}.part; echo $LEVERET_ALERT_RULE $LEVERET_ALERT_STATUS >> {0}.part; mv {0}.part {0}",
        file.display()
    );
    let Some((broker, _api)) = alerting(&format!(
        "[alerts.receiver.run]\ncommand = [\"/bin/sh\", \"-c\", '{script}']\n\
         [[alerts.rule]]\nname = \"lost\"\nwhen = \"unroutable\"\nnotify = [\"run\"]\n"
    )) else {
        return;
    };
    let channel = broker.connect().channel(1);
    // What was lost before the first look is old news: it is lost until somebody is told.
    eventually(|| {
        channel.publish("", "nowhere", b"body");
        channel.call(&declare("q"));
        file.exists()
    });
    let told = fs::read_to_string(&file).expect("what it was told");
    let (json, rest) = told.split_once('\n').expect("two lines");
    let notice: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(notice["when"], "unroutable");
    assert_eq!(notice["alerts"][0]["queue"], Value::Null);
    assert_eq!(rest, "lost firing\n");
}

/// Or whoever may declare a queue could keep the receiver from being told of all others.
#[test]
fn a_command_is_told_of_a_queue_whatever_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("told");
    // Renamed when it is whole.
    let script = format!("echo $LEVERET_ALERT_SUMMARY > {0}.part; mv {0}.part {0}", file.display());
    let Some((broker, api)) = alerting(&format!(
        "[alerts.receiver.run]\ncommand = [\"/bin/sh\", \"-c\", '{script}']\n\
         [[alerts.rule]]\nname = \"long\"\nwhen = \"backlog\"\nabove = 2\nnotify = [\"run\"]\n"
    )) else {
        return;
    };
    put(&broker, "\0\u{1b}[2J", 3);
    eventually(|| file.exists());
    let told = fs::read_to_string(&file).expect("what it was told");
    assert_eq!(told, "queue '\u{FFFD}\u{FFFD}[2J' in vhost '/' holds 3 messages\n");
    assert_eq!(api.get("/leveret/alerts")["alerts"][0]["queue"], "\0\u{1b}[2J");
}

#[test]
fn age_memory_and_disk_are_told_of() {
    let (hook, told) = server(|stream| answer_http(stream, "200 OK"));
    let Some((broker, api)) = alerting(&format!(
        "[alerts.receiver.hook]\nwebhook = \"http://{hook}/\"\n\
         [[alerts.rule]]\nname = \"old\"\nwhen = \"age\"\nabove = \"200ms\"\n\
         over_after = \"0s\"\nnotify = [\"hook\"]\n\
         [[alerts.rule]]\nname = \"large\"\nwhen = \"memory\"\nabove = \"1MiB\"\nnotify = [\"hook\"]\n\
         [[alerts.rule]]\nname = \"full\"\nwhen = \"disk\"\nbelow = \"1000000GiB\"\nnotify = [\"hook\"]\n\
         [[alerts.rule]]\nname = \"enough\"\nwhen = \"disk\"\nbelow = \"1B\"\nnotify = [\"hook\"]\n"
    )) else {
        return;
    };
    put(&broker, "q", 1);
    let mut notices: Vec<Value> =
        (0..3).map(|_| told.recv_timeout(PATIENCE).expect("three notices").1).collect();
    notices.sort_by_key(|notice| notice["rule"].to_string());
    let of = |notice: &Value, key| notice["alerts"][0][key].clone();
    let rules: Vec<_> = notices.iter().map(|notice| notice["rule"].clone()).collect();
    assert_eq!(rules, ["full", "large", "old"]);
    assert_eq!(of(&notices[0], "bound"), json!(1_000_000_u64 << 30));
    let free = api.get("/nodes")[0]["disk_free"].as_u64().expect("a number");
    let told_free = of(&notices[0], "value").as_u64().expect("a number");
    assert!(told_free.abs_diff(free) < free / 2, "{told_free} and {free} bytes are free");
    let used = of(&notices[1], "value").as_u64().expect("a number");
    assert!(used > 1 << 20, "{used} bytes of memory");
    assert_eq!(of(&notices[2], "queue"), "q");
    assert!(of(&notices[2], "value").as_u64() > Some(200), "{notices:?}");
    assert_eq!(api.get("/leveret/alerts")["rules"][3]["firing"], 0);

    assert_eq!(api.send("DELETE", "/api/queues/%2F/q/contents", &[], "").status, 204);
    let (_, notice) = told.recv_timeout(PATIENCE).expect("it is over");
    assert_eq!((&notice["rule"], &notice["status"]), (&json!("old"), &json!("resolved")));
}

#[test]
fn what_is_silenced_is_shown_and_told_when_the_silence_ends() {
    let (hook, told) = server(|stream| answer_http(stream, "200 OK"));
    let Some((broker, api)) = alerting(&format!(
        "[alerts.receiver.hook]\nwebhook = \"http://{hook}/\"\n\
         [[alerts.rule]]\nname = \"alone\"\nwhen = \"no_consumers\"\nnotify = [\"hook\"]\n"
    )) else {
        return;
    };
    let silence = json!({ "seconds": 3600, "rule": "alone", "queue": "q", "comment": "known" });
    let made = api.call("POST", "/leveret/silences", &silence);
    assert_eq!((made.status, made.json()), (201, json!({ "id": 1 })));
    put(&broker, "q", 1);
    eventually(|| {
        let shown = api.get("/leveret/alerts");
        shown["alerts"][0]["is_silenced"] == true
    });
    put(&broker, "other", 1);
    let (_, notice) = told.recv_timeout(PATIENCE).expect("of the other");
    assert_eq!(notice["alerts_total"], 1);
    assert_eq!(notice["alerts"][0]["queue"], "other");
    let silences = api.get("/leveret/silences");
    assert_eq!((&silences[0]["comment"], &silences[0]["user"]), (&json!("known"), &json!("guest")));
    assert_eq!(api.send("DELETE", "/api/leveret/silences/1", &[], "").status, 204);
    assert_eq!(api.send("DELETE", "/api/leveret/silences/1", &[], "").status, 404);
    let (_, notice) = told.recv_timeout(PATIENCE).expect("now of this one");
    assert_eq!(notice["alerts"][0]["queue"], "q");
}

#[test]
fn silences_need_an_administrator_and_make_sense() {
    let Some((_broker, api)) = alerting("") else { return };
    for (body, reason) in [
        (json!({}), "[{key_missing,seconds}]"),
        (json!({ "seconds": 0 }), "seconds should be a number from 1 to 31536000"),
        (json!({ "seconds": 1, "rule": "r" }), "there is no rule r"),
        (json!({ "seconds": 1, "queue": 2 }), "queue should be a string"),
    ] {
        let reply = api.call("POST", "/leveret/silences", &body);
        assert_eq!((reply.status, &reply.json()["reason"]), (400, &json!(reason)), "{body}");
    }
    let account = json!({ "password": "m", "tags": "monitoring" });
    assert_eq!(api.call("PUT", "/users/m", &account).status, 201);
    let monitor = api.with_login(Some("m:m"));
    assert_eq!(monitor.send("GET", "/api/leveret/alerts", &[], "").status, 200);
    let silence = json!({ "seconds": 1 });
    assert_eq!(monitor.call("POST", "/leveret/silences", &silence).status, 401);
}

#[test]
fn a_header_field_in_a_file_is_read_again_on_reload() {
    let (hook, told) = server(|stream| answer_http(stream, "200 OK"));
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    fs::write(&token, "Bearer first\n").expect("a file");
    let Some((broker, api)) = alerting(&format!(
        "[alerts.receiver.hook]\nwebhook = \"http://{hook}/\"\n\
         header_files = {{ authorization = {token:?} }}\n\
         [[alerts.rule]]\nname = \"alone\"\nwhen = \"no_consumers\"\nover_after = \"0s\"\n\
         notify = [\"hook\"]\n"
    )) else {
        return;
    };
    put(&broker, "q", 1);
    let (head, _) = told.recv_timeout(PATIENCE).expect("the hook is told");
    assert!(head.contains("\r\nauthorization: bearer first\r\n"), "{head}");
    fs::write(&token, "Bearer second\n").expect("a file");
    broker.hang_up();
    broker.await_line("read again: alerts");
    assert_eq!(api.send("DELETE", "/api/queues/%2F/q/contents", &[], "").status, 204);
    let (head, _) = told.recv_timeout(PATIENCE).expect("the hook is told again");
    assert!(head.contains("\r\nauthorization: bearer second\r\n"), "{head}");
}

#[test]
fn rules_change_while_the_broker_runs() {
    let (hook, told) = server(|stream| answer_http(stream, "200 OK"));
    let Some((broker, api)) = alerting("") else { return };
    put(&broker, "q", 1);
    let config = fs::read_to_string(broker.config_file()).expect("the configuration");
    let rules = format!(
        "[alerts.receiver.hook]\nwebhook = \"http://{hook}/\"\n\
         [[alerts.rule]]\nname = \"alone\"\nwhen = \"no_consumers\"\nnotify = [\"hook\"]\n"
    );
    fs::write(broker.config_file(), config + &rules).expect("a new configuration");
    broker.hang_up();
    let (_, notice) = told.recv_timeout(PATIENCE).expect("the new rule holds");
    assert_eq!(notice["rule"], "alone");
    assert_eq!(api.get("/leveret/alerts")["rules"][0]["name"], "alone");
}
