//! The tokio shell: listeners, AMQP 0-9-1 connections and channels, configuration, graceful stop.
//!
//! Two tasks serve a connection: one reads its socket and drives the connection's machine, one
//! writes its outbox. The machine (`connection.rs`) and the channels are plain state; they call the
//! broker and never wait. Not here: queue logic, routing, storage.
//!
//! Lock order: a vhost's directory, a queue, an outbox. No lock is held across a wait.
//!
//! Read first: [`Server`], [`Config`](config::Config), then `connection.rs`.

mod admission;
mod alarms;
mod audit;
mod budget;
mod budgets;
mod channel;
mod clock;
pub mod config;
mod connection;
mod consumer;
mod contained;
mod control;
mod driver;
mod fixed_limits;
mod frame_trace;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod http_capacity;
mod listener;
mod message_memory;
mod outbox;
mod pager;
mod proxy;
mod reply_sink;
mod resources;
mod sasl;
mod server;
mod socket;
mod spans;
mod stream_server;
mod ticker;
mod tls;
mod uncommitted;
mod unfinished;
mod writer;

pub use admission::{Admission, Admissions};
pub use alarms::set_limit;
pub use budget::{Budget, Part};
pub use budgets::Budgets;
pub use clock::now;
pub use contained::{panics, report_panics, steadily};
pub use http_capacity::HttpCapacity;
pub use listener::BoundListener;
pub use sasl::{CertificateUser, Mechanism};
pub use server::{Opened, Server, StartError};
pub use spans::WaitingSpans;
pub use tls::{
    AlternativeName, Certificate, HandshakeError, NameKind, Tls, TlsError, TlsListeners, check_tls,
};
