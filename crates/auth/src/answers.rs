//! What is remembered of answers, for as long as `auth_cache.cache_ttl` says.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use leveret_broker::access::{AccessControl, Decision, Principal, Question};
use parking_lot::Mutex;
use ring::hmac;

use crate::login::{Credentials, LoginRefused};
use crate::settings::{Backend, CacheSettings};

/// Answers at a time. Where there are more, the oldest goes.
const ENTRIES_MAX: usize = 8192;

#[derive(Debug)]
pub(crate) struct Answers {
    ttl: Duration,
    keeps_refusals: bool,
    /// With which what somebody shows is hidden. Nobody knows it, so what is kept tells nobody a
    /// password.
    key: hmac::Key,
    /// The broker's own users, who may have had a part in a login.
    access: Arc<AccessControl>,
    logins: Mutex<Remembered<LoginKey, Result<Principal, LoginRefused>>>,
    decisions: Mutex<Remembered<DecisionKey, Decision>>,
}

/// Keys and values with the time of the answer.
type Remembered<K, V> = AHashMap<K, (Instant, V)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct LoginKey {
    backend: (Backend, Backend),
    address: IpAddr,
    is_local: bool,
    /// What is shown, and the vhost: as a digest, for a stranger's may be long.
    shown: [u8; 32],
}

/// Who wants to do what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DecisionKey {
    pub(crate) backend: Backend,
    pub(crate) user: String,
    pub(crate) tags: Vec<String>,
    pub(crate) address: IpAddr,
    pub(crate) vhost: Box<str>,
    pub(crate) question: Question,
}

impl Answers {
    /// `None` if the system has no random bytes.
    pub(crate) fn new(settings: CacheSettings, access: &Arc<AccessControl>) -> Option<Arc<Self>> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).ok()?;
        Some(Arc::new(Self {
            ttl: settings.ttl,
            keeps_refusals: settings.refusals,
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            access: Arc::clone(access),
            logins: Mutex::default(),
            decisions: Mutex::default(),
        }))
    }

    /// What was answered to a login, or what it is answered now. Nobody is let in again whose token
    /// has expired, or who is no longer the user of the broker's own that they were.
    pub(crate) async fn login(
        &self,
        backend: (Backend, Backend),
        credentials: &Credentials,
        ask: impl Future<Output = Result<Principal, LoginRefused>>,
    ) -> Result<Principal, LoginRefused> {
        let shown = self.digest(credentials);
        let Credentials { address, is_local, .. } = *credentials;
        let key = LoginKey { backend, address, is_local, shown };
        let known = find(&self.logins, &key, self.ttl);
        if let Some(known) = known
            && known.as_ref().ok().is_none_or(|principal| self.goes_on(principal))
        {
            return known;
        }
        let answer = ask.await;
        let is_kept = match &answer {
            Ok(_) => true,
            Err(refused) => self.keeps_refusals && !refused.is_fault(),
        };
        if is_kept {
            keep(&self.logins, key, answer.clone(), self.ttl);
        }
        answer
    }

    fn digest(&self, credentials: &Credentials) -> [u8; 32] {
        let Credentials { user, password, vhost, .. } = credentials;
        let parts =
            [Some(user.as_bytes()), password.as_deref(), vhost.as_deref().map(str::as_bytes)];
        let mut digest = hmac::Context::with_key(&self.key);
        for part in parts {
            // With its length none is taken for a piece of another.
            digest.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
            digest.update(part.unwrap_or_default());
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.sign().as_ref());
        bytes
    }

    fn goes_on(&self, principal: &Principal) -> bool {
        let own = principal.own.as_ref();
        !principal.has_expired()
            && own.is_none_or(|before| {
                self.access.user(&before.name).is_some_and(|user| Arc::ptr_eq(&user, before))
            })
    }

    /// What was decided, or what is decided now.
    pub(crate) async fn decision<E>(
        &self,
        key: DecisionKey,
        ask: impl Future<Output = Result<Decision, E>>,
    ) -> Result<Decision, E> {
        if let Some(known) = find(&self.decisions, &key, self.ttl) {
            return Ok(known);
        }
        let decision = ask.await?;
        if decision.is_allowed() || self.keeps_refusals {
            keep(&self.decisions, key, decision.clone(), self.ttl);
        }
        Ok(decision)
    }
}

fn find<K, V>(all: &Mutex<Remembered<K, V>>, key: &K, ttl: Duration) -> Option<V>
where
    K: Eq + std::hash::Hash,
    V: Clone,
{
    let all = all.lock();
    let (since, value) = all.get(key)?;
    (since.elapsed() < ttl).then(|| value.clone())
}

fn keep<K, V>(all: &Mutex<Remembered<K, V>>, key: K, value: V, ttl: Duration)
where
    K: Clone + Eq + std::hash::Hash,
{
    let mut all = all.lock();
    if all.len() >= ENTRIES_MAX && !all.contains_key(&key) {
        all.retain(|_, (since, _)| since.elapsed() < ttl);
        let oldest = all.iter().min_by_key(|(_, (since, _))| *since).map(|(key, _)| key.clone());
        if let (true, Some(oldest)) = (all.len() >= ENTRIES_MAX, oldest) {
            all.remove(&oldest);
        }
    }
    all.insert(key, (Instant::now(), value));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::settings::Settings;

    fn remembering(refusals: bool, ttl: Duration) -> Arc<Answers> {
        let access = Arc::new(AccessControl::new(["guest"]));
        let settings = CacheSettings { refusals, ttl, ..Settings::default().cache };
        Answers::new(settings, &access).unwrap()
    }

    fn key(user: &str) -> DecisionKey {
        DecisionKey {
            backend: Backend::Http,
            user: user.to_owned(),
            tags: Vec::new(),
            address: Ipv4Addr::LOCALHOST.into(),
            vhost: "/".into(),
            question: Question::Vhost,
        }
    }

    async fn ask(answers: &Answers, user: &str, decision: Decision) -> Decision {
        let asked: Result<_, ()> = answers.decision(key(user), async { Ok(decision) }).await;
        asked.unwrap()
    }

    #[test]
    fn each_login_has_a_digest_of_its_own() {
        let answers = remembering(true, HOUR);
        let logins = [
            ("ab", Some("c"), None),
            ("a", Some("bc"), None),
            ("a", Some("b"), Some("c")),
            ("a", Some(""), None),
            ("a", None, None),
            ("a", None, Some("")),
        ];
        let logins = logins.map(|(user, password, vhost)| Credentials {
            user: user.to_owned(),
            password: password.map(|text: &str| text.as_bytes().to_vec()),
            address: Ipv4Addr::LOCALHOST.into(),
            is_local: true,
            vhost: vhost.map(str::to_owned),
        });
        let digests: HashSet<_> = logins.iter().map(|one| answers.digest(one)).collect();
        assert_eq!(digests.len(), logins.len());
        let others = remembering(true, HOUR);
        assert!(logins.iter().all(|one| digests.contains(&answers.digest(one))));
        assert!(logins.iter().all(|one| !digests.contains(&others.digest(one))), "a secret key");
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn what_was_allowed_stays_so_and_refusals_only_if_asked_for() {
        let answers = remembering(false, HOUR);
        assert!(ask(&answers, "a", Decision::Allowed).await.is_allowed());
        assert!(ask(&answers, "a", Decision::REFUSED).await.is_allowed());
        assert!(!ask(&answers, "b", Decision::REFUSED).await.is_allowed());
        assert!(ask(&answers, "b", Decision::Allowed).await.is_allowed());
        let answers = remembering(true, HOUR);
        assert!(!ask(&answers, "b", Decision::REFUSED).await.is_allowed());
        assert!(!ask(&answers, "b", Decision::Allowed).await.is_allowed());
        let answers = remembering(true, Duration::ZERO);
        assert!(ask(&answers, "a", Decision::Allowed).await.is_allowed());
        assert!(!ask(&answers, "a", Decision::REFUSED).await.is_allowed());
    }

    #[tokio::test]
    async fn a_fault_is_not_remembered() {
        let answers = remembering(true, HOUR);
        let failed: Result<Decision, &str> =
            answers.decision(key("a"), async { Err("dead") }).await;
        assert_eq!(failed, Err("dead"));
        assert!(ask(&answers, "a", Decision::Allowed).await.is_allowed());
    }

    #[tokio::test]
    async fn the_number_of_answers_is_bounded() {
        let answers = remembering(true, HOUR);
        for user in 0..=ENTRIES_MAX {
            ask(&answers, &user.to_string(), Decision::Allowed).await;
        }
        assert_eq!(answers.decisions.lock().len(), ENTRIES_MAX);
        assert!(!ask(&answers, "0", Decision::REFUSED).await.is_allowed(), "the oldest is gone");
    }
}
