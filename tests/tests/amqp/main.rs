//! What clients see of the broker over AMQP 0-9-1, compared with RabbitMQ's recorded answers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod channels;
