//! The options in front of the words, out of the command line and a configuration file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::{env, fs};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction};
use leveret_server::config::Secret;

use super::display::Style;
use super::{FAILED, failed, misused};
use crate::failure::Failure;

/// Where to ask, who asks, and how answers are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path_prefix: String,
    pub(super) username: String,
    pub(super) password: Secret,
    pub(super) vhost: Option<String>,
    /// The vhost for what is declared and deleted, if no other is named.
    declare_vhost: Option<String>,
    pub(super) timeout_seconds: u64,
    pub(super) is_quiet: bool,
    pub(super) style: Style,
    pub(super) depth: usize,
    pub(super) sort: Option<String>,
    pub(super) is_reversed: bool,
}

impl Options {
    /// The vhost for what is declared and deleted.
    pub(super) fn vhost(&self) -> &str {
        self.vhost.as_deref().or(self.declare_vhost.as_deref()).unwrap_or("/")
    }
}

const HELP: &str = "\
Words:
  list queues|exchanges|bindings|connections|channels|consumers|users|vhosts|permissions|nodes|
       parameters|global_parameters|policies|operator_policies|vhost_limits|user_limits|
       feature_flags|deprecated_features  [<column>...]
  show overview|churn  [<column>...]
  declare queue|stream|exchange|binding|vhost|user|permission|policy|operator_policy|parameter|
          global_parameter|vhost_limit|user_limit  name=value...
  delete  (the same)  name=value...
  purge queue name=...         close connection name=...
  publish routing_key=... [exchange=...] [payload=...] [properties=...]
  get queue=... [count=...] [ackmode=...] [payload_file=...]
  export <file>                import <file>
  health_check local_alarms|cluster_wide_alarms|port_listener|protocol_listener|...

Values may also be given as --name value, and things be put first: queues declare --name q.

Examples:
  rabbitmqadmin declare queue name=tasks durable=true arguments='{\"x-max-length\":100}'
  rabbitmqadmin --config anna.conf -V shop list queues name messages
  rabbitmqadmin publish exchange=amq.direct routing_key=k payload=hello
  rabbitmqadmin queues declare --name orders --type quorum";

fn command_line() -> clap::Command {
    let value = |long: &'static str, short: Option<char>, about: &'static str| {
        let arg = Arg::new(long).long(long).help(about);
        match short {
            None => arg,
            Some(short) => arg.short(short),
        }
    };
    let flag = |long: &'static str, short: Option<char>, about: &'static str| {
        value(long, short, about).action(ArgAction::SetTrue)
    };
    clap::Command::new("rabbitmqadmin")
        .about("Changes and shows a broker over its HTTP API")
        .after_help(HELP)
        .override_usage("rabbitmqadmin [options] <words>")
        .args_override_self(true)
        .args([
            value("host", Some('H'), "The broker's host [default: localhost]"),
            value("port", Some('P'), "The port of its HTTP API [default: 15672]"),
            value("base-uri", Some('U'), "Host, port and prefix in one: http://host:15672"),
            value("path-prefix", None, "What stands in front of /api"),
            value("username", Some('u'), "Who asks [default: guest]"),
            value("password", Some('p'), "Their password, better given in a file [default: guest]"),
            value("vhost", Some('V'), "The virtual host [default: / or all]"),
            value(
                "config",
                Some('c'),
                "A file with sections of these options [default: ~/.rabbitmqadmin.conf]",
            ),
            value("node", Some('N'), "The section of that file [default: default]"),
            value("request-timeout", Some('t'), "Seconds to wait for an answer [default: 120]"),
            value("timeout", None, "The same"),
            value(
                "format",
                Some('f'),
                "table, long, tsv, kvp, bash, raw_json or pretty_json [default: table]",
            ),
            value(
                "table-style",
                None,
                "modern, borderless or another style: borderless is tsv, any other table",
            ),
            value("depth", Some('d'), "How deep objects are shown [default: 1]"),
            value("sort", Some('S'), "The column to sort by"),
            flag("sort-reverse", Some('R'), "Sort the other way round"),
            flag("quiet", Some('q'), "Say nothing but results"),
            flag("non-interactive", Some('i'), "Tables without lines, for scripts"),
            flag("ssl", Some('s'), "Use TLS, which this tool can't"),
            flag("use-tls", None, "Use TLS, which this tool can't").alias("tls"),
            flag("version", None, "Print the version"),
        ])
        .arg(
            Arg::new("words")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .hide(true),
        )
}

/// The options and the words; nothing when help was all that was wanted.
///
/// # Errors
/// When the command line or the configuration file makes no sense.
pub(super) fn parse(words: &[OsString]) -> Result<Option<(Options, Vec<String>)>, Failure> {
    let given = std::iter::once(OsString::from("rabbitmqadmin")).chain(hoisted(words));
    let matches = match command_line().try_get_matches_from(given) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            // Whoever closes the pipe has seen enough.
            let _ = io::stdout().write_all(error.to_string().as_bytes());
            return Ok(None);
        }
        Err(error) => return Err(Failure::plain(FAILED, error.to_string())),
    };
    if matches.get_flag("version") {
        let _ = writeln!(io::stdout(), "rabbitmqadmin {}", env!("CARGO_PKG_VERSION"));
        return Ok(None);
    }
    let words: Vec<String> =
        matches.get_many::<String>("words").into_iter().flatten().cloned().collect();
    if words.first().is_some_and(|first| first == "help") {
        let _ = writeln!(io::stdout(), "{}", command_line().render_help());
        return Ok(None);
    }
    let given = |name: &str| matches.get_one::<String>(name).cloned();
    let file = configured(given("config"), given("node").as_deref())?;
    let value = |name: &str, in_file: &str| given(name).or_else(|| file.get(in_file).cloned());
    if matches.get_flag("ssl")
        || matches.get_flag("use-tls")
        || file.get("ssl").is_some_and(|ssl| ssl.eq_ignore_ascii_case("true"))
    {
        return Err(failed("TLS is not supported: use RabbitMQ's own rabbitmqadmin for it"));
    }
    let number = |text: Option<String>, default: u64| match text {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| misused(&format!("{text} is no number"))),
    };
    let mut options = Options {
        host: value("host", "hostname").unwrap_or_else(|| "localhost".to_owned()),
        port: u16::try_from(number(value("port", "port"), 15672)?)
            .map_err(|_| misused("there is no such port"))?,
        path_prefix: value("path-prefix", "path_prefix").unwrap_or_default(),
        username: value("username", "username").unwrap_or_else(|| "guest".to_owned()),
        password: value("password", "password").map_or_else(|| "guest".into(), Secret::from),
        vhost: value("vhost", "vhost"),
        declare_vhost: file.get("declare_vhost").cloned(),
        timeout_seconds: number(
            given("timeout").or_else(|| value("request-timeout", "request_timeout")),
            120,
        )?,
        is_quiet: matches.get_flag("quiet"),
        style: style(&value, matches.get_flag("non-interactive"))?,
        depth: usize::try_from(number(value("depth", "depth"), 1)?).unwrap_or(usize::MAX),
        sort: value("sort", "sort"),
        is_reversed: matches.get_flag("sort-reverse"),
    };
    if let Some(uri) = value("base-uri", "base_uri") {
        base(&mut options, &uri)?;
    }
    Ok(Some((options, words)))
}

fn style(
    value: &impl Fn(&str, &str) -> Option<String>,
    is_for_scripts: bool,
) -> Result<Style, Failure> {
    if let Some(name) = value("format", "format") {
        let found = Style::parse(&name);
        return found.ok_or_else(|| misused(&format!("Format {name} not recognised")));
    }
    let is_plain = value("table-style", "table_style").as_deref() == Some("borderless");
    Ok(if is_plain || is_for_scripts { Style::Tsv } else { Style::Table })
}

/// `http://host:port/prefix`
fn base(options: &mut Options, uri: &str) -> Result<(), Failure> {
    let rest = uri
        .strip_prefix("http://")
        .ok_or_else(|| failed(&format!("{uri}: only http:// is supported")))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "15672"));
    host.clone_into(&mut options.host);
    options.port = port.parse().map_err(|_| misused(&format!("{port} is no port")))?;
    if !path.is_empty() {
        options.path_prefix = format!("/{}", path.trim_end_matches('/'));
    }
    Ok(())
}

/// Options may stand behind words; those that are no words of version 2 are brought to the front.
fn hoisted(words: &[OsString]) -> Vec<OsString> {
    const WITH_VALUE: [&str; 8] = ["-H", "-P", "-u", "-p", "-V", "-f", "-S", "-d"];
    const WITHOUT: [&str; 3] = ["-q", "-R", "-i"];
    let (mut front, mut back) = (Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if WITH_VALUE.contains(&text.as_ref()) {
            front.push(word.clone());
            front.extend(words.next().cloned());
        } else if WITHOUT.contains(&text.as_ref()) {
            front.push(word.clone());
        } else {
            back.push(word.clone());
        }
    }
    front.extend(back);
    front
}

/// A section of the configuration file.
///
/// # Errors
/// When a file or section that was asked for isn't there.
fn configured(
    file: Option<String>,
    section: Option<&str>,
) -> Result<BTreeMap<String, String>, Failure> {
    let asked = file.clone();
    let path =
        file.or_else(|| env::var("HOME").ok().map(|home| format!("{home}/.rabbitmqadmin.conf")));
    let text = match path.as_deref().map(fs::read_to_string) {
        Some(Ok(text)) => text,
        Some(Err(error)) if asked.is_some() => {
            let path = asked.unwrap_or_default();
            return Err(failed(&format!("Could not read config file '{path}': {error}")));
        }
        _ if section.is_some() => {
            return Err(failed("there is no configuration file for --node to be in"));
        }
        _ => return Ok(BTreeMap::new()),
    };
    let wanted = section.unwrap_or("default");
    let mut found = None;
    let mut is_wanted = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_wanted = name == wanted;
            if is_wanted {
                found.get_or_insert_with(BTreeMap::new);
            }
        } else if is_wanted
            && !line.starts_with('#')
            && let Some((name, value)) = line.split_once('=')
        {
            // Comments behind values, and version 2's quotes.
            let value = value.split(" #").next().unwrap_or_default().trim().trim_matches('"');
            let section = found.get_or_insert_with(BTreeMap::new);
            section.insert(name.trim().to_owned(), value.to_owned());
        }
    }
    match found {
        Some(section) => Ok(section),
        None if section.is_some() => {
            Err(failed(&format!("there is no section [{wanted}] in the configuration file")))
        }
        None => Ok(BTreeMap::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn options_stand_before_or_behind_the_words() {
        let parsed = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            parse(&words).unwrap().unwrap()
        };
        let (options, words) = parsed("-H h -P 1 -u a -p b -V v list queues");
        assert_eq!((options.host.as_str(), options.port), ("h", 1));
        assert_eq!((options.username.as_str(), &*options.password), ("a", "b"));
        assert_eq!(options.vhost(), "v");
        let shown = format!("{options:?}");
        assert!(shown.contains("password: (not shown)"), "{shown}");
        assert_eq!(words, ["list", "queues"]);
        let (options, words) = parsed("list queues name -f tsv");
        assert_eq!((options.style, words.len()), (Style::Tsv, 3));
        let (options, words) = parsed("--base-uri http://h:2/p queues declare --name q --vhost v");
        assert_eq!(
            (options.host.as_str(), options.port, options.path_prefix.as_str()),
            ("h", 2, "/p")
        );
        assert_eq!(words, ["queues", "declare", "--name", "q", "--vhost", "v"]);
    }
}
