//! `[alarms]`: from when on publishers wait.

use super::form::Form;
use super::settings::{Refused, Shown};
use super::units::{parse_bytes, show_bytes};
use super::value::Value;

/// `[alarms]`: from when on publishers wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmConfig {
    /// Memory this process may hold.
    pub vm_memory_high_watermark: Limit,
    /// Disk space that must be free where the data is.
    pub disk_free_limit: Limit,
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// There is no limit.
    None,
    /// As many.
    Bytes(u64),
    /// So much of the memory there is: the machine's, or its control group's if that is less.
    OfMemory(PartOfMemory),
}

/// A part of the memory, to a millionth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartOfMemory {
    millionths: u32,
}

impl Default for AlarmConfig {
    fn default() -> Self {
        Self {
            vm_memory_high_watermark: Limit::OfMemory(PartOfMemory::percent(60)),
            disk_free_limit: Limit::Bytes(50_000_000),
        }
    }
}

impl PartOfMemory {
    const WHOLE: u32 = 1_000_000;

    /// So many hundredths.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        Self { millionths: percent as u32 * (Self::WHOLE / 100) }
    }

    /// The part of so many bytes.
    #[must_use]
    pub fn of(self, bytes: u64) -> u64 {
        let part = u128::from(bytes) * u128::from(self.millionths) / u128::from(Self::WHOLE);
        u64::try_from(part).unwrap_or(u64::MAX)
    }

    /// `0.6`, `1.0` or `60%`.
    fn parse(text: &str) -> Option<Self> {
        if let Some(percent) = text.strip_suffix('%') {
            let percent: u32 = percent.trim().parse().ok()?;
            return Some(Self { millionths: percent.checked_mul(Self::WHOLE / 100)? });
        }
        let (whole, fraction) = text.split_once('.')?;
        if fraction.is_empty() || fraction.len() > 6 {
            return None;
        }
        let digits = format!("{whole}{fraction:0<6}");
        let is_number = !whole.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some(Self { millionths: digits.parse().ok()? })
    }
}

impl PartOfMemory {
    fn as_number(self) -> f64 {
        f64::from(self.millionths) / f64::from(Self::WHOLE)
    }
}

impl Limit {
    /// Reads `none`, a part of the memory, or a size; `most` is how many times the memory.
    pub fn parse(text: &str, most: u8) -> Option<Self> {
        Self::read(&Value::Text(text.to_owned()), most).ok()
    }

    pub(super) fn read(value: &Value, most: u8) -> Result<Self, Refused> {
        if let Ok(none) = value.word(&[("none", Self::None)]) {
            return Ok(none);
        }
        match value {
            Value::Integer(bytes) => u64::try_from(*bytes).ok().map(Self::Bytes),
            Value::Text(text) | Value::Other(text) => PartOfMemory::parse(text.trim())
                .filter(|part| {
                    *part <= PartOfMemory { millionths: u32::from(most) * PartOfMemory::WHOLE }
                })
                .map(Self::OfMemory)
                .or_else(|| parse_bytes(text).map(Self::Bytes)),
            Value::List(_) => None,
        }
        .ok_or(Refused::NotAllowed)
    }

    pub(super) fn show(self) -> Shown {
        match self {
            Self::None => "none".into(),
            Self::Bytes(bytes) => show_bytes(bytes).into(),
            Self::OfMemory(part) => part.as_number().into(),
        }
    }
}

/// RabbitMQ's names for the settings here.
pub(super) static ALIASES: &[Alias] = &[
    Alias::new("vm_memory_high_watermark", MEMORY, Form::AsItIs),
    Alias::new("vm_memory_high_watermark.absolute", MEMORY, Form::Size),
    Alias::new("vm_memory_high_watermark.relative", MEMORY, Form::Part),
    Alias::new("disk_free_limit", DISK, Form::AsItIs),
    Alias::new("disk_free_limit.absolute", DISK, Form::Size),
    Alias::new("disk_free_limit.relative", DISK, Form::Part),
];

pub(super) const MEMORY: &str = "alarms.vm_memory_high_watermark";
pub(super) const DISK: &str = "alarms.disk_free_limit";

/// Another name of a setting.
pub(super) struct Alias {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    pub(super) form: Form,
}

impl Alias {
    const fn new(name: &'static str, key: &'static str, form: Form) -> Self {
        Self { name, key, form }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_sizes_or_parts_of_the_memory() {
        let read = |text: &str| Limit::read(&Value::Text(text.into()), 1).ok();
        let part = |millionths| Some(Limit::OfMemory(PartOfMemory { millionths }));
        assert_eq!(read("0.6"), part(600_000));
        assert_eq!(read("0.000001"), part(1));
        assert_eq!(read("1.0"), part(1_000_000));
        assert_eq!(read("60%"), part(600_000));
        assert_eq!(read("2GB"), Some(Limit::Bytes(2_000_000_000)));
        assert_eq!(read("0"), Some(Limit::Bytes(0)));
        assert_eq!(read("none"), Some(Limit::None));
        for bad in ["", "1.1", "101%", ".5", "0.", "-0.5", "1.0.0", "0.1234567", "half", "1e3"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(Limit::read(&Value::Text("1.5".into()), 2).ok(), part(1_500_000));
    }

    #[test]
    fn a_part_is_of_something() {
        assert_eq!(PartOfMemory::percent(60).of(1000), 600);
        assert_eq!(PartOfMemory::percent(100).of(u64::MAX), u64::MAX);
    }
}
