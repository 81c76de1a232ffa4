//! Logins that an HTTP service decides.

use std::net::TcpListener;

use leveret_tests::{Broker, Login};

use crate::service::{Asked, Reply, Service};
use crate::{REFUSED, WHY, log_in};

/// Lets in whose password is their name, but for `nobody`.
fn decide(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "user" if asked.field("username") == "nobody" => Reply::Say("deny because"),
        "user" if asked.field("username") == asked.field("password") => Reply::Say("allow"),
        "user" => Reply::Say("deny"),
        "vhost" if asked.field("username") == "outside" => Reply::Say("deny"),
        _ => Reply::Say("allow"),
    }
}

fn broker(service: &Service, more: &str) -> Option<Broker> {
    let settings = service.settings();
    Broker::configured(&format!("{settings}{more}[auth]\nbackends = \"http\"\n"), WHY)
}

#[test]
fn the_service_lets_in_and_keeps_out() {
    let service = Service::start(decide);
    let Some(broker) = broker(&service, "") else { return };
    log_in(&broker, "anna", "anna").unwrap();
    let asked = service.take();
    let lines: Vec<String> = asked.iter().map(Asked::line).collect();
    assert_eq!(lines, ["user anna", "vhost / of anna"]);
    assert_eq!(asked[0].field("password"), "anna");
    assert_eq!(asked[0].fields.len(), 2, "{asked:?}");
    assert_eq!(asked[1].field("ip"), "127.0.0.1");
    assert_eq!(asked[1].field("tags"), "");
    for (user, password) in [("anna", "bert"), ("nobody", "nobody"), ("guest", "wrong"), ("", "")] {
        let expected = if user.is_empty() { "connection.start" } else { REFUSED };
        match log_in(&broker, user, password) {
            Ok(_) => assert_eq!(expected, "connection.start", "{user} got in"),
            Err(answer) => assert_eq!(answer, expected),
        }
    }
    let line = broker.await_line("user 'anna': denied by the backing HTTP service");
    assert!(line.contains("login refused") && line.contains("(127.0.0.1:"), "{line}");
}

#[test]
fn a_vhost_the_service_denies_is_not_entered() {
    let service = Service::start(decide);
    let Some(broker) = broker(&service, "") else { return };
    let refused = log_in(&broker, "outside", "outside").err().unwrap();
    assert_eq!(
        refused,
        "connection.close 530 connection.open NOT_ALLOWED - access to vhost '/' refused for user \
         'outside'"
    );
    service.take();
    let login = Login { response: b"\0anna\0anna", vhost: "nowhere", ..Login::default() };
    let refused = broker.connect_as(&login).err().unwrap();
    assert_eq!(
        refused,
        "connection.close 530 connection.open NOT_ALLOWED - vhost nowhere not found"
    );
    assert_eq!(service.take_lines(), ["user anna"], "nobody is asked about what is not there");
}

#[test]
fn a_form_is_posted_if_that_is_configured() {
    let service = Service::start(decide);
    let Some(broker) = broker(&service, "http_method = \"post\"\n") else { return };
    log_in(&broker, "ä&= +", "ä&= +").unwrap();
    let asked = service.take();
    assert!(asked.iter().all(|one| one.method == "POST"), "{asked:?}");
    assert_eq!(asked[0].field("username"), "ä&= +");
}

#[test]
fn others_log_in_while_the_service_is_slow() {
    let service = Service::start(decide);
    let Some(broker) = broker(&service, "") else { return };
    service.hold("user slow");
    let slow = broker.dial();
    slow.greet();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            service.await_line("user slow");
            log_in(&broker, "anna", "anna").unwrap();
            service.release();
        });
        let login = Login { response: b"\0slow\0slow", ..Login::default() };
        let tune = slow.log_in(&login);
        assert!(tune.starts_with("connection.tune"), "{tune}");
    });
}

#[test]
fn a_service_that_does_not_answer_in_time_lets_nobody_in() {
    let service = Service::start(decide);
    let Some(broker) = broker(&service, "request_timeout = \"200ms\"\n") else { return };
    service.hold("user anna");
    assert_eq!(log_in(&broker, "anna", "anna").err().unwrap(), REFUSED);
    log_in(&broker, "bert", "bert").unwrap();
    broker.await_line("no answer within 200 ms");
    broker.await_line("the authentication backend 'http' answers again");
}

#[test]
fn a_service_that_is_not_there_lets_nobody_in_and_is_told_of_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let config = format!(
        "[auth_http]\nuser_path = \"http://{nobody}/user\"\n[auth]\nbackends = [\"http\", \"internal\"]\n"
    );
    let Some(broker) = Broker::configured(&config, WHY) else { return };
    for _ in 0..3 {
        assert_eq!(log_in(&broker, "anna", "anna").err().unwrap(), REFUSED);
    }
    // The next in the chain is not kept from answering.
    let _guest = broker.connect();
    broker.await_line("user 'guest' authenticated");
    let log = broker.log();
    let told = log.lines().filter(|line| line.contains("backend 'http' can't be asked"));
    assert_eq!(told.count(), 1, "{log}");
    assert!(!log.contains("password=") && !log.contains("anna&"), "{log}");
}

#[test]
fn a_service_that_fails_lets_nobody_in() {
    let service = Service::start(|asked| match asked.field("username") {
        "failing" => Reply::Status("500 Internal Server Error"),
        _ => Reply::Say("perhaps"),
    });
    let Some(broker) = broker(&service, "") else { return };
    assert_eq!(log_in(&broker, "failing", "x").err().unwrap(), REFUSED);
    assert_eq!(log_in(&broker, "anna", "x").err().unwrap(), REFUSED);
    broker.await_line("it answered 500");
    broker.await_line("neither allow nor deny");
}
