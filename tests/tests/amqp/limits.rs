//! How many connections, channels, consumers and queues there may be.

use leveret_broker::{Actor, UserLimits, VhostLimits};
use leveret_tests::codec::{Properties, TableBuf, TableBuilder, Value, channel, connection, queue};
use leveret_tests::{
    Account, Api, Broker, Channel, Connection, Login, bind, cancel, consume, declare,
    declare_exchange, delete, eventually, passive, publish, unbind,
};

const ANNA: Account<'_> =
    Account { name: "anna", tag: "", permissions: Some([".*", ".*", ".*"]), topic: None };
const BECAUSE: &str = "sets limits inside the broker";

fn as_anna(broker: &Broker) -> Result<Connection, String> {
    let login = Login { response: b"\0anna\0anna", ..Login::default() };
    broker.connect_as(&login).map_err(|answer| answer.to_string())
}

fn limit_vhost(broker: &Broker, limits: VhostLimits) {
    broker.inside().administration(&Actor::program()).set_vhost_limits("/", limits).unwrap();
}

fn limit_anna(broker: &Broker, limits: UserLimits) {
    broker.inside().administration(&Actor::program()).set_user_limits("anna", limits).unwrap();
}

#[test]
fn a_vhost_limits_its_connections() {
    let Some(broker) = Broker::embedded(&[ANNA], BECAUSE) else { return };
    let max_connections =
        |max| VhostLimits { max_connections: Some(max), ..VhostLimits::default() };
    let first = broker.connect();
    limit_vhost(&broker, max_connections(2));
    let second = as_anna(&broker).unwrap();
    assert_eq!(
        as_anna(&broker).err().unwrap(),
        "connection.close 530 connection.open NOT_ALLOWED - \
         access to vhost '/' refused for user 'anna': connection limit (2) is reached"
    );
    second.close();
    as_anna(&broker).unwrap().close();
    // A lower limit takes nothing away from those who are there.
    limit_vhost(&broker, max_connections(0));
    assert_eq!(
        as_anna(&broker).err().unwrap(),
        "connection.close 530 connection.open NOT_ALLOWED - \
         access to vhost '/' refused for user 'anna': connection limit (0) is reached"
    );
    assert_eq!(first.channel(1).call(&declare("q")), "queue.declare-ok q 0 0");
    limit_vhost(&broker, max_connections(-1));
    as_anna(&broker).unwrap().close();
}

#[test]
fn a_lost_connection_frees_its_place() {
    let Some(broker) = Broker::embedded(&[ANNA], BECAUSE) else { return };
    limit_anna(&broker, UserLimits { max_connections: Some(1), ..UserLimits::default() });
    drop(as_anna(&broker).unwrap());
    eventually(|| as_anna(&broker).is_ok());
}

#[test]
fn a_user_has_a_limit_of_connections() {
    let Some(broker) = Broker::embedded(&[ANNA], BECAUSE) else { return };
    limit_anna(&broker, UserLimits { max_connections: Some(1), ..UserLimits::default() });
    let first = as_anna(&broker).unwrap();
    let refused = "connection.close 530 connection.open NOT_ALLOWED - \
                   connection refused for user 'anna': user connection limit (1) is reached";
    assert_eq!(as_anna(&broker).err().unwrap(), refused);
    // Others have their own.
    broker.connect().close();
    // One that was refused for something else has taken no place.
    let nowhere = Login { vhost: "nowhere", ..Login::default() };
    assert_eq!(
        broker.connect_as(&nowhere).err().unwrap(),
        "connection.close 530 connection.open NOT_ALLOWED - vhost nowhere not found"
    );
    first.close();
    let _second = as_anna(&broker).unwrap();
    // The vhost's limit is looked at first.
    limit_vhost(&broker, VhostLimits { max_connections: Some(0), ..VhostLimits::default() });
    assert_eq!(
        as_anna(&broker).err().unwrap(),
        "connection.close 530 connection.open NOT_ALLOWED - \
         access to vhost '/' refused for user 'anna': connection limit (0) is reached"
    );
}

#[test]
fn a_user_has_a_limit_of_channels_over_all_connections() {
    let Some(broker) = Broker::embedded(&[ANNA], BECAUSE) else { return };
    limit_anna(&broker, UserLimits { max_channels: Some(2), ..UserLimits::default() });
    let (first, second) = (as_anna(&broker).unwrap(), as_anna(&broker).unwrap());
    let one = first.channel(1);
    let other = second.channel(1);
    let refused = "connection.close 530 0.0 NOT_ALLOWED - \
                   number of channels opened for user 'anna' has reached the maximum allowed user \
                   limit of (2)";
    assert_eq!(second.unopened(2).call(&channel::Open {}), refused);
    drop(other);
    // The whole connection went with it; a closed channel makes room as well, whoever closes it.
    let third = as_anna(&broker).unwrap();
    let closed = third.channel(1);
    assert!(closed.call(&passive("missing")).starts_with("channel.close 404 "));
    let _last = first.channel(2);
    one.close();
    closed.send(&channel::CloseOk {});
    assert_eq!(closed.call(&channel::Open {}), "channel.open-ok");
    assert_eq!(third.unopened(2).call(&channel::Open {}), refused);
    limit_anna(&broker, UserLimits::default());
    let _more = first.channel(3);
}

#[test]
fn a_vhost_limits_its_queues() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("one"));
    limit_vhost(&broker, VhostLimits { max_queues: Some(2), ..VhostLimits::default() });
    let own = queue::Declare { exclusive: true, ..declare("own") };
    let refused = "channel.close 406 queue.declare PRECONDITION_FAILED - \
                   cannot declare queue 'two': queue limit in vhost '/' (2) is reached";
    let bad = leveret_tests::table([("x-message-ttl", Value::I32(-1))]);
    let bad = queue::Declare { arguments: bad.as_table(), ..declare("two") };
    super::check(
        &channel,
        &[
            (&own, "queue.declare-ok own 0 0"),
            (&declare("two"), refused),
            // RabbitMQ 4 counts once it has looked at the arguments.
            (
                &bad,
                "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-message-ttl' \
                 for queue 'two' in vhost '/': {value_negative,-1}",
            ),
            // What is there is no more than it was.
            (&declare("one"), "queue.declare-ok one 0 0"),
            (&passive("one"), "queue.declare-ok one 0 0"),
            (&delete("one"), "queue.delete-ok 0"),
            (&declare("two"), "queue.declare-ok two 0 0"),
        ],
    );
    limit_vhost(&broker, VhostLimits::default());
    assert_eq!(channel.call(&declare("three")), "queue.declare-ok three 0 0");
}

#[test]
fn the_node_limits_its_connections() {
    let config = "[amqp]\nconnection_max = 2\n";
    let Some(broker) = Broker::configured(config, "needs a limit of connections") else { return };
    let first = broker.connect();
    let _second = broker.connect();
    let refused = "connection.close 530 connection.open NOT_ALLOWED - \
                   connection refused: node connection limit (2) is reached";
    assert_eq!(broker.connect_as(&Login::default()).err().unwrap(), refused);
    // Before anything else is looked at.
    let nowhere = Login { vhost: "nowhere", ..Login::default() };
    assert_eq!(broker.connect_as(&nowhere).err().unwrap(), refused);
    first.close();
    broker.connect().close();
}

/// Over all connections; one that closes makes room.
#[test]
fn the_node_limits_its_channels() {
    let config = "node_name = \"rabbit@test\"\n[amqp]\nchannel_max_per_node = 3\n";
    let Some(broker) = Broker::configured(config, "needs a limit of channels") else { return };
    let (one, two) = (broker.connect(), broker.connect());
    let first = one.channel(1);
    let _more = [one.channel(2), two.channel(1)];
    first.close();
    let _last = two.channel(2);
    assert_eq!(
        two.unopened(3).call(&channel::Open {}),
        "connection.close 530 0.0 NOT_ALLOWED - number of channels opened on node 'rabbit@test' has \
         reached the maximum allowed limit of (3)"
    );
    drop(two);
    eventually(|| {
        let three = broker.connect();
        three.unopened(1).call(&channel::Open {}) == "channel.open-ok"
            && three.unopened(2).call(&channel::Open {}) == "channel.open-ok"
    });
}

/// A table of so many entries.
fn fields(count: usize) -> TableBuf {
    let names = (0..count).map(|number| format!("x-{number}"));
    names.fold(TableBuilder::new(), |table, name| table.put(&name, true)).build()
}

/// Tables in each other.
fn nested(depth: usize) -> TableBuf {
    let inmost = TableBuilder::new().put("x", true).build();
    (1..depth).fold(inmost, |inner, _| TableBuilder::new().put("x", inner.as_table()).build())
}

/// Tables of arguments and of headers, by what is configured; what is within the limits passes.
#[test]
fn tables_are_as_large_and_as_deep_as_they_may_be() {
    let config = "[amqp]\ntable_field_max = 20\ntable_depth_max = 3\n";
    let Some(broker) = Broker::configured(config, "needs limits of tables") else { return };
    let bound = |channel: &Channel, arguments: &TableBuf| {
        let bind = queue::Bind { arguments: arguments.as_table(), ..bind("q", "amq.headers", "") };
        channel.call(&bind)
    };
    let published = |channel: &Channel, headers: &TableBuf| {
        let headers = Some(headers.as_table());
        let properties = Properties { headers, ..Properties::default() };
        channel.publish_with(&publish("", "q"), &properties, b"x");
        channel.call(&passive("q"))
    };
    let good = broker.connect().channel(1);
    good.call(&declare("q"));
    assert_eq!(bound(&good, &fields(20)), "queue.bind-ok");
    assert_eq!(bound(&good, &nested(3)), "queue.bind-ok");
    assert_eq!(published(&good, &fields(20)), "queue.declare-ok q 1 0");
    assert_eq!(published(&good, &nested(3)), "queue.declare-ok q 2 0");
    for (table, text) in [
        (fields(21), "SYNTAX_ERROR - table with more than 20 fields"),
        (nested(4), "SYNTAX_ERROR - table nested deeper than 3"),
    ] {
        let channel = broker.connect().channel(1);
        let refused = bound(&channel, &table);
        assert_eq!(refused, format!("connection.close 502 queue.bind {text}").as_str());
        let channel = broker.connect().channel(1);
        let refused = published(&channel, &table);
        assert_eq!(refused, format!("connection.close 502 basic.publish {text}").as_str());
    }
    // And more than by default if that is configured, also when it is read again.
    let config = "management = \"127.0.0.1:0\"\n[amqp]\ntable_field_max = 5000\n\
                  table_depth_max = 32\n";
    let broker = Broker::configured(config, "needs limits of tables").unwrap();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    assert_eq!(bound(&channel, &fields(5000)), "queue.bind-ok");
    assert_eq!(published(&channel, &nested(32)), "queue.declare-ok q 1 0");
    assert_eq!(published(&channel, &fields(5000)), "queue.declare-ok q 2 0");
    let api = Api::new(broker.management_address());
    let bindings = api.get("/queues/%2F/q/bindings");
    let arguments = bindings[1]["arguments"].as_object().unwrap();
    assert_eq!(arguments.len(), 5000);
}

/// New connections have the new limits, and open ones theirs.
#[test]
fn limits_of_tables_are_read_again() {
    let config = "[amqp]\ntable_field_max = 30\ntable_depth_max = 6\n";
    let Some(broker) = Broker::configured(config, "needs limits of tables") else { return };
    let bound = |channel: &Channel, arguments: &TableBuf| {
        let bind = queue::Bind { arguments: arguments.as_table(), ..bind("q", "amq.headers", "") };
        channel.call(&bind)
    };
    let old = broker.connect().channel(1);
    old.call(&declare("q"));
    let file = std::fs::read_to_string(broker.config_file()).unwrap();
    let file = file.replace("field_max = 30", "field_max = 20").replace("max = 6", "max = 3");
    std::fs::write(broker.config_file(), file).unwrap();
    broker.hang_up();
    broker.await_line("read again: amqp.table_field_max, amqp.table_depth_max");
    for (accepted, refused, text) in [
        (fields(20), fields(21), "SYNTAX_ERROR - table with more than 20 fields"),
        (nested(3), nested(4), "SYNTAX_ERROR - table nested deeper than 3"),
    ] {
        let channel = broker.connect().channel(1);
        assert_eq!(bound(&channel, &accepted), "queue.bind-ok");
        assert_eq!(
            bound(&channel, &refused),
            format!("connection.close 502 queue.bind {text}").as_str()
        );
        let channel = broker.connect().channel(1);
        let properties = Properties { headers: Some(refused.as_table()), ..Properties::default() };
        channel.publish_with(&publish("", "q"), &properties, b"x");
        assert_eq!(channel.recv(), format!("connection.close 502 basic.publish {text}").as_str());
        assert_eq!(bound(&old, &refused), "queue.bind-ok");
    }
    assert_eq!(
        bound(&old, &fields(31)),
        "connection.close 502 queue.bind SYNTAX_ERROR - table with more than 30 fields"
    );
}

/// Clients say much of themselves, which is no more than a small frame holds.
#[test]
fn what_clients_say_of_themselves_has_no_configured_limits() {
    let config = "[amqp]\ntable_field_max = 16\ntable_depth_max = 2\n";
    let Some(broker) = Broker::configured(config, "needs limits of tables") else { return };
    let user = Value::text("guest");
    let amqplain =
        (0..20).fold(TableBuilder::new(), |table, number| table.put(&format!("x-{number}"), true));
    let amqplain = amqplain.put("LOGIN", user).put("PASSWORD", user).build();
    for (mechanism, response) in
        [("PLAIN", &b"\0guest\0guest"[..]), ("AMQPLAIN", amqplain.as_bytes())]
    {
        let properties = TableBuilder::new()
            .put("capabilities", fields(40).as_table())
            .put("more", nested(10).as_table())
            .build();
        let connection = broker.dial();
        connection.greet();
        let answer = connection.call(&connection::StartOk {
            client_properties: properties.as_table(),
            mechanism,
            response,
            locale: "en_US",
        });
        assert!(answer.starts_with("connection.tune "), "{answer}");
        connection.send(&connection::TuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 0 });
        assert_eq!(connection.call(&connection::Open { virtual_host: "/" }), "connection.open-ok");
        let channel = connection.channel(1);
        channel.call(&declare("q"));
        let arguments = fields(17);
        let bind = queue::Bind { arguments: arguments.as_table(), ..bind("q", "amq.headers", "") };
        assert_eq!(
            channel.call(&bind),
            "connection.close 502 queue.bind SYNTAX_ERROR - table with more than 16 fields"
        );
    }
}

/// Of all vhosts together. What is there already is no more than it was.
#[test]
fn the_node_limits_its_queues_and_exchanges() {
    let config = "[amqp]\nqueue_max = 2\nexchange_max = 8\n";
    let Some(broker) = Broker::configured(config, "needs low limits") else { return };
    let channel = broker.connect().channel(1);
    super::check(
        &channel,
        &[
            (&declare("a"), "queue.declare-ok a 0 0"),
            (&queue::Declare { exclusive: true, ..declare("b") }, "queue.declare-ok b 0 0"),
            (
                &declare("c"),
                "channel.close 406 queue.declare PRECONDITION_FAILED - cannot declare queue 'c': \
                 queue limit in cluster (2) is reached",
            ),
            (&declare("a"), "queue.declare-ok a 0 0"),
            (&delete("a"), "queue.delete-ok 0"),
            (&declare("c"), "queue.declare-ok c 0 0"),
            (&declare_exchange("x", "fanout"), "exchange.declare-ok"),
            (
                &declare_exchange("y", "fanout"),
                "channel.close 406 exchange.declare PRECONDITION_FAILED - cannot declare exchange \
                 'y' in vhost '/': exchange limit of 8 is reached",
            ),
            (&declare_exchange("x", "fanout"), "exchange.declare-ok"),
            (
                &declare_exchange("amq.direct", "topic"),
                "channel.close 406 exchange.declare \
                 PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost \
                 '/': received 'topic' but current is 'direct'",
            ),
        ],
    );
}

#[test]
fn a_channel_has_a_limit_of_consumers() {
    let config = "[amqp]\nconsumer_max_per_channel = 2\n";
    let Some(broker) = Broker::configured(config, "needs a limit of consumers") else { return };
    let connection = broker.connect();
    let channel = connection.channel(1);
    let (a, b) = (consume("q", "a"), consume("gone", "b"));
    channel.call(&declare("q"));
    channel.call(&declare("gone"));
    assert_eq!(channel.call(&a), "basic.consume-ok a");
    assert_eq!(channel.call(&b), "basic.consume-ok b");
    // Each channel has its own limit, and a consumer that ends makes room.
    assert_eq!(connection.channel(2).call(&a), "basic.consume-ok a");
    assert_eq!(channel.call(&cancel("a")), "basic.cancel-ok a");
    assert_eq!(channel.call(&a), "basic.consume-ok a");
    assert_eq!(connection.channel(3).call(&delete("gone")), "queue.delete-ok 0");
    assert_eq!(channel.recv(), "basic.cancel b nowait");
    assert_eq!(channel.call(&consume("q", "c")), "basic.consume-ok c");
    assert_eq!(
        channel.call(&consume("q", "d")),
        "connection.close 530 basic.consume NOT_ALLOWED - \
         reached maximum (2) of consumers per channel"
    );
}

/// What is unbound makes room, and what goes with a queue.
#[test]
fn the_node_limits_its_bindings() {
    let config = "[amqp]\nbinding_max = 2\n";
    let Some(broker) = Broker::configured(config, "needs a limit of bindings") else { return };
    let channel = broker.connect().channel(1);
    let refused = "PRECONDITION_FAILED - cannot bind queue 'q' in vhost '/': binding limit of 2 is \
                   reached";
    super::check(
        &channel,
        &[
            (&declare("q"), "queue.declare-ok q 0 0"),
            (&declare("other"), "queue.declare-ok other 0 0"),
            (&bind("q", "amq.direct", "a"), "queue.bind-ok"),
            (&bind("other", "amq.topic", "b"), "queue.bind-ok"),
            (&bind("q", "amq.fanout", ""), &format!("channel.close 406 queue.bind {refused}")),
            (&unbind("q", "amq.direct", "a"), "queue.unbind-ok"),
            (&bind("q", "amq.fanout", ""), "queue.bind-ok"),
            (&delete("other"), "queue.delete-ok 0"),
            (&bind("q", "amq.direct", "a"), "queue.bind-ok"),
        ],
    );
}

#[test]
fn an_address_has_a_limit_of_connections() {
    let config = "[amqp]\nconnection_max_per_address = 2\n";
    let Some(broker) = Broker::configured(config, "needs a limit of connections") else { return };
    let (first, _second) = (broker.connect(), broker.connect());
    assert_eq!(
        broker.connect_as(&Login::default()).err().unwrap(),
        "connection.close 530 connection.open NOT_ALLOWED - connection refused: connection limit of \
         address '127.0.0.1' (2) is reached"
    );
    let _elsewhere = broker.connect_from([127, 0, 0, 2].into()).unwrap();
    first.close();
    broker.connect().close();
}
