//! The rights of somebody whom a backend has let in: it is asked each time.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use leveret_broker::access::{Authority, Decision, Question, User};
use tokio::runtime::Handle;

use crate::answers::{Answers, DecisionKey};
use crate::http::HttpBackend;
use crate::ldap::{Known, LdapBackend};
use crate::settings::Backend;

pub(crate) struct Remote {
    pub(crate) of: Decider,
    pub(crate) user: Arc<User>,
    pub(crate) address: IpAddr,
    /// They remember whoever has these rights: it isn't theirs to keep.
    pub(crate) answers: Weak<Answers>,
}

/// Who decides.
#[derive(Clone, Debug)]
pub(crate) enum Decider {
    Http(Arc<HttpBackend>),
    Ldap(Arc<LdapBackend>, Known),
}

impl Decider {
    fn backend(&self) -> Backend {
        match self {
            Self::Http(_) => Backend::Http,
            Self::Ldap(..) => Backend::Ldap,
        }
    }
}

impl Remote {
    async fn decide(&self, vhost: &str, question: &Question) -> Decision {
        let asked = async {
            match &self.of {
                Decider::Http(http) => {
                    let address = self.address.to_canonical().to_string();
                    let asked = http.decide(&self.user, &address, vhost, question).await;
                    asked.map_err(|error| error.code())
                }
                Decider::Ldap(ldap, known) => {
                    let asked = ldap.decide(&self.user, known, vhost, question).await;
                    asked.map_err(|error| error.code().to_owned())
                }
            }
        };
        let backend = self.of.backend();
        let decided = match self.answers.upgrade() {
            None => asked.await,
            Some(answers) => {
                let key = DecisionKey {
                    backend,
                    user: self.user.name.clone(),
                    tags: self.user.tags.clone(),
                    address: self.address,
                    vhost: vhost.into(),
                    question: question.clone(),
                };
                answers.decision(key, asked).await
            }
        };
        decided.unwrap_or_else(|code| {
            let why = format!(", backend {} returned an error: {code}", backend.module());
            Decision::Refused(Some(why.into()))
        })
    }
}

impl Authority for Remote {
    fn ask<'a>(
        &'a self,
        vhost: &'a str,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Decision> + Send + 'a>> {
        Box::pin(self.decide(vhost, question))
    }

    fn ask_and_wait(&self, vhost: &str, question: &Question) -> Decision {
        match Handle::try_current() {
            Ok(runtime) => runtime.block_on(self.decide(vhost, question)),
            Err(_) => Decision::REFUSED,
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.of.backend().name(), self.user.name)
    }
}
