//! Exchanges that keep messages: to delay them, or to repeat them to those who come late.

use leveret_codec::{Table, Value};

use super::exchange::{Exchange, Routable};
use super::kind::ExchangeKind;
use crate::ids::{Millis, QueueId};

/// What an exchange wants a queue of its own for, which is the caller's to provide
/// ([`Topology::set_keeper`](crate::Topology::set_keeper)). Nobody consumes from it; a message is
/// routed to it like to any other queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// `x-delayed-message`: messages with a [`delay`] are routed there and nowhere else. When it
    /// is over the caller routes them again, with a delay below zero.
    Delay,
    /// `x-recent-history`: messages are routed there as well. The queue keeps so many, which the
    /// caller gives to every new binding.
    History(u64),
}

impl Keeper {
    /// The most messages of history, all of which one binding has put into queues. What was declared
    /// before there was a bound keeps as many as that.
    pub const HISTORY_MAX: u64 = 10_000;
}

/// The header that delays a message.
pub const DELAY_HEADER: &str = "x-delay";

/// The header that keeps a message out of the history.
const NO_STORE_HEADER: &str = "x-recent-history-no-store";

/// How long a delayed exchange keeps a message with these headers: `x-delay` in milliseconds. None
/// without that header, if it is not above zero, or if it exceeds 2^32-1.
#[must_use]
pub fn delay(headers: Table<'_>) -> Option<Millis> {
    let value = headers.get(DELAY_HEADER)?;
    let number = match value {
        Value::LongStr(digits) => str::from_utf8(digits).ok()?.parse().ok()?,
        other => other.as_integer()?,
    };
    u32::try_from(number).ok().filter(|&delay| delay > 0).map(|delay| Millis(delay.into()))
}

/// What an exchange does with a message besides routing it.
pub(super) enum Keep {
    /// Nothing.
    No,
    /// The queue gets it, and the bindings do as well.
    Copy(QueueId),
    /// The queue gets it instead of anyone else.
    Only(QueueId),
}

impl Exchange {
    /// What becomes of a message here before any binding is looked at.
    pub(super) fn keep(&self, message: &Routable<'_>) -> Keep {
        let Some(keeper) = self.keeper() else { return Keep::No };
        let properties = message.properties;
        match self.spec().kind {
            ExchangeKind::Delayed if properties.headers.and_then(delay).is_some() => {
                Keep::Only(keeper)
            }
            ExchangeKind::RecentHistory => {
                let header = properties.headers.and_then(|headers| headers.get(NO_STORE_HEADER));
                let kept = header.and_then(|value| value.as_bool()) != Some(true);
                if kept { Keep::Copy(keeper) } else { Keep::No }
            }
            _ => Keep::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use leveret_codec::TableBuilder;

    use super::super::ExchangeSpec;
    use super::super::kind::InvalidExchange;
    use super::*;

    #[test]
    fn more_history_is_not_kept_than_may_be() {
        let asked = |length: i64| ExchangeSpec {
            name: "x".into(),
            kind: ExchangeKind::RecentHistory,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: TableBuilder::new().put("x-recent-history-length", length).build(),
        };
        let (most, more) = (asked(10_000), asked(1 << 60));
        assert_eq!(most.check(), Ok(()));
        assert_eq!(more.check(), Err(InvalidExchange::HistoryTooLong));
        assert_eq!(more.keeper(), Some(Keeper::History(10_000)), "as before there was a bound");
    }

    #[test]
    fn delays_are_whole_milliseconds_above_zero() {
        let of = |value: Value<'_>| {
            let headers = TableBuilder::new().put(DELAY_HEADER, value).build();
            delay(headers.as_table()).map(|delay| delay.0)
        };
        assert_eq!(of(Value::I32(1)), Some(1));
        assert_eq!(of(Value::I64(u32::MAX.into())), Some(u32::MAX.into()));
        assert_eq!(of("5000".into()), Some(5000));
        for none in [Value::I32(0), Value::I32(-5), Value::I64(1 << 32), "soon".into(), true.into()]
        {
            assert_eq!(of(none), None, "{none:?}");
        }
        assert_eq!(delay(Table::EMPTY), None);
    }
}
