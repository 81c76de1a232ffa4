//! What becomes of messages, told to an OpenTelemetry collector: one that takes OTLP over HTTP, and
//! reads its protobuf.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use leveret_tests::codec::{Properties, TableBuf, TableBuilder, Value, basic, queue, tx};
use leveret_tests::{
    Broker, Channel, ack, confirm_select, consume, declare, get, passive, publish, table,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// Longest wait for something that surely comes.
const PATIENCE: Duration = Duration::from_secs(60);

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector, and what it has been sent.
struct Collector {
    address: SocketAddr,
    requests: Receiver<(String, ExportTraceServiceRequest)>,
    /// Whether it answers 503.
    refuses: Arc<AtomicBool>,
    spans: Vec<Span>,
}

impl Collector {
    fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = sync_channel(64);
        let refuses = Arc::new(AtomicBool::new(false));
        let is_refusing = Arc::clone(&refuses);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let refuse = is_refusing.load(Ordering::Relaxed);
                let status = if refuse { "503 Service Unavailable" } else { "200 OK" };
                let taken = take(stream.unwrap(), status);
                if !refuse && seen.send(taken).is_err() {
                    return;
                }
            }
        });
        Self { address, requests, refuses, spans: Vec::new() }
    }

    /// Waits until there are spans of these names, among others, and takes them out, in this order.
    fn take<const N: usize>(&mut self, names: [&str; N]) -> [Span; N] {
        while !names.iter().all(|name| self.spans.iter().any(|span| span.name == *name)) {
            let (_, request) = self.requests.recv_timeout(PATIENCE).unwrap_or_else(|_| {
                let names: Vec<&str> = self.spans.iter().map(|span| &*span.name).collect();
                panic!("no more spans come; there are {names:?}");
            });
            let scopes = request.resource_spans.into_iter().flat_map(|of| of.scope_spans);
            self.spans.extend(scopes.flat_map(|of| of.spans));
        }
        names.map(|name| {
            let index = self.spans.iter().position(|span| span.name == name).unwrap();
            self.spans.remove(index)
        })
    }
}

/// Takes one request and answers it: its head, and what is in it.
fn take(stream: TcpStream, status: &str) -> (String, ExportTraceServiceRequest) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let head = head.to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap();
    let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
    (head, ExportTraceServiceRequest::decode(&*body).unwrap())
}

/// A broker that follows messages, to be told at `endpoint`.
fn following(endpoint: &str, more: &str) -> Option<Broker> {
    let config = format!(
        "management = \"none\"\nmetrics = \"none\"\n[tracing]\nendpoint = \"{endpoint}\"\n{more}"
    );
    Broker::configured(&config, "follows messages")
}

fn traceparent(flags: &str) -> TableBuf {
    let parent = format!("00-{TRACE}-{PARENT}-{flags}");
    TableBuilder::new()
        .put("traceparent", parent.as_str())
        .put("tracestate", "vendor=opaque")
        .build()
}

fn publish_with(channel: &Channel, queue: &str, headers: &TableBuf) {
    let properties = Properties {
        headers: Some(headers.as_table()),
        message_id: Some(b"m1"),
        correlation_id: Some(b"c1"),
        ..Properties::default()
    };
    channel.publish_with(&publish("", queue), &properties, b"hello");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Attributes as `key=value`.
fn attributes(span: &Span) -> Vec<String> {
    let mut all: Vec<String> = span
        .attributes
        .iter()
        .map(|one| {
            let value = match one.value.as_ref().unwrap().value.as_ref().unwrap() {
                Any::StringValue(text) => text.clone(),
                Any::IntValue(number) => number.to_string(),
                Any::BoolValue(is_so) => is_so.to_string(),
                other => format!("{other:?}"),
            };
            format!("{}={value}", one.key)
        })
        .collect();
    all.sort_unstable();
    all
}

/// Each span is below the one before.
fn assert_below_each_other(spans: &[&Span]) {
    for pair in spans.windows(2) {
        assert_eq!(pair[1].parent_span_id, pair[0].span_id, "{} {}", pair[0].name, pair[1].name);
        assert_eq!(pair[1].trace_id, pair[0].trace_id);
        assert!(pair[1].end_time_unix_nano >= pair[0].start_time_unix_nano);
    }
}

fn header(properties: Properties<'_>, name: &str) -> Option<String> {
    match properties.headers?.get(name)? {
        Value::LongStr(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_is_followed_from_its_publisher_to_its_acknowledgement() {
    let mut collector = Collector::start();
    let endpoint = format!("http://{}", collector.address);
    let Some(broker) = following(&endpoint, "service_name = \"orders\"\n") else { return };
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    channel.call(&consume("q", "t"));
    publish_with(&channel, "q", &traceparent("01"));
    let delivery = channel.recv();
    let expected = format!("00-{TRACE}-{PARENT}-01");
    assert_eq!(header(delivery.properties(), "traceparent"), Some(expected));
    channel.send(&ack(delivery.delivery_tag()));

    let (head, request) = collector.requests.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    let service = resource.attributes.iter().find(|one| one.key == "service.name").unwrap();
    let service = service.value.as_ref().unwrap().value.as_ref();
    assert_eq!(service, Some(&Any::StringValue("orders".to_owned())));
    let scopes = request.resource_spans.into_iter().flat_map(|of| of.scope_spans);
    collector.spans.extend(scopes.flat_map(|of| of.spans));

    let all = collector.take(["publish q", "route q", "queue q", "deliver q", "ack q"]);
    let [publish, route, queue, deliver, ack] = &all;
    assert!(all.iter().all(|span| hex(&span.trace_id) == TRACE));
    assert!(all.iter().all(|span| span.trace_state == "vendor=opaque"));
    assert_eq!(hex(&publish.parent_span_id), PARENT);
    assert_below_each_other(&[publish, route]);
    assert_below_each_other(&[publish, queue, deliver, ack]);
    let client = format!("{} -> {}", connection.local_address(), broker.address());
    let client = format!("messaging.client.id={client}");
    let expected = [
        "leveret.channel=1",
        "leveret.exchange=",
        "leveret.vhost=/",
        &client,
        "messaging.destination.name=q",
        "messaging.message.body.size=5",
        "messaging.message.conversation_id=c1",
        "messaging.message.id=m1",
        "messaging.operation.name=publish",
        "messaging.operation.type=send",
        "messaging.rabbitmq.destination.routing_key=q",
        "messaging.system=rabbitmq",
    ];
    assert_eq!(attributes(publish), expected);
    let has = |span: &Span, attribute: &str| attributes(span).iter().any(|one| one == attribute);
    assert!(has(route, "leveret.queues=1"));
    assert!(
        has(deliver, "messaging.operation.type=receive") && has(deliver, "leveret.consumer_tag=t")
    );
    assert!(has(ack, "messaging.operation.type=settle"));
}

#[test]
fn a_message_that_comes_back_goes_on_below_its_return() {
    let mut collector = Collector::start();
    let Some(broker) = following(&format!("http://{}/v1/traces", collector.address), "") else {
        return;
    };
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    publish_with(&channel, "q", &traceparent("01"));
    channel.call(&get("q"));
    channel.send(&basic::Reject { delivery_tag: 1, requeue: true });
    let got = channel.call(&basic::Get { queue: "q", no_ack: true });
    assert!(got.starts_with("basic.get-ok"), "{got}");
    let [publish, queue, first, requeue, again, second] =
        collector.take(["publish q", "queue q", "get q", "requeue q", "queue q", "get q"]);
    assert_below_each_other(&[&publish, &queue, &first, &requeue, &again, &second]);
    assert!(again.start_time_unix_nano >= requeue.start_time_unix_nano);
}

#[test]
fn a_dead_letter_is_followed_to_where_it_goes() {
    let mut collector = Collector::start();
    let Some(broker) = following(&format!("http://{}/v1/traces", collector.address), "") else {
        return;
    };
    let connection = broker.connect();
    let channel = connection.channel(1);
    let arguments = table([
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", "dead".into()),
    ]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    channel.call(&declare("dead"));
    channel.call(&consume("dead", "t"));

    // Rejected.
    publish_with(&channel, "q", &traceparent("01"));
    channel.call(&get("q"));
    channel.send(&basic::Reject { delivery_tag: 1, requeue: false });
    channel.send(&ack(channel.recv().delivery_tag()));
    let [publish, queue, got, reject, letter, again, deliver, settled] = collector.take([
        "publish q",
        "queue q",
        "get q",
        "reject q",
        "dead-letter dead",
        "queue dead",
        "deliver dead",
        "ack dead",
    ]);
    assert_below_each_other(&[
        &publish, &queue, &got, &reject, &letter, &again, &deliver, &settled,
    ]);
    assert!(attributes(&letter).contains(&"leveret.died=rejected".to_owned()));

    // Rejected in a transaction.
    publish_with(&channel, "q", &traceparent("01"));
    let transaction = connection.channel(2);
    transaction.call(&tx::Select {});
    transaction.call(&get("q"));
    transaction.send(&basic::Reject { delivery_tag: 1, requeue: false });
    assert_eq!(transaction.call(&tx::Commit {}), "tx.commit-ok");
    channel.send(&ack(channel.recv().delivery_tag()));
    let [reject, letter, again, _, _] =
        collector.take(["reject q", "dead-letter dead", "queue dead", "deliver dead", "ack dead"]);
    assert_below_each_other(&[&reject, &letter, &again]);
    collector.take(["publish q", "queue q", "get q"]);

    // Expired.
    let headers = traceparent("01");
    let expiring = Properties {
        headers: Some(headers.as_table()),
        expiration: Some(b"0"),
        ..Properties::default()
    };
    channel.publish_with(&leveret_tests::publish("", "q"), &expiring, b"");
    channel.recv();
    let [publish, queue, letter, again, deliver] =
        collector.take(["publish q", "queue q", "dead-letter dead", "queue dead", "deliver dead"]);
    assert_below_each_other(&[&publish, &queue, &letter, &again, &deliver]);
    assert!(attributes(&queue).contains(&"leveret.died=expired".to_owned()));
}

#[test]
fn a_persistent_message_is_followed_over_a_restart() {
    let mut collector = Collector::start();
    let Some(mut broker) = following(&format!("http://{}/v1/traces", collector.address), "") else {
        return;
    };
    let channel = broker.connect().channel(1);
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    channel.call(&confirm_select());
    let headers = traceparent("01");
    let persistent = Properties {
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    channel.publish_with(&publish("", "q"), &persistent, b"");
    assert_eq!(channel.recv(), "basic.ack 1");
    let [publish] = collector.take(["publish q"]);
    broker.kill9();
    broker.restart();
    let channel = broker.connect().channel(1);
    channel.call(&get("q"));
    let [queue, got] = collector.take(["queue q", "get q"]);
    assert_below_each_other(&[&publish, &queue, &got]);
}

#[test]
fn a_publisher_decides_and_else_the_ratio_does() {
    let mut collector = Collector::start();
    let url = format!("http://{}/v1/traces", collector.address);
    let Some(broker) = following(&url, "sample_ratio = 1\nheader = \"add\"\n") else { return };
    let channel = broker.connect().channel(1);
    for queue in ["without", "unsampled", "sampled", "broken"] {
        channel.call(&declare(queue));
    }
    publish_with(&channel, "unsampled", &traceparent("00"));
    channel.publish("", "without", b"");
    publish_with(&channel, "sampled", &traceparent("01"));
    let broken = table([("traceparent", "00-broken".into())]);
    publish_with(&channel, "broken", &broken);
    let [without, sampled, broken] =
        collector.take(["publish without", "publish sampled", "publish broken"]);
    assert_eq!(
        (hex(&sampled.trace_id), hex(&sampled.parent_span_id)),
        (TRACE.to_owned(), PARENT.to_owned())
    );
    assert!(without.parent_span_id.is_empty() && broken.parent_span_id.is_empty());
    // Consumers go on where nobody was before, and elsewhere as the publisher wants it.
    for (queue, span) in [("without", &without), ("broken", &broken)] {
        let expected = format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id));
        assert_eq!(header(channel.call(&get(queue)).properties(), "traceparent"), Some(expected));
    }
    for (queue, flags) in [("sampled", "01"), ("unsampled", "00")] {
        let expected = format!("00-{TRACE}-{PARENT}-{flags}");
        assert_eq!(header(channel.call(&get(queue)).properties(), "traceparent"), Some(expected));
    }
    collector.take(["get without", "get broken", "get sampled"]);
    assert!(collector.spans.iter().all(|span| !span.name.contains("unsampled")));
}

#[test]
fn consumers_can_go_on_below_the_broker() {
    let mut collector = Collector::start();
    let url = format!("http://{}/v1/traces", collector.address);
    let Some(broker) = following(&url, "header = \"replace\"\n") else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    publish_with(&channel, "q", &traceparent("01"));
    let got = channel.call(&get("q"));
    let [publish] = collector.take(["publish q"]);
    let expected = format!("00-{TRACE}-{}-01", hex(&publish.span_id));
    assert_eq!(header(got.properties(), "traceparent"), Some(expected));
    assert_eq!(header(got.properties(), "tracestate").as_deref(), Some("vendor=opaque"));
    // By default what comes without a trace is not followed.
    channel.publish("", "q", b"");
    assert_eq!(channel.call(&get("q")).properties(), Properties::default());
}

#[test]
fn a_collector_that_refuses_costs_spans_only() {
    let mut collector = Collector::start();
    collector.refuses.store(true, Ordering::Relaxed);
    let url = format!("http://{}/v1/traces", collector.address);
    let Some(broker) = following(&url, "sample_ratio = 1\n") else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", b"");
    let line = broker.await_line("spans can't be sent to");
    assert!(line.contains("it answered 503"), "{line}");
    // More than have room, each with two spans.
    (0..6000).for_each(|_| channel.publish("", "q", b""));
    let answer = channel.call(&passive("q"));
    assert_eq!(answer, "queue.declare-ok q 6001 0");
    collector.refuses.store(false, Ordering::Relaxed);
    collector.take(["publish q"]);
    let line = broker.await_line("spans are sent to");
    assert!(!line.contains("; 0 were lost"), "{line}");
    assert_eq!(broker.log().matches("spans can't be sent").count(), 1);
}

#[test]
fn a_collector_that_is_not_there_costs_spans_only() {
    // Nobody listens where nobody has yet.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}/v1/traces");
    let Some(broker) = following(&url, "sample_ratio = 1\n") else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", b"");
    let line = broker.await_line("spans can't be sent to");
    assert!(line.contains("refused"), "{line}");
    (0..6000).for_each(|_| channel.publish("", "q", b""));
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 6001 0");
    let mut collector = Collector::at(address);
    collector.take(["publish q"]);
    let line = broker.await_line("spans are sent to");
    assert!(!line.contains("; 0 were lost"), "{line}");
}
