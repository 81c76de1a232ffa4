//! `/api/nodes`, `/api/cluster-name` and what acts on the node.

use std::fs;

use leveret_broker::access::{Entrance, LoginAttempts};
use leveret_broker::{AlarmStatus, Resource};
use serde_json::{Map, Value, json};

use super::overview;
use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;
use crate::list::{self, Field};

pub(crate) fn cluster_name(call: &Call) -> Outcome {
    Ok(Answer::json(&json!({ "name": call.node.cluster_name() })))
}

const FIELDS: &[Field<Call>] = &[
    ("applications", |_| {
        let about = "A message broker that speaks AMQP 0-9-1 as RabbitMQ does";
        let version = env!("CARGO_PKG_VERSION");
        Some(json!([{ "name": "leveret", "description": about, "version": version }]))
    }),
    ("auth_mechanisms", |_| {
        let names = ["PLAIN", "AMQPLAIN"];
        let all = names.map(|name| json!({ "name": name, "description": "", "enabled": true }));
        Some(Value::Array(all.into()))
    }),
    ("being_drained", |_| Some(false.into())),
    ("cluster_links", |_| Some(json!([]))),
    ("config_files", |_| Some(json!([]))),
    ("contexts", |_| Some(json!([]))),
    ("crypto_lib_version", |_| Some("none".into())),
    ("db_dir", |call| Some(data_dir(call).into())),
    ("disk_free", |call| Some(alarm(call, Resource::Disk).bytes.unwrap_or_default().into())),
    ("disk_free_alarm", |call| Some(alarm(call, Resource::Disk).is_set.into())),
    ("disk_free_limit", |call| Some(alarm(call, Resource::Disk).limit.unwrap_or_default().into())),
    ("enabled_plugins", |_| Some(json!(["rabbitmq_management"]))),
    ("exchange_types", |_| Some(overview::exchange_types())),
    ("fd_total", |_| Some(fd_total().into())),
    ("fd_used", |_| Some(fd_used().into())),
    ("log_files", |_| Some(json!(["<stdout>"]))),
    ("mem_alarm", |call| Some(alarm(call, Resource::Memory).is_set.into())),
    ("mem_calculation_strategy", |_| Some("rss".into())),
    ("mem_limit", |call| Some(alarm(call, Resource::Memory).limit.unwrap_or_default().into())),
    ("mem_used", |_| Some(memory_used().into())),
    ("name", |call| Some(call.node.name.as_str().into())),
    ("os_pid", |_| Some(std::process::id().to_string().into())),
    ("partitions", |_| Some(json!([]))),
    ("proc_total", |_| Some(0.into())),
    ("proc_used", |_| Some(0.into())),
    ("processors", |_| Some(processors().into())),
    ("rates_mode", |_| Some("basic".into())),
    ("run_queue", |_| Some(0.into())),
    ("running", |_| Some(true.into())),
    ("sockets_total", |_| Some(0.into())),
    ("sockets_used", |call| Some(call.broker().connections().len().into())),
    ("type", |_| Some("disc".into())),
    ("uptime", |call| {
        Some(u64::try_from(call.node.started.elapsed().as_millis()).unwrap_or(u64::MAX).into())
    }),
];

pub(crate) fn list(call: &Call) -> Outcome {
    let node = list::to_json(call, call, &fields(call));
    Ok(Answer::json(&json!([node])))
}

pub(crate) fn show(call: &Call) -> Outcome {
    check_name(call)?;
    Ok(Answer::json(&list::to_json(call, call, &fields(call))))
}

fn fields(_: &Call) -> Vec<Field<Call>> {
    let churn: [Field<Call>; 7] = [
        ("channel_closed", |call| churn(call, "channel_closed")),
        ("channel_created", |call| churn(call, "channel_created")),
        ("connection_closed", |call| churn(call, "connection_closed")),
        ("connection_created", |call| churn(call, "connection_created")),
        ("queue_created", |call| churn(call, "queue_created")),
        ("queue_declared", |call| churn(call, "queue_declared")),
        ("queue_deleted", |call| churn(call, "queue_deleted")),
    ];
    FIELDS.iter().copied().chain(churn).collect()
}

/// What the memory goes to is not told apart: all of it is the process's.
pub(crate) fn memory(call: &Call) -> Outcome {
    check_name(call)?;
    let used = memory_used();
    let mut memory: Map<String, Value> =
        NO_MEMORY.iter().map(|name| ((*name).to_owned(), 0.into())).collect();
    memory.insert("other_system".to_owned(), used.into());
    memory.insert("strategy".to_owned(), "rss".into());
    let total = json!({ "allocated": used, "erlang": 0, "rss": used });
    memory.insert("total".to_owned(), total);
    Ok(Answer::json(&json!({ "memory": memory })))
}

/// RabbitMQ's other names for what memory goes to: clients refuse an answer without them.
const NO_MEMORY: [&str; 24] = [
    "allocated_unused",
    "atom",
    "binary",
    "code",
    "connection_channels",
    "connection_other",
    "connection_readers",
    "connection_writers",
    "metadata_store",
    "metadata_store_ets",
    "metrics",
    "mgmt_db",
    "mnesia",
    "msg_index",
    "other_ets",
    "other_proc",
    "plugins",
    "queue_procs",
    "quorum_ets",
    "quorum_queue_procs",
    "reserved_unallocated",
    "stream_queue_coordinator_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
];

/// As [`memory`], in percent.
pub(crate) fn memory_relative(call: &Call) -> Outcome {
    check_name(call)?;
    Ok(Answer::json(&json!({ "memory": { "other_system": 100, "total": 100 } })))
}

/// The settings in force, as a configuration file.
pub(crate) fn effective_config(call: &Call) -> Outcome {
    Ok(Answer::text("text/plain", call.node.config().to_toml()))
}

pub(crate) fn auth_attempts(call: &Call) -> Outcome {
    check_name(call)?;
    let all = Entrance::ALL.map(|entrance| {
        let LoginAttempts { succeeded, failed, .. } = call.broker().access().attempts(entrance);
        json!({
            "protocol": entrance.name(),
            "auth_attempts": succeeded + failed,
            "auth_attempts_failed": failed,
            "auth_attempts_succeeded": succeeded,
        })
    });
    Ok(Answer::json(&Value::Array(all.into())))
}

/// Where logins come from is not counted, as in RabbitMQ unless it is switched on.
pub(crate) fn auth_attempts_by_source(call: &Call) -> Outcome {
    check_name(call)?;
    Ok(Answer::json(&json!([])))
}

pub(crate) fn reset_auth_attempts(call: &Call) -> Outcome {
    check_name(call)?;
    call.broker().access().reset_attempts();
    Ok(Answer::done())
}

fn alarm(call: &Call, resource: Resource) -> AlarmStatus {
    call.broker().alarms().status(resource)
}

fn churn(call: &Call, name: &str) -> Option<Value> {
    let values = overview::churn_reading(&call.broker().churn());
    let (_, index) = overview::CHURN.iter().find(|(own, _)| *own == name)?;
    values.get(*index).map(|value| (*value).into())
}

/// Forgets what rates are made of.
pub(crate) fn reset(call: &Call) -> Outcome {
    if !call.part("node").is_empty() {
        check_name(call)?;
    }
    call.node.rates.reset();
    Ok(Answer::done())
}

/// The only node has all queues already.
pub(crate) fn rebalance(_: &Call) -> Outcome {
    Ok(Answer::done())
}

/// # Errors
/// 404 for a node that is not this one.
pub(crate) fn check_name(call: &Call) -> Result<(), Failure> {
    if call.part("node") == call.node.name { Ok(()) } else { Err(Failure::NotFound) }
}

fn data_dir(call: &Call) -> String {
    use leveret_server::config::Storage;
    match &call.node.config().storage {
        Storage::Directory(directory) => directory.to_string_lossy().into_owned(),
        Storage::Ephemeral => String::new(),
    }
}

/// Physical memory in bytes, as the system counts it.
pub(crate) fn memory_used() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// Open descriptors.
pub(crate) fn fd_used() -> usize {
    // One of them is the directory's.
    fs::read_dir("/proc/self/fd").map(|all| all.count().saturating_sub(1)).unwrap_or_default()
}

/// Descriptors that may be open; 0 where there is no limit.
pub(crate) fn fd_total() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or_default()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
