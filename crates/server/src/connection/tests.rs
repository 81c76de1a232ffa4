use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use leveret_broker::{BrokerOptions, DeclareExchange, DeclareQueue, Publish, Resource};
use leveret_codec::{
    Properties, Table, TableBuf, TableBuilder, basic, channel, encode_content, exchange, queue, tx,
};
use leveret_engine::{Body, DestinationName};
use leveret_store::{MemDisk, StoreOptions};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Config;
use crate::outbox::{Segments, Work};
use crate::{alarms, server};

const NOW: Millis = Millis(1_700_000_000_000);
const FRAME_MAX: u32 = 131_072;

/// A client's connection, and whoever else is there.
struct Bench {
    context: Arc<Context>,
    outbox: Arc<Outbox>,
    connection: Connection,
    others: Session,
}

impl Bench {
    fn new() -> Self {
        let store = StoreOptions { first_segment_bytes: 64 << 10, ..StoreOptions::default() };
        let options = BrokerOptions { store, ..BrokerOptions::default() };
        let broker = Broker::open(Arc::new(MemDisk::new()), Path::new("/"), &options).unwrap();
        let config = Config::default();
        let shortage = alarms::set_up(&broker, &config.alarms);
        let backends = Arc::new(Backends::new(&config.auth.backends, broker.access()));
        let context = Arc::new(server::context(&broker, &config, &backends, shortage));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 5672));
        let guest = context.admission.admit(address.ip(), &context.amqp).unwrap();
        let outbox = Outbox::new(&context);
        let peer = Peer { address, local: address, tls: None, certificate: None };
        let control = Arc::new(Control::new(Arc::clone(&outbox), CancellationToken::new()));
        let connection = Connection::new(Arc::clone(&context), control, peer, guest);
        let user = broker.access().user("guest").unwrap();
        let mut others = Session::open(&broker, user, "/", "others".into(), None).unwrap();
        others.begin(NOW);
        let mut bench = Self { context, outbox, connection, others };
        bench.log_in();
        bench
    }

    /// With a channel.
    fn log_in(&mut self) {
        let mut out = PROTOCOL_HEADER.to_vec();
        let properties = TableBuf::default();
        connection::StartOk {
            client_properties: properties.as_table(),
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            locale: "en_US",
        }
        .encode_frame(0, &mut out);
        connection::TuneOk { channel_max: 10, frame_max: FRAME_MAX, heartbeat: 0 }
            .encode_frame(0, &mut out);
        connection::Open { virtual_host: "/" }.encode_frame(0, &mut out);
        channel::Open {}.encode_frame(1, &mut out);
        let received = self.connection.receive(&out, NOW);
        assert_eq!((received.consumed, received.next), (out.len(), Next::Read));
        assert!(self.told().last().is_some_and(|last| last.starts_with("ChannelOpenOk")));
    }

    /// The methods the client has been sent since the last time.
    fn told(&self) -> Vec<String> {
        let (mut segments, mut sent) = (Segments::default(), Vec::new());
        let store = self.context.broker.store();
        while let Work::Write = self.outbox.take(store.durable_lsn(), &mut segments) {
            segments.slices().iter().for_each(|slice| sent.extend_from_slice(slice));
            segments.clear();
        }
        let (mut rest, mut methods) = (&*sent, Vec::new());
        while let Ok(Some((frame, length))) = split(rest, FRAME_MAX) {
            methods.extend(Method::decode(frame.payload).map(|method| format!("{method:?}")));
            rest = &rest[length..];
        }
        methods
    }

    fn declare_exchange(&mut self, name: &str, kind: &str, arguments: &TableBuf) {
        let exchange = DeclareExchange {
            name,
            kind,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: arguments.as_table(),
        };
        self.others.declare_exchange(exchange).unwrap();
    }

    fn declare_queue(&mut self, name: &str) {
        let queue = DeclareQueue {
            name,
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: Table::EMPTY,
        };
        self.others.declare_queue(queue).unwrap();
    }

    fn bind(&mut self, source: &str, queue: &str) {
        let none = TableBuf::default();
        let queue = DestinationName::Queue(queue);
        self.others.bind(source, queue, "", none.as_table()).unwrap();
    }

    /// How many there are.
    fn queues(&self) -> usize {
        self.others.vhost().queue_names().len()
    }

    fn ready(&self, queue: &str) -> usize {
        usize::try_from(self.others.vhost().queue(queue).unwrap().status().ready).unwrap()
    }
}

const KEPT: usize = 5000;
const QUEUES: usize = 3;

/// With a history of `x`, and queues behind `all`.
fn kept() -> Bench {
    let mut bench = Bench::new();
    let length =
        TableBuilder::new().put("x-recent-history-length", i64::try_from(KEPT).unwrap()).build();
    bench.declare_exchange("x", "x-recent-history", &length);
    bench.declare_exchange("all", "fanout", &TableBuf::default());
    for number in 0..QUEUES {
        bench.declare_queue(&number.to_string());
        bench.bind("all", &number.to_string());
    }
    for _ in 0..KEPT {
        let kept = Publish {
            channel: 1,
            exchange: "x",
            routing_key: "k",
            properties: &Properties::default(),
            raw_properties: &[0, 0],
            body: Body::Copy(b"kept"),
            replies_to: None,
        };
        let _ = bench.others.publish(kept, None).unwrap();
    }
    bench.others.flush(&mut Vec::new());
    bench.others.finish();
    bench
}

/// Binds `all` to `x`, publishes to the first queue, and purges that.
fn binding() -> Vec<u8> {
    let none = TableBuf::default();
    let mut out = Vec::new();
    exchange::Bind {
        destination: "all",
        source: "x",
        routing_key: "",
        nowait: false,
        arguments: none.as_table(),
    }
    .encode_frame(1, &mut out);
    basic::Publish { exchange: "", routing_key: "0", mandatory: false, immediate: false }
        .encode_frame(1, &mut out);
    encode_content(1, &[0, 0], b"later", FRAME_MAX, &mut out);
    queue::Purge { queue: "0", nowait: false }.encode_frame(1, &mut out);
    out
}

fn answers() -> [String; 2] {
    let purged = format!("QueuePurgeOk(PurgeOk {{ message_count: {} }})", KEPT + 1);
    ["ExchangeBindOk(BindOk)".to_owned(), purged]
}

/// Whoever is given much by a new binding has it in several turns: its thread serves others between them, who may
/// also change what is in the vhost. What it asks for behind the binding waits.
#[test]
fn a_new_binding_is_given_its_history_turn_by_turn() {
    let (mut bench, input) = (kept(), binding());
    let (mut turns, mut consumed, mut given) = (0, 0, 0);
    loop {
        let received = bench.connection.receive(&input[consumed..], NOW);
        consumed += received.consumed;
        turns += 1;
        if received.next == Next::Read {
            break;
        }
        assert_eq!(received.next, Next::Yield);
        let before = std::mem::replace(&mut given, bench.ready("0"));
        assert!((given - before) * QUEUES <= TURN_PLACES + QUEUES, "{before}, {given}");
        assert_eq!(bench.told(), [""; 0], "it has no answer yet");
        bench.declare_queue(&format!("of others {turns}"));
    }
    assert_eq!(turns, (KEPT * QUEUES).div_ceil(TURN_PLACES));
    assert_eq!(consumed, input.len());
    assert_eq!(bench.told(), answers());
    assert_eq!([bench.ready("1"), bench.ready("2")], [KEPT; 2]);
}

/// What stands behind the bind may be what ends the alarm: acknowledgements, or a purge as here.
#[test]
fn an_alarm_ends_a_history() {
    let (mut bench, input) = (kept(), binding());
    let begun = bench.connection.receive(&input, NOW);
    assert_eq!(begun.next, Next::Yield);
    let given = bench.ready("1");
    let context = Arc::clone(&bench.context);
    let alarms = context.broker.alarms();
    alarms.set_limit(Resource::Memory, Some(1));
    alarms.pretend(Resource::Memory, Some(u64::MAX));
    let mut input = Vec::new();
    queue::Purge { queue: "0", nowait: false }.encode_frame(1, &mut input);
    let received = bench.connection.receive(&input, NOW);
    assert_eq!((received.consumed, received.next), (input.len(), Next::Read));
    let purged = format!("QueuePurgeOk(PurgeOk {{ message_count: {given} }})");
    assert_eq!(bench.told(), ["ExchangeBindOk(BindOk)".to_owned(), purged]);
    assert_eq!([bench.ready("0"), bench.ready("1")], [0, given]);
}

#[test]
fn the_rest_of_a_history_ends_with_its_connection() {
    let (mut bench, input) = (kept(), binding());
    let begun = bench.connection.receive(&input, NOW);
    bench.connection.close_for_operator("enough");
    let given = bench.ready("0");
    let over = bench.connection.receive(&input[begun.consumed..], NOW);
    assert_eq!((over.next, bench.ready("0")), (Next::Read, given));
    let told = bench.told();
    assert!(told.len() == 1 && told[0].starts_with("ConnectionClose("), "{told:?}");
}

/// Its thread serves others between them, who see the names free once the client hears that it is over.
#[test]
fn very_many_exclusive_queues_go_turn_by_turn() {
    const OWN: usize = TURN_PLACES + 100;
    let mut bench = Bench::new();
    let mut input = Vec::new();
    for number in 0..OWN {
        let (name, arguments) = (number.to_string(), Table::EMPTY);
        queue::Declare {
            queue: &name,
            passive: false,
            durable: false,
            exclusive: true,
            auto_delete: false,
            nowait: true,
            arguments,
        }
        .encode_frame(1, &mut input);
        queue::Bind {
            queue: &name,
            exchange: "amq.fanout",
            routing_key: "",
            nowait: true,
            arguments,
        }
        .encode_frame(1, &mut input);
    }
    let mut consumed = 0;
    while consumed < input.len() {
        consumed += bench.connection.receive(&input[consumed..], NOW).consumed;
    }
    assert_eq!(bench.queues(), OWN);
    let mut close = Vec::new();
    connection::Close { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 }
        .encode_frame(0, &mut close);
    let closed = bench.connection.receive(&close, NOW);
    assert_eq!(closed.next, Next::Close);
    let (mut turns, mut before) = (1, OWN);
    while bench.connection.is_leaving() {
        assert_eq!(bench.told(), [""; 0], "it has no answer yet");
        let now = bench.queues();
        // Each with its binding.
        assert!(before - now <= TURN_PLACES / 2, "{before}, {now}");
        before = now;
        bench.connection.leave(NOW);
        turns += 1;
    }
    assert_eq!((turns, bench.queues()), ((2 * OWN).div_ceil(TURN_PLACES), 0));
    assert_eq!(bench.told(), ["ConnectionCloseOk(CloseOk)"]);
}

/// The other messages are in their queues all the same: their publisher waits for the disk as any other.
#[test]
fn a_commit_that_is_refused_in_part_has_published() {
    let mut bench = Bench::new();
    bench.declare_queue("q");
    let refusing = TableBuilder::new().put("x-max-length", 0).put("x-overflow", "reject-publish");
    let refusing = refusing.build();
    let full = DeclareQueue {
        name: "full",
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: refusing.as_table(),
    };
    bench.others.declare_queue(full).unwrap();
    let mut out = Vec::new();
    tx::Select {}.encode_frame(1, &mut out);
    for routing_key in ["q", "full"] {
        basic::Publish { exchange: "", routing_key, mandatory: false, immediate: false }
            .encode_frame(1, &mut out);
        encode_content(1, &[0, 0], b"m", FRAME_MAX, &mut out);
    }
    tx::Commit {}.encode_frame(1, &mut out);
    bench.connection.receive(&out, NOW);
    assert!(bench.connection.has_published());
    let told = bench.told().pop().unwrap();
    assert!(told.contains("PRECONDITION_FAILED - partial tx completion"), "{told}");
    assert_eq!(bench.ready("q"), 1);
}

/// As many more queues than go in a turn, each with a consumer, without whom it is to go.
const USED: usize = TURN_PLACES + 100;

fn used() -> Bench {
    let mut bench = Bench::new();
    let mut input = Vec::new();
    for number in 0..USED {
        let (name, arguments) = (number.to_string(), Table::EMPTY);
        queue::Declare {
            queue: &name,
            passive: false,
            durable: false,
            exclusive: false,
            auto_delete: true,
            nowait: true,
            arguments,
        }
        .encode_frame(1, &mut input);
        basic::Consume {
            queue: &name,
            consumer_tag: "",
            no_local: false,
            no_ack: true,
            exclusive: false,
            nowait: true,
            arguments,
        }
        .encode_frame(1, &mut input);
    }
    let mut consumed = 0;
    while consumed < input.len() {
        consumed += bench.connection.receive(&input[consumed..], NOW).consumed;
    }
    assert_eq!(bench.queues(), USED);
    bench
}

/// As exclusive queues do, and the client's next word counts once they are gone.
#[test]
fn very_many_queues_without_their_consumers_go_turn_by_turn() {
    let mut bench = used();
    let (mut close, mut open) = (Vec::new(), Vec::new());
    channel::Close { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 }
        .encode_frame(1, &mut close);
    channel::Open {}.encode_frame(2, &mut open);
    assert_eq!(bench.connection.receive(&close, NOW).consumed, close.len());
    assert_eq!((bench.told().len(), bench.queues()), (1, USED - TURN_PLACES));
    // Also if it has none.
    assert!(bench.connection.has_more_to_do());
    let received = bench.connection.receive(&open, NOW);
    assert_eq!((received.consumed, received.next), (0, Next::Yield));
    assert_eq!((bench.told().len(), bench.queues()), (0, 0));
    assert!(!bench.connection.has_more_to_do());
    assert_eq!(bench.connection.receive(&open, NOW).consumed, open.len());
    assert_eq!(bench.told().len(), 1);
}

#[test]
fn very_many_queues_without_their_consumers_go_turn_by_turn_with_their_connection() {
    let mut bench = used();
    bench.connection.end(NOW);
    assert_eq!((bench.connection.is_leaving(), bench.queues()), (true, USED - TURN_PLACES));
    bench.connection.leave(NOW);
    assert_eq!((bench.connection.is_leaving(), bench.queues()), (false, 0));
}
