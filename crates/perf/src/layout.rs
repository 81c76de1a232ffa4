//! Queues, exchange and bindings of a flow: their names, who uses them, and which message goes
//! where.

use leveret_codec::{Method, MethodId};
use leveret_codec::{Properties, Table, TableBuf, TableBuilder, Value, exchange, queue};

use crate::client::{CHANNEL, Client};
use crate::error::ClientError;
use crate::ledger::{Senders, Share};
use crate::scenario::{ExchangeKind, Flow, QueueSpread};

/// Declarations sent ahead of their answers: enough to hide the round trip, few enough for any
/// socket buffer.
const IN_FLIGHT: usize = 100;

/// What a flow needs to be there.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    flow: &'a Flow,
    prefix: String,
}

/// What decides where a message goes.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Key {
    pub(crate) routing_key: String,
    /// Properties on the wire: flags and values.
    pub(crate) properties: Vec<u8>,
}

impl<'a> Layout<'a> {
    /// Names everything after `prefix`.
    pub(crate) fn new(flow: &'a Flow, prefix: &str) -> Self {
        Self { flow, prefix: prefix.to_owned() }
    }

    /// A queue's name.
    pub(crate) fn queue(&self, queue: u16) -> String {
        format!("{}.{queue}", self.prefix)
    }

    /// The exchange published to.
    pub(crate) fn exchange(&self) -> &str {
        match self.flow.exchange {
            ExchangeKind::Default => "",
            _ => &self.prefix,
        }
    }

    /// How many queues a message reaches.
    pub(crate) fn copies(&self) -> u64 {
        match self.flow.exchange {
            ExchangeKind::Fanout => self.flow.queues.into(),
            _ => 1,
        }
    }

    /// The keys a publisher uses in turn.
    pub(crate) fn keys(&self, publisher: u16) -> Vec<Key> {
        let queues = u32::from(self.flow.queues);
        let own = u32::from(publisher) % queues;
        let is_used = |key: &u32| self.flow.spread == QueueSpread::Rotate || key % queues == own;
        (0..self.key_count()).filter(is_used).map(|key| self.key(key)).collect()
    }

    /// What a queue gets of the messages of those who send to it.
    pub(crate) fn share(&self, queue: u16) -> Share {
        match (self.flow.exchange, self.flow.spread) {
            (ExchangeKind::Fanout, _) | (_, QueueSpread::Own) => Share::ALL,
            (_, QueueSpread::Rotate) => Share::new(self.flow.queues.into(), queue.into()),
        }
    }

    /// Who sends to a queue.
    pub(crate) fn senders(&self, queue: u16) -> Senders {
        match (self.flow.exchange, self.flow.spread) {
            (ExchangeKind::Fanout, _) | (_, QueueSpread::Rotate) => Senders::ALL,
            (_, QueueSpread::Own) => Senders::new(queue, self.flow.queues),
        }
    }

    /// The queues a consumer reads.
    pub(crate) fn subscriptions(&self, consumer: u16) -> Vec<u16> {
        let (queues, consumers) = (self.flow.queues, self.flow.consumers);
        match consumer.checked_rem(queues) {
            Some(own) if consumers >= queues => vec![own],
            _ => (consumer..queues).step_by(consumers.max(1).into()).collect(),
        }
    }

    /// Makes everything anew.
    pub(crate) fn declare(&self, client: &mut Client) -> Result<(), ClientError> {
        self.remove(client)?;
        if self.flow.exchange != ExchangeKind::Default {
            client.send(|out| self.exchange_declare().encode_frame(CHANNEL, out))?;
            client.expect(exchange::DeclareOk::ID, |_| ())?;
        }
        let arguments = self.queue_arguments();
        let queues: Vec<_> = (0..self.flow.queues).collect();
        pipelined(client, &queues, queue::DeclareOk::ID, |&queue, out| {
            let declare = queue::Declare {
                queue: &self.queue(queue),
                passive: false,
                durable: self.flow.durable,
                exclusive: false,
                auto_delete: false,
                nowait: false,
                arguments: arguments.as_table(),
            };
            declare.encode_frame(CHANNEL, out);
        })?;
        let bindings: Vec<_> = (0..self.binding_count()).collect();
        pipelined(client, &bindings, queue::BindOk::ID, |&binding, out| self.bind(binding, out))
    }

    /// Removes everything; says how many messages were left in the queues.
    pub(crate) fn remove(&self, client: &mut Client) -> Result<u64, ClientError> {
        let mut left = 0;
        for queue in 0..self.flow.queues {
            left += delete_queue(client, &self.queue(queue))?;
        }
        if self.flow.exchange != ExchangeKind::Default {
            let delete =
                exchange::Delete { exchange: self.exchange(), if_unused: false, nowait: false };
            client.send(|out| delete.encode_frame(CHANNEL, out))?;
            client.expect(exchange::DeleteOk::ID, |_| ())?;
        }
        Ok(left)
    }

    fn key_count(&self) -> u32 {
        match self.flow.exchange {
            ExchangeKind::Fanout => 1,
            ExchangeKind::Default => self.flow.queues.into(),
            _ => self.binding_count(),
        }
    }

    fn binding_count(&self) -> u32 {
        match self.flow.exchange {
            ExchangeKind::Default => 0,
            ExchangeKind::Fanout => self.flow.queues.into(),
            _ => self.flow.bindings.max(self.flow.queues.into()),
        }
    }

    fn key(&self, key: u32) -> Key {
        let routing_key = match self.flow.exchange {
            ExchangeKind::Default => self.queue(u16::try_from(key).unwrap_or(u16::MAX)),
            ExchangeKind::Direct => format!("key.{key}"),
            ExchangeKind::Topic => format!("perf.{key}.event"),
            ExchangeKind::Fanout | ExchangeKind::Headers => String::new(),
        };
        let headers = self.header(key);
        let properties = Properties {
            delivery_mode: self.flow.persistent.then_some(2),
            headers: headers.as_ref().map(TableBuf::as_table),
            ..Properties::default()
        };
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        Key { routing_key, properties: encoded }
    }

    fn header(&self, key: u32) -> Option<TableBuf> {
        let is_matched = self.flow.exchange == ExchangeKind::Headers;
        is_matched.then(|| TableBuilder::new().put("key", i64::from(key)).build())
    }

    fn exchange_declare(&self) -> exchange::Declare<'_> {
        exchange::Declare {
            exchange: self.exchange(),
            kind: match self.flow.exchange {
                ExchangeKind::Default | ExchangeKind::Direct => "direct",
                ExchangeKind::Topic => "topic",
                ExchangeKind::Fanout => "fanout",
                ExchangeKind::Headers => "headers",
            },
            passive: false,
            durable: self.flow.durable,
            auto_delete: false,
            internal: false,
            nowait: false,
            arguments: Table::EMPTY,
        }
    }

    fn bind(&self, binding: u32, out: &mut Vec<u8>) {
        let queue = binding.checked_rem(self.flow.queues.into()).unwrap_or_default();
        let routing_key = match self.flow.exchange {
            ExchangeKind::Topic => format!("perf.{binding}.*"),
            ExchangeKind::Direct => format!("key.{binding}"),
            _ => String::new(),
        };
        let arguments = match self.header(binding) {
            Some(header) => {
                TableBuilder::from_table(header.as_table()).put("x-match", "all").build()
            }
            None => TableBuf::default(),
        };
        let bind = queue::Bind {
            queue: &self.queue(u16::try_from(queue).unwrap_or(u16::MAX)),
            exchange: self.exchange(),
            routing_key: &routing_key,
            nowait: false,
            arguments: arguments.as_table(),
        };
        bind.encode_frame(CHANNEL, out);
    }

    fn queue_arguments(&self) -> TableBuf {
        let arguments = &self.flow.queue_arguments;
        let table = arguments.iter().fold(TableBuilder::new(), |table, argument| {
            match argument.value.parse::<i64>() {
                Ok(number) => table.put(&argument.name, number),
                Err(_) => table.put(&argument.name, Value::text(&argument.value)),
            }
        });
        table.build()
    }
}

/// Deletes a queue, which need not be there; says how many messages were ready in it.
pub(crate) fn delete_queue(client: &mut Client, name: &str) -> Result<u64, ClientError> {
    let delete = queue::Delete { queue: name, if_unused: false, if_empty: false, nowait: false };
    client.send(|out| delete.encode_frame(CHANNEL, out))?;
    client.expect(queue::DeleteOk::ID, |method| match method {
        Method::QueueDeleteOk(deleted) => deleted.message_count.into(),
        _ => 0,
    })
}

/// Sends a method for each item, a few ahead of the answers.
fn pipelined<T>(
    client: &mut Client,
    items: &[T],
    answer: MethodId,
    encode: impl Fn(&T, &mut Vec<u8>),
) -> Result<(), ClientError> {
    for chunk in items.chunks(IN_FLIGHT) {
        client.send(|out| chunk.iter().for_each(|item| encode(item, out)))?;
        for _ in chunk {
            client.expect(answer, |_| ())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::{Preset, transient};
    use crate::scenario::Scenario;

    fn flow(preset: &str) -> Flow {
        match Preset::find(preset).unwrap().scenario() {
            Scenario::Flow(flow) => flow,
            _ => panic!("a flow"),
        }
    }

    #[test]
    fn a_message_goes_where_its_number_says() {
        let topic = flow("topic-1000");
        let layout = Layout::new(&topic, "p");
        let keys = layout.keys(0);
        assert_eq!(keys.len(), 1000);
        assert_eq!(keys[999].routing_key, "perf.999.event");
        assert_eq!((layout.share(3), layout.senders(3)), (Share::new(10, 3), Senders::ALL));
        assert_eq!(layout.copies(), 1);
    }

    #[test]
    fn a_publisher_with_its_own_queue_uses_its_keys_only() {
        let pairs = flow("pairs-2");
        let layout = Layout::new(&pairs, "p");
        let keys: Vec<_> = layout.keys(1).into_iter().map(|key| key.routing_key).collect();
        assert_eq!(keys, ["p.1"]);
        assert_eq!((layout.share(1), layout.senders(1)), (Share::ALL, Senders::new(1, 2)));
    }

    #[test]
    fn every_queue_has_a_consumer() {
        for (queues, consumers) in [(10, 1), (10, 3), (10, 10), (3, 7)] {
            let flow = Flow { queues, consumers, ..transient(16) };
            let layout = Layout::new(&flow, "p");
            let mut read: Vec<_> = (0..consumers).flat_map(|c| layout.subscriptions(c)).collect();
            read.sort_unstable();
            read.dedup();
            assert_eq!(read, (0..queues).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_headers_exchange_matches_by_argument() {
        let flow =
            Flow { exchange: ExchangeKind::Headers, bindings: 4, queues: 2, ..transient(16) };
        let layout = Layout::new(&flow, "p");
        let [first, second] = [layout.key(0), layout.key(1)];
        assert_eq!(first.routing_key, "");
        assert_ne!(first.properties, second.properties);
    }
}
