//! The settings of TLS, once for each kind of listener.

use std::path::{self, PathBuf};
use std::time::Duration;

use super::{Refused, Setting, Shown, texts};
use crate::config::tls::TlsVersion;
use crate::config::units::show_duration;
use crate::config::value::Value;

/// The settings of a section, which are a field of the configuration.
macro_rules! section {
    ($section:literal, $field:ident) => {
        [
            Setting {
                key: concat!($section, ".cert_file"),
                about: "Certificates, each with its chain; the first one is for clients that name no host",
                live: true,
                allowed: PATHS,
                apply: |config, value| {
                    config.$field.cert_files = paths(value)?;
                    Ok(())
                },
                show: |config| show_paths(&config.$field.cert_files),
            },
            Setting {
                key: concat!($section, ".key_file"),
                about: "Their keys, in the same order",
                live: true,
                allowed: PATHS,
                apply: |config, value| {
                    config.$field.key_files = paths(value)?;
                    Ok(())
                },
                show: |config| show_paths(&config.$field.key_files),
            },
            Setting {
                key: concat!($section, ".ca_file"),
                about: "Who may have signed clients' certificates",
                live: true,
                allowed: "the path of a PEM file, or \"none\"",
                apply: |config, value| {
                    let mut files = paths(value)?.into_iter();
                    let (file, None) = (files.next(), files.next()) else {
                        return Err(Refused::NotAllowed);
                    };
                    config.$field.ca_file = file;
                    Ok(())
                },
                show: |config| match &config.$field.ca_file {
                    None => "none".into(),
                    Some(file) => file.to_string_lossy().as_ref().into(),
                },
            },
            Setting {
                key: concat!($section, ".verify"),
                about: "Whether clients are asked for a certificate, and it is checked",
                live: true,
                allowed: "\"none\" or \"peer\"",
                apply: |config, value| {
                    config.$field.verify = value.word(&VERIFY)?;
                    Ok(())
                },
                show: |config| super::word(&VERIFY, config.$field.verify),
            },
            Setting {
                key: concat!($section, ".require_certificate"),
                about: "Whether clients without a certificate are refused, with `verify = \"peer\"`",
                live: true,
                allowed: "true or false",
                apply: |config, value| {
                    config.$field.requires_certificate = value.boolean()?;
                    Ok(())
                },
                show: |config| config.$field.requires_certificate.into(),
            },
            Setting {
                key: concat!($section, ".depth"),
                about: "Most certificates between a client's and one of `ca_file`",
                live: true,
                allowed: "a number of certificates from 0 to 255",
                apply: |config, value| {
                    config.$field.depth = value.integer(0..=u8::MAX)?;
                    Ok(())
                },
                show: |config| i64::from(config.$field.depth).into(),
            },
            Setting {
                key: concat!($section, ".versions"),
                about: "Versions that are spoken",
                live: true,
                allowed: "a list of \"1.3\" and \"1.2\"; older versions are not safe",
                apply: |config, value| {
                    config.$field.versions = versions(value)?;
                    Ok(())
                },
                show: |config| show_versions(&config.$field.versions),
            },
            Setting {
                key: concat!($section, ".ciphers"),
                about: "Ciphers, by OpenSSL's names or the standard's",
                live: true,
                allowed: "a list of names such as \"TLS_AES_256_GCM_SHA384\", or \"none\" for all that are safe",
                apply: |config, value| {
                    config.$field.ciphers = value.texts()?;
                    Ok(())
                },
                show: |config| match config.$field.ciphers.as_slice() {
                    [] => "none".into(),
                    names => texts(names),
                },
            },
            Setting {
                key: concat!($section, ".handshake_timeout"),
                about: "How long a client may take for its handshake",
                live: true,
                allowed: "a time from 100ms to 1h, such as \"5s\"",
                apply: |config, value| {
                    let range = Duration::from_millis(100)..=Duration::from_hours(1);
                    config.$field.handshake_timeout = value.duration(range)?;
                    Ok(())
                },
                show: |config| show_duration(config.$field.handshake_timeout).into(),
            },
            Setting {
                key: concat!($section, ".reload_interval"),
                about: "How often is looked whether files are new",
                live: true,
                allowed: "a time from 100ms to 24h, such as \"10s\"",
                apply: |config, value| {
                    let range = Duration::from_millis(100)..=Duration::from_hours(24);
                    config.$field.reload_interval = value.duration(range)?;
                    Ok(())
                },
                show: |config| show_duration(config.$field.reload_interval).into(),
            },
        ]
    };
}

pub(super) static AMQP: [Setting; 10] = section!("tls", tls);
pub(super) static MANAGEMENT: [Setting; 10] = section!("tls.management", tls_management);
pub(super) static METRICS: [Setting; 10] = section!("tls.metrics", tls_metrics);

const PATHS: &str = "the path of a PEM file, or a list of them, or \"none\"";

/// The first word of each meaning is the one shown; the others are RabbitMQ's.
const VERIFY: [(&str, bool); 4] =
    [("none", false), ("peer", true), ("verify_none", false), ("verify_peer", true)];

const VERSIONS: [(&str, TlsVersion); 4] = [
    ("1.3", TlsVersion::Tls13),
    ("1.2", TlsVersion::Tls12),
    ("tlsv1.3", TlsVersion::Tls13),
    ("tlsv1.2", TlsVersion::Tls12),
];

fn paths(value: &Value) -> Result<Vec<PathBuf>, Refused> {
    let texts = value.texts()?;
    texts.iter().map(|text| path::absolute(text).map_err(|_| Refused::NotAllowed)).collect()
}

fn show_paths(paths: &[PathBuf]) -> Shown {
    match paths {
        [] => "none".into(),
        [one] => one.to_string_lossy().as_ref().into(),
        paths => texts(paths.iter().map(|path| path.display())),
    }
}

fn versions(value: &Value) -> Result<Vec<TlsVersion>, Refused> {
    let mut versions = Vec::new();
    for text in value.texts()? {
        let version = Value::Text(text).word(&VERSIONS)?;
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    if versions.is_empty() { Err(Refused::NotAllowed) } else { Ok(versions) }
}

fn show_versions(versions: &[TlsVersion]) -> Shown {
    let word =
        |version| VERSIONS.iter().find(|(_, own)| own == version).map_or("", |(word, _)| word);
    texts(versions.iter().map(word))
}
