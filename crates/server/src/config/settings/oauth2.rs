//! `[auth_oauth2]`: tokens. The names are RabbitMQ's.

use std::borrow::Cow;
use std::path::{self, PathBuf};
use std::time::Duration;

use leveret_broker::access::PatternSyntax;

use super::backends::{DEPTH, FILE, file, show_file, url};
use super::{Refused, Setting, Shown, texts, word};
use crate::config::units::show_duration;
use crate::config::value::Value;

pub(super) static OAUTH2: [Setting; 16] = [
    Setting {
        key: "auth_oauth2.resource_server_id",
        about: "The broker's name in tokens: in their audience, and in front of their scopes",
        live: false,
        allowed: "a name, or \"none\"",
        apply: |config, value| {
            config.auth.backends.oauth2.resource_server_id = name(value)?;
            Ok(())
        },
        show: |config| show_option(config.auth.backends.oauth2.resource_server_id.as_deref()),
    },
    Setting {
        key: "auth_oauth2.scope_prefix",
        about: "What scopes begin with that are meant for the broker, if not its name and a dot",
        live: false,
        allowed: "a text, or \"none\"",
        apply: |config, value| {
            config.auth.backends.oauth2.scope_prefix = prefix(value)?;
            Ok(())
        },
        show: |config| show_option(config.auth.backends.oauth2.scope_prefix.as_deref()),
    },
    Setting {
        key: "auth_oauth2.additional_scopes_key",
        about: "Paths of claims with more scopes, as in `realm_access.roles`",
        live: false,
        allowed: "a list of texts, or \"none\"",
        apply: |config, value| {
            config.auth.backends.oauth2.additional_scopes_key = words(value)?;
            Ok(())
        },
        show: |config| show_list(&config.auth.backends.oauth2.additional_scopes_key),
    },
    Setting {
        key: "auth_oauth2.scope_aliases",
        about: "Words that stand for scopes",
        live: false,
        allowed: "a list of texts such as \"admin=rabbitmq.tag:administrator rabbitmq.read:*/*\", or \"none\"",
        apply: |config, value| {
            config.auth.backends.oauth2.scope_aliases = pairs(value)?;
            Ok(())
        },
        show: |config| {
            show_pairs(
                config
                    .auth
                    .backends
                    .oauth2
                    .scope_aliases
                    .iter()
                    .map(|(name, value)| (name, value.as_str().into())),
            )
        },
    },
    Setting {
        key: "auth_oauth2.scope_pattern_syntax",
        about: "How the patterns in scopes are written",
        live: false,
        allowed: "\"wildcard\" or \"regex\"",
        apply: |config, value| {
            config.auth.backends.oauth2.syntax = value.word(&SYNTAXES)?;
            Ok(())
        },
        show: |config| word(&SYNTAXES, config.auth.backends.oauth2.syntax),
    },
    Setting {
        key: "auth_oauth2.preferred_username_claims",
        about: "Claims that tell the user's name, in front of `sub` and `client_id`",
        live: false,
        allowed: "a list of names, or \"none\"",
        apply: |config, value| {
            config.auth.backends.oauth2.preferred_username_claims = value.texts()?;
            Ok(())
        },
        show: |config| show_list(&config.auth.backends.oauth2.preferred_username_claims),
    },
    Setting {
        key: "auth_oauth2.verify_aud",
        about: "Whether the audience of a token has to be the broker",
        live: false,
        allowed: "true or false",
        apply: |config, value| {
            config.auth.backends.oauth2.verify_aud = value.boolean()?;
            Ok(())
        },
        show: |config| config.auth.backends.oauth2.verify_aud.into(),
    },
    Setting {
        key: "auth_oauth2.require_exp",
        about: "Whether a token has to expire",
        live: false,
        allowed: "true or false",
        apply: |config, value| {
            config.auth.backends.oauth2.require_exp = value.boolean()?;
            Ok(())
        },
        show: |config| config.auth.backends.oauth2.require_exp.into(),
    },
    Setting {
        key: "auth_oauth2.algorithms",
        about: "Algorithms of signatures that are taken; `none` for all there are",
        live: false,
        allowed: "a list of \"RS256\", \"RS384\", \"RS512\", \"PS256\", \"PS384\", \"PS512\", \"ES256\", \"ES384\" and \"EdDSA\", or \"none\"",
        apply: |config, value| {
            config.auth.backends.oauth2.algorithms = algorithms(value)?;
            Ok(())
        },
        show: |config| show_list(&config.auth.backends.oauth2.algorithms),
    },
    Setting {
        key: "auth_oauth2.signing_keys",
        about: "Public keys (PEM) by their names",
        live: false,
        allowed: "a list of texts such as \"key-1=/etc/leveret/key-1.pem\", or \"none\"",
        apply: |config, value| {
            config.auth.backends.oauth2.signing_keys = keys(value)?;
            Ok(())
        },
        show: |config| {
            show_pairs(
                config
                    .auth
                    .backends
                    .oauth2
                    .signing_keys
                    .iter()
                    .map(|(name, path)| (name, path.to_string_lossy())),
            )
        },
    },
    Setting {
        key: "auth_oauth2.default_key",
        about: "The name of the key of tokens that name none",
        live: false,
        allowed: "a name, or \"none\"",
        apply: |config, value| {
            config.auth.backends.oauth2.default_key = name(value)?;
            Ok(())
        },
        show: |config| show_option(config.auth.backends.oauth2.default_key.as_deref()),
    },
    Setting {
        key: "auth_oauth2.jwks_uri",
        about: "Where the keys are",
        live: false,
        allowed: "a URL such as \"https://idp.example/keys\", or \"none\"",
        apply: |config, value| {
            config.auth.backends.oauth2.jwks_uri = place(value)?;
            Ok(())
        },
        show: |config| show_option(config.auth.backends.oauth2.jwks_uri.as_deref()),
    },
    Setting {
        key: "auth_oauth2.issuer",
        about: "Who says where the keys are, where `jwks_uri` doesn't",
        live: false,
        allowed: "a URL such as \"https://idp.example/realm\", or \"none\"",
        apply: |config, value| {
            config.auth.backends.oauth2.issuer = place(value)?;
            Ok(())
        },
        show: |config| show_option(config.auth.backends.oauth2.issuer.as_deref()),
    },
    Setting {
        key: "auth_oauth2.request_timeout",
        about: "How long the servers of both may take",
        live: false,
        allowed: "a time from 10ms to 5m, such as \"15s\"",
        apply: |config, value| {
            let range = Duration::from_millis(10)..=Duration::from_mins(5);
            config.auth.backends.oauth2.request_timeout = value.duration(range)?;
            Ok(())
        },
        show: |config| show_duration(config.auth.backends.oauth2.request_timeout).into(),
    },
    Setting {
        key: "auth_oauth2.ca_file",
        about: "Authorities (PEM) that they are checked by, in place of the system's",
        live: false,
        allowed: FILE,
        apply: |config, value| {
            config.auth.backends.oauth2.ca_file = file(value)?;
            Ok(())
        },
        show: |config| show_file(config.auth.backends.oauth2.ca_file.as_ref()),
    },
    Setting {
        key: "auth_oauth2.depth",
        about: "Most certificates between theirs and one of an authority",
        live: false,
        allowed: DEPTH,
        apply: |config, value| {
            config.auth.backends.oauth2.depth = value.integer(0..=u8::MAX)?;
            Ok(())
        },
        show: |config| i64::from(config.auth.backends.oauth2.depth).into(),
    },
];

const SYNTAXES: [(&str, PatternSyntax); 2] =
    [("wildcard", PatternSyntax::Wildcard), ("regex", PatternSyntax::Regex)];

const ALGORITHMS: [(&str, &str); 9] = [
    ("RS256", "RS256"),
    ("RS384", "RS384"),
    ("RS512", "RS512"),
    ("PS256", "PS256"),
    ("PS384", "PS384"),
    ("PS512", "PS512"),
    ("ES256", "ES256"),
    ("ES384", "ES384"),
    ("EdDSA", "EdDSA"),
];

fn is_none(value: &Value) -> bool {
    value.word(&[("none", ())]).is_ok()
}

fn name(value: &Value) -> Result<Option<String>, Refused> {
    if is_none(value) { Ok(None) } else { value.name().map(Some) }
}

/// May be empty: then all scopes are meant.
fn prefix(value: &Value) -> Result<Option<String>, Refused> {
    match value {
        Value::Text(text) if text.is_empty() => Ok(Some(String::new())),
        _ => name(value),
    }
}

fn place(value: &Value) -> Result<Option<String>, Refused> {
    if is_none(value) { Ok(None) } else { url(value).map(Some) }
}

/// RabbitMQ has them in one text.
fn words(value: &Value) -> Result<Vec<String>, Refused> {
    let texts = value.texts()?;
    Ok(texts.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect())
}

fn algorithms(value: &Value) -> Result<Vec<String>, Refused> {
    let known = |text| Value::Text(text).word(&ALGORITHMS).map(str::to_owned);
    value.texts()?.into_iter().map(known).collect()
}

fn pairs(value: &Value) -> Result<Vec<(String, String)>, Refused> {
    let pair = |text: String| {
        let (name, value) = text.split_once('=').ok_or(Refused::NotAllowed)?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    value.texts()?.into_iter().map(pair).collect()
}

fn keys(value: &Value) -> Result<Vec<(String, PathBuf)>, Refused> {
    let key = |(name, file)| {
        let file = path::absolute::<String>(file).map_err(|_| Refused::NotAllowed)?;
        Ok((name, file))
    };
    pairs(value)?.into_iter().map(key).collect()
}

fn show_option(value: Option<&str>) -> Shown {
    value.unwrap_or("none").into()
}

fn show_list(values: &[String]) -> Shown {
    if values.is_empty() { "none".into() } else { texts(values) }
}

fn show_pairs<'a>(pairs: impl Iterator<Item = (&'a String, Cow<'a, str>)>) -> Shown {
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    show_list(&pairs)
}
