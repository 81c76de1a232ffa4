//! Lists of what the broker has, with the columns that are asked for.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::at::At;
use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::{Failure, USAGE};
use crate::http::part;
use crate::output::{Cell, Output, Rows};
use crate::program::Program::{Ctl, Diagnostics};

const LISTS: Command =
    Command::of("Monitoring, observability and health checks", &[Ctl, Diagnostics]);

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "list_bindings",
        arguments: "[<column>...]",
        check: Some(|call| columns(call, &BINDINGS, &[]).map(drop)),
        about: "Lists the bindings of a vhost",
        example: "list_bindings -p v1 source_name destination_name routing_key",
        banner: Some(|call| format!("Listing bindings for vhost {}...", call.vhost())),
        run: Run::With(|call| {
            let default: Vec<&str> = BINDINGS.iter().map(|column| column.name).collect();
            let path = format!("/api/bindings/{}", part(call.vhost()));
            list(call, &BINDINGS, &default, &path)
        }),
        ..LISTS
    },
    Command {
        name: "list_channels",
        arguments: "[<column>...]",
        check: Some(|call| columns(call, &CHANNELS, &[]).map(drop)),
        about: "Lists the channels of all connections",
        example: "list_channels name prefetch_count messages_unacknowledged",
        banner: Some(|_| "Listing channels ...".to_owned()),
        run: Run::With(|call| {
            let default = ["pid", "user", "consumer_count", "messages_unacknowledged"];
            list(call, &CHANNELS, &default, "/api/channels")
        }),
        ..LISTS
    },
    Command {
        name: "list_connections",
        arguments: "[<column>...]",
        check: Some(|call| columns(call, &CONNECTIONS, &[]).map(drop)),
        about: "Lists the connections",
        example: "list_connections name user vhost state",
        banner: Some(|_| "Listing connections ...".to_owned()),
        run: Run::With(|call| {
            let default = ["user", "peer_host", "peer_port", "state"];
            list(call, &CONNECTIONS, &default, "/api/connections")
        }),
        ..LISTS
    },
    Command {
        name: "list_consumers",
        arguments: "[<column>...]",
        check: Some(|call| columns(call, &CONSUMERS, &[]).map(drop)),
        about: "Lists the consumers in a vhost",
        example: "list_consumers queue_name consumer_tag active",
        banner: Some(|call| format!("Listing consumers in vhost {} ...", call.vhost())),
        run: Run::With(|call| {
            let names = CONSUMERS.iter().map(|column| column.name);
            let default = names.filter(|name| *name != "activity_status");
            let path = format!("/api/consumers/{}", part(call.vhost()));
            list(call, &CONSUMERS, &default.collect::<Vec<_>>(), &path)
        }),
        ..LISTS
    },
    Command {
        name: "list_exchanges",
        arguments: "[<column>...]",
        check: Some(|call| columns(call, &EXCHANGES, &[]).map(drop)),
        about: "Lists the exchanges of a vhost",
        example: "list_exchanges name type durable policy",
        banner: Some(|call| format!("Listing exchanges for vhost {} ...", call.vhost())),
        run: Run::With(|call| {
            let path = format!("/api/exchanges/{}", part(call.vhost()));
            list(call, &EXCHANGES, &["name", "type"], &path)
        }),
        ..LISTS
    },
    Command {
        name: "list_queues",
        arguments: "[<column>...]",
        check: Some(|call| columns(call, &QUEUES, &[]).map(drop)),
        switches: &[
            Switch::flag("online", "Those that can be reached, which are all"),
            Switch::flag("offline", "Those that can't be reached, which are none"),
            Switch::flag("local", "Those of this node, which are all"),
        ],
        about: "Lists the queues of a vhost",
        example: "list_queues\nlist_queues -p v1 name messages consumers --formatter json",
        banner: Some(|call| {
            let seconds = call.options.timeout.unwrap_or(60);
            format!(
                "Timeout: {seconds}.0 seconds ...\nListing queues for vhost {} ...",
                call.vhost()
            )
        }),
        run: Run::With(|call| {
            let path = format!("/api/queues/{}", part(call.vhost()));
            if call.has("offline") && !call.has("online") {
                list(call, &QUEUES, &["name", "messages"], "")
            } else {
                list(call, &QUEUES, &["name", "messages"], &path)
            }
        }),
        ..LISTS
    },
    Command {
        name: "list_unresponsive_queues",
        arguments: "[<column>...]",
        check: Some(|call| columns(call, &QUEUES, &[]).map(drop)),
        switches: &[
            Switch::flag("local", "Those of this node, which are all"),
            Switch::value("queue-timeout", "seconds", "How long a queue may take to answer"),
        ],
        about: "Lists queues that don't answer, which all do once the broker does",
        example: "list_unresponsive_queues",
        banner: Some(|call| format!("Listing unresponsive queues for vhost {} ...", call.vhost())),
        run: Run::With(|call| {
            call.broker.get("/api/queues?columns=name")?;
            list(call, &QUEUES, &["name"], "")
        }),
        ..LISTS
    },
    Command {
        name: "list_vhosts",
        arguments: "[<column>...]",
        check: Some(|call| columns(call, &VHOSTS, &[]).map(drop)),
        about: "Lists the vhosts",
        example: "list_vhosts name default_queue_type tags",
        banner: Some(|_| "Listing vhosts ...".to_owned()),
        run: Run::With(|call| list(call, &VHOSTS, &["name"], "/api/vhosts")),
        ..LISTS
    },
];

/// A column by RabbitMQ's name for it, and where the API has it.
struct Column {
    name: &'static str,
    /// The way into the object; empty where Leveret has no such thing, and the column is.
    from: &'static str,
    form: Form,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    AsItIs,
    Arguments,
    /// The connection of this name.
    Connection,
    /// The channel: the object has the connection's name and the number.
    Channel,
}

const fn same(name: &'static str) -> Column {
    Column { name, from: name, form: Form::AsItIs }
}

const fn from(name: &'static str, from: &'static str) -> Column {
    Column { name, from, form: Form::AsItIs }
}

const fn as_form(name: &'static str, from: &'static str, form: Form) -> Column {
    Column { name, from, form }
}

static BINDINGS: [Column; 6] = [
    from("source_name", "source"),
    from("source_kind", "=exchange"),
    from("destination_name", "destination"),
    from("destination_kind", "destination_type"),
    same("routing_key"),
    as_form("arguments", "arguments", Form::Arguments),
];

static CHANNELS: [Column; 14] = [
    as_form("pid", "connection_details.name", Form::Channel),
    as_form("connection", "connection_details.name", Form::Connection),
    same("name"),
    same("number"),
    same("user"),
    same("vhost"),
    same("transactional"),
    same("confirm"),
    same("consumer_count"),
    same("messages_unacknowledged"),
    same("messages_uncommitted"),
    same("acks_uncommitted"),
    same("messages_unconfirmed"),
    same("prefetch_count"),
];

static CONNECTIONS: [Column; 33] = [
    as_form("pid", "name", Form::Connection),
    same("name"),
    same("port"),
    same("host"),
    same("peer_port"),
    same("peer_host"),
    same("ssl"),
    same("ssl_protocol"),
    same("ssl_key_exchange"),
    same("ssl_cipher"),
    same("ssl_hash"),
    same("peer_cert_subject"),
    same("peer_cert_issuer"),
    from("peer_cert_serial_number", ""),
    same("peer_cert_validity"),
    same("state"),
    same("channels"),
    same("protocol"),
    same("auth_mechanism"),
    same("user"),
    same("vhost"),
    from("container_id", ""),
    same("timeout"),
    same("frame_max"),
    same("channel_max"),
    as_form("client_properties", "client_properties", Form::Arguments),
    same("recv_oct"),
    same("recv_cnt"),
    same("send_oct"),
    same("send_cnt"),
    same("send_pend"),
    same("connected_at"),
    same("user_provided_name"),
];

static CONSUMERS: [Column; 8] = [
    from("queue_name", "queue.name"),
    as_form("channel_pid", "channel_details.connection_name", Form::Channel),
    same("consumer_tag"),
    same("ack_required"),
    same("prefetch_count"),
    same("active"),
    same("activity_status"),
    as_form("arguments", "arguments", Form::Arguments),
];

static EXCHANGES: [Column; 7] = [
    same("name"),
    same("type"),
    same("durable"),
    same("auto_delete"),
    same("internal"),
    as_form("arguments", "arguments", Form::Arguments),
    same("policy"),
];

static VHOSTS: [Column; 8] = [
    same("name"),
    same("description"),
    same("tags"),
    same("default_queue_type"),
    same("protected_from_deletion"),
    same("tracing"),
    same("cluster_state"),
    same("metadata"),
];

static QUEUES: [Column; 35] = [
    same("name"),
    same("durable"),
    same("auto_delete"),
    as_form("arguments", "arguments", Form::Arguments),
    same("policy"),
    same("operator_policy"),
    same("effective_policy_definition"),
    from("pid", ""),
    as_form("owner_pid", "owner_pid_details.name", Form::Connection),
    same("exclusive"),
    from("exclusive_consumer_pid", ""),
    same("exclusive_consumer_tag"),
    same("messages_ready"),
    same("messages_unacknowledged"),
    same("messages"),
    same("messages_ready_ram"),
    same("messages_unacknowledged_ram"),
    same("messages_ram"),
    same("messages_persistent"),
    same("message_bytes"),
    same("message_bytes_ready"),
    same("message_bytes_unacknowledged"),
    same("message_bytes_ram"),
    same("message_bytes_persistent"),
    same("head_message_timestamp"),
    from("disk_reads", ""),
    from("disk_writes", ""),
    same("consumers"),
    same("consumer_utilisation"),
    same("consumer_capacity"),
    same("memory"),
    same("state"),
    same("type"),
    same("leader"),
    same("members"),
];

/// What the API says only of queues it is asked for in detail.
const OF_DETAILED_QUEUES: [&str; 5] =
    ["owner_pid", "exclusive_consumer_tag", "head_message_timestamp", "leader", "members"];

/// A list with the columns of the command line, or these; of nothing if there is no path.
fn list(
    call: &Call,
    known: &'static [Column],
    default: &[&str],
    path: &str,
) -> Result<Output, Failure> {
    let wanted = columns(call, known, default)?;
    let mut rows = Rows::new(&wanted.iter().map(|column| column.name).collect::<Vec<_>>());
    if path.is_empty() {
        return Ok(rows.into());
    }
    let is_detailed = path.starts_with("/api/queues")
        && wanted.iter().any(|column| OF_DETAILED_QUEUES.contains(&column.name));
    let path = if is_detailed {
        format!("/api/queues/detailed?columns={}", fields(&wanted))
    } else {
        format!("{path}?columns={}", fields(&wanted))
    };
    // A vhost that isn't there has nothing in it.
    let found = call.broker.find(&path)?.unwrap_or_default();
    let has_pids = wanted.iter().any(|column| is_pid(column.form));
    let pids = if has_pids { call.broker.get("/control/pids")? } else { Value::Null };
    for item in found.as_array().into_iter().flatten() {
        if is_detailed && item.at("vhost") != call.vhost() {
            continue;
        }
        rows.rows.push(wanted.iter().map(|column| cell(column, item, &pids)).collect());
    }
    Ok(rows.into())
}

fn is_pid(form: Form) -> bool {
    matches!(form, Form::Connection | Form::Channel)
}

/// # Errors
/// 64 for a column there isn't.
fn columns(
    call: &Call,
    known: &'static [Column],
    default: &[&str],
) -> Result<Vec<&'static Column>, Failure> {
    let given = call.arguments.iter().flat_map(|argument| argument.split(','));
    let given: Vec<&str> = given.filter(|name| !name.is_empty()).collect();
    let names = if given.is_empty() { default } else { &given };
    let find = |name: &&str| known.iter().find(|column| column.name == *name);
    let unknown: BTreeSet<&str> =
        names.iter().filter(|name| find(name).is_none()).copied().collect();
    if unknown.is_empty() {
        return Ok(names.iter().filter_map(find).collect());
    }
    let unknown: Vec<&str> = unknown.into_iter().collect();
    Err(call.misused(USAGE, &format!("Info key(s) {} are not supported", unknown.join(","))))
}

/// What to ask the API for.
fn fields(columns: &[&Column]) -> String {
    let mut fields: Vec<&str> = vec!["vhost"];
    for column in columns {
        fields.push(column.from);
        if column.form == Form::Channel {
            fields.extend(["number", "channel_details.number"]);
        }
    }
    fields.retain(|field| !field.is_empty() && !field.starts_with('='));
    fields.join(",")
}

fn cell(column: &Column, item: &Value, pids: &Value) -> Cell {
    if let Some(text) = column.from.strip_prefix('=') {
        return Cell::Value(text.into());
    }
    let value = column.from.split('.').fold(item, |value, name| value.at(name));
    match column.form {
        Form::AsItIs => Cell::Value(value.clone()),
        Form::Arguments => match value {
            Value::Object(arguments) => Cell::Arguments(arguments.clone()),
            _ => Cell::Arguments(Map::new()),
        },
        Form::Connection => {
            Cell::Value(value.as_str().map_or(Value::Null, |name| pids.at(name).clone()))
        }
        Form::Channel => {
            let number =
                item.get("number").unwrap_or_else(|| item.at("channel_details").at("number"));
            let pid = value.as_str().and_then(|name| pids.at(name).as_str());
            // A connection's channel 0 is the connection.
            let pid = pid.and_then(|pid| pid.strip_suffix(".0>"));
            Cell::Value(pid.map_or(Value::Null, |pid| format!("{pid}.{number}>").into()))
        }
    }
}
