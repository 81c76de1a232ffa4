//! What must survive: the journal of messages and settlements, and the definitions.
//!
//! One journal per node takes everything durable in one sequence of records with one group commit:
//! messages, their acknowledgements, and changes of definitions (queues, exchanges, bindings,
//! users). The definitions are also kept, in the background, as tables in `definitions.redb`. See
//! `docs/format-journal.md` for the bytes.
//!
//! Not here: anything of AMQP (payloads, keys and values are opaque bytes, queues are numbers),
//! sockets, an async runtime.
//!
//! Read first: [`Store`], [`Batch`], [`Disk`].

mod backup;
mod batch;
mod compaction;
mod definitions;
mod disk;
mod distribution;
mod encoding;
mod error;
mod folders;
mod kept_places;
mod live;
mod lsn;
mod map;
mod needed;
pub mod offline;
mod options;
mod outline;
mod pen;
mod read;
mod read_buffer;
mod record;
mod recovered;
mod recovery;
mod salvage;
mod segment;
mod shared;
pub mod simulation;
mod spill;
mod stats;
mod store;
mod summary;
mod tables;
mod unit;
mod unreadable;
mod upkeep;
mod waiters;
mod writer;

pub use backup::{BackupDamage, BackupError, BackupReport};
pub use batch::Batch;
pub use definitions::{Definition, Table};
pub use disk::{Disk, DiskFile, DiskLock, LockError, MemDisk, RealDisk};
pub use distribution::Distribution;
pub use error::{OpenError, ReadError};
pub use lsn::Lsn;
pub use options::{FatalError, StoreOptions, SyncPolicy};
pub use outline::Outline;
pub use pen::Pen;
pub use recovered::{Recovered, RecoveredMessage, RecoveredPlace, RecoveryReport};
pub use recovery::Backlog;
pub use spill::SpilledBlock;
pub use stats::{StoreStats, Syncs};
pub use store::{Appended, Store};
pub use waiters::{Durable, Writable};
