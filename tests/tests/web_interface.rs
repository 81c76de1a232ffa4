//! The web interface in a real browser: the programs of `tests/web/`, whose verdicts are the tests'.
//!
//! Without Chromium and npm, or a way to npm's registry for the first run, it is skipped with a word
//! about it, unless `LEVERET_REQUIRE_BROWSER` is set.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use leveret_tests::codec::{Method, Value, connection};
use leveret_tests::{Api, Broker, Channel, Connection, Login, consume, declare, table};
use serde_json::json;

const CONFIG: &str = "\
management = \"127.0.0.1:0\"
metrics = \"127.0.0.1:0\"

[alerts]
interval = \"1s\"

[[alerts.rule]]
name = \"alone\"
when = \"no_consumers\"
queues = \"^alone$\"
";

#[test]
fn the_web_interface_works_in_a_browser() {
    let Some(broker) = Broker::configured(CONFIG, "drives the HTTP API") else { return };
    run("interface.js", &broker);
}

#[test]
fn names_that_clients_chose_are_text() {
    let Some(broker) = Broker::configured(CONFIG, "drives the HTTP API") else { return };
    let _named = named(&broker);
    run("names.js", &broker);
}

#[test]
fn each_kind_of_user_is_offered_what_it_may_do() {
    let Some(broker) = Broker::configured(CONFIG, "drives the HTTP API") else { return };
    let api = Api::new(broker.management_address());
    for name in ["management", "policymaker", "monitoring", "administrator"] {
        api.put(&format!("/users/{name}"), &json!({ "password": name, "tags": name }));
        let everything = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        api.put(&format!("/permissions/%2F/{name}"), &everything);
    }
    let response = b"\0management\0management";
    let _theirs = broker.connect_as(&Login { response, ..Login::default() }).expect("a login");
    let _guests = broker.connect();
    run("kinds.js", &broker);
}

fn run(program: &str, broker: &Broker) {
    static PREPARED: OnceLock<Result<(PathBuf, PathBuf), String>> = OnceLock::new();
    let (folder, chromium) = match PREPARED.get_or_init(prepare) {
        Ok(prepared) => prepared,
        Err(missing) => {
            assert!(env::var_os("LEVERET_REQUIRE_BROWSER").is_none(), "{missing}");
            println!("skipped: {missing}");
            return;
        }
    };
    let output = Command::new("node")
        .arg(program)
        .arg(chromium)
        .arg(format!("http://{}", broker.management_address()))
        .current_dir(folder)
        .output()
        .expect("node runs");
    assert!(output.status.success(), "{}", shown(&output));
}

/// A consumer whose names would run, were they read as HTML.
fn named(broker: &Broker) -> (Connection, Channel) {
    const NAME: &str = "<img src=x onerror=window.hit=1>";
    let client = broker.dial();
    client.greet();
    let properties = ["connection_name", "product", "version", "platform", "information"];
    let properties = table(properties.map(|key| (key, Value::text(NAME))));
    let answer = client.call(&connection::StartOk {
        client_properties: properties.as_table(),
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    });
    let Method::ConnectionTune(offered) = answer.method() else { panic!("{answer}") };
    let (channel_max, frame_max) = (offered.channel_max, offered.frame_max);
    client.send(&connection::TuneOk { channel_max, frame_max, heartbeat: 0 });
    assert_eq!(client.call(&connection::Open { virtual_host: "/" }), "connection.open-ok");
    let channel = client.channel(1);
    channel.call(&declare("watched"));
    assert!(channel.call(&consume("watched", NAME)).starts_with("basic.consume-ok"));
    (client, channel)
}

/// The folder with the program and what it needs, and the browser.
fn prepare() -> Result<(PathBuf, PathBuf), String> {
    let chromium = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(on_path);
    let chromium = chromium.ok_or("there is no Chromium")?;
    on_path("npm").ok_or("there is no npm")?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("web");
    fs::create_dir_all(&folder).expect("a folder");
    for file in fs::read_dir(source).expect("the programs") {
        let file = file.expect("a file");
        fs::copy(file.path(), folder.join(file.file_name())).expect("a copy");
    }
    let installed = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"])
        .args(["--fetch-retries=0", "--fetch-timeout=60000"])
        .current_dir(&folder)
        .output()
        .expect("npm runs");
    if installed.status.success() {
        Ok((folder, chromium))
    } else {
        Err(format!("npm installs nothing: {}", shown(&installed)))
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn shown(output: &Output) -> String {
    let text = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    text.concat()
}
