//! What can be wrong with a configuration, each in one line.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::data_dir;
use super::raw::Given;
use super::settings::{self, Refused};
use super::sources::Origin;

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{origin}: not valid TOML: {message}")]
    Syntax {
        /// The file and the line.
        origin: Origin,
        /// What the parser said.
        message: String,
    },
    /// A section's name was given a value.
    #[error("{origin}: '{key}' is a section: write [{key}], and its settings below")]
    Section {
        /// The file and the line.
        origin: Origin,
        /// The section.
        key: String,
    },
    /// A value is not allowed.
    #[error("{origin}: {key} = {value}: must be {allowed}")]
    BadValue {
        /// Where the value came from.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// The value, as TOML.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// Something is wrong in `[alerts]`.
    #[error("{origin}: {why}")]
    Alerts {
        /// The file and the line.
        origin: Origin,
        /// What is wrong.
        why: String,
    },
    /// The file that an environment variable names for a secret cannot be read.
    #[error("{origin}: cannot read {}: {source}", .path.display())]
    UnreadableSecret {
        /// The variable.
        origin: Origin,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An environment variable holds bytes that are no text.
    #[error("{origin}: its value is not valid UTF-8")]
    NotText {
        /// The variable.
        origin: Origin,
    },
    /// RabbitMQ doesn't know the key either.
    #[error("{origin}: there is no key '{key}'{}", suggestion(.nearest))]
    UnknownKey {
        /// The file and the line.
        origin: Origin,
        /// The key.
        key: String,
        /// The known key most like it.
        nearest: Option<String>,
    },
    /// RabbitMQ would do something with it that Leveret can't.
    #[error("{origin}: {key} = {value} can't be honoured: {why}")]
    Refused {
        /// Where it was given.
        origin: Origin,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Why not.
        why: &'static str,
    },
    /// A line of a `rabbitmq.conf` is none.
    #[error("{origin}: '{line}' is no 'key = value'")]
    NoKey {
        /// The file and the line.
        origin: Origin,
        /// The line.
        line: String,
    },
    /// A value names an environment variable that is not set.
    #[error("{origin}: the environment variable {name} is not set")]
    NoVariable {
        /// The file and the line.
        origin: Origin,
        /// The variable.
        name: String,
    },
    /// Environment variables with which RabbitMQ's image doesn't start.
    #[error("{}error: deprecated environment variables detected", deprecated(.names))]
    Deprecated {
        /// The variables.
        names: Vec<String>,
    },
    /// `RABBITMQ_CONFIG_FILE` names a file in RabbitMQ's old form.
    #[error(
        "{}: Erlang terms are not understood: write it in the form of rabbitmq.conf, with a name \
         that ends with .conf",
        .path.display()
    )]
    ErlangTerms {
        /// The file.
        path: PathBuf,
    },
    /// There is no default place for the data.
    #[error(
        "no place for the data: {} is not writable, and neither XDG_STATE_HOME nor HOME is set; \
         set data_dir",
        data_dir::SYSTEM
    )]
    NoDataDirectory,
}

impl ConfigError {
    pub(super) fn bad_value(given: &Given, refused: Refused) -> Self {
        let origin = given.origin.clone();
        let key = given.setting.key;
        let value = match key {
            key if settings::PASSWORDS.contains(&key) => "(not shown)".to_owned(),
            // It goes to the log: one line, also where the value has several.
            _ => given.value.to_string().replace('\n', "\\n"),
        };
        let Refused::NotAllowed = refused;
        Self::BadValue { origin, key, value, allowed: given.setting.allowed }
    }
}

/// Something in a configuration that has no effect.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigWarning {
    /// No setting has that name.
    #[error("{origin}: unknown setting '{key}' ignored{}", suggestion(.nearest))]
    UnknownKey {
        /// The file and the line.
        origin: Origin,
        /// The name.
        key: String,
        /// The known name most like it.
        nearest: Option<String>,
    },
    /// RabbitMQ would do something with it that has no meaning here.
    #[error("{}{key} has no effect: {why}", place(.origin))]
    Ignored {
        /// Where it was given.
        origin: Origin,
        /// The key, or the variable.
        key: String,
        /// Why not.
        why: &'static str,
    },
    /// No setting has that environment variable.
    #[error("{origin}: no such setting, ignored{}", suggestion(.nearest))]
    UnknownVariable {
        /// The variable.
        origin: Origin,
        /// The known variable most like it.
        nearest: Option<String>,
    },
}

/// A variable is its own place.
fn place(origin: &Origin) -> String {
    match origin {
        Origin::Environment(_) => String::new(),
        origin => format!("{origin}: "),
    }
}

fn deprecated(names: &[String]) -> String {
    names.iter().map(|name| format!("error: {name} is set but deprecated\n")).collect()
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean '{name}'?")).unwrap_or_default()
}
