//! What is remembered of answers, for as long as `auth_cache.cache_ttl` says.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use leveret_broker::access::{AccessControl, Decision, Principal, Question, Rights};
use parking_lot::Mutex;
use ring::hmac;

use crate::login::{Credentials, LoginRefused};
use crate::settings::{Backend, CacheSettings};

/// Answers at a time. Where there are more, the older half goes.
const ENTRIES_MAX: usize = 8192;
/// What they may take together, in bytes: what a token claims may be long.
const BYTES_MAX: usize = 16 << 20;
/// What one takes besides texts, about.
const ENTRY: usize = 256;

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

/// Answers with their times.
#[derive(Debug)]
struct Remembered<K, V> {
    entries: AHashMap<K, Entry<V>>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    since: Instant,
    bytes: usize,
    value: V,
}

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
        let shown = self.digest(backend.0, credentials);
        let Credentials { address, is_local, .. } = *credentials;
        let key = LoginKey { backend, address, is_local, shown };
        let known = self.logins.lock().find(&key, self.ttl);
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
            self.logins.lock().keep(key, answer.clone(), bytes_of(&answer), self.ttl);
        }
        answer
    }

    /// The name beside a token is none of it: or each would make another answer to the same token.
    fn digest(&self, authn: Backend, credentials: &Credentials) -> [u8; 32] {
        let Credentials { user, password, vhost, .. } = credentials;
        let user = if authn == Backend::OAuth2 { "" } else { user };
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
        if let Some(known) = self.decisions.lock().find(&key, self.ttl) {
            return Ok(known);
        }
        let decision = ask.await?;
        if decision.is_allowed() || self.keeps_refusals {
            let bytes = key.bytes();
            self.decisions.lock().keep(key, decision.clone(), bytes, self.ttl);
        }
        Ok(decision)
    }
}

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self { entries: AHashMap::new(), bytes: 0 }
    }
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    fn find(&self, key: &K, ttl: Duration) -> Option<V> {
        let entry = self.entries.get(key)?;
        (entry.since.elapsed() < ttl).then(|| entry.value.clone())
    }

    /// What takes more than all may take is not kept.
    fn keep(&mut self, key: K, value: V, bytes: usize, ttl: Duration) {
        if let Some(before) = self.entries.remove(&key) {
            self.bytes -= before.bytes;
        }
        let bytes = bytes + ENTRY;
        if bytes > BYTES_MAX {
            return;
        }
        if self.is_full_with(bytes) {
            self.retain(|entry| entry.since.elapsed() < ttl);
        }
        while self.is_full_with(bytes) {
            let mut times: Vec<Instant> = self.entries.values().map(|entry| entry.since).collect();
            let middle = times.len() / 2;
            let (_, middle, _) = times.select_nth_unstable(middle);
            self.retain(|entry| entry.since > *middle);
        }
        self.bytes += bytes;
        self.entries.insert(key, Entry { since: Instant::now(), bytes, value });
    }

    fn is_full_with(&self, bytes: usize) -> bool {
        self.entries.len() >= ENTRIES_MAX || self.bytes + bytes > BYTES_MAX
    }

    fn retain(&mut self, is_kept: impl Fn(&Entry<V>) -> bool) {
        self.entries.retain(|_, entry| is_kept(entry));
        self.bytes = self.entries.values().map(|entry| entry.bytes).sum();
    }
}

/// What the texts of an answer to a login take.
fn bytes_of(answer: &Result<Principal, LoginRefused>) -> usize {
    let Ok(Principal { user, rights, .. }) = answer else { return 0 };
    let of_user = user.name.len() + bytes(&user.tags);
    match rights {
        Rights::Token(token) => {
            let claims = token.claims.iter().map(|(name, value)| ENTRY + name.len() + value.len());
            of_user + bytes(&token.scopes) + claims.sum::<usize>()
        }
        Rights::Internal | Rights::Remote(_) => of_user,
    }
}

fn bytes(texts: &[String]) -> usize {
    texts.iter().map(|text| size_of::<String>() + text.len()).sum()
}

impl DecisionKey {
    /// What its texts take.
    fn bytes(&self) -> usize {
        let of_question = match &self.question {
            Question::Vhost => 0,
            Question::Resource { name, .. } => name.len(),
            Question::Topic { exchange, routing_key, .. } => exchange.len() + routing_key.len(),
        };
        self.user.len() + bytes(&self.tags) + self.vhost.len() + of_question
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::net::Ipv4Addr;

    use leveret_broker::UserLimits;
    use leveret_broker::access::{TokenRights, User};

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
        let digest = |answers: &Answers, one| answers.digest(Backend::Http, one);
        let digests: HashSet<_> = logins.iter().map(|one| digest(&answers, one)).collect();
        assert_eq!(digests.len(), logins.len());
        let others = remembering(true, HOUR);
        assert!(logins.iter().all(|one| digests.contains(&digest(&answers, one))));
        assert!(logins.iter().all(|one| !digests.contains(&digest(&others, one))), "a secret key");
        // A token says itself whose it is.
        let [one, other] = ["whoever", "somebody"].map(|user| {
            let user = user.to_owned();
            answers.digest(Backend::OAuth2, &Credentials { user, ..logins[0].clone() })
        });
        assert_eq!(one, other);
        assert_ne!(one, answers.digest(Backend::OAuth2, &logins[1]));
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
        let count = answers.decisions.lock().entries.len();
        assert!((ENTRIES_MAX / 4..=ENTRIES_MAX / 2).contains(&count), "{count}");
        assert!(!ask(&answers, "0", Decision::REFUSED).await.is_allowed(), "the oldest is gone");
        let newest = ENTRIES_MAX.to_string();
        assert!(ask(&answers, &newest, Decision::REFUSED).await.is_allowed(), "the newest is not");
    }

    #[tokio::test]
    async fn what_answers_take_is_bounded() {
        let answers = remembering(true, HOUR);
        let log_in = async |number: usize, length: usize| {
            let (user, address) = (number.to_string(), Ipv4Addr::LOCALHOST.into());
            let credentials =
                Credentials { user, password: None, address, is_local: true, vhost: None };
            let claims = BTreeMap::from([("claim".to_owned(), "x".repeat(length))]);
            let user = User {
                name: "anna".to_owned(),
                password_hash: None,
                tags: Vec::new(),
                limits: UserLimits::default(),
            };
            let token = TokenRights { claims, ..TokenRights::default() };
            let found = Principal {
                user: Arc::new(user),
                own: None,
                rights: Rights::Token(Arc::new(token)),
            };
            let backend = (Backend::Http, Backend::OAuth2);
            answers.login(backend, &credentials, async { Ok(found) }).await.unwrap();
            let logins = answers.logins.lock();
            let kept = logins.entries.values().map(|entry| bytes_of(&entry.value)).sum::<usize>();
            assert!(kept <= BYTES_MAX && kept + logins.entries.len() * ENTRY == logins.bytes);
            logins.entries.len()
        };
        let mut most = 0;
        for number in 0..500 {
            most = most.max(log_in(number, 100 << 10).await);
        }
        assert!((BYTES_MAX >> 18..BYTES_MAX / (100 << 10) + 1).contains(&most), "{most}");
        // The same again takes the place of itself.
        let count = log_in(499, 10).await;
        assert_eq!(log_in(499, 10).await, count);
        assert_eq!(log_in(500, BYTES_MAX).await, count, "there is never room for it");
    }
}
