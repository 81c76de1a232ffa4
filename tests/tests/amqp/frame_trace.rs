//! The log at the level `trace`.

use leveret_tests::codec::{Properties, Value, connection};
use leveret_tests::{Broker, Login, confirm_select, declare, get, publish, table};

const LOGIN: Login<'static> = Login {
    mechanism: "PLAIN",
    response: b"\0guest\0hunter2",
    capabilities: true,
    tune: None,
    vhost: "/",
};

/// A client that has secrets in all it sends, at a broker with such a level; what that has logged.
fn log(level: &str) -> Option<String> {
    let config = format!("[auth]\ndefault_pass = \"hunter2\"\n[log]\nlevel = \"{level}\"\n");
    let broker = Broker::configured(&config, "has a log level")?;
    let client = broker.connect_as(&LOGIN).unwrap();
    let update = connection::UpdateSecret { new_secret: b"hunter2", reason: "hunter2" };
    assert_eq!(client.call(&update), "connection.update-secret-ok");
    let channel = client.channel(7);
    channel.call(&declare("q"));
    channel.call(&confirm_select());
    let headers = table([("secret", Value::text("hunter2"))]);
    let headers = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    channel.publish_with(&publish("", "q"), &headers, b"hunter2");
    assert_eq!(channel.recv(), "basic.ack 1");
    // Large enough to be written from where it lies.
    channel.publish("", "q", vec![b'x'; 100_000]);
    assert_eq!(channel.recv(), "basic.ack 2");
    channel.call(&get("q"));
    channel.call(&get("q"));
    client.close();
    if level == "trace" {
        broker.await_line("sent connection=");
        broker.await_line("frame=\"connection.close-ok\"");
    } else {
        broker.await_line("closing AMQP connection");
    }
    Some(broker.log())
}

/// By their names and channels; not what is in them, be it a password or a message.
#[test]
fn each_frame_is_told_of_and_nothing_that_is_in_it() {
    let Some(log) = log("trace") else { return };
    let count = |what: &str, rest: &str| {
        let lines = log.lines().filter(|line| line.contains("[trace]"));
        lines
            .filter(|line| line.contains(&format!("{what} connection=")) && line.ends_with(rest))
            .count()
    };
    for (what, rest, times) in [
        ("received", " frame=\"protocol header\"", 1),
        ("sent", " channel=0 frame=\"connection.start\"", 1),
        ("received", " channel=0 frame=\"connection.start-ok\"", 1),
        ("received", " channel=0 frame=\"connection.update-secret\"", 1),
        ("sent", " channel=0 frame=\"connection.update-secret-ok\"", 1),
        ("received", " channel=7 frame=\"basic.publish\"", 2),
        ("received", " channel=7 frame=\"content header\"", 2),
        ("received", " channel=7 frame=\"content body\" body_bytes=7", 1),
        ("received", " channel=7 frame=\"content body\" body_bytes=100000", 1),
        ("sent", " channel=7 frame=\"basic.ack\"", 2),
        ("sent", " channel=7 frame=\"basic.get-ok\"", 2),
        ("sent", " channel=7 frame=\"content body\" body_bytes=7", 1),
        ("sent", " channel=7 frame=\"content body\" body_bytes=100000", 1),
        ("sent", " channel=0 frame=\"connection.close-ok\"", 1),
    ] {
        assert_eq!(count(what, rest), times, "{what}{rest}:\n{log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn frames_are_not_told_of_at_other_levels() {
    let Some(log) = log("debug") else { return };
    assert!(!log.contains(" frame=") && !log.contains("hunter2"), "{log}");
}
