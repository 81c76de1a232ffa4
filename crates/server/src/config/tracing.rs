//! `[tracing]`: what becomes of single messages, told to an OpenTelemetry collector.

use std::path::PathBuf;

use leveret_broker::TraceHeader;

/// `[tracing]`: what becomes of single messages, told to an OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracingConfig {
    /// The collector's URL for spans. Nothing is followed without.
    pub endpoint: Option<String>,
    /// How many are followed of the messages that come without a trace.
    pub sample_ratio: Ratio,
    /// What consumers get to see of the trace.
    pub header: TraceHeader,
    /// The name spans come from.
    pub service_name: String,
    /// The certificates the collector is checked by, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// A part of a whole, to a millionth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ratio {
    millionths: u32,
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample_ratio: Ratio::default(),
            header: TraceHeader::default(),
            service_name: "leveret".to_owned(),
            ca_file: None,
        }
    }
}

impl Ratio {
    const WHOLE: u32 = 1_000_000;

    /// Reads a number from 0 to 1 with six digits behind its point at most.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > 6 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let fraction: u32 = format!("{fraction:0<6}").parse().ok()?;
        let whole: u32 = whole.parse().ok()?;
        let millionths = whole.checked_mul(Self::WHOLE)?.checked_add(fraction)?;
        (millionths <= Self::WHOLE).then_some(Self { millionths })
    }

    pub(super) fn as_number(self) -> f64 {
        f64::from(self.millionths) / f64::from(Self::WHOLE)
    }

    /// How many of a million.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.millionths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_between_none_and_all() {
        for (text, millionths) in [
            ("0", 0),
            ("0.0", 0),
            ("1", 1_000_000),
            ("1.0", 1_000_000),
            ("0.000125", 125),
            ("0.5", 500_000),
        ] {
            assert_eq!(Ratio::parse(text), Some(Ratio { millionths }), "{text}");
        }
        for text in ["", ".", "2", "1.1", "-1", "0.0000001", "0.+5", "half", "4295"] {
            assert_eq!(Ratio::parse(text), None, "{text}");
        }
    }
}
