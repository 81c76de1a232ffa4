//! The page that says what every setting means.

use super::Config;
use super::rabbitmq::{Environment, KEYS, Meaning, VARIABLES};
use super::settings::{self, Shown};
use super::sources::{FILE_SUFFIX, variable};

/// `docs/configuration.md`, made of the tables that settings are read by.
pub fn reference() -> String {
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
    page += FIXED_LIMITS;
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

Made by `cargo test -p leveret-server --lib reference` from the tables in `crates/server/src/config/`; don't edit it.

Settings come from the configuration file (`--config leveret.toml` or `LEVERET_CONFIG`), then from environment
variables, then from flags: the later ones win. A file whose name ends in `.conf` is read as a `rabbitmq.conf`.
`leveret check-config` prints what all of it comes to.

`kill -HUP` or `leveret ctl reload` has a running broker read its configuration again. What can change at once does, for
connections that are opened from then on; the log names what waits for the next start. With a configuration that is
wrong nothing changes.

Rules for alerts and whom they are told stand in a section of their own, `[alerts]`: see [alerts.md](alerts.md).
";

const FIXED_LIMITS: &str = "
## Fixed limits

What no setting changes, because the protocol says so, or because nobody would know a better number.

| limit | value | why |
| --- | --- | --- |
| a frame before `connection.tune-ok` | 8 KiB | RabbitMQ's; larger ones get 501 `FRAME_ERROR` |
| `frame_max` that a client may ask for | 4 KiB at least | what older clients ask for; less gets 530 `NOT_ALLOWED` |
| tables in a handshake | 4096 entries, 16 deep | who has not logged in is not to cost more, whatever is set for later |
| a failed login over AMQP | 3 s | RabbitMQ's: it makes guessing slow on each connection |
| a client's agreement to a close | 10 s | beyond it the socket is closed |
| the first wait after wrong passwords, and how long they are remembered | 1 s, 10 min | `auth.wrong_passwords_max` and its kin say the rest |
| addresses and users whose wrong passwords are remembered | 8192 | memory: the one that failed longest ago is forgotten |
| requests over HTTP worked on at a time | 16 | more wait, so that clients of AMQP don't |
| pages of a list | 500 items | RabbitMQ's; more gets 400 |
| watchers of passing messages | 32 at a time | each has copies made; more get 400 |
| a token's length, and its scopes | 64 KiB, 2048 | what is longer lets nobody in |
| keys of a token's provider are fetched again | after 1 h; for unknown ones every 10 s at most | so that nobody has the provider asked all the time |
| an answer of an HTTP service about logins | 64 KiB | it says allow or deny |
| groups of groups looked up with LDAP | 1000 | a circle of groups has an end |
| regular expressions of permissions | 16 KiB, 1 MiB compiled | matching costs the client that publishes |
| a try to tell of an alert, to send spans | 30 s, 10 s | it is tried again |
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The page is made anew when it is out of date, and the test fails for it to be looked at.
    #[test]
    fn the_reference_page_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        let page = reference();
        if fs::read_to_string(&path).ok().as_ref() != Some(&page) {
            fs::write(&path, page).unwrap();
            panic!("docs/configuration.md was out of date and is made anew: commit it");
        }
    }
}
