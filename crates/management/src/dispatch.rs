//! From an HTTP request to its handler and back.

use std::sync::Arc;

use axum::Router;
use axum::body::Body as Incoming;
use axum::extract::{RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{Method, Response};
use axum::routing::any;
use leveret_broker::access::User;
use leveret_broker::{Actor, Place};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::action;
use crate::answer::{Answer, Failure, Outcome};
use crate::api::session;
use crate::body::Body;
use crate::call::Call;
use crate::client::Peer;
use crate::login::{self, Access, Login};
use crate::node::{Node, now};
use crate::room::Room;
use crate::routes::{Endpoint, Route};

/// Longest body of somebody who has not logged in, which is to do that, with a password or a token.
const LOGIN_BODY_MAX: usize = 16 * 1024;
/// Requests worked on at a time; more wait.
pub(crate) const AT_ONCE: usize = 16;

/// What all requests share.
pub(crate) struct Shared {
    node: Arc<Node>,
    permits: Arc<Semaphore>,
}

/// The endpoints of these tables, for a listener to serve.
pub(crate) fn router(node: &Arc<Node>, tables: &[&'static [Route]]) -> Router {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let shared = Arc::new(Shared { node: Arc::clone(node), permits });
    let mut router = Router::new();
    for route in tables.iter().copied().flatten() {
        let shared = Arc::clone(&shared);
        let serve = move |path: RawPathParams, request: Request| {
            let shared = Arc::clone(&shared);
            async move { serve(&shared, route, &path, request).await }
        };
        router = router.route(route.path, any(serve));
    }
    router.fallback(move |request: Request| {
        let body = Body::pass_over(request.into_body());
        let read = timeout(shared.node.config().web.body_timeout, body);
        async move {
            let _ = read.await;
            Failure::NotFound.into_response("HEAD, GET, OPTIONS")
        }
    })
}

async fn serve(
    shared: &Shared,
    route: &'static Route,
    path: &RawPathParams,
    request: Request,
) -> Response<Incoming> {
    let allow = route.allow();
    if request.method() == Method::OPTIONS {
        return Answer::text("", String::new()).into_response(&allow);
    }
    let is_head = request.method() == Method::HEAD;
    let mut response = match answer(shared, route, path, request).await {
        Ok(answer) => answer.into_response(&allow),
        Err(failure) => failure.into_response(&allow),
    };
    if is_head {
        *response.body_mut() = Incoming::empty();
    }
    response
}

async fn answer(
    shared: &Shared,
    route: &'static Route,
    path: &RawPathParams,
    request: Request,
) -> Outcome {
    let (parts, body) = request.into_parts();
    let path: Vec<(String, String)> =
        path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let admitted = admit(&shared.node, route, &path, &parts).await;
    let body_timeout = shared.node.config().web.body_timeout;
    let body = read(&shared.node, admitted.as_ref().ok(), body);
    let body = timeout(body_timeout, body).await;
    let Admitted { endpoint, login, peer } = admitted?;
    let (principal, session) = login.map(|login| (login.principal, login.session)).unzip();
    let body = body.map_err(|_| Failure::TooSlow)??;
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let user = principal.as_ref().map(|principal| &*principal.user);
    let actor = Arc::new(actor(peer, user));
    let mut call = Call {
        node: Arc::clone(&shared.node),
        peer,
        principal,
        actor,
        session: session.flatten(),
        path,
        query: form_urlencoded::parse(query).into_owned().collect(),
        headers: parts.headers,
        body,
        now: now(),
    };
    if endpoint.access == Access::Login {
        call.principal = Some(session::log_in(&call).await?);
    }
    let mut answer = carry_out(shared, route, endpoint, call).await?;
    if let (Peer::Client(_), false) = (peer, endpoint.is_action) {
        answer = answer.if_within(Room::of(&shared.node.budgets.requests))?;
    }
    if let Some(lsn) = answer.commit() {
        shared.node.broker.store().durable(lsn).await;
    }
    Ok(answer)
}

/// Takes in the body of a request, or passes it over if nobody will look at it.
async fn read(node: &Node, request: Option<&Admitted>, body: Incoming) -> Result<Body, Failure> {
    let Some(Admitted { login, peer, .. }) = request.filter(|it| it.endpoint.reads_body()) else {
        return Body::pass_over(body).await;
    };
    match (peer, login) {
        // What a migration brings may be one message of any size.
        (Peer::Operator, _) => Body::read(body, usize::MAX, None).await,
        (Peer::Client(_), None) => Body::read(body, LOGIN_BODY_MAX, None).await,
        (Peer::Client(_), Some(_)) => {
            let max = usize::try_from(node.config().web.body_max).unwrap_or(usize::MAX);
            Body::read(body, max, Some(Room::of(&node.budgets.requests))).await
        }
    }
}

/// Who makes a request, to the audit log.
fn actor(peer: Peer, user: Option<&User>) -> Actor {
    let place = match peer {
        Peer::Client(client) => Place::Address(client.address),
        Peer::Operator => Place::ControlSocket,
    };
    match user {
        Some(user) => Actor::new(user.name.as_str(), place),
        None => Actor::at(place),
    }
}

/// A request that may be made.
struct Admitted {
    endpoint: &'static Endpoint,
    login: Option<Login>,
    peer: Peer,
}

/// Whether there is an endpoint, and who makes the request may use it.
async fn admit(
    node: &Node,
    route: &'static Route,
    path: &[(String, String)],
    request: &Parts,
) -> Result<Admitted, Failure> {
    let endpoint = route.endpoint(&request.method).ok_or(Failure::Method)?;
    let peer = *request.extensions.get::<Peer>().ok_or(Failure::Internal)?;
    let access = endpoint.access.under(node.config().web.metrics_login);
    let vhost = path.iter().find(|(name, _)| name == "vhost").map(|(_, vhost)| vhost.as_str());
    let login = match peer {
        Peer::Operator => Login { principal: login::operator().into(), session: None },
        Peer::Client(_) if matches!(access, Access::Open | Access::Login) => {
            return Ok(Admitted { endpoint, login: None, peer });
        }
        Peer::Client(client) => login::authenticate(node, request, client, vhost).await?,
    };
    login::check(&node.broker, access, &login.principal, vhost).await?;
    Ok(Admitted { endpoint, login: Some(login), peer })
}

/// Runs the handler away from the threads that serve AMQP: a long list takes its time. It counts among
/// those at work until it is done, also if its client hangs up.
async fn carry_out(
    shared: &Shared,
    route: &'static Route,
    endpoint: &'static Endpoint,
    call: Call,
) -> Outcome {
    let permit = Arc::clone(&shared.permits).acquire_owned().await;
    let permit = permit.map_err(|_| Failure::Internal)?;
    let handle = move || {
        let _permit = permit;
        let outcome = (endpoint.handler)(&call);
        if endpoint.is_action && outcome.is_ok() && !call.actor.has_acted() {
            call.broker().record(&call.actor, &action::of(route, endpoint, &call));
        }
        outcome
    };
    tokio::task::spawn_blocking(handle).await.map_err(|_| Failure::Internal)?
}
