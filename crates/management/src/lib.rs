//! The HTTP API, health checks and metrics, in RabbitMQ's paths, fields and names.
//!
//! A request is matched against one table of endpoints (`routes.rs`), which says who may make it;
//! its handler is a plain function from a `Call` to an answer or a failure. It runs on
//! a thread of its own, never on those that serve AMQP, and what it changed is on disk before the
//! answer leaves.
//!
//! Read first: [`Management`], `routes.rs`, then a file of `api/`.

mod action;
mod alerts;
mod answer;
mod api;
mod body;
mod call;
mod client;
mod control;
mod definitions;
mod deliveries;
mod dispatch;
#[cfg(test)]
mod fixed_limits;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod host;
mod json_table;
mod list;
mod login;
mod looked_through;
mod message_filter;
mod message_stats;
mod metrics;
mod node;
mod order;
mod origin;
mod places;
mod properties;
mod protection;
mod rates;
mod replay;
mod request_rate;
mod room;
mod routes;
mod sampler;
mod seldom;
mod service;
mod sessions;
mod shared_readings;
mod space;
mod stalled;
mod text_search;
mod traces;
mod vhost_totals;
mod web;

pub use definitions::load as load_definitions;
pub use order::{Order, Orders, orders};
pub use service::{Bound, Management};
