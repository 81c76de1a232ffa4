//! The control socket: who may open it, and what only it can do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use leveret_tests::{Broker, eventually};

use crate::managed;
use crate::tools::{Tools, outcome};

/// Listeners for nothing but AMQP.
fn without_http() -> Option<(Broker, Tools)> {
    let broker = Broker::own("gives commands to the process")?;
    let tools = Tools::of(&broker.data_dir());
    Some((broker, tools))
}

#[test]
fn commands_need_no_http_listener_and_no_login() {
    let Some((broker, tools)) = without_http() else { return };
    let mode = fs::metadata(broker.data_dir().join("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(tools.print("rabbitmq-diagnostics -q ping"), "Ping succeeded\n");
    assert_eq!(tools.print("rabbitmqctl -q list_vhosts"), "name\n/\n");
}

#[test]
fn the_program_itself_takes_commands_too() {
    let Some((broker, _)) = without_http() else { return };
    let data = broker.data_dir();
    let mut command = std::process::Command::new(leveret_tests::binary());
    command.env_clear().arg("ctl").arg("--data-dir").arg(&data).args(["-q", "ping"]);
    assert_eq!(outcome(&mut command).stdout, "Ping succeeded\n");
    let mut command = std::process::Command::new(leveret_tests::binary());
    command.env_clear().arg("--data-dir").arg(&data).args(["ctl", "version"]);
    assert_eq!(outcome(&mut command).stdout, "4.2.1\n");
}

#[test]
fn without_a_broker_commands_say_where_they_looked() {
    let folder = tempfile::tempdir().unwrap();
    let tools = Tools::of(folder.path());
    let outcome = tools.run("rabbitmqctl list_queues");
    assert_eq!(outcome.code, 69);
    let socket = folder.path().join("control.sock").display().to_string();
    assert!(outcome.stderr.starts_with("Error: unable to perform an operation on node"));
    assert!(outcome.stderr.contains(&socket), "{}", outcome.stderr);
    // What needs none works.
    assert_eq!(tools.print("rabbitmqctl version"), "4.2.1\n");
    let listed = tools.print("rabbitmq-plugins list -e -m --offline");
    assert!(listed.contains("rabbitmq_management\n"), "{listed}");
}

#[test]
fn a_crash_leaves_a_socket_that_the_next_start_replaces() {
    let Some((mut broker, tools)) = without_http() else { return };
    broker.kill9();
    assert_eq!(tools.run("rabbitmqctl ping").code, 69);
    broker.restart();
    assert_eq!(tools.print("rabbitmqctl -q ping"), "Ping succeeded\n");
}

#[test]
fn stop_ends_the_broker_and_takes_the_socket_away() {
    let Some((broker, tools)) = without_http() else { return };
    tools.print("rabbitmqctl stop");
    let socket = broker.data_dir().join("control.sock");
    eventually(|| !socket.exists());
    assert!(broker.log().contains("stopping on an operator's order"));
    assert_eq!(tools.run("rabbitmqctl stop").code, 69);
    tools.print("rabbitmqctl stop --idempotent");
}

#[test]
fn shutdown_returns_when_the_process_is_gone() {
    let Some((broker, tools)) = without_http() else { return };
    let printed = tools.print("rabbitmqctl shutdown --no-wait");
    assert!(printed.starts_with("Shutting down RabbitMQ node"), "{printed}");
    eventually(|| broker.log().contains("stopped after"));
}

#[test]
fn the_log_level_changes_while_the_broker_runs() {
    let Some((broker, tools)) = without_http() else { return };
    assert!(!broker.log().contains("[debug]"));
    tools.print("rabbitmqctl set_log_level debug");
    let address = broker.address();
    eventually(|| {
        drop(std::net::TcpStream::connect(address));
        broker.log().contains("[debug] accepting AMQP connection")
    });
    let refused = tools.run("rabbitmqctl -q set_log_level nonsense");
    assert_eq!(refused.code, 69);
    assert!(refused.stderr.starts_with("Error:\nlevel nonsense is not supported."));
}

#[test]
fn alarms_follow_limits_that_are_set_while_the_broker_runs() {
    let Some((_broker, tools)) = managed() else { return };
    assert_eq!(tools.run("rabbitmq-diagnostics check_alarms").code, 0);
    tools.print("rabbitmqctl set_vm_memory_high_watermark absolute 1");
    eventually(|| tools.run("rabbitmq-diagnostics check_local_alarms").code == 69);
    let alarms = tools.print("rabbitmq-diagnostics -q alarms");
    assert!(alarms.starts_with("Memory alarm on node rabbit@"), "{alarms}");
    tools.print("rabbitmqctl set_vm_memory_high_watermark 0.9");
    eventually(|| tools.run("rabbitmq-diagnostics check_local_alarms").code == 0);
}

/// A limit of no disk space to be left free is not one that lets publishers go on without any.
#[test]
fn the_limit_for_disk_space_is_lifted_as_far_as_at_the_start() {
    let config = "alarms.disk_free_limit = \"none\"\n";
    let Some(broker) = Broker::configured(config, "gives commands to the process") else { return };
    let tools = Tools::of(&broker.data_dir());
    let limit = || {
        let status = tools.print("rabbitmq-diagnostics -q status --formatter json");
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        status["disk_free_limit"].as_u64().unwrap()
    };
    let at_start = limit();
    assert!(at_start > 0);
    tools.print("rabbitmqctl set_disk_free_limit 5000");
    assert_eq!(limit(), 5000);
    tools.print("rabbitmqctl set_disk_free_limit none");
    assert_eq!(limit(), at_start);
}

#[test]
fn a_command_waits_for_a_broker_that_is_not_up_yet() {
    let Some((broker, tools)) = without_http() else { return };
    tools.print("rabbitmqctl await_startup");
    let pid = std::process::id();
    let waited = tools.print(&format!("rabbitmqctl wait --pid {pid} --timeout 10"));
    assert!(waited.starts_with("Applications 'rabbit_and_plugins' are running on node"));
    drop(broker);
    let begun = Instant::now();
    assert_eq!(tools.run("rabbitmqctl await_startup --timeout 1").code, 75);
    assert!(begun.elapsed().as_millis() >= 1000);
}

#[test]
fn a_changed_configuration_is_taken_over_as_far_as_it_can_be() {
    let because = "changes the configuration";
    let Some(broker) = Broker::configured("[amqp]\nheartbeat = 60\n", because) else { return };
    let tools = Tools::of(&broker.data_dir());
    assert_eq!(tools.print("rabbitmqctl -q reload"), "nothing has changed\n");
    fs::write(broker.config_file(), "[amqp]\nheartbeat = 7\n[store]\nsegment_size = \"1MiB\"\n")
        .unwrap();
    assert_eq!(
        tools.print("rabbitmqctl -q reload"),
        "amqp.heartbeat has changed\nstore.segment_size changes at the next start\n"
    );
    assert!(tools.print("rabbitmqctl -q environment").contains("\nheartbeat = 7\n"));
    let connection = broker.dial();
    connection.greet();
    let tune = connection.log_in(&leveret_tests::Login::default());
    assert!(tune.to_string().contains(" 7"), "{tune}");
    fs::write(broker.config_file(), "[amqp]\nheartbeat = \"soon\"\n").unwrap();
    let wrong = tools.run("rabbitmqctl -q reload");
    assert_eq!(wrong.code, 78);
    assert!(wrong.stderr.contains("amqp.heartbeat = \"soon\": must be"), "{}", wrong.stderr);
    assert!(tools.print("rabbitmqctl -q environment").contains("\nheartbeat = 7\n"));
    fs::write(broker.config_file(), "[amqp]\nheartbeat = 8\n").unwrap();
    broker.hang_up();
    eventually(|| tools.print("rabbitmqctl -q environment").contains("\nheartbeat = 8\n"));
    assert!(broker.log().contains("the configuration was read again: amqp.heartbeat"));
}
