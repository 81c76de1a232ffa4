//! What a token claims: for whom it is, whose it is, and what it allows.

use std::collections::{BTreeMap, BTreeSet};

use leveret_broker::access::TokenRights;
use serde_json::{Map, Value};

use super::Invalid;
use crate::settings::OAuth2Settings;

/// Most scopes of a token that count, as in RabbitMQ.
pub(crate) const SCOPES_MAX: usize = 2048;
/// Where tokens of user-managed access have them.
const OF_PERMISSIONS: &str = "authorization.permissions.scopes";
/// What tells a user's name if nothing that is configured does.
const USER_CLAIMS: [&str; 2] = ["sub", "client_id"];
/// How far the clock of who made a token may be ahead, in seconds.
const CLOCK_SKEW: u64 = 60;

type Claims = Map<String, Value>;

/// Checks whether the token is for this broker.
pub(super) fn check_audience(settings: &OAuth2Settings, claims: &Claims) -> Result<(), Invalid> {
    let Some(own) = settings.resource_server_id.as_deref().filter(|_| settings.verify_aud) else {
        return if settings.verify_aud { Err(Invalid::Audience) } else { Ok(()) };
    };
    let is_ours = match claims.get("aud") {
        Some(Value::String(all)) => all.split(' ').any(|one| one == own),
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(own)),
        _ => false,
    };
    if is_ours { Ok(()) } else { Err(Invalid::Audience) }
}

/// Whose token it is; `unknown`, as in RabbitMQ, if it doesn't say.
pub(super) fn user<'a>(settings: &OAuth2Settings, claims: &'a Claims) -> &'a str {
    let preferred = settings.preferred_username_claims.iter().map(String::as_str);
    let mut names = preferred.chain(USER_CLAIMS).filter_map(|name| claims.get(name)?.as_str());
    names.next().unwrap_or("unknown")
}

/// What it allows, and the tags that are among its scopes.
pub(super) fn rights(
    settings: &OAuth2Settings,
    claims: &Claims,
    now: u64,
) -> Result<(TokenRights, Vec<String>), Invalid> {
    let expires_at = match claims.get("exp").map(seconds) {
        Some(Some(at)) if at <= now => return Err(Invalid::Expired),
        Some(Some(at)) => Some(at),
        Some(None) => return Err(Invalid::NoExpiry),
        None if settings.require_exp => return Err(Invalid::NoExpiry),
        None => None,
    };
    if claims.get("nbf").and_then(seconds).is_some_and(|from| from > now + CLOCK_SKEW) {
        return Err(Invalid::Early);
    }
    let all = scopes(settings, claims);
    if all.len() > SCOPES_MAX {
        return Err(Invalid::TooManyScopes);
    }
    let tags = all.iter().filter_map(|scope| scope.strip_prefix("tag:").map(str::to_owned));
    let tags = tags.collect();
    let texts = claims.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
    let claims: BTreeMap<String, String> =
        texts.map(|(name, value)| (name.clone(), value.to_owned())).collect();
    let scopes = all.into_iter().collect();
    Ok((TokenRights { scopes, claims, syntax: settings.syntax, expires_at }, tags))
}

fn seconds(value: &Value) -> Option<u64> {
    // Some have fractions.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64))
}

/// All scopes that are about this broker, without their prefix.
fn scopes(settings: &OAuth2Settings, claims: &Claims) -> BTreeSet<String> {
    let id = settings.resource_server_id.as_deref();
    let mut all = Vec::new();
    match claims.get("scope") {
        Some(Value::String(text)) => all.extend(words(text)),
        Some(Value::Array(list)) => all.extend(texts(list)),
        _ => {}
    }
    let paths = [OF_PERMISSIONS].into_iter();
    for path in paths.chain(settings.additional_scopes_key.iter().map(String::as_str)) {
        let names: Vec<&str> = path.split('.').filter(|name| !name.is_empty()).collect();
        if let Some((first, rest)) = names.split_first()
            && let Some(value) = claims.get(*first)
        {
            collect(id, value, rest, &mut all);
        }
    }
    let aliased = settings.scope_aliases.iter().filter(|(alias, _)| all.contains(alias));
    let aliased: Vec<String> = aliased.flat_map(|(_, scopes)| words(scopes)).collect();
    all.extend(aliased);
    let prefix = match (&settings.scope_prefix, id) {
        (Some(prefix), _) => prefix.clone(),
        (None, Some(id)) => format!("{id}."),
        (None, None) => String::new(),
    };
    all.iter().filter_map(|scope| scope.strip_prefix(&prefix).map(str::to_owned)).collect()
}

/// What stands where the path leads to. Lists on the way are gone through.
fn collect(id: Option<&str>, value: &Value, path: &[&str], all: &mut Vec<String>) {
    match (path.split_first(), value) {
        (Some((name, rest)), Value::Object(object)) => {
            if let Some(value) = object.get(*name) {
                collect(id, value, rest, all);
            }
        }
        (Some(_), Value::Array(list)) => list.iter().for_each(|one| collect(id, one, path, all)),
        (None, Value::Array(list)) => all.extend(texts(list)),
        (None, Value::String(text)) => all.extend(words(text)),
        // By resource server, without its prefix.
        (None, Value::Object(object)) => {
            let Some((id, own)) = id.and_then(|id| Some((id, object.get(id)?))) else { return };
            let scopes: Vec<String> = match own {
                Value::Array(list) => texts(list).collect(),
                Value::String(text) => words(text).collect(),
                _ => Vec::new(),
            };
            all.extend(scopes.into_iter().map(|scope| format!("{id}.{scope}")));
        }
        _ => {}
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned)
}

fn texts(list: &[Value]) -> impl Iterator<Item = String> {
    list.iter().filter_map(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> OAuth2Settings {
        OAuth2Settings {
            resource_server_id: Some("rabbitmq".to_owned()),
            ..OAuth2Settings::default()
        }
    }

    fn found(settings: &OAuth2Settings, claims: Value) -> Vec<String> {
        let Value::Object(claims) = claims else { panic!("{claims}") };
        scopes(settings, &claims).into_iter().collect()
    }

    #[test]
    fn scopes_are_those_with_the_prefix() {
        let text = json!({ "scope": "rabbitmq.read:*/* other.write:*/*  rabbitmq.tag:management" });
        assert_eq!(found(&settings(), text), ["read:*/*", "tag:management"]);
        let list = json!({ "scope": ["rabbitmq.read:*/*", "openid", 7] });
        assert_eq!(found(&settings(), list), ["read:*/*"]);
        let prefixed = OAuth2Settings { scope_prefix: Some("api://".to_owned()), ..settings() };
        assert_eq!(found(&prefixed, json!({ "scope": "api://read:*/*" })), ["read:*/*"]);
        let bare = OAuth2Settings { scope_prefix: Some(String::new()), ..settings() };
        assert_eq!(found(&bare, json!({ "scope": "read:*/*" })), ["read:*/*"]);
    }

    #[test]
    fn scopes_may_stand_elsewhere() {
        let more = OAuth2Settings {
            additional_scopes_key: vec!["roles".to_owned(), "realm.access".to_owned()],
            ..settings()
        };
        let claims = json!({
            "roles": "rabbitmq.read:*/a",
            "realm": [{ "access": { "rabbitmq": ["write:*/b"], "other": ["write:*/c"] } }],
            "authorization": { "permissions": [{ "scopes": ["rabbitmq.configure:*/d"] }, {}] },
        });
        assert_eq!(found(&more, claims), ["configure:*/d", "read:*/a", "write:*/b"]);
    }

    #[test]
    fn an_alias_stands_for_scopes() {
        let aliases =
            vec![("admin".to_owned(), "rabbitmq.tag:administrator rabbitmq.read:*/*".to_owned())];
        let settings = OAuth2Settings { scope_aliases: aliases, ..settings() };
        assert_eq!(
            found(&settings, json!({ "scope": "admin" })),
            ["read:*/*", "tag:administrator"]
        );
        assert_eq!(found(&settings, json!({ "scope": "user" })), Vec::<String>::new());
    }

    #[test]
    fn the_audience_has_to_be_the_broker() {
        let is_ours = |settings: &OAuth2Settings, claims: Value| {
            check_audience(settings, claims.as_object().unwrap()).is_ok()
        };
        assert!(is_ours(&settings(), json!({ "aud": "rabbitmq" })));
        assert!(is_ours(&settings(), json!({ "aud": "other rabbitmq" })));
        assert!(is_ours(&settings(), json!({ "aud": ["other", "rabbitmq"] })));
        for other in
            [json!({}), json!({ "aud": "rabbit" }), json!({ "aud": [] }), json!({ "aud": 1 })]
        {
            assert!(!is_ours(&settings(), other));
        }
        let any = OAuth2Settings { verify_aud: false, ..settings() };
        assert!(is_ours(&any, json!({})));
        let nameless = OAuth2Settings { resource_server_id: None, ..settings() };
        assert!(!is_ours(&nameless, json!({ "aud": "rabbitmq" })));
    }

    #[test]
    fn a_token_expires() {
        let at = |claims: Value| rights(&settings(), claims.as_object().unwrap(), 100);
        assert_eq!(at(json!({ "exp": 101 })).unwrap().0.expires_at, Some(101));
        assert_eq!(at(json!({ "exp": 101.7 })).unwrap().0.expires_at, Some(101));
        assert!(matches!(at(json!({ "exp": 100 })), Err(Invalid::Expired)));
        assert!(matches!(at(json!({ "exp": -1 })), Err(Invalid::Expired)));
        assert!(matches!(at(json!({ "exp": "never" })), Err(Invalid::NoExpiry)));
        assert!(matches!(at(json!({})), Err(Invalid::NoExpiry)));
        assert!(matches!(at(json!({ "exp": 999, "nbf": 161 })), Err(Invalid::Early)));
        assert!(at(json!({ "exp": 999, "nbf": 160 })).is_ok());
        let lasting = OAuth2Settings { require_exp: false, ..settings() };
        let claims = json!({});
        assert_eq!(rights(&lasting, claims.as_object().unwrap(), 100).unwrap().0.expires_at, None);
    }

    #[test]
    fn the_user_is_who_the_preferred_claim_says() {
        let name = |claims: Value| {
            let preferred = vec!["user_name".to_owned(), "email".to_owned()];
            let settings = OAuth2Settings { preferred_username_claims: preferred, ..settings() };
            user(&settings, claims.as_object().unwrap()).to_owned()
        };
        assert_eq!(name(json!({ "sub": "a", "email": "b", "user_name": 1 })), "b");
        assert_eq!(name(json!({ "client_id": "c", "sub": "a" })), "a");
        assert_eq!(name(json!({ "client_id": "c" })), "c");
        assert_eq!(name(json!({})), "unknown");
    }
}
