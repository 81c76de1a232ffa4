//! Sizes and times with units.

use std::time::Duration;

/// As in rabbitmq.conf: `MiB` and the bare letter are powers of 1024, `MB` of 1000.
const SIZES: [(&str, u64); 11] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
];

/// In milliseconds; a number without a unit counts seconds.
const TIMES: [(&str, u64); 6] =
    [("", 1_000), ("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000)];

/// Bytes of a size such as `16MiB`.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    parse(text, &SIZES)
}

/// A time such as `10s` or `200ms`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &TIMES).map(Duration::from_millis)
}

/// The size in the largest unit that divides it.
pub(super) fn show_bytes(bytes: u64) -> String {
    let unit = |&(_, size): &(&str, u64)| bytes != 0 && bytes.is_multiple_of(size);
    const SHOWN: [(&str, u64); 5] = [
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
    ];
    match SHOWN.into_iter().find(unit) {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => bytes.to_string(),
    }
}

/// The time in seconds, or in milliseconds where it is no whole number of seconds.
pub(super) fn show_duration(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        assert_eq!(parse_bytes("16MiB"), Some(16 << 20));
        assert_eq!(parse_bytes(" 16 mib "), Some(16 << 20));
        assert_eq!(parse_bytes("128k"), Some(131_072));
        assert_eq!(parse_bytes("50MB"), Some(50_000_000));
        assert_eq!(parse_bytes("131072"), Some(131_072));
        for bad in
            ["", "MiB", "1.5MiB", "-1", "16 MiBs", "99999999999999999999", "18446744073709551615k"]
        {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_times() {
        assert_eq!(parse_duration("10s"), Some(Duration::from_secs(10)));
        assert_eq!(parse_duration("200 ms"), Some(Duration::from_millis(200)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(parse_duration("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(parse_duration("60"), Some(Duration::from_secs(60)));
        for bad in ["", "s", "soon", "1d", "1.5s", "-1s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_shown_reads_the_same() {
        for bytes in [0, 1, 1023, 1024, 131_072, 16 << 20, 50_000_000, 1 << 30] {
            assert_eq!(parse_bytes(&show_bytes(bytes)), Some(bytes));
        }
        for millis in [0, 1, 999, 1000, 10_000, 60_500] {
            let time = Duration::from_millis(millis);
            assert_eq!(parse_duration(&show_duration(time)), Some(time));
        }
        assert_eq!(show_bytes(16 << 20), "16MiB");
        assert_eq!(show_bytes(50_000_000), "50MB");
        assert_eq!(show_duration(Duration::from_secs(10)), "10s");
    }
}
