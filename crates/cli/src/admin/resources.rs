//! What can be listed, declared, deleted, and which words that takes.

use serde_json::Value;

use super::words::Words;
use super::{Body, misused, parsed};
use crate::failure::Failure;
use crate::http::part;

/// Something that is listed or shown.
pub(super) struct Listed {
    pub(super) name: &'static str,
    /// Behind `/api/`.
    pub(super) path: &'static str,
    /// Whether it can be had of one vhost.
    pub(super) is_of_vhost: bool,
    /// The columns that are shown unless somebody asks for others; none for all.
    pub(super) columns: &'static [&'static str],
    /// Columns whose objects stay whole.
    pub(super) in_json: &'static [&'static str],
}

const fn listed(name: &'static str, columns: &'static [&'static str]) -> Listed {
    Listed { name, path: name, is_of_vhost: false, columns, in_json: &[] }
}

const fn of_vhost(name: &'static str, columns: &'static [&'static str]) -> Listed {
    Listed { is_of_vhost: true, ..listed(name, columns) }
}

const fn in_json(
    name: &'static str,
    path: &'static str,
    column: &'static [&'static str],
) -> Listed {
    Listed { name, path, is_of_vhost: false, columns: &[], in_json: column }
}

pub(super) static LISTED: &[Listed] = &[
    listed("connections", &["name", "user", "channels"]),
    listed("channels", &["name", "user"]),
    of_vhost("consumers", &[]),
    of_vhost("exchanges", &["name", "type"]),
    of_vhost("queues", &["name", "messages"]),
    of_vhost("bindings", &["source", "destination", "routing_key"]),
    listed("users", &[]),
    listed("vhosts", &["name", "messages"]),
    listed("permissions", &[]),
    listed("nodes", &["name", "type", "mem_used"]),
    in_json("parameters", "parameters", &["value"]),
    in_json("global_parameters", "global-parameters", &["value"]),
    in_json("policies", "policies", &["definition"]),
    in_json("operator_policies", "operator-policies", &["definition"]),
    in_json("vhost_limits", "vhost-limits", &["value"]),
    in_json("user_limits", "user-limits", &["value"]),
    Listed { path: "feature-flags", ..listed("feature_flags", &["name", "state", "stability"]) },
    Listed {
        path: "deprecated-features",
        ..listed("deprecated_features", &["name", "deprecation_phase"])
    },
];

const OVERVIEW: &[&str] =
    &["rabbitmq_version", "cluster_name", "queue_totals.messages", "object_totals.queues"];

pub(super) static SHOWN: &[Listed] = &[
    listed("overview", OVERVIEW),
    Listed {
        path: "overview",
        ..listed(
            "churn",
            &[
                "churn_rates.connection_created",
                "churn_rates.connection_closed",
                "churn_rates.channel_created",
                "churn_rates.channel_closed",
                "churn_rates.queue_declared",
                "churn_rates.queue_created",
                "churn_rates.queue_deleted",
            ],
        )
    },
];

/// Something that is changed.
pub(super) struct Resource {
    pub(super) name: &'static str,
    /// Behind `/api`; parts in braces are filled in.
    path: &'static str,
    /// What has to be said; of names with a `|` between them, one.
    mandatory: &'static [&'static str],
    /// What may be said, and what is said otherwise; empty for nothing.
    optional: &'static [(&'static str, &'static str)],
    /// Values that are JSON.
    in_json: &'static [&'static str],
}

const fn resource(
    name: &'static str,
    path: &'static str,
    mandatory: &'static [&'static str],
) -> Resource {
    Resource { name, path, mandatory, optional: &[], in_json: &[] }
}

const BINDING: &str = "/bindings/{vhost}/e/{source}/{destination_char}/{destination}";
const ARGUMENTS: &[&str] = &["arguments"];
const POLICY: &[(&str, &str)] = &[("priority", "0"), ("apply-to", "")];
const IN_POLICY: &[&str] = &["definition", "priority"];

pub(super) static DECLARED: &[Resource] = &[
    Resource {
        optional: &[
            ("auto_delete", "false"),
            ("durable", "true"),
            ("internal", "false"),
            ("arguments", "{}"),
        ],
        in_json: ARGUMENTS,
        ..resource("exchange", "/exchanges/{vhost}/{name}", &["name", "type"])
    },
    Resource {
        optional: &[
            ("auto_delete", "false"),
            ("durable", "true"),
            ("arguments", "{}"),
            ("node", ""),
            ("queue_type", ""),
            ("type", ""),
        ],
        in_json: ARGUMENTS,
        ..resource("queue", "/queues/{vhost}/{name}", &["name"])
    },
    Resource {
        optional: &[
            ("durable", "true"),
            ("arguments", "{}"),
            ("queue_type", "stream"),
            ("expiration", ""),
            ("max_length_bytes", ""),
            ("max_segment_length_bytes", ""),
        ],
        in_json: &["arguments", "max_length_bytes", "max_segment_length_bytes"],
        ..resource("stream", "/queues/{vhost}/{name}", &["name"])
    },
    Resource {
        optional: &[("destination_type", "queue"), ("routing_key", ""), ("arguments", "{}")],
        in_json: ARGUMENTS,
        ..resource("binding", BINDING, &["source", "destination"])
    },
    Resource {
        optional: &[("tracing", ""), ("default_queue_type", ""), ("description", ""), ("tags", "")],
        ..resource("vhost", "/vhosts/{name}", &["name"])
    },
    Resource {
        optional: &[("hashing_algorithm", ""), ("tags", "")],
        ..resource("user", "/users/{name}", &["name", "password|password_hash"])
    },
    resource("permission", "/permissions/{vhost}/{user}", &["user", "configure", "write", "read"]),
    resource("permissions", "/permissions/{vhost}/{user}", &["user", "configure", "write", "read"]),
    Resource {
        in_json: &["value"],
        ..resource(
            "parameter",
            "/parameters/{component}/{vhost}/{name}",
            &["component", "name", "value"],
        )
    },
    Resource {
        in_json: &["value"],
        ..resource("global_parameter", "/global-parameters/{name}", &["name", "value"])
    },
    Resource {
        optional: POLICY,
        in_json: IN_POLICY,
        ..resource("policy", "/policies/{vhost}/{name}", &["name", "pattern", "definition"])
    },
    Resource {
        optional: POLICY,
        in_json: IN_POLICY,
        ..resource(
            "operator_policy",
            "/operator-policies/{vhost}/{name}",
            &["name", "pattern", "definition"],
        )
    },
    Resource {
        in_json: &["value"],
        ..resource("vhost_limit", "/vhost-limits/{vhost}/{name}", &["name", "value"])
    },
    Resource {
        in_json: &["value"],
        ..resource("user_limit", "/user-limits/{user}/{name}", &["user", "name", "value"])
    },
];

pub(super) static DELETED: &[Resource] = &[
    resource("exchange", "/exchanges/{vhost}/{name}", &["name"]),
    resource("queue", "/queues/{vhost}/{name}", &["name"]),
    resource("stream", "/queues/{vhost}/{name}", &["name"]),
    Resource {
        optional: &[("properties_key", "~"), ("destination_type", "queue")],
        ..resource(
            "binding",
            "/bindings/{vhost}/e/{source}/{destination_char}/{destination}/{properties_key}",
            &["source", "destination"],
        )
    },
    resource("vhost", "/vhosts/{name}", &["name"]),
    resource("user", "/users/{name}", &["name"]),
    resource("permission", "/permissions/{vhost}/{user}", &["user"]),
    resource("permissions", "/permissions/{vhost}/{user}", &["user"]),
    resource("parameter", "/parameters/{component}/{vhost}/{name}", &["component", "name"]),
    resource("global_parameter", "/global-parameters/{name}", &["name"]),
    resource("policy", "/policies/{vhost}/{name}", &["name"]),
    resource("operator_policy", "/operator-policies/{vhost}/{name}", &["name"]),
    resource("vhost_limit", "/vhost-limits/{vhost}/{name}", &["name"]),
    resource("user_limit", "/user-limits/{user}/{name}", &["user", "name"]),
];

pub(super) static CLOSED: &[Resource] = &[
    resource("connection", "/connections/{name}", &["name"]),
    resource("user_connections", "/connections/username/{username}", &["username"]),
];

pub(super) static PURGED: &[Resource] =
    &[resource("queue", "/queues/{vhost}/{name}/contents", &["name"])];

pub(super) static PUBLISH: Resource = Resource {
    optional: &[
        ("payload", ""),
        ("properties", "{}"),
        ("exchange", "amq.default"),
        ("payload_encoding", "string"),
    ],
    in_json: &["properties"],
    ..resource("publish", "/exchanges/{vhost}/{exchange}/publish", &["routing_key"])
};

pub(super) static GET: Resource = Resource {
    optional: &[
        ("count", "1"),
        ("ackmode", "ack_requeue_true"),
        ("payload_file", ""),
        ("encoding", "auto"),
    ],
    ..resource("get", "/queues/{vhost}/{queue}/get", &["queue"])
};

/// Words that say how, not what.
const HOW: [&str; 3] = ["vhost", "idempotently", "columns"];

impl Resource {
    /// What the words say.
    ///
    /// # Errors
    /// When something is missing or not known.
    pub(super) fn read(&self, words: &Words) -> Result<Body, Failure> {
        if let Some(word) = words.plain.first() {
            return Err(misused(&format!("Argument \"{word}\" not in the name=value format")));
        }
        let mut body = Body::new();
        for (name, value) in self.optional.iter().filter(|(_, value)| !value.is_empty()) {
            body.insert((*name).to_owned(), self.value(name, value)?);
        }
        for (name, value) in words.named() {
            let mut mandatory = self.mandatory.iter().flat_map(|names| names.split('|'));
            let is_known = mandatory.any(|own| own == name)
                || self.optional.iter().any(|(own, _)| *own == name)
                || HOW.contains(&name);
            if !is_known {
                return Err(misused(&format!("Argument \"{name}\" is not recognised")));
            }
            if name != "idempotently" {
                body.insert(name.to_owned(), self.value(name, value)?);
            }
        }
        for names in self.mandatory {
            if !names.split('|').any(|name| body.contains_key(name)) {
                return Err(misused(&format!("mandatory argument \"{names}\" is required")));
            }
        }
        if self.name == "binding" && !body.contains_key("routing_key") && self.path == BINDING {
            body.insert("routing_key".to_owned(), "".into());
        }
        if self.name == "user" && !body.contains_key("tags") {
            body.insert("tags".to_owned(), "".into());
        }
        Ok(body)
    }

    fn value(&self, name: &str, text: &str) -> Result<Value, Failure> {
        if self.in_json.contains(&name) { parsed(text) } else { Ok(text.into()) }
    }

    /// # Errors
    /// When a part of it is an empty name.
    pub(super) fn path(&self, body: &Body) -> Result<String, Failure> {
        let mut path = String::new();
        let mut rest = self.path;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').unwrap_or((behind, ""));
            let value = match name {
                "destination_char" => {
                    let kind = body.get("destination_type").and_then(Value::as_str);
                    kind.and_then(|kind| kind.get(..1)).unwrap_or_default()
                }
                name => body.get(name).and_then(Value::as_str).unwrap_or_default(),
            };
            if value.is_empty() {
                return Err(misused(&format!("mandatory argument \"{name}\" is required")));
            }
            // The key of a binding's properties is encoded as it is given.
            path += before;
            path += &part(value);
            rest = behind;
        }
        Ok(path + rest)
    }
}

/// Brings what was said into the API's form.
pub(super) fn finish(body: &mut Body) {
    let kind = body.remove("queue_type").or_else(|| match body.contains_key("durable") {
        // An exchange has a type of its own.
        true if !body.contains_key("internal") => body.remove("type"),
        _ => None,
    });
    let mut arguments = Body::new();
    arguments.extend(kind.map(|kind| ("x-queue-type".to_owned(), kind)));
    for (name, argument) in [
        ("expiration", "x-max-age"),
        ("max_length_bytes", "x-max-length-bytes"),
        ("max_segment_length_bytes", "x-stream-max-segment-size-bytes"),
    ] {
        arguments.extend(body.remove(name).map(|value| (argument.to_owned(), value)));
    }
    if let Some(Value::Object(own)) = body.get_mut("arguments") {
        own.extend(arguments);
    }
    for name in ["durable", "auto_delete", "internal", "tracing"] {
        if let Some(value) = body.get_mut(name)
            && let Some(text) = value.as_str()
            && let Ok(flag) = text.parse::<bool>()
        {
            *value = flag.into();
        }
    }
}
