//! From the greeting to `connection.open-ok`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use leveret_auth::{Credentials, LoginRefused};
use leveret_broker::access::{AuthFailure, Entrance, Principal, Rights, User, is_loopback};
use leveret_broker::{ConnectionAbout, ConnectionControl, Session, name_in_log, refusal};
use leveret_codec::{AmqpError, Table, TableBuf, connection};

use super::asking::Pending;
use super::{Connection, Context, Next, Phase};
use crate::sasl::{Identity, SaslError};
use crate::{clock, server};

/// Smallest frame-max a client may ask for: what RabbitMQ took before 4.1, and older clients ask.
pub(crate) const FRAME_MAX_MIN: u32 = 4096;

/// What the client said about itself.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) name: Option<String>,
    /// All it said, until the connection is open.
    properties: TableBuf,
    /// How it logs in, until the connection is open.
    mechanism: Box<str>,
    /// It understands `basic.cancel` from the broker.
    pub(super) consumer_cancel_notify: bool,
    /// It understands `connection.blocked`.
    pub(super) connection_blocked: bool,
    /// It wants to be told that its login failed.
    authentication_failure_close: bool,
}

impl Client {
    fn new(properties: Table<'_>, mechanism: &str) -> Self {
        let capabilities = properties.get("capabilities").and_then(|value| value.as_table());
        let has = |name| {
            let capability = capabilities.and_then(|capabilities| capabilities.get(name));
            capability.and_then(|value| value.as_bool()).unwrap_or(false)
        };
        let name = properties.get("connection_name").and_then(|value| value.as_str());
        Self {
            name: name.map(str::to_owned),
            properties: properties.into(),
            mechanism: mechanism.into(),
            consumer_cancel_notify: has("consumer_cancel_notify"),
            connection_blocked: has("connection.blocked"),
            authentication_failure_close: has("authentication_failure_close"),
        }
    }
}

/// Why somebody was not let in.
struct Refused {
    /// For the log.
    reason: String,
    because: Because,
    /// Whether the client is told that its login failed.
    is_told: bool,
}

#[derive(Clone, Copy)]
enum Because {
    /// What was shown does not let anybody in.
    Wrong,
    /// It was not looked at.
    Throttled,
    /// It could not be looked at.
    Unknown,
}

impl Refused {
    fn by_broker(failure: AuthFailure) -> Self {
        Self { reason: failure.to_string(), because: Because::Wrong, is_told: true }
    }

    fn by_backends(refused: &LoginRefused, user: &str) -> Self {
        let because = if refused.is_wrong(user) { Because::Wrong } else { Because::Unknown };
        Self { reason: refused.to_string(), because, is_told: true }
    }

    fn throttled(wait: Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        let reason =
            format!("too many wrong passwords, no further one is looked at for {seconds} s");
        Self { reason, because: Because::Throttled, is_told: true }
    }

    fn unread(error: &SaslError) -> Self {
        Self { reason: error.to_string(), because: Because::Unknown, is_told: error.is_login() }
    }
}

impl Connection {
    pub(super) fn start(&mut self) {
        let Context { broker, server_properties, .. } = &*self.context;
        let server_properties = server::server_properties(server_properties, broker.cluster_name());
        let mechanisms = self.context.logins.offered(self.peer.transport());
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: server_properties.as_table(),
            mechanisms: mechanisms.as_bytes(),
            locales: b"en_US",
        };
        self.outbox.write(|out| start.encode_frame(0, out));
    }

    pub(super) fn log_in(&mut self, start_ok: &connection::StartOk<'_>) -> Result<Next, AmqpError> {
        self.client = Client::new(start_ok.client_properties, start_ok.mechanism);
        let mechanism = start_ok.mechanism;
        let credentials = self.credentials(start_ok);
        // Also with the answer: the others of many that are tried at a time were wrong meanwhile.
        let throttled = credentials.as_ref().ok().and_then(|one| self.has_to_wait(one));
        let pending = self.pending.take().map(|pending| *pending);
        let login = match (throttled, pending, &credentials) {
            (Some(refused), ..) => Err(refused),
            (_, Some(Pending::LoggedIn(login)), _) => {
                let user = credentials.as_ref().map_or("", |one| &one.user);
                login.map_err(|refused| Refused::by_backends(&refused, user))
            }
            (_, _, Err(error)) => Err(Refused::unread(error)),
            (_, _, Ok(credentials)) if self.knows_at_once(credentials) => {
                self.authenticate(credentials).map_err(Refused::by_broker)
            }
            (_, _, Ok(credentials)) => {
                return Ok(self.wait_for(Pending::Login(credentials.clone())));
            }
        };
        self.peer.certificate = None;
        match login {
            Ok(principal) => {
                self.count_login(credentials.as_ref().ok(), Ok(&principal.user));
                self.offer_limits();
                self.principal = Some(principal);
                self.phase = Phase::Tuning;
                Ok(Next::Read)
            }
            Err(refused) => {
                self.count_login(credentials.as_ref().ok(), Err(refused.because));
                if self.may_log_refusal(&refused) {
                    let user = credentials.ok();
                    let user = user.map(|one| format!("user '{}': ", name_in_log(&one.user)));
                    tracing::error!(
                        "error on AMQP connection ({}): {} login refused: {}{}",
                        self.label(),
                        mechanism.escape_debug(),
                        user.unwrap_or_default(),
                        refused.reason
                    );
                }
                // RabbitMQ tells a failed login to those who can hear it, and a malformed one to
                // nobody.
                if refused.is_told && self.client.authentication_failure_close {
                    let refused = refusal::login_refused(mechanism);
                    self.outbox.write(|out| refused.encode_close(0, out));
                }
                self.phase = Phase::Closed;
                Ok(Next::Refused)
            }
        }
    }

    fn may_log_refusal(&self, refused: &Refused) -> bool {
        let lines = &self.context.admission.log_lines;
        let lines = match refused.because {
            Because::Throttled => &lines.throttled,
            Because::Wrong | Because::Unknown => &lines.refused,
        };
        lines.have_room(clock::now())
    }

    fn authenticate(&self, credentials: &Credentials) -> Result<Principal, AuthFailure> {
        let access = self.context.broker.access();
        let Credentials { user, password, is_local, .. } = credentials;
        let found = match password {
            Some(password) => access.authenticate(user, password, *is_local),
            None => access.admit(user, *is_local),
        };
        found.map(Principal::from)
    }

    /// Whether no password of this user is looked at, after too many wrong ones from this address.
    fn has_to_wait(&self, credentials: &Credentials) -> Option<Refused> {
        credentials.password.as_ref()?;
        let throttle = self.context.broker.access().throttle();
        let wait = throttle.wait(&credentials.user, credentials.address, Instant::now())?;
        Some(Refused::throttled(wait))
    }

    /// Counts a login, and remembers wrong passwords. With a token one is let in as whom it names: nothing is
    /// forgotten of another.
    fn count_login(&self, credentials: Option<&Credentials>, login: Result<&User, Because>) {
        let access = self.context.broker.access();
        match login {
            Err(Because::Throttled) => access.count_throttled(Entrance::Amqp091),
            _ => access.count_attempt(Entrance::Amqp091, login.is_ok()),
        }
        let Some(Credentials { user, password: Some(password), address, .. }) = credentials else {
            return;
        };
        match login {
            Ok(found) => access.throttle().succeeded(&found.name, *address),
            Err(Because::Wrong) => {
                access.throttle().failed(user, password, *address, Instant::now());
            }
            Err(Because::Throttled | Because::Unknown) => {}
        }
    }

    fn knows_at_once(&self, credentials: &Credentials) -> bool {
        let Credentials { user, password, is_local, .. } = credentials;
        self.context.backends.know_at_once(user, password.as_deref(), *is_local)
    }

    /// Who the client says it is.
    fn credentials(&self, start_ok: &connection::StartOk<'_>) -> Result<Credentials, SaslError> {
        let connection::StartOk { mechanism, response, .. } = *start_ok;
        let transport = self.peer.transport();
        let (user, password) = match self.context.logins.identity(mechanism, response, transport)? {
            Identity::Password { user, password } => (user.to_owned(), Some(password.to_vec())),
            Identity::Certificate { user } => (user, None),
        };
        let address = self.peer.address.ip();
        Ok(Credentials { user, password, address, is_local: is_loopback(address), vhost: None })
    }

    fn offer_limits(&mut self) {
        let amqp = &self.context.amqp;
        let tune = connection::Tune {
            channel_max: amqp.channel_max,
            frame_max: amqp.frame_max,
            heartbeat: amqp.heartbeat_seconds,
        };
        self.outbox.write(|out| tune.encode_frame(0, out));
    }

    pub(super) fn tune(&mut self, tune_ok: connection::TuneOk) -> Result<Next, AmqpError> {
        let amqp = &self.context.amqp;
        let offered = u32::from(amqp.channel_max);
        let asked = u32::from(tune_ok.channel_max);
        check_negotiated("channel_max", asked, 1, offered)?;
        check_negotiated("frame_max", tune_ok.frame_max, FRAME_MAX_MIN, amqp.frame_max)?;
        self.channel_max = tune_ok.channel_max;
        self.frame_max = tune_ok.frame_max;
        self.heartbeat_seconds = tune_ok.heartbeat;
        self.outbox.set_frame_max(tune_ok.frame_max);
        self.phase = Phase::Opening;
        Ok(Next::Read)
    }

    pub(super) fn open(&mut self, vhost: &str) -> Result<Next, AmqpError> {
        let principal = self.principal.clone();
        let principal = principal.ok_or_else(|| AmqpError::internal_error("no login"))?;
        let entry = match (self.pending.take().map(|pending| *pending), &principal.rights) {
            (Some(Pending::Entered(decision)), _) => Some(decision),
            (_, Rights::Remote(authority)) if self.context.broker.vhost(vhost).is_some() => {
                let question = Pending::Entry(Arc::clone(authority), vhost.to_owned());
                return Ok(self.wait_for(question));
            }
            _ => None,
        };
        let of_address_max = self.context.amqp.connection_max_per_address;
        let admitted = self.guest.open(of_address_max);
        admitted.map_err(|error| error.with_method(connection::Open::ID))?;
        let name: Arc<str> = self.peer.to_string().into();
        let broker = &self.context.broker;
        let session = Session::open(broker, principal, vhost, Arc::clone(&name), entry);
        let session = session.map_err(|error| error.with_method(connection::Open::ID))?;
        tracing::info!(
            "connection ({}): user '{}' authenticated and granted access to vhost '{}'",
            self.label(),
            session.user().name,
            session.vhost().name()
        );
        let about = ConnectionAbout {
            name,
            user: session.user().name.as_str().into(),
            peer: self.peer.address,
            local: self.peer.local,
            tls: self.peer.tls.clone(),
            protocol: "AMQP 0-9-1",
            mechanism: std::mem::take(&mut self.client.mechanism),
            client_properties: std::mem::take(&mut self.client.properties),
            connected_at: clock::now(),
            channel_max: self.channel_max,
            frame_max: self.frame_max,
            heartbeat_seconds: self.heartbeat_seconds,
        };
        self.registration = Some(self.context.broker.connections().register(
            session.id(),
            session.vhost(),
            about,
            Arc::clone(&self.control) as Arc<dyn ConnectionControl>,
            Arc::clone(&self.traffic),
        ));
        self.session = Some(session);
        self.phase = Phase::Running;
        self.outbox.write(|out| connection::OpenOk {}.encode_frame(0, out));
        Ok(Next::Read)
    }
}

/// RabbitMQ's rule: 0 stands for no limit, which only a broker without limit accepts.
fn check_negotiated(field: &str, asked: u32, min: u32, offered: u32) -> Result<(), AmqpError> {
    let refuse = |bound: &str, limit: u32| {
        let (comparison, unlimited) = match bound {
            "minimum" => ("lower", ""),
            _ => ("higher", if asked == 0 { " (no limit)" } else { "" }),
        };
        let text = format!(
            "negotiated {field} = {asked}{unlimited} is {comparison} than the {bound} allowed \
             value ({limit})"
        );
        Err(AmqpError::not_allowed(text).with_method(connection::Tune::ID))
    };
    if asked != 0 && asked < min {
        return refuse("minimum", min);
    }
    if offered != 0 && (asked == 0 || asked > offered) {
        return refuse("maximum", offered);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiation_is_refused_in_rabbitmqs_words() {
        let text = |asked, min, offered| {
            check_negotiated("channel_max", asked, min, offered).map_err(|e| e.reply_text())
        };
        assert_eq!(text(2047, 1, 2047), Ok(()));
        assert_eq!(
            text(5000, 1, 2047).unwrap_err(),
            "NOT_ALLOWED - negotiated channel_max = 5000 is higher than the maximum allowed value \
             (2047)"
        );
        assert_eq!(
            text(0, 1, 2047).unwrap_err(),
            "NOT_ALLOWED - negotiated channel_max = 0 (no limit) is higher than the maximum \
             allowed value (2047)"
        );
        assert_eq!(
            text(100, 4096, 131_072).unwrap_err(),
            "NOT_ALLOWED - negotiated channel_max = 100 is lower than the minimum allowed value \
             (4096)"
        );
    }
}
