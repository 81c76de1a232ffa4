//! What a token (OAuth 2) allows: its scopes, in RabbitMQ's form.
//!
//! `read:<vhost>/<name>`, `write:<vhost>/<name>` and `configure:<vhost>/<name>` are about exchanges
//! and queues; with a third part, `<vhost>/<name>/<routing key>`, about keys of a topic exchange as
//! well. Each part is a pattern. `{vhost}` and `{<claim>}` in a scope stand for the vhost and for
//! what the token claims.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use regex::{Regex, RegexBuilder};

use super::permission::PermissionKind;
use super::wildcard::{self, Wildcard};

/// Longest regular expression in a scope, in bytes, as in RabbitMQ.
const REGEX_MAX: usize = 2048;
/// What a compiled one may take, in bytes.
const REGEX_SIZE_MAX: usize = 1 << 20;

/// What a verified token allows until it expires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenRights {
    /// Scopes without the prefix of the resource server.
    pub scopes: Vec<String>,
    /// Claims that are texts, for `{<claim>}`.
    pub claims: BTreeMap<String, String>,
    /// How patterns are written.
    pub syntax: PatternSyntax,
    /// When it expires, in seconds since 1970.
    pub expires_at: Option<u64>,
}

/// How the patterns of scopes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PatternSyntax {
    /// `*` stands for anything.
    #[default]
    Wildcard,
    /// Regular expressions that match the whole.
    Regex,
}

/// What a token allows in one vhost.
#[derive(Debug)]
pub(super) struct VhostRights(Vec<Scope>);

#[derive(Debug)]
struct Scope {
    kind: PermissionKind,
    name: Part,
    routing_key: Option<Part>,
}

#[derive(Debug)]
enum Part {
    Wildcard(Wildcard),
    Regex(Regex),
}

impl TokenRights {
    /// How long it lasts yet, if it ends. That goes by the system's clock, as the login did: the broker's own
    /// follows one that is set only slowly, and would have a token that has just let in end at once, or last
    /// for hours.
    pub fn left(&self) -> Option<Duration> {
        let end = UNIX_EPOCH.checked_add(Duration::from_secs(self.expires_at?))?;
        Some(end.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// Whether it has ended.
    pub fn has_expired(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Whether it allows anything in the vhost.
    pub fn may_enter(&self, vhost: &str) -> bool {
        self.in_vhost(vhost).may_enter()
    }

    /// What of it is about the vhost.
    pub(super) fn in_vhost(&self, vhost: &str) -> VhostRights {
        let scopes = self.scopes.iter().filter_map(|scope| {
            let scope = self.filled(scope, vhost)?;
            let (kind, rest) = scope.split_once(':')?;
            let kind = PermissionKind::ALL.into_iter().find(|one| one.name() == kind)?;
            let mut parts = rest.split('/');
            let (of_vhost, name) = (parts.next()?, parts.next()?);
            let routing_key = match (parts.next(), parts.next()) {
                (None, _) => None,
                (Some(key), None) => Some(self.part(key)?),
                (Some(_), Some(_)) => return None,
            };
            if !self.part(of_vhost)?.matches(vhost) {
                return None;
            }
            Some(Scope { kind, name: self.part(name)?, routing_key })
        });
        VhostRights(scopes.collect())
    }

    /// With the values of its variables, which are no patterns: whoever chooses their own name is not to
    /// have what a pattern allows. An unknown one stands for its own name; one that doesn't end
    /// makes the scope worthless.
    fn filled(&self, scope: &str, vhost: &str) -> Option<String> {
        let mut filled = String::new();
        let mut rest = scope;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}')?;
            let value = match name {
                "vhost" => vhost,
                claim => self.claims.get(claim).map_or(claim, String::as_str),
            };
            filled += before;
            match self.syntax {
                PatternSyntax::Wildcard => filled += &wildcard::literal(value),
                // What separates the parts of a scope separates none within a value.
                PatternSyntax::Regex => {
                    filled += &regex::escape(value).replace('/', r"\x2F").replace(':', r"\x3A");
                }
            }
            rest = behind;
        }
        Some(filled + rest)
    }

    fn part(&self, pattern: &str) -> Option<Part> {
        match self.syntax {
            PatternSyntax::Wildcard => Wildcard::new(pattern).map(Part::Wildcard),
            PatternSyntax::Regex if pattern.len() > REGEX_MAX => None,
            PatternSyntax::Regex => {
                let whole = format!(r"\A(?:{pattern})\z");
                let mut builder = RegexBuilder::new(&whole);
                builder.size_limit(REGEX_SIZE_MAX).build().ok().map(Part::Regex)
            }
        }
    }
}

impl VhostRights {
    /// Any scope for the vhost, whatever it allows there, lets in.
    pub(super) fn may_enter(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn allows(&self, kind: PermissionKind, name: &str) -> bool {
        self.0.iter().any(|scope| scope.kind == kind && scope.name.matches(name))
    }

    /// Unlike with topic permissions, a token that says nothing about keys allows none.
    pub(super) fn allows_topic(&self, kind: PermissionKind, exchange: &str, key: &str) -> bool {
        self.0.iter().any(|scope| {
            scope.kind == kind
                && scope.name.matches(exchange)
                && scope.routing_key.as_ref().is_some_and(|pattern| pattern.matches(key))
        })
    }
}

impl Part {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Wildcard(pattern) => pattern.matches(text),
            Self::Regex(pattern) => pattern.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PermissionKind::{Configure, Read, Write};
    use super::*;

    fn in_vhost(scopes: &[&str], syntax: PatternSyntax, vhost: &str) -> VhostRights {
        let claims = [("sub".to_owned(), "a*b".to_owned())].into();
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        TokenRights { scopes, claims, syntax, expires_at: None }.in_vhost(vhost)
    }

    fn wildcards(scopes: &[&str]) -> VhostRights {
        in_vhost(scopes, PatternSyntax::Wildcard, "/")
    }

    #[test]
    fn scopes_name_an_access_a_vhost_and_a_name() {
        let rights = wildcards(&["read:%2F/in-*", "write:*/out", "configure:other/*"]);
        assert!(rights.may_enter());
        assert!(rights.allows(Read, "in-1") && !rights.allows(Read, "out"));
        assert!(rights.allows(Write, "out") && !rights.allows(Write, "in-1"));
        assert!(!rights.allows(Configure, "in-1"), "that is another vhost");
        assert!(!wildcards(&["configure:other/*"]).may_enter());
    }

    #[test]
    fn what_is_no_scope_allows_nothing() {
        let bad =
            ["", "read", "read:", "read:*", "read:*/*/*/*", "delete:*/*", "tag:administrator"];
        for scope in bad.iter().chain(&["read:%/*", "read:*/{sub", "READ:*/*"]) {
            let rights = wildcards(&[scope]);
            assert!(!rights.may_enter() && !rights.allows(Read, "q"), "{scope}");
        }
    }

    #[test]
    fn keys_need_a_scope_with_three_parts() {
        let rights = wildcards(&["write:*/x", "read:*/x/a.*"]);
        assert!(rights.allows(Write, "x") && !rights.allows_topic(Write, "x", "k"));
        assert!(rights.allows(Read, "x") && rights.allows_topic(Read, "x", "a.b"));
        assert!(!rights.allows_topic(Read, "x", "b"));
        assert!(!rights.allows_topic(Read, "y", "a.b"));
    }

    #[test]
    fn variables_stand_for_claims_and_the_vhost() {
        let rights = in_vhost(&["read:{vhost}/{sub}-{nothing}"], PatternSyntax::Wildcard, "v");
        assert!(rights.allows(Read, "a*b-nothing"));
        assert!(!rights.allows(Read, "a1b-nothing") && !rights.allows(Read, "x-nothing"));
    }

    #[test]
    fn what_a_claim_says_is_no_pattern() {
        for syntax in [PatternSyntax::Wildcard, PatternSyntax::Regex] {
            for value in
                ["*", "a*", "/", "a/b", "%2A", "%", "a+b", ".*", "read:x", "ü", "anna@example.com"]
            {
                let claims = [("sub".to_owned(), value.to_owned())].into();
                let scopes = vec!["read:{vhost}/{sub}".to_owned()];
                let rights = TokenRights { scopes, claims, syntax, expires_at: None }.in_vhost("/");
                assert!(rights.allows(Read, value), "{syntax:?} {value}");
                for other in ["queue", "a", "ab", "a b", "", "%"] {
                    assert_eq!(rights.allows(Read, other), other == value, "{value} {other}");
                }
                assert!(!rights.allows_topic(Read, "a", "b"), "{value}");
            }
            assert!(!in_vhost(&["read:{vhost}/q"], syntax, "*").0.is_empty());
        }
    }

    #[test]
    fn regular_expressions_match_the_whole_and_take_variables_literally() {
        let rights = in_vhost(&["read:v/q[0-9]+", "write:v/{sub}"], PatternSyntax::Regex, "v");
        assert!(rights.allows(Read, "q12") && !rights.allows(Read, "q12x"));
        assert!(rights.allows(Write, "a*b") && !rights.allows(Write, "ab"));
        let long = format!("read:v/{}", "a".repeat(REGEX_MAX + 1));
        let bad = ["read:v/(", &long];
        assert!(!in_vhost(&bad, PatternSyntax::Regex, "v").may_enter());
    }
}
