//! Connections that a proxy passes on, with the PROXY protocol.

use leveret_tests::codec::PROTOCOL_HEADER;
use leveret_tests::{Answer, Broker, Connection, Login};

const WHY: &str = "believes a proxy";
/// A header of version 2 for 198.51.100.7:40000, and whether it passes on a connection or speaks for
/// the proxy itself.
const V2: [&[u8]; 3] = [
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
    &[198, 51, 100, 7, 10, 0, 0, 1],
    &[0x9c, 0x40, 0x16, 0x28],
];
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn broker(proxies: &str) -> Option<Broker> {
    let settings = format!("[amqp]\nproxies = {proxies}\n[auth]\nloopback_users = \"none\"\n");
    Broker::configured(&settings, WHY)
}

/// A client whose proxy begins with this header.
fn connect(broker: &Broker, header: &[u8]) -> Result<Connection, Answer> {
    let connection = broker.dial();
    connection.send_bytes(header);
    connection.open(&Login::default())?;
    Ok(connection)
}

#[test]
fn the_log_names_the_client_and_not_its_proxy() {
    let Some(broker) = broker("\"127.0.0.1\"") else { return };
    let _v1 = connect(&broker, b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 5672\r\n").unwrap();
    broker.await_line("192.0.2.7:56324 -> 10.0.0.1:5672");
    let _v2 = connect(&broker, &V2.concat()).unwrap();
    broker.await_line("198.51.100.7:40000 -> 10.0.0.1:5672");
    let _v6 = connect(&broker, b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 5672\r\n").unwrap();
    broker.await_line("[2001:db8::7]:56324 -> [2001:db8::1]:5672");
}

#[test]
fn a_proxy_speaks_for_itself_under_its_own_address() {
    let Some(broker) = broker("\"private\"") else { return };
    for header in [V2_LOCAL, b"PROXY UNKNOWN\r\n"] {
        let connection = connect(&broker, header).unwrap();
        broker.await_line(&format!("{} -> ", connection.local_address()));
    }
}

/// As RabbitMQ does it: nobody gets around saying who they are.
#[test]
fn a_proxy_that_says_nothing_is_hung_up_on() {
    let Some(broker) = broker("\"127.0.0.0/8\"") else { return };
    let silent = broker.dial();
    silent.send_bytes(&PROTOCOL_HEADER);
    assert!(silent.recv_bytes(8).is_empty());
    broker.await_line("it does not begin with a header of the PROXY protocol");
    let wrong = broker.dial();
    wrong.send_bytes(b"PROXY TCP4 somewhere\r\n");
    assert!(wrong.recv_bytes(8).is_empty());
    broker.await_line("malformed header of the PROXY protocol");
}

#[test]
fn who_is_no_proxy_cannot_claim_to_be_another() {
    let Some(broker) = broker("\"192.0.2.0/24\"") else { return };
    let liar = broker.dial();
    liar.send_bytes(b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 5672\r\n");
    assert_eq!(liar.recv_bytes(9), PROTOCOL_HEADER);
    assert!(!broker.log().contains("192.0.2.7:56324"));
    let _itself = broker.connect();
}

/// Behind a proxy on the same machine everybody seems local.
#[test]
fn a_user_who_must_be_local_is_not_let_in_from_behind_a_proxy() {
    let Some(broker) = Broker::configured("[amqp]\nproxies = \"127.0.0.1\"\n", WHY) else { return };
    let refused = connect(&broker, b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 5672\r\n");
    let text = refused.err().unwrap().to_string();
    assert!(text.starts_with("connection.close 403"), "{text}");
    broker.await_line("the user can only connect via localhost");
    connect(&broker, b"PROXY TCP4 127.0.0.1 127.0.0.1 56324 5672\r\n").unwrap();
}
