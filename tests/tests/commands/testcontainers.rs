//! What the RabbitMQ modules of Testcontainers set, copy, wait for and execute in a container, done to the
//! server without one. Sources: `modules/rabbitmq` of testcontainers-java (the deprecated class has
//! the commands) and testcontainers-go, `packages/modules/rabbitmq` of testcontainers-node,
//! `testcontainers.community.rabbitmq` of testcontainers-python.

use std::fs;
use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::net::SocketAddr;
use std::process::{Child, Command};

use leveret_tests::tls::{self, Authority, Wanted};
use leveret_tests::{Api, Connection, Login, declare};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::server::Home;
use crate::tools::{Outcome, Tools, outcome};

/// All modules but that of Python wait for it in the log, both streams of it.
const READY: &str = "Server startup complete";

/// The server with what a module gives a container.
struct Container {
    home: Home,
    child: Child,
    log: BufReader<PipeReader>,
}

impl Container {
    fn start(home: Home, variables: &[(&str, &str)]) -> Self {
        let command = home.command(variables);
        Self::spawn(home, command)
    }

    fn spawn(home: Home, mut command: Command) -> Self {
        let (reader, writer) = pipe().unwrap();
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap();
        Self { home, child, log: BufReader::new(reader) }
    }

    /// The next line of the log that has this in it.
    fn await_line(&mut self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let begin = seen.len();
            assert_ne!(self.log.read_line(&mut seen).unwrap(), 0, "no {text:?} in\n{seen}");
            if seen[begin..].contains(text) {
                return seen.split_off(begin);
            }
        }
    }

    /// Runs a command within.
    fn execute(&self, tools: &Tools, command: &[&str]) -> Outcome {
        let (name, arguments) = command.split_first().unwrap();
        let mut command = tools.command(name);
        command
            .env_clear()
            .env("LEVERET_RABBITMQ", "true")
            .env("RABBITMQ_MNESIA_BASE", self.home.path("data"))
            .env("RABBITMQ_CONFIG_FILES", self.home.path("conf.d"))
            .env("HOME", self.home.path(""));
        outcome(command.args(arguments))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// An address in the line that says it is ready.
fn address(ready: &str, listener: &str) -> SocketAddr {
    let (_, rest) = ready.split_once(&format!("{listener} on ")).unwrap();
    rest.split([';', ' ']).next().unwrap().parse().unwrap()
}

fn login<'a>(response: &'a str, vhost: &'a str) -> Login<'a> {
    Login { response: response.as_bytes(), vhost, ..Login::default() }
}

#[test]
fn java_and_node_wait_for_the_line_and_execute_commands() {
    let home = Home::new(&[]);
    let variables = [
        ("RABBITMQ_DEFAULT_USER", "guest"),
        ("RABBITMQ_DEFAULT_PASS", "guest"),
        ("LEVERET_MANAGEMENT", "127.0.0.1:0"),
    ];
    let mut container = Container::start(home, &variables);
    let ready = container.await_line(READY);
    let management = address(&ready, "management");
    // Within a container it has its usual port.
    let port = format!("[default]\nport = {}\n", management.port());
    fs::write(container.home.path(".rabbitmqadmin.conf"), port).unwrap();
    let tools = Tools::of("/nowhere".as_ref());
    // withPluginsEnabled, withVhost, withVhostLimit, withQueue, withExchange, withBinding, withUser,
    // withPermission, withPolicy, withOperatorPolicy, withParameter, in all their forms.
    let commands: [&[&str]; 27] = [
        &["rabbitmq-plugins", "enable", "rabbitmq_management", "rabbitmq_random_exchange"],
        &["rabbitmqadmin", "declare", "vhost", "name=vhost1"],
        &["rabbitmqadmin", "declare", "vhost", "name=vhost2", "tracing=true"],
        &["rabbitmqadmin", "declare", "vhost_limit", "vhost=vhost1", "name=max-queues", "value=9"],
        &["rabbitmqadmin", "declare", "queue", "name=queue1"],
        &["rabbitmqadmin", "--vhost=vhost1", "declare", "queue", "name=queue2"],
        &[
            "rabbitmqadmin",
            "declare",
            "queue",
            "name=queue3",
            "auto_delete=true",
            "durable=false",
            "arguments={\"x-message-ttl\":1000}",
        ],
        &[
            "rabbitmqadmin",
            "--vhost=vhost1",
            "declare",
            "queue",
            "name=queue4",
            "auto_delete=false",
            "durable=true",
            "arguments={\"x-queue-type\":\"quorum\"}",
        ],
        &["rabbitmqadmin", "declare", "exchange", "name=direct", "type=direct"],
        &["rabbitmqadmin", "--vhost=vhost1", "declare", "exchange", "name=topic", "type=topic"],
        &[
            "rabbitmqadmin",
            "declare",
            "exchange",
            "name=topic1",
            "type=topic",
            "auto_delete=false",
            "internal=false",
            "durable=true",
            "arguments={}",
        ],
        &[
            "rabbitmqadmin",
            "--vhost=vhost1",
            "declare",
            "exchange",
            "name=fanout",
            "type=fanout",
            "auto_delete=false",
            "internal=true",
            "durable=true",
            "arguments={\"a\":1}",
        ],
        &["rabbitmqadmin", "declare", "binding", "source=direct", "destination=queue1"],
        &[
            "rabbitmqadmin",
            "--vhost=vhost1",
            "declare",
            "binding",
            "source=topic",
            "destination=queue2",
        ],
        &[
            "rabbitmqadmin",
            "declare",
            "binding",
            "source=direct",
            "destination=queue3",
            "routing_key=ss",
            "destination_type=queue",
            "arguments={}",
        ],
        &[
            "rabbitmqadmin",
            "--vhost=vhost1",
            "declare",
            "binding",
            "source=topic",
            "destination=fanout",
            "routing_key=a.#",
            "destination_type=exchange",
            "arguments={\"b\":\"c\"}",
        ],
        &["rabbitmqadmin", "declare", "user", "name=user1", "password=password1", "tags="],
        &[
            "rabbitmqadmin",
            "declare",
            "user",
            "name=user2",
            "password=password2",
            "tags=management,monitoring",
        ],
        &[
            "rabbitmqadmin",
            "declare",
            "permission",
            "vhost=vhost1",
            "user=user1",
            "configure=.*",
            "write=.*",
            "read=.*",
        ],
        &[
            "rabbitmqadmin",
            "declare",
            "policy",
            "name=max length policy",
            "pattern=^dog",
            "definition={\"max-length\":1}",
        ],
        &[
            "rabbitmqadmin",
            "declare",
            "policy",
            "--vhost=vhost1",
            "name=ttl",
            "pattern=.*",
            "definition={\"message-ttl\":100}",
        ],
        &[
            "rabbitmqadmin",
            "declare",
            "policy",
            "name=alternate",
            "pattern=^direct",
            "priority=1",
            "apply-to=exchanges",
            "definition={\"alternate-exchange\":\"amq.direct\"}",
        ],
        &[
            "rabbitmqadmin",
            "declare",
            "operator_policy",
            "name=op1",
            "pattern=.*",
            "definition={\"expires\":90000}",
        ],
        &[
            "rabbitmqadmin",
            "declare",
            "operator_policy",
            "name=op2",
            "pattern=.*",
            "priority=1",
            "apply-to=queues",
            "definition={\"max-length\":5}",
        ],
        &[
            "rabbitmqadmin",
            "declare",
            "parameter",
            "component=vhost-limits",
            "name=limits",
            "value={\"max-connections\":100}",
        ],
        &["rabbitmq-plugins", "is_enabled", "rabbitmq_random_exchange"],
        &["rabbitmqadmin", "list", "queues", "--vhost=vhost1"],
    ];
    for command in commands {
        let Outcome { code, stderr, .. } = container.execute(&tools, command);
        assert_eq!((code, stderr.as_str()), (0, ""), "{command:?}");
    }
    // What the tests of these modules look for.
    let printed = |command: &[&str]| container.execute(&tools, command).stdout;
    let enabled = printed(&["rabbitmq-plugins", "is_enabled", "rabbitmq_random_exchange"]);
    assert!(enabled.contains("rabbitmq_random_exchange is enabled"), "{enabled}");
    let listed = printed(&["rabbitmqadmin", "list", "queues", "--vhost=vhost1"]);
    assert!(listed.contains("queue2") && !listed.contains("queue1"), "{listed}");
    let api = Api::new(management);
    let has = |path: &str, expected: Value| {
        let found = api.get(path);
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&found[key], value, "{path}: {found}");
        }
    };
    has("/vhosts/vhost2", json!({ "tracing": true }));
    assert_eq!(api.get("/vhost-limits/vhost1")[0]["value"], json!({ "max-queues": 9 }));
    has("/queues/%2F/queue3", json!({ "auto_delete": true, "durable": false }));
    has("/queues/vhost1/queue4", json!({ "type": "quorum", "policy": "ttl" }));
    has("/exchanges/vhost1/fanout", json!({ "internal": true, "arguments": { "a": 1 } }));
    has("/users/user2", json!({ "tags": ["management", "monitoring"] }));
    has("/policies/%2F/alternate", json!({ "priority": 1, "apply-to": "exchanges" }));
    has("/operator-policies/%2F/op2", json!({ "priority": 1, "apply-to": "queues" }));
    let address = address(&ready, "AMQP");
    Connection::dial(address).open(&login("\0user1\0password1", "vhost1")).unwrap();
    // What Leveret has not is refused, and the module says so in its log.
    let shovel = container.execute(&tools, &["rabbitmq-plugins", "enable", "rabbitmq_shovel"]);
    assert_eq!(shovel.code, 70, "{shovel:?}");
}

#[test]
fn java_mounts_a_configuration() {
    let home = Home::new(&[("rabbitmq-custom.conf", "log.console.level = debug\n")]);
    let file = home.path("rabbitmq-custom.conf");
    let mut container = Container::start(home, &[("RABBITMQ_CONFIG_FILE", &file)]);
    // Its test looks for the word.
    container.await_line("debug");
    container.await_line(READY);

    // The older form, of Erlang terms, is not understood.
    let home = Home::new(&[("rabbitmq-custom.config", "[{rabbit, [{log, []}]}].\n")]);
    let file = home.path("rabbitmq-custom.config");
    let refused = outcome(&mut home.command(&[("RABBITMQ_CONFIG_FILE", &file)]));
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("Erlang terms are not understood"), "{refused:?}");
}

#[test]
fn go_copies_a_configuration_and_certificates() {
    let home = Home::new(&[]);
    let authority = Authority::new("ca");
    let wanted = Wanted { name: "client", hosts: &["localhost"], days: 1 };
    fs::write(home.path("ca_cert.pem"), authority.pem()).unwrap();
    let (certificate, key) = authority.sign(&wanted).write(home.path("").as_ref(), "rabbitmq_cert");
    // As its template makes it, with the files where they are here.
    let configuration = format!(
        "# Injected by testcontainers\n\
         default_user = admin\n\
         default_pass = s3cr3t\n\
         listeners.tcp = none\n\
         listeners.ssl.default = 0\n\
         ssl_options.cacertfile = {}\n\
         ssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\n\
         ssl_options.depth = 1\n\
         ssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = false\n",
        home.path("ca_cert.pem"),
        certificate.display(),
        key.display(),
    );
    let file = home.path("rabbitmq-testcontainers.conf");
    fs::write(&file, configuration).unwrap();
    let variables = [
        ("RABBITMQ_CONFIG_FILE", file.as_str()),
        ("RABBITMQ_DEFAULT_USER", "admin"),
        ("RABBITMQ_DEFAULT_PASS", "s3cr3t"),
        ("LEVERET_LISTEN", "none"),
    ];
    let mut container = Container::start(home, &variables);
    // In a container the rest is `[::]:5671`.
    container.await_line("started TLS (SSL) listener on [::]:");
    let ready = container.await_line(READY);
    let port = address(&ready, "AMQP over TLS").port();
    let client = tls::client(&authority.pem(), None);
    let stream = tls::connect(([127, 0, 0, 1], port).into(), &client, "localhost").unwrap();
    Connection::within(stream).open(&login("\0admin\0s3cr3t", "/")).unwrap();
}

#[test]
fn python_sets_the_port_and_connects_until_it_can() {
    let home = Home::new(&[]);
    let mut command = home.command(&[
        ("RABBITMQ_NODE_PORT", "0"),
        ("RABBITMQ_DEFAULT_USER", "my_test_user"),
        ("RABBITMQ_DEFAULT_PASS", "my_secret_password"),
        ("RABBITMQ_DEFAULT_VHOST", "vhost"),
    ]);
    command.env_remove("LEVERET_LISTEN");
    let mut container = Container::spawn(home, command);
    let port = address(&container.await_line(READY), "AMQP").port();
    let connection = Connection::dial(([127, 0, 0, 1], port).into());
    connection.open(&login("\0my_test_user\0my_secret_password", "vhost")).unwrap();
    let declared = connection.channel(1).call(&declare("test-q"));
    assert_eq!(declared, "queue.declare-ok test-q 0 0");
}
