//! Who makes a request, and what they may.

use std::sync::Arc;
use std::time::Instant;

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use leveret_auth::Credentials;
use leveret_broker::access::{Entrance, Principal, Question, Rights, User, is_loopback, tag};
use leveret_broker::{Broker, UserLimits, name_in_log};
use leveret_server::config::MetricsLogin;

use crate::answer::Failure;
use crate::client::Client;
use crate::node::Node;
use crate::origin::Maker;
use crate::sessions::{Lasting, SessionKey};

/// Sent with each request of the web interface. A page of another site can't send it: a browser
/// would ask first, and is told that it may not (Fetch, section 3.2.2).
const SESSION_HEADER: HeaderName = HeaderName::from_static("x-leveret-session");

/// Who may make a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anyone, without a login.
    Open,
    /// Anyone: the request is a login.
    Login,
    /// As [`Open`](Self::Open), unless all metrics need a login.
    Scrape,
    /// Those who monitor, unless metrics need no login at all.
    Names,
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

impl Access {
    /// What it comes to under a setting.
    pub(crate) fn under(self, metrics: MetricsLogin) -> Self {
        match (self, metrics) {
            (Self::Scrape, MetricsLogin::Always) => Self::Monitoring,
            (Self::Names, MetricsLogin::Names | MetricsLogin::Always) => Self::Monitoring,
            (Self::Scrape | Self::Names, _) => Self::Open,
            (access, _) => access,
        }
    }
}

/// Who has logged in, and by which session, if not with a password.
pub(crate) struct Login {
    pub(crate) principal: Principal,
    pub(crate) session: Option<SessionKey>,
}

impl Login {
    /// Ends the session, if there is one.
    pub(crate) fn end(&self, node: &Node) {
        if let Some(key) = self.session {
            node.sessions.end(key);
        }
    }
}

/// Checks the login of a request: a name and a password, a token, or the cookie of a session.
///
/// # Errors
/// 401 without a login, with a wrong one, and for users that may log in locally only and don't; 403
/// for what another site's page had a browser send; 429 for who has to wait after wrong passwords.
pub(crate) async fn authenticate(
    node: &Node,
    request: &Parts,
    client: Client,
    vhost: Option<&str>,
) -> Result<Login, Failure> {
    let headers = &request.headers;
    let has_header = headers.contains_key(SESSION_HEADER);
    let changes = !matches!(request.method, Method::GET | Method::HEAD);
    if changes && maker(node, headers) == Maker::Foreign {
        return Err(Failure::Foreign);
    }
    if let Some(header) = headers.get(AUTHORIZATION) {
        let shown = shown(header.as_bytes()).ok_or(Failure::WrongLogin)?;
        let principal = by_password(node, shown, client, vhost).await?;
        return Ok(Login { principal, session: None });
    }
    match of_session(node, headers, client) {
        Some(login) => Ok(login),
        None if has_header => Err(Failure::SessionOver),
        None => Err(Failure::NoLogin),
    }
}

/// What somebody shows to log in: a name and a password, or a token, which names its user itself.
pub(crate) struct Shown {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// Whom that lets in.
///
/// # Errors
/// 401, 429 as [`authenticate`].
pub(crate) async fn by_password(
    node: &Node,
    shown: Shown,
    client: Client,
    vhost: Option<&str>,
) -> Result<Principal, Failure> {
    let access = node.broker.access();
    let Shown { user, password } = shown;
    let Client { address, is_local, .. } = client;
    let check_throttle = || {
        let wait = access.throttle().wait(&user, address, Instant::now());
        wait.map_or(Ok(()), |wait| {
            access.count_throttled(Entrance::Http);
            if let Some(count) = node.throttled.count(Instant::now()) {
                let user = name_in_log(&user);
                tracing::warn!(
                    "HTTP login refused: user '{user}' from {address}: too many wrong passwords, no \
                     further one is looked at for a while; {count} such since the start"
                );
            }
            Err(Failure::Throttled(wait.as_secs() + 1))
        })
    };
    check_throttle()?;
    let password = password.into_bytes();
    let found = if node.backends.know_at_once(&user, Some(&password), is_local) {
        let found = access.authenticate(&user, &password, is_local);
        found.map(Principal::from).map_err(|failure| (failure.to_string(), true))
    } else {
        let credentials = Credentials {
            user: user.clone(),
            password: Some(password.clone()),
            address,
            is_local,
            // Others may have no answer to a name that no vhost has, as to one of any length.
            vhost: vhost.filter(|name| node.broker.vhost(name).is_some()).map(str::to_owned),
        };
        let asked = node.backends.log_in(&credentials).await;
        // The others of many that are tried at a time were wrong meanwhile.
        check_throttle()?;
        asked.map_err(|refused| (refused.to_string(), refused.is_wrong(&user)))
    };
    access.count_attempt(Entrance::Http, found.is_ok());
    match found {
        Ok(found) => {
            // A token lets in whom it names: nothing is forgotten of another.
            access.throttle().succeeded(&found.user.name, address);
            Ok(found)
        }
        Err((why, counts)) => {
            if counts {
                access.throttle().failed(&user, &password, address, Instant::now());
            }
            if node.admission.may_log_http_login() {
                let user = name_in_log(&user);
                let called = match is_loopback(address) && !is_local {
                    true => "; the host that it asked is not known to be this machine (web.hosts)",
                    false => "",
                };
                tracing::warn!("HTTP login refused: user '{user}' from {address}: {why}{called}");
            }
            Err(Failure::WrongLogin)
        }
    }
}

/// The login by a session's cookie. It counts only with a header that no other site's page can
/// have a browser send, and not at all in what such a page asks for.
pub(crate) fn of_session(node: &Node, headers: &HeaderMap, client: Client) -> Option<Login> {
    if !headers.contains_key(SESSION_HEADER) || maker(node, headers) != Maker::Own {
        return None;
    }
    let access = node.broker.access();
    let now = Instant::now();
    let (key, principal) =
        node.sessions.find((headers, client.is_secure), access, lasting(node), now)?;
    access.check_origin(&principal.user.name, client.is_local).ok()?;
    Some(Login { principal, session: Some(key) })
}

/// Whether the session has not ended.
pub(crate) fn goes_on(node: &Node, key: SessionKey) -> bool {
    let now = Instant::now();
    node.sessions.goes_on(key, node.broker.access(), lasting(node), now)
}

/// Whether a request that opens or ends a session is one of the web interface.
///
/// # Errors
/// 403 if not.
pub(crate) fn check_maker(node: &Node, headers: &HeaderMap) -> Result<(), Failure> {
    let is_own = headers.contains_key(SESSION_HEADER) && maker(node, headers) == Maker::Own;
    if is_own { Ok(()) } else { Err(Failure::Foreign) }
}

fn maker(node: &Node, headers: &HeaderMap) -> Maker {
    Maker::of(headers, &node.config().web.allowed_origins)
}

fn lasting(node: &Node) -> Lasting {
    let config = node.config();
    Lasting { idle: config.web.session_idle, lifetime: config.web.session_lifetime }
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

/// What an `Authorization` header shows.
fn shown(header: &[u8]) -> Option<Shown> {
    if let Some((scheme, token)) = header.split_at_checked(7)
        && scheme.eq_ignore_ascii_case(b"Bearer ")
    {
        let password = str::from_utf8(token.trim_ascii()).ok()?.to_owned();
        return Some(Shown { user: String::new(), password });
    }
    let (user, password) = basic(header)?;
    Some(Shown { user, password })
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

/// Whether somebody may see what is in the vhost. Waits where that is asked outside: for handlers,
/// which have a thread of their own.
pub(crate) fn sees_vhost(broker: &Broker, principal: &Principal, vhost: &str) -> bool {
    let user = &principal.user;
    is_administrator(user)
        || match &principal.rights {
            Rights::Internal => broker.access().permission(&user.name, vhost).is_some(),
            Rights::Token(token) => token.may_enter(vhost),
            Rights::Remote(authority) => {
                authority.ask_and_wait(vhost, &Question::Vhost).is_allowed()
            }
        }
}

/// As [`sees_vhost`], without waiting.
async fn may_see_vhost(broker: &Broker, principal: &Principal, vhost: &str) -> bool {
    match &principal.rights {
        Rights::Remote(authority) if !is_administrator(&principal.user) => {
            authority.ask(vhost, &Question::Vhost).await.is_allowed()
        }
        _ => sees_vhost(broker, principal, vhost),
    }
}

/// Whether somebody may make a request of this kind, in the vhost that it names.
///
/// # Errors
/// What RabbitMQ 4.3 answers: 401 for the wrong tag, 404 for a vhost that is missing or not theirs.
pub(crate) async fn check(
    broker: &Broker,
    access: Access,
    principal: &Principal,
    vhost: Option<&str>,
) -> Result<(), Failure> {
    check_tags(access, &principal.user)?;
    let Some(vhost) = vhost else { return Ok(()) };
    let is_theirs = match access {
        Access::VisibleVhost if is_monitor(&principal.user) => true,
        Access::Vhost | Access::PolicyMakerInVhost | Access::VisibleVhost => {
            // As in RabbitMQ, nobody is asked about what is not there.
            let is_asked = matches!(principal.rights, Rights::Remote(_));
            (!is_asked || broker.vhost(vhost).is_some())
                && may_see_vhost(broker, principal, vhost).await
        }
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

/// Whether a user's tags are enough for a request of this kind.
///
/// # Errors
/// 401 if not.
pub(crate) fn check_tags(access: Access, user: &User) -> Result<(), Failure> {
    const NOT_THEIRS: &str = "User not authorised to access object";
    if !may_manage(user) {
        return Err(Failure::Refused("Not management user".into()));
    }
    let refused = match access {
        Access::Open | Access::Login | Access::Scrape | Access::Management => None,
        Access::Vhost | Access::VisibleVhost => None,
        Access::PolicyMaker | Access::PolicyMakerInVhost => {
            (!makes_policies(user)).then_some(NOT_THEIRS)
        }
        Access::Monitoring | Access::Names => (!is_monitor(user)).then_some("Not monitor user"),
        Access::Administrator => (!is_administrator(user)).then_some("Not administrator user"),
    };
    refused.map_or(Ok(()), |reason| Err(Failure::Refused(reason.into())))
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
