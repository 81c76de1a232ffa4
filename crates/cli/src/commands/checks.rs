//! Health checks: exit code 0 when all is well.

use std::net::ToSocketAddrs;
use std::time::Duration;

use serde_json::{Value, json};

use super::status::{Listener, alarms, listeners};
use crate::at::At;
use crate::broker::can_connect;
use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::{Failure, SOFTWARE, UNAVAILABLE, USAGE};
use crate::http::part;
use crate::output::{Output, Rows};
use crate::program::Program::{Ctl, Diagnostics, Upgrade};

const CHECKS: Command = Command::of("Monitoring, observability and health checks", &[Diagnostics]);

/// How long a listener may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "ping",
        tools: &[Ctl, Diagnostics],
        about: "Checks that the broker's process answers",
        banner: Some(|call| {
            let millis = call.options.timeout.unwrap_or(60) * 1000;
            format!(
                "Will ping {}. This only checks if the OS process is running and registered with \
                 epmd. Timeout: {millis} ms.",
                call.node()
            )
        }),
        run: Run::With(|call| {
            call.broker.get("/health/live")?;
            Ok(Output::text("Ping succeeded"))
        }),
        ..CHECKS
    },
    Command {
        name: "check_running",
        about: "Checks that the broker serves",
        banner: Some(|call| format!("Checking if RabbitMQ is running on node {} ...", call.node())),
        run: Run::With(is_running),
        ..CHECKS
    },
    Command {
        name: "is_running",
        about: "Says whether the broker serves",
        banner: Some(|call| format!("Asking node {} for its status ...", call.node())),
        run: Run::With(is_running),
        ..CHECKS
    },
    Command {
        name: "is_booting",
        about: "Says whether the broker is starting, while which it answers nobody",
        banner: Some(|call| format!("Asking node {} for its boot status ...", call.node())),
        run: Run::With(|call| {
            call.broker.get("/health/live")?;
            Ok(Output::text(format!(
                "RabbitMQ on node {} is fully booted (check with is_running), stopped or has not \
                 started booting yet",
                call.node()
            )))
        }),
        ..CHECKS
    },
    Command {
        name: "alarms",
        about: "Lists the alarms that are on",
        banner: Some(|call| {
            format!("Asking node {} to report any known resource alarms ...", call.node())
        }),
        run: Run::With(list_alarms),
        ..CHECKS
    },
    Command {
        name: "check_alarms",
        about: "Checks that no alarm is on",
        banner: Some(|call| {
            format!("Asking node {} to report any local resource alarms ...", call.node())
        }),
        run: Run::With(|call| no_alarms(call, "no alarms, local or clusterwide")),
        ..CHECKS
    },
    Command {
        name: "check_local_alarms",
        about: "Checks that no alarm is on at this node",
        banner: Some(|call| {
            format!("Asking node {} to report any local resource alarms ...", call.node())
        }),
        run: Run::With(|call| no_alarms(call, "no local alarms")),
        ..CHECKS
    },
    Command {
        name: "check_port_connectivity",
        switches: &[Switch::value("address", "address", "Connect to this address")],
        about: "Checks that all listeners take connections",
        example: "check_port_connectivity --address 127.0.0.1",
        banner: Some(|call| {
            format!("Testing TCP connections to all active listeners on node {} ...", call.node())
        }),
        run: Run::With(port_connectivity),
        ..CHECKS
    },
    Command {
        name: "check_port_listener",
        arguments: "<port>",
        about: "Checks that something listens on a port",
        example: "check_port_listener 5672",
        banner: Some(|call| {
            let (node, port) = (call.node(), call.argument(0));
            format!("Asking node {node} if there's an active listener on port {port} ...")
        }),
        run: Run::With(port_listener),
        ..CHECKS
    },
    Command {
        name: "check_protocol_listener",
        arguments: "<protocol>",
        about: "Checks that something listens for a protocol",
        example: "check_protocol_listener amqp",
        banner: Some(|call| {
            let (node, protocol) = (call.node(), call.argument(0));
            format!("Asking node {node} if there's an active listener for protocol {protocol} ...")
        }),
        run: Run::With(protocol_listener),
        ..CHECKS
    },
    Command {
        name: "check_virtual_hosts",
        about: "Checks that all vhosts run, as they do while the broker does",
        banner: Some(|call| {
            format!("Checking if all vhosts are running on node {} ...", call.node())
        }),
        run: Run::With(|call| {
            call.broker.get("/api/health/checks/virtual-hosts")?;
            Ok(Output::text(format!("Node {} reported all vhosts as running", call.node())))
        }),
        ..CHECKS
    },
    Command {
        name: "check_certificate_expiration",
        switches: &[
            Switch::value("within", "number", "In which time [default: 4]"),
            Switch::value("unit", "unit", "days, weeks, months or years [default: weeks]"),
        ],
        about: "Checks that no certificate expires soon",
        example: "check_certificate_expiration --within 2 --unit weeks",
        banner: Some(|call| format!("Checking certificate expiration on node {} ...", call.node())),
        run: Run::With(certificates),
        ..CHECKS
    },
    Command {
        name: "node_health_check",
        tools: &[Ctl, Diagnostics],
        about: "Checks that no alarm is on; an old name",
        banner: Some(|call| format!("Checking health of node {} ...", call.node())),
        run: Run::With(|call| {
            no_alarms(call, "")?;
            Ok(Output::text("Health check passed"))
        }),
        ..CHECKS
    },
    Command {
        name: "check_if_any_deprecated_features_are_used",
        tools: &[Ctl, Diagnostics],
        about: "Checks that nothing is used that RabbitMQ means to remove",
        banner: Some(|_| "Checking if any deprecated features are used ...".to_owned()),
        run: Run::With(|call| {
            let used = call.broker.list("/api/deprecated-features/used")?;
            let used: Vec<&str> = used.iter().filter_map(|one| one["name"].as_str()).collect();
            if used.is_empty() {
                return Ok(Output::text("Cluster reported no deprecated features in use"));
            }
            let why = format!("Cluster reported deprecated features in use: {}", used.join(", "));
            Err(Failure::error(UNAVAILABLE, why))
        }),
        ..CHECKS
    },
    Command {
        name: "check_if_metadata_store_is_initialized",
        about: "Checks that definitions can be read",
        banner: Some(|_| "Checking if the metadata store is initialised ...".to_owned()),
        run: Run::With(|call| {
            call.broker.get("/api/health/checks/metadata-store/initialized")?;
            Ok(Output::text("The metadata store is initialised"))
        }),
        ..CHECKS
    },
    Command {
        name: "check_for_quorum_queues_without_an_elected_leader",
        arguments: "[<pattern>]",
        switches: &[Switch::flag("across-all-vhosts", "In all vhosts")],
        about: "Checks that all quorum queues have a leader, as they do on a single node",
        example: "check_for_quorum_queues_without_an_elected_leader --across-all-vhosts",
        banner: Some(|_| "Checking for quorum queues without an elected leader ...".to_owned()),
        run: Run::With(|call| {
            call.broker
                .get("/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts")?;
            Ok(Output::text("All quorum queues have an elected leader"))
        }),
        ..CHECKS
    },
    Command {
        name: "list_node_auth_attempt_stats",
        tools: &[Ctl, Diagnostics],
        about: "Counts the logins that worked and those that did not",
        banner: Some(|call| format!("Listing auth attempts on node {} ...", call.node())),
        run: Run::With(|call| {
            let columns =
                ["protocol", "auth_attempts", "auth_attempts_failed", "auth_attempts_succeeded"];
            let mut rows = Rows::new(&columns);
            for one in call.broker.list(&format!("/api/auth/attempts/{}", part(call.node())))? {
                rows.push(columns.iter().map(|column| one.at(column).clone()));
            }
            Ok(rows.into())
        }),
        ..CHECKS
    },
    Command {
        name: "reset_node_auth_attempt_metrics",
        about: "Counts logins from nothing again",
        banner: Some(|call| format!("Resetting auth attempt metrics on node {} ...", call.node())),
        run: Run::With(|call| {
            call.broker.delete(&format!("/api/auth/attempts/{}", part(call.node())))?;
            Ok(Output::Nothing)
        }),
        ..CHECKS
    },
    Command {
        name: "has_reached_target_cluster_size",
        tools: &[Ctl, Diagnostics, Upgrade],
        about: "Checks that all nodes are there, of which there is one",
        banner: Some(|_| "Checking if the cluster has reached its target size ...".to_owned()),
        run: Run::With(|call| {
            call.broker.get("/api/health/checks/reached-target-cluster-size")?;
            Ok(Output::text("Cluster has reached its target size of 1 node(s)"))
        }),
        ..CHECKS
    },
    Command {
        name: "resolve_hostname",
        arguments: "<hostname>",
        switches: &[Switch::value("address-family", "family", "ipv4 or ipv6 [default: ipv4]")],
        about: "Looks a name up, as this machine sees it",
        example: "resolve_hostname broker.example",
        banner: Some(|call| {
            let family = call.switch("address-family").unwrap_or("ipv4").to_lowercase();
            let family = family.replace("ip", "IP");
            let (node, name) = (call.node(), call.argument(0));
            format!("Asking node {node} to resolve hostname {name} to {family} addresses...")
        }),
        run: Run::With(resolve),
        ..CHECKS
    },
];

fn is_running(call: &Call) -> Result<Output, Failure> {
    call.broker.get("/health/live")?;
    let node = call.node();
    Ok(Output::text(format!("RabbitMQ on node {node} is fully booted and running")))
}

fn list_alarms(call: &Call) -> Result<Output, Failure> {
    let all = alarms(call)?;
    let node = call.node();
    let text = match all.as_slice() {
        [] => format!("Node {node} reported no alarms, local or clusterwide"),
        all => all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n"),
    };
    let value: Value = all
        .iter()
        .map(|(name, _)| json!({ "node": node, "resource": name, "type": "resource_limit" }))
        .collect();
    let value =
        json!({ "alarms": value, "global": value, "local": value, "node": node, "result": "ok" });
    Ok(Output::Report(text, value))
}

fn no_alarms(call: &Call, none: &str) -> Result<Output, Failure> {
    let all = alarms(call)?;
    let node = call.node();
    if all.is_empty() {
        return Ok(Output::text(format!("Node {node} reported {none}")));
    }
    let lines: Vec<&str> = all.iter().map(|(_, text)| text.as_str()).collect();
    let text = format!("Node {node} reported alarms:\n{}", lines.join("\n"));
    Err(Failure::error(UNAVAILABLE, text))
}

/// A listener on all interfaces is asked for on this machine.
fn port_connectivity(call: &Call) -> Result<Output, Failure> {
    let node = call.node();
    let all = listeners(call)?;
    let host = |listener: &Listener| match (call.switch("address"), listener.address.as_str()) {
        (Some(address), _) => address.to_owned(),
        (None, "::" | "0.0.0.0") => "localhost".to_owned(),
        (None, address) => address.to_owned(),
    };
    let (up, down): (Vec<&Listener>, Vec<&Listener>) =
        all.iter().partition(|one| can_connect(&host(one), one.port, CONNECT_TIMEOUT));
    let ports =
        |of: &[&Listener]| of.iter().map(|one| one.port.to_string()).collect::<Vec<_>>().join(", ");
    if down.is_empty() {
        let up = ports(&up);
        return Ok(Output::text(format!("Successfully connected to ports {up} on node {node}.")));
    }
    let text = format!(
        "Connection to ports of the following listeners on node {node} failed: {}",
        ports(&down)
    );
    Err(Failure::plain(UNAVAILABLE, text))
}

fn port_listener(call: &Call) -> Result<Output, Failure> {
    let (node, text) = (call.node(), call.argument(0));
    let port: u16 = text.parse().map_err(|_| {
        call.misused(USAGE, "Bad argument: the port should be a number from 0 to 65535")
    })?;
    let ports: Vec<u16> = listeners(call)?.iter().map(|one| one.port).collect();
    if ports.contains(&port) {
        let text = format!("A listener for port {port} is running on node {node}.");
        return Ok(Output::text(text));
    }
    let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let text = format!(
        "No listener for port {port} is active on node {node}. Found listeners that use the \
         following ports: {ports}"
    );
    Err(Failure::plain(UNAVAILABLE, text))
}

fn protocol_listener(call: &Call) -> Result<Output, Failure> {
    let (node, protocol) = (call.node(), call.argument(0));
    let path = format!("/api/health/checks/protocol-listener/{}", part(protocol));
    let reply = call.broker.send("GET", &path, &Value::Null)?;
    if reply.status.is_success() {
        let text = format!("A listener for protocol {protocol} is running on node {node}.");
        return Ok(Output::text(text));
    }
    let mut known: Vec<String> = listeners(call)?.into_iter().map(|one| one.protocol).collect();
    known.sort_unstable();
    known.dedup();
    let text = format!(
        "No listener for protocol {protocol} is active on node {node}. Found listeners for the \
         following protocols: {}",
        known.join(", ")
    );
    Err(Failure::error(UNAVAILABLE, text))
}

fn certificates(call: &Call) -> Result<Output, Failure> {
    let within = call.number("within", 4)?;
    let unit = call.switch("unit").unwrap_or("weeks");
    let path = format!("/api/health/checks/certificate-expiration/{within}/{}", part(unit));
    let reply = call.broker.send("GET", &path, &Value::Null)?;
    match reply.status.as_u16() {
        400 => Err(call.misused(USAGE, &reply.reason())),
        200 => Ok(Output::text(format!("No certificates are expiring within {within} {unit}."))),
        _ => Err(Failure::error(UNAVAILABLE, reply.reason())),
    }
}

fn resolve(call: &Call) -> Result<Output, Failure> {
    let is_v6 = match call.switch("address-family").unwrap_or("ipv4") {
        family if family.eq_ignore_ascii_case("ipv4") => false,
        family if family.eq_ignore_ascii_case("ipv6") => true,
        other => return Err(call.misused(USAGE, &format!("unsupported address family {other}"))),
    };
    let name = call.argument(0);
    let found = (name, 0).to_socket_addrs();
    let found = found.map_err(|error| Failure::error(SOFTWARE, format!("{name}: {error}")))?;
    let mut addresses: Vec<String> =
        found.filter(|one| one.is_ipv6() == is_v6).map(|one| one.ip().to_string()).collect();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(Failure::error(SOFTWARE, format!("{name} has no address of this family")));
    }
    Ok(Output::text(addresses.join("\n")))
}
