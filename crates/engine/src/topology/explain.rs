//! Finding out why a message goes where it goes.

use super::binding::BindingId;
use super::exchange::{Exchange, Routable, Routed, Search};
use super::keeper::Keep;
use super::steps::{Steps, TooManySteps};
use super::{BindingRef, RouteSet, Topology};

/// The way of a message that nobody publishes.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// The exchanges it comes by, in the order they are visited.
    pub visits: Vec<Visit<'a>>,
    /// The names of the queues it reaches, in the order they are found.
    pub queues: Vec<&'a str>,
}

/// What one exchange does with the message.
#[derive(Debug)]
pub struct Visit<'a> {
    topology: &'a Topology,
    /// The exchange.
    pub exchange: &'a Exchange,
    /// The bindings that the message takes, sorted.
    taken: Vec<BindingId>,
    /// The alternate exchange it is passed to because no binding matches.
    pub alternate: Option<&'a str>,
    /// Whether the exchange delays it, and passes it to nobody yet.
    pub is_delayed: bool,
}

impl Topology {
    /// The way that [`route`](Self::route) takes with such a message, and the bindings on it that
    /// it does not take.
    ///
    /// # Errors
    /// As for [`route`](Self::route).
    pub fn explain(
        &self,
        exchange: &str,
        message: Routable<'_>,
    ) -> Result<Explanation<'_>, TooManySteps> {
        let mut routes = RouteSet::new();
        self.route(exchange, message, &mut routes)?;
        let visited = routes.exchanges.as_slice().iter();
        let exchanges = visited.filter_map(|id| self.exchanges.get(id));
        let queues = routes.as_slice().iter().filter_map(|id| self.queues.get(id));
        let mut message = Routed::new(message);
        let visits = exchanges.map(|exchange| self.visit(exchange, &mut message));
        Ok(Explanation {
            visits: visits.collect::<Result<_, _>>()?,
            queues: queues.map(|queue| &*queue.name).collect(),
        })
    }

    fn visit<'a>(
        &'a self,
        exchange: &'a Exchange,
        message: &mut Routed<'_>,
    ) -> Result<Visit<'a>, TooManySteps> {
        let is_delayed = matches!(exchange.keep(&message.message), Keep::Only(_));
        let mut taken: Vec<BindingId> = Vec::new();
        if !is_delayed {
            let (mut search, mut steps) = (Search::default(), Steps::up_to(self.steps_max));
            exchange.for_each_match(message, &mut search, &mut steps, |id| taken.push(id))?;
        }
        taken.sort_unstable();
        let is_passed_on = taken.is_empty() && !is_delayed;
        Ok(Visit {
            topology: self,
            exchange,
            taken,
            alternate: exchange.alternate().filter(|_| is_passed_on),
            is_delayed,
        })
    }
}

impl<'a> Visit<'a> {
    /// All bindings from the exchange, and whether the message takes them; those it takes first. There may be
    /// very many: they are found one by one.
    pub fn bindings(&self) -> impl Iterator<Item = (BindingRef<'a>, bool)> {
        let is_taken = |id: &BindingId| self.taken.binary_search(id).is_ok();
        let all = self.exchange.outgoing.as_slice().iter();
        let others = all.filter(move |id| !is_taken(id)).map(|id| (id, false));
        let found = self.taken.iter().map(|id| (id, true)).chain(others);
        let Topology { bindings, .. } = self.topology;
        found.filter_map(|(id, is_taken)| {
            Some((self.topology.binding_ref(bindings.get(*id)?)?, is_taken))
        })
    }

    /// How many there are.
    pub fn bindings_total(&self) -> usize {
        self.exchange.outgoing.as_slice().len()
    }
}

#[cfg(test)]
mod tests {
    use leveret_codec::{Properties, TableBuf, TableBuilder};

    use super::super::{DestinationName, ExchangeKind, ExchangeSpec};
    use super::*;
    use crate::ids::QueueId;

    fn topology() -> Topology {
        let mut topology = Topology::new();
        let alternate = TableBuilder::new().put("alternate-exchange", "lost").build();
        for (name, kind, arguments) in [
            ("events", ExchangeKind::Topic, alternate),
            ("all", ExchangeKind::Fanout, TableBuf::default()),
            ("lost", ExchangeKind::Fanout, TableBuf::default()),
        ] {
            topology.add_exchange(ExchangeSpec {
                name: name.into(),
                kind,
                durable: true,
                auto_delete: false,
                internal: false,
                arguments,
            });
        }
        for (id, name) in ["orders", "bills", "rest"].into_iter().enumerate() {
            topology.add_queue(name.into(), QueueId(id as u64));
        }
        for (source, destination, key) in [
            ("events", DestinationName::Queue("orders"), "order.*"),
            ("events", DestinationName::Exchange("all"), "order.new"),
            ("events", DestinationName::Queue("bills"), "bill.#"),
            ("all", DestinationName::Queue("bills"), ""),
            ("lost", DestinationName::Queue("rest"), ""),
        ] {
            topology.bind(source, destination, key, &TableBuf::default()).unwrap();
        }
        topology
    }

    fn explained(exchange: &str, key: &str) -> (Vec<String>, Vec<String>) {
        explained_with(exchange, &[key])
    }

    fn explained_with(exchange: &str, keys: &[&str]) -> (Vec<String>, Vec<String>) {
        let topology = topology();
        let properties = Properties::default();
        let message = Routable { keys, properties: &properties, drawn: 0 };
        let explanation = topology.explain(exchange, message).unwrap();
        let visits = explanation.visits.iter().map(|visit| {
            let taken = visit.bindings().map(|(binding, is_taken)| {
                format!("{}{}", if is_taken { "+" } else { "-" }, binding.key)
            });
            let taken = taken.collect::<Vec<_>>().join(" ");
            format!("{}: {taken} {}", visit.exchange.name(), visit.alternate.unwrap_or_default())
        });
        (visits.collect(), explanation.queues.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn bindings_that_match_are_told_from_those_that_do_not() {
        let (visits, queues) = explained("events", "order.new");
        assert_eq!(visits, ["events: +order.* +order.new -bill.# ", "all: + "]);
        assert_eq!(queues, ["orders", "bills"]);
    }

    #[test]
    fn a_binding_that_several_keys_match_is_told_once() {
        let (visits, queues) = explained_with("events", &["order.new", "order.old", "order.new"]);
        assert_eq!(visits, ["events: +order.* +order.new -bill.# ", "all: + "]);
        assert_eq!(queues, ["orders", "bills"]);
    }

    #[test]
    fn what_no_binding_takes_is_passed_to_the_alternate_exchange() {
        let (visits, queues) = explained("events", "stock");
        assert_eq!(visits, ["events: -order.* -order.new -bill.# lost", "lost: + "]);
        assert_eq!(queues, ["rest"]);
    }

    #[test]
    fn the_default_exchange_has_no_bindings_and_a_missing_one_no_way() {
        assert_eq!(explained("", "rest"), (vec![], vec!["rest".to_owned()]));
        assert_eq!(explained("", "nope"), (vec![], vec![]));
        assert_eq!(explained("nope", "rest"), (vec![], vec![]));
    }
}
