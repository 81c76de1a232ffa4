//! Where settings come from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use super::error::ConfigError;

/// Begins the name of every environment variable that is a setting.
const PREFIX: &str = "LEVERET_";
/// Ends the name of a variable that says in which file a secret is.
pub(super) const FILE_SUFFIX: &str = "_FILE";
/// Says that RabbitMQ's files and variables are to be read.
pub(super) const RABBITMQ_VARIABLE: &str = "LEVERET_RABBITMQ";

/// The places settings come from, the later ones over the earlier: file, environment, flags.
///
/// The environment is handed in, so that loading a configuration depends on its arguments only
/// (and on the file, and on which directories are writable).
#[derive(Clone, Default)]
pub struct Sources {
    pub(super) file: Option<PathBuf>,
    is_rabbitmq: bool,
    pub(super) environment: Vec<(String, OsString)>,
    pub(super) flags: Vec<Flag>,
}

/// A setting given on the command line.
#[derive(Clone)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    pub(super) values: Vec<String>,
}

/// There may be passwords in the environment, and in flags.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, is_rabbitmq, environment, flags } = self;
        let variables: Vec<_> = environment.iter().map(|(name, _)| name).collect();
        let flags: Vec<_> = flags.iter().map(|flag| flag.name).collect();
        f.debug_struct("Sources")
            .field("file", file)
            .field("is_rabbitmq", is_rabbitmq)
            .field("environment", &variables)
            .field("flags", &flags)
            .finish()
    }
}

impl Sources {
    /// No source: every setting has its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads what RabbitMQ's packages and images have as well: `/etc/rabbitmq/rabbitmq.conf` and the
    /// files of `conf.d`, and RabbitMQ's environment variables. `LEVERET_RABBITMQ=true` asks for the
    /// same.
    #[must_use]
    pub fn rabbitmq(mut self) -> Self {
        self.is_rabbitmq = true;
        self
    }

    /// Reads settings from a TOML file, or from a `rabbitmq.conf` if its name ends in `.conf`. It
    /// must exist.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Reads settings from environment variables: `LEVERET_` and the key in capitals with `_`
    /// for `.`, as in `LEVERET_AMQP_HEARTBEAT`. Lists are separated by commas. An empty variable
    /// counts as not set. With `_FILE` behind the name of a password's variable, it names the file the
    /// password is in. Usually given `std::env::vars_os()`.
    #[must_use]
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        self.environment = variables
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect();
        self.environment.sort_unstable();
        self
    }

    /// Takes the values of a command-line flag for the setting `key`; no values, no effect.
    #[must_use]
    pub fn flag(
        mut self,
        name: &'static str,
        key: &'static str,
        values: impl IntoIterator<Item = String>,
    ) -> Self {
        let values: Vec<_> = values.into_iter().collect();
        if !values.is_empty() {
            self.flags.push(Flag { name, key, values });
        }
        self
    }

    /// The environment variables that may be settings.
    pub(super) fn settings_in_environment(&self) -> impl Iterator<Item = &(String, OsString)> {
        self.environment.iter().filter(|(name, _)| name.starts_with(PREFIX))
    }

    /// Whether RabbitMQ's files and variables are to be read.
    pub(super) fn is_rabbitmq(&self) -> bool {
        let asked = self.variable(RABBITMQ_VARIABLE);
        self.is_rabbitmq || asked.is_some_and(|text| ["true", "1", "yes"].contains(&text))
    }

    /// An environment variable, if it is text.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let (_, value) = self.environment.iter().find(|(own, _)| own == name)?;
        value.to_str()
    }

    /// An absolute path out of the environment; as the XDG specification has it, a relative one
    /// is as good as none.
    pub(super) fn place(&self, variable: &str) -> Option<&Path> {
        let (_, value) = self.environment.iter().find(|(name, _)| name == variable)?;
        Some(Path::new(value)).filter(|path| path.is_absolute())
    }
}

/// The secret in a file that a variable or a setting names, without the newline at its end.
///
/// # Errors
/// When the file can't be read.
pub(super) fn read_secret(path: &Path, origin: &Origin) -> Result<String, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| {
        let (path, origin) = (path.to_owned(), origin.clone());
        ConfigError::UnreadableSecret { origin, path, source }
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The environment variable of a setting.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the configuration file, counted from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A command-line flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}
