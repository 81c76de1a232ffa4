//! Definitions: everything an operator has set up, as RabbitMQ's JSON.
//!
//! What is exported here imports there, and the exports of RabbitMQ 3.8 to 4.x import here. An
//! import adds and never deletes; what is there already stays as it is.

mod export;
mod import;
mod load;

pub(crate) use self::export::{of_node, of_vhost};
pub(crate) use self::import::{import, import_into, import_what_can_be, set_parameter};
pub use self::load::load;
