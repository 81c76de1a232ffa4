//! Counts what the broker allocates for small transient messages in steady state: nothing.
//!
//! The broker runs in this process; the client beside it sends frames made beforehand and reads into
//! a fixed buffer, so that every allocation counted is the broker's.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use leveret::TestBroker;
use leveret_codec::{
    Method, PROTOCOL_HEADER, Table, basic, channel, confirm, connection, encode_content, queue,
    split,
};

#[global_allocator]
static COUNTING: dhat::Alloc = dhat::Alloc;

const MESSAGES: usize = 20_000;
const BATCH: usize = 100;
/// What a whole run may allocate: now and then a buffer grows, a block of messages is replaced.
const ALLOWED: u64 = MESSAGES as u64 / 200;

/// One test, as the counters are the process's.
#[test]
fn small_transient_messages_allocate_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let broker = TestBroker::start().unwrap();
    for scenario in [Scenario::AutoAck, Scenario::ManualAck, Scenario::Confirms] {
        let mut run = Run::new(&broker, scenario);
        run.messages(2 * MESSAGES);
        // What the broker does in the background, such as writing definitions, may fall into a
        // count: the least of several is that of the messages.
        let counts = (0..6).map(|_| {
            let before = dhat::HeapStats::get().total_blocks;
            run.messages(MESSAGES);
            dhat::HeapStats::get().total_blocks - before
        });
        let allocated = counts.min().unwrap();
        println!("{scenario:?}: {allocated} allocations for {MESSAGES} messages");
        assert!(allocated <= ALLOWED, "{scenario:?}: {allocated} for {MESSAGES} messages");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    /// A consumer that settles nothing.
    AutoAck,
    /// A consumer that acknowledges each batch, single messages.
    ManualAck,
    /// A publisher with confirms and an auto-ack consumer.
    Confirms,
}

struct Run {
    scenario: Scenario,
    publisher: Client,
    consumer: Client,
    batch: Vec<u8>,
    acks: Vec<u8>,
    /// A method with an answer.
    barrier: Vec<u8>,
    next_tag: u64,
    confirmed: u64,
}

impl Run {
    fn new(broker: &TestBroker, scenario: Scenario) -> Self {
        let mut publisher = Client::open(broker);
        let mut consumer = Client::open(broker);
        let queue = format!("{scenario:?}");
        publisher.call(&Method::QueueDeclare(queue::Declare {
            queue: &queue,
            passive: false,
            durable: false,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: Table::EMPTY,
        }));
        if scenario == Scenario::Confirms {
            publisher.call(&Method::ConfirmSelect(confirm::Select { nowait: false }));
        }
        consumer.call(&Method::BasicConsume(basic::Consume {
            queue: &queue,
            consumer_tag: "c",
            no_local: false,
            no_ack: scenario != Scenario::ManualAck,
            exclusive: false,
            nowait: false,
            arguments: Table::EMPTY,
        }));
        let mut batch = Vec::new();
        for _ in 0..BATCH {
            let publish = basic::Publish {
                exchange: "",
                routing_key: &queue,
                mandatory: false,
                immediate: false,
            };
            publish.encode_frame(1, &mut batch);
            encode_content(1, &[0, 0], b"0123456789abcdef", 131_072, &mut batch);
        }
        let acks = Vec::with_capacity(BATCH * 32);
        let mut barrier = Vec::new();
        let qos = basic::Qos { prefetch_size: 0, prefetch_count: 0, global: false };
        qos.encode_frame(1, &mut barrier);
        Self { scenario, publisher, consumer, batch, acks, barrier, next_tag: 1, confirmed: 0 }
    }

    /// Publishes in batches, each received (and settled) before the next.
    fn messages(&mut self, count: usize) {
        for _ in 0..count / BATCH {
            self.publisher.stream.write_all(&self.batch).unwrap();
            // Deliver, header and body for each message.
            self.consumer.frames(BATCH * 3, |_| {});
            match self.scenario {
                Scenario::AutoAck => {}
                Scenario::ManualAck => {
                    self.acks.clear();
                    for _ in 0..BATCH {
                        let delivery_tag = self.next_tag;
                        self.next_tag += 1;
                        basic::Ack { delivery_tag, multiple: false }
                            .encode_frame(1, &mut self.acks);
                    }
                    // Its answer says that the broker has dealt with those: what waits for its
                    // settlement keeps memory, however busy the machine is.
                    self.acks.extend_from_slice(&self.barrier);
                    self.consumer.stream.write_all(&self.acks).unwrap();
                    self.consumer.frames(1, |_| {});
                }
                Scenario::Confirms => {
                    let goal = self.confirmed + BATCH as u64;
                    while self.confirmed < goal {
                        let confirmed = &mut self.confirmed;
                        self.publisher.frames(1, |method| {
                            if let Method::BasicAck(ack) = method {
                                *confirmed = ack.delivery_tag;
                            }
                        });
                    }
                }
            }
        }
    }
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Client {
    /// Connects and opens channel 1.
    fn open(broker: &TestBroker) -> Self {
        let stream = TcpStream::connect(broker.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut client = Self { stream, buffer: vec![0; 256 * 1024], filled: 0 };
        client.stream.write_all(&PROTOCOL_HEADER).unwrap();
        client.frames(1, |_| {});
        client.call(&Method::ConnectionStartOk(connection::StartOk {
            client_properties: Table::EMPTY,
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            locale: "en_US",
        }));
        let tune = connection::TuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 0 };
        client.send(0, &Method::ConnectionTuneOk(tune));
        client.call(&Method::ConnectionOpen(connection::Open { virtual_host: "/" }));
        client.call(&Method::ChannelOpen(channel::Open {}));
        client
    }

    /// Sends a method and waits for its answer.
    fn call(&mut self, method: &Method<'_>) {
        let number = if method.id().class == 10 { 0 } else { 1 };
        self.send(number, method);
        self.frames(1, |_| {});
    }

    fn send(&mut self, number: u16, method: &Method<'_>) {
        let mut out = Vec::new();
        method.encode_frame(number, &mut out);
        self.stream.write_all(&out).unwrap();
    }

    /// Reads this many frames.
    fn frames(&mut self, mut count: usize, mut each: impl FnMut(Method<'_>)) {
        let mut at = 0;
        loop {
            while count > 0 {
                let Some((frame, length)) = split(&self.buffer[at..self.filled], 0).unwrap() else {
                    break;
                };
                if let Ok(method) = Method::decode(frame.payload) {
                    each(method);
                }
                at += length;
                count -= 1;
            }
            self.buffer.copy_within(at..self.filled, 0);
            self.filled -= at;
            at = 0;
            if count == 0 {
                return;
            }
            let read = self.stream.read(&mut self.buffer[self.filled..]).unwrap();
            assert!(read > 0, "the broker hung up");
            self.filled += read;
        }
    }
}
