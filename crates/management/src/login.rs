//! Who makes a request, and what they may.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use leveret_broker::access::{Entrance, User, is_loopback, tag};
use leveret_broker::{Broker, UserLimits};

use crate::answer::Failure;

/// Who may make a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anyone, without a login.
    Open,
    /// Whoever has a tag of the management interface.
    Management,
    /// As [`Management`](Self::Management), in vhosts where they have a permission; administrators
    /// in all.
    Vhost,
    /// As [`Vhost`](Self::Vhost); those who monitor in all vhosts as well.
    VisibleVhost,
    /// Those who make policies.
    PolicyMaker,
    /// Those who make policies, in vhosts where they have a permission; administrators in all.
    PolicyMakerInVhost,
    /// Those who monitor.
    Monitoring,
    /// Administrators.
    Administrator,
}

/// Checks a login.
///
/// # Errors
/// 401 without a login, with a wrong one, and for users that may log in locally only and don't.
pub(crate) fn authenticate(
    broker: &Broker,
    headers: &HeaderMap,
    peer: IpAddr,
) -> Result<Arc<User>, Failure> {
    let header = headers.get(AUTHORIZATION).ok_or(Failure::NoLogin)?;
    let (user, password) = basic(header.as_bytes()).ok_or(Failure::WrongLogin)?;
    let access = broker.access();
    let found = access.authenticate(&user, password.as_bytes(), is_loopback(peer));
    access.count_attempt(Entrance::Http, found.is_ok());
    found.map_err(|failure| {
        tracing::warn!("HTTP login refused: user '{}': {failure}", user.escape_debug());
        Failure::WrongLogin
    })
}

/// Who speaks through the control socket.
pub(crate) fn operator() -> Arc<User> {
    Arc::new(User {
        name: "rmq-cli".to_owned(),
        password_hash: None,
        tags: vec![tag::ADMINISTRATOR.to_owned()],
        limits: UserLimits::default(),
    })
}

/// The name and the password of an `Authorization: Basic` header.
fn basic(header: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Whether the user has a tag of the management interface.
fn may_manage(user: &User) -> bool {
    [tag::MANAGEMENT, tag::POLICYMAKER, tag::MONITORING, tag::ADMINISTRATOR]
        .iter()
        .any(|tag| user.has_tag(tag))
}

pub(crate) fn is_administrator(user: &User) -> bool {
    user.has_tag(tag::ADMINISTRATOR)
}

/// Whether the user sees everybody's connections.
pub(crate) fn is_monitor(user: &User) -> bool {
    user.has_tag(tag::MONITORING) || is_administrator(user)
}

fn makes_policies(user: &User) -> bool {
    user.has_tag(tag::POLICYMAKER) || is_administrator(user)
}

/// Whether the user may see what is in the vhost.
pub(crate) fn sees_vhost(broker: &Broker, user: &User, vhost: &str) -> bool {
    is_administrator(user) || broker.access().permission(&user.name, vhost).is_some()
}

/// Whether the user may make a request of this kind, in the vhost that it names.
///
/// # Errors
/// What RabbitMQ 4.3 answers: 401 for the wrong tag, 404 for a vhost that is missing or not theirs.
pub(crate) fn check(
    broker: &Broker,
    access: Access,
    user: &User,
    vhost: Option<&str>,
) -> Result<(), Failure> {
    const NOT_THEIRS: &str = "User not authorised to access object";
    if !may_manage(user) {
        return Err(Failure::Refused("Not management user"));
    }
    let refused = match access {
        Access::Open | Access::Management | Access::Vhost | Access::VisibleVhost => None,
        Access::PolicyMaker | Access::PolicyMakerInVhost => {
            (!makes_policies(user)).then_some(NOT_THEIRS)
        }
        Access::Monitoring => (!is_monitor(user)).then_some("Not monitor user"),
        Access::Administrator => (!is_administrator(user)).then_some("Not administrator user"),
    };
    if let Some(reason) = refused {
        return Err(Failure::Refused(reason));
    }
    let Some(vhost) = vhost else { return Ok(()) };
    let is_theirs = match access {
        Access::Vhost | Access::PolicyMakerInVhost => sees_vhost(broker, user, vhost),
        Access::VisibleVhost => is_monitor(user) || sees_vhost(broker, user, vhost),
        _ => return Ok(()),
    };
    if !is_theirs {
        return Err(Failure::Missing("Not Found".to_owned()));
    }
    match broker.vhost(vhost) {
        Some(_) => Ok(()),
        None => Err(Failure::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basic_login_is_read() {
        let login = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(basic(b"Basic Z3Vlc3Q6Z3Vlc3Q="), login("guest", "guest"));
        assert_eq!(basic(b"basic Z3Vlc3Q6YTpi"), login("guest", "a:b"));
        assert_eq!(basic(b"Basic Og=="), login("", ""));
        for bad in [&b""[..], b"Basic", b"Basic ", b"Basic !", b"Basic Z3Vlc3Q=", b"Bearer Og=="] {
            assert_eq!(basic(bad), None);
        }
    }
}
