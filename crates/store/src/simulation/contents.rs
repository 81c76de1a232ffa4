//! What is on a simulated disk, and what a loss of power leaves of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

#[derive(Default)]
pub(super) struct File {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Numbers of the blocks of `live` that were written since the last sync.
    pub(super) dirty: BTreeSet<usize>,
    /// A write or sync has failed that a test wanted to fail.
    pub(super) has_failed: bool,
    /// Numbers of the blocks that cannot be read.
    pub(super) bad: BTreeSet<usize>,
}

impl File {
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        if let Some(target) = self.live.get_mut(at..end) {
            target.copy_from_slice(bytes);
        }
        self.dirty.extend(at / BLOCK..end.div_ceil(BLOCK));
    }

    pub(super) fn set_len(&mut self, len: usize) {
        if len < self.live.len() {
            // What comes there later is not what was there before.
            self.dirty.extend(len / BLOCK..self.live.len().div_ceil(BLOCK));
        }
        self.live.resize(len, 0);
    }

    pub(super) fn after_crash(&self, keep: Keep, random: &mut Random) -> Vec<u8> {
        let mut left = self.durable.clone();
        if self.live.len() != left.len() && keep.decide(random) {
            left.resize(self.live.len(), 0);
        }
        for block in &self.dirty {
            let start = block * BLOCK;
            let end = (start + BLOCK).min(self.live.len()).min(left.len());
            if start < end
                && keep.decide(random)
                && let (Some(to), Some(from)) =
                    (left.get_mut(start..end), self.live.get(start..end))
            {
                to.copy_from_slice(from);
            }
        }
        left
    }
}

pub(super) enum NameChange {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl NameChange {
    pub(super) fn dir(&self) -> Option<&Path> {
        match self {
            Self::Create(path, _) | Self::Rename(_, path) | Self::Remove(path) => path.parent(),
        }
    }

    /// Makes the change if it is possible: those before it may not have survived.
    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create(path, id) => drop(names.insert(path.clone(), *id)),
            Self::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            Self::Remove(path) => drop(names.remove(path)),
        }
    }
}

/// How much of what was not synced survives.
#[derive(Clone, Copy)]
pub(super) enum Keep {
    Nothing,
    Everything,
    /// Out of 256.
    Some(u64),
}

impl Keep {
    pub(super) fn any(random: &mut Random) -> Self {
        match random.next() % 8 {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 => Self::Some(250),
            3 => Self::Some(6),
            _ => Self::Some(random.next() % 256),
        }
    }

    pub(super) fn decide(self, random: &mut Random) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Some(share) => random.next() % 256 < share,
        }
    }
}

/// `SplitMix64`.
#[derive(Default)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

pub(super) const BLOCK: usize = 512;
