//! `basic.consume` of a stream.

use std::sync::Arc;

use leveret_codec::{AmqpError, Table as Arguments, Value};
use leveret_engine::{ConsumerId, Filter, Millis, ReaderSpec, StartAt};

use super::Session;
use super::consume::{Consume, NewConsumer};
use crate::age::age;
use crate::arguments::{self, OFFSET_TRACKING};
use crate::queue::SharedQueue;
use crate::refusal::{self, Resource};
use crate::subscriber::Subscriber;

/// Arguments of `basic.consume` that streams don't know and other queues do.
const OF_CONSUMERS: [&str; 2] = ["x-priority", "x-consumer-timeout"];

impl Session {
    /// Adds a reader of a stream; see [`consume`](Self::consume).
    pub(super) fn read(
        &mut self,
        stream: Arc<SharedQueue>,
        request: Consume<'_>,
        subscriber: impl FnOnce(NewConsumer<'_>) -> Arc<dyn Subscriber>,
    ) -> Result<(Arc<SharedQueue>, ConsumerId), AmqpError> {
        let (name, vhost) = (&*stream.name, &**self.vhost.name());
        let wanted = Wanted::read(request, self.turn.now()).map_err(|(argument, reason)| {
            refusal::invalid_argument(argument, name, vhost, reason)
        })?;
        let foreign = OF_CONSUMERS.into_iter().find(|it| request.arguments.get(it).is_some());
        if let Some(argument) = foreign {
            return Err(refusal::argument_of_other_type(argument, name, vhost, stream.queue_type));
        }
        // A limit shared by the channel holds as well; without one of its own it is all there is.
        let prefetch = match request.prefetch {
            0 => u16::try_from(request.shared_limit).unwrap_or(u16::MAX),
            own => own,
        };
        if prefetch == 0 {
            return Err(refusal::no_prefetch(name, vhost));
        }
        if request.no_ack {
            return Err(refusal::automatic_acknowledgement(name, vhost));
        }
        let id = self.broker.next_consumer();
        let Wanted { start, filter, name: reader } = wanted;
        let spec = ReaderSpec { id, prefetch, start, filter, name: reader };
        let subscriber = subscriber(NewConsumer { queue: &stream, id, ack_timeout: None });
        stream
            .add_reader(spec, request.about(self), subscriber, self.turn.now())
            .map_err(|_| refusal::not_found(Resource::Queue(name), vhost))?;
        Ok((stream, id))
    }
}

/// What a reader wants of a stream.
struct Wanted {
    start: StartAt,
    filter: Option<Filter>,
    /// The name its position is kept under.
    name: Option<Arc<str>>,
}

/// An argument and RabbitMQ's reason for refusing its value.
type Refused = (&'static str, String);

impl Wanted {
    fn read(request: Consume<'_>, now: Millis) -> Result<Self, Refused> {
        let arguments = request.arguments;
        let start = match arguments.get("x-stream-offset") {
            None => StartAt::default(),
            Some(value) => {
                start(value, now).ok_or_else(|| ("x-stream-offset", no_offset(value)))?
            }
        };
        let filter = filter(arguments)?;
        let name = is_tracked(arguments)?.then(|| Arc::clone(request.tag));
        if name.is_some() && !request.is_tag_chosen {
            return Err((OFFSET_TRACKING, "\"needs a consumer tag\"".to_owned()));
        }
        Ok(Self { start, filter, name })
    }
}

/// Where an `x-stream-offset` says to begin.
fn start(value: Value<'_>, now: Millis) -> Option<StartAt> {
    Some(match (value, value.as_integer()) {
        (Value::Timestamp(seconds), _) => StartAt::Time(Millis(seconds.saturating_mul(1000))),
        // What is before the first offset begins there.
        (_, Some(offset)) => StartAt::Offset(u64::try_from(offset.max(0)).unwrap_or(u64::MAX)),
        _ => match value.as_str()? {
            "first" => StartAt::First,
            "last" => StartAt::Last,
            "next" => StartAt::Next,
            span => StartAt::Time(Millis(now.0.saturating_sub(age(span)?.0))),
        },
    })
}

/// As Erlang prints it.
fn no_offset(value: Value<'_>) -> String {
    format!("{{invalid_stream_offset_arg,{{{},{}}}}}", value.type_name(), value.as_term())
}

fn filter(arguments: Arguments<'_>) -> Result<Option<Filter>, Refused> {
    const FILTER: &str = "x-stream-filter";
    const MATCH_UNFILTERED: &str = "x-stream-match-unfiltered";
    let match_unfiltered = match arguments.get(MATCH_UNFILTERED) {
        None => false,
        Some(value) => {
            value.as_bool().ok_or_else(|| (MATCH_UNFILTERED, arguments::unacceptable(value)))?
        }
    };
    Ok(match arguments.get(FILTER) {
        None => None,
        Some(Value::LongStr(value)) => Some(Filter::new([value], match_unfiltered)),
        Some(Value::Array(values)) => {
            // Whatever else is in it no message has for a value.
            let values = values.iter().filter_map(|value| value.as_bytes());
            Some(Filter::new(values, match_unfiltered))
        }
        Some(other) => return Err((FILTER, arguments::unacceptable(other))),
    })
}

/// Whether its position is to be kept.
fn is_tracked(arguments: Arguments<'_>) -> Result<bool, Refused> {
    match arguments.get(OFFSET_TRACKING) {
        None => Ok(false),
        Some(Value::Bool(is_tracked)) => Ok(is_tracked),
        Some(Value::LongStr(b"true")) => Ok(true),
        Some(Value::LongStr(b"false")) => Ok(false),
        Some(other) => Err((OFFSET_TRACKING, arguments::unacceptable(other))),
    }
}
