//! What several of the tests need: lives, what is recovered of them, and a model of it.

pub(crate) mod block_on;
pub(crate) mod lives;
pub(crate) mod messages;
pub(crate) mod model;
