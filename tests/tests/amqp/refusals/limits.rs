//! What limits refuse, and the broker's stop.

use leveret_broker::{Actor, UserLimits, VhostLimits};
use leveret_tests::codec::{channel, tx};
use leveret_tests::{
    Account, Broker, Channel, bind, consume, declare, declare_exchange, get, publish, unbind,
};

use super::{Row, provoke};

/// May do anything.
const ANNA: Account<'_> =
    Account { name: "anna", tag: "", permissions: Some([".*", ".*", ".*"]), topic: None };

/// With limits set in the broker.
pub(super) const ROWS: &[Row] = &[
    (
        "closed_by_operator",
        |stage| {
            let all = stage.broker.inside().connections().all();
            all.iter().for_each(|connection| connection.close("because"));
            stage.channel.recv()
        },
        "connection.close 320 0.0 CONNECTION_FORCED - because",
    ),
    (
        "queue_limit",
        |stage| stage.channel.call(&declare("one-too-many")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - cannot declare queue 'one-too-many': \
         queue limit in vhost '/' (1) is reached",
    ),
    (
        "user_channel_limit",
        |stage| {
            let connection = stage.connection_of("anna").unwrap();
            let _first = connection.channel(1);
            connection.unopened(2).call(&channel::Open {})
        },
        "connection.close 530 0.0 NOT_ALLOWED - number of channels opened for user 'anna' has \
         reached the maximum allowed user limit of (1)",
    ),
    (
        "user_connection_limit",
        |stage| {
            let _first = stage.connection_of("anna").unwrap();
            stage.connection_of("anna").err().unwrap()
        },
        "connection.close 530 connection.open NOT_ALLOWED - connection refused for user 'anna': user \
         connection limit (1) is reached",
    ),
    (
        "vhost_connection_limit",
        |stage| {
            let limits = VhostLimits { max_connections: Some(1), ..VhostLimits::default() };
            stage
                .broker
                .inside()
                .administration(&Actor::program())
                .set_vhost_limits("/", limits)
                .unwrap();
            stage.connection_of("anna").err().unwrap()
        },
        "connection.close 530 connection.open NOT_ALLOWED - access to vhost '/' refused for user \
         'anna': connection limit (1) is reached",
    ),
];

/// With [`CONFIG`]; the last one stops the broker.
pub(super) const CONFIGURED: &[Row] = &[
    (
        "node_connection_limit",
        |stage| {
            let mut held = Vec::new();
            (2..)
                .find_map(|last| {
                    let connection = stage.broker.connect_from([127, 0, 0, last].into());
                    connection.map(|connection| held.push(connection)).err()
                })
                .unwrap()
        },
        "connection.close 530 connection.open NOT_ALLOWED - connection refused: node connection \
         limit (3) is reached",
    ),
    (
        "address_connection_limit",
        |stage| {
            let mut held = Vec::new();
            loop {
                match stage.connection_of("guest") {
                    Ok(connection) => held.push(connection),
                    Err(refused) => return refused,
                }
            }
        },
        "connection.close 530 connection.open NOT_ALLOWED - connection refused: connection limit of \
         address '127.0.0.1' (2) is reached",
    ),
    (
        "consumer_limit",
        |stage| {
            stage.channel.call(&declare("q"));
            stage.channel.call(&consume("q", "first"));
            stage.channel.call(&consume("q", "second"))
        },
        "connection.close 530 basic.consume NOT_ALLOWED - reached maximum (1) of consumers per \
         channel",
    ),
    // Before it is looked at what is consumed.
    (
        "consumer_limit",
        |stage| {
            stage.channel.call(&consume("q", "first"));
            stage.channel.call(&consume("amq.rabbitmq.reply-to", "second"))
        },
        "connection.close 530 basic.consume NOT_ALLOWED - reached maximum (1) of consumers per \
         channel",
    ),
    (
        "node_channel_limit",
        |stage| {
            let connection = stage.channel.connection();
            let mut opened =
                (2..).map(|number| connection.unopened(number).call(&channel::Open {}));
            opened.find(|answer| *answer != "channel.open-ok").unwrap()
        },
        "connection.close 530 0.0 NOT_ALLOWED - number of channels opened on node 'rabbit@test' has \
         reached the maximum allowed limit of (4)",
    ),
    (
        "node_binding_limit",
        |stage| {
            stage.channel.call(&bind("q", "amq.direct", "the-one"));
            stage.channel.call(&bind("q", "amq.direct", "one-too-many"))
        },
        "channel.close 406 queue.bind PRECONDITION_FAILED - cannot bind queue 'q' in vhost '/': \
         binding limit of 1 is reached",
    ),
    (
        "node_queue_limit",
        |stage| stage.channel.call(&declare("one-too-many")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - cannot declare queue 'one-too-many': \
         queue limit in cluster (1) is reached",
    ),
    // Those that are there from the start count.
    (
        "node_exchange_limit",
        |stage| stage.channel.call(&declare_exchange("one-too-many", "direct")),
        "channel.close 406 exchange.declare PRECONDITION_FAILED - cannot declare exchange \
         'one-too-many' in vhost '/': exchange limit of 7 is reached",
    ),
    (
        "unfinished_messages",
        |stage| {
            let connection = stage.channel.connection();
            for channel in [stage.channel.clone(), connection.channel(2)] {
                channel.send(&publish("", "q"));
                channel.send_frame(2, b"\0\x3c\0\0\0\0\0\0\0\x01\0\0\0\0");
                channel.send_frame(3, &[b'x'; 40 << 10]);
            }
            stage.channel.recv()
        },
        "connection.close 506 basic.publish RESOURCE_ERROR - messages that are not complete take more \
         than 65536 bytes of this connection (amqp.unfinished_messages_max)",
    ),
    (
        "unfinished_share",
        |stage| {
            stage.channel.publish("", "q", vec![b'x'; 2 << 20]);
            stage.channel.recv()
        },
        "connection.close 506 basic.publish RESOURCE_ERROR - messages that are not complete take more of \
         this connection than its share of amqp.unfinished_messages_max_per_node",
    ),
    (
        "uncommitted",
        |stage| {
            stage.channel.call(&tx::Select {});
            for _ in 0..2 {
                stage.channel.publish("", "q", vec![b'x'; 40 << 10]);
            }
            stage.channel.recv()
        },
        "connection.close 506 basic.publish RESOURCE_ERROR - transactions that are not committed take more \
         than 65536 bytes of this connection (amqp.uncommitted_max)",
    ),
    (
        "uncommitted_share",
        |stage| {
            stage.channel.call(&tx::Select {});
            stage.channel.publish("", "q", vec![b'x'; 1 << 20]);
            stage.channel.recv()
        },
        "connection.close 506 basic.publish RESOURCE_ERROR - transactions that are not committed take more \
         of this connection than its share of amqp.uncommitted_max_per_node",
    ),
    (
        "routing_steps",
        |stage| {
            // A look at the exchange, and one with each word at the node of `#`, and at those that it
            // and the words before led to.
            stage.channel.call(&unbind("q", "amq.direct", "the-one"));
            assert_eq!(stage.channel.call(&bind("q", "amq.topic", "#.a.b")), "queue.bind-ok");
            stage.channel.publish("amq.topic", "a.a.a.a", "");
            assert_eq!(stage.channel.call(&get("q")), "basic.get-empty");
            stage.channel.publish("amq.topic", "a.a.a.a.a.a.a.a", "");
            stage.channel.recv()
        },
        "channel.close 406 basic.publish PRECONDITION_FAILED - finding queues for a message to \
         exchange 'amq.topic' in vhost '/' takes more than 9 steps (amqp.routing_steps_max)",
    ),
    (
        "delivery_timed_out",
        |stage| {
            stage.channel.publish("", "q", "x");
            stage.channel.call(&get("q"));
            stage.channel.recv()
        },
        "channel.close 406 0.0 PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed \
         out. Timeout value used: 1000 ms. This timeout value can be configured, see consumers doc \
         guide to learn more",
    ),
    (
        "shutdown",
        |stage| {
            stage.broker.begin_to_terminate();
            stage.channel.recv()
        },
        "connection.close 320 0.0 CONNECTION_FORCED - broker forced connection closure with reason \
         'shutdown'",
    ),
];

const CONFIG: &str = "node_name = \"rabbit@test\"\n[amqp]\nconnection_max = 3\n\
                      connection_max_per_address = 2\nbinding_max = 1\n\
                      channel_max_per_node = 4\nqueue_max = 1\nexchange_max = 7\n\
                      consumer_max_per_channel = 1\nrouting_steps_max = 9\nconsumer_timeout = \"1s\"\n\
                      unfinished_messages_max = \"64KiB\"\n\
                      unfinished_messages_max_per_node = \"1MiB\"\n\
                      uncommitted_max = \"64KiB\"\nuncommitted_max_per_node = \"1MiB\"\n";

#[test]
fn limits_refuse_in_rabbitmqs_words() {
    let Some(broker) = Broker::embedded(&[ANNA], "sets limits inside the broker") else { return };
    let limits = UserLimits { max_connections: Some(1), max_channels: Some(1) };
    broker.inside().administration(&Actor::program()).set_user_limits("anna", limits).unwrap();
    let limits = VhostLimits { max_queues: Some(1), ..VhostLimits::default() };
    broker.inside().administration(&Actor::program()).set_vhost_limits("/", limits).unwrap();
    let channel: Channel = broker.connect().channel(1);
    channel.call(&declare("the-one"));
    channel.connection().clone().close();
    ROWS.iter().for_each(|row| provoke(&broker, row));
}

#[test]
fn configured_limits_refuse_in_rabbitmqs_words() {
    let Some(broker) = Broker::configured(CONFIG, "needs low limits") else { return };
    for row in CONFIGURED {
        // The connections of the last row leave in their own time.
        leveret_tests::eventually(|| {
            broker.connect_as(&leveret_tests::Login::default()).is_ok_and(|one| {
                one.close();
                true
            })
        });
        provoke(&broker, row);
    }
}
