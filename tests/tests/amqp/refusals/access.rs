//! What permissions refuse.

use leveret_tests::codec::{Value, exchange, queue};
use leveret_tests::{
    bind, bind_exchange, consume, declare, declare_exchange, delete, delete_exchange, get, passive,
    purge, table, unbind, unbind_exchange,
};

use super::Row;

pub(super) const ROWS: &[Row] = &[
    (
        "access_refused",
        |stage| stage.channel_of("ro").call(&declare("zz")),
        "channel.close 403 queue.declare ACCESS_REFUSED - configure access to queue 'zz' in vhost \
         '/' refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| stage.channel_of("ro").call(&passive("q")),
        "channel.close 403 queue.declare ACCESS_REFUSED - configure access to queue 'q' in vhost \
         '/' refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| {
            let arguments = table([("x-dead-letter-exchange", Value::text("zz"))]);
            let request = queue::Declare { arguments: arguments.as_table(), ..declare("ro-q") };
            stage.channel_of("ro").call(&request)
        },
        "channel.close 403 queue.declare ACCESS_REFUSED - write access to exchange 'zz' in vhost \
         '/' refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| stage.channel_of("ro").call(&delete("zz")),
        "channel.close 403 queue.delete ACCESS_REFUSED - configure access to queue 'zz' in vhost \
         '/' refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| stage.channel_of("ro").call(&purge("q")),
        "channel.close 403 queue.purge ACCESS_REFUSED - read access to queue 'q' in vhost '/' \
         refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| stage.channel_of("ro").call(&get("q")),
        "channel.close 403 basic.get ACCESS_REFUSED - read access to queue 'q' in vhost '/' \
         refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| stage.channel_of("ro").call(&consume("q", "")),
        "channel.close 403 basic.consume ACCESS_REFUSED - read access to queue 'q' in vhost '/' \
         refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| stage.channel_of("ro").call(&bind("q", "amq.topic", "k")),
        "channel.close 403 queue.bind ACCESS_REFUSED - write access to queue 'q' in vhost '/' \
         refused for user 'ro'",
    ),
    // Whoever may not write to the queue learns nothing about the exchange.
    (
        "access_refused",
        |stage| stage.channel_of("ro").call(&bind("q", "", "k")),
        "channel.close 403 queue.bind ACCESS_REFUSED - write access to queue 'q' in vhost '/' \
         refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| stage.channel_of("ro").call(&unbind("ro-q", "amq.fanout", "k")),
        "channel.close 403 queue.unbind ACCESS_REFUSED - read access to exchange 'amq.fanout' in \
         vhost '/' refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| stage.channel_of("ro").call(&bind_exchange("amq.fanout", "amq.topic", "k")),
        "channel.close 403 exchange.bind ACCESS_REFUSED - write access to exchange 'amq.fanout' in \
         vhost '/' refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| stage.channel_of("ro").call(&unbind_exchange("ro-x", "amq.fanout", "k")),
        "channel.close 403 exchange.unbind ACCESS_REFUSED - read access to exchange 'amq.fanout' \
         in vhost '/' refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| stage.channel_of("ro").call(&declare_exchange("zz", "direct")),
        "channel.close 403 exchange.declare ACCESS_REFUSED - configure access to exchange 'zz' in \
         vhost '/' refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| {
            let zz = declare_exchange("zz", "");
            stage.channel_of("ro").call(&exchange::Declare { passive: true, ..zz })
        },
        "channel.close 403 exchange.declare ACCESS_REFUSED - configure access to exchange 'zz' in \
         vhost '/' refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| {
            let arguments = table([("alternate-exchange", Value::text("zz"))]);
            let fanout = declare_exchange("ro-x", "fanout");
            let request = exchange::Declare { arguments: arguments.as_table(), ..fanout };
            stage.channel_of("ro").call(&request)
        },
        "channel.close 403 exchange.declare ACCESS_REFUSED - write access to exchange 'zz' in \
         vhost '/' refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| stage.channel_of("ro").call(&delete_exchange("zz")),
        "channel.close 403 exchange.delete ACCESS_REFUSED - configure access to exchange 'zz' in \
         vhost '/' refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| {
            let channel = stage.channel_of("ro");
            channel.publish("amq.direct", "k", "x");
            channel.recv()
        },
        "channel.close 403 basic.publish ACCESS_REFUSED - write access to exchange 'amq.direct' in \
         vhost '/' refused for user 'ro'",
    ),
    (
        "access_refused",
        |stage| {
            let channel = stage.channel_of("ro");
            channel.publish("", "ro-q", "x");
            channel.recv()
        },
        "channel.close 403 basic.publish ACCESS_REFUSED - write access to exchange 'amq.default' \
         in vhost '/' refused for user 'ro'",
    ),
    (
        "topic_access_refused",
        |stage| {
            let channel = stage.channel_of("keys");
            channel.publish("amq.topic", "k", "x");
            channel.recv()
        },
        "channel.close 403 basic.publish ACCESS_REFUSED - write access to topic 'k' in exchange \
         'amq.topic' in vhost '/' refused for user 'keys'",
    ),
    (
        "topic_access_refused",
        |stage| stage.channel_of("keys").call(&bind("q", "amq.topic", "k")),
        "channel.close 403 queue.bind ACCESS_REFUSED - read access to topic 'k' in exchange \
         'amq.topic' in vhost '/' refused for user 'keys'",
    ),
];
