//! A set of priority levels.

/// Which of the 256 priority levels hold something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LevelSet([u64; 4]);

impl LevelSet {
    pub(super) fn insert(&mut self, level: u8) {
        let [word, bit] = position(level);
        if let Some(word) = self.0.get_mut(usize::from(word)) {
            *word |= 1 << bit;
        }
    }

    pub(super) fn remove(&mut self, level: u8) {
        let [word, bit] = position(level);
        if let Some(word) = self.0.get_mut(usize::from(word)) {
            *word &= !(1 << bit);
        }
    }

    pub(super) fn highest(self) -> Option<u8> {
        let (word, bits) = (0u8..4).zip(self.0).rfind(|&(_, bits)| bits != 0)?;
        Some(word * 64 + top_bit(bits))
    }

    /// Highest first.
    pub(super) fn iter(self) -> impl Iterator<Item = u8> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let highest = rest.highest()?;
            rest.remove(highest);
            Some(highest)
        })
    }
}

const fn position(level: u8) -> [u8; 2] {
    [level / 64, level % 64]
}

/// The highest bit set in a word that is not 0.
fn top_bit(bits: u64) -> u8 {
    u8::try_from(bits.ilog2()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_come_highest_first() {
        let mut set = LevelSet::default();
        assert_eq!(set.highest(), None);
        for level in [0, 5, 63, 64, 130, 255] {
            set.insert(level);
        }
        set.remove(130);
        assert_eq!(set.iter().collect::<Vec<_>>(), [255, 64, 63, 5, 0]);
        assert_eq!(set.highest(), Some(255));
    }
}
