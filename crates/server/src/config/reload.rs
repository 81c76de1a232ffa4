//! New settings for a broker that runs.

use super::Config;
use super::alerts::SECTION;
use super::settings::{ANONYMOUS_PASS, Shown, settings};
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
            let Shown::Value(value) = shown else {
                reloaded.at_next_start.push(setting.key);
                continue;
            };
            // What is shown is what the setting takes.
            if setting.live && (setting.apply)(self, &Value::from_shown(value)).is_ok() {
                reloaded.changed.push(setting.key);
            } else {
                reloaded.at_next_start.push(setting.key);
            }
        }
        if self.alerts != new.alerts {
            self.alerts = new.alerts.clone();
            reloaded.changed.push(SECTION);
        }
        // Two passwords look the same.
        let is_same = self.auth.anonymous_login_pass == new.auth.anonymous_login_pass;
        if !is_same && !reloaded.at_next_start.contains(&ANONYMOUS_PASS) {
            reloaded.at_next_start.push(ANONYMOUS_PASS);
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
            .flag("-", "store.sync", Some("interval".to_owned()));
        let (new, _) = Config::load(&sources).unwrap();
        let reloaded = running.reload(&new);
        assert_eq!(reloaded.changed, ["amqp.heartbeat", "log.level", "auth.mechanisms"]);
        assert_eq!(reloaded.at_next_start, ["data_dir", "store.sync", "auth.anonymous_login_pass"]);
        let expected = Config {
            amqp: new.amqp.clone(),
            auth: AuthConfig { mechanisms: new.auth.mechanisms.clone(), ..Config::default().auth },
            log: super::super::LogConfig { level: LogLevel::Debug, ..Config::default().log },
            ..Config::default()
        };
        assert_eq!(running, expected);
        assert_eq!(running.reload(&running.clone()), Reloaded::default());
    }
}
