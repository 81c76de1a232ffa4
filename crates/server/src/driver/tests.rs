use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use leveret_auth::Backends;
use leveret_broker::{Broker, BrokerOptions, DeclareExchange, DeclareQueue, Session, Turn};
use leveret_codec::{
    Frame, Method, PROTOCOL_HEADER, TableBuf, TableBuilder, basic, channel, connection,
    encode_content, queue, split,
};
use leveret_engine::DestinationName;
use leveret_store::{MemDisk, StoreOptions};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::Config;
use crate::{alarms, server, socket};

/// Sends what it has, and then has whoever reads it panic, or nothing more to say.
struct Client {
    says: Cursor<Vec<u8>>,
    panics: bool,
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.says).poll_read(context, buffer);
        let is_over = buffer.filled().len() == before;
        assert!(!is_over || !std::mem::take(&mut self.panics), "as the test wants it");
        read
    }
}

/// A broker, and a socket whose other end is the client's.
async fn stage() -> (Arc<Context>, Writer, TcpStream) {
    let store = StoreOptions { first_segment_bytes: 64 << 10, ..StoreOptions::default() };
    let options = BrokerOptions { store, ..BrokerOptions::default() };
    let broker = Broker::open(Arc::new(MemDisk::new()), Path::new("/"), &options).unwrap();
    let config = Config::default();
    let shortage = alarms::set_up(&broker, &config.alarms);
    let backends = Arc::new(Backends::new(&config.auth.backends, broker.access()));
    let context = Arc::new(server::context(&broker, &config, &backends, shortage));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (_, writer) = socket::plain(listener.accept().await.unwrap().0);
    (context, writer, client)
}

/// Serves a client who says this after the handshake, and gives the last method it got.
async fn serve_client(says: &[u8], panics: bool) -> (Arc<Context>, Vec<u8>) {
    let (context, writer, mut client) = stage().await;
    let mut bytes = handshake();
    bytes.extend_from_slice(says);
    let reader = Reader::Scripted(Box::new(Client { says: Cursor::new(bytes), panics }));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 5672));
    let peer = Peer { address, local: address, tls: None, certificate: None };
    let guest = context.admission.admit(address.ip(), &context.amqp).unwrap();
    serve((reader, writer), peer, guest, Arc::clone(&context), CancellationToken::new()).await;
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    (context, got)
}

fn handshake() -> Vec<u8> {
    let mut out = PROTOCOL_HEADER.to_vec();
    let properties = TableBuf::default();
    connection::StartOk {
        client_properties: properties.as_table(),
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    }
    .encode_frame(0, &mut out);
    connection::TuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 0 }
        .encode_frame(0, &mut out);
    connection::Open { virtual_host: "/" }.encode_frame(0, &mut out);
    out
}

/// A queue of its own, and one for all with a message that it holds.
fn work() -> Vec<u8> {
    let mut out = Vec::new();
    channel::Open {}.encode_frame(1, &mut out);
    let none = TableBuf::default();
    let declare = |queue, exclusive| queue::Declare {
        queue,
        passive: false,
        durable: false,
        exclusive,
        auto_delete: false,
        nowait: false,
        arguments: none.as_table(),
    };
    declare("own", true).encode_frame(1, &mut out);
    declare("shared", false).encode_frame(1, &mut out);
    basic::Publish { exchange: "", routing_key: "shared", mandatory: false, immediate: false }
        .encode_frame(1, &mut out);
    encode_content(1, &[0, 0], b"held", 131_072, &mut out);
    basic::Get { queue: "shared", no_ack: false }.encode_frame(1, &mut out);
    out
}

fn last_method(mut bytes: &[u8]) -> String {
    let mut last = String::new();
    while let Ok(Some((Frame { payload, .. }, length))) = split(bytes, 131_072) {
        if let Ok(method) = Method::decode(payload) {
            last = format!("{method:?}");
        }
        bytes = &bytes[length..];
    }
    last
}

/// What its client held goes back, what was its own goes, and the client is told.
#[tokio::test]
async fn a_panic_costs_its_connection_only() {
    let (context, got) = serve_client(&work(), true).await;
    let last = last_method(&got);
    assert!(last.starts_with("ConnectionClose(Close { reply_code: 541"), "{last}");
    let vhost = context.broker.vhost("/").unwrap();
    let queues: Vec<_> = vhost.queues();
    let [shared] = queues.as_slice() else { panic!("{}", queues.len()) };
    assert_eq!(
        (&**shared.name(), shared.status().ready, shared.status().unacked),
        ("shared", 1, 0)
    );
    assert_eq!(context.broker.connections().len(), 0);
    assert_eq!(context.admission.counts().guests, 0);
}

#[tokio::test]
async fn without_one_the_same_client_is_served() {
    let (context, got) = serve_client(&work(), false).await;
    assert!(last_method(&got).starts_with("BasicGetOk"), "{}", last_method(&got));
    assert_eq!(context.broker.connections().len(), 0);
}

/// Each message pushes the one before out of `q`, from where it has a long way to go.
fn long_way(context: &Context) {
    let user = context.broker.access().user("guest").unwrap();
    let mut session = Session::open(&context.broker, user, "/", "test".into(), None).unwrap();
    session.begin(clock::now());
    let none = TableBuf::default();
    let wide = DeclareExchange {
        name: "wide",
        kind: "fanout",
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: none.as_table(),
    };
    session.declare_exchange(wide).unwrap();
    let dead_lettering =
        TableBuilder::new().put("x-max-length", 1).put("x-dead-letter-exchange", "wide").build();
    for (name, arguments) in [("q", &dead_lettering), ("dead", &none)] {
        let queue = DeclareQueue {
            name,
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: arguments.as_table(),
        };
        session.declare_queue(queue).unwrap();
    }
    for number in 0..8_000 {
        let (to, key) = (DestinationName::Queue("dead"), number.to_string());
        session.bind("wide", to, &key, none.as_table()).unwrap();
    }
    session.close(usize::MAX);
}

/// Or ever more would wait, in memory. It ends as well when the broker has the time.
#[tokio::test]
async fn nothing_is_read_from_a_publisher_that_outruns_its_dead_letters() {
    const MESSAGES: u64 = 1_000;
    let (context, writer, _client) = stage().await;
    long_way(&context);
    let mut says = handshake();
    channel::Open {}.encode_frame(1, &mut says);
    for _ in 0..MESSAGES {
        basic::Publish { exchange: "", routing_key: "q", mandatory: false, immediate: false }
            .encode_frame(1, &mut says);
        encode_content(1, &[0, 0], b"", 131_072, &mut says);
    }
    let reader = Reader::Scripted(Box::new(Client { says: Cursor::new(says), panics: false }));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 5672));
    let peer = Peer { address, local: address, tls: None, certificate: None };
    let guest = context.admission.admit(address.ip(), &context.amqp).unwrap();
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve((reader, writer), peer, guest, Arc::clone(&context), stop));
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert!(!served.is_finished());
    let (broker, mut turn) = (&context.broker, Turn::new());
    while broker.dead_letter_counts().dead_lettered.max_length < MESSAGES - 1 {
        let _ = broker.tick(clock::now(), &mut turn);
        tokio::task::yield_now().await;
    }
    served.await.unwrap();
}

/// They come before it is silent for long, again and again.
#[tokio::test]
async fn a_client_that_sends_heartbeats_only_keeps_no_room_for_work() {
    let (context, writer, _client) = stage().await;
    let heartbeat = Cursor::new(b"\x08\0\0\0\0\0\0\xce".to_vec());
    let reader = Reader::Scripted(Box::new(Client { says: heartbeat.clone(), panics: false }));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 5672));
    let peer = Peer { address, local: address, tls: None, certificate: None };
    let guest = context.admission.admit(address.ip(), &context.amqp).unwrap();
    let stop = CancellationToken::new();
    let (mut driver, _writes) = Driver::start((reader, writer), peer, guest, context, stop);
    driver.connection.receive(&handshake(), clock::now());
    assert!(driver.connection.has_worked());
    driver.connection.receive(&heartbeat.into_inner(), clock::now());
    assert!(!driver.connection.has_worked());

    driver.read_size = READ_MAX;
    driver.buffer.reserve(READ_MAX);
    driver.worked_at = Some(Instant::now() - 2 * IDLE);
    assert!(matches!(driver.read().await, Ok(Input::Bytes)));
    assert_eq!((driver.read_size, driver.worked_at), (READ_MIN, None));
    assert!(driver.buffer.capacity() < READ_MAX);
}
