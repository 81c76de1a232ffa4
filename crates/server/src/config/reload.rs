//! New settings for a broker that runs.

use super::Config;
use super::alerts::SECTION;
use super::settings::{Shown, settings};
use super::value::Value;

/// What came of reading the configuration again: keys of settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Hold from now on.
    pub changed: Vec<&'static str>,
    /// Are different and hold from the next start on.
    pub at_next_start: Vec<&'static str>,
}

impl Config {
    /// Takes over what may change while a broker runs.
    pub fn reload(&mut self, new: &Self) -> Reloaded {
        let mut reloaded = Reloaded::default();
        for setting in settings() {
            let shown = (setting.show)(new);
            if (setting.show)(self) == shown {
                continue;
            }
            // What is shown is what the setting takes.
            let value = match shown {
                Shown::Value(value) => Some(Value::from_shown(value)),
                Shown::Secret(text) => Some(Value::Text(text)),
                Shown::Withheld(_) => None,
            };
            let value = value.filter(|_| setting.live);
            if value.is_some_and(|value| (setting.apply)(self, &value).is_ok()) {
                reloaded.changed.push(setting.key);
            } else {
                reloaded.at_next_start.push(setting.key);
            }
        }
        if self.alerts != new.alerts {
            self.alerts = new.alerts.clone();
            reloaded.changed.push(SECTION);
        }
        reloaded
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AuthConfig, LogLevel, Sources};
    use super::*;

    #[test]
    fn what_may_change_changes_and_the_rest_waits() {
        let mut running = Config::default();
        let sources = Sources::new()
            .flag("--data-dir", "data_dir", Some("/elsewhere".to_owned()))
            .flag("--log", "log.level", Some("debug".to_owned()))
            .flag("-", "amqp.heartbeat", Some("10".to_owned()))
            .flag("-", "auth.anonymous_login_pass", Some("secret".to_owned()))
            .flag("-", "auth_ldap.other_bind_password", Some("secret".to_owned()))
            .flag("-", "store.sync", Some("interval".to_owned()));
        let (new, _) = Config::load(&sources).unwrap();
        let reloaded = running.reload(&new);
        assert_eq!(
            reloaded.changed,
            ["amqp.heartbeat", "log.level", "auth.mechanisms", "auth.anonymous_login_pass"]
        );
        assert_eq!(
            reloaded.at_next_start,
            ["data_dir", "store.sync", "auth_ldap.other_bind_password"]
        );
        let expected = Config {
            amqp: new.amqp.clone(),
            auth: AuthConfig {
                mechanisms: new.auth.mechanisms.clone(),
                anonymous_login_pass: "secret".into(),
                ..Config::default().auth
            },
            log: super::super::LogConfig { level: LogLevel::Debug, ..Config::default().log },
            ..Config::default()
        };
        assert_eq!(running, expected);
        assert_eq!(running.reload(&running.clone()), Reloaded::default());
        // One password for another: neither shows.
        let mut other = running.clone();
        other.auth.anonymous_login_pass = "other".into();
        other.auth.default_pass = "other".into();
        let reloaded = running.reload(&other);
        assert_eq!(reloaded.changed, ["auth.anonymous_login_pass"]);
        assert_eq!(reloaded.at_next_start, ["auth.default_pass"]);
        assert_eq!(&*running.auth.anonymous_login_pass, "other");
    }
}
