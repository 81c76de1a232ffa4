//! What state the node is in.

use serde_json::{Value, json};

use super::plugins;
use crate::at::At;
use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::{Failure, USAGE};
use crate::http::part;
use crate::output::Output;
use crate::program::Program::{Ctl, Diagnostics};

const STATUS: Command =
    Command::of("Monitoring, observability and health checks", &[Ctl, Diagnostics]);

const UNIT: Switch =
    Switch::value("unit", "unit", "bytes, mb, mib, gb, gib, tb or tib [default: gb]");

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "status",
        switches: &[UNIT],
        about: "Shows the state of the node: version, memory, disk, alarms, listeners",
        example: "status --unit mb\nstatus --formatter json",
        banner: Some(|call| format!("Status of node {} ...", call.node())),
        run: Run::With(status),
        ..STATUS
    },
    Command {
        name: "cluster_status",
        about: "Shows the nodes of the cluster, of which there is one",
        banner: Some(|call| format!("Cluster status of node {} ...", call.node())),
        run: Run::With(cluster_status),
        ..STATUS
    },
    Command {
        name: "environment",
        about: "Shows the settings in force, as a configuration file",
        banner: Some(|call| format!("Application environment of node {} ...", call.node())),
        run: Run::With(|call| {
            let reply = call.broker.send("GET", "/api/config/effective", &Value::Null)?;
            let reply = crate::broker::accepted(reply)?;
            Ok(Output::text(String::from_utf8_lossy(&reply.body).trim_end()))
        }),
        ..STATUS
    },
    Command {
        name: "memory_breakdown",
        tools: &[Diagnostics],
        switches: &[UNIT],
        about: "Shows what the memory of the node goes to",
        example: "memory_breakdown --unit mb",
        banner: Some(|call| format!("Reporting memory breakdown on node {}...", call.node())),
        run: Run::With(|call| {
            let memory = call.broker.get(&format!("/api/nodes/{}/memory", part(call.node())))?;
            let value = memory.at("memory").clone();
            Ok(Output::Report(breakdown(&value, unit(call)?).join("\n"), value))
        }),
        ..STATUS
    },
    Command {
        name: "server_version",
        tools: &[Diagnostics],
        about: "Prints the version of RabbitMQ that the broker says it is",
        banner: Some(|call| format!("Asking node {} for its RabbitMQ version...", call.node())),
        run: Run::With(|call| {
            let version = call.broker.get("/api/version")?;
            Ok(Output::text(version.as_str().unwrap_or_default()))
        }),
        ..STATUS
    },
    Command {
        name: "listeners",
        tools: &[Diagnostics],
        about: "Lists what clients can connect to",
        banner: Some(|call| {
            format!("Asking node {} to report its protocol listeners ...", call.node())
        }),
        run: Run::With(|call| {
            let all = listeners(call)?;
            let lines: Vec<String> = all.iter().map(Listener::line).collect();
            let value: Value = all.iter().map(|one| one.to_json(call.node())).collect();
            let value = json!({ "listeners": value, "node": call.node(), "result": "ok" });
            Ok(Output::Report(lines.join("\n"), value))
        }),
        ..STATUS
    },
    Command {
        name: "report",
        about: "Prints the state of the node and all it has, for whoever looks into a problem",
        banner: Some(|call| format!("Reporting server status of node {} ...", call.node())),
        run: Run::With(report),
        ..STATUS
    },
];

/// A listener as the API has it.
pub(crate) struct Listener {
    pub(crate) protocol: String,
    pub(crate) address: String,
    pub(crate) port: u16,
}

/// # Errors
/// When the broker doesn't say.
pub(crate) fn listeners(call: &Call) -> Result<Vec<Listener>, Failure> {
    let overview = call.broker.get("/api/overview?columns=listeners")?;
    let all = overview.at("listeners").as_array().into_iter().flatten();
    Ok(all.map(Listener::of_json).collect())
}

impl Listener {
    fn of_json(value: &Value) -> Self {
        let port = value.at("port").as_u64().and_then(|port| u16::try_from(port).ok());
        Self {
            protocol: value.at("protocol").as_str().unwrap_or_default().to_owned(),
            address: value.at("ip_address").as_str().unwrap_or_default().to_owned(),
            port: port.unwrap_or_default(),
        }
    }

    fn purpose(&self) -> &'static str {
        match self.protocol.as_str() {
            "amqp" => "AMQP 0-9-1",
            "amqp/ssl" => "AMQP 0-9-1 over TLS",
            "http" => "HTTP API",
            "https" => "HTTP API over TLS (HTTPS)",
            "http/prometheus" => "Prometheus exporter API over HTTP",
            "https/prometheus" => "Prometheus exporter API over TLS (HTTPS)",
            "stream" => "stream",
            "stream/ssl" => "stream over TLS",
            "mqtt" => "MQTT",
            "mqtt/ssl" => "MQTT over TLS",
            _ => "clients",
        }
    }

    fn interface(&self) -> String {
        if self.address.contains(':') {
            format!("[{}]", self.address)
        } else {
            self.address.clone()
        }
    }

    fn line(&self) -> String {
        format!(
            "Interface: {}, port: {}, protocol: {}, purpose: {}",
            self.interface(),
            self.port,
            self.protocol,
            self.purpose()
        )
    }

    fn to_json(&self, node: &str) -> Value {
        json!({
            "interface": self.interface(),
            "node": node,
            "port": self.port,
            "protocol": self.protocol,
            "purpose": self.purpose(),
        })
    }
}

/// The alarms that are on: RabbitMQ's name of each, and the sentence for people.
pub(crate) fn alarms(call: &Call) -> Result<Vec<(&'static str, String)>, Failure> {
    let node = call
        .broker
        .get(&format!("/api/nodes/{}?columns=mem_alarm,disk_free_alarm", part(call.node())))?;
    let names = [("mem_alarm", "memory", "Memory"), ("disk_free_alarm", "disk", "Free disk space")];
    let on = names.into_iter().filter(|(key, ..)| node.at(key) == true);
    Ok(on.map(|(_, name, text)| (name, format!("{text} alarm on node {}", call.node()))).collect())
}

const UNITS: [(&str, f64); 7] = [
    ("bytes", 1.0),
    ("mb", 1e6),
    ("mib", 1_048_576.0),
    ("gb", 1e9),
    ("gib", 1_073_741_824.0),
    ("tb", 1e12),
    ("tib", 1_099_511_627_776.0),
];

/// A unit of memory: its name, and its bytes.
type Unit = (&'static str, f64);

/// # Errors
/// 64 for a unit there isn't.
fn unit(call: &Call) -> Result<Unit, Failure> {
    let asked = call.switch("unit").unwrap_or("gb").to_lowercase();
    let found = UNITS.into_iter().find(|(name, _)| *name == asked);
    found.ok_or_else(|| {
        let why = format!(
            "unit '{asked}' is not supported. Please use one of: bytes, mb, mib, gb, gib, tb, tib"
        );
        call.misused(USAGE, &why)
    })
}

fn in_unit(bytes: &Value, (name, size): Unit) -> String {
    let Some(bytes) = bytes.as_f64() else { return "(not available)".to_owned() };
    let rounded = (bytes / size * 10_000.0).round() / 10_000.0;
    if name == "bytes" { format!("{bytes} {name}") } else { format!("{rounded:?} {name}") }
}

/// A line for each use of memory, the largest first.
fn breakdown(memory: &Value, unit: Unit) -> Vec<String> {
    let total = memory.at("total").at("rss").as_f64().unwrap_or_default().max(1.0);
    let mut parts: Vec<(&String, &Value)> = memory
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| value.as_u64().is_some_and(|bytes| bytes > 0))
        .collect();
    parts.sort_by(|(_, a), (_, b)| {
        b.as_f64().unwrap_or_default().total_cmp(&a.as_f64().unwrap_or_default())
    });
    let line = |(name, value): (&String, &Value)| {
        let percent = value.as_f64().unwrap_or_default() / total * 100.0;
        let percent = (percent * 100.0).round() / 100.0;
        format!("{name}: {} ({percent:?} %)", in_unit(value, unit))
    };
    parts.into_iter().map(line).collect()
}

fn status(call: &Call) -> Result<Output, Failure> {
    let unit = unit(call)?;
    let overview = call.broker.get(
        "/api/overview?columns=rabbitmq_version,product_name,product_version,object_totals,\
         cluster_name",
    )?;
    let node = call.broker.get(&format!("/api/nodes/{}", part(call.node())))?;
    let memory = call.broker.get(&format!("/api/nodes/{}/memory", part(call.node())))?;
    let vhosts = call.broker.list("/api/vhosts?columns=name")?.len();
    let (listeners, alarms) = (listeners(call)?, alarms(call)?);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.map(|one| format!(" * {}", text(one))).collect()
    };
    let uptime = node.at("uptime").as_u64().unwrap_or_default() / 1000;
    let version = text(overview.at("rabbitmq_version"));
    let sections: Vec<(&str, Vec<String>)> = vec![
        (
            "Runtime",
            vec![
                format!("OS PID: {}", text(node.at("os_pid"))),
                format!("OS: {}", os_name()),
                format!("Uptime (seconds): {uptime}"),
                "Is under maintenance?: false".to_owned(),
                format!("Leveret version: {}", env!("CARGO_PKG_VERSION")),
                format!("RabbitMQ version: {version}"),
                format!("Node name: {}", call.node()),
            ],
        ),
        ("Plugins", plugins::built_in().map(|name| format!(" * {name}")).collect()),
        ("Data directory", vec![format!("Node data directory: {}", text(node.at("db_dir")))]),
        ("Config files", list(node.at("config_files"))),
        ("Log file(s)", list(node.at("log_files"))),
        ("Alarms", or_none(alarms.iter().map(|(_, text)| text.clone()))),
        ("Tags", or_none([])),
        ("Memory", {
            let mut lines = vec![
                format!("Total memory used: {}", in_unit(node.at("mem_used"), unit)),
                format!("Calculation strategy: {}", text(node.at("mem_calculation_strategy"))),
                format!("Memory high watermark: {}\n", in_unit(node.at("mem_limit"), unit)),
            ];
            lines.extend(breakdown(memory.at("memory"), unit));
            lines
        }),
        (
            "File Descriptors",
            vec![format!(
                "Total: {}, limit: {}",
                text(node.at("fd_used")),
                text(node.at("fd_total"))
            )],
        ),
        (
            "Free Disk Space",
            vec![
                format!(
                    "Low free disk space watermark: {}",
                    in_unit(node.at("disk_free_limit"), unit)
                ),
                format!("Free disk space: {}", in_unit(node.at("disk_free"), unit)),
            ],
        ),
        (
            "Totals",
            vec![
                format!(
                    "Connection count: {}",
                    text(overview.at("object_totals").at("connections"))
                ),
                format!("Queue count: {}", text(overview.at("object_totals").at("queues"))),
                format!("Virtual host count: {vhosts}"),
            ],
        ),
        ("Listeners", or_none(listeners.iter().map(Listener::line))),
    ];
    let value = json!({
        "pid": text(node.at("os_pid")).parse::<u64>().ok(),
        "os": os_name(),
        "uptime": uptime,
        "is_under_maintenance": false,
        "product_name": overview.at("product_name"),
        "product_version": overview.at("product_version"),
        "rabbitmq_version": version,
        "leveret_version": env!("CARGO_PKG_VERSION"),
        "active_plugins": plugins::built_in().collect::<Vec<_>>(),
        "data_directory": node.at("db_dir"),
        "config_files": node.at("config_files"),
        "log_files": node.at("log_files"),
        "alarms": alarms.iter().map(|(name, _)| json!({ "node": call.node(), "resource": name, "type": "resource_limit" })).collect::<Value>(),
        "memory": memory.at("memory"),
        "vm_memory_calculation_strategy": node.at("mem_calculation_strategy"),
        "vm_memory_high_watermark_limit": node.at("mem_limit"),
        "disk_free_limit": node.at("disk_free_limit"),
        "disk_free": node.at("disk_free"),
        "file_descriptors": {
            "total_used": node.at("fd_used"),
            "total_limit": node.at("fd_total"),
        },
        "totals": {
            "connection_count": overview.at("object_totals").at("connections"),
            "queue_count": overview.at("object_totals").at("queues"),
            "virtual_host_count": vhosts,
        },
        "listeners": listeners.iter().map(|one| one.to_json(call.node())).collect::<Value>(),
    });
    Ok(Output::Report(headed(&sections), value))
}

fn cluster_status(call: &Call) -> Result<Output, Failure> {
    let node = call.node();
    let name = call.broker.get("/api/cluster-name")?.at("name").clone();
    let version = call.broker.get("/api/version")?;
    let flags = call.broker.list("/api/feature-flags")?;
    let (listeners, alarms) = (listeners(call)?, alarms(call)?);
    let version = version.as_str().unwrap_or_default();
    let running = format!("{node}: RabbitMQ {version} (Leveret {})", env!("CARGO_PKG_VERSION"));
    let sections: Vec<(&str, Vec<String>)> = vec![
        ("Basics", vec![format!("Cluster name: {}", name.as_str().unwrap_or_default())]),
        ("Disk Nodes", vec![node.to_owned()]),
        ("Running Nodes", vec![node.to_owned()]),
        ("Versions", vec![running]),
        ("Maintenance status", vec![format!("Node: {node}, status: not under maintenance")]),
        ("Alarms", or_none(alarms.iter().map(|(_, text)| text.clone()))),
        ("Network Partitions", or_none([])),
        (
            "Listeners",
            or_none(listeners.iter().map(|one| {
                format!("Node: {node}, {}", one.line().replacen("Interface", "interface", 1))
            })),
        ),
        (
            "Feature flags",
            flags
                .iter()
                .map(|flag| {
                    let text = |key: &str| flag[key].as_str().unwrap_or_default().to_owned();
                    format!("Flag: {}, state: {}", text("name"), text("state"))
                })
                .collect(),
        ),
    ];
    let value = json!({
        "cluster_name": name,
        "disk_nodes": [node],
        "ram_nodes": [],
        "running_nodes": [node],
        "partitions": {},
        "maintenance_status": { node: "not under maintenance" },
        "versions": { node: { "rabbitmq_name": "RabbitMQ", "rabbitmq_version": version, "leveret_version": env!("CARGO_PKG_VERSION") } },
        "alarms": alarms.iter().map(|(name, _)| json!({ "node": node, "resource": name, "type": "resource_limit" })).collect::<Value>(),
        "listeners": { node: listeners.iter().map(|one| one.to_json(node)).collect::<Value>() },
        "feature_flags": flags,
    });
    Ok(Output::Report(headed(&sections), value))
}

/// Everything an operator would ask for one after the other.
fn report(call: &Call) -> Result<Output, Failure> {
    let mut text = String::new();
    for name in ["status", "cluster_status", "environment"] {
        let command = COMMANDS.iter().find(|command| command.name == name);
        if let Some(Command { run: Run::With(run), .. }) = command
            && let Output::Text(part) | Output::Report(part, _) = run(call)?
        {
            text += &format!("# {name}\n\n{part}\n\n");
        }
    }
    for path in ["connections", "channels", "queues", "exchanges", "bindings", "consumers"] {
        let items = call.broker.list(&format!("/api/{path}"))?;
        text += &format!("# {path}: {}\n\n", items.len());
        for item in items {
            text += &format!("{item}\n");
        }
        text.push('\n');
    }
    Ok(Output::text(text.trim_end()))
}

fn os_name() -> &'static str {
    if cfg!(target_os = "linux") { "Linux" } else { std::env::consts::OS }
}

fn or_none(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let lines: Vec<String> = lines.into_iter().collect();
    if lines.is_empty() { vec!["(none)".to_owned()] } else { lines }
}

fn headed(sections: &[(&str, Vec<String>)]) -> String {
    let sections =
        sections.iter().map(|(heading, lines)| format!("{heading}\n\n{}", lines.join("\n")));
    sections.collect::<Vec<_>>().join("\n\n")
}
