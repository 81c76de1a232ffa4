//! What clients, and those who have not logged in, can have the log say.

use leveret_tests::codec::{PROTOCOL_HEADER, Value, channel, connection};
use leveret_tests::{Broker, Connection, passive, table};

const BECAUSE: &str = "reads its log";

/// The lines with this text, and those that say how many more there would have been.
fn told<'a>(log: &'a str, text: &str, more: &str) -> (Vec<&'a str>, Vec<usize>) {
    let lines = log.lines().filter(|line| line.contains(text)).collect();
    let number = |line: &str| {
        let (_, number) = line.strip_suffix(more)?.rsplit_once("AMQP: ")?;
        number.trim_end().parse().ok()
    };
    (lines, log.lines().filter_map(number).collect())
}

#[test]
fn strangers_write_some_lines_and_their_number() {
    let Some(mut broker) = Broker::own(BECAUSE) else { return };
    for _ in 0..500 {
        let stranger = broker.dial();
        stranger.send_bytes(b"GET / HT");
        assert_eq!(stranger.recv_bytes(9), PROTOCOL_HEADER);
    }
    broker.terminate();
    let log = broker.log();
    let text = "the client did not start with the AMQP 0-9-1 protocol header";
    let more = "more connections that did not come to a login within a minute";
    let (lines, numbers) = told(&log, text, more);
    assert!(lines.first().unwrap().contains("closing connection (127.0.0.1:"), "{log}");
    assert_eq!(lines.len() + numbers.iter().sum::<usize>(), 500, "{log}");
    assert!(lines.len() <= 20 * numbers.len(), "{log}");
}

#[test]
fn a_strangers_name_is_cut_in_the_log() {
    let Some(mut broker) = Broker::own(BECAUSE) else { return };
    let name = "\u{1}".repeat(7000);
    let properties = table([("connection_name", Value::text(&name))]);
    let refused = |broker: &Broker, response: &[u8]| -> Connection {
        let stranger = broker.dial();
        stranger.greet();
        stranger.send(&connection::StartOk {
            client_properties: properties.as_table(),
            mechanism: "PLAIN",
            response,
            locale: "en_US",
        });
        stranger
    };
    // Each waits for some seconds: at once. Most are no login, one is of a user with a long name.
    let mut strangers: Vec<Connection> = (0..60).map(|_| refused(&broker, b"?")).collect();
    let long = [b"\0", "'".repeat(900).as_bytes(), b"\0secret"].concat();
    strangers.insert(0, refused(&broker, &long));
    for stranger in strangers {
        assert!(stranger.recv().ends_connection());
    }
    broker.terminate();
    let log = broker.log();
    let (lines, numbers) =
        told(&log, "PLAIN login refused: ", "more logins refused within a minute");
    assert_eq!(lines.len() + numbers.iter().sum::<usize>(), 61, "{log}");
    assert!(lines.len() <= 20 * numbers.len(), "{log}");
    for line in log.lines() {
        assert!(line.len() < 1000, "{line}");
    }
}

/// One client can have thousands in a second.
#[test]
fn errors_of_clients_write_some_lines_and_their_number() {
    let Some(mut broker) = Broker::own(BECAUSE) else { return };
    let connection = broker.connect();
    for _ in 0..1100 {
        let channel = connection.channel(1);
        assert!(channel.call(&passive("none")).starts_with("channel.close 404 "));
        channel.send(&channel::CloseOk {});
    }
    broker.terminate();
    let log = broker.log();
    let text = "caused a channel exception not_found: no queue 'none' in vhost '/'";
    let more = "more errors of channels and connections within a minute";
    let (lines, numbers) = told(&log, text, more);
    // The last is that the broker stops.
    assert_eq!((lines.len(), numbers), (1000, vec![101]));
}
