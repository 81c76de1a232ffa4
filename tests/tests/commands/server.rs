//! The broker by the name of RabbitMQ's server: its files, its environment variables, its log line.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use leveret_tests::{Connection, Login, binary as leveret};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::tools::{Outcome, Tools, outcome};

/// A directory with RabbitMQ's files, and the server that reads them.
pub(crate) struct Home {
    folder: TempDir,
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Home {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = TempDir::with_prefix("leveret-server-").unwrap();
        std::fs::create_dir(folder.path().join("conf.d")).unwrap();
        std::os::unix::fs::symlink(leveret(), folder.path().join("rabbitmq-server")).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The server, with an environment of its own.
    pub(crate) fn command(&self, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(self.path("rabbitmq-server"));
        command
            .env_clear()
            .env("RABBITMQ_CONFIG_FILES", self.path("conf.d"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", self.path("advanced.config"))
            .env("RABBITMQ_MNESIA_BASE", self.path("data"))
            .env("LEVERET_LISTEN", "127.0.0.1:0")
            .env("LEVERET_MANAGEMENT", "none")
            .env("LEVERET_METRICS", "none")
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
        if Path::new(&self.path("rabbitmq.conf")).exists() {
            command.env("RABBITMQ_CONFIG_FILE", self.path("rabbitmq"));
        }
        command
    }

    fn fail(&self, variables: &[(&str, &str)]) -> Outcome {
        outcome(&mut self.command(variables))
    }

    fn start(&self, variables: &[(&str, &str)]) -> Server {
        let mut child =
            self.command(variables).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        let (_, rest) = ready.split_once("Server startup complete; AMQP on ").unwrap();
        let address = rest.split_once([' ', ';']).unwrap().0.parse().unwrap();
        Server { child, address }
    }
}

impl Server {
    /// Whether a login opens a connection to a vhost.
    fn lets_in(&self, user: &str, password: &str, vhost: &str) -> bool {
        let response = format!("\0{user}\0{password}");
        let login = Login { response: response.as_bytes(), vhost, ..Login::default() };
        Connection::dial(self.address).open(&login).is_ok()
    }

    fn stop(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

#[test]
fn the_images_variables_make_the_first_user_and_vhost() {
    let home = Home::new(&[]);
    let variables = [
        ("RABBITMQ_DEFAULT_USER", "shop"),
        ("RABBITMQ_DEFAULT_PASS", "s3cret"),
        ("RABBITMQ_DEFAULT_VHOST", "orders"),
    ];
    let server = home.start(&variables);
    assert!(server.lets_in("shop", "s3cret", "orders"));
    assert!(!server.lets_in("guest", "guest", "orders"));
    assert_eq!(server.stop(), Some(0));
    // They count on an empty volume only.
    let server = home.start(&[("RABBITMQ_DEFAULT_USER", "other")]);
    assert!(server.lets_in("shop", "s3cret", "orders"));
    assert!(!server.lets_in("other", "guest", "orders"));
}

#[test]
fn passwords_may_be_in_files() {
    let home = Home::new(&[("password", "s3cret\n"), ("user", "shop")]);
    let (user, password) = (home.path("user"), home.path("password"));
    let variables = [
        ("RABBITMQ_DEFAULT_USER_FILE", user.as_str()),
        ("RABBITMQ_DEFAULT_PASS_FILE", password.as_str()),
    ];
    let server = home.start(&variables);
    assert!(server.lets_in("shop", "s3cret", "/"));
}

#[test]
fn the_images_configuration_is_read_with_what_is_mounted_beside_it() {
    let defaults = include_str!("../../../packaging/docker/conf.d/10-defaults.conf");
    let home = Home::new(&[
        ("conf.d/10-defaults.conf", defaults),
        ("conf.d/20-mounted.conf", "default_vhost = mounted\nmqtt.vhost = /"),
        ("rabbitmq.conf", "default_vhost = main\ndefault_user = anna"),
    ]);
    let checked = outcome(home.command(&[]).arg("check-config"));
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.stdout.contains("\nloopback_users = \"none\"\n"), "{}", checked.stdout);
    assert!(checked.stdout.contains("\ndefault_vhost = \"mounted\"\n"), "{}", checked.stdout);
    assert!(checked.stdout.contains("\ndefault_user = \"anna\"\n"), "{}", checked.stdout);
    assert!(checked.stderr.contains("mqtt.vhost has no effect"), "{}", checked.stderr);
    let server = home.start(&[]);
    assert!(server.lets_in("anna", "guest", "mounted"));
}

#[test]
fn definitions_take_the_place_of_the_default_user() {
    let definitions = r#"{
        "users": [{ "name": "anna", "password": "s3cret", "tags": "administrator" }],
        "vhosts": [{ "name": "shop" }],
        "permissions": [{ "user": "anna", "vhost": "shop", "configure": ".*", "write": ".*", "read": ".*" }]
    }"#;
    let home = Home::new(&[("definitions.json", definitions)]);
    let conf = format!("load_definitions = {}", home.path("definitions.json"));
    std::fs::write(home.path("rabbitmq.conf"), conf).unwrap();
    let server = home.start(&[]);
    assert!(server.lets_in("anna", "s3cret", "shop"));
    assert!(!server.lets_in("guest", "guest", "/"));
}

#[test]
fn a_mistake_in_the_configuration_stops_the_start() {
    let home = Home::new(&[("rabbitmq.conf", "hartbeat = 10")]);
    let outcome = home.fail(&[]);
    assert_eq!(outcome.code, 1);
    let text = "rabbitmq.conf:1: there is no key 'hartbeat'; did you mean 'heartbeat'?\n";
    assert!(outcome.stderr.ends_with(text), "{}", outcome.stderr);
    let home = Home::new(&[]);
    let outcome = home.fail(&[("RABBITMQ_SSL_CERTFILE", "/cert")]);
    assert_eq!(outcome.code, 1);
    let text = "error: RABBITMQ_SSL_CERTFILE is set but deprecated\n\
                error: deprecated environment variables detected\n";
    assert!(outcome.stderr.ends_with(text), "{}", outcome.stderr);
}

#[test]
fn the_commands_find_the_broker_by_the_same_variables() {
    let home = Home::new(&[]);
    let _server = home.start(&[("RABBITMQ_NODENAME", "rabbit@shop-0")]);
    let tools = Tools::of(Path::new("/nowhere"));
    let mut command = tools.command("rabbitmqctl");
    command
        .env_clear()
        .env("LEVERET_RABBITMQ", "true")
        .env("RABBITMQ_CONFIG_FILES", home.path("conf.d"))
        .env("RABBITMQ_MNESIA_BASE", home.path("data"))
        .env("RABBITMQ_NODENAME", "rabbit@shop-0");
    let pinged = outcome(command.args(["-n", "rabbit@shop-0", "await_online_nodes", "1"]));
    assert_eq!(pinged.code, 0, "{pinged:?}");
    assert!(pinged.stdout.contains("the cluster of rabbit@shop-0."), "{pinged:?}");
}
