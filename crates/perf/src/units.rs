//! Times and sizes as they are given on the command line, and figures as they are shown.

use std::time::Duration;

/// Reads a time such as `10s`, `500ms`, `2m`.
///
/// # Errors
/// What a time looks like.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    parse(text, &UNITS)
        .map(Duration::from_millis)
        .ok_or_else(|| "a time is a number with a unit: 500ms, 10s, 2m, 1h".to_owned())
}

/// Reads a size such as `16`, `1KiB`, `16MiB`.
///
/// # Errors
/// What a size looks like.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    const UNITS: [(&str, u64); 6] =
        [("KiB", 1 << 10), ("MiB", 1 << 20), ("kB", 1000), ("MB", 1_000_000), ("B", 1), ("", 1)];
    parse(text, &UNITS)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| "a size is a number of bytes, or one with KiB or MiB".to_owned())
}

/// Reads a number such as `5000`, `10k`, `1M`.
///
/// # Errors
/// What a number looks like.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 3] = [("k", 1000), ("M", 1_000_000), ("", 1)];
    parse(text, &UNITS).ok_or_else(|| "a number may end in k (thousand) or M (million)".to_owned())
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A number with three significant digits and a unit for thousands: `1.07 M`, `91.0 k`, `14.0`.
pub(crate) fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, " G"),
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = match scaled.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{scaled:.decimals$}{unit}")
}

/// Bytes with a binary unit: `38.1 MiB`.
pub(crate) fn short_bytes(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{:.1} KiB", value / 1024.0),
        _ => format!("{:.1} MiB", value / 1_048_576.0),
    }
}

/// A time with the unit that suits it: `56.1 us`, `1.90 ms`, `2.40 s`.
pub(crate) fn short_time(nanos: u64) -> String {
    let value = nanos as f64;
    match nanos {
        0..1_000_000 => format!("{:.1} us", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["10", "", "s", "1.5s", "10 s", "-1s", "99999999999999999999s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_bytes_unless_they_say_otherwise() {
        assert_eq!(parse_size("16"), Ok(16));
        assert_eq!(parse_size("1KiB"), Ok(1024));
        assert_eq!(parse_size("16MiB"), Ok(16 << 20));
        assert!(parse_size("1Kib").is_err());
        assert!(parse_size("18446744073709551615KiB").is_err());
    }

    #[test]
    fn counts_may_be_in_thousands() {
        assert_eq!(parse_count("10k"), Ok(10_000));
        assert_eq!(parse_count("1M"), Ok(1_000_000));
        assert_eq!(parse_count("7"), Ok(7));
        assert!(parse_count("1K").is_err());
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(short(1_070_000.0), "1.07 M");
        assert_eq!(short(91_000.0), "91.0 k");
        assert_eq!(short(9_100.0), "9100");
        assert_eq!(short(14.04), "14.0");
        assert_eq!(short(0.351), "0.351");
        assert_eq!(short(0.0), "0");
        assert_eq!(short_time(56_100), "56.1 us");
        assert_eq!(short_time(1_900_000), "1.90 ms");
        assert_eq!(short_bytes(40_000_000), "38.1 MiB");
    }
}
