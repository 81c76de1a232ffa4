//! Commands that RabbitMQ has and Leveret can't carry out. Each says why, and fails.

use crate::command::{Command, Run};
use crate::failure::{SOFTWARE, USAGE};
use crate::program::Program::{self, Ctl, Diagnostics, Queues, Streams, Upgrade};

const ERLANG: &str = "Leveret is not written in Erlang";
const ONE_NODE: &str = "Leveret runs as a single node: there is no cluster to change";
const NO_APP: &str = "the broker and its node are one process: stop it with 'stop', and remove the \
                      data directory to start over";
const NO_REPLICAS: &str = "Leveret runs as a single node: queues and streams have no replicas";
const NO_LISTENERS: &str = "listeners are changed in the configuration, and at the next start";
const NO_LOG_FILE: &str = "there is no log file: the log goes to standard error";
const NO_SECRETS: &str = "encrypted values in the configuration are not understood";
const TLS: &str = "what listeners show is what a client sees: ask with 'openssl s_client'";
const NO_EVENTS: &str = "Leveret has no stream of events";

const fn refused(
    name: &'static str,
    arguments: &'static str,
    tools: &'static [Program],
    about: &'static str,
    why: &'static str,
) -> Command {
    Command {
        name,
        arguments,
        about,
        run: Run::Refused(SOFTWARE, why),
        ..Command::of("Not in Leveret", tools)
    }
}

const CTL: &[Program] = &[Ctl];
const DIAGNOSTICS: &[Program] = &[Diagnostics];
const BOTH: &[Program] = &[Ctl, Diagnostics];
const QUEUES: &[Program] = &[Queues];
const STREAMS: &[Program] = &[Streams];
const UPGRADE: &[Program] = &[Upgrade];

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        run: Run::Refused(USAGE, ERLANG),
        ..refused("eval", "<expression>", CTL, "Evaluates Erlang code", ERLANG)
    },
    Command {
        run: Run::Refused(USAGE, ERLANG),
        ..refused("eval_file", "<file>", CTL, "Evaluates a file of Erlang code", ERLANG)
    },
    Command {
        run: Run::Refused(USAGE, ERLANG),
        ..refused("exec", "<expression>", CTL, "Evaluates Elixir code", ERLANG)
    },
    refused("stop_app", "", CTL, "Stops the application and leaves the node running", NO_APP),
    refused("reset", "", CTL, "Returns a node to its first state", NO_APP),
    refused("force_reset", "", CTL, "Returns a node to its first state by force", NO_APP),
    refused("join_cluster", "<node>", CTL, "Makes the node a member of a cluster", ONE_NODE),
    refused("forget_cluster_node", "<node>", CTL, "Removes a node from the cluster", ONE_NODE),
    refused("rename_cluster_node", "<node>...", CTL, "Renames nodes", ONE_NODE),
    refused("update_cluster_nodes", "<node>", CTL, "Updates the list of nodes", ONE_NODE),
    refused("change_cluster_node_type", "<type>", CTL, "Changes what a node keeps", ONE_NODE),
    refused("force_boot", "", CTL, "Starts a node without its peers", ONE_NODE),
    refused("force_gc", "", CTL, "Collects the garbage of all processes", ERLANG),
    refused("suspend_listeners", "", CTL, "Takes no new connections", NO_LISTENERS),
    refused("resume_listeners", "", CTL, "Takes new connections again", NO_LISTENERS),
    refused("encode", "<value>...", CTL, "Encrypts a value for the configuration", NO_SECRETS),
    refused("decode", "<value>...", CTL, "Decrypts a value of the configuration", NO_SECRETS),
    refused("encrypt_conf_value", "<value>...", CTL, "Encrypts a value", NO_SECRETS),
    refused("decrypt_conf_value", "<value>...", CTL, "Decrypts a value", NO_SECRETS),
    refused("list_ciphers", "", BOTH, "Lists the ciphers that encode knows", NO_SECRETS),
    refused("list_hashes", "", BOTH, "Lists the hashes that encode knows", NO_SECRETS),
    refused("remote_shell", "", DIAGNOSTICS, "Starts a shell in the node", ERLANG),
    refused("observer", "", DIAGNOSTICS, "Shows the processes of the node", ERLANG),
    refused("erlang_version", "", DIAGNOSTICS, "Prints the version of Erlang", ERLANG),
    refused("erlang_cookie_hash", "", DIAGNOSTICS, "Prints the hash of the cookie", ERLANG),
    refused("erlang_cookie_sources", "", DIAGNOSTICS, "Says where the cookie is", ERLANG),
    refused("maybe_stuck", "", DIAGNOSTICS, "Looks for processes that don't move", ERLANG),
    refused("runtime_thread_stats", "", DIAGNOSTICS, "Shows what threads do", ERLANG),
    refused("command_line_arguments", "", DIAGNOSTICS, "Shows the runtime's flags", ERLANG),
    refused("log_tail", "", DIAGNOSTICS, "Prints the end of the log", NO_LOG_FILE),
    refused("log_tail_stream", "", DIAGNOSTICS, "Prints the log as it grows", NO_LOG_FILE),
    refused("certificates", "", DIAGNOSTICS, "Shows the certificates of listeners", TLS),
    refused("tls_versions", "", DIAGNOSTICS, "Lists the versions of TLS", TLS),
    refused("cipher_suites", "", DIAGNOSTICS, "Lists the ciphers of TLS", TLS),
    refused("consume_event_stream", "", DIAGNOSTICS, "Prints events as they happen", NO_EVENTS),
    refused("resolver_info", "", DIAGNOSTICS, "Shows how names are looked up", ERLANG),
    refused("metadata_store_status", "", DIAGNOSTICS, "Shows the members of a log", NO_REPLICAS),
    refused("coordinator_status", "", &[Diagnostics, Streams], "Shows its members", NO_REPLICAS),
    refused("drain", "", UPGRADE, "Puts a node into maintenance", ONE_NODE),
    refused("revive", "", UPGRADE, "Takes a node out of maintenance", ONE_NODE),
    refused("add_member", "<queue> <node>", QUEUES, "Adds a replica", NO_REPLICAS),
    refused("delete_member", "<queue> <node>", QUEUES, "Removes a replica", NO_REPLICAS),
    refused("grow", "<node> <which>", &[Queues, Streams], "Adds replicas on a node", NO_REPLICAS),
    refused("shrink", "<node>", &[Queues, Streams], "Removes a node's replicas", NO_REPLICAS),
    refused("reclaim_quorum_memory", "<queue>", QUEUES, "Writes a log out", NO_REPLICAS),
    refused("add_replica", "<stream> <node>", STREAMS, "Adds a replica", NO_REPLICAS),
    refused("delete_replica", "<stream> <node>", STREAMS, "Removes a replica", NO_REPLICAS),
    refused("restart_stream", "<stream>", STREAMS, "Elects a new leader", NO_REPLICAS),
    refused(
        "transfer_leadership",
        "<queue> <node>",
        &[Queues, Streams],
        "Makes a replica the leader",
        NO_REPLICAS,
    ),
];
