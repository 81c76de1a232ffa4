//! `/api/leveret/session`: the login of the web interface. RabbitMQ has no such endpoint.

use std::time::Instant;

use leveret_broker::access::Principal;
use leveret_server::config::WebConfig;
use serde_json::Value;

use super::overview;
use crate::answer::{Answer, Failure, Outcome};
use crate::call::{Call, text};
use crate::client::{Client, Peer};
use crate::login::{self, Access, Shown};
use crate::sessions::{Cookie, Most};

/// Who has logged in, or null.
pub(crate) fn show(call: &Call) -> Outcome {
    let found = login::of_session(&call.node, &call.headers, client(call)?);
    Ok(Answer::json(&found.map_or(Value::Null, |login| overview::about(&login.principal))))
}

/// Whom `{"name": ..., "password": ...}` lets in. Others may have to be asked, and the password may be
/// in line behind those of many: no thread waits for that.
///
/// # Errors
/// 401 for a wrong password, and for users without a tag of the management interface; 403 for pages
/// of others; 429 for who has to wait.
pub(crate) async fn log_in(call: &Call) -> Result<Principal, Failure> {
    let client = client(call)?;
    login::check_maker(&call.node, &call.headers)?;
    let body = call.object_with(&["name", "password"])?;
    let (name, password) = (text(&body, "name")?, text(&body, "password")?);
    let shown = Shown { user: name.to_owned(), password: password.to_owned() };
    let principal = login::by_password(&call.node, shown, client, None).await?;
    login::check_tags(Access::Management, &principal.user)?;
    Ok(principal)
}

/// The answer has the cookie of a new session of who has [logged in](log_in).
pub(crate) fn begin(call: &Call) -> Outcome {
    let (client, principal) = (client(call)?, call.principal()?);
    if let Some(before) = login::of_session(&call.node, &call.headers, client) {
        before.end(&call.node);
    }
    let WebConfig { session_max, session_max_per_user, .. } = call.node.config().web;
    let most = Most { of_all: session_max as usize, of_user: session_max_per_user as usize };
    let cookie = call.node.sessions.begin(principal, client.is_secure, most, Instant::now());
    Ok(about(principal).setting(cookie.ok_or(Failure::Internal)?))
}

/// Ends the session, if there is one.
///
/// # Errors
/// 403 for pages of others.
pub(crate) fn end(call: &Call) -> Outcome {
    let client = client(call)?;
    login::check_maker(&call.node, &call.headers)?;
    if let Some(login) = login::of_session(&call.node, &call.headers, client) {
        login.end(&call.node);
    }
    Ok(Answer::done().setting(Cookie::none(client.is_secure)))
}

fn about(principal: &Principal) -> Answer {
    Answer::json(&overview::about(principal))
}

/// # Errors
/// 400 over the control socket, which needs no session.
fn client(call: &Call) -> Result<Client, Failure> {
    match call.peer {
        Peer::Client(client) => Ok(client),
        Peer::Operator => Err(Failure::bad_request("the control socket has no sessions")),
    }
}
