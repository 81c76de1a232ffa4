//! Logins with tokens of OAuth 2, signed with keys that are served over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use leveret_tests::codec::connection;
use leveret_tests::tls::{self, Authority, Identity, ServerConfig, Wanted};
use leveret_tests::{
    Answer, Api, Broker, Connection, Login, Warped, bind, consume, declare, eventually, passive,
};
use parking_lot::{Condvar, Mutex};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};

use crate::{REFUSED, WHY, log_in};

/// Who makes tokens, and serves the keys they are verified by.
pub(crate) struct Provider {
    url: String,
    state: Arc<State>,
    random: SystemRandom,
}

#[derive(Default)]
struct State {
    served: Mutex<Served>,
    changed: Condvar,
}

#[derive(Default)]
struct Served {
    keys: Vec<Value>,
    times: usize,
    /// Whoever asks for keys gets none meanwhile.
    is_held: bool,
    /// Nobody listens any more after the next connection.
    is_dead: bool,
}

struct Held<'a>(&'a State);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.served.lock().is_held = false;
        self.0.changed.notify_all();
    }
}

/// A key to sign them with.
pub(crate) struct Signer {
    name: &'static str,
    pair: Pair,
}

enum Pair {
    Curve(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
}

/// Answers one request.
fn answer(stream: impl Read + Write, own: &str, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut rest = String::new();
    while rest != "\r\n" {
        rest.clear();
        if reader.read_line(&mut rest)? == 0 {
            return Ok(());
        }
    }
    let body = if line.contains("/.well-known/openid-configuration") {
        json!({ "jwks_uri": format!("{own}/keys") })
    } else {
        let mut served = state.served.lock();
        served.times += 1;
        state.changed.notify_all();
        state.changed.wait_while(&mut served, |served| served.is_held);
        json!({ "keys": served.keys })
    };
    let body = body.to_string();
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    let stream = reader.get_mut();
    stream.write_all((head + &body).as_bytes())?;
    stream.flush()
}

impl Provider {
    pub(crate) fn start() -> Self {
        Self::within(None)
    }

    /// Within TLS, if that is said.
    fn within(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = if tls.is_some() { "https://localhost" } else { "http://127.0.0.1" };
        let url = format!("{host}:{}", listener.local_addr().unwrap().port());
        let state = Arc::<State>::default();
        let (serving, own) = (Arc::clone(&state), url.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.served.lock().is_dead {
                    return;
                }
                let (state, own, tls) = (Arc::clone(&serving), own.clone(), tls.clone());
                thread::spawn(move || {
                    let stream = stream.unwrap();
                    // Whoever doesn't trust it leaves.
                    let _ = match &tls {
                        None => answer(stream, &own, &state),
                        Some(tls) => answer(tls::serve(stream, tls), &own, &state),
                    };
                });
            }
        });
        Self { url, state, random: SystemRandom::new() }
    }

    /// Gives nobody keys until the guard is dropped.
    fn hold(&self) -> Held<'_> {
        self.state.served.lock().is_held = true;
        Held(&self.state)
    }

    /// Waits until it has been asked so often.
    fn await_times(&self, times: usize) {
        let mut served = self.state.served.lock();
        while served.times < times {
            let waited = self.state.changed.wait_for(&mut served, leveret_tests::PATIENCE);
            assert!(!waited.timed_out(), "asked {} times", served.times);
        }
    }

    /// Nobody listens there from now on.
    fn die(&self) {
        self.state.served.lock().is_dead = true;
        let address = self.url.rsplit_once("//").unwrap().1;
        eventually(|| TcpStream::connect(address).is_err());
    }

    /// A new key on an elliptic curve, which is served from now on.
    pub(crate) fn key(&self, name: &'static str) -> Signer {
        let signer = self.unserved_key(name);
        self.state.served.lock().keys.push(signer.public());
        signer
    }

    pub(crate) fn unserved_key(&self, name: &'static str) -> Signer {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &self.random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pair.as_ref(), &self.random).unwrap();
        Signer { name, pair: Pair::Curve(Box::new(pair)) }
    }

    /// A new key of RSA, made by OpenSSL, which is served from now on.
    fn rsa_key(&self, name: &'static str) -> Signer {
        let arguments = ["genpkey", "-algorithm", "RSA", "-outform", "DER", "-pkeyopt"];
        let mut command = Command::new("openssl");
        let made = command.args(arguments).arg("rsa_keygen_bits:2048").output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // The form differs between versions of OpenSSL.
        let pair = RsaKeyPair::from_pkcs8(&made.stdout);
        let pair = pair.or_else(|_| RsaKeyPair::from_der(&made.stdout)).unwrap();
        let pair = Pair::Rsa(Box::new(pair));
        let signer = Signer { name, pair };
        self.state.served.lock().keys.push(signer.public());
        signer
    }

    fn times(&self) -> usize {
        self.state.served.lock().times
    }

    /// What has a broker take its tokens.
    fn config(&self) -> String {
        format!(
            "management = \"127.0.0.1:0\"\n[auth]\nbackends = [\"oauth2\", \"internal\"]\n\
             [auth_oauth2]\nresource_server_id = \"rabbitmq\"\njwks_uri = \"{}/keys\"\n",
            self.url
        )
    }

    /// A broker that takes its tokens.
    pub(crate) fn broker(&self, more: &str) -> Option<(Broker, Api)> {
        let broker = Broker::configured(&(self.config() + more), WHY)?;
        let api = Api::new(broker.management_address());
        Some((broker, api))
    }

    pub(crate) fn sign(&self, signer: &Signer, claims: &Value) -> String {
        let algorithm = match signer.pair {
            Pair::Curve(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        };
        let header = json!({ "alg": algorithm, "kid": signer.name, "typ": "JWT" });
        let text = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = match &signer.pair {
            Pair::Curve(pair) => {
                pair.sign(&self.random, text.as_bytes()).unwrap().as_ref().to_vec()
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let (random, text) = (&self.random, text.as_bytes());
                pair.sign(&RSA_PKCS1_SHA256, random, text, &mut signature).unwrap();
                signature
            }
        };
        format!("{text}.{}", encode(signature))
    }
}

impl Signer {
    fn public(&self) -> Value {
        match &self.pair {
            Pair::Curve(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let (x, y) = (encode(x), encode(y));
                json!({ "kid": self.name, "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig" })
            }
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                let (n, e) = (encode(public.n), encode(public.e));
                json!({ "kid": self.name, "kty": "RSA", "n": n, "e": e })
            }
        }
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn in_seconds(seconds: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds
}

/// For an hour.
pub(crate) fn claims(scope: &str) -> Value {
    json!({ "sub": "anna", "aud": "rabbitmq", "scope": scope, "exp": in_seconds(3600) })
}

fn enter(broker: &Broker, token: &str) -> Result<Connection, Answer> {
    log_in(broker, "whoever", token)
}

pub(crate) const ALL: &str = "rabbitmq.configure:*/* rabbitmq.write:*/* rabbitmq.read:*/*";

#[test]
fn a_token_lets_in_and_its_scopes_say_what_for() {
    let provider = Provider::start();
    let key = provider.key("one");
    let Some((broker, _)) = provider.broker("") else { return };
    let scope = "rabbitmq.configure:%2F/a* rabbitmq.read:%2F/a* rabbitmq.read:*/amq.topic/in.* \
                 rabbitmq.write:*/a* other.write:*/*";
    let token = provider.sign(&key, &claims(scope));
    let channel = enter(&broker, &token).unwrap().channel(1);
    assert_eq!(channel.call(&declare("a")), "queue.declare-ok a 0 0");
    assert_eq!(
        channel.call(&declare("b")),
        "channel.close 403 queue.declare ACCESS_REFUSED - configure access to queue 'b' in vhost \
         '/' refused for user 'anna'"
    );
    channel.reopen();
    assert_eq!(channel.call(&bind("a", "amq.topic", "in.x")), "queue.bind-ok");
    assert_eq!(
        channel.call(&bind("a", "amq.topic", "out.x")),
        "channel.close 403 queue.bind ACCESS_REFUSED - read access to topic 'out.x' in exchange \
         'amq.topic' in vhost '/' refused for user 'anna'"
    );
    channel.reopen();
    channel.publish("amq.topic", "in.x", "x");
    assert_eq!(
        channel.recv(),
        "channel.close 403 basic.publish ACCESS_REFUSED - write access to topic 'in.x' in exchange \
         'amq.topic' in vhost '/' refused for user 'anna'"
    );
    let elsewhere = provider.sign(&key, &claims("rabbitmq.read:other/*"));
    assert_eq!(
        enter(&broker, &elsewhere).err().unwrap(),
        "connection.close 530 connection.open NOT_ALLOWED - access to vhost '/' refused for user \
         'anna'"
    );
    // The next in the chain is asked about what is no token.
    log_in(&broker, "guest", "guest").unwrap();
}

#[test]
fn keys_are_of_rsa_too() {
    let provider = Provider::start();
    let key = provider.rsa_key("rsa");
    let Some((broker, _)) = provider.broker("") else { return };
    enter(&broker, &provider.sign(&key, &claims(ALL))).unwrap();
}

#[test]
fn a_bad_token_lets_nobody_in() {
    let provider = Provider::start();
    let key = provider.key("one");
    let forger = provider.unserved_key("one");
    let Some((broker, _)) = provider.broker("") else { return };
    let with = |change: fn(&mut Value)| {
        let mut claims = claims(ALL);
        change(&mut claims);
        provider.sign(&key, &claims)
    };
    let good = with(|_| {});
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    let none = format!("{}.{}.", encode(r#"{"alg":"none"}"#), good.split('.').nth(1).unwrap());
    let tokens = [
        ("wrong signature", provider.sign(&forger, &claims(ALL))),
        ("no signature", unsigned),
        ("algorithm none", none),
        ("expired", with(|claims| claims["exp"] = json!(in_seconds(0) - 1))),
        ("without expiry", with(|claims| claims["exp"] = Value::Null)),
        ("for others", with(|claims| claims["aud"] = json!("other"))),
        ("for nobody", with(|claims| claims["aud"] = json!([]))),
        ("not yet", with(|claims| claims["nbf"] = json!(in_seconds(600)))),
        ("half of it", good[..good.len() / 2].to_owned()),
    ];
    for (what, token) in &tokens {
        // Of one name more than a few would cost time.
        assert_eq!(log_in(&broker, what, token).err().unwrap(), REFUSED, "{what}");
    }
    enter(&broker, &good).unwrap();
    broker.await_line("user 'anna' authenticated");
    let log = broker.log();
    assert!(tokens.iter().all(|(_, token)| !log.contains(token)), "a token is logged");
}

#[test]
fn keys_are_fetched_once_and_again_for_a_new_one() {
    let provider = Provider::start();
    let first = provider.key("first");
    let Some((broker, _)) = provider.broker("") else { return };
    assert_eq!(provider.times(), 0, "nothing is asked before the first token");
    for _ in 0..3 {
        enter(&broker, &provider.sign(&first, &claims(ALL))).unwrap();
    }
    assert_eq!(provider.times(), 1);
    let second = provider.key("second");
    enter(&broker, &provider.sign(&second, &claims(ALL))).unwrap();
    assert_eq!(provider.times(), 2);
    // Whatever keys are named, the provider is not bothered with each.
    let unknown = provider.unserved_key("unknown");
    for _ in 0..3 {
        assert_eq!(enter(&broker, &provider.sign(&unknown, &claims(ALL))).err().unwrap(), REFUSED);
    }
    assert_eq!(provider.times(), 2);
    enter(&broker, &provider.sign(&first, &claims(ALL))).unwrap();
}

/// Nobody with a key that is known waits for those who name others while the provider hangs.
#[test]
fn a_slow_provider_lets_in_whom_it_knows_not_and_keeps_nobody_else_waiting() {
    let provider = Provider::start();
    let key = provider.key("known");
    let Some((broker, _)) = provider.broker("request_timeout = \"5s\"") else { return };
    let known = provider.sign(&key, &claims(ALL));
    enter(&broker, &known).unwrap();
    let unknown = provider.sign(&provider.unserved_key("unknown"), &claims(ALL));
    let response = format!("\0whoever\0{unknown}");
    let login = Login { response: response.as_bytes(), ..Login::default() };
    let held = provider.hold();
    thread::scope(|scope| {
        let waiting = [(); 3].map(|()| scope.spawn(|| broker.connect_as(&login).err()));
        provider.await_times(2);
        enter(&broker, &known).unwrap();
        // Were they to wait as well, they would be let in no sooner than the others are refused.
        assert!(waiting.iter().all(|one| !one.is_finished()), "{}", broker.log());
        for one in waiting {
            assert_eq!(one.join().unwrap().unwrap(), REFUSED);
        }
    });
    drop(held);
    broker
        .await_line("the authentication backend 'oauth2' can't be asked: no answer within 5000 ms");
    assert_eq!(provider.times(), 2, "one question for all of them");
    enter(&broker, &known).unwrap();
}

#[test]
fn a_provider_that_is_gone_leaves_the_keys_it_gave() {
    let provider = Provider::start();
    let key = provider.key("known");
    let Some((broker, _)) = provider.broker("") else { return };
    let known = provider.sign(&key, &claims(ALL));
    enter(&broker, &known).unwrap();
    provider.die();
    let unknown = provider.sign(&provider.unserved_key("unknown"), &claims(ALL));
    for _ in 0..2 {
        assert_eq!(enter(&broker, &unknown).err().unwrap(), REFUSED);
    }
    broker.await_line("the authentication backend 'oauth2' can't be asked");
    enter(&broker, &known).unwrap();
    let told = broker.log().matches("backend 'oauth2' can't be asked").count();
    assert_eq!(told, 1, "it is asked, and told of, once");
}

/// Its certificate is checked, by the configured authority or by the system's.
#[test]
fn keys_are_fetched_over_https_from_whom_is_trusted() {
    let authority = Authority::new("root");
    let wanted = Wanted { name: "localhost", hosts: &["localhost"], days: 10 };
    let provider = Provider::within(Some(tls::server(&authority.sign(&wanted))));
    let key = provider.key("one");
    let home = tempfile::tempdir().unwrap();
    let ca_file = home.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).unwrap();
    let trusting = format!("ca_file = \"{}\"\n", ca_file.display());
    let Some((broker, _)) = provider.broker(&trusting) else { return };
    enter(&broker, &provider.sign(&key, &claims(ALL))).unwrap();
    assert_eq!(provider.times(), 1);
    let (wary, _) = provider.broker("").unwrap();
    assert_eq!(enter(&wary, &provider.sign(&key, &claims(ALL))).err().unwrap(), REFUSED);
    wary.await_line("the authentication backend 'oauth2' can't be asked");
    assert_eq!(provider.times(), 1);
}

#[test]
fn keys_are_fetched_over_https_by_a_chain_that_is_no_longer_than_allowed() {
    let authority = Authority::new("root");
    let first = authority.below("first");
    let wanted = Wanted { name: "localhost", hosts: &["localhost"], days: 10 };
    let Identity { certificate, key } = first.sign(&wanted);
    let identity = Identity { certificate: certificate + &first.pem(), key };
    let provider = Provider::within(Some(tls::server(&identity)));
    let key = provider.key("one");
    let home = tempfile::tempdir().unwrap();
    let ca_file = home.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).unwrap();
    let trusting = format!("ca_file = \"{}\"\n", ca_file.display());
    let Some((wary, _)) = provider.broker(&format!("{trusting}depth = 0\n")) else { return };
    assert_eq!(enter(&wary, &provider.sign(&key, &claims(ALL))).err().unwrap(), REFUSED);
    wary.await_line("invalid peer certificate: UnknownIssuer");
    let (broker, _) = provider.broker(&format!("{trusting}depth = 1\n")).unwrap();
    enter(&broker, &provider.sign(&key, &claims(ALL))).unwrap();
}

#[test]
fn a_provider_says_where_its_keys_are() {
    let provider = Provider::start();
    let key = provider.key("one");
    let config = format!(
        "[auth]\nbackends = \"oauth2\"\n[auth_oauth2]\nresource_server_id = \"rabbitmq\"\n\
         issuer = \"{}/\"\n",
        provider.url
    );
    let Some(broker) = Broker::configured(&config, WHY) else { return };
    enter(&broker, &provider.sign(&key, &claims(ALL))).unwrap();
    assert_eq!(provider.times(), 1);
}

#[test]
fn a_connection_ends_with_its_token() {
    let provider = Provider::start();
    let key = provider.key("one");
    let Some((broker, _)) = provider.broker("") else { return };
    let mut claims = claims(ALL);
    claims["exp"] = json!(in_seconds(2));
    let connection = enter(&broker, &provider.sign(&key, &claims)).unwrap();
    assert_eq!(
        connection.recv(),
        "connection.close 320 0.0 CONNECTION_FORCED - credential expired"
    );
}

/// It is the clock by which it is let in: the broker's own follows one that is set for hours.
#[test]
fn a_connection_ends_with_its_token_also_where_the_clock_was_set() {
    let provider = Provider::start();
    let key = provider.key("one");
    let token = |expires_at: u64| {
        let mut claims = claims(ALL);
        claims["exp"] = json!(expires_at);
        provider.sign(&key, &claims)
    };
    let expired = "connection.close 320 0.0 CONNECTION_FORCED - credential expired";
    let Some(warped) = Warped::start(&provider.config()) else { return };
    warped.jump("-7200", "behind the broker's");
    let connection = enter(&warped.broker, &token(in_seconds(0) - 3600)).unwrap();
    assert_eq!(connection.channel(1).call(&declare("q")), "queue.declare-ok q 0 0");
    let connection = enter(&warped.broker, &token(in_seconds(2) - 7200)).unwrap();
    assert_eq!(connection.recv(), expired);
    let Some(warped) = Warped::start(&provider.config()) else { return };
    let before = enter(&warped.broker, &token(in_seconds(3600))).unwrap().channel(1);
    warped.jump("+7200", "ahead of the broker's");
    let connection = enter(&warped.broker, &token(in_seconds(2) + 7200)).unwrap();
    assert_eq!(connection.recv(), expired);
    assert_eq!(before.call(&declare("q")), expired);
}

/// Its consumers, too: nobody listens to it meanwhile, and deliveries would go on.
#[test]
fn a_connection_that_is_held_ends_with_its_token() {
    let provider = Provider::start();
    let key = provider.key("one");
    let alarm = "[alarms]\nvm_memory_high_watermark = 0\n";
    let Some((broker, _)) = provider.broker(alarm) else { return };
    broker.await_line("memory resource limit alarm set");
    let mut claims = claims(ALL);
    claims["exp"] = json!(in_seconds(5));
    let channel = enter(&broker, &provider.sign(&key, &claims)).unwrap().channel(1);
    channel.call(&declare("q"));
    assert_eq!(channel.call(&consume("q", "c")), "basic.consume-ok c");
    channel.publish("", "q", "held");
    let connection = channel.connection().clone();
    assert_eq!(connection.recv(), "connection.blocked low on memory");
    assert_eq!(
        connection.recv(),
        "connection.close 320 0.0 CONNECTION_FORCED - credential expired"
    );
    let other = broker.connect().channel(1);
    assert_eq!(other.call(&passive("q")), "queue.declare-ok q 0 0");
}

#[test]
fn a_new_token_keeps_the_connection_and_brings_its_own_rights() {
    let provider = Provider::start();
    let key = provider.key("one");
    let Some((broker, _)) = provider.broker("") else { return };
    let mut short = claims(ALL);
    short["exp"] = json!(in_seconds(3));
    let token = provider.sign(&key, &short);
    let (connection, other) = (enter(&broker, &token).unwrap(), enter(&broker, &token).unwrap());
    let channel = connection.channel(1);
    for queue in ["mine", "theirs"] {
        channel.call(&declare(queue));
        channel.call(&consume(queue, queue));
    }
    let less = claims("rabbitmq.configure:*/mine rabbitmq.read:*/mine");
    let token = provider.sign(&key, &less);
    let update = connection::UpdateSecret { new_secret: token.as_bytes(), reason: "renewed" };
    assert_eq!(connection.call(&update), "connection.update-secret-ok");
    assert_eq!(channel.recv(), "basic.cancel theirs nowait");
    assert!(channel.call(&passive("theirs")).starts_with("channel.close 403"));
    channel.reopen();
    // The end of the first token is the end of who has no other.
    assert!(other.recv().starts_with("connection.close 320"));
    assert_eq!(channel.call(&passive("mine")), "queue.declare-ok mine 0 0");
}

#[test]
fn another_users_token_ends_the_connection() {
    let provider = Provider::start();
    let key = provider.key("one");
    let Some((broker, _)) = provider.broker("") else { return };
    let mut others = claims(ALL);
    others["sub"] = json!("bert");
    let mut expired = claims(ALL);
    expired["exp"] = json!(1);
    for (what, claims) in [("another's", others), ("expired", expired)] {
        let connection = enter(&broker, &provider.sign(&key, &self::claims(ALL))).unwrap();
        let token = provider.sign(&key, &claims);
        let update = connection::UpdateSecret { new_secret: token.as_bytes(), reason: "renewed" };
        assert_eq!(
            connection.call(&update),
            "connection.close 530 connection.update-secret NOT_ALLOWED - New secret was refused by \
             one of the backends",
            "{what}"
        );
    }
    let connection = enter(&broker, &provider.sign(&key, &claims(ALL))).unwrap();
    let token = provider.sign(&key, &claims("rabbitmq.read:elsewhere/*"));
    let update = connection::UpdateSecret { new_secret: token.as_bytes(), reason: "renewed" };
    assert_eq!(
        connection.call(&update),
        "connection.close 530 connection.update-secret NOT_ALLOWED - access to vhost '/' refused \
         for user 'anna'"
    );
}

#[test]
fn what_is_remembered_of_a_token_ends_with_it() {
    let provider = Provider::start();
    let key = provider.key("one");
    let config = format!(
        "management = \"127.0.0.1:0\"\n[auth]\nbackends = \"cache\"\n\
         [auth_cache]\ncached_backend = \"oauth2\"\ncache_ttl = \"1h\"\n\
         [auth_oauth2]\nresource_server_id = \"rabbitmq\"\njwks_uri = \"{}/keys\"\n",
        provider.url
    );
    let Some(broker) = Broker::configured(&config, WHY) else { return };
    let api = Api::new(broker.management_address()).with_login(None);
    let mut claims = claims("rabbitmq.tag:management");
    claims["exp"] = json!(in_seconds(2));
    let bearer = format!("Bearer {}", provider.sign(&key, &claims));
    let status = || api.send("GET", "/api/whoami", &[("authorization", &*bearer)], "").status;
    assert_eq!(status(), 200);
    eventually(|| status() == 401);
}

#[test]
fn the_api_takes_bearer_tokens() {
    let provider = Provider::start();
    let key = provider.key("one");
    let more = "scope_aliases = [\"admins=rabbitmq.tag:administrator\"]\n\
                preferred_username_claims = [\"user_name\"]\n";
    let Some((_broker, api)) = provider.broker(more) else { return };
    let nobody = api.with_login(None);
    let get = |token: &str, path: &str| {
        let bearer = format!("Bearer {token}");
        nobody.send("GET", path, &[("authorization", &bearer)], "")
    };
    let mut claims = claims("admins openid");
    claims["user_name"] = json!("boss");
    let administrator = provider.sign(&key, &claims);
    let whoami = get(&administrator, "/api/whoami").json();
    let expected = json!({ "name": "boss", "tags": ["administrator"], "is_internal_user": false });
    assert_eq!(whoami, expected);
    assert_eq!(get(&administrator, "/api/users").status, 200);
    let scope = "rabbitmq.tag:management rabbitmq.read:other/*";
    let manager = provider.sign(&key, &self::claims(scope));
    assert_eq!(get(&manager, "/api/users").status, 401);
    assert_eq!(get(&manager, "/api/vhosts").json(), json!([]));
    assert_eq!(get(&manager, "/api/queues/%2F").status, 404);
    for _ in 0..8 {
        assert_eq!(get("nonsense", "/api/whoami").status, 401);
    }
    assert_eq!(get(&manager, "/api/whoami").status, 200, "nobody waits for others' nonsense");
    // As a password, too.
    assert_eq!(api.with_login(Some(&format!("x:{manager}"))).get("/whoami")["name"], "anna");
}
