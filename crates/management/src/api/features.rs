//! `/api/feature-flags` and `/api/deprecated-features`.
//!
//! Tools ask whether a flag is enabled before they use what came with it. What Leveret does is
//! always on.

use leveret_broker::DeprecatedFeature;
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
    ("stream_filtering", "rabbit", "Streams are filtered by the broker"),
    ("stream_queue", "rabbit", "Streams"),
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
    list::whole_list(call, FLAGS, FIELDS)
}

/// All there are are enabled.
pub(crate) fn enable(call: &Call) -> Outcome {
    let name = call.part("name");
    let is_there = name == "all" || FLAGS.iter().any(|(own, ..)| *own == name);
    if is_there { Ok(Answer::done()) } else { Err(Failure::bad_request("unsupported")) }
}

/// What RabbitMQ takes back, and Leveret still takes.
pub(crate) fn deprecated(_: &Call) -> Outcome {
    Ok(Answer::json(&DeprecatedFeature::ALL.into_iter().map(deprecated_json).collect()))
}

/// Those in use since the broker started.
pub(crate) fn deprecated_used(call: &Call) -> Outcome {
    let deprecated = call.broker().deprecated();
    let used = DeprecatedFeature::ALL.into_iter().filter(|feature| deprecated.is_used(*feature));
    Ok(Answer::json(&used.map(deprecated_json).collect()))
}

fn deprecated_json(feature: DeprecatedFeature) -> Value {
    json!({
        "name": feature.name(),
        "deprecation_phase": "permitted_by_default",
        "desc": feature.description(),
        "doc_url": "",
        "provided_by": "rabbit",
        "state": "permitted",
    })
}
