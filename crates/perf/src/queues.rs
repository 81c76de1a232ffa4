//! Queues: how fast they come and go, and what one costs.

use leveret_codec::{MethodId, Table, queue};

use crate::broker::Broker;
use crate::client::{CHANNEL, Client};
use crate::clock::Clock;
use crate::error::{ClientError, PerfError};
use crate::flow::unique_prefix;
use crate::observer::{Observer, Progress};
use crate::report::{Phase, Unit};
use crate::scenario::QueueChurn;

const READ_BYTES: usize = 64 << 10;

/// Declares queues, and deletes them unless they are to be kept.
pub(crate) fn churn(broker: &Broker, churn: &QueueChurn) -> Result<Vec<Phase>, PerfError> {
    let prefix = unique_prefix();
    let mut client = broker.open("queues", READ_BYTES)?;
    let mut observer = Observer::new(broker, Progress::Hidden, Clock::start());
    let mut phase = |name, answer, encode: &dyn Fn(&str, &mut Vec<u8>)| -> Result<_, PerfError> {
        let start = observer.mark()?;
        let mut number = 0;
        pipelined(&mut client, churn, answer, |out| {
            encode(&format!("{prefix}.{number}"), out);
            number += 1;
        })
        .map_err(|source| broker.failed(source))?;
        let end = observer.mark()?;
        Ok(observer.phase(name, Unit::Queue, churn.queues.into(), (&start, &end), end.at))
    };
    let mut phases = vec![phase("declare", queue::DeclareOk::ID, &|name, out| {
        let declare = queue::Declare {
            queue: name,
            passive: false,
            durable: churn.durable,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: Table::EMPTY,
        };
        declare.encode_frame(CHANNEL, out);
    })?];
    if !churn.keep {
        phases.push(phase("delete", queue::DeleteOk::ID, &|name, out| {
            let delete =
                queue::Delete { queue: name, if_unused: false, if_empty: false, nowait: false };
            delete.encode_frame(CHANNEL, out);
        })?);
    }
    client.close().map_err(|source| broker.failed(source))?;
    Ok(phases)
}

/// Sends a method for each queue, keeping between half of and all the allowed number in flight.
fn pipelined(
    client: &mut Client,
    churn: &QueueChurn,
    answer: MethodId,
    mut encode: impl FnMut(&mut Vec<u8>),
) -> Result<(), ClientError> {
    let half = churn.in_flight.div_ceil(2);
    let (mut sent, mut answered) = (0, 0);
    while answered < churn.queues {
        let room = churn.in_flight - (sent - answered);
        let more = room.min(churn.queues - sent);
        if more > 0 {
            client.send(|out| (0..more).for_each(|_| encode(out)))?;
            sent += more;
        }
        for _ in 0..half.min(sent - answered) {
            client.expect(answer, |_| ())?;
            answered += 1;
        }
    }
    Ok(())
}
