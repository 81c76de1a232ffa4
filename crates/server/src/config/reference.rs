//! The page that says what every setting means.

use leveret_broker::{DEAD_LETTER_LIMITS, FixedLimit, access};

use super::Config;
use super::rabbitmq::{Environment, KEYS, Meaning, VARIABLES};
use super::settings::{self, Shown};
use super::sources::{FILE_SUFFIX, variable};
use crate::fixed_limits::FIXED_LIMITS;

/// `docs/configuration.md`, made of the tables that settings are read by, and of the limits that none
/// changes; of these with further ones.
pub fn reference(further: &[FixedLimit]) -> String {
    let mut page = HEAD.to_owned();
    page +=
        "\n## Settings\n\n| setting | default | must be | changes |\n| --- | --- | --- | --- |\n";
    let defaults = Config::default();
    for setting in settings::settings() {
        let default = match (setting.show)(&defaults) {
            Shown::Value(value) => format!("`{value}`"),
            Shown::Secret(_) | Shown::Withheld(_) => String::new(),
        };
        let when = if setting.live { "on reload" } else { "at the next start" };
        let (key, about, allowed) = (setting.key, setting.about, setting.allowed);
        let variable = variable(key);
        let variables = match settings::PASSWORDS.contains(&key) {
            true => format!("`{variable}`, or `{variable}{FILE_SUFFIX}`: the file it is in"),
            false => format!("`{variable}`"),
        };
        page += &format!(
            "| `{key}`<br>{variables}<br>{about} | {default} | {} | {when} |\n",
            escaped(allowed)
        );
    }
    page += FIXED_LIMITS_HEAD;
    let of_broker =
        [DEAD_LETTER_LIMITS, leveret_broker::FIXED_LIMITS, access::FIXED_LIMITS].concat();
    for limit in [FIXED_LIMITS, &of_broker, leveret_auth::FIXED_LIMITS, further].concat() {
        page += &format!("{limit}\n");
    }
    page += "\n## rabbitmq.conf\n";
    page += RABBITMQ;
    page += "\n### Keys that are settings\n\n| key | setting |\n| --- | --- |\n";
    for key in KEYS {
        if let Some(setting) = of_setting(key.meaning) {
            page += &format!("| `{}` | `{setting}` |\n", key.name);
        }
    }
    page += "\n### Keys with one value\n\nAny other value stops the start.\n\n";
    page += "| key | value | why |\n| --- | --- | --- |\n";
    for key in KEYS {
        if let Meaning::Only(values, why) = key.meaning {
            let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            page += &format!("| `{}` | {} | {why} |\n", key.name, values.join(", "));
        }
    }
    page += "\n### Keys that stop the start\n\n| key | why |\n| --- | --- |\n";
    for key in KEYS {
        if let Meaning::Refused(why) = key.meaning {
            page += &format!("| `{}` | {why} |\n", key.name);
        }
    }
    page += "\n### Keys without an effect\n\nEach gets a line in the log.\n\n";
    page += "| key | why |\n| --- | --- |\n";
    for key in KEYS {
        if let Meaning::Ignored(why) = key.meaning {
            page += &format!("| `{}` | {why} |\n", key.name);
        }
    }
    page += VARIABLES_HEAD;
    for (name, meaning) in VARIABLES {
        let meaning = match meaning {
            Environment::Setting(key) => format!("`{key}`"),
            Environment::Secret(key) => {
                format!("`{key}`; with `_FILE` behind the name, the file it is in")
            }
            Environment::Known(what) => (*what).to_owned(),
            Environment::Ignored(why) => format!("no effect: {why}"),
            Environment::Deprecated => "stops the start, as in RabbitMQ's image".to_owned(),
        };
        page += &format!("| `RABBITMQ_{name}` | {meaning} |\n");
    }
    page
}

fn of_setting(meaning: Meaning) -> Option<&'static str> {
    match meaning {
        Meaning::Setting(key, _)
        | Meaning::Ip(key)
        | Meaning::Port(key)
        | Meaning::Listener(key)
        | Meaning::OneOf(key)
        | Meaning::Named(key)
        | Meaning::VhostLimit(key)
        | Meaning::Backend(key) => Some(key),
        Meaning::LoopbackUser => Some("auth.loopback_users"),
        Meaning::Ignored(_) | Meaning::Only(..) | Meaning::Refused(_) => None,
    }
}

/// A bar would end the column.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

const HEAD: &str = "\
# Configuration

Made by `cargo test -p leveret-management --lib reference` from the tables in `crates/server/src/config/` and the constants of
`fixed_limits.rs` in each crate; don't edit it.

Settings come from the configuration file (`--config leveret.toml` or `LEVERET_CONFIG`), then from environment
variables, then from flags: the later ones win. A file whose name ends in `.conf` is read as a `rabbitmq.conf`.
`leveret check-config` prints what all of it comes to.

`kill -HUP` or `leveret ctl reload` has a running broker read its configuration again. What can change at once does, for
connections that are opened from then on; the log names what waits for the next start. With a configuration that is
wrong nothing changes.

Rules for alerts and whom they are told stand in a section of their own, `[alerts]`: see [alerts.md](alerts.md).
";

const FIXED_LIMITS_HEAD: &str = "
## Fixed limits

What no setting changes, because the protocol says so, or because nobody would know a better number.

| limit | value | why |
| --- | --- | --- |
";

const RABBITMQ: &str = "
Called as `rabbitmq-server`, or with `LEVERET_RABBITMQ=true`, Leveret also reads what RabbitMQ's packages and images
have: `/etc/rabbitmq/rabbitmq.conf`, then `/etc/rabbitmq/conf.d/*.conf` in the order of their names, and RabbitMQ's
environment variables; the data is in `/var/lib/rabbitmq`. Above all that stand `LEVERET_` variables and flags.

A key that RabbitMQ doesn't know either stops the start, and the error names the nearest one. `*` below stands for any
name, `**` for any further parts.
";

const VARIABLES_HEAD: &str = "
## RabbitMQ's environment variables

| variable | meaning |
| --- | --- |
";
