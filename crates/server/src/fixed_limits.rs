//! Limits of connections that no setting changes.

use leveret_broker::{Figure, FixedLimit};
use leveret_codec::TableLimits;

use crate::admission::{ERRORS_MAX, LINES_MAX};
use crate::connection::{FRAME_MAX_MIN, INITIAL_FRAME_MAX};
use crate::driver::{CLOSE_TIMEOUT, LOGIN_PENALTY};

/// For the page of the settings.
pub(crate) const FIXED_LIMITS: &[FixedLimit] = &[
    FixedLimit {
        limit: "a frame before `connection.tune-ok`",
        value: "{}",
        figures: &[Figure::Bytes(INITIAL_FRAME_MAX as usize)],
        why: "RabbitMQ's; larger ones get 501 `FRAME_ERROR`",
    },
    FixedLimit {
        limit: "`frame_max` that a client may ask for",
        value: "{} at least",
        figures: &[Figure::Bytes(FRAME_MAX_MIN as usize)],
        why: "what older clients ask for; less gets 530 `NOT_ALLOWED`",
    },
    FixedLimit {
        limit: "tables in a handshake",
        value: "{} entries, {} deep",
        figures: &[
            Figure::Count(TableLimits::DEFAULT.max_fields),
            Figure::Count(TableLimits::DEFAULT.max_depth),
        ],
        why: "who has not logged in is not to cost more, whatever is set for later",
    },
    FixedLimit {
        limit: "a failed login over AMQP",
        value: "{}",
        figures: &[Figure::Time(LOGIN_PENALTY)],
        why: "RabbitMQ's: it makes guessing slow on each connection",
    },
    FixedLimit {
        limit: "lines of the log about those who have not logged in over AMQP",
        value: "{} a minute of refused logins, of throttled ones, of connections without a login \
                and of TLS handshakes each",
        figures: &[Figure::Count(LINES_MAX)],
        why: "anybody can cause them; a further line says how many more there were",
    },
    FixedLimit {
        limit: "lines of the log about errors of channels and connections",
        value: "{} a minute",
        figures: &[Figure::Count(ERRORS_MAX)],
        why: "a client can cause thousands a second; a further line says how many more there were",
    },
    FixedLimit {
        limit: "a client's agreement to a close",
        value: "{}",
        figures: &[Figure::Time(CLOSE_TIMEOUT)],
        why: "beyond it the socket is closed",
    },
];
