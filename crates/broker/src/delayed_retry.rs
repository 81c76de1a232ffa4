//! `x-delayed-retry-type`, `-min` and `-max`: returned messages of a quorum queue that wait.
//!
//! As RabbitMQ 4.3: no value is refused, and without a type it knows and a delay nothing waits.

use leveret_codec::{Table, Value};
use leveret_engine::{DelayedRetry, Millis, Return};

pub(crate) const TYPE: &str = "x-delayed-retry-type";
pub(crate) const MIN: &str = "x-delayed-retry-min";
pub(crate) const MAX: &str = "x-delayed-retry-max";
/// The type that stands for none.
const DISABLED: &str = "disabled";

/// What the arguments ask for. Without a longest delay it is always the shortest.
pub(crate) fn asked_for(arguments: Table<'_>) -> Option<DelayedRetry> {
    let only = match arguments.get(TYPE)?.as_str()? {
        "all" => None,
        "returned" => Some(Return::Released),
        "failed" => Some(Return::Failed),
        _ => return None,
    };
    let millis = |argument| {
        let number = arguments.get(argument)?.as_integer().filter(|number| *number > 0)?;
        Some(Millis(u64::try_from(number).unwrap_or(u64::MAX)))
    };
    let min = millis(MIN)?;
    Some(DelayedRetry { only, min, max: millis(MAX).unwrap_or(min) })
}

/// Whether the arguments name a type that has no effect.
pub(crate) fn has_no_effect(arguments: Table<'_>, settings: Option<DelayedRetry>) -> bool {
    let asks = |value: Value<'_>| value.as_str() != Some(DISABLED);
    settings.is_none() && arguments.get(TYPE).is_some_and(asks)
}

/// As RabbitMQ shows it to operators.
pub(crate) fn described(settings: Option<DelayedRetry>) -> String {
    let Some(DelayedRetry { only, min, max }) = settings else { return DISABLED.to_owned() };
    let kind = match only {
        None => "all",
        Some(Return::Released) => "returned",
        Some(Return::Failed) => "failed",
    };
    format!("{kind} (min: {}ms, max: {}ms)", min.0, max.0)
}

#[cfg(test)]
mod tests {
    use leveret_codec::{TableBuf, TableBuilder};

    use super::*;

    fn arguments(kind: Value<'_>, min: Value<'_>, max: Value<'_>) -> TableBuf {
        TableBuilder::new().put(TYPE, kind).put(MIN, min).put(MAX, max).build()
    }

    #[test]
    fn what_means_nothing_disables_it() {
        let void = Value::Void;
        for (kind, min, max, expected) in [
            ("all", Value::I64(5), Value::I32(9), "all (min: 5ms, max: 9ms)"),
            ("failed", Value::I64(5), void, "failed (min: 5ms, max: 5ms)"),
            ("returned", Value::I64(5), Value::I64(0), "returned (min: 5ms, max: 5ms)"),
            ("all", Value::I64(5), Value::I64(3), "all (min: 5ms, max: 3ms)"),
            ("all", void, Value::I64(3), "disabled"),
            ("all", Value::I64(0), Value::I64(3), "disabled"),
            ("all", Value::text("5"), Value::I64(3), "disabled"),
            ("none", Value::I64(5), Value::I64(9), "disabled"),
            ("disabled", Value::I64(5), Value::I64(9), "disabled"),
        ] {
            let arguments = arguments(Value::text(kind), min, max);
            let settings = asked_for(arguments.as_table());
            assert_eq!(described(settings), expected);
            let is_futile = expected == "disabled" && kind != "disabled";
            assert_eq!(has_no_effect(arguments.as_table(), settings), is_futile, "{kind}");
        }
        assert!(!has_no_effect(TableBuf::default().as_table(), None));
        let number = arguments(Value::I64(1), void, void);
        assert!(has_no_effect(number.as_table(), asked_for(number.as_table())));
    }
}
