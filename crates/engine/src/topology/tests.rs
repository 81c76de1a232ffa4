//! The topology against a naive model, under random histories, and the rules one by one.

mod model;

use leveret_codec::{Properties, TableBuilder, Value};

use super::*;

fn exchange(name: &str, kind: ExchangeKind) -> ExchangeSpec {
    ExchangeSpec {
        name: name.into(),
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: TableBuf::default(),
    }
}

fn with_alternate(name: &str, kind: ExchangeKind, alternate: &str) -> ExchangeSpec {
    let arguments = TableBuilder::new().put("alternate-exchange", alternate).build();
    ExchangeSpec { arguments, ..exchange(name, kind) }
}

/// A topology with the exchanges given and the queues `q0` to `q3`, whose ids are 0 to 3.
fn topology(exchanges: impl IntoIterator<Item = ExchangeSpec>) -> Topology {
    let mut topology = Topology::new();
    for spec in exchanges {
        topology.add_exchange(spec);
    }
    for number in 0..4 {
        assert!(topology.add_queue(format!("q{number}").into(), QueueId(number)));
    }
    topology
}

fn bind(topology: &mut Topology, source: &str, queue: &str, key: &str) -> Bound {
    let destination = DestinationName::Queue(queue);
    topology.bind(source, destination, key, &TableBuf::default()).unwrap()
}

fn bind_exchange(topology: &mut Topology, source: &str, exchange: &str, key: &str) {
    let destination = DestinationName::Exchange(exchange);
    topology.bind(source, destination, key, &TableBuf::default()).unwrap();
}

fn routed(topology: &Topology, exchange: &str, keys: &[&str]) -> Vec<u64> {
    let mut routes = RouteSet::new();
    let message = Routable { keys, properties: &Properties::default(), drawn: 0 };
    topology.route(exchange, message, &mut routes).unwrap();
    let mut queues: Vec<_> = routes.as_slice().iter().map(|queue| queue.0).collect();
    queues.sort_unstable();
    queues
}

/// `source>destination` for bindings, the bare name for exchanges.
fn shown(removed: &[Removed]) -> Vec<String> {
    removed
        .iter()
        .map(|removed| match removed {
            Removed::Binding(RemovedBinding { source, destination, .. }) => match destination {
                RemovedDestination::Queue(name) | RemovedDestination::Exchange(name) => {
                    format!("{source}>{name}")
                }
            },
            Removed::Exchange(spec) => spec.name.to_string(),
        })
        .collect()
}

#[test]
fn the_default_exchange_routes_to_the_queue_named_by_the_key() {
    let topology = topology([]);
    assert_eq!(routed(&topology, "", &["q1"]), [1]);
    assert_eq!(routed(&topology, "", &["q1", "q2", "nobody", "q1"]), [1, 2]);
    assert_eq!(routed(&topology, "nowhere", &["q1"]), []);
    assert!(topology.exchange("").is_none());
}

#[test]
fn a_queue_gets_one_copy_however_many_bindings_match() {
    let mut topology = topology([exchange("t", ExchangeKind::Topic)]);
    bind(&mut topology, "t", "q0", "a.*");
    bind(&mut topology, "t", "q0", "#");
    bind(&mut topology, "t", "q1", "*.b");
    assert_eq!(routed(&topology, "t", &["a.b", "b.b"]), [0, 1]);
}

#[test]
fn carbon_copy_keys_route_in_every_kind_of_exchange() {
    let mut topology = topology([exchange("d", ExchangeKind::Direct)]);
    bind(&mut topology, "d", "q0", "k0");
    bind(&mut topology, "d", "q1", "k1");
    assert_eq!(routed(&topology, "d", &["k0", "k1"]), [0, 1]);
}

#[test]
fn exchanges_bound_in_a_circle_are_visited_once() {
    let mut topology =
        topology([exchange("a", ExchangeKind::Fanout), exchange("b", ExchangeKind::Fanout)]);
    bind_exchange(&mut topology, "a", "b", "");
    bind_exchange(&mut topology, "b", "a", "");
    bind_exchange(&mut topology, "a", "a", "");
    bind(&mut topology, "a", "q0", "");
    bind(&mut topology, "b", "q1", "");
    assert_eq!(routed(&topology, "a", &["x"]), [0, 1]);
}

#[test]
fn the_alternate_exchange_takes_what_matches_no_binding() {
    let mut topology = topology([
        with_alternate("main", ExchangeKind::Direct, "spare"),
        exchange("front", ExchangeKind::Fanout),
        exchange("spare", ExchangeKind::Fanout),
    ]);
    bind(&mut topology, "main", "q0", "known");
    bind(&mut topology, "spare", "q1", "");
    bind_exchange(&mut topology, "front", "main", "");
    assert_eq!(routed(&topology, "main", &["known"]), [0]);
    assert_eq!(routed(&topology, "main", &["other"]), [1]);
    assert_eq!(routed(&topology, "front", &["other"]), [1], "between exchanges as well");
    topology.remove_exchange("spare", &mut Vec::new());
    assert_eq!(routed(&topology, "main", &["other"]), []);
}

#[test]
fn a_binding_to_an_exchange_that_routes_nowhere_still_is_a_destination() {
    let mut topology = topology([
        with_alternate("main", ExchangeKind::Fanout, "spare"),
        exchange("empty", ExchangeKind::Fanout),
        exchange("spare", ExchangeKind::Fanout),
    ]);
    bind_exchange(&mut topology, "main", "empty", "");
    bind(&mut topology, "spare", "q0", "");
    assert_eq!(routed(&topology, "main", &["x"]), []);
}

#[test]
fn a_policy_sets_the_alternate_exchange() {
    let mut topology =
        topology([exchange("main", ExchangeKind::Fanout), exchange("spare", ExchangeKind::Fanout)]);
    bind(&mut topology, "spare", "q0", "");
    topology.set_alternate("main", Some("spare".into()));
    assert_eq!(routed(&topology, "main", &["x"]), [0]);
    topology.set_alternate("main", None);
    assert_eq!(routed(&topology, "main", &["x"]), []);
}

#[test]
fn bindings_are_told_apart_by_their_arguments_but_not_by_their_order() {
    let mut topology = topology([exchange("h", ExchangeKind::Headers)]);
    let queue = DestinationName::Queue("q0");
    let ab = TableBuilder::new().put("a", 1).put("b", 2).build();
    let ba = TableBuilder::new().put("b", 2).put("a", 1).build();
    let ac = TableBuilder::new().put("a", 1).put("c", 2).build();
    assert_eq!(topology.bind("h", queue, "", &ba), Ok(Bound::Added));
    assert_eq!(topology.bind("h", queue, "", &ab), Ok(Bound::Existed));
    assert_eq!(topology.bind("h", queue, "", &ac), Ok(Bound::Added));
    assert_eq!(topology.bind("h", queue, "k", &ab), Ok(Bound::Added));
    assert_eq!(topology.bindings_from("h").next().unwrap().arguments, &ab, "sorted by key");
    topology.unbind("h", queue, "", &ba, &mut Vec::new());
    assert_eq!(topology.bindings_to_queue("q0").count(), 2);
}

#[test]
fn a_refused_binding_changes_nothing() {
    let mut topology = topology([exchange("h", ExchangeKind::Headers)]);
    let bad = TableBuilder::new().put("x-match", "some").build();
    let queue = DestinationName::Queue("q0");
    let refused = topology.bind("h", queue, "", &bad).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x"
    );
    assert_eq!(topology.bindings().count(), 0);
    assert_eq!(topology.bind("x", queue, "", &bad), Err(BindError::NoSource));
    let nobody = DestinationName::Queue("nobody");
    assert_eq!(topology.bind("h", nobody, "", &bad), Err(BindError::NoDestination));
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_as_source() {
    let auto = |name| ExchangeSpec { auto_delete: true, ..exchange(name, ExchangeKind::Fanout) };
    let mut topology = topology([auto("a"), auto("b"), auto("never bound")]);
    bind_exchange(&mut topology, "a", "b", "");
    bind(&mut topology, "b", "q0", "");
    bind(&mut topology, "b", "q1", "");

    let mut removed = Vec::new();
    topology.remove_queue("q1", &mut removed);
    assert_eq!(shown(&removed), ["b>q1"]);

    removed.clear();
    let queue = DestinationName::Queue("q0");
    topology.unbind("b", queue, "", &TableBuf::default(), &mut removed);
    assert_eq!(shown(&removed), ["b>q0", "a>b", "b", "a"]);
    let left: Vec<_> = topology.exchanges().map(Exchange::name).collect();
    assert_eq!(left, ["never bound"]);
}

#[test]
fn a_deleted_exchange_takes_its_bindings_with_it() {
    let mut topology =
        topology([exchange("a", ExchangeKind::Direct), exchange("b", ExchangeKind::Topic)]);
    bind_exchange(&mut topology, "a", "b", "k");
    bind_exchange(&mut topology, "b", "b", "#");
    bind(&mut topology, "b", "q0", "k");
    let mut removed = Vec::new();
    topology.remove_exchange("b", &mut removed);
    assert_eq!(removed.len(), 4);
    assert_eq!(shown(&removed).last().unwrap(), "b");
    assert_eq!(topology.bindings().count(), 0);
    assert!(!topology.has_bindings_from("a"));
}

#[test]
fn headers_on_the_way_are_noticed() {
    let mut topology = topology([
        exchange("d", ExchangeKind::Direct),
        with_alternate("f", ExchangeKind::Fanout, "d"),
        exchange("h", ExchangeKind::Headers),
    ]);
    let by_keys =
        |topology: &Topology, name| topology.routes_by_keys(name, &mut RouteSet::default());
    assert!(!by_keys(&topology, "h"));
    assert!(by_keys(&topology, "f"));
    bind_exchange(&mut topology, "d", "h", "k");
    bind_exchange(&mut topology, "d", "h", "l");
    assert!(!by_keys(&topology, "f"));
    let unbind = |topology: &mut Topology, key| {
        let to = DestinationName::Exchange("h");
        topology.unbind("d", to, key, &TableBuf::default(), &mut Vec::new());
    };
    unbind(&mut topology, "k");
    assert!(!by_keys(&topology, "f"));
    unbind(&mut topology, "l");
    assert!(by_keys(&topology, "f"));
}

#[test]
fn a_wide_fanout_reaches_every_queue_once() {
    let mut topology = topology([exchange("f", ExchangeKind::Fanout)]);
    for number in 4..500 {
        topology.add_queue(format!("q{number}").into(), QueueId(number));
    }
    for number in (0..500).chain(0..500) {
        bind(&mut topology, "f", &format!("q{number}"), if number % 2 == 0 { "a" } else { "b" });
        bind(&mut topology, "f", &format!("q{number}"), "c");
    }
    assert_eq!(routed(&topology, "f", &["x"]), (0..500).collect::<Vec<_>>());
}

/// Also where all matches lead to one queue, or to none.
#[test]
fn what_is_looked_at_one_by_one_is_counted() {
    let kinds = [
        ("fanout", ExchangeKind::Fanout),
        ("direct", ExchangeKind::Direct),
        ("topic", ExchangeKind::Topic),
        ("spread", ExchangeKind::ConsistentHash),
        ("modulus", ExchangeKind::ModulusHash),
        ("wide", ExchangeKind::Direct),
    ];
    let mut topology = topology(kinds.map(|(name, kind)| exchange(name, kind)));
    for number in 0..1000 {
        let different = TableBuilder::new().put("number", number).build();
        let to = DestinationName::Queue("q0");
        for (source, key) in [("fanout", ""), ("direct", "k"), ("topic", "#.k"), ("spread", "1")] {
            topology.bind(source, to, key, &different).unwrap();
        }
        let name = format!("leaf-{number}");
        topology.add_exchange(exchange(&name, ExchangeKind::Direct));
        topology.bind("modulus", DestinationName::Exchange(&name), "", &different).unwrap();
        bind_exchange(&mut topology, "wide", &name, "never");
    }
    let mut routes = RouteSet::new();
    let mut work = |exchange, by_keys: bool| {
        let properties = Properties::default();
        let message = Routable { keys: &["k"], properties: &properties, drawn: 0 };
        topology.route(exchange, message, &mut routes).unwrap();
        assert!(!by_keys || topology.routes_by_keys(exchange, &mut routes));
        (routes.len(), routes.work() / 1000)
    };
    for exchange in ["fanout", "direct", "topic", "spread"] {
        assert_eq!(work(exchange, false), (1, 1), "{exchange}");
    }
    // Once after each change.
    assert_eq!([work("modulus", false), work("modulus", false)], [(0, 1), (0, 0)]);
    assert_eq!([work("wide", false), work("wide", true)], [(0, 0), (0, 1)]);
}

/// Keys times bindings may be very many.
#[test]
fn bindings_are_looked_at_once_however_many_keys_lead_to_them() {
    let kinds = [("direct", ExchangeKind::Direct, "k"), ("topic", ExchangeKind::Topic, "#")];
    let mut topology = topology(kinds.map(|(name, kind, _)| exchange(name, kind)));
    for number in 0..1000 {
        let different = TableBuilder::new().put("number", number).build();
        let to = DestinationName::Queue("q0");
        for (source, _, key) in kinds {
            topology.bind(source, to, key, &different).unwrap();
        }
    }
    let others: Vec<String> = (0..50).map(|number| format!("k.{number}")).collect();
    let others = others.iter().map(String::as_str).collect();
    let (names, same) = (vec!["q0"; 1000], vec!["k"; 50]);
    let cases = [("", &names), ("direct", &same), ("topic", &same), ("topic", &others)];
    let mut routes = RouteSet::new();
    // What one message has led to the next looks at again.
    for (exchange, keys) in cases.repeat(2) {
        let message = Routable { keys, properties: &Properties::default(), drawn: 0 };
        topology.route(exchange, message, &mut routes).unwrap();
        assert_eq!((routes.len(), routes.work() / 1000), (1, 1), "{exchange}");
    }
}

/// Each exchange on the way goes through all bytes of each key, and those of `CC` may be as long as a frame.
#[test]
fn long_keys_take_more_steps() {
    let kinds = [ExchangeKind::Direct, ExchangeKind::ModulusHash, ExchangeKind::ConsistentHash];
    for kind in kinds {
        let mut topology = topology([exchange("x", kind)]);
        bind(&mut topology, "x", "q0", "1");
        let (long, mut routes) = ("k".repeat(100_000), RouteSet::new());
        let message =
            Routable { keys: &["1", &long], properties: &Properties::default(), drawn: 0 };
        topology.set_steps_max(1 + 391);
        assert_eq!(topology.route("x", message, &mut routes), Ok(()), "{kind}");
        topology.set_steps_max(391);
        assert_eq!(topology.route("x", message, &mut routes), Err(TooManySteps(391)), "{kind}");
    }
}

/// Each exchange on the way that looks for a header goes through all of them, and they may be as long as a frame.
#[test]
fn looking_for_a_header_takes_steps() {
    let hashed = TableBuilder::new().put("hash-header", "none-such").build();
    let delayed = TableBuilder::new().put("x-delayed-type", "fanout").build();
    let remembering = TableBuilder::new().put("x-cache-size", 9).build();
    for (kind, arguments, steps) in [
        (ExchangeKind::ConsistentHash, hashed, 390),
        (ExchangeKind::Delayed, delayed, 390),
        (ExchangeKind::RecentHistory, TableBuf::default(), 390),
        (ExchangeKind::Deduplication, remembering, 390),
        // These know without.
        (ExchangeKind::ConsistentHash, TableBuf::default(), 0),
        (ExchangeKind::Fanout, TableBuf::default(), 0),
    ] {
        let spec = ExchangeSpec { arguments, ..exchange("x", kind) };
        let is_keeping = spec.keeper().is_some();
        let mut topology = topology([spec]);
        if is_keeping {
            topology.set_keeper("x", QueueId(7));
        }
        bind(&mut topology, "x", "q0", "1");
        let headers = (0..50_000).fold(TableBuilder::new(), |all, _| all.put("", Value::Void));
        let headers = headers.build();
        let headers = Some(headers.as_table());
        let properties = Properties { headers, ..Properties::default() };
        let message = Routable { keys: &["1"], properties: &properties, drawn: 0 };
        let mut routes = RouteSet::new();
        topology.set_steps_max(steps);
        assert_eq!(topology.route("x", message, &mut routes), Err(TooManySteps(steps)), "{kind}");
        topology.set_steps_max(1 + steps);
        assert_eq!(topology.route("x", message, &mut routes), Ok(()), "{kind}");
    }
}

#[test]
fn kinds_have_their_names() {
    for kind in ExchangeKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    let basic = ExchangeKind::ALL.into_iter().take(4).map(ExchangeKind::name);
    assert!(basic.eq(["direct", "fanout", "topic", "headers"]));
    assert_eq!("x-odd".parse::<ExchangeKind>(), Err(UnknownKind));
}
