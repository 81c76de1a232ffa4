//! What is remembered of answers, for as long as `auth_cache.cache_ttl` says.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use leveret_broker::access::{Decision, Principal, Question};
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
    /// With which passwords are hidden. Nobody knows it, so what is kept tells nobody a password.
    key: hmac::Key,
    logins: Mutex<Remembered<LoginKey, Result<Principal, LoginRefused>>>,
    decisions: Mutex<Remembered<DecisionKey, Decision>>,
}

/// Keys and values with the time of the answer.
type Remembered<K, V> = AHashMap<K, (Instant, V)>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LoginKey {
    backend: (Backend, Backend),
    user: String,
    password: Option<Vec<u8>>,
    address: IpAddr,
    vhost: Option<String>,
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
    pub(crate) fn new(settings: CacheSettings) -> Option<Arc<Self>> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).ok()?;
        Some(Arc::new(Self {
            ttl: settings.ttl,
            keeps_refusals: settings.refusals,
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            logins: Mutex::default(),
            decisions: Mutex::default(),
        }))
    }

    /// What was answered to a login, or what it is answered now.
    pub(crate) async fn login(
        &self,
        backend: (Backend, Backend),
        credentials: &Credentials,
        ask: impl Future<Output = Result<Principal, LoginRefused>>,
    ) -> Result<Principal, LoginRefused> {
        let Credentials { user, password, address, vhost } = credentials.clone();
        let password = password.map(|text| hmac::sign(&self.key, &text).as_ref().to_vec());
        let key = LoginKey { backend, user, password, address, vhost };
        if let Some(known) = find(&self.logins, &key, self.ttl) {
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
    use std::net::Ipv4Addr;

    use super::*;
    use crate::settings::Settings;

    fn remembering(refusals: bool, ttl: Duration) -> Arc<Answers> {
        Answers::new(CacheSettings { refusals, ttl, ..Settings::default().cache }).unwrap()
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
