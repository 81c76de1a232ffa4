//! What can't be read any more.

use std::{fmt, path::PathBuf};

use crate::Lsn;

/// A place that can't be read, and what that costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Its first byte that is not what was written.
    pub offset: u64,
    /// What is lost.
    pub lost: Lost,
}

/// What a damage costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nothing: it says nothing that isn't known without it.
    Nothing {
        /// What is wrong.
        what: &'static str,
    },
    /// What the file held, if anything.
    Unknown {
        /// What is wrong.
        what: &'static str,
    },
    /// Records: messages, settlements or definitions.
    Records {
        /// The first that may be lost.
        first: Lsn,
        /// The last.
        last: Lsn,
        /// How many are, at most: numbers may have been left out, and some may have been read.
        count: u64,
    },
    /// All or part of the tables of definitions.
    Definitions {
        /// What the database said.
        reason: String,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, offset, lost } = self;
        let path = path.display();
        match lost {
            Lost::Nothing { what } => {
                write!(f, "{path}: byte {offset}: {what}; nothing is lost with it")
            }
            Lost::Unknown { what } => {
                write!(f, "{path}: byte {offset}: {what}; what it held, if anything, is lost")
            }
            Lost::Records { first, last, count: 1 } if first == last => {
                write!(f, "{path}: byte {offset}: the record with LSN {first} is lost")
            }
            Lost::Records { first, last, count } => write!(
                f,
                "{path}: byte {offset}: up to {count} records with LSNs from {first} to {last} are lost"
            ),
            Lost::Definitions { reason } => {
                write!(f, "{path}: the definitions cannot be read: {reason}")
            }
        }
    }
}
