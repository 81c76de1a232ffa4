//! `/api/feature-flags` and `/api/deprecated-features`.
//!
//! Tools ask whether a flag is enabled before they use what came with it. What Leveret does is
//! always on.

use serde_json::{Value, json};

use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;
use crate::list::{self, Field};

/// RabbitMQ's flags for what is there, with who provides it and what it is.
const FLAGS: &[(&str, &str, &str)] = &[
    ("detailed_queues_endpoint", "rabbitmq_management", "GET /api/queues/detailed"),
    ("drop_unroutable_metric", "rabbitmq_management_agent", "Count unroutable messages"),
    ("empty_basic_get_metric", "rabbitmq_management_agent", "Count fetches from empty queues"),
    ("implicit_default_bindings", "rabbit", "Default bindings are implicit"),
    ("quorum_queue", "rabbit", "Quorum queues"),
    ("user_limits", "rabbit", "Limits of users"),
    ("virtual_host_metadata", "rabbit", "Descriptions and tags of vhosts"),
];

const FIELDS: &[Field<(&str, &str, &str)>] = &[
    ("callbacks", |_| Some(json!([]))),
    ("desc", |(.., description)| Some((*description).into())),
    ("doc_url", |_| Some("".into())),
    ("experiment_level", |_| Some("supported".into())),
    ("name", |(name, ..)| Some((*name).into())),
    ("provided_by", |(_, provider, _)| Some((*provider).into())),
    ("require_level", |_| Some("hard".into())),
    ("stability", |_| Some("required".into())),
    ("state", |_| Some("enabled".into())),
];

pub(crate) fn flags(call: &Call) -> Outcome {
    Ok(list::whole_list(call, FLAGS, FIELDS))
}

/// All there are are enabled.
pub(crate) fn enable(call: &Call) -> Outcome {
    let name = call.part("name");
    let is_there = name == "all" || FLAGS.iter().any(|(own, ..)| *own == name);
    if is_there { Ok(Answer::done()) } else { Err(Failure::bad_request("unsupported")) }
}

/// What RabbitMQ takes back, and Leveret still takes.
const DEPRECATED: &[&str] = &["global_qos", "transient_nonexcl_queues"];

pub(crate) fn deprecated(_: &Call) -> Outcome {
    let all = DEPRECATED.iter().map(|name| {
        json!({
            "name": name,
            "deprecation_phase": "permitted_by_default",
            "desc": "",
            "doc_url": "",
            "provided_by": "rabbit",
            "state": "permitted",
        })
    });
    Ok(Answer::json(&all.collect()))
}

/// Nobody keeps score of it.
pub(crate) fn deprecated_used(_: &Call) -> Outcome {
    Ok(Answer::json(&Value::Array(Vec::new())))
}
