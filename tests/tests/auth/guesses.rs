//! Guessing passwords of the broker's own users where others are asked before it.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use leveret_tests::{Api, Broker, eventually};

use crate::service::{Reply, Service};
use crate::{REFUSED, WHY, log_in};

/// More than are free, and far fewer than a guesser needs.
const GUESSES: usize = 50;

fn chain(http: &str) -> Option<Broker> {
    let auth = "[auth]\nbackends = [\"http\", \"internal\"]\n";
    let listeners = "management = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n";
    Broker::configured(&format!("{listeners}{http}{auth}"), WHY)
}

/// What the broker says it has counted.
fn counted(broker: &Broker, metric: &str) -> usize {
    let reply = Api::new(broker.metrics_address()).send("GET", "/metrics", &[], "");
    let mut samples = reply.text.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = samples.find(|(name, _)| *name == metric).unwrap();
    value.parse().unwrap()
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

/// Who tries many passwords at a time gets no more of them looked at than one after the other.
#[test]
fn guesses_at_a_time_cost_time() {
    let service = Service::start(|_| Reply::Say("deny"));
    let patient = format!("{}request_timeout = \"5m\"\n", service.settings());
    let Some(broker) = chain(&patient) else { return };
    let api = Api::new(broker.management_address());
    let over_http = at_a_time(&service, "anna", |guess| {
        status(&api, "/api/whoami", &format!("anna:{guess}")) == 429
    });
    let over_amqp = at_a_time(&service, "bert", |guess| {
        assert_eq!(log_in(&broker, "bert", &guess.to_string()).err().unwrap(), REFUSED);
        false
    });
    // However slow this goes: each that is looked at doubles the wait.
    assert!(over_http > GUESSES / 2, "{over_http}");
    assert_eq!(over_amqp, 0, "clients are told nothing");
    let told = counted(&broker, "leveret_logins_throttled_total{protocol=\"amqp091\"}");
    assert!(told > GUESSES / 2, "{told}");
}

/// Has the service answer when it has been asked about all guesses; how many of them came to that.
fn at_a_time(service: &Service, user: &str, guess: impl Fn(usize) -> bool + Sync) -> usize {
    service.hold(&format!("user {user}"));
    let counted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (guess, counted) = (&guess, &counted);
        for number in 0..GUESSES {
            scope.spawn(move || {
                let came_to_that = guess(number);
                counted.fetch_add(came_to_that.into(), Ordering::Relaxed);
            });
        }
        let mut asked = 0;
        eventually(|| {
            asked += service.take().len();
            asked == GUESSES
        });
        service.release();
    });
    counted.into_inner()
}
