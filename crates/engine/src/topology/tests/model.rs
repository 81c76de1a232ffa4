//! Random histories of declarations, compared with a model that keeps plain lists.

use std::collections::BTreeSet;

use leveret_codec::{Table, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::histories::histories;

const EXCHANGES: [&str; 5] = ["e0", "e1", "e2", "e3", "e4"];
const QUEUES: [&str; 4] = ["q0", "q1", "q2", "q3"];
const PATTERNS: [&str; 10] = ["", "a", "b", "a.b", "*", "#", "a.#", "#.b", "#.a.#", "*.*"];
const KEYS: [&str; 8] = ["", "a", "b", "a.b", "a.a.b", "q0", "q1", "b."];

/// Those that decide on each binding by itself.
const KINDS: [ExchangeKind; 4] =
    [ExchangeKind::Direct, ExchangeKind::Fanout, ExchangeKind::Topic, ExchangeKind::Headers];

#[derive(Clone, Debug)]
enum Step {
    AddExchange {
        name: &'static str,
        kind: ExchangeKind,
        auto_delete: bool,
        alternate: Alternate,
    },
    RemoveExchange(&'static str),
    SetAlternate(&'static str, Alternate),
    AddQueue(&'static str),
    RemoveQueue(&'static str),
    Bind(Line),
    Unbind(Line),
    /// Unbinds one of the bindings there are.
    UnbindSome(Index),
}

type Alternate = Option<&'static str>;

/// A binding, or an attempt at one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    source: String,
    destination: Name,
    key: String,
    /// Number in [`arguments`].
    arguments: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Queue(String),
    Exchange(String),
}

impl Name {
    fn as_name(&self) -> DestinationName<'_> {
        match self {
            Self::Queue(name) => DestinationName::Queue(name),
            Self::Exchange(name) => DestinationName::Exchange(name),
        }
    }
}

/// Binding arguments and message headers, all sorted by key.
fn arguments() -> [TableBuf; 7] {
    let new = TableBuilder::new;
    [
        new().build(),
        new().put("a", 1).build(),
        new().put("a", 1).put("b", "x").build(),
        new().put("a", 1).put("b", "x").put("x-match", "any").build(),
        new().put("a", Value::Void).put("x-match", "all").build(),
        new().put("x-match", "any-with-x").put("x-y", true).build(),
        new().put("b", "x").put("x-y", true).build(),
    ]
}

#[derive(Debug, Default)]
struct Model {
    exchanges: Vec<ModelExchange>,
    queues: Vec<(&'static str, u64)>,
    bindings: Vec<Line>,
    next_queue: u64,
}

#[derive(Clone, Copy, Debug)]
struct ModelExchange {
    name: &'static str,
    kind: ExchangeKind,
    auto_delete: bool,
    alternate: Alternate,
}

/// What went: bindings and exchanges.
#[derive(Debug, Default, PartialEq)]
struct Gone {
    bindings: Vec<Line>,
    exchanges: Vec<String>,
}

impl Model {
    fn has(&self, name: &Name) -> bool {
        match name {
            Name::Queue(name) => self.queues.iter().any(|(queue, _)| queue == name),
            Name::Exchange(name) => self.exchanges.iter().any(|exchange| exchange.name == name),
        }
    }

    fn bind(&mut self, line: &Line) -> Result<Bound, BindError> {
        if !self.has(&Name::Exchange(line.source.clone())) {
            return Err(BindError::NoSource);
        }
        if !self.has(&line.destination) {
            return Err(BindError::NoDestination);
        }
        if self.bindings.contains(line) {
            return Ok(Bound::Existed);
        }
        self.bindings.push(line.clone());
        Ok(Bound::Added)
    }

    fn remove(&mut self, condition: impl Fn(&Line) -> bool, gone: &mut Gone) {
        let (removed, kept) = self.bindings.drain(..).partition(condition);
        self.bindings = kept;
        let removed: Vec<Line> = removed;
        let sources: BTreeSet<_> = removed.iter().map(|line| line.source.clone()).collect();
        gone.bindings.extend(removed);
        for source in sources {
            let in_use = self.bindings.iter().any(|line| line.source == source);
            let is_auto = |it: &ModelExchange| it.name == source && it.auto_delete;
            if !in_use && self.exchanges.iter().any(is_auto) {
                self.remove_exchange(&source, gone);
            }
        }
    }

    fn remove_exchange(&mut self, name: &str, gone: &mut Gone) {
        let before = self.exchanges.len();
        self.exchanges.retain(|exchange| exchange.name != name);
        if self.exchanges.len() < before {
            gone.exchanges.push(name.to_owned());
            let to = Name::Exchange(name.to_owned());
            self.remove(|line| line.source == name || line.destination == to, gone);
        }
    }

    fn route(&self, exchange: &str, keys: &[&str], headers: Option<Table<'_>>) -> BTreeSet<u64> {
        let mut queues = BTreeSet::new();
        self.visit(exchange, keys, headers, &mut BTreeSet::new(), &mut queues);
        queues
    }

    fn visit(
        &self,
        name: &str,
        keys: &[&str],
        headers: Option<Table<'_>>,
        seen: &mut BTreeSet<String>,
        queues: &mut BTreeSet<u64>,
    ) {
        if name.is_empty() {
            let named = self.queues.iter().filter(|(queue, _)| keys.contains(queue));
            queues.extend(named.map(|&(_, id)| id));
            return;
        }
        let Some(exchange) = self.exchanges.iter().find(|exchange| exchange.name == name) else {
            return;
        };
        if !seen.insert(name.to_owned()) {
            return;
        }
        let mut any = false;
        for line in self.bindings.iter().filter(|line| line.source == name) {
            if !matches(exchange.kind, line, keys, headers) {
                continue;
            }
            any = true;
            match &line.destination {
                Name::Queue(name) => {
                    let found = self.queues.iter().find(|(queue, _)| queue == name);
                    queues.extend(found.map(|&(_, id)| id));
                }
                Name::Exchange(name) => self.visit(name, keys, headers, seen, queues),
            }
        }
        if let (false, Some(alternate)) = (any, exchange.alternate) {
            self.visit(alternate, keys, headers, seen, queues);
        }
    }
}

fn matches(kind: ExchangeKind, line: &Line, keys: &[&str], headers: Option<Table<'_>>) -> bool {
    match kind {
        ExchangeKind::Fanout => true,
        ExchangeKind::Direct => keys.contains(&line.key.as_str()),
        ExchangeKind::Topic => keys.iter().any(|key| topic::tests::naive_match(&line.key, key)),
        ExchangeKind::Headers => {
            let arguments = &arguments()[line.arguments];
            let arguments = arguments.as_table();
            let word = arguments.get("x-match").and_then(|word| word.as_str()).unwrap_or("all");
            let headers = headers.unwrap_or_default();
            let mut tests = arguments
                .iter()
                .filter(|(name, _)| *name != b"x-match")
                .filter(|(name, _)| word.ends_with("-with-x") || !name.starts_with(b"x-"))
                .map(|(name, expected)| {
                    headers.iter().any(|(header, value)| {
                        header == name && (expected == Value::Void || expected == value)
                    })
                });
            if word.starts_with("all") {
                tests.all(|holds| holds)
            } else {
                tests.any(|holds| holds)
            }
        }
        _ => unreachable!("not among the kinds of these histories"),
    }
}

fn apply(topology: &mut Topology, model: &mut Model, step: &Step) -> Result<(), TestCaseError> {
    let mut removed = Vec::new();
    let mut gone = Gone::default();
    match step {
        &Step::AddExchange { name, kind, auto_delete, alternate } => {
            let mut spec = ExchangeSpec { auto_delete, ..exchange(name, kind) };
            if let Some(alternate) = alternate {
                spec.arguments = TableBuilder::new().put("alternate-exchange", alternate).build();
            }
            topology.add_exchange(spec);
            if !model.has(&Name::Exchange(name.to_owned())) {
                model.exchanges.push(ModelExchange { name, kind, auto_delete, alternate });
            }
        }
        Step::RemoveExchange(name) => {
            topology.remove_exchange(name, &mut removed);
            model.remove_exchange(name, &mut gone);
        }
        &Step::SetAlternate(name, alternate) => {
            topology.set_alternate(name, alternate.map(Arc::from));
            let found = model.exchanges.iter_mut().find(|exchange| exchange.name == name);
            found.into_iter().for_each(|exchange| exchange.alternate = alternate);
        }
        &Step::AddQueue(name) => {
            let id = model.next_queue;
            model.next_queue += 1;
            let is_new = !model.has(&Name::Queue(name.to_owned()));
            prop_assert_eq!(topology.add_queue(name.into(), QueueId(id)), is_new);
            if is_new {
                model.queues.push((name, id));
            }
        }
        &Step::RemoveQueue(name) => {
            topology.remove_queue(name, &mut removed);
            model.queues.retain(|(queue, _)| *queue != name);
            let to = Name::Queue(name.to_owned());
            model.remove(|line| line.destination == to, &mut gone);
        }
        Step::Bind(line) => {
            let arguments = &arguments()[line.arguments];
            let to = line.destination.as_name();
            let answer = topology.bind(&line.source, to, &line.key, arguments);
            prop_assert_eq!(answer, model.bind(line));
        }
        Step::Unbind(line) => unbind(topology, model, line, &mut removed, &mut gone),
        Step::UnbindSome(index) => {
            if !model.bindings.is_empty() {
                let line = model.bindings[index.index(model.bindings.len())].clone();
                unbind(topology, model, &line, &mut removed, &mut gone);
            }
        }
    }
    check_removed(&removed, gone)
}

fn unbind(
    topology: &mut Topology,
    model: &mut Model,
    line: &Line,
    removed: &mut Vec<Removed>,
    gone: &mut Gone,
) {
    let to = line.destination.as_name();
    topology.unbind(&line.source, to, &line.key, &arguments()[line.arguments], removed);
    model.remove(|other| other == line, gone);
}

fn check_removed(removed: &[Removed], mut expected: Gone) -> Result<(), TestCaseError> {
    let mut gone = Gone::default();
    for item in removed {
        match item {
            Removed::Exchange(spec) => gone.exchanges.push(spec.name.to_string()),
            Removed::Binding(binding) => {
                let line = Line {
                    source: binding.source.to_string(),
                    destination: match &binding.destination {
                        RemovedDestination::Queue(name) => Name::Queue(name.to_string()),
                        RemovedDestination::Exchange(name) => Name::Exchange(name.to_string()),
                    },
                    key: binding.key.to_string(),
                    arguments: number_of(&binding.arguments),
                };
                let orphan = gone.exchanges.iter().any(|name| {
                    line.source == *name || line.destination == Name::Exchange(name.clone())
                });
                prop_assert!(!orphan, "{:?} after its exchange", line);
                gone.bindings.push(line);
            }
        }
    }
    for gone in [&mut gone, &mut expected] {
        gone.bindings.sort();
        gone.exchanges.sort();
    }
    prop_assert_eq!(gone, expected);
    Ok(())
}

fn number_of(table: &TableBuf) -> usize {
    arguments().iter().position(|arguments| arguments == table).unwrap()
}

fn line_of(binding: BindingRef<'_>) -> Line {
    Line {
        source: binding.source.to_owned(),
        destination: match binding.destination {
            DestinationName::Queue(name) => Name::Queue(name.to_owned()),
            DestinationName::Exchange(name) => Name::Exchange(name.to_owned()),
        },
        key: binding.key.to_owned(),
        arguments: number_of(binding.arguments),
    }
}

fn sorted(bindings: impl Iterator<Item = Line>) -> Vec<Line> {
    let mut lines: Vec<_> = bindings.collect();
    lines.sort();
    lines
}

fn check_listings(topology: &Topology, model: &Model) -> Result<(), TestCaseError> {
    let names: Vec<_> = topology.exchanges().map(Exchange::name).collect();
    let expected: Vec<_> = model.exchanges.iter().map(|exchange| exchange.name).collect();
    prop_assert_eq!(names, expected);
    let of = |condition: &dyn Fn(&Line) -> bool| {
        sorted(model.bindings.iter().filter(|line| condition(line)).cloned())
    };
    prop_assert_eq!(sorted(topology.bindings().map(line_of)), of(&|_| true));
    for name in EXCHANGES {
        let from = sorted(topology.bindings_from(name).map(line_of));
        prop_assert_eq!(topology.has_bindings_from(name), !from.is_empty());
        prop_assert_eq!(from, of(&|line| line.source == name));
        let to = Name::Exchange(name.to_owned());
        let found = sorted(topology.bindings_to_exchange(name).map(line_of));
        prop_assert_eq!(found, of(&|line| line.destination == to));
    }
    for name in QUEUES {
        let to = Name::Queue(name.to_owned());
        let found = sorted(topology.bindings_to_queue(name).map(line_of));
        prop_assert_eq!(found, of(&|line| line.destination == to));
    }
    Ok(())
}

fn check_routes(
    topology: &Topology,
    model: &Model,
    routes: &mut RouteSet,
) -> Result<(), TestCaseError> {
    let headers = arguments();
    for exchange in EXCHANGES.into_iter().chain([""]) {
        let depends = !topology.routes_by_keys(exchange, routes);
        for (number, key) in KEYS.into_iter().enumerate() {
            let keys = if number % 3 == 0 { vec![key, "a"] } else { vec![key] };
            let mut answers = BTreeSet::new();
            for headers in [None, headers.get(2), headers.get(number % 7)] {
                let headers = headers.map(TableBuf::as_table);
                let properties = Properties { headers, ..Properties::default() };
                let message = Routable { keys: &keys, properties: &properties, drawn: 0 };
                topology.route(exchange, message, routes).unwrap();
                let found: BTreeSet<_> = routes.as_slice().iter().map(|queue| queue.0).collect();
                prop_assert_eq!(found.len(), routes.len(), "a queue came twice");
                let expected = model.route(exchange, &keys, headers);
                prop_assert_eq!(&found, &expected, "{:?} {:?}", exchange, keys);
                answers.insert(found);
            }
            prop_assert!(depends || answers.len() == 1, "{} depends on headers", exchange);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(histories(2_000))]

    #[test]
    fn random_histories_agree_with_the_model(steps in vec(step(), 1..60)) {
        let mut topology = Topology::new();
        let mut model = Model::default();
        let mut routes = RouteSet::new();
        for (number, step) in steps.iter().enumerate() {
            apply(&mut topology, &mut model, step)?;
            check_listings(&topology, &model)?;
            if number % 8 == 0 || number + 1 == steps.len() {
                check_routes(&topology, &model, &mut routes)?;
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (select(&EXCHANGES[..]), kind(), any::<bool>(), alternate()).prop_map(
            |(name, kind, auto_delete, alternate)| {
                Step::AddExchange { name, kind, auto_delete, alternate }
            }
        ),
        1 => select(&EXCHANGES[..]).prop_map(Step::RemoveExchange),
        1 => (select(&EXCHANGES[..]), alternate())
            .prop_map(|(name, alternate)| Step::SetAlternate(name, alternate)),
        3 => select(&QUEUES[..]).prop_map(Step::AddQueue),
        1 => select(&QUEUES[..]).prop_map(Step::RemoveQueue),
        12 => line().prop_map(Step::Bind),
        1 => line().prop_map(Step::Unbind),
        3 => any::<Index>().prop_map(Step::UnbindSome),
    ]
}

fn kind() -> impl Strategy<Value = ExchangeKind> {
    select(&KINDS[..])
}

fn alternate() -> impl Strategy<Value = Alternate> {
    prop_oneof![
        3 => Just(None),
        1 => select(&EXCHANGES[..]).prop_map(Some),
        1 => Just(Some("")),
    ]
}

fn line() -> impl Strategy<Value = Line> {
    let queue = select(&QUEUES[..]).prop_map(|name| Name::Queue(name.to_owned()));
    let exchange = select(&EXCHANGES[..]).prop_map(|name| Name::Exchange(name.to_owned()));
    let arguments = prop_oneof![1 => Just(0), 1 => 0..arguments().len()];
    (select(&EXCHANGES[..]), prop_oneof![queue, exchange], select(&PATTERNS[..]), arguments)
        .prop_map(|(source, destination, key, arguments)| Line {
            source: source.to_owned(),
            destination,
            key: key.to_owned(),
            arguments,
        })
}
