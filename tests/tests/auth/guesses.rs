//! Guessing passwords of the broker's own users where others are asked before it.

use std::net::TcpListener;

use leveret_tests::{Api, Broker};

use crate::service::{Reply, Service};
use crate::{REFUSED, WHY, log_in};

/// More than are free, and far fewer than a guesser needs.
const GUESSES: usize = 50;

fn chain(http: &str) -> Option<Broker> {
    let auth = "[auth]\nbackends = [\"http\", \"internal\"]\n";
    Broker::configured(&format!("management = \"127.0.0.1:0\"\n{http}{auth}"), WHY)
}

fn status(api: &Api, path: &str, login: &str) -> u16 {
    api.with_login(Some(login)).send("GET", path, &[], "").status
}

#[test]
fn one_that_cant_be_asked_makes_no_guess_free() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let Some(broker) = chain(&format!("[auth_http]\nuser_path = \"http://{nobody}/user\"\n"))
    else {
        return;
    };
    // The same password again is no guess, as ever.
    for _ in 0..6 {
        assert_eq!(log_in(&broker, "guest", "old").err().unwrap(), REFUSED);
    }
    let api = Api::new(broker.management_address());
    assert_eq!(status(&api, "/api/whoami", "guest:guest"), 200);
    let waits =
        (0..GUESSES).any(|guess| status(&api, "/api/whoami", &format!("guest:{guess}")) == 429);
    assert!(waits, "{}", broker.log());
    assert_eq!(log_in(&broker, "guest", "another").err().unwrap(), REFUSED);
    broker.await_line("user 'guest': too many wrong passwords");
}

/// A vhost that is not there is nothing to ask about, least of all one whose name the service can't
/// be told.
#[test]
fn nobody_is_asked_about_a_vhost_that_is_not_there() {
    let service = Service::start(|asked| match asked.path.as_str() {
        "user" => Reply::Say("deny"),
        _ => Reply::Say("allow"),
    });
    let Some(broker) = chain(&service.settings()) else { return };
    let api = Api::new(broker.management_address());
    let long = format!("/api/queues/{}", "!".repeat(22_000));
    let paths = ["/api/queues/%2F", "/api/queues/nowhere", &long];
    let answers = paths.map(|path| status(&api, path, "guest:guest"));
    assert_eq!(answers, [200, 404, 404]);
    let asked = service.take();
    let vhosts: Vec<_> = asked.iter().map(|one| one.fields.get("vhost")).collect();
    assert_eq!(vhosts, [Some(&"/".to_owned()), None, None]);
    let waits = (0..GUESSES).any(|guess| status(&api, &long, &format!("guest:{guess}")) == 429);
    assert!(waits, "{}", broker.log());
}
