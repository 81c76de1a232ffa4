//! What a handler answers, and how that goes over HTTP.

use std::borrow::Cow;
use std::fmt;

use axum::body::Body;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION, RETRY_AFTER, SET_COOKIE,
    VARY, WWW_AUTHENTICATE,
};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use leveret_codec::{AmqpError, ReplyCode, Scope};
use leveret_store::Lsn;
use serde_json::{Value, json};

use crate::room::Room;
use crate::sessions::Cookie;

/// What a handler comes to.
pub(crate) type Outcome = Result<Answer, Failure>;

/// A request that was carried out.
pub(crate) struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    /// What it takes of memory until it has left, if that counts.
    room: Option<Room>,
    /// In the place of `body`, what comes bit by bit.
    events: Option<Body>,
    content_type: &'static str,
    location: Option<String>,
    attachment: Option<String>,
    cookie: Option<Cookie>,
    /// Of what takes several requests, how much is left.
    left: usize,
    /// What has to be on disk before the answer may leave.
    commit: Option<Lsn>,
}

/// A body on its way to the client, and its room.
struct Held {
    body: Vec<u8>,
    _room: Room,
}

/// A request that was not carried out.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// 400, and why.
    BadRequest(Value),
    /// 400 with an error of its own: its name, and why.
    Named(&'static str, String),
    /// 401 without a word, for who sent no login.
    NoLogin,
    /// 401 for a wrong login.
    WrongLogin,
    /// 401: the session whose cookie was sent is over.
    SessionOver,
    /// 401 for one who may not, and why.
    Refused(Cow<'static, str>),
    /// 403: a page of another site made the request.
    Foreign,
    /// 404.
    NotFound,
    /// 404 for something the request refers to.
    Missing(String),
    /// 405: the endpoint has no such method.
    Method,
    /// 408: the body took too long.
    TooSlow,
    /// 412: the object is protected.
    Protected(String),
    /// 400: the body is too long.
    TooLarge,
    /// 429: after wrong passwords, no further one is looked at for some seconds.
    Throttled(u64),
    /// 429: the address makes more requests than it may.
    TooMany,
    /// 500: the answer could not be made.
    Internal,
    /// 503 with a body: a check that failed.
    Unhealthy(Value),
}

/// From this length on an answer takes room.
pub(crate) const FREE: usize = 16 * 1024;
/// Says how many queues have not been looked through yet.
const LEFT: HeaderName = HeaderName::from_static("leveret-queues-left");
const JSON: &str = "application/json";

impl Answer {
    fn empty(status: StatusCode) -> Self {
        Self {
            status,
            body: Vec::new(),
            room: None,
            events: None,
            content_type: JSON,
            location: None,
            attachment: None,
            cookie: None,
            left: 0,
            commit: None,
        }
    }

    /// 200 with a JSON value.
    pub(crate) fn json(value: &Value) -> Self {
        Self::bytes(value.to_string().into_bytes())
    }

    /// 200 with JSON that is written already.
    pub(crate) fn bytes(body: Vec<u8>) -> Self {
        Self { body, ..Self::empty(StatusCode::OK) }
    }

    /// 200 with text of some other type.
    pub(crate) fn text(content_type: &'static str, body: String) -> Self {
        Self { body: body.into_bytes(), content_type, ..Self::empty(StatusCode::OK) }
    }

    /// 200 with server-sent events, which go on.
    pub(crate) fn events(body: Body) -> Self {
        Self {
            events: Some(body),
            content_type: "text/event-stream",
            ..Self::empty(StatusCode::OK)
        }
    }

    /// 201.
    pub(crate) fn created() -> Self {
        Self::empty(StatusCode::CREATED)
    }

    /// 201, and where the new object is.
    pub(crate) fn created_at(location: String) -> Self {
        Self { location: Some(location), ..Self::created() }
    }

    /// 201 with a JSON value, and where the new object is.
    pub(crate) fn created_with(value: &Value, location: String) -> Self {
        Self { body: value.to_string().into_bytes(), ..Self::created_at(location) }
    }

    /// 204.
    pub(crate) fn done() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// Taking room until it has left: clients may take their time to read it.
    pub(crate) fn within(self, room: Room) -> Self {
        Self { room: Some(room), ..self }
    }

    /// The same for an answer that is there already, and can be asked for again. Short ones are free: a
    /// probe is to be answered whoever takes how much. And one that is longer than there is room for, as a list of
    /// very many queues is, has its turn while there is no other.
    ///
    /// # Errors
    /// 503 when others leave no room for it.
    pub(crate) fn if_within(mut self, mut room: Room) -> Result<Self, Failure> {
        if self.room.is_some() || self.body.len() < FREE {
            return Ok(self);
        }
        // It grew to as much as twice its length.
        self.body.shrink_to_fit();
        room.claim(self.body.capacity() as u64)?;
        Ok(self.within(room))
    }

    /// To be kept as a file of this name.
    pub(crate) fn attached_as(self, name: &str) -> Self {
        Self { attachment: Some(name.to_owned()), ..self }
    }

    /// With a cookie, for the browser only: nothing on the way may keep the answer.
    pub(crate) fn setting(self, cookie: Cookie) -> Self {
        Self { cookie: Some(cookie), ..self }
    }

    /// With a header that says how much is left for further requests, if something is.
    pub(crate) fn with_left(self, left: usize) -> Self {
        Self { left, ..self }
    }

    /// May leave once this is on disk.
    pub(crate) fn after(self, commit: Option<Lsn>) -> Self {
        Self { commit, ..self }
    }

    pub(crate) fn commit(&self) -> Option<Lsn> {
        self.commit
    }

    /// The response; a HEAD gets everything but the body.
    pub(crate) fn into_response(self, allow: &str) -> Response<Body> {
        let has_body = !self.body.is_empty() || self.events.is_some();
        let body = match self.room {
            Some(room) => Bytes::from_owner(Held { body: self.body, _room: room }),
            None => self.body.into(),
        };
        let mut response = response(self.status, body, allow);
        if let Some(events) = self.events {
            *response.body_mut() = events;
        }
        let headers = response.headers_mut();
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        if let Some(location) = self.location.and_then(|it| HeaderValue::try_from(it).ok()) {
            headers.insert(LOCATION, location);
        }
        if self.left > 0 {
            headers.insert(LEFT, self.left.into());
        }
        let disposition = self.attachment.map(|name| format!("attachment; filename={name}"));
        if let Some(value) = disposition.and_then(|it| HeaderValue::try_from(it).ok()) {
            headers.insert(CONTENT_DISPOSITION, value);
        }
        let cookie = self.cookie.and_then(|it| HeaderValue::try_from(it.into_header()).ok());
        if let Some(cookie) = cookie {
            headers.insert(SET_COOKIE, cookie);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        response
    }
}

impl Failure {
    /// 400 with a reason.
    pub(crate) fn bad_request(reason: impl Into<String>) -> Self {
        Self::BadRequest(Value::String(reason.into()))
    }

    /// 503: others take what memory there is for requests and answers.
    pub(crate) fn no_room() -> Self {
        let reason = "requests and answers take more memory than they may, try again";
        Self::Unhealthy(json!({ "error": "service_unavailable", "reason": reason }))
    }

    /// 503: the broker stops before it is done.
    pub(crate) fn stopping() -> Self {
        let reason = "the broker stops";
        Self::Unhealthy(json!({ "error": "service_unavailable", "reason": reason }))
    }

    /// What the broker refused over AMQP, as RabbitMQ shows it here.
    pub(crate) fn of_broker(error: &AmqpError) -> Self {
        let code = error.code();
        if code == ReplyCode::ACCESS_REFUSED || code == ReplyCode::NOT_ALLOWED {
            Self::Refused("Access refused.".into())
        } else if code == ReplyCode::NOT_FOUND {
            Self::Missing(error.text().to_owned())
        } else {
            Self::bad_request(error.text())
        }
    }

    /// What would have closed the channel of a client, for what RabbitMQ does here as a client.
    pub(crate) fn of_channel(error: &AmqpError) -> Self {
        let (code, text) = (error.code(), error.reply_text());
        if code == ReplyCode::ACCESS_REFUSED {
            Self::Refused(text.into())
        } else if code == ReplyCode::NOT_FOUND {
            Self::Missing(text)
        } else {
            Self::of_closed_channel(error)
        }
    }

    /// The same where RabbitMQ hears of it only when its channel is gone, as a publish has no answer.
    /// What would close the connection has no name there.
    pub(crate) fn of_closed_channel(error: &AmqpError) -> Self {
        let text = match error.scope() {
            Scope::Channel => error.reply_text(),
            Scope::Connection => error.text().to_owned(),
        };
        Self::bad_request(format!("{} {text}", error.code().value()))
    }

    pub(crate) fn into_response(self, allow: &str) -> Response<Body> {
        let error = |status, error: &str, reason: Value| {
            (status, Some(json!({ "error": error, "reason": reason })))
        };
        let unauthorized = StatusCode::UNAUTHORIZED;
        let (status, body) = match &self {
            Self::BadRequest(why) => error(StatusCode::BAD_REQUEST, "bad_request", why.clone()),
            Self::Named(name, why) => {
                error(StatusCode::BAD_REQUEST, name, Value::from(why.as_str()))
            }
            Self::NoLogin => (unauthorized, None),
            Self::WrongLogin => error(unauthorized, "not_authorized", "Not_Authorized".into()),
            Self::SessionOver => {
                error(unauthorized, "not_authorized", "The session is over, log in again".into())
            }
            Self::Refused(why) => error(unauthorized, "not_authorised", why.as_ref().into()),
            Self::Foreign => {
                let why = "made by a page of an origin that is not allowed";
                error(StatusCode::FORBIDDEN, "forbidden", why.into())
            }
            Self::NotFound => error(StatusCode::NOT_FOUND, "Object Not Found", "Not Found".into()),
            Self::Missing(why) => error(StatusCode::NOT_FOUND, "not_found", why.as_str().into()),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, None),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, None),
            Self::Protected(why) => {
                error(StatusCode::PRECONDITION_FAILED, "precondition_failed", why.as_str().into())
            }
            Self::TooLarge => {
                let why = "Exceeded HTTP request body size limit";
                error(StatusCode::BAD_REQUEST, "bad_request", why.into())
            }
            Self::Throttled(_) => {
                let why = "too many wrong passwords, wait a moment";
                error(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", why.into())
            }
            Self::TooMany => {
                let why = "more requests than this address may make in a second";
                error(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", why.into())
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, None),
            Self::Unhealthy(body) => (StatusCode::SERVICE_UNAVAILABLE, Some(body.clone())),
        };
        let bytes = body.map(|body| body.to_string().into_bytes());
        let has_body = bytes.is_some();
        let mut response = response(status, bytes.unwrap_or_default().into(), allow);
        let headers = response.headers_mut();
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        }
        if self == Self::NoLogin {
            let realm = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
            headers.insert(WWW_AUTHENTICATE, realm);
        }
        let wait = match self {
            Self::Throttled(seconds) => Some(seconds),
            Self::TooMany => Some(1),
            _ => None,
        };
        if let Some(seconds) = wait {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// The reason, for a log.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest(Value::String(reason)) => f.write_str(reason),
            Self::BadRequest(reason) | Self::Unhealthy(reason) => reason.fmt(f),
            Self::Named(_, reason) | Self::Missing(reason) | Self::Protected(reason) => {
                f.write_str(reason)
            }
            Self::Refused(reason) => f.write_str(reason),
            Self::NoLogin | Self::WrongLogin | Self::SessionOver => f.write_str("not authorised"),
            Self::Foreign => f.write_str("not allowed"),
            Self::Throttled(_) => f.write_str("too many wrong passwords"),
            Self::TooMany => f.write_str("too many requests"),
            Self::NotFound => f.write_str("not found"),
            Self::Method => f.write_str("no such method"),
            Self::TooSlow => f.write_str("took too long"),
            Self::TooLarge => f.write_str("too long"),
            Self::Internal => f.write_str("an internal error"),
        }
    }
}

impl From<AmqpError> for Failure {
    fn from(error: AmqpError) -> Self {
        Self::of_broker(&error)
    }
}

fn response(status: StatusCode, body: Bytes, allow: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(allow) = HeaderValue::try_from(allow) {
        headers.insert(ALLOW, allow);
    }
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding, origin"));
    response
}
