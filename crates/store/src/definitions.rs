//! Definitions: what exists on the broker, as opaque keys and values in named tables.

use crate::encoding::{Reader, put_varint};

/// The tables of definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Virtual hosts.
    Vhosts = 1,
    /// Users.
    Users = 2,
    /// Permissions of users in virtual hosts.
    Permissions = 3,
    /// Topic permissions of users in virtual hosts.
    TopicPermissions = 4,
    /// Exchanges.
    Exchanges = 5,
    /// Durable queues.
    Queues = 6,
    /// Bindings.
    Bindings = 7,
    /// Runtime parameters.
    Parameters = 8,
    /// Policies.
    Policies = 9,
    /// Offsets of streams, which are no definitions but change in one unit with the journal's
    /// messages.
    Streams = 10,
    /// Deleted queues of which messages are still to go on as dead letters; no definitions either.
    DepartedQueues = 11,
}

impl Table {
    /// Its name in the definitions' file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vhosts => "vhosts",
            Self::Users => "users",
            Self::Permissions => "permissions",
            Self::TopicPermissions => "topic_permissions",
            Self::Exchanges => "exchanges",
            Self::Queues => "queues",
            Self::Bindings => "bindings",
            Self::Parameters => "parameters",
            Self::Policies => "policies",
            Self::Streams => "streams",
            Self::DepartedQueues => "departed_queues",
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as u8 == number)
    }

    /// All tables, in the order of their numbers on disk.
    pub const ALL: [Self; 11] = [
        Self::Vhosts,
        Self::Users,
        Self::Permissions,
        Self::TopicPermissions,
        Self::Exchanges,
        Self::Queues,
        Self::Bindings,
        Self::Parameters,
        Self::Policies,
        Self::Streams,
        Self::DepartedQueues,
    ];
}

/// One change of the definitions. Keys and values are the broker's; the store only keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Definition {
    /// Adds or replaces.
    Put {
        /// The table.
        table: Table,
        /// The key, unique in its table.
        key: Vec<u8>,
        /// What to keep under it.
        value: Vec<u8>,
    },
    /// Removes; nothing happens if it is not there.
    Delete {
        /// The table.
        table: Table,
        /// The key.
        key: Vec<u8>,
    },
}

/// Appends `definitions` as they stand in a record: their count, then for each one the operation,
/// the table, the key and for a put the value, each preceded by its length.
pub(crate) fn put_definitions(into: &mut Vec<u8>, definitions: &[Definition]) {
    let put_bytes = |into: &mut Vec<u8>, bytes: &[u8]| {
        put_varint(into, bytes.len() as u64);
        into.extend_from_slice(bytes);
    };
    put_varint(into, definitions.len() as u64);
    for definition in definitions {
        match definition {
            Definition::Put { table, key, value } => {
                into.extend_from_slice(&[PUT, *table as u8]);
                put_bytes(into, key);
                put_bytes(into, value);
            }
            Definition::Delete { table, key } => {
                into.extend_from_slice(&[DELETE, *table as u8]);
                put_bytes(into, key);
            }
        }
    }
}

/// The definitions of a record.
#[derive(Clone, Debug)]
pub(crate) struct DefinitionsIter<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> DefinitionsIter<'a> {
    pub(crate) fn new(mut reader: Reader<'a>) -> Option<Self> {
        let left = reader.varint()?;
        Some(Self { reader, left })
    }
}

impl<'a> DefinitionsIter<'a> {
    /// Whether all of them are of a kind that is known. If not a newer release has written them.
    pub(crate) fn is_known(payload: &'a [u8]) -> bool {
        let Some(mut changes) = Self::new(Reader(payload)) else { return false };
        let left = changes.left;
        changes.by_ref().count() as u64 == left && changes.reader.0.is_empty()
    }
}

impl Iterator for DefinitionsIter<'_> {
    type Item = Definition;

    fn next(&mut self) -> Option<Definition> {
        self.left = self.left.checked_sub(1)?;
        let operation = self.reader.u8()?;
        let table = Table::from_number(self.reader.u8()?)?;
        let mut bytes = || {
            let length = self.reader.varint()?;
            self.reader.bytes(length).map(<[u8]>::to_vec)
        };
        let key = bytes()?;
        match operation {
            PUT => Some(Definition::Put { table, key, value: bytes()? }),
            DELETE => Some(Definition::Delete { table, key }),
            _ => None,
        }
    }
}

const PUT: u8 = 1;
const DELETE: u8 = 2;
