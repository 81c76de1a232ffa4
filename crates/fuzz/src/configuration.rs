//! The files an operator writes.

use std::fs;

use leveret_server::config::{Config, Sources};

/// A TOML file: what is accepted is shown in a form that means the same.
pub fn configuration(input: &[u8]) {
    check(input, "leveret.toml");
}

/// A `rabbitmq.conf`: what is accepted can be had in TOML.
pub fn rabbitmq_conf(input: &[u8]) {
    check(input, "rabbitmq.conf");
}

fn check(input: &[u8], name: &str) {
    let Some(config) = load(input, name) else { return };
    let shown = config.to_toml();
    let again = load(shown.as_bytes(), "leveret.toml").expect("what was shown is accepted");
    let again = again.to_toml();
    assert_eq!(again.lines().count(), shown.lines().count());
    for (before, after) in shown.lines().zip(again.lines()) {
        // A password is not shown.
        assert!(before.starts_with('#') || after == before, "{before} became {after}");
    }
}

fn load(text: &[u8], name: &str) -> Option<Config> {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let file = directory.path().join(name);
    fs::write(&file, text).expect("a file");
    let data = ["/data".to_owned()];
    let loaded = Config::load(&Sources::new().file(&file).flag("--data-dir", "data_dir", data));
    match loaded {
        Ok((config, warnings)) => {
            for warning in warnings {
                one_line(&warning.to_string());
            }
            Some(config)
        }
        Err(error) => {
            one_line(&error.to_string());
            None
        }
    }
}

/// It goes to the log.
fn one_line(message: &str) {
    assert!(!message.is_empty() && !message.contains('\n'), "{message:?}");
}
