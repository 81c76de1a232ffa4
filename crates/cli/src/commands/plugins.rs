//! What RabbitMQ has as plugins. What Leveret has of them is built in and always on.

use serde_json::{Value, json};

use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::{Failure, SOFTWARE, UNAVAILABLE, USAGE};
use crate::output::Output;
use crate::program::Program::Plugins;

const PLUGINS: Command = Command::of("Plugin Management", &[Plugins]);

const ONLINE: [Switch; 2] = [
    Switch::flag("offline", "Without asking the broker"),
    Switch::flag("online", "Asking the broker"),
];
const CHANGING: &[Switch] = &[
    Switch::flag("offline", "Without asking the broker"),
    Switch::flag("online", "Asking the broker"),
    Switch::flag("all", "All there are"),
];

/// RabbitMQ's plugins, and whether Leveret does what they do.
const KNOWN: [(&str, bool); 41] = [
    ("rabbitmq_amqp1_0", false),
    ("rabbitmq_auth_backend_cache", true),
    ("rabbitmq_auth_backend_http", true),
    ("rabbitmq_auth_backend_internal_loopback", true),
    ("rabbitmq_auth_backend_ldap", false),
    ("rabbitmq_auth_backend_oauth2", true),
    ("rabbitmq_auth_mechanism_ssl", true),
    ("rabbitmq_consistent_hash_exchange", true),
    ("rabbitmq_delayed_message_exchange", true),
    ("rabbitmq_event_exchange", false),
    ("rabbitmq_exchange_federation", false),
    ("rabbitmq_federation", false),
    ("rabbitmq_federation_management", false),
    ("rabbitmq_federation_prometheus", false),
    ("rabbitmq_jms_topic_exchange", true),
    ("rabbitmq_management", true),
    ("rabbitmq_management_agent", true),
    ("rabbitmq_message_deduplication", true),
    ("rabbitmq_mqtt", false),
    ("rabbitmq_peer_discovery_aws", false),
    ("rabbitmq_peer_discovery_common", false),
    ("rabbitmq_peer_discovery_consul", false),
    ("rabbitmq_peer_discovery_etcd", false),
    ("rabbitmq_peer_discovery_k8s", false),
    ("rabbitmq_prometheus", true),
    ("rabbitmq_queue_federation", false),
    ("rabbitmq_random_exchange", true),
    ("rabbitmq_recent_history_exchange", true),
    ("rabbitmq_sharding", false),
    ("rabbitmq_shovel", false),
    ("rabbitmq_shovel_management", false),
    ("rabbitmq_shovel_prometheus", false),
    ("rabbitmq_stomp", false),
    ("rabbitmq_stream", false),
    ("rabbitmq_stream_management", false),
    ("rabbitmq_top", false),
    ("rabbitmq_tracing", false),
    ("rabbitmq_trust_store", false),
    ("rabbitmq_web_dispatch", true),
    ("rabbitmq_web_mqtt", false),
    ("rabbitmq_web_stomp", false),
];

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "list",
        arguments: "[<pattern>]",
        switches: &[
            Switch::flag("minimal", "The names alone").short('m'),
            Switch::flag("enabled", "Only those that are on").short('e'),
            Switch::flag("implicitly-enabled", "As --enabled: all of them were asked for")
                .short('E'),
            Switch::flag("verbose", "With what is known of each").short('v'),
            Switch::flag("offline", "Without asking the broker"),
            Switch::flag("online", "Asking the broker"),
        ],
        about: "Lists RabbitMQ's plugins, and which of them Leveret has built in",
        example: "list -e -m\nlist exchange",
        banner: Some(|call| {
            let pattern = if call.argument(0).is_empty() { ".*" } else { call.argument(0) };
            format!("Listing plugins with pattern \"{pattern}\" ...")
        }),
        run: Run::With(list),
        ..PLUGINS
    },
    Command {
        name: "enable",
        arguments: "[<plugin>...]",
        switches: CHANGING,
        about: "Enables plugins: does nothing for what is built in, and refuses the rest",
        example: "enable rabbitmq_management",
        banner: Some(|call| changing(call, "Enabling")),
        run: Run::With(enable),
        ..PLUGINS
    },
    Command {
        name: "set",
        arguments: "[<plugin>...]",
        switches: &ONLINE,
        about: "Enables these plugins and no others; what is built in stays on",
        example: "set rabbitmq_management rabbitmq_prometheus",
        banner: Some(|call| changing(call, "Enabling")),
        run: Run::With(enable),
        ..PLUGINS
    },
    Command {
        name: "disable",
        arguments: "[<plugin>...]",
        switches: CHANGING,
        about: "Disables plugins: does nothing for those that are off, what is built in stays on",
        example: "disable rabbitmq_shovel",
        banner: Some(|call| changing(call, "Disabling")),
        run: Run::With(disable),
        ..PLUGINS
    },
    Command {
        name: "is_enabled",
        arguments: "<plugin>...",
        switches: &ONLINE,
        about: "Checks that plugins are on",
        example: "is_enabled rabbitmq_management",
        banner: Some(|call| {
            let names = call.arguments.join(", ");
            format!("Asking node {} if plugin {names} is enabled...", call.node())
        }),
        run: Run::With(is_enabled),
        ..PLUGINS
    },
];

/// The plugins that are on.
pub(crate) fn built_in() -> impl Iterator<Item = &'static str> {
    KNOWN.into_iter().filter(|(_, is_built_in)| *is_built_in).map(|(name, _)| name)
}

fn changing(call: &Call, doing: &str) -> String {
    let names: Vec<&str> = match call.has("all") {
        true => KNOWN.iter().map(|(name, _)| *name).collect(),
        false => call.arguments.iter().map(String::as_str).collect(),
    };
    format!("{doing} plugins on node {}:\n{}", call.node(), names.join("\n"))
}

/// Whether Leveret does what a plugin does; `None` for one it has never heard of.
pub(crate) fn is_built_in(name: &str) -> Option<bool> {
    KNOWN.into_iter().find(|(known, _)| *known == name).map(|(_, is_built_in)| is_built_in)
}

/// Asks whether the broker is there, unless it is not to be asked.
fn ask(call: &Call) -> Result<(), Failure> {
    if call.has("offline") { Ok(()) } else { call.broker.get("/health/live").map(drop) }
}

fn list(call: &Call) -> Result<Output, Failure> {
    let is_running = !call.has("offline") && call.broker.is_up();
    let only_enabled = call.has("enabled") || call.has("implicitly-enabled");
    let pattern = call.argument(0);
    let shown: Vec<(&str, bool)> = KNOWN
        .into_iter()
        .filter(|(name, is_built_in)| (*is_built_in || !only_enabled) && name.contains(pattern))
        .collect();
    let value = json!({
        "format": "normal",
        "status": if is_running { "running" } else { "node_down" },
        "plugins": shown.iter().map(|(name, is_built_in)| json!({
            "name": name,
            "enabled": if *is_built_in { "enabled" } else { "not_enabled" },
            "running": is_running && *is_built_in,
            "version": call.version,
            "running_version": call.version,
        })).collect::<Value>(),
    });
    if call.has("minimal") {
        let names: Vec<&str> = shown.iter().map(|(name, _)| *name).collect();
        return Ok(Output::Report(names.join("\n"), value));
    }
    let status = match is_running {
        true => format!(" | Status: * = running on {}", call.node()),
        false => format!(" | Status: [failed to contact {} - status not shown]", call.node()),
    };
    let mut lines =
        vec![" Configured: E = explicitly enabled; e = implicitly enabled".to_owned(), status];
    lines.push(" |/".to_owned());
    let width = shown.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, is_built_in) in shown {
        let mark = match (is_built_in, is_running) {
            (true, true) => "E*",
            (true, false) => "E ",
            (false, _) => "  ",
        };
        lines.push(format!("[{mark}] {name:width$} {}", call.version));
    }
    Ok(Output::Report(lines.join("\n"), value))
}

fn enable(call: &Call) -> Result<Output, Failure> {
    ask(call)?;
    let unknown = call.arguments.iter().filter(|name| is_built_in(name).is_none());
    let unknown: Vec<String> = unknown.map(|name| format!(":{name}")).collect();
    if !unknown.is_empty() {
        let why = format!("{{:plugins_not_found, [{}]}}", unknown.join(", "));
        return Err(Failure::error(SOFTWARE, why));
    }
    let missing: Vec<&str> = match call.has("all") {
        true => {
            KNOWN.iter().filter(|(_, is_built_in)| !is_built_in).map(|(name, _)| *name).collect()
        }
        false => {
            let given = call.arguments.iter().map(String::as_str);
            given.filter(|name| is_built_in(name) == Some(false)).collect()
        }
    };
    if !missing.is_empty() {
        let why = format!("Leveret does not have {}", missing.join(", "));
        return Err(Failure::error(SOFTWARE, why));
    }
    if call.arguments.is_empty() && call.command.name == "enable" {
        return Err(call.misused(USAGE, "not enough arguments."));
    }
    Ok(unchanged(call))
}

fn disable(call: &Call) -> Result<Output, Failure> {
    ask(call)?;
    let all: Vec<&str> = match call.has("all") {
        true => built_in().collect(),
        false => call.arguments.iter().map(String::as_str).collect(),
    };
    if all.is_empty() {
        return Err(call.misused(USAGE, "not enough arguments."));
    }
    let stay: Vec<&str> = all.into_iter().filter(|name| is_built_in(name) == Some(true)).collect();
    if !stay.is_empty() {
        let why = format!(
            "{} can't be disabled: it is built in. A listener can be switched off in the \
             configuration",
            stay.join(", ")
        );
        return Err(Failure::error(SOFTWARE, why));
    }
    Ok(unchanged(call))
}

fn unchanged(call: &Call) -> Output {
    let mut lines = vec!["The following plugins have been configured:".to_owned()];
    lines.extend(built_in().map(|name| format!("  {name}")));
    lines.push(format!("Applying plugin configuration to {}...", call.node()));
    lines.push("Plugin configuration unchanged.".to_owned());
    let enabled: Vec<&str> = built_in().collect();
    let value = json!({ "enabled": enabled, "mode": "online", "started": [], "stopped": [] });
    Output::Report(lines.join("\n"), value)
}

fn is_enabled(call: &Call) -> Result<Output, Failure> {
    ask(call)?;
    let node = call.node();
    let off: Vec<&str> = call
        .arguments
        .iter()
        .map(String::as_str)
        .filter(|name| is_built_in(name) != Some(true))
        .collect();
    let names = |names: &[&str]| match names {
        [one] => format!("Plugin {one} is"),
        several => format!("Plugins {} are", several.join(", ")),
    };
    if off.is_empty() {
        let given: Vec<&str> = call.arguments.iter().map(String::as_str).collect();
        return Ok(Output::text(format!("{} enabled on node {node}", names(&given))));
    }
    let enabled = built_in().collect::<Vec<_>>().join(", ");
    let why = format!(
        "{} not enabled on node {node}. Enabled plugins and dependencies: {enabled}",
        names(&off)
    );
    Err(Failure::error(UNAVAILABLE, why))
}
