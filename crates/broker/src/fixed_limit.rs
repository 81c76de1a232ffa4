//! Limits that no setting changes, as the page of the settings lists them.

use std::fmt;
use std::time::Duration;

/// A limit that no setting changes, and why; shown as a row of a table.
#[derive(Clone, Copy, Debug)]
pub struct FixedLimit {
    /// What it limits.
    pub limit: &'static str,
    /// How far, each figure being `{}`.
    pub value: &'static str,
    /// The figures: the constants themselves.
    pub figures: &'static [Figure],
    /// Why it is so.
    pub why: &'static str,
}

/// A number with its unit.
#[derive(Clone, Copy, Debug)]
pub enum Figure {
    /// So many of what the text says.
    Count(usize),
    /// Shown in the largest unit that divides it.
    Bytes(usize),
    /// The same, in seconds at least.
    Time(Duration),
}

impl fmt::Display for FixedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, value, figures, why } = self;
        write!(f, "| {limit} | ")?;
        let mut texts = value.split("{}");
        f.write_str(texts.next().unwrap_or_default())?;
        for (figure, text) in figures.iter().zip(texts) {
            write!(f, "{figure}{text}")?;
        }
        write!(f, " | {why} |")
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, units) = match *self {
            Self::Count(count) => return write!(f, "{count}"),
            Self::Bytes(bytes) => {
                (bytes as u64, [("MiB", 1 << 20), ("KiB", 1 << 10), ("bytes", 1)])
            }
            Self::Time(time) => (time.as_secs(), [("h", 3600), ("min", 60), ("s", 1)]),
        };
        let unit = units.into_iter().find(|(_, size)| number.is_multiple_of(*size));
        let (unit, size) = unit.unwrap_or(units[2]);
        write!(f, "{} {unit}", number / size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_where_the_text_wants_them() {
        const LIMIT: FixedLimit = FixedLimit {
            limit: "a thing",
            value: "{}, then {} of {}, {} after {}, {}",
            figures: &[
                Figure::Count(512),
                Figure::Bytes(16 << 10),
                Figure::Bytes(1025),
                Figure::Time(Duration::from_secs(90)),
                Figure::Time(Duration::from_secs(600)),
                Figure::Time(Duration::from_secs(7200)),
            ],
            why: "it is",
        };
        let row = "| a thing | 512, then 16 KiB of 1025 bytes, 90 s after 10 min, 2 h | it is |";
        assert_eq!(LIMIT.to_string(), row);
    }
}
