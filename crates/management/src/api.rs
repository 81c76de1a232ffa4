//! The endpoints, one file a topic. Each is a function from a call to an answer or a failure.

pub(crate) mod alerts;
pub(crate) mod bindings;
pub(crate) mod browse;
pub(crate) mod channels;
pub(crate) mod connections;
pub(crate) mod consumers;
pub(crate) mod control;
pub(crate) mod dead_letters;
pub(crate) mod definitions;
pub(crate) mod exchanges;
pub(crate) mod features;
pub(crate) mod health;
pub(crate) mod import;
pub(crate) mod limit;
pub(crate) mod map;
pub(crate) mod node;
pub(crate) mod overview;
pub(crate) mod parameters;
pub(crate) mod permissions;
pub(crate) mod policies;
pub(crate) mod queues;
pub(crate) mod route;
pub(crate) mod session;
pub(crate) mod tail;
pub(crate) mod users;
pub(crate) mod vhosts;
