//! Metrics of the node: its resources, its alarms, its churn, its journal.

use leveret_broker::access::Entrance;
use leveret_broker::{AlarmStatus, Resource};
use leveret_server::{Budgets, panics};

use super::exposition::{Exposition, Kind};
use crate::api::node::{fd_total, fd_used, memory_used};
use crate::call::Call;

/// Metrics that are asked for together, by RabbitMQ's name for them.
type Family = (&'static str, fn(&Call, &mut Exposition));

const FAMILIES: &[Family] = &[
    ("connection_churn_metrics", churn),
    ("node_coarse_metrics", resources),
    ("node_metrics", limits),
    ("auth_attempt_metrics", logins),
];

/// Nanoseconds of a second.
const NANOS: f64 = 1e9;

/// All of the node.
pub(super) fn write(call: &Call, endpoint: &str, out: &mut Exposition) {
    for (_, write) in FAMILIES {
        write(call, out);
    }
    alarms(call, out);
    journal(call, out);
    dead_letters(call, out);
    admissions(call, out);
    write_identity(call, endpoint, out);
}

/// The families that are wanted.
pub(super) fn write_families(call: &Call, wanted: &[&str], out: &mut Exposition) {
    for (_, write) in FAMILIES.iter().filter(|(name, _)| wanted.contains(name)) {
        write(call, out);
    }
}

/// Who this is: dashboards join everything with it.
pub(super) fn write_identity(call: &Call, endpoint: &str, out: &mut Exposition) {
    let node = &call.node;
    let (name, help) = ("rabbitmq_build_info", "RabbitMQ & Erlang/OTP version info");
    let version = node.version();
    let labels = [
        ("rabbitmq_version", version),
        ("prometheus_plugin_version", version),
        ("prometheus_client_version", "none"),
        ("erlang_version", "none"),
        ("leveret_version", env!("CARGO_PKG_VERSION")),
    ];
    out.metric_named(name, Kind::Untyped, help);
    out.sample_named(name, &labels, 1);
    let (name, help) = ("rabbitmq_identity_info", "RabbitMQ node & cluster identity info");
    let (cluster, id) = (node.cluster_name(), node.broker.cluster_id());
    let labels = [
        ("rabbitmq_node", node.name.as_str()),
        ("rabbitmq_cluster", &cluster),
        ("rabbitmq_cluster_permanent_id", &id),
        ("rabbitmq_endpoint", endpoint),
    ];
    out.metric_named(name, Kind::Untyped, help);
    out.sample_named(name, &labels, 1);
}

pub(super) fn write_memory(out: &mut Exposition) {
    out.single("memory_other_system_bytes", Kind::Gauge, "Memory of the process", memory_used());
}

fn churn(call: &Call, out: &mut Exposition) {
    let churn = call.broker().churn();
    let all = [
        (
            "connections_opened_total",
            "Total number of connections opened",
            churn.connections_opened,
        ),
        (
            "connections_closed_total",
            "Total number of connections closed or terminated",
            churn.connections_closed,
        ),
        ("channels_opened_total", "Total number of channels opened", churn.channels_opened),
        ("channels_closed_total", "Total number of channels closed", churn.channels_closed),
        ("queues_declared_total", "Total number of queues declared", churn.queues_declared),
        ("queues_created_total", "Total number of queues created", churn.queues_created),
        ("queues_deleted_total", "Total number of queues deleted", churn.queues_deleted),
    ];
    for (name, help, value) in all {
        out.single(name, Kind::Counter, help, value);
    }
}

fn resources(call: &Call, out: &mut Exposition) {
    let AlarmStatus { bytes: disk_free, .. } = call.broker().alarms().status(Resource::Disk);
    out.single("process_open_fds", Kind::Gauge, "Open file descriptors", fd_used());
    let (name, help) = ("process_resident_memory_bytes", "Memory used in bytes");
    out.single(name, Kind::Gauge, help, memory_used());
    let (name, help) = ("disk_space_available_bytes", "Disk space available in bytes");
    out.single(name, Kind::Gauge, help, disk_free.unwrap_or_default());
    let (name, help) = ("process_open_tcp_sockets", "Open TCP sockets");
    out.single(name, Kind::Gauge, help, call.broker().connections().len());
}

fn limits(call: &Call, out: &mut Exposition) {
    let alarms = call.broker().alarms();
    let limit = |resource| alarms.status(resource).limit.unwrap_or_default();
    out.single("process_max_fds", Kind::Gauge, "Open file descriptors limit", fd_total());
    let (name, help) = ("resident_memory_limit_bytes", "Memory high watermark in bytes");
    out.single(name, Kind::Gauge, help, limit(Resource::Memory));
    let (name, help) =
        ("disk_space_available_limit_bytes", "Free disk space low watermark in bytes");
    out.single(name, Kind::Gauge, help, limit(Resource::Disk));
    let (name, help) = ("erlang_uptime_seconds", "Node uptime");
    out.single(name, Kind::Gauge, help, call.node.started.elapsed().as_secs_f64());
}

fn logins(call: &Call, out: &mut Exposition) {
    let access = call.broker().access();
    let all = Entrance::ALL.map(|entrance| (entrance.name(), access.attempts(entrance)));
    let name = "auth_attempts_total";
    out.metric(name, Kind::Counter, "Total number of authorization attempts");
    for (protocol, attempts) in all {
        let sum = attempts.succeeded + attempts.failed;
        out.sample(name, &[("protocol", protocol)], sum);
    }
    let name = "auth_attempts_succeeded_total";
    out.metric(name, Kind::Counter, "Total number of successful authentication attempts");
    for (protocol, attempts) in all {
        out.sample(name, &[("protocol", protocol)], attempts.succeeded);
    }
    let name = "auth_attempts_failed_total";
    out.metric(name, Kind::Counter, "Total number of failed authentication attempts");
    for (protocol, attempts) in all {
        out.sample(name, &[("protocol", protocol)], attempts.failed);
    }
    let name = "leveret_logins_throttled_total";
    let help = "Logins that were not looked at, after too many wrong passwords";
    out.metric_named(name, Kind::Counter, help);
    for (protocol, attempts) in all {
        out.sample_named(name, &[("protocol", protocol)], attempts.throttled);
    }
}

fn alarms(call: &Call, out: &mut Exposition) {
    let shortage = call.broker().alarms().shortage();
    let all = [
        ("alarms_file_descriptor_limit", "is 1 if file descriptor limit alarm is in effect", false),
        (
            "alarms_free_disk_space_watermark",
            "is 1 if free disk space watermark alarm is in effect",
            shortage.has(Resource::Disk),
        ),
        (
            "alarms_memory_used_watermark",
            "is 1 if VM memory watermark alarm is in effect",
            shortage.has(Resource::Memory),
        ),
    ];
    for (name, help, is_set) in all {
        out.single(name, Kind::Gauge, help, u8::from(is_set));
    }
    let (name, help) = ("unreachable_cluster_peers_count", "Number of peers unreachable");
    out.single(name, Kind::Gauge, help, 0);
}

/// What RabbitMQ has no names for.
fn journal(call: &Call, out: &mut Exposition) {
    let stats = call.broker().store().stats();
    let counters = [
        ("leveret_journal_writes_total", "Writes to the journal", stats.writes),
        ("leveret_journal_records_total", "Records written to the journal", stats.records),
        ("leveret_journal_bytes_total", "Bytes written to the journal", stats.bytes),
    ];
    for (name, help, value) in counters {
        out.metric_named(name, Kind::Counter, help);
        out.sample_named(name, &[], value);
    }
    let syncs = call.broker().store().syncs();
    let name = "leveret_journal_sync_seconds";
    out.metric_named(name, Kind::Histogram, "How long syncs of the journal take");
    out.distribution(name, &syncs.nanos, NANOS);
    let name = "leveret_journal_sync_records";
    out.metric_named(name, Kind::Histogram, "Records that a sync of the journal makes durable");
    out.distribution(name, &syncs.records, 1.0);
    let gauges = [
        ("leveret_journal_segments", "Segments of the journal in use", stats.segments),
        ("leveret_journal_segment_bytes", "Bytes of the segments in use", stats.segment_bytes),
        ("leveret_journal_live_bytes", "Bytes of the unsettled messages in it", stats.live_bytes),
    ];
    for (name, help, value) in gauges {
        out.metric_named(name, Kind::Gauge, help);
        out.sample_named(name, &[], value);
    }
}

/// Connections that have not opened, those that were turned away, and what else has a limit.
fn admissions(call: &Call, out: &mut Exposition) {
    let counts = call.node.admission.counts();
    let name = "leveret_connections_in_handshake";
    out.metric_named(name, Kind::Gauge, "Connections that have not opened yet");
    out.sample_named(name, &[], counts.guests);
    let name = "leveret_connections_refused_total";
    out.metric_named(name, Kind::Counter, "Connections that were turned away, by the limit");
    let refused = [
        ("handshake_max", counts.refused_guests),
        ("connection_max_per_address", counts.refused_addresses),
        ("descriptors", counts.refused_descriptors),
    ];
    for (limit, count) in refused {
        out.sample_named(name, &[("limit", limit)], count);
    }
    let Budgets { unfinished, uncommitted, unread, requests } = &call.node.budgets;
    let name = "leveret_unfinished_message_bytes";
    out.metric_named(name, Kind::Gauge, "Bytes of messages that have come in part");
    out.sample_named(name, &[], unfinished.taken());
    let name = "leveret_uncommitted_bytes";
    let help = "Bytes that transactions hold until they are committed, about";
    out.metric_named(name, Kind::Gauge, help);
    out.sample_named(name, &[], uncommitted.taken());
    let name = "leveret_unread_bytes";
    out.metric_named(name, Kind::Gauge, "Bytes that clients have not read, about");
    out.sample_named(name, &[], unread.taken());
    let name = "leveret_http_request_bytes";
    let help = "Bytes that requests over HTTP have brought, what is made of them, and answers that have not left, about: of one that is longer than web.memory_max only that";
    out.metric_named(name, Kind::Gauge, help);
    out.sample_named(name, &[], requests.taken());
    let name = "leveret_message_memory_bytes";
    let help = "Bytes that messages take in memory, ready, not yet acknowledged or waiting to be dead-lettered, about";
    out.metric_named(name, Kind::Gauge, help);
    out.sample_named(name, &[], call.broker().message_memory());
    let name = "leveret_deduplication_bytes";
    let help = "Bytes of what exchanges and queues remember to drop what was seen before";
    out.metric_named(name, Kind::Gauge, help);
    out.sample_named(name, &[], call.broker().remembered_memory());
    let name = "leveret_deduplication_forgotten_total";
    let help = "Values that were to be remembered and are not, for lack of memory";
    out.metric_named(name, Kind::Counter, help);
    out.sample_named(name, &[], call.broker().forgotten_values());
    let name = "leveret_panics_total";
    out.metric_named(name, Kind::Counter, "Mistakes in the broker that ended a task");
    out.sample_named(name, &[], panics());
    let name = "leveret_http_requests_refused_total";
    out.metric_named(name, Kind::Counter, "Requests that exceeded web.request_rate");
    out.sample_named(name, &[], call.node.request_rate.refused());
    let name = "leveret_http_connections_refused_total";
    let help = "Connections over HTTP that made room for others, or found none";
    out.metric_named(name, Kind::Counter, help);
    out.sample_named(name, &[], call.node.turned_away.counted());
}

/// Dead letters are not counted by the type of their queue.
fn dead_letters(call: &Call, out: &mut Exposition) {
    let counts = call.broker().dead_letter_counts();
    let (lettered, discarded) = (counts.dead_lettered, counts.discarded);
    let reasons = [
        ("maxlen", "exceeding the length limit", lettered.max_length, discarded.max_length),
        ("expired", "their expiry", lettered.expired, discarded.expired),
        ("rejected", "their rejection", lettered.rejected, discarded.rejected),
        (
            "delivery_limit",
            "exceeding the delivery limit",
            lettered.delivery_limit,
            discarded.delivery_limit,
        ),
    ];
    for (reason, help, lettered, discarded) in reasons {
        let name = format!("global_messages_dead_lettered_{reason}_total");
        let help = format!("Total number of messages dead-lettered due to {help}");
        out.metric(&name, Kind::Counter, &help);
        out.sample(&name, &[("dead_letter_strategy", "enabled")], lettered);
        out.sample(&name, &[("dead_letter_strategy", "disabled")], discarded);
    }
    let extras = [
        ("leveret_dead_letters_unroutable_total", "Dead letters no queue took", counts.unroutable),
        ("leveret_dead_letters_kept_total", "Dead letters kept to be tried again", counts.kept),
    ];
    for (name, help, value) in extras {
        out.metric_named(name, Kind::Counter, help);
        out.sample_named(name, &[], value);
    }
}
