//! The words behind the options: a verb, what it is done to, and how.

use std::collections::BTreeMap;

/// `declare queue name=q`, however it was said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) verb: String,
    /// In the singular, except for what is listed.
    pub(super) object: String,
    /// Values by name.
    named: BTreeMap<String, String>,
    /// Words that are neither.
    pub(super) plain: Vec<String>,
    /// Whether they are version 2's.
    pub(super) is_version_2: bool,
}

/// What version 2 calls what it has, its name in version 1, and that of one of them.
const GROUPS: [(&str, &str, &str); 20] = [
    ("bindings", "bindings", "binding"),
    ("channels", "channels", "channel"),
    ("connections", "connections", "connection"),
    ("consumers", "consumers", "consumer"),
    ("exchanges", "exchanges", "exchange"),
    ("feature_flags", "feature_flags", "feature_flag"),
    ("deprecated_features", "deprecated_features", "deprecated_feature"),
    ("global_parameters", "global_parameters", "global_parameter"),
    ("nodes", "nodes", "node"),
    ("operator_policies", "operator_policies", "operator_policy"),
    ("parameters", "parameters", "parameter"),
    ("permissions", "permissions", "permission"),
    ("policies", "policies", "policy"),
    ("queues", "queues", "queue"),
    ("streams", "queues", "stream"),
    ("user_limits", "user_limits", "user_limit"),
    ("users", "users", "user"),
    ("vhost_limits", "vhost_limits", "vhost_limit"),
    ("vhosts", "vhosts", "vhost"),
    ("messages", "messages", "message"),
];

impl Words {
    pub(super) fn read(words: &[String]) -> Self {
        let mut read = Self::default();
        let mut words = words.iter().map(String::as_str).peekable();
        let first = words.next().unwrap_or_default();
        let is_word = |word: &&str| !word.starts_with('-') && !word.contains('=');
        let group = GROUPS.iter().find(|(name, ..)| *name == first);
        match (first, group) {
            ("definitions", _) => {
                read.verb = words.next().unwrap_or_default().to_owned();
                read.is_version_2 = true;
            }
            ("health_check", _) => {
                read.verb = "check".to_owned();
                read.object = words.next().unwrap_or_default().to_owned();
            }
            ("passwords", _) => read.verb = words.next().unwrap_or_default().to_owned(),
            (_, Some((_, all, one))) => {
                read.verb = words.next().unwrap_or_default().to_owned();
                read.object = if read.verb == "list" { all } else { one }.to_string();
                read.is_version_2 = true;
            }
            (verb, None) => {
                read.verb = verb.to_owned();
                let has_object =
                    ["list", "show", "declare", "delete", "close", "purge", "publish", "get"];
                if has_object.contains(&verb)
                    && let Some(object) = words.next_if(is_word)
                {
                    read.object = object.to_owned();
                }
            }
        }
        while let Some(word) = words.next() {
            if let Some(name) = word.strip_prefix("--") {
                read.is_version_2 = true;
                let (name, value) = match name.split_once('=') {
                    Some((name, value)) => (name, value),
                    None => (name, words.next_if(|next| !next.starts_with("--")).unwrap_or("true")),
                };
                read.named.insert(renamed(name), value.to_owned());
            } else if let Some((name, value)) = word.split_once('=') {
                read.named.insert(name.to_owned(), value.to_owned());
            } else {
                read.plain.push(word.to_owned());
            }
        }
        read
    }

    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.named.get(name).cloned()
    }

    pub(super) fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Version 1's name for an option of version 2.
fn renamed(name: &str) -> String {
    match name {
        "apply-to" => "apply-to".to_owned(),
        "ack-mode" => "ackmode".to_owned(),
        other => other.replace('-', "_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Words {
        Words::read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn both_versions_say_the_same() {
        let old = read("declare queue name=q durable=true");
        let new = read("queues declare --name q --durable true");
        let mixed = read("declare queue --name=q --durable true");
        assert_eq!((old.verb.as_str(), old.object.as_str()), ("declare", "queue"));
        for other in [&new, &mixed] {
            assert_eq!((&other.verb, &other.object), (&old.verb, &old.object));
            assert_eq!(other.named, old.named);
        }
        assert!(new.is_version_2 && mixed.is_version_2 && !old.is_version_2);
    }

    #[test]
    fn lists_have_columns_and_flags_need_no_value() {
        let list = read("list queues name messages");
        assert_eq!((list.object.as_str(), list.plain.len()), ("queues", 2));
        assert_eq!(read("queues list").object, "queues");
        let delete = read("queues delete --name q --idempotently");
        assert_eq!(delete.value("idempotently").as_deref(), Some("true"));
        assert_eq!(
            read("get messages --queue q --ack-mode x").value("ackmode").as_deref(),
            Some("x")
        );
        assert_eq!(read("get queue=q").value("queue").as_deref(), Some("q"));
    }
}
