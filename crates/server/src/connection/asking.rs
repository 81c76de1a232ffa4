//! What a connection has to ask somebody outside, and how it goes on with the answer.
//!
//! Nothing waits here. A frame that can't be done without an answer is left where it is
//! ([`Next::Ask`]), with all that follow it; with the answer it is taken again, from the beginning. As
//! permissions are looked at before anything else, that does nothing twice.

use std::sync::Arc;
use std::time::Duration;

use leveret_auth::{Backends, Credentials, LoginRefused};
use leveret_broker::access::{Authority, Decision, Principal, Question, Rights, is_loopback};
use leveret_broker::refusal;
use leveret_codec::{AmqpError, connection};
use leveret_engine::Body;

use super::{Connection, Next, Phase};

/// A question, or the answer to it that is to be used.
pub(super) enum Pending {
    /// Who the client is.
    Login(Credentials),
    LoggedIn(Result<Principal, LoginRefused>),
    /// Whether it may enter the vhost.
    Entry(Arc<dyn Authority>, String),
    Entered(Decision),
    /// Whether a new secret is as good as the one before.
    Renewal(Credentials),
    Renewed(Result<Principal, LoginRefused>),
    /// A message has come whole, and whether it may be published is not known.
    Publish {
        channel: u16,
        body: Body<'static>,
    },
}

/// What is to be asked: all that takes to do it.
pub(crate) enum Asking {
    Login(Credentials),
    Renewal(Credentials),
    Entry(Arc<dyn Authority>, String),
    Question(Arc<dyn Authority>, String, Question),
}

/// The answer.
pub(crate) enum Answered {
    Login(Result<Principal, LoginRefused>),
    Renewal(Result<Principal, LoginRefused>),
    Entry(Decision),
    Question(Decision),
}

impl Asking {
    /// Asks.
    pub(crate) async fn ask(self, backends: &Backends) -> Answered {
        match self {
            Self::Login(credentials) => Answered::Login(backends.log_in(&credentials).await),
            Self::Renewal(credentials) => Answered::Renewal(backends.log_in(&credentials).await),
            Self::Entry(authority, vhost) => {
                Answered::Entry(authority.ask(&vhost, &Question::Vhost).await)
            }
            Self::Question(authority, vhost, question) => {
                Answered::Question(authority.ask(&vhost, &question).await)
            }
        }
    }
}

impl Connection {
    /// What the connection waits for.
    pub(crate) fn asking(&self) -> Option<Asking> {
        match self.pending.as_deref() {
            Some(Pending::Login(credentials)) => return Some(Asking::Login(credentials.clone())),
            Some(Pending::Renewal(credentials)) => {
                return Some(Asking::Renewal(credentials.clone()));
            }
            Some(Pending::Entry(authority, vhost)) => {
                return Some(Asking::Entry(Arc::clone(authority), vhost.clone()));
            }
            _ => {}
        }
        let session = self.session.as_ref()?;
        let (authority, question) = session.open_question()?;
        let vhost = session.vhost().name().as_ref().to_owned();
        Some(Asking::Question(Arc::clone(authority), vhost, question.clone()))
    }

    /// The answer to that.
    pub(crate) fn answered(&mut self, answer: Answered) {
        let answer = match answer {
            Answered::Login(login) => Pending::LoggedIn(login),
            Answered::Renewal(login) => Pending::Renewed(login),
            Answered::Entry(decision) => Pending::Entered(decision),
            Answered::Question(decision) => {
                if let Some(session) = &mut self.session {
                    session.answer(decision);
                }
                return;
            }
        };
        self.pending = Some(Box::new(answer));
    }

    /// Leaves what is being done until somebody has answered.
    pub(super) fn wait_for(&mut self, question: Pending) -> Next {
        self.pending = Some(Box::new(question));
        Next::Ask
    }

    pub(super) fn has_open_question(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.open_question().is_some())
    }

    /// Whether the frame that led to a question is to be taken again: all but the last one of a
    /// message, which is kept otherwise.
    pub(super) fn comes_again(&mut self) -> bool {
        self.has_asked = true;
        !matches!(self.pending.as_deref(), Some(Pending::Publish { .. }))
    }

    /// What answers were asked for is done, if it is.
    pub(super) fn answers_used(&mut self, next: Next) {
        if self.has_asked && next != Next::Ask {
            self.has_asked = false;
            if let Some(session) = &mut self.session {
                session.settle_answers();
            }
        }
    }

    /// Keeps a message that came whole until it is known whether it may be published.
    pub(super) fn postpone(&mut self, channel: u16, body: Body<'static>) {
        self.pending = Some(Box::new(Pending::Publish { channel, body }));
    }

    /// Publishes what was kept.
    pub(super) fn publish_postponed(&mut self) -> Next {
        let Some(pending) = self.pending.take_if(|one| matches!(**one, Pending::Publish { .. }))
        else {
            return Next::Read;
        };
        let Pending::Publish { channel, body } = *pending else { return Next::Read };
        let published = self.publish_assembled(channel, body);
        let next = self.outcome(channel, published.map(|()| Next::Read));
        self.answers_used(next);
        next
    }

    /// `connection.update-secret`: the rights are those of the new token from now on. Consumers of
    /// queues that may no longer be read are cancelled, which is done for users without a secret that
    /// expires as well.
    ///
    /// # Errors
    /// 530 when the token is not good, or not the same user's, or doesn't allow the vhost.
    pub(super) fn update_secret(
        &mut self,
        update: &connection::UpdateSecret<'_>,
    ) -> Result<Next, AmqpError> {
        self.flush();
        let id = connection::UpdateSecret::ID;
        let renewed = match self.pending.take().map(|pending| *pending) {
            Some(Pending::Renewed(renewed)) => Some(renewed),
            _ => None,
        };
        let principal = self.principal.as_ref();
        let has_token = principal.is_some_and(|one| matches!(one.rights, Rights::Token(_)));
        match renewed {
            Some(renewed) => self.renew(renewed).map_err(|error| error.with_method(id))?,
            None if has_token && !self.has_asked => {
                let address = self.peer.address.ip();
                let credentials = Credentials {
                    user: principal.map(|one| one.user.name.clone()).unwrap_or_default(),
                    password: Some(update.new_secret.to_vec()),
                    address,
                    is_local: is_loopback(address),
                    vhost: None,
                };
                return Ok(self.wait_for(Pending::Renewal(credentials)));
            }
            None => {}
        }
        if let (false, Some(session)) = (self.has_asked, &mut self.session) {
            session.forget_answers();
        }
        let Some(unreadable) = self.unreadable() else { return Ok(Next::Ask) };
        self.reply(|out| connection::UpdateSecretOk {}.encode_frame(0, out));
        self.cancel_all(unreadable);
        Ok(Next::Read)
    }

    fn renew(&mut self, renewed: Result<Principal, LoginRefused>) -> Result<(), AmqpError> {
        let label = self.label();
        let (Some(session), Some(before)) = (&mut self.session, &self.principal) else {
            return Err(AmqpError::internal_error("no session"));
        };
        let user = &before.user.name;
        let new = match renewed {
            Ok(new) if new.user.name == *user && matches!(new.rights, Rights::Token(_)) => new,
            other => {
                let why = match other {
                    Ok(_) => "it is another user's".to_owned(),
                    Err(refused) => refused.to_string(),
                };
                tracing::error!(
                    "secret update was refused on AMQP connection ({label}), user '{}': {why}",
                    user.escape_debug()
                );
                return Err(refusal::new_secret_refused());
            }
        };
        session.renew(&new)?;
        tracing::info!("connection ({label}): user '{}' updated secret", user.escape_debug());
        self.principal = Some(new);
        Ok(())
    }

    /// How long the login lasts yet, if it ends.
    pub(crate) fn login_left(&self) -> Option<Duration> {
        self.principal.as_ref().filter(|_| self.session.is_some())?.left()
    }

    /// Closes the connection of a client whose login has ended.
    pub(crate) fn check_expiry(&mut self) {
        if let Phase::Running = self.phase
            && self.login_left().is_some_and(|left| left.is_zero())
        {
            tracing::warn!("closing AMQP connection ({}): credential has expired", self.label());
            self.fail(refusal::credential_expired());
            self.end_turn();
        }
    }
}
