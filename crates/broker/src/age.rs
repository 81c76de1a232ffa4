//! Ages: `7D`, `90m`, as streams have them.

use leveret_engine::Millis;

/// A number above 0 and a unit: years of 365 days, months of 30, days, hours, minutes, seconds.
pub(crate) fn age(text: &str) -> Option<Millis> {
    const SECOND: u64 = 1000;
    const DAY: u64 = 24 * 3600 * SECOND;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match unit {
        "Y" => 365 * DAY,
        "M" => 30 * DAY,
        "D" => DAY,
        "h" => 3600 * SECOND,
        "m" => 60 * SECOND,
        "s" => SECOND,
        _ => return None,
    };
    if number.is_empty() {
        return None;
    }
    // Longer than anything lasts, if it is more than a number can say.
    let number: u64 = number.parse().unwrap_or(u64::MAX);
    (number > 0).then(|| Millis(number.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_as_rabbitmq_reads_them() {
        let cases = [
            ("1s", Some(1000)),
            ("01h", Some(3_600_000)),
            ("60m", Some(3_600_000)),
            ("7D", Some(604_800_000)),
            ("1M", Some(2_592_000_000)),
            ("1Y", Some(31_536_000_000)),
            ("99999999999999999999Y", Some(u64::MAX)),
            ("0s", None),
            ("s", None),
            ("", None),
            ("10", None),
            ("1x", None),
            ("1h ", None),
            ("-1h", None),
            ("1hh", None),
        ];
        for (text, expected) in cases {
            assert_eq!(age(text), expected.map(Millis), "{text}");
        }
    }
}
