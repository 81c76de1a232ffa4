//! The queues exchanges keep messages in: those they delay, and those they repeat to new bindings.

use std::sync::Arc;

use leveret_codec::TableBuf;
use leveret_engine::{ExchangeSpec, Keeper, QueueId, QueueSettings};

use crate::firehose::Tracing;
use crate::policy::AppliedPolicies;
use crate::queue::{Purpose, QueueAgenda, QueueSpec, Settings, SharedQueue};

/// The queue an exchange needs for itself, if it is of a kind that does.
///
/// Delayed messages wait in the queue of a delayed exchange with their delay for a time to live,
/// and then go on as dead letters do, though unchanged: so they are in the journal, come back after
/// a crash, and are handed over in one unit of it. History is kept in memory.
pub(crate) fn keeper(
    exchange: &ExchangeSpec,
    vhost: &Arc<str>,
    id: QueueId,
    agenda: &Arc<QueueAgenda>,
) -> Option<Arc<SharedQueue>> {
    let (durable, settings) = match exchange.keeper()? {
        Keeper::Delay => {
            let settings = Settings {
                dead_letter_exchange: Some(Arc::clone(&exchange.name)),
                purpose: Purpose::Delay,
                ..Settings::default()
            };
            (exchange.durable, settings)
        }
        Keeper::History(length) => {
            let machine = QueueSettings { max_length: Some(length), ..QueueSettings::default() };
            let settings = Settings { machine, purpose: Purpose::History, ..Settings::default() };
            (false, settings)
        }
    };
    let spec = QueueSpec {
        id,
        name: Arc::clone(&exchange.name),
        vhost: Arc::clone(vhost),
        // No client is given what it has.
        tracing: Tracing::default(),
        durable,
        auto_delete: false,
        owner: None,
        arguments: TableBuf::default(),
        settings,
        policies: AppliedPolicies::default(),
    };
    Some(SharedQueue::new(spec, agenda))
}
