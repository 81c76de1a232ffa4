//! The sessions of the web interface: who has logged in, by a random token in a cookie.
//!
//! They are in memory only. A restart ends them, as do a logout, time, another password of their
//! user and the user's deletion; tags and permissions are looked up with each request.

use std::time::{Duration, Instant};

use ahash::AHashMap;
use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leveret_broker::access::{AccessControl, Principal};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

const COOKIE_NAME: &str = "leveret-session";
/// Over TLS browsers take a cookie of this name from the host itself only, and not without TLS
/// (RFC 6265bis, section 4.1.3).
const SECURE_COOKIE_NAME: &str = "__Host-leveret-session";
const TOKEN_BYTES: usize = 32;

/// The open sessions.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<AHashMap<SessionKey, Session>>);

/// A session's name in the table: the digest of its token, so that the table tells nobody a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey([u8; 32]);

struct Session {
    /// Who it is, by what they could do when they logged in.
    principal: Principal,
    begun: Instant,
    used: Instant,
}

/// How long sessions last.
#[derive(Clone, Copy)]
pub(crate) struct Lasting {
    /// Without a request.
    pub(crate) idle: Duration,
    /// At most.
    pub(crate) lifetime: Duration,
}

/// How many there are at a time, of all users and of one. One more ends the one unused for longest.
#[derive(Clone, Copy)]
pub(crate) struct Most {
    pub(crate) of_all: usize,
    pub(crate) of_user: usize,
}

/// What has a browser know its session, or forget it.
pub(crate) struct Cookie(String);

impl Sessions {
    /// Opens a session of a user who has just shown the password. `None` if the system has no
    /// random bytes.
    pub(crate) fn begin(
        &self,
        principal: &Principal,
        is_secure: bool,
        most: Most,
        now: Instant,
    ) -> Option<Cookie> {
        let mut token = [0; TOKEN_BYTES];
        getrandom::fill(&mut token).ok()?;
        let token = URL_SAFE_NO_PAD.encode(token);
        let mut sessions = self.0.lock();
        let name = &principal.user.name;
        // There are more than one too many where fewer were allowed meanwhile.
        end_oldest(&mut sessions, most.of_user, |one| one.principal.user.name == *name);
        end_oldest(&mut sessions, most.of_all, |_| true);
        let session = Session { principal: principal.clone(), begun: now, used: now };
        sessions.insert(SessionKey::of(&token), session);
        Some(Cookie::new(&token, is_secure))
    }

    /// Whose session it is whose token the request's cookie holds, as they are now. Over TLS that is the
    /// cookie that comes from nowhere else, and without it the other one.
    ///
    /// A session that has ended in one of the ways above is gone from then on.
    pub(crate) fn find(
        &self,
        (headers, is_secure): (&HeaderMap, bool),
        access: &AccessControl,
        lasting: Lasting,
        now: Instant,
    ) -> Option<(SessionKey, Principal)> {
        let mut sessions = self.0.lock();
        tokens(headers, is_secure).map(SessionKey::of).find_map(|key| {
            let session = sessions.get_mut(&key)?;
            let Some(principal) = session.holder(access, lasting, now) else {
                sessions.remove(&key);
                return None;
            };
            session.used = now;
            Some((key, principal))
        })
    }

    /// Whether the session goes on; asking is no use of it.
    pub(crate) fn goes_on(
        &self,
        key: SessionKey,
        access: &AccessControl,
        lasting: Lasting,
        now: Instant,
    ) -> bool {
        let sessions = self.0.lock();
        sessions.get(&key).is_some_and(|session| session.holder(access, lasting, now).is_some())
    }

    pub(crate) fn end(&self, key: SessionKey) {
        self.0.lock().remove(&key);
    }
}

impl Session {
    /// Whose it is, if it has not ended. The broker's own user is looked up; what others said of
    /// theirs holds for the session. Where both had a say their tags are one list, of which none can
    /// be taken: other tags of the broker's own end the session.
    fn holder(&self, access: &AccessControl, lasting: Lasting, now: Instant) -> Option<Principal> {
        let lasts = now.duration_since(self.used) < lasting.idle
            && now.duration_since(self.begun) < lasting.lifetime
            && !self.principal.has_expired();
        if !lasts {
            return None;
        }
        let Some(before) = &self.principal.own else { return Some(self.principal.clone()) };
        let user = access.user(&before.name)?;
        if user.password_hash != before.password_hash {
            return None;
        }
        if self.principal.is_own() {
            return Some(user.into());
        }
        (user.tags == before.tags).then(|| self.principal.clone())
    }
}

/// Makes room for one more of those, of which there may be so many.
fn end_oldest(
    sessions: &mut AHashMap<SessionKey, Session>,
    most: usize,
    of: impl Fn(&Session) -> bool,
) {
    let mut theirs: Vec<(Instant, SessionKey)> = sessions
        .iter()
        .filter(|(_, session)| of(session))
        .map(|(key, session)| (session.used, *key))
        .collect();
    let too_many = (theirs.len() + 1).saturating_sub(most);
    theirs.sort_unstable_by_key(|(used, _)| *used);
    for (_, key) in theirs.into_iter().take(too_many) {
        sessions.remove(&key);
    }
}

impl SessionKey {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl Cookie {
    fn new(token: &str, is_secure: bool) -> Self {
        let (name, secure) = name(is_secure);
        Self(format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict{secure}"))
    }

    /// Takes a session's cookie away.
    pub(crate) fn none(is_secure: bool) -> Self {
        let (name, secure) = name(is_secure);
        Self(format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{secure}"))
    }

    /// The header `Set-Cookie`.
    pub(crate) fn into_header(self) -> String {
        self.0
    }
}

fn name(is_secure: bool) -> (&'static str, &'static str) {
    if is_secure { (SECURE_COOKIE_NAME, "; Secure") } else { (COOKIE_NAME, "") }
}

/// The tokens in the cookies of a request: a browser that has come with and without TLS has two, and
/// whoever is between it and another host's pages without TLS may have it send one of theirs.
fn tokens(headers: &HeaderMap, is_secure: bool) -> impl Iterator<Item = &str> {
    let (wanted, _) = name(is_secure);
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.trim(), value.trim()))
        .filter(move |(name, _)| *name == wanted)
        .map(|(_, token)| token)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{SystemTime, UNIX_EPOCH};

    use axum::http::HeaderValue;
    use leveret_broker::access::{Rights, TokenRights, User};
    use leveret_broker::{Actor, Broker, BrokerOptions};
    use leveret_store::{MemDisk, StoreOptions};

    use super::*;

    const LASTING: Lasting =
        Lasting { idle: Duration::from_secs(60), lifetime: Duration::from_secs(100) };
    const MOST: Most = Most { of_all: 20, of_user: 5 };

    fn user(name: &str) -> User {
        User::with_password(name, b"secret", ["management"]).unwrap()
    }

    fn broker(names: &[&str]) -> Arc<Broker> {
        let store = StoreOptions { segment_bytes: 1 << 20, ..StoreOptions::default() };
        let options = BrokerOptions { store, ..BrokerOptions::default() };
        let disk = Arc::new(MemDisk::default());
        let broker = Broker::open(disk, Path::new("/"), &options).unwrap();
        for name in names {
            put(&broker, user(name));
        }
        broker
    }

    fn put(broker: &Broker, user: User) {
        broker.administration(&Actor::program()).put_user(user).unwrap();
    }

    fn begin(sessions: &Sessions, broker: &Broker, name: &str, now: Instant) -> HeaderMap {
        let begun =
            sessions.begin(&broker.access().user(name).unwrap().into(), true, MOST, now).unwrap();
        cookie(&begun.into_header())
    }

    /// What a browser sends of it.
    fn cookie(header: &str) -> HeaderMap {
        let pair = format!("other=1; {}", header.split(';').next().unwrap());
        HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(pair).unwrap())])
    }

    fn found(
        sessions: &Sessions,
        headers: &HeaderMap,
        broker: &Broker,
        now: Instant,
    ) -> Option<String> {
        let found = sessions.find((headers, true), broker.access(), LASTING, now);
        found.map(|(_, principal)| principal.user.name.clone())
    }

    #[test]
    fn a_session_ends_when_it_is_not_used_and_after_its_lifetime() {
        let (sessions, broker, now) = (Sessions::default(), broker(&["anna"]), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        let headers = begin(&sessions, &broker, "anna", now);
        assert_eq!(found(&sessions, &headers, &broker, after(59)).as_deref(), Some("anna"));
        assert_eq!(found(&sessions, &headers, &broker, after(99)).as_deref(), Some("anna"));
        assert_eq!(found(&sessions, &headers, &broker, after(100)), None);
        let headers = begin(&sessions, &broker, "anna", now);
        assert_eq!(found(&sessions, &headers, &broker, after(60)), None);
        assert_eq!(found(&sessions, &headers, &broker, now), None, "it is gone");
    }

    #[test]
    fn a_session_ends_with_its_token() {
        let (sessions, broker, now) = (Sessions::default(), broker(&[]), Instant::now());
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let find = |expires_at| {
            let rights = TokenRights { expires_at, ..TokenRights::default() };
            let rights = Rights::Token(Arc::new(rights));
            let principal = Principal { user: Arc::new(user("anna")), own: None, rights };
            let header = sessions.begin(&principal, true, MOST, now).unwrap().into_header();
            found(&sessions, &cookie(&header), &broker, now)
        };
        assert_eq!(find(Some(time - 1)), None);
        assert_eq!(find(Some(time + 3600)).as_deref(), Some("anna"));
        assert_eq!(find(None).as_deref(), Some("anna"));
    }

    #[test]
    fn another_password_and_a_deletion_end_it() {
        let (sessions, broker) = (Sessions::default(), broker(&["anna", "bert"]));
        let now = Instant::now();
        let anna = begin(&sessions, &broker, "anna", now);
        let bert = begin(&sessions, &broker, "bert", now);
        let tagged = User {
            tags: vec!["administrator".into()],
            ..(*broker.access().user("anna").unwrap()).clone()
        };
        put(&broker, tagged);
        assert!(found(&sessions, &anna, &broker, now).is_some(), "other tags do not");
        put(&broker, user("anna"));
        broker.administration(&Actor::program()).delete_user("bert").unwrap();
        assert_eq!(found(&sessions, &anna, &broker, now), None);
        assert_eq!(found(&sessions, &bert, &broker, now), None);
        put(&broker, user("bert"));
        assert_eq!(found(&sessions, &bert, &broker, now), None);
    }

    #[test]
    fn a_logout_ends_one_session() {
        let (sessions, broker, now) = (Sessions::default(), broker(&["anna"]), Instant::now());
        let (first, second) =
            (begin(&sessions, &broker, "anna", now), begin(&sessions, &broker, "anna", now));
        let (key, _) = sessions.find((&first, true), broker.access(), LASTING, now).unwrap();
        sessions.end(key);
        assert!(!sessions.goes_on(key, broker.access(), LASTING, now));
        assert_eq!(found(&sessions, &first, &broker, now), None);
        assert_eq!(found(&sessions, &second, &broker, now).as_deref(), Some("anna"));
    }

    #[test]
    fn each_way_has_a_cookie_of_its_own() {
        let (sessions, broker, now) = (Sessions::default(), broker(&["anna"]), Instant::now());
        for is_secure in [true, false] {
            let anna = broker.access().user("anna").unwrap().into();
            let header = sessions.begin(&anna, is_secure, MOST, now).unwrap().into_header();
            let pair = header.split(';').next().unwrap();
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(pair).unwrap())]);
            let counts = [true, false].map(|over_tls| {
                let headers = (&headers, over_tls);
                sessions.find(headers, broker.access(), LASTING, now).is_some()
            });
            assert_eq!(counts, [is_secure, !is_secure], "{header}");
        }
    }

    #[test]
    fn the_number_of_sessions_is_bounded() {
        let (sessions, broker, now) = (Sessions::default(), broker(&["anna"]), Instant::now());
        let first = begin(&sessions, &broker, "anna", now);
        let later = now + Duration::from_secs(1);
        for _ in 0..MOST.of_user {
            begin(&sessions, &broker, "anna", later);
        }
        assert_eq!(sessions.0.lock().len(), MOST.of_user);
        assert_eq!(found(&sessions, &first, &broker, later), None);
        for name in 0..MOST.of_all {
            sessions.begin(&Arc::new(user(&name.to_string())).into(), false, MOST, later);
        }
        assert_eq!(sessions.0.lock().len(), MOST.of_all);
        // With fewer from now on those that are too many go.
        let fewer = Most { of_all: 3, of_user: 3 };
        sessions.begin(&Arc::new(user("anna")).into(), false, fewer, later);
        assert_eq!(sessions.0.lock().len(), fewer.of_all);
    }

    #[test]
    fn a_cookie_is_for_the_broker_only() {
        let cookie = Cookie::new("t", true).into_header();
        let expected = "__Host-leveret-session=t; Path=/; HttpOnly; SameSite=Strict; Secure";
        assert_eq!(cookie, expected);
        let cookie = Cookie::none(false).into_header();
        let expected = "leveret-session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict";
        assert_eq!(cookie, expected);
    }

    #[test]
    fn anything_else_is_no_session() {
        let (sessions, broker, now) = (Sessions::default(), broker(&["anna"]), Instant::now());
        begin(&sessions, &broker, "anna", now);
        for cookie in ["", "leveret-session", "leveret-session=", "leveret-session=x", "a=b;;=;"] {
            let value = HeaderValue::try_from(cookie).unwrap();
            let headers = HeaderMap::from_iter([(COOKIE, value)]);
            assert_eq!(found(&sessions, &headers, &broker, now), None, "{cookie}");
        }
    }
}
