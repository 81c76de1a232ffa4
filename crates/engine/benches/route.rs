//! Finding the queues of a message, and changing what there is to be found.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use leveret_codec::{Properties, TableBuf, TableBuilder};
use leveret_engine::{
    DestinationName, ExchangeKind, ExchangeSpec, QueueId, Routable, RouteSet, Topology,
};

const BINDINGS: u64 = 1_000;
const MANY_BINDINGS: u64 = 1_000_000;

fn topology(kind: ExchangeKind, bindings: u64, key: impl Fn(u64) -> String) -> Topology {
    let mut topology = Topology::new();
    topology.add_exchange(ExchangeSpec {
        name: "x".into(),
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: TableBuf::default(),
    });
    for number in 0..bindings {
        topology.add_queue(queue(number).into(), QueueId(number));
        bind(&mut topology, number, &key(number), &TableBuf::default());
    }
    topology
}

fn bind(topology: &mut Topology, number: u64, key: &str, arguments: &TableBuf) {
    let name = queue(number);
    let bound = topology.bind("x", DestinationName::Queue(&name), key, arguments);
    assert!(bound.is_ok());
}

fn queue(number: u64) -> String {
    format!("queue-{number}")
}

/// A key of three words, some with wildcards in patterns that share their beginnings.
fn pattern(number: u64) -> String {
    match number % 10 {
        0 => format!("stock.*.{number}"),
        1 => format!("stock.{}.#", number % 100),
        _ => format!("stock.{}.{number}", number % 100),
    }
}

fn routing(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    let mut routes = RouteSet::new();
    let mut run = |name: &str, topology: &Topology, exchange: &str, key: &str| {
        let (keys, properties) = ([key], Properties::default());
        let message = Routable { keys: &keys, properties: &properties, drawn: 0 };
        assert!(topology.route(exchange, message, &mut routes).is_ok(), "{name}");
        assert!(!routes.is_empty(), "{name}");
        group.bench_function(name, |b| {
            b.iter(|| {
                let found = topology.route(black_box(exchange), black_box(message), &mut routes);
                (found, routes.len())
            });
        });
    };
    let direct = topology(ExchangeKind::Direct, BINDINGS, queue);
    run("default", &direct, "", "queue-500");
    run("direct 1000", &direct, "x", "queue-500");
    let topic = topology(ExchangeKind::Topic, BINDINGS, pattern);
    run("topic 1000", &topic, "x", "stock.55.555");
    let topic = topology(ExchangeKind::Topic, BINDINGS, |number| format!("#.{number}.#"));
    run("topic 1000 two hashes", &topic, "x", "a.b.c.500.d.e");
    let topic = topology(ExchangeKind::Topic, MANY_BINDINGS, pattern);
    run("topic 1000000", &topic, "x", "stock.55.555");
    let fanout = topology(ExchangeKind::Fanout, 100, queue);
    run("fanout 100", &fanout, "x", "");
    group.finish();
}

/// A message refused because its keys lead to more and more nodes.
fn too_many_steps(c: &mut Criterion) {
    const STEPS_MAX: usize = 50_000;
    let mut topology = topology(ExchangeKind::Topic, 10_000, |number| {
        // Which words are `*` is as good as random.
        let bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let words = (0..60).map(|word| if bits >> word & 1 == 0 { "#.a" } else { "#.*" });
        words.collect::<Vec<_>>().join(".")
    });
    topology.set_steps_max(STEPS_MAX);
    let (key, properties) = (vec!["a"; 127].join("."), Properties::default());
    let message = Routable { keys: &[&*key], properties: &properties, drawn: 0 };
    let mut routes = RouteSet::new();
    c.bench_function("route/topic too many steps", |b| {
        assert!(topology.route("x", message, &mut routes).is_err());
        b.iter(|| topology.route("x", black_box(message), &mut routes));
    });
}

fn headers(c: &mut Criterion) {
    let mut topology = topology(ExchangeKind::Headers, 0, queue);
    for number in 0..BINDINGS {
        topology.add_queue(queue(number).into(), QueueId(number));
        let key = format!("header-{number}");
        let arguments = TableBuilder::new().put(&key, "yes").put("kind", "order").build();
        bind(&mut topology, number, "", &arguments);
    }
    let headers = TableBuilder::new().put("kind", "order").put("header-77", "yes").build();
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    let message = Routable { keys: &[""], properties: &properties, drawn: 0 };
    let mut routes = RouteSet::new();
    c.bench_function("route/headers 1000", |b| {
        b.iter(|| {
            let found = topology.route("x", black_box(message), &mut routes);
            (found, routes.len())
        });
    });
}

fn changes(c: &mut Criterion) {
    let mut topic = topology(ExchangeKind::Topic, MANY_BINDINGS, pattern);
    let mut removed = Vec::new();
    c.bench_function("bind and unbind, topic 1000000", |b| {
        b.iter(|| {
            bind(&mut topic, 500, "stock.*.new.#", &TableBuf::default());
            let destination = DestinationName::Queue("queue-500");
            topic.unbind("x", destination, "stock.*.new.#", &TableBuf::default(), &mut removed);
            removed.clear();
        });
    });
}

criterion_group!(benches, routing, too_many_steps, headers, changes);
criterion_main!(benches);
