//! Guessing passwords over AMQP.

use leveret_tests::{Api, Broker, Login, eventually};

const REFUSED: &str = "connection.close 403 0.0 ACCESS_REFUSED - Login was refused using \
                       authentication mechanism PLAIN. For details see the broker logfile.";

fn try_password(broker: &Broker, password: &str) -> Result<(), String> {
    let response = format!("\0guest\0{password}");
    let login = Login { response: response.as_bytes(), ..Login::default() };
    broker.connect_as(&login).map(drop).map_err(|answer| answer.to_string())
}

fn throttled(broker: &Broker) -> bool {
    broker.log().contains("user 'guest': too many wrong passwords")
}

/// Whoever guesses waits; neither does a program that comes again and again with an old password,
/// nor anybody elsewhere.
#[test]
fn guesses_cost_time() {
    let Some(broker) = Broker::managed() else { return };
    for _ in 0..20 {
        assert_eq!(try_password(&broker, "old").unwrap_err(), REFUSED);
    }
    try_password(&broker, "guest").unwrap();
    assert!(!throttled(&broker));
    // However slow this goes: each that is looked at doubles the wait.
    let guesses = (0..).take_while(|number| {
        assert_eq!(try_password(&broker, &format!("guess-{number}")).unwrap_err(), REFUSED);
        *number < 4 || !throttled(&broker)
    });
    assert!(guesses.count() >= 4, "five are free");
    let line = broker.await_line("too many wrong passwords");
    assert!(line.contains("(127.0.0.1:"), "{line}");
    let metrics = Api::new(broker.metrics_address()).send("GET", "/metrics", &[], "").text;
    let counted = |name: &str| -> u64 {
        let sample = format!("{name}{{protocol=\"amqp091\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&sample));
        value.unwrap().parse().unwrap()
    };
    assert!(counted("leveret_logins_throttled_total") >= 1);
    assert!(counted("rabbitmq_auth_attempts_failed_total") >= 26);
    broker.connect_from([127, 0, 0, 2].into()).unwrap().close();
    // The right one is looked at again once the time is over.
    eventually(|| try_password(&broker, "guest").is_ok());
}

/// From how many on, and for how long, holds at once after a reload.
#[test]
fn what_guesses_cost_is_configured() {
    let config = |max: u32| format!("[auth]\nwrong_passwords_max = {max}\n");
    let Some(broker) = Broker::configured(&config(1000), "says what guesses cost") else { return };
    for number in 0..10 {
        assert_eq!(try_password(&broker, &format!("guess-{number}")).unwrap_err(), REFUSED);
    }
    try_password(&broker, "guest").unwrap();
    assert!(!throttled(&broker));
    let limits = config(1) + "wrong_password_wait_max = \"5m\"\n";
    std::fs::write(broker.config_file(), limits).unwrap();
    broker.hang_up();
    broker.await_line("again: auth.wrong_passwords_max, auth.wrong_password_wait_max");
    // Each that is looked at doubles the wait, so sooner or later one comes too early.
    let mut guesses = 0..;
    while !throttled(&broker) {
        let guess = format!("guess-{}", guesses.next().unwrap());
        assert_eq!(try_password(&broker, &guess).unwrap_err(), REFUSED);
    }
    assert!(guesses.start < 10, "{}", guesses.start);
}
