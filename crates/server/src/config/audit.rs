//! `[audit]`: where it is written what operators do.

use std::path::PathBuf;

/// `[audit]`: where it is written what operators do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// The file. Nothing is recorded without.
    pub file: Option<PathBuf>,
    /// How large it gets, in bytes, before a new one is begun.
    pub max_bytes: u64,
    /// How many files there are at most, the one that is written included.
    pub max_files: u16,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { file: None, max_bytes: 16 << 20, max_files: 10 }
    }
}
