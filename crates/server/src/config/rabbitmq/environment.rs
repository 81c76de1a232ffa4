//! RabbitMQ's environment variables, and the files they lead to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Translated;
use crate::config::error::{ConfigError, ConfigWarning};
use crate::config::form::Form;
use crate::config::sources::{FILE_SUFFIX, Origin, Sources, read_secret};
use crate::config::value::Value;

/// Where RabbitMQ's packages and images have their files.
const MAIN_FILE: &str = "/etc/rabbitmq/rabbitmq.conf";
const FILES: &str = "/etc/rabbitmq/conf.d";
const ADVANCED_FILE: &str = "/etc/rabbitmq/advanced.config";
/// And its data.
const DATA: &str = "/var/lib/rabbitmq";

/// What an environment variable means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Environment {
    /// This setting.
    Setting(&'static str),
    /// This setting, and with `_FILE` behind the name the file its value is in.
    Secret(&'static str),
    /// It is read, for something else than a setting.
    Known(&'static str),
    /// Nothing, for this reason.
    Ignored(&'static str),
    /// RabbitMQ's image doesn't start with it.
    Deprecated,
}

use Environment::{Deprecated, Ignored, Known, Secret, Setting};

const ERLANG: &str = "there is no Erlang here";
const ONE_PLACE: &str = "all data is in one directory";
const STDERR: &str = "the log goes to standard error";

/// By name, without `RABBITMQ_` in front.
pub(in crate::config) static VARIABLES: &[(&str, Environment)] = &[
    ("DEFAULT_USER", Secret("auth.default_user")),
    ("DEFAULT_PASS", Secret("auth.default_pass")),
    ("DEFAULT_VHOST", Secret("auth.default_vhost")),
    ("NODENAME", Setting("node_name")),
    ("NODE_PORT", Known("the port for AMQP, with NODE_IP_ADDRESS or on all interfaces")),
    ("NODE_IP_ADDRESS", Known("the address for AMQP")),
    ("CONFIG_FILE", Known("the configuration file, with or without .conf at its end")),
    (
        "CONFIG_FILES",
        Known("a directory of configuration files, or a pattern such as /conf/*.conf"),
    ),
    ("ADVANCED_CONFIG_FILE", Known("Erlang terms, which are not understood: a line in the log")),
    ("MNESIA_BASE", Known("where the data is kept")),
    ("MNESIA_DIR", Known("where the data is kept; stands above MNESIA_BASE")),
    ("LOAD_DEFINITIONS", Setting("load_definitions")),
    ("LOG", Known("the level to log: debug, or =debug,+color")),
    ("LOGS", Known("- for standard error, which is where the log goes anyway")),
    ("PRODUCT_NAME", Setting("server_properties.product")),
    ("PRODUCT_VERSION", Setting("server_properties.version")),
    ("CONF_ENV_FILE", Ignored("shell scripts are not run")),
    ("CTL_ERL_ARGS", Ignored(ERLANG)),
    ("DIST_PORT", Ignored(ERLANG)),
    ("ENABLED_PLUGINS", Ignored("what is built in is always on")),
    ("ENABLED_PLUGINS_FILE", Ignored("what is built in is always on")),
    ("ERLANG_COOKIE", Ignored(ERLANG)),
    ("FEATURE_FLAGS", Ignored("all feature flags are always on")),
    ("IO_THREAD_POOL_SIZE", Ignored(ERLANG)),
    ("LOG_BASE", Ignored(STDERR)),
    ("MOTD_FILE", Ignored("there is no message of the day")),
    ("PID_FILE", Ignored("no file with the process's number is written")),
    ("PLUGINS_DIR", Ignored("what is built in is always on")),
    ("QUORUM_DIR", Ignored(ONE_PLACE)),
    ("SERVER_ADDITIONAL_ERL_ARGS", Ignored(ERLANG)),
    ("SERVER_ERL_ARGS", Ignored(ERLANG)),
    ("STREAM_DIR", Ignored(ONE_PLACE)),
    ("USE_LONGNAME", Ignored("there is one form of names")),
    ("MANAGEMENT_SSL_CACERTFILE", Deprecated),
    ("MANAGEMENT_SSL_CERTFILE", Deprecated),
    ("MANAGEMENT_SSL_DEPTH", Deprecated),
    ("MANAGEMENT_SSL_FAIL_IF_NO_PEER_CERT", Deprecated),
    ("MANAGEMENT_SSL_KEYFILE", Deprecated),
    ("MANAGEMENT_SSL_VERIFY", Deprecated),
    ("SSL_CACERTFILE", Deprecated),
    ("SSL_CERTFILE", Deprecated),
    ("SSL_DEPTH", Deprecated),
    ("SSL_FAIL_IF_NO_PEER_CERT", Deprecated),
    ("SSL_KEYFILE", Deprecated),
    ("SSL_VERIFY", Deprecated),
    ("VM_MEMORY_HIGH_WATERMARK", Deprecated),
];

const PREFIX: &str = "RABBITMQ_";

fn given<'a>(sources: &'a Sources, name: &str) -> Option<&'a str> {
    sources.variable(&format!("{PREFIX}{name}"))
}

fn origin(name: &str) -> Origin {
    Origin::Environment(format!("{PREFIX}{name}"))
}

/// What the variables say of our settings. Unknown ones are passed over: Kubernetes sets some that
/// begin alike for services of this name.
///
/// # Errors
/// As RabbitMQ's image does, for variables it no longer takes; and for a file that can't be read.
pub(in crate::config) fn translate(
    sources: &Sources,
    warnings: &mut Vec<ConfigWarning>,
) -> Result<Vec<Translated>, ConfigError> {
    let deprecated = VARIABLES.iter().filter(|(_, meaning)| *meaning == Deprecated);
    let deprecated = deprecated.filter(|(name, _)| given(sources, name).is_some());
    let deprecated: Vec<String> = deprecated.map(|(name, _)| format!("{PREFIX}{name}")).collect();
    if !deprecated.is_empty() {
        return Err(ConfigError::Deprecated { names: deprecated });
    }
    let mut all = Vec::new();
    let mut put = |key, name: &str, value: String| {
        let (form, value) = (Form::AsItIs, Value::Text(value));
        all.push(Translated { key, form, value, origin: origin(name) });
    };
    for (name, meaning) in VARIABLES {
        if let Secret(key) = meaning
            && let name = format!("{name}{FILE_SUFFIX}")
            && let Some(path) = given(sources, &name)
        {
            put(key, &name, read_secret(Path::new(path), &origin(&name))?);
        }
        let Some(value) = given(sources, name) else { continue };
        match meaning {
            Setting(key) | Secret(key) => put(key, name, value.to_owned()),
            Ignored(why) => {
                let key = format!("{PREFIX}{name}");
                warnings.push(ConfigWarning::Ignored { origin: origin(name), key, why });
            }
            Known(_) | Deprecated => {}
        }
    }
    if let Some(port) = given(sources, "NODE_PORT") {
        let value = match given(sources, "NODE_IP_ADDRESS") {
            None | Some("auto") => port.to_owned(),
            Some(ip) if ip.contains(':') => format!("[{ip}]:{port}"),
            Some(ip) => format!("{ip}:{port}"),
        };
        put("listen", "NODE_PORT", value);
    } else if let Some(ip) = given(sources, "NODE_IP_ADDRESS").filter(|ip| *ip != "auto") {
        let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        put("listen", "NODE_IP_ADDRESS", format!("{ip}:5672"));
    }
    if let Some(levels) = given(sources, "LOG") {
        let mut level = levels.split(',').map(|one| one.trim_start_matches('='));
        if let Some(level) = level.rfind(|one| !one.contains(['+', '-', '='])) {
            put("log.level", "LOG", level.to_owned());
        }
    }
    if let Some(path) = given(sources, "LOGS").filter(|path| *path != "-") {
        let key = format!("{PREFIX}LOGS = {path}");
        warnings.push(ConfigWarning::Ignored { origin: origin("LOGS"), key, why: STDERR });
    }
    Ok(all)
}

/// Where the data goes that RabbitMQ would keep.
pub(in crate::config) fn data_dir(sources: &Sources) -> PathBuf {
    let given = ["MNESIA_DIR", "MNESIA_BASE"].into_iter().find_map(|name| given(sources, name));
    PathBuf::from(given.unwrap_or(DATA))
}

/// The files that are read, in order: the main one, then those of `conf.d` by their names.
///
/// # Errors
/// When a directory that is named can't be read, the file that is named isn't there, or has Erlang terms.
pub(in crate::config) fn files(
    sources: &Sources,
    warnings: &mut Vec<ConfigWarning>,
) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Vec::new();
    match given(sources, "CONFIG_FILE") {
        Some(path) if path.ends_with(".conf") => files.push(PathBuf::from(path)),
        Some(path) if path.ends_with(".config") => {
            return Err(ConfigError::ErlangTerms { path: PathBuf::from(path) });
        }
        Some(path) => files.push(PathBuf::from(format!("{path}.conf"))),
        None => files.extend(Some(PathBuf::from(MAIN_FILE)).filter(|path| path.exists())),
    }
    match given(sources, "CONFIG_FILES") {
        Some(place) => files.extend(files_of(Path::new(place))?),
        None if Path::new(FILES).is_dir() => files.extend(files_of(Path::new(FILES))?),
        None => {}
    }
    let advanced = Path::new(given(sources, "ADVANCED_CONFIG_FILE").unwrap_or(ADVANCED_FILE));
    if fs::metadata(advanced).is_ok_and(|file| file.len() > 0) {
        let key = advanced.display().to_string();
        let why = "Erlang terms are not understood";
        let origin = Origin::File(advanced.to_owned(), 1);
        warnings.push(ConfigWarning::Ignored { origin, key, why });
    }
    Ok(files)
}

/// The `.conf` files of a directory, or those that a pattern with one `*` matches.
fn files_of(place: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |source: io::Error| ConfigError::Unreadable { path: place.to_owned(), source };
    let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (directory, start, end) = match name.split_once('*') {
        Some((start, end)) => (place.parent().unwrap_or(place), start, end),
        None if place.is_dir() => (place, "", ".conf"),
        None => return Ok(vec![place.to_owned()]),
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // Files that begin with a dot are what editors and mounted secrets leave.
        if name.starts_with(start) && name.ends_with(end) && !name.starts_with('.') {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
