//! What refuses a connection, a channel, or all that a channel is.

use leveret_tests::Login;
use leveret_tests::codec::{channel, connection, tx};
use leveret_tests::{confirm_select, qos};

use super::Row;

pub(super) const ROWS: &[Row] = &[
    (
        "login_refused",
        |stage| {
            let login = Login { response: b"\0guest\0wrong", ..Login::default() };
            stage.broker.connect_as(&login).err().unwrap()
        },
        "connection.close 403 0.0 ACCESS_REFUSED - Login was refused using authentication mechanism \
         PLAIN. For details see the broker logfile.",
    ),
    (
        "vhost_not_found",
        |stage| {
            let login = Login { vhost: "/zz", ..Login::default() };
            stage.broker.connect_as(&login).err().unwrap()
        },
        "connection.close 530 connection.open NOT_ALLOWED - vhost /zz not found",
    ),
    (
        "vhost_refused",
        |stage| stage.connection_of("out").err().unwrap(),
        "connection.close 530 connection.open NOT_ALLOWED - access to vhost '/' refused for user \
         'out'",
    ),
    (
        "negotiation",
        |stage| {
            let tune = connection::TuneOk { channel_max: 5000, frame_max: 131_072, heartbeat: 0 };
            let login = Login { tune: Some(tune), ..Login::default() };
            stage.broker.connect_as(&login).err().unwrap()
        },
        "connection.close 530 connection.tune NOT_ALLOWED - negotiated channel_max = 5000 is higher \
         than the maximum allowed value (2047)",
    ),
    (
        "channel_max",
        |stage| {
            let tune = connection::TuneOk { channel_max: 1, frame_max: 131_072, heartbeat: 0 };
            let login = Login { tune: Some(tune), ..Login::default() };
            let connection = stage.broker.connect_as(&login).unwrap();
            let _first = connection.channel(1);
            connection.unopened(2).call(&channel::Open {})
        },
        "connection.close 530 0.0 NOT_ALLOWED - number of channels opened (1) has reached the \
         negotiated channel_max (1)",
    ),
    (
        "unexpected_method",
        |stage| stage.channel.connection().call(&qos(1)),
        "connection.close 504 basic.qos CHANNEL_ERROR - unexpected method in connection state \
         running",
    ),
    (
        "unimplemented_method",
        |stage| {
            stage.channel.call(&connection::Close {
                reply_code: 200,
                reply_text: "done",
                class_id: 0,
                method_id: 0,
            })
        },
        "connection.close 503 connection.close COMMAND_INVALID - unimplemented method",
    ),
    (
        "unimplemented_method",
        |stage| stage.channel.call(&channel::FlowOk { active: true }),
        "connection.close 503 channel.flow-ok COMMAND_INVALID - unimplemented method",
    ),
    (
        "channel_unopened",
        |stage| stage.channel.connection().unopened(7).call(&qos(1)),
        "connection.close 504 basic.qos CHANNEL_ERROR - expected 'channel.open'",
    ),
    (
        "channel_open_twice",
        |stage| stage.channel.call(&channel::Open {}),
        "connection.close 504 channel.open CHANNEL_ERROR - second 'channel.open' seen",
    ),
    (
        "flow_inactive",
        |stage| stage.channel.call(&channel::Flow { active: false }),
        "connection.close 540 channel.flow NOT_IMPLEMENTED - active=false",
    ),
    (
        "not_transactional",
        |stage| stage.channel.call(&tx::Commit {}),
        "channel.close 406 tx.commit PRECONDITION_FAILED - channel is not transactional",
    ),
    (
        "not_transactional",
        |stage| stage.channel.call(&tx::Rollback {}),
        "channel.close 406 tx.rollback PRECONDITION_FAILED - channel is not transactional",
    ),
    (
        "cannot_switch_mode",
        |stage| {
            stage.channel.call(&tx::Select {});
            stage.channel.call(&confirm_select())
        },
        "channel.close 406 confirm.select PRECONDITION_FAILED - cannot switch from tx to confirm \
         mode",
    ),
    (
        "cannot_switch_mode",
        |stage| {
            stage.channel.call(&confirm_select());
            stage.channel.call(&tx::Select {})
        },
        "channel.close 406 tx.select PRECONDITION_FAILED - cannot switch from confirm to tx mode",
    ),
    (
        "partial_tx_completion",
        |stage| {
            stage.channel.call(&tx::Select {});
            stage.channel.publish("", "q", "x");
            stage.channel.publish("", "full", "x");
            stage.channel.call(&tx::Commit {})
        },
        "channel.close 406 tx.commit PRECONDITION_FAILED - partial tx completion",
    ),
];
