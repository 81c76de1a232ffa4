//! The chain of those who are asked for a login.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Instant;

use leveret_broker::access::{AccessControl, Principal, Rights, User};
use leveret_broker::{Actor, Broker, UserLimits};
use tokio::sync::Semaphore;

use crate::answers::Answers;
use crate::http::{self, HttpBackend};
use crate::ldap::{self, LdapBackend};
use crate::login::{Credentials, LoginRefused};
use crate::oauth2::OAuth2Backend;
use crate::remote::{Decider, Remote};
use crate::settings::{Backend, Settings, Step};
use crate::trouble::Trouble;

/// Everybody who is asked for logins.
pub struct Backends {
    access: Arc<AccessControl>,
    chain: Vec<Link>,
    http: Option<Arc<HttpBackend>>,
    oauth2: Option<OAuth2Backend>,
    ldap: Option<Arc<LdapBackend>>,
    /// Held while a hash is verified that takes its time, and 19 MiB.
    hashing: Arc<Semaphore>,
    /// Whose passwords are hashed anew when their users log in.
    rehashed: Option<Arc<Broker>>,
}

/// Such hashes are verified by one of so many processors, and by so many at a time at most.
const HASHING_PART: usize = 2;
const HASHING_MAX: usize = 4;

/// Whom a backend has let in, and who says what they may do.
struct Found {
    user: Arc<User>,
    own: Option<Arc<User>>,
    rights: Given,
}

enum Given {
    Rights(Rights),
    /// They are asked each time.
    By(Decider),
}

impl From<Principal> for Found {
    fn from(Principal { user, own, rights }: Principal) -> Self {
        Self { user, own, rights: Given::Rights(rights) }
    }
}

/// A step of the chain, and what is remembered of it.
#[derive(Debug)]
struct Link {
    step: Step,
    answers: Option<Arc<Answers>>,
}

impl Backends {
    /// The chain of these settings. `access` has the broker's own users.
    pub fn new(settings: &Settings, access: &Arc<AccessControl>) -> Self {
        let answers = settings.asks(Backend::Cache).then(|| Answers::new(settings.cache, access));
        let answers = answers.flatten();
        let chain = settings.chain.iter().map(|step| {
            let is_cached = step.authn == Backend::Cache || step.authz == Backend::Cache;
            let cached = settings.cache.cached;
            let behind = |own, cached| if own == Backend::Cache { cached } else { own };
            Link {
                step: Step {
                    authn: behind(step.authn, cached.authn),
                    authz: behind(step.authz, cached.authz),
                },
                answers: answers.clone().filter(|_| is_cached),
            }
        });
        let chain: Vec<Link> = chain.collect();
        let asks = |backend| {
            chain.iter().any(|link| link.step.authn == backend || link.step.authz == backend)
        };
        let http = asks(Backend::Http).then(|| {
            let trouble = Trouble::of(Backend::Http);
            Arc::new(HttpBackend::new(settings.http.clone(), trouble))
        });
        let oauth2 = asks(Backend::OAuth2)
            .then(|| OAuth2Backend::new(settings.oauth2.clone(), Trouble::of(Backend::OAuth2)));
        let ldap = asks(Backend::Ldap).then(|| {
            let trouble = Trouble::of(Backend::Ldap);
            Arc::new(LdapBackend::new(settings.ldap.clone(), trouble))
        });
        let processors = available_parallelism().map_or(1, NonZero::get);
        let hashing = (processors / HASHING_PART).clamp(1, HASHING_MAX);
        let hashing = Arc::new(Semaphore::new(hashing));
        Self { access: Arc::clone(access), chain, http, oauth2, ldap, hashing, rehashed: None }
    }

    /// Has passwords that are hashed otherwise than new ones hashed like those when their users log
    /// in.
    #[must_use]
    pub fn rehashing(self, broker: &Arc<Broker>) -> Self {
        Self { rehashed: Some(Arc::clone(broker)), ..self }
    }

    /// Whether nobody but the broker decides, at once.
    pub fn are_internal(&self) -> bool {
        let internal = Step { authn: Backend::Internal, authz: Backend::Internal };
        self.chain.iter().all(|link| link.step == internal)
    }

    /// Whether [`log_in`](Self::log_in) is not needed: nobody but the broker is asked, and it knows at
    /// once.
    pub fn know_at_once(&self, user: &str, password: Option<&[u8]>, is_local: bool) -> bool {
        let takes_time = |password| self.takes_time(user, password, is_local);
        self.are_internal() && !password.is_some_and(takes_time)
    }

    fn takes_time(&self, user: &str, password: &[u8], is_local: bool) -> bool {
        let is_rehashed = self.rehashed.is_some() && self.access.is_hashed_otherwise(user);
        is_rehashed || self.access.takes_time(user, password, is_local)
    }

    /// Asks one after the other, until somebody lets them in.
    ///
    /// # Errors
    /// What each had to say.
    pub async fn log_in(&self, credentials: &Credentials) -> Result<Principal, LoginRefused> {
        let mut refused: Option<LoginRefused> = None;
        for link in &self.chain {
            let asked = self.pass(link, credentials);
            let answer = match &link.answers {
                None => asked.await,
                Some(answers) => {
                    let who = (link.step.authn, link.step.authz);
                    answers.login(who, credentials, asked).await
                }
            };
            // RabbitMQ asks this of everybody whoever let them in.
            match answer.and_then(|found| self.check_origin(found, credentials)) {
                Ok(principal) => return Ok(principal),
                Err(why) => {
                    refused = Some(match refused {
                        None => why,
                        Some(others) => others.and(why),
                    });
                }
            }
        }
        Err(refused.unwrap_or_else(|| LoginRefused::new("nobody is asked")))
    }

    fn check_origin(
        &self,
        found: Principal,
        credentials: &Credentials,
    ) -> Result<Principal, LoginRefused> {
        self.may_come(&found.user.name, credentials).map(|()| found)
    }

    /// Whether a user of that name may come from where they do.
    fn may_come(&self, user: &str, credentials: &Credentials) -> Result<(), LoginRefused> {
        let checked = self.access.check_origin(user, credentials.is_local);
        checked.map_err(|failure| LoginRefused::new(failure.to_string()))
    }

    async fn pass(
        &self,
        link: &Link,
        credentials: &Credentials,
    ) -> Result<Principal, LoginRefused> {
        let Step { authn, authz } = link.step;
        let found = self.ask(authn, credentials).await?;
        if authn == authz {
            return Ok(principal(found, link, credentials));
        }
        // They are who they say they are; the second is asked what they may.
        let named = Credentials { user: found.user.name.clone(), ..credentials.clone() };
        let second = match authz {
            Backend::Internal | Backend::InternalLoopback => {
                Credentials { password: None, ..named }
            }
            _ => named,
        };
        let permitted = self.ask(authz, &second).await?;
        let more = match authz {
            // What it says of tags is asked with the login only.
            Backend::Http => Vec::new(),
            _ => permitted.user.tags.clone(),
        };
        let mut user = User::clone(&found.user);
        user.tags.extend(more.into_iter().filter(|tag| !found.user.tags.contains(tag)));
        let own = found.own.or(permitted.own);
        let found = Found { user: Arc::new(user), own, rights: permitted.rights };
        Ok(principal(found, link, credentials))
    }

    async fn ask(
        &self,
        backend: Backend,
        credentials: &Credentials,
    ) -> Result<Found, LoginRefused> {
        if matches!(backend, Backend::Http | Backend::Ldap) {
            // Or the time that it takes would tell from where they may not come whether the password is right.
            self.may_come(&credentials.user, credentials)?;
        }
        match backend {
            Backend::InternalLoopback if !credentials.is_local => {
                Err(LoginRefused::new("internal users can only connect via localhost"))
            }
            Backend::Internal | Backend::InternalLoopback => {
                self.internal(credentials).await.map(Found::from)
            }
            Backend::Http => {
                let http = self.http.as_ref().ok_or_else(not_there)?;
                match http.log_in(credentials).await {
                    Ok(http::Login::Allowed { tags }) => {
                        let user = Arc::new(outside(&credentials.user, tags));
                        let by = Decider::Http(Arc::clone(http));
                        Ok(Found { user, own: None, rights: Given::By(by) })
                    }
                    Ok(http::Login::Denied) => {
                        Err(LoginRefused::new("denied by the backing HTTP service"))
                    }
                    Err(error) => Err(LoginRefused::fault(format!(
                        "the backing HTTP service can't be asked: {error}"
                    ))),
                }
            }
            Backend::Ldap => {
                let ldap = self.ldap.as_ref().ok_or_else(not_there)?;
                match ldap.log_in(credentials).await {
                    Ok(ldap::Login::Allowed(entered)) => {
                        let user = Arc::new(outside(&credentials.user, entered.tags));
                        let by = Decider::Ldap(Arc::clone(ldap), entered.known);
                        Ok(Found { user, own: None, rights: Given::By(by) })
                    }
                    Ok(ldap::Login::Denied(why)) => {
                        Err(LoginRefused::new(format!("denied by LDAP: {why}")))
                    }
                    Err(error) => Err(LoginRefused::fault(format!("LDAP can't be asked: {error}"))),
                }
            }
            Backend::OAuth2 => {
                let oauth2 = self.oauth2.as_ref().ok_or_else(not_there)?;
                let found = oauth2.log_in(credentials.password.as_deref()).await;
                found.map(Found::from).map_err(|invalid| {
                    let why = format!("the token lets nobody in: {invalid}");
                    let refused = match invalid.is_fault() {
                        true => LoginRefused::fault(why),
                        false => LoginRefused::new(why),
                    };
                    if invalid.is_token() { refused.of_token() } else { refused }
                })
            }
            Backend::Cache => Err(not_there()),
        }
    }

    /// The broker's own users. A hash that takes its time is verified by a thread of its own, a few
    /// at a time: who floods the broker with logins waits for the others' of the flood.
    async fn internal(&self, credentials: &Credentials) -> Result<Principal, LoginRefused> {
        let (user, is_local) = (&credentials.user, credentials.is_local);
        let found = match &credentials.password {
            None => self.access.admit(user, is_local),
            Some(password) if !self.takes_time(user, password, is_local) => {
                self.access.authenticate(user, password, is_local)
            }
            Some(password) => {
                let attempt = Attempt::of(&self.access, credentials, password);
                let permit = Arc::clone(&self.hashing).acquire_owned().await;
                let permit = permit.map_err(|_| not_there())?;
                // Of many that are tried at a time only the first are worth a hash.
                let throttle = self.access.throttle();
                if throttle.wait(user, credentials.address, Instant::now()).is_some() {
                    attempt.answered();
                    return Err(LoginRefused::fault("too many wrong passwords meanwhile"));
                }
                let (access, credentials) = (Arc::clone(&self.access), credentials.clone());
                let rehashed = self.rehashed.clone();
                let verified = tokio::task::spawn_blocking(move || {
                    // It is at work until it is done, also if nobody waits for it any more.
                    let _permit = permit;
                    let password = credentials.password.as_deref().unwrap_or_default();
                    let found = access.authenticate(&credentials.user, password, is_local)?;
                    if let Some(broker) = rehashed {
                        rehash(&broker, &found, password);
                    }
                    Ok(found)
                });
                let verified = verified.await;
                attempt.answered();
                verified.map_err(|_| not_there())?
            }
        };
        found.map(Principal::from).map_err(|failure| LoginRefused::new(failure.to_string()))
    }
}

/// A login that waits for its hash. If its client doesn't wait for the answer it counts as a wrong one:
/// what it costs is spent, and whoever hangs up each time is to have no more looked at than others.
struct Attempt<'a> {
    access: &'a AccessControl,
    credentials: &'a Credentials,
    password: &'a [u8],
    is_answered: bool,
}

impl<'a> Attempt<'a> {
    fn of(access: &'a AccessControl, credentials: &'a Credentials, password: &'a [u8]) -> Self {
        Self { access, credentials, password, is_answered: false }
    }

    fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            let Credentials { user, address, .. } = self.credentials;
            self.access.throttle().failed(user, self.password, *address, Instant::now());
        }
    }
}

/// With the rights that are asked for each time made such.
fn principal(found: Found, link: &Link, credentials: &Credentials) -> Principal {
    let Found { user, own, rights } = found;
    let rights = match rights {
        Given::Rights(rights) => rights,
        Given::By(of) => {
            let (user, address) = (Arc::clone(&user), credentials.address);
            let answers = link.answers.as_ref().map(Arc::downgrade).unwrap_or_default();
            Rights::Remote(Arc::new(Remote { of, user, address, answers }))
        }
    };
    Principal { user, own, rights }
}

impl Settings {
    fn asks(&self, backend: Backend) -> bool {
        self.chain.iter().any(|step| step.authn == backend || step.authz == backend)
    }
}

/// Whom nobody but a backend knows.
fn outside(name: &str, tags: Vec<String>) -> User {
    let limits = UserLimits::default();
    User { name: name.to_owned(), password_hash: None, tags, limits }
}

/// The login is as good if that fails.
fn rehash(broker: &Broker, user: &User, password: &[u8]) {
    let actor = Actor::program();
    if let Err(error) = broker.administration(&actor).rehash_password(user, password) {
        tracing::warn!("the password of user '{}' is not hashed anew: {error}", user.name);
    }
}

/// The chain has only those that were made for it.
fn not_there() -> LoginRefused {
    LoginRefused::fault("there is no such backend")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::task::{Context, Waker};

    use leveret_broker::access::HashingAlgorithm;

    use super::*;

    #[test]
    fn nothing_is_hashed_for_who_names_nobody() {
        let access = AccessControl::new(["guest"]).hashing_with(HashingAlgorithm::Argon2id);
        let backends = Backends::new(&Settings::default(), &Arc::new(access));
        assert!(!backends.know_at_once("anna", Some(b"guess"), true));
        assert!(backends.know_at_once("", Some(b"guess"), true));
    }

    #[tokio::test]
    async fn nothing_is_hashed_for_who_has_to_wait() {
        let access = AccessControl::new(["guest"]).hashing_with(HashingAlgorithm::Argon2id);
        let access = Arc::new(access);
        let backends = Backends::new(&Settings::default(), &access);
        let address = Ipv4Addr::LOCALHOST.into();
        let (user, password) = ("anna".to_owned(), Some(b"guess".to_vec()));
        let credentials = Credentials { user, password, address, is_local: true, vhost: None };
        let refused = backends.log_in(&credentials).await.unwrap_err();
        assert!(refused.is_wrong("anna"), "{refused}");
        for guess in 0..20_u8 {
            access.throttle().failed("anna", &[guess], address, Instant::now());
        }
        // Not known to be wrong, as the first is by now.
        let credentials = Credentials { password: Some(b"another".to_vec()), ..credentials };
        let refused = backends.log_in(&credentials).await.unwrap_err();
        assert!(!refused.is_wrong("anna"), "{refused}");
    }

    #[tokio::test]
    async fn who_does_not_wait_for_the_answer_has_tried_a_password() {
        let access = AccessControl::new(["guest"]).hashing_with(HashingAlgorithm::Argon2id);
        let access = Arc::new(access);
        let backends = Backends::new(&Settings::default(), &access);
        let address = Ipv4Addr::LOCALHOST.into();
        let mut context = Context::from_waker(Waker::noop());
        for guess in 0..20_u8 {
            let (user, password) = ("anna".to_owned(), Some(vec![guess]));
            let credentials = Credentials { user, password, address, is_local: true, vhost: None };
            let mut login = Box::pin(backends.log_in(&credentials));
            let _ = login.as_mut().poll(&mut context);
        }
        assert!(access.throttle().wait("anna", address, Instant::now()).is_some());
    }
}
