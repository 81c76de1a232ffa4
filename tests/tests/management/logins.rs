//! How browsers and programs log in over HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use leveret_tests::{Api, Broker, PATIENCE, Reply};
use serde_json::{Value, json};

use crate::managed;

const SESSION: &str = "/api/leveret/session";
/// What the web interface sends with each request.
const OWN: (&str, &str) = ("x-leveret-session", "1");

/// Logs in as a browser does; the cookie of the session.
fn log_in(api: &Api, name: &str, password: &str) -> String {
    let reply = api.with_login(None).send("POST", SESSION, &[OWN], &login(name, password));
    assert_eq!(reply.status, 200, "{}", reply.text);
    cookie(&reply)
}

fn login(name: &str, password: &str) -> String {
    json!({ "name": name, "password": password }).to_string()
}

fn cookie(reply: &Reply) -> String {
    reply.header("set-cookie").split(';').next().unwrap().to_owned()
}

/// The status of a request of the web interface with a cookie.
fn status(api: &Api, method: &str, path: &str, cookie: &str) -> u16 {
    let headers = [OWN, ("cookie", cookie)];
    api.with_login(None).send(method, path, &headers, "").status
}

fn user(api: &Api, name: &str, password: &str, tags: &str) {
    api.put(&format!("/users/{name}"), &json!({ "password": password, "tags": tags }));
}

#[test]
fn a_login_may_not_be_long() {
    let Some((_broker, api)) = managed() else { return };
    let log_in = |length: usize| {
        let login = login("guest", "guest");
        let padded = format!("{login}{}", " ".repeat(length - login.len()));
        api.with_login(None).send("POST", SESSION, &[OWN], &padded)
    };
    assert_eq!(log_in(16 << 10).status, 200);
    let longer = log_in((16 << 10) + 1);
    let why = "Exceeded HTTP request body size limit";
    assert_eq!(longer.status, 400);
    assert_eq!(longer.json(), json!({ "error": "bad_request", "reason": why }));
}

#[test]
fn a_session_takes_the_place_of_the_password() {
    let Some((_broker, api)) = managed() else { return };
    let nobody = api.with_login(None);
    assert_eq!(nobody.send("GET", SESSION, &[OWN], "").json(), Value::Null);
    let reply = nobody.send("POST", SESSION, &[OWN], &login("guest", "guest"));
    assert_eq!(reply.json(), api.get("/whoami"));
    let set = reply.header("set-cookie");
    assert!(set.starts_with("leveret-session="), "{set}");
    assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{set}");
    assert_eq!(reply.header("cache-control"), "no-store");
    let cookie = cookie(&reply);
    assert!(cookie.len() > 40, "{cookie}");
    let headers = [OWN, ("cookie", &*cookie)];
    assert_eq!(nobody.send("GET", "/api/whoami", &headers, "").json(), api.get("/whoami"));
    assert_eq!(nobody.send("GET", SESSION, &headers, "").json(), api.get("/whoami"));
    assert_eq!(status(&api, "PUT", "/api/queues/%2F/q", &cookie), 201);

    let reply = nobody.send("DELETE", SESSION, &headers, "");
    assert_eq!(reply.status, 204);
    assert!(reply.header("set-cookie").contains("leveret-session=; Path=/; Max-Age=0"));
    let reply = nobody.send("GET", "/api/whoami", &headers, "");
    assert_eq!(reply.status, 401);
    let expected = json!({
        "error": "not_authorized", "reason": "The session is over, log in again",
    });
    assert_eq!(reply.json(), expected);
    assert_eq!(reply.header("www-authenticate"), "", "no browser asks for a password by itself");
}

/// So many that more than there are threads for what takes its time come before they are dealt with.
const HUNG_UP: usize = 6000;

/// A request without a login, and the status line that answers it.
fn ask(address: SocketAddr, request: &str, body: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    send(&mut client, request, body);
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it is answered");
    answer.lines().next().unwrap_or_default().to_owned()
}

fn send(client: &mut TcpStream, request: &str, body: &str) {
    let head =
        format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}: 1", OWN.0);
    write!(client, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
}

#[test]
fn who_hangs_up_on_a_login_leaves_no_thread_behind() {
    let Some((mut broker, _)) = managed() else { return };
    let (address, begin) = (broker.management_address(), format!("POST {SESSION}"));
    for number in 0..HUNG_UP {
        let mut client = TcpStream::connect(address).unwrap();
        send(&mut client, &begin, &login(&format!("nobody-{number}"), "guess"));
    }
    assert_eq!(ask(address, "GET /health/live", ""), "HTTP/1.1 200 OK");
    assert_eq!(ask(address, &begin, &login("nobody", "guess")), "HTTP/1.1 401 Unauthorized");
    assert_eq!(ask(address, &begin, &login("guest", "guest")), "HTTP/1.1 200 OK");
    drop(broker.connect());
    assert!(broker.terminate().status.success(), "{}", broker.log());
}

#[test]
fn another_password_and_a_deletion_end_the_sessions_of_a_user() {
    let Some((_broker, api)) = managed() else { return };
    user(&api, "anna", "one", "management");
    let (first, second) = (log_in(&api, "anna", "one"), log_in(&api, "anna", "one"));
    let guest = log_in(&api, "guest", "guest");
    assert_ne!(first, second);
    assert_eq!(status(&api, "GET", "/api/nodes", &first), 401);
    let tags = json!({ "password": "two", "tags": "monitoring" });
    api.put("/users/anna", &tags);
    assert_eq!(status(&api, "GET", "/api/whoami", &first), 401);
    let third = log_in(&api, "anna", "two");
    assert_eq!(status(&api, "GET", "/api/nodes", &third), 200);
    assert_eq!(api.call("DELETE", "/users/anna", &Value::Null).status, 204);
    assert_eq!(status(&api, "GET", "/api/whoami", &third), 401);
    user(&api, "anna", "two", "management");
    for ended in [&first, &second, &third] {
        assert_eq!(status(&api, "GET", "/api/whoami", ended), 401);
    }
    assert_eq!(status(&api, "GET", "/api/whoami", &guest), 200);
}

#[test]
fn who_may_not_manage_gets_no_session() {
    let Some((_broker, api)) = managed() else { return };
    user(&api, "client", "c", "");
    let nobody = api.with_login(None);
    for (name, password, why) in [
        ("client", "c", "Not management user"),
        ("client", "d", "Not_Authorized"),
        ("nobody", "c", "Not_Authorized"),
    ] {
        let reply = nobody.send("POST", SESSION, &[OWN], &login(name, password));
        assert_eq!((reply.status, &reply.json()["reason"]), (401, &json!(why)));
        assert_eq!(reply.header("set-cookie"), "");
    }
}

#[test]
fn a_session_ends_with_time() {
    let config = "management = \"127.0.0.1:0\"\n[web]\nsession_lifetime = \"1s\"\n";
    let Some(broker) = Broker::configured(config, "ends sessions") else { return };
    let api = Api::new(broker.management_address());
    let cookie = log_in(&api, "guest", "guest");
    leveret_tests::eventually(|| status(&api, "GET", "/api/whoami", &cookie) == 401);
}

/// One more ends the one that was not used for longest; a reload may allow fewer.
#[test]
fn sessions_are_as_many_as_may_be() {
    let config = "management = \"127.0.0.1:0\"\n[web]\nsession_max = 3\n";
    let with_user = format!("{config}session_max_per_user = 2\n");
    let Some(broker) = Broker::configured(&with_user, "has few sessions") else { return };
    let api = Api::new(broker.management_address());
    user(&api, "anna", "a", "management");
    let goes_on = |cookie: &String| status(&api, "GET", "/api/whoami", cookie) == 200;
    let guests = [(); 3].map(|()| log_in(&api, "guest", "guest"));
    assert_eq!(guests.each_ref().map(goes_on), [false, true, true]);
    let annas = [(); 2].map(|()| log_in(&api, "anna", "a"));
    assert_eq!(guests.each_ref().map(goes_on), [false, false, true]);
    assert_eq!(annas.each_ref().map(goes_on), [true, true]);
    std::fs::write(broker.config_file(), format!("{config}session_max_per_user = 1\n")).unwrap();
    broker.hang_up();
    broker.await_line("the configuration was read again: web.session_max_per_user");
    let last = log_in(&api, "anna", "a");
    assert_eq!(annas.each_ref().map(goes_on), [false, false]);
    assert!(goes_on(&last) && goes_on(&guests[2]));
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let Some((_broker, api)) = managed() else { return };
    let cookie = log_in(&api, "guest", "guest");
    let nobody = api.with_login(None);
    let path = "/api/queues/%2F/forged";
    // The cookie alone, as a form of another site would have it sent.
    let reply = nobody.send("PUT", path, &[("cookie", &cookie)], "");
    assert_eq!(reply.status, 401);
    let evil = ("origin", "https://evil.example");
    let reply = nobody.send("PUT", path, &[("cookie", &cookie), OWN, evil], "");
    assert_eq!(reply.status, 403);
    assert_eq!(reply.json()["error"], "forbidden");
    // A password that the browser remembers and sends by itself.
    for (name, value) in [evil, ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let reply = api.send("PUT", path, &[(name, value)], "");
        assert_eq!(reply.status, 403, "{name}: {value}");
    }
    for (name, value) in [evil, ("sec-fetch-site", "same-site")] {
        let reply = nobody.send("POST", SESSION, &[OWN, (name, value)], &login("guest", "guest"));
        assert_eq!((reply.status, reply.header("set-cookie")), (403, ""), "{name}: {value}");
    }
    let reply = nobody.send("POST", SESSION, &[], &login("guest", "guest"));
    assert_eq!((reply.status, reply.header("set-cookie")), (403, ""));
    assert_eq!(api.call("GET", "/queues/%2F/forged", &Value::Null).status, 404);
    // A program sends neither, and an own page its own.
    assert_eq!(api.send("PUT", path, &[("sec-fetch-site", "same-origin")], "").status, 201);
}

#[test]
fn wrong_passwords_cost_time() {
    let Some((broker, api)) = managed() else { return };
    user(&api, "anna", "right", "management");
    let wrong = api.with_login(Some("anna:wrong"));
    for _ in 0..10 {
        // The same again is no guess.
        assert_eq!(wrong.call("GET", "/whoami", &Value::Null).status, 401);
    }
    for number in 1..5 {
        let guess = api.with_login(Some(&format!("anna:guess-{number}")));
        assert_eq!(guess.call("GET", "/whoami", &Value::Null).status, 401);
    }
    let reply = wrong.call("GET", "/whoami", &Value::Null);
    assert_eq!(reply.status, 429);
    assert_eq!(reply.json()["error"], "too_many_requests");
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert!(broker.log().contains("HTTP login refused: user 'anna' from 127.0.0.1"));
    wrong.call("GET", "/whoami", &Value::Null);
    let told = "HTTP login refused: user 'anna' from 127.0.0.1: too many wrong passwords";
    assert_eq!(broker.log().matches(told).count(), 1, "one a minute at most");
    // The right one is not looked at either, and nobody else has to wait.
    let right = api.with_login(Some("anna:right"));
    leveret_tests::eventually(|| {
        assert_eq!(api.call("GET", "/whoami", &Value::Null).status, 200);
        right.call("GET", "/whoami", &Value::Null).status == 200
    });
    assert_eq!(wrong.call("GET", "/whoami", &Value::Null).status, 401);
}

/// Nobody asks them for a hash, and they are worth no more than other guesses.
#[test]
fn wrong_tokens_cost_time() {
    let config = "management = \"127.0.0.1:0\"\n[web]\nproxies = [\"127.0.0.1\"]\n\
                  [auth]\nwrong_passwords_max_per_address = 10\n";
    let Some(broker) = Broker::configured(config, "knows whom a proxy speaks for") else { return };
    let api = Api::new(broker.management_address());
    let status = |address: &str, login: &str| {
        let headers = [("x-forwarded-for", address), ("authorization", login)];
        api.with_login(None).send("GET", "/api/whoami", &headers, "").status
    };
    let (here, there) = ("192.0.2.1", "192.0.2.2");
    for _ in 0..20 {
        assert_eq!(status(here, "Bearer expired"), 401, "the same again is no guess");
    }
    for number in 1..10 {
        assert_eq!(status(here, &format!("Bearer {number}")), 401);
    }
    // However slow this goes: each that is looked at doubles the wait.
    assert!((10..50).any(|number| status(here, &format!("Bearer {number}")) == 429));
    let without_name = |number: u32| {
        let login = format!(":{number}");
        let headers = [("x-forwarded-for", here)];
        api.with_login(Some(&login)).send("GET", "/api/whoami", &headers, "").status
    };
    assert!((0..50).any(|number| without_name(number) == 429));
    assert_eq!(status(there, "Bearer another"), 401);
    assert!(broker.log().contains("HTTP login refused: user '' from 192.0.2.1"));
}

#[test]
fn a_name_that_lets_nobody_in_is_cut_in_the_log() {
    let Some(broker) = Broker::configured("management = \"127.0.0.1:0\"\n", "reads its log") else {
        return;
    };
    let api = Api::new(broker.management_address());
    let name = "\u{1}".repeat(10_000);
    let login = api.with_login(Some(&format!("{name}:secret")));
    assert_eq!(login.call("GET", "/whoami", &Value::Null).status, 401);
    let line = broker.await_line("HTTP login refused: user '");
    assert!(line.len() < 1000 && line.ends_with("no such user"), "{line}");
}

/// The same wrong password again is never held back, and is not to fill the disk with lines.
#[test]
fn refused_logins_have_some_lines_in_the_log_and_their_number() {
    let Some(mut broker) = Broker::configured("management = \"127.0.0.1:0\"\n", "reads its log")
    else {
        return;
    };
    let old = Api::new(broker.management_address()).with_login(Some("guest:old"));
    for _ in 0..200 {
        assert_eq!(old.call("GET", "/whoami", &Value::Null).status, 401);
    }
    broker.terminate();
    let log = broker.log();
    let lines = log.matches("HTTP login refused: user 'guest' from 127.0.0.1: ").count();
    let more = log.lines().filter_map(|line| {
        let (_, number) =
            line.strip_suffix(" more logins refused within a minute")?.rsplit_once("HTTP: ")?;
        number.parse::<usize>().ok()
    });
    let more: Vec<usize> = more.collect();
    assert_eq!(lines + more.iter().sum::<usize>(), 200, "{log}");
    assert!(lines <= 20 * more.len(), "{log}");
}
