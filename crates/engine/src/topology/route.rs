//! Finding the queues a message goes to.

use leveret_codec::Table;

use super::binding::Destination;
use super::distinct::Distinct;
use super::exchange::{Exchange, Routed};
use super::{RouteSet, Topology};
use crate::ids::ExchangeId;

impl Topology {
    /// Fills `routes` with the queues a message published to `exchange` reaches.
    ///
    /// `routing_keys` starts with the message's own key; further ones come from its `CC` and
    /// `BCC` headers. Bindings to exchanges are followed, each exchange being visited once. An
    /// exchange none of whose bindings matches passes the message to its alternate exchange, if
    /// there is one, wherever on the way it is. An exchange that does not exist routes nowhere.
    pub fn route(
        &self,
        exchange: &str,
        routing_keys: &[&str],
        headers: Option<Table<'_>>,
        routes: &mut RouteSet,
    ) {
        routes.clear();
        let mut message = Routed::new(routing_keys, headers);
        self.enter(exchange, routing_keys, routes);
        let mut visited = 0;
        while let Some(id) = routes.exchanges.as_slice().get(visited) {
            visited += 1;
            let Some(exchange) = self.exchanges.get(id) else { continue };
            if !self.follow(exchange, &mut message, routes)
                && let Some(alternate) = exchange.alternate()
            {
                self.enter(alternate, routing_keys, routes);
            }
        }
    }

    /// Whether the queues a message to `exchange` reaches may depend on more than its routing
    /// keys, so that a cache by key must not keep them.
    #[must_use]
    pub fn depends_on_headers(&self, exchange: &str) -> bool {
        let mut reached = Distinct::<ExchangeId>::default();
        self.exchange_ids.get(exchange).into_iter().for_each(|&id| reached.insert(id));
        let mut visited = 0;
        while let Some(id) = reached.as_slice().get(visited) {
            visited += 1;
            let Some(exchange) = self.exchanges.get(id) else { continue };
            if exchange.index().depends_on_headers() {
                return true;
            }
            exchange.next().for_each(|id| reached.insert(id));
            let alternate = exchange.alternate().and_then(|name| self.exchange_ids.get(name));
            alternate.into_iter().for_each(|&id| reached.insert(id));
        }
        false
    }

    /// Starts at an exchange by name.
    fn enter(&self, exchange: &str, routing_keys: &[&str], routes: &mut RouteSet) {
        if exchange.is_empty() {
            for queue in routing_keys.iter().filter_map(|key| self.queue(key)) {
                routes.queues.insert(queue);
            }
        } else if let Some(&id) = self.exchange_ids.get(exchange) {
            routes.exchanges.insert(id);
        }
    }

    /// Adds the destinations of all matching bindings. Returns whether there are any.
    fn follow(
        &self,
        exchange: &Exchange,
        message: &mut Routed<'_, '_>,
        routes: &mut RouteSet,
    ) -> bool {
        let RouteSet { queues, exchanges, topic } = routes;
        let mut any = false;
        exchange.for_each_match(message, topic, |id| {
            any = true;
            match self.bindings.get(id).map(|row| row.destination) {
                Some(Destination::Queue(queue)) => queues.insert(queue),
                Some(Destination::Exchange(next)) => exchanges.insert(next),
                None => {}
            }
        });
        any
    }
}
