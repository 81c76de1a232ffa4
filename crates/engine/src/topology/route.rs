//! Finding the queues a message goes to.

use super::binding::Destination;
use super::deduplication::Deduplication;
use super::distinct::Distinct;
use super::exchange::{Exchange, Routable, Routed};
use super::keeper::Keep;
use super::steps::{Steps, TooManySteps};
use super::{RouteSet, Topology};
use crate::ids::ExchangeId;

impl Topology {
    /// Fills `routes` with the queues a message published to `exchange` reaches.
    ///
    /// Bindings to exchanges are followed, each exchange being visited once. An exchange none of
    /// whose bindings matches passes the message to its alternate exchange, if there is one,
    /// wherever on the way it is. An exchange that does not exist routes nowhere. One that keeps
    /// messages routes to its keeper first; a message it delays goes nowhere else from there.
    ///
    /// Exchanges that deduplicate let every message through; see
    /// [`route_new`](Self::route_new).
    ///
    /// # Errors
    /// As [`route_new`](Self::route_new).
    pub fn route(
        &self,
        exchange: &str,
        message: Routable<'_>,
        routes: &mut RouteSet,
    ) -> Result<(), TooManySteps> {
        self.route_new(exchange, message, |_, _| true, routes)
    }

    /// As [`route`](Self::route), but asks `is_new` at each exchange on the way that deduplicates
    /// whether the message was not seen there before. One that was goes nowhere from there.
    ///
    /// # Errors
    /// [`TooManySteps`], and no routes at all, if finding them takes more than
    /// [may be taken](Self::set_steps_max).
    pub fn route_new(
        &self,
        exchange: &str,
        message: Routable<'_>,
        is_new: impl FnMut(&Exchange, &Deduplication) -> bool,
        routes: &mut RouteSet,
    ) -> Result<(), TooManySteps> {
        routes.clear();
        routes.steps = Steps::up_to(self.steps_max);
        let found = self.find_routes(exchange, message, is_new, routes);
        if found.is_err() {
            routes.clear();
        }
        found
    }

    fn find_routes(
        &self,
        exchange: &str,
        message: Routable<'_>,
        mut is_new: impl FnMut(&Exchange, &Deduplication) -> bool,
        routes: &mut RouteSet,
    ) -> Result<(), TooManySteps> {
        let routing_keys = message.keys;
        let mut message = Routed::new(message);
        self.enter(exchange, routing_keys, routes);
        let mut visited = 0;
        while let Some(id) = routes.exchanges.as_slice().get(visited) {
            visited += 1;
            let Some(exchange) = self.exchanges.get(id) else { continue };
            if exchange.looks_for_a_header() {
                routes.steps.compare(message.headers_len())?;
            }
            if exchange.deduplication().is_some_and(|settings| !is_new(exchange, settings)) {
                continue;
            }
            match exchange.keep(&message.message) {
                Keep::No => {}
                Keep::Copy(keeper) => routes.queues.insert(keeper),
                Keep::Only(keeper) => {
                    routes.queues.insert(keeper);
                    continue;
                }
            }
            if !self.follow(exchange, &mut message, routes)?
                && let Some(alternate) = exchange.alternate()
            {
                self.enter(alternate, routing_keys, routes);
            }
        }
        Ok(())
    }

    /// Whether the queues a message to `exchange` reaches depend on nothing but its routing keys,
    /// so that a cache by key may keep them: not if headers, properties or chance decide anywhere
    /// on the way. Looking at all exchanges that it leads to, by whatever key, is counted as
    /// [work](RouteSet::work) for `routes`.
    #[must_use]
    pub fn routes_by_keys(&self, exchange: &str, routes: &mut RouteSet) -> bool {
        let mut reached = Distinct::<ExchangeId>::default();
        self.exchange_ids.get(exchange).into_iter().for_each(|&id| reached.insert(id));
        let mut visited = 0;
        while let Some(id) = reached.as_slice().get(visited) {
            visited += 1;
            let Some(exchange) = self.exchanges.get(id) else { continue };
            if exchange.keeper().is_some()
                || exchange.deduplication().is_some()
                || !exchange.index().routes_by_keys()
            {
                return false;
            }
            let next = exchange.next();
            routes.steps.try_each(next.len());
            next.for_each(|id| reached.insert(id));
            let alternate = exchange.alternate().and_then(|name| self.exchange_ids.get(name));
            alternate.into_iter().for_each(|&id| reached.insert(id));
        }
        true
    }

    /// Starts at an exchange by name.
    fn enter(&self, exchange: &str, routing_keys: &[&str], routes: &mut RouteSet) {
        if exchange.is_empty() {
            routes.steps.try_each(routing_keys.len());
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
        message: &mut Routed<'_>,
        routes: &mut RouteSet,
    ) -> Result<bool, TooManySteps> {
        let RouteSet { queues, exchanges, search, steps } = routes;
        let mut any = false;
        exchange.for_each_match(message, search, steps, |id| {
            any = true;
            match self.bindings.get(id).map(|row| row.destination) {
                Some(Destination::Queue(queue)) => queues.insert(queue),
                Some(Destination::Exchange(next)) => exchanges.insert(next),
                None => {}
            }
        })?;
        Ok(any)
    }
}
