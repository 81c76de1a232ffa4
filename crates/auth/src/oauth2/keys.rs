//! The keys of those who sign tokens: from files, and from a URL (RFC 7517), which is asked when a
//! token names a key that is not known.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leveret_outbound::{HttpClient, HttpError, Method, StatusCode, Trust};
use parking_lot::Mutex;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::timeout;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::signature::Key;
use crate::settings::OAuth2Settings;
use crate::trouble::Trouble;

/// How often the URL is asked at most once keys have been fetched, whatever keys tokens name.
pub(crate) const ASKED_EVERY: Duration = Duration::from_secs(10);
/// How old keys get before they are fetched again: one that is gone from there is good for as long.
pub(crate) const FRESH: Duration = Duration::from_secs(60 * 60);
const BODY_MAX: usize = 1 << 20;
/// Where a provider says where its keys are (OpenID Connect Discovery 1.0, 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

#[derive(Debug)]
pub(super) struct Keys {
    default: Option<String>,
    files: Vec<(String, PathBuf)>,
    /// Read once; those without a name have none.
    of_files: OnceLock<AHashMap<String, Key>>,
    place: Option<Place>,
    request_timeout: Duration,
    client: HttpClient,
    known: Mutex<Known>,
    trouble: Trouble,
}

#[derive(Debug)]
enum Place {
    Keys(String),
    Issuer(String),
}

/// What has been fetched. Nobody waits while it is locked.
#[derive(Debug, Default)]
struct Known {
    keys: AHashMap<Option<String>, Key>,
    fetched_at: Option<Instant>,
    asked_at: Option<Instant>,
    /// The last fetch that has ended has failed.
    is_unreachable: bool,
    /// The last one, which may be under way.
    fetch: Option<Fetch>,
}

/// How a fetch ends, which whoever needs it waits for. It goes on without them: a client that leaves
/// doesn't spoil it for others.
type Fetch = watch::Receiver<Option<Result<(), Arc<Unfetched>>>>;

/// Why there is no key.
#[derive(Debug, Error)]
pub(crate) enum NoKey {
    #[error("nobody knows its key")]
    Unknown,
    #[error("its key can't be had: {0}")]
    Unreachable(Arc<Unfetched>),
}

/// Why keys could not be fetched.
#[derive(Debug, Error)]
pub(crate) enum Unfetched {
    #[error("{0}")]
    Http(#[from] HttpError),
    #[error("no answer within {} ms", .0.as_millis())]
    TooSlow(Duration),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("what it answered is no set of keys")]
    NoKeys,
}

impl Keys {
    pub(super) fn new(settings: &OAuth2Settings, trouble: Trouble) -> Self {
        let place = settings.jwks_uri.clone().map(Place::Keys);
        let trust = Trust::new(settings.ca_file.clone(), None).up_to(settings.depth);
        let issuer = || settings.issuer.clone().map(Place::Issuer);
        Self {
            default: settings.default_key.clone(),
            files: settings.signing_keys.clone(),
            of_files: OnceLock::new(),
            place: place.or_else(issuer),
            request_timeout: settings.request_timeout,
            client: HttpClient::new(trust),
            known: Mutex::default(),
            trouble,
        }
    }

    /// The key of this name; without one the default key, or that which has no name itself.
    ///
    /// Whoever names a key that is known does not wait for others whose keys are not; these wait for
    /// one fetch at most, which is the same for all of them.
    pub(super) async fn find(self: &Arc<Self>, name: Option<&str>) -> Result<Key, NoKey> {
        let name = name.or(self.default.as_deref()).map(str::to_owned);
        let mut fetch = {
            let mut known = self.known.lock();
            let key = self.of(&known, &name);
            let is_fresh = known.fetched_at.is_some_and(|at| at.elapsed() < FRESH);
            if let Some(key) = &key
                && is_fresh
            {
                return Ok(key.clone());
            }
            if self.place.is_none() {
                return key.ok_or(NoKey::Unknown);
            }
            let fetch = self.latest(&mut known);
            // Old keys are good while there are no others, and that takes nobody's time.
            if let Some(key) = key
                && known.is_unreachable
            {
                return Ok(key);
            }
            fetch
        };
        // Without an end it has panicked, and nothing was fetched.
        let ended = fetch.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        let known = self.known.lock();
        self.of(&known, &name).ok_or(match ended {
            Some(Err(error)) => NoKey::Unreachable(error),
            _ => NoKey::Unknown,
        })
    }

    /// Those that were fetched stand above those of files.
    fn of(&self, known: &Known, name: &Option<String>) -> Option<Key> {
        let of_files = self.of_files.get_or_init(|| self.read_files());
        let of_file = || of_files.get(name.as_ref()?);
        known.keys.get(name).or_else(of_file).cloned()
    }

    /// The fetch that is under way, a new one, or, if the URL has been asked too recently, the last.
    fn latest(self: &Arc<Self>, known: &mut Known) -> Fetch {
        let may_ask = known.asked_at.is_none_or(|at| at.elapsed() >= ASKED_EVERY);
        match &known.fetch {
            Some(fetch) if fetch.has_changed().is_ok() || !may_ask => fetch.clone(),
            _ => {
                let (sender, fetch) = watch::channel(None);
                let keys = Arc::clone(self);
                tokio::spawn(async move {
                    let limit = keys.request_timeout;
                    let fetched = timeout(limit, keys.fetch()).await;
                    let ended = keys.keep(fetched.unwrap_or(Err(Unfetched::TooSlow(limit))));
                    sender.send_replace(Some(ended));
                });
                known.fetch.insert(fetch).clone()
            }
        }
    }

    fn keep(
        &self,
        fetched: Result<AHashMap<Option<String>, Key>, Unfetched>,
    ) -> Result<(), Arc<Unfetched>> {
        self.trouble.note(&fetched);
        let mut known = self.known.lock();
        known.is_unreachable = fetched.is_err();
        // The first set says nothing of how often its keys change.
        if known.fetched_at.is_some() || fetched.is_err() {
            known.asked_at = Some(Instant::now());
        }
        known.keys = fetched?;
        known.fetched_at = Some(Instant::now());
        Ok(())
    }

    fn read_files(&self) -> AHashMap<String, Key> {
        let mut keys = AHashMap::new();
        for (name, path) in &self.files {
            match of_file(path) {
                Some(key) => {
                    keys.insert(name.clone(), key);
                }
                None => tracing::error!(
                    "{} holds no public key (PEM) of RSA, P-256, P-384 or Ed25519; tokens with the \
                     key '{name}' let nobody in",
                    path.display()
                ),
            }
        }
        keys
    }

    async fn fetch(&self) -> Result<AHashMap<Option<String>, Key>, Unfetched> {
        let url = match &self.place {
            None => return Err(Unfetched::NoKeys),
            Some(Place::Keys(url)) => url.clone(),
            Some(Place::Issuer(issuer)) => {
                let place = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
                let found = self.get(&place).await?;
                let url = found.get("jwks_uri").and_then(Value::as_str);
                url.ok_or(Unfetched::NoKeys)?.to_owned()
            }
        };
        let set = self.get(&url).await?;
        let all = set.get("keys").and_then(Value::as_array).ok_or(Unfetched::NoKeys)?;
        let named = all.iter().filter_map(|key| {
            let name = key.get("kid").and_then(Value::as_str).map(str::to_owned);
            Some((name, of_json(key)?))
        });
        let keys: AHashMap<_, _> = named.collect();
        if keys.is_empty() { Err(Unfetched::NoKeys) } else { Ok(keys) }
    }

    async fn get(&self, url: &str) -> Result<Value, Unfetched> {
        let get = |request: leveret_outbound::RequestBuilder| request.method(Method::GET);
        let answer = self.client.send(url, get, bytes::Bytes::new(), BODY_MAX).await?;
        match answer.status {
            StatusCode::OK => serde_json::from_slice(&answer.body).map_err(|_| Unfetched::NoKeys),
            status => Err(Unfetched::Status(status)),
        }
    }
}

/// A key of a set (RFC 7518, 6). `None` for one that can't verify signatures here.
fn of_json(key: &Value) -> Option<Key> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|what| what != "sig") {
        return None;
    }
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let point = |length: usize| {
        let (x, y) = (bytes("x")?, bytes("y")?);
        let is_sound = x.len() == length && y.len() == length;
        is_sound.then(|| [&[4][..], &x, &y].concat())
    };
    match (text("kty")?, text("crv")) {
        ("RSA", _) => Some(Key::Rsa { n: bytes("n")?, e: bytes("e")? }),
        ("EC", Some("P-256")) => point(32).map(Key::P256),
        ("EC", Some("P-384")) => point(48).map(Key::P384),
        ("OKP", Some("Ed25519")) => bytes("x").filter(|x| x.len() == 32).map(Key::Ed25519),
        _ => None,
    }
}

fn of_file(path: &Path) -> Option<Key> {
    let der = SubjectPublicKeyInfoDer::from_pem_file(path).ok()?;
    let (_, info) = SubjectPublicKeyInfo::from_der(&der).ok()?;
    let key = info.subject_public_key.data.to_vec();
    match (info.algorithm.algorithm.to_id_string().as_str(), key.len()) {
        ("1.2.840.113549.1.1.1", _) => Some(Key::RsaDer(key)),
        ("1.2.840.10045.2.1", 65) => Some(Key::P256(key)),
        ("1.2.840.10045.2.1", 97) => Some(Key::P384(key)),
        ("1.3.101.112", 32) => Some(Key::Ed25519(key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::settings::Backend;

    #[test]
    fn a_set_has_keys_of_several_kinds() {
        let encode = |length: usize| URL_SAFE_NO_PAD.encode(vec![7; length]);
        let rsa = json!({ "kty": "RSA", "n": encode(256), "e": "AQAB" });
        assert_eq!(of_json(&rsa), Some(Key::Rsa { n: vec![7; 256], e: vec![1, 0, 1] }));
        let point = [vec![4], vec![7; 64]].concat();
        let curve = json!({ "kty": "EC", "crv": "P-256", "x": encode(32), "y": encode(32) });
        assert_eq!(of_json(&curve), Some(Key::P256(point)));
        let edwards = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(32), "use": "sig" });
        assert_eq!(of_json(&edwards), Some(Key::Ed25519(vec![7; 32])));
        for other in [
            json!({ "kty": "oct", "k": encode(32) }),
            json!({ "kty": "RSA", "n": encode(256), "e": "AQAB", "use": "enc" }),
            json!({ "kty": "EC", "crv": "P-256", "x": encode(31), "y": encode(32) }),
            json!({ "kty": "EC", "crv": "secp256k1", "x": encode(32), "y": encode(32) }),
            json!({ "kty": "RSA", "n": "!", "e": "AQAB" }),
            json!("RSA"),
        ] {
            assert_eq!(of_json(&other), None, "{other}");
        }
    }

    /// A provider that counts how often it is asked, has one key by the name of the count, and is
    /// gone after so many answers.
    fn provider(answers: usize) -> (Arc<Keys>, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let times = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&times);
        std::thread::spawn(move || {
            for stream in listener.incoming().take(answers) {
                let mut stream = BufReader::new(stream.unwrap());
                let mut line = String::new();
                while stream.read_line(&mut line).unwrap() > 2 {
                    line.clear();
                }
                let name = counted.fetch_add(1, Ordering::SeqCst).to_string();
                let x = URL_SAFE_NO_PAD.encode([7; 32]);
                let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": name, "x": x });
                let body = json!({ "keys": [key] }).to_string();
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                stream.get_mut().write_all((head + &body).as_bytes()).unwrap();
            }
        });
        let settings = OAuth2Settings { jwks_uri: Some(url), ..OAuth2Settings::default() };
        (Arc::new(Keys::new(&settings, Trouble::of(Backend::OAuth2))), times)
    }

    fn make_old(keys: &Keys) {
        keys.known.lock().fetched_at = Instant::now().checked_sub(FRESH);
    }

    /// What its provider has withdrawn is not taken for longer.
    #[tokio::test]
    async fn keys_that_are_an_hour_old_are_fetched_again() {
        let (keys, times) = provider(2);
        for _ in 0..3 {
            keys.find(Some("0")).await.unwrap();
        }
        assert_eq!(times.load(Ordering::SeqCst), 1);
        make_old(&keys);
        assert!(matches!(keys.find(Some("0")).await, Err(NoKey::Unknown)));
        keys.find(Some("1")).await.unwrap();
        assert_eq!(times.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn old_keys_are_good_while_their_provider_is_gone() {
        let (keys, _) = provider(1);
        keys.find(Some("0")).await.unwrap();
        make_old(&keys);
        for _ in 0..2 {
            keys.find(Some("0")).await.unwrap();
            assert!(matches!(keys.find(Some("1")).await, Err(NoKey::Unreachable(_))));
        }
    }
}
