//! From the first byte to an open connection, and the way out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use leveret_tests::codec::{
    Method, PROTOCOL_HEADER, Table, TableBuf, Value, basic, channel, connection,
};
use leveret_tests::{Broker, Connection, Login, declare, eventually, get, passive};

#[test]
fn versions_0_9_1_and_0_9_are_greeted() {
    let broker = Broker::start();
    for header in [b"AMQP\0\0\x09\x01", b"AMQP\x01\x01\0\x09"] {
        let connection = broker.dial();
        connection.send_bytes(header);
        assert!(connection.recv().starts_with("connection.start 0 9 "), "{header:?}");
    }
}

/// RabbitMQ 4 answers most of these with AMQP 1.0's header, which Leveret does not speak.
#[test]
fn any_other_header_is_answered_with_the_one_spoken() {
    let broker = Broker::start();
    for header in [
        &b"AMQP\0\0\x0a\0"[..],
        b"AMQP\0\0\x09\x02",
        b"AMQP\0\0\x08\0",
        b"AMQP\x01\x01\x08\0",
        b"AMQP\0\x01\0\0",
        b"AMQP\x03\x01\0\0",
        b"AMQP\x02\x01\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\0\xff\x01\0\0",
        b"XXXXXXXX",
    ] {
        let connection = broker.dial();
        connection.send_bytes(header);
        // Nine bytes do not come: the broker closes after eight.
        assert_eq!(connection.recv_bytes(9), PROTOCOL_HEADER, "to {header:?}");
    }
}

#[test]
fn a_header_may_come_in_pieces() {
    let broker = Broker::start();
    let connection = broker.dial();
    for byte in PROTOCOL_HEADER {
        connection.send_bytes(&[byte]);
    }
    assert!(connection.recv().starts_with("connection.start "));
}

#[test]
fn start_says_what_the_broker_is() {
    let broker = Broker::start();
    let answer = broker.dial().greet();
    let Method::ConnectionStart(start) = answer.method() else { panic!("{answer}") };
    let mechanisms = str::from_utf8(start.mechanisms).unwrap();
    for mechanism in ["PLAIN", "AMQPLAIN"] {
        assert!(mechanisms.split(' ').any(|offered| offered == mechanism), "{mechanisms}");
    }
    assert_eq!(start.locales, b"en_US");

    let properties = start.server_properties;
    let keys: Vec<_> = properties.iter().map(|(key, _)| key.to_vec()).collect();
    assert!(keys.is_sorted(), "{keys:?}");
    for key in ["cluster_name", "copyright", "information", "platform", "product", "version"] {
        let value = properties.get(key).unwrap_or_else(|| panic!("{key} is missing"));
        // Clients cast them: only a longstr is one to them.
        assert!(matches!(value, Value::LongStr(text) if !text.is_empty()), "{key} is {value:?}");
    }
    // Clients branch on these two, and parse the version strictly.
    assert_eq!(properties.get("product").unwrap().as_str(), Some("RabbitMQ"));
    let version = properties.get("version").unwrap().as_str().unwrap();
    assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{version}");
    assert_eq!(version.split('.').count(), 3, "{version}");

    let capabilities = properties.get("capabilities").unwrap().as_table().unwrap();
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        assert_eq!(capabilities.get(name), Some(Value::Bool(true)), "{name}");
    }
}

#[test]
fn the_usual_limits_are_offered() {
    let broker = Broker::start();
    let connection = broker.dial();
    connection.greet();
    assert_eq!(connection.log_in(&Login::default()), "connection.tune 2047 131072 60");
}

#[test]
fn all_mechanisms_let_in() {
    let config = "[auth]\nmechanisms = [\"PLAIN\", \"AMQPLAIN\", \"ANONYMOUS\"]\n";
    let Some(broker) = Broker::configured(config, "has ANONYMOUS on") else { return };
    assert_eq!(broker.dial().greet(), "connection.start 0 9 PLAIN AMQPLAIN ANONYMOUS en_US");
    let amqplain = amqplain("guest", "guest");
    for (mechanism, response) in [
        ("PLAIN", &b"\0guest\0guest"[..]),
        ("AMQPLAIN", &amqplain),
        // Whatever it says, it is the user the configuration names.
        ("ANONYMOUS", b"somebody"),
    ] {
        let connection =
            broker.connect_as(&Login { mechanism, response, ..Login::default() }).unwrap();
        assert_eq!(connection.channel(1).call(&declare("q")), "queue.declare-ok q 0 0");
    }
}

/// Unlike RabbitMQ, which lets anybody in as guest: it is no mechanism unless it is switched on.
#[test]
fn nobody_comes_in_without_a_login_unless_that_is_configured() {
    let login = Login { mechanism: "ANONYMOUS", response: b"", ..Login::default() };
    let Some(broker) = Broker::configured("", "has ANONYMOUS off") else { return };
    assert_eq!(broker.dial().greet(), "connection.start 0 9 PLAIN AMQPLAIN en_US");
    let answer = broker.connect_as(&login).err().unwrap();
    assert!(answer == "eof" || answer == "reset", "{answer}");
    broker.await_line("the client asked for the mechanism 'ANONYMOUS', which is not offered");
}

/// Only as the user the configuration names, and not at all if it names none.
#[test]
fn anonymous_is_who_the_configuration_says() {
    let because = "needs a configuration";
    let login = Login { mechanism: "ANONYMOUS", response: b"", ..Login::default() };
    let config = "[auth]\nanonymous_login_pass = \"not guest's\"\n";
    let Some(broker) = Broker::configured(config, because) else { return };
    assert_eq!(
        broker.connect_as(&login).err().unwrap(),
        "connection.close 403 0.0 ACCESS_REFUSED - Login was refused using authentication mechanism \
         ANONYMOUS. For details see the broker logfile."
    );
    let config = "[auth]\nanonymous_login_user = \"none\"\n";
    let Some(broker) = Broker::configured(config, because) else { return };
    assert_eq!(broker.dial().greet(), "connection.start 0 9 PLAIN AMQPLAIN en_US");
    let answer = broker.connect_as(&login).err().unwrap();
    assert!(answer == "eof" || answer == "reset", "{answer}");
}

/// A reload has it on with the password that is set then, not with the one from before.
#[test]
fn a_reload_says_who_comes_in_without_a_login() {
    let login = Login { mechanism: "ANONYMOUS", response: b"", ..Login::default() };
    let Some(broker) = Broker::configured("", "changes the configuration") else { return };
    let reload = |config: &str, changed: &str| {
        std::fs::write(broker.config_file(), config).unwrap();
        broker.hang_up();
        broker.await_line(&format!("the configuration was read again: {changed}"));
    };
    let config = "[auth]\nanonymous_login_pass = \"not guest's\"\n";
    reload(config, "auth.mechanisms, auth.anonymous_login_pass");
    assert_eq!(broker.dial().greet(), "connection.start 0 9 PLAIN AMQPLAIN ANONYMOUS en_US");
    let refused = broker.connect_as(&login).err().unwrap();
    assert!(refused.starts_with("connection.close 403 0.0 ACCESS_REFUSED"), "{refused}");
    reload("[auth]\nanonymous_login_pass = \"guest\"\n", "auth.anonymous_login_pass");
    broker.connect_as(&login).unwrap();
}

/// A client that can take a close for it learns of bad credentials by one, any other by the end.
#[test]
fn bad_credentials_are_refused() {
    let broker = Broker::start();
    let amqplain_bad = amqplain("guest", "wrong");
    let attempts = [
        ("PLAIN", &b"\0guest\0wrong"[..]),
        ("PLAIN", b"\0nobody\0guest"),
        ("PLAIN", b"\0\0"),
        ("AMQPLAIN", &amqplain_bad),
    ]
    .map(|(mechanism, response)| Login { mechanism, response, ..Login::default() });
    // All at once: the broker may take its time before it answers a bad login.
    let with_capability: Vec<_> = attempts.iter().map(|login| attempt(&broker, login)).collect();
    let without: Vec<_> = attempts
        .iter()
        .map(|login| attempt(&broker, &Login { capabilities: false, ..*login }))
        .collect();

    for (login, connection) in attempts.iter().zip(&with_capability) {
        let mechanism = login.mechanism;
        assert_eq!(
            connection.recv(),
            format!(
                "connection.close 403 0.0 ACCESS_REFUSED - Login was refused using authentication \
                 mechanism {mechanism}. For details see the broker logfile."
            )
        );
    }
    for (login, connection) in attempts.iter().zip(&without) {
        let answer = connection.recv();
        assert!(answer == "eof" || answer == "reset", "{login:?}: {answer}");
    }
}

/// `guest` may not come from elsewhere. From this machine it may, and an address of IPv4 in the
/// clothes of IPv6 is one of this machine.
#[test]
fn loopback_users_come_from_this_machine() {
    let because = "needs a listener for all addresses";
    let config = "listen = \"[::]:0\"\n";
    let Some(broker) = Broker::configured(config, because) else { return };
    let port = broker.address().port();
    let log_in = |address: IpAddr| {
        let connection = Connection::dial(SocketAddr::new(address, port));
        let answer = connection.open(&Login::default());
        answer.map_err(|answer| answer.to_string())
    };
    assert_eq!(log_in(IpAddr::V4(Ipv4Addr::LOCALHOST)), Ok(()));
    assert_eq!(log_in(IpAddr::V6(Ipv6Addr::LOCALHOST)), Ok(()));
    let Some(elsewhere) = own_address() else {
        println!("not all of it: this machine has no other address");
        return;
    };
    let refused = "connection.close 403 0.0 ACCESS_REFUSED - Login was refused using \
                   authentication mechanism PLAIN. For details see the broker logfile.";
    assert_eq!(log_in(elsewhere), Err(refused.to_owned()));
    eventually(|| broker.log().contains("can only connect via localhost"));
}

/// The address this machine would send from to somewhere else. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// Whatever language the client prefers: there is one, and Ruby's asks for another.
#[test]
fn any_locale_is_fine() {
    let broker = Broker::start();
    for locale in ["en_GB", "de_DE", ""] {
        let connection = broker.dial();
        connection.greet();
        let properties = TableBuf::default();
        let answer = connection.call(&connection::StartOk {
            client_properties: properties.as_table(),
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            locale,
        });
        assert!(answer.starts_with("connection.tune "), "{locale}: {answer}");
    }
}

#[test]
fn a_malformed_login_ends_without_a_word() {
    let broker = Broker::start();
    let connections = [
        ("PLAIN", &b"junk"[..]),
        ("PLAIN", b"guest\0guest"),
        ("PLAIN", b"somebody\0guest\0guest"),
        ("PLAIN", b"\0guest\0guest\0"),
        ("AMQPLAIN", b"junk"),
        ("AMQPLAIN", b"\x05LOGINS\0\0\0\x05guest"),
        ("FOO", b"\0guest\0guest"),
        ("EXTERNAL", b""),
    ]
    .map(|(mechanism, response)| {
        attempt(&broker, &Login { mechanism, response, ..Login::default() })
    });
    for connection in connections {
        let answer = connection.recv();
        assert!(answer == "eof" || answer == "reset", "{answer}");
    }
}

/// RabbitMQ 4.3 falls silent instead; the frame is what its source has for it, and more use.
#[test]
fn limits_beyond_those_offered_are_refused() {
    let broker = Broker::start();
    let cases = [
        ((5000, 131_072), "channel_max = 5000 is higher than the maximum allowed value (2047)"),
        (
            (0, 131_072),
            "channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
        ),
        ((100, 231_072), "frame_max = 231072 is higher than the maximum allowed value (131072)"),
        ((100, 0), "frame_max = 0 (no limit) is higher than the maximum allowed value (131072)"),
        ((100, 1000), "frame_max = 1000 is lower than the minimum allowed value (4096)"),
    ];
    let connections = cases.map(|((channel_max, frame_max), text)| {
        let connection = broker.dial();
        connection.greet();
        connection.log_in(&Login::default());
        connection.send(&connection::TuneOk { channel_max, frame_max, heartbeat: 0 });
        (connection, text)
    });
    for (connection, text) in connections {
        assert_eq!(
            connection.recv(),
            format!("connection.close 530 connection.tune NOT_ALLOWED - negotiated {text}")
        );
    }
}

/// RabbitMQ 4.1 raised the minimum to 8192; older clients ask for 4096.
#[test]
fn frames_are_no_larger_than_agreed() {
    let broker = Broker::start();
    let tune = connection::TuneOk { channel_max: 10, frame_max: 4096, heartbeat: 0 };
    let connection = broker.connect_as(&Login { tune: Some(tune), ..Login::default() }).unwrap();
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", vec![b'x'; 10_000]);
    let answer = channel.call(&get("q"));
    assert_eq!(answer.body(), vec![b'x'; 10_000]);
    assert_eq!(answer.body_frames(), [4088, 4088, 1824]);
}

/// A client that knows what it will be asked may answer before.
#[test]
fn a_client_need_not_wait_for_each_step() {
    let broker = Broker::start();
    let connection = broker.dial();
    let properties = TableBuf::default();
    let mut all = PROTOCOL_HEADER.to_vec();
    connection::StartOk {
        client_properties: properties.as_table(),
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    }
    .encode_frame(0, &mut all);
    connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 }
        .encode_frame(0, &mut all);
    connection::Open { virtual_host: "/" }.encode_frame(0, &mut all);
    channel::Open {}.encode_frame(1, &mut all);
    declare("q").encode_frame(1, &mut all);
    connection.send_bytes(&all);
    for (channel, line) in [
        (0, "connection.start 0 9 "),
        (0, "connection.tune 2047 131072 60"),
        (0, "connection.open-ok"),
        (1, "channel.open-ok"),
        (1, "queue.declare-ok q 0 0"),
    ] {
        let (number, answer) = connection.recv_any();
        assert!(number == channel && answer.starts_with(line), "{number}: {answer}");
    }
}

#[test]
fn a_vhost_that_is_not_there_is_refused() {
    let broker = Broker::start();
    let answer = broker.connect_as(&Login { vhost: "/zz", ..Login::default() }).err().unwrap();
    assert_eq!(answer, "connection.close 530 connection.open NOT_ALLOWED - vhost /zz not found");
}

/// RabbitMQ drops such connections without a word, as all that are not open yet.
#[test]
fn methods_before_their_time_end_the_connection() {
    let broker = Broker::start();
    let open = connection::Open { virtual_host: "/" };
    let started = broker.dial();
    started.greet();
    started.send(&open);
    let tuned = broker.dial();
    tuned.greet();
    tuned.log_in(&Login::default());
    tuned.send(&open);
    let not_open = broker.dial();
    not_open.greet();
    not_open.unopened(1).send(&channel::Open {});
    for connection in [started, tuned, not_open] {
        let answer = connection.recv();
        assert!(answer.ends_connection(), "{answer}");
    }
}

#[test]
fn methods_that_channel_0_does_not_know_end_the_connection() {
    let broker = Broker::start();
    let tune_ok = connection::TuneOk { channel_max: 1, frame_max: 131_072, heartbeat: 0 };
    let qos = basic::Qos { prefetch_size: 0, prefetch_count: 1, global: false };
    for (method, name) in [
        (Method::ChannelOpen(channel::Open {}), "channel.open"),
        (Method::BasicQos(qos), "basic.qos"),
        (Method::ConnectionTuneOk(tune_ok), "connection.tune-ok"),
    ] {
        assert_eq!(
            broker.connect().call(&method),
            format!(
                "connection.close 504 {name} \
                 CHANNEL_ERROR - unexpected method in connection state running"
            )
        );
    }
}

#[test]
fn a_new_secret_is_taken() {
    let broker = Broker::start();
    let connection = broker.connect();
    let update = connection::UpdateSecret { new_secret: b"guest", reason: "expires" };
    assert_eq!(connection.call(&update), "connection.update-secret-ok");
    assert_eq!(connection.channel(1).call(&declare("q")), "queue.declare-ok q 0 0");
}

#[test]
fn close_is_answered() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    connection.clone().close();
    connection.shut_down_writing();
    assert!(connection.recv().ends_connection());
}

/// Once the client reads close-ok, its exclusive queues are gone.
#[test]
fn close_ok_comes_after_the_clean_up() {
    let broker = Broker::start();
    let other = broker.connect().channel(1);
    for _ in 0..20 {
        let connection = broker.connect();
        let exclusive = leveret_tests::codec::queue::Declare { exclusive: true, ..declare("q") };
        assert_eq!(connection.channel(1).call(&exclusive), "queue.declare-ok q 0 0");
        connection.close();
        assert_eq!(
            other.call(&passive("q")),
            "channel.close 404 queue.declare NOT_FOUND - no queue 'q' in vhost '/'"
        );
        other.reopen();
    }
}

/// A close from both sides at once must not leave either waiting.
#[test]
fn close_is_answered_after_a_close_of_the_server() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    assert!(channel.call(&channel::Open {}).starts_with("connection.close 504 "));
    let close = connection::Close { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 };
    assert_eq!(connection.call(&close), "connection.close-ok");
}

#[test]
fn the_socket_is_closed_after_close_ok() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    assert!(channel.call(&channel::Open {}).starts_with("connection.close 504 "));
    let end = connection.call(&connection::CloseOk {});
    assert!(end == "eof" || end == "reset", "{end}");
}

fn attempt(broker: &Broker, login: &Login<'_>) -> Connection {
    let connection = broker.dial();
    connection.greet();
    let properties = if login.capabilities {
        let flag = leveret_tests::table([("authentication_failure_close", Value::Bool(true))]);
        leveret_tests::table([("capabilities", Value::Table(flag.as_table()))])
    } else {
        TableBuf::from(Table::EMPTY)
    };
    connection.send(&connection::StartOk {
        client_properties: properties.as_table(),
        mechanism: login.mechanism,
        response: login.response,
        locale: "en_US",
    });
    connection
}

fn amqplain(user: &str, password: &str) -> Vec<u8> {
    let table =
        leveret_tests::table([("LOGIN", Value::text(user)), ("PASSWORD", Value::text(password))]);
    table.as_bytes().to_vec()
}
