//! Command lines that make no sense, and commands that can't be carried out.

use leveret_tests::Broker;

use crate::managed;
use crate::tools::Tools;

#[test]
fn an_unknown_command_is_a_wrong_use() {
    let Some((_broker, tools)) = managed() else { return };
    let outcome = tools.run("rabbitmqctl nonsense");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (64, ""));
    assert!(outcome.stderr.starts_with("\nCommand 'nonsense' not found."), "{}", outcome.stderr);
    let outcome = tools.run("rabbitmqctl list_queue");
    assert_eq!(outcome.code, 64);
    assert!(outcome.stderr.contains("Did you mean 'list_queues'?"), "{}", outcome.stderr);
    assert_eq!(tools.run("rabbitmqctl").code, 64);
    // Each tool has its own.
    assert_eq!(tools.run("rabbitmq-plugins list_queues").code, 64);
}

#[test]
fn help_is_no_mistake_and_has_an_example() {
    let Some((_broker, tools)) = managed() else { return };
    for line in ["rabbitmqctl help set_policy", "rabbitmqctl set_policy --help"] {
        let help = tools.print(line);
        assert!(help.contains("\nExample:\n  rabbitmqctl set_policy --apply-to queues"), "{help}");
    }
    let help = tools.print("rabbitmqctl --help");
    assert!(help.contains("\nUsers:\n  add_user "), "{help}");
}

#[test]
fn what_leveret_has_not_is_refused_with_the_reason() {
    let Some((_broker, tools)) = managed() else { return };
    let outcome = tools.run("rabbitmqctl eval '1 + 1.'");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (64, ""));
    assert_eq!(outcome.stderr, "Error:\nLeveret is not written in Erlang\n");
    for line in
        ["rabbitmqctl stop_app", "rabbitmqctl join_cluster rabbit@other", "rabbitmqctl reset"]
    {
        let outcome = tools.run(line);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (70, ""), "{line}");
        assert!(outcome.stderr.starts_with("Error:\n"), "{line}");
    }
    let outcome = tools.run("rabbitmq-plugins -q enable rabbitmq_shovel");
    assert_eq!(outcome.code, 70);
    assert_eq!(outcome.stderr, "Error:\nLeveret does not have rabbitmq_shovel\n");
    let outcome = tools.run("rabbitmq-plugins -q enable nonsense");
    assert_eq!(outcome.code, 70);
    assert_eq!(outcome.stderr, "Error:\n{:plugins_not_found, [:nonsense]}\n");
    assert_eq!(tools.run("rabbitmq-plugins disable rabbitmq_management").code, 70);
    assert_eq!(tools.run("rabbitmq-plugins enable rabbitmq_management").code, 0);
    assert_eq!(tools.run("rabbitmq-plugins enable --offline rabbitmq_prometheus").code, 0);
    assert_eq!(tools.run("rabbitmq-plugins disable rabbitmq_shovel").code, 0);
}

#[test]
fn one_vhost_more_than_there_may_be_is_refused_with_the_limit() {
    let config = "management = \"127.0.0.1:0\"\n[amqp]\nvhost_max = 2\n";
    let Some(broker) = Broker::configured(config, "needs a limit of vhosts") else { return };
    let tools = Tools::of(&broker.data_dir());
    tools.print("rabbitmqctl add_vhost second");
    let outcome = tools.run("rabbitmqctl add_vhost third");
    let why = "Error:\ncannot create vhost 'third': vhost limit of 2 is reached\n";
    assert_eq!((outcome.code, outcome.stderr.as_str()), (64, why));
    // One that is there is no further one.
    tools.print("rabbitmqctl add_vhost second --description changed");
}

#[test]
fn the_nodes_name_is_this_machines() {
    let Some((_broker, tools)) = managed() else { return };
    tools.print("rabbitmqctl -n rabbit@localhost list_vhosts");
    let outcome = tools.run("rabbitmqctl -n rabbit@elsewhere list_vhosts");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (69, ""));
    let begin = "Error: unable to perform an operation on node 'rabbit@elsewhere'.";
    assert!(outcome.stderr.starts_with(begin), "{}", outcome.stderr);
}

#[test]
fn completions_know_the_commands() {
    let mut command = std::process::Command::new(leveret_tests::binary());
    let script = crate::tools::outcome(command.args(["completion", "bash"])).stdout;
    assert!(script.contains("leveret") && script.contains("list_queues"));
    let mut command = std::process::Command::new(leveret_tests::binary());
    let arguments = ["completion", "zsh", "--for", "rabbitmq-diagnostics"];
    let script = crate::tools::outcome(command.args(arguments)).stdout;
    assert!(script.starts_with("#compdef rabbitmq-diagnostics"), "{script}");
}
