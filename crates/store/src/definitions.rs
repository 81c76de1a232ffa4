//! Definitions: what exists on the broker, as opaque keys and values in named tables.

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
}

impl Table {
    /// All tables, in the order of their numbers on disk.
    pub const ALL: [Self; 9] = [
        Self::Vhosts,
        Self::Users,
        Self::Permissions,
        Self::TopicPermissions,
        Self::Exchanges,
        Self::Queues,
        Self::Bindings,
        Self::Parameters,
        Self::Policies,
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
