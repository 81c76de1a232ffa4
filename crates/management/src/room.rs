//! Room in memory: what requests over HTTP take of a budget they all share.

use std::sync::Arc;

use leveret_server::{Budget, Part};

use crate::answer::Failure;

/// What one request takes; given back when it is dropped.
pub(crate) struct Room {
    part: Part,
    /// It was alone when it came to take more than there is room for.
    has_turn: bool,
}

impl Room {
    /// Nothing yet.
    pub(crate) fn of(budget: &Arc<Budget>) -> Self {
        Self { part: Part::of(budget), has_turn: false }
    }

    /// It takes so many bytes now.
    ///
    /// # Errors
    /// 503 when others leave no room for that, 400 when there is never so much.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), Failure> {
        self.hold(bytes);
        if bytes > self.part.budget().max() {
            return Err(Failure::TooLarge);
        }
        if self.is_enough() { Ok(()) } else { Err(Failure::no_room()) }
    }

    /// It takes so many bytes now, or more than there is room for if nobody else took anything when it came to
    /// that: so one does at a time, whatever others take of their shares from then on.
    ///
    /// # Errors
    /// 503 when others leave no room for that.
    pub(crate) fn claim(&mut self, bytes: u64) -> Result<(), Failure> {
        self.hold(bytes);
        if self.has_turn || self.is_enough() {
            return Ok(());
        }
        self.has_turn = self.is_alone();
        self.hold(bytes);
        if self.has_turn { Ok(()) } else { Err(Failure::no_room()) }
    }

    /// So many bytes are there already, whether there is room or not. Of one that has its turn no more count than
    /// one may take alone: others have their shares of the rest, however long it is.
    pub(crate) fn hold(&mut self, bytes: u64) {
        let most = if self.has_turn { self.part.budget().max() } else { u64::MAX };
        self.part.set(bytes.min(most));
    }

    /// Whether nobody else takes anything.
    pub(crate) fn is_alone(&self) -> bool {
        self.part.is_alone()
    }

    /// Whether it may keep what it takes.
    pub(crate) fn is_enough(&self) -> bool {
        self.part.is_within_share()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::extract::Request;
    use axum::http::{HeaderMap, Response};
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use leveret_broker::Actor;
    use leveret_server::Server;
    use leveret_server::config::{Config, Storage};
    use serde_json::{Value, json};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::call::Call;
    use crate::client::{Client, Peer};
    use crate::dispatch;
    use crate::list::{self, Field};
    use crate::node::{Node, now};
    use crate::routes::ROUTES;

    const KIB: usize = 1024;

    struct Bench {
        server: Server,
        node: Arc<Node>,
        router: TowerToHyperService<Router>,
    }

    impl Bench {
        /// A broker that listens nowhere, whose requests have this budget.
        async fn new(budget: &Arc<Budget>) -> Self {
            let storage = Storage::Ephemeral;
            let config = Config { listen: Vec::new(), storage, ..Config::default() };
            let server = Server::start(config).await.unwrap();
            let mut node = Node::new(&server, Vec::new(), None, CancellationToken::new());
            node.budgets.requests = Arc::clone(budget);
            let node = Arc::new(node);
            let router = dispatch::router(&node, &[ROUTES]);
            Self { server, node, router: TowerToHyperService::new(router) }
        }

        async fn send(&self, method: &str, path: &str, body: &Value) -> Response<Body> {
            let request = Request::builder().method(method).uri(path).extension(Peer::Operator);
            let request = request.body(Body::from(body.to_string())).unwrap();
            self.router.call(request).await.unwrap()
        }

        /// From a client, as `guest`.
        async fn ask(&self, path: &str) -> Response<Body> {
            let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let peer = Peer::Client(Client { address, is_secure: false, is_local: true });
            let request = Request::get(path).extension(peer);
            let request = request.header("authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=");
            self.router.call(request.body(Body::empty()).unwrap()).await.unwrap()
        }

        /// A request of a client.
        fn call(&self) -> Call {
            let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
            Call {
                node: Arc::clone(&self.node),
                peer: Peer::Client(Client { address, is_secure: false, is_local: true }),
                principal: None,
                actor: Arc::new(Actor::program()),
                session: None,
                path: Vec::new(),
                query: Vec::new(),
                headers: HeaderMap::new(),
                body: crate::body::Body::default(),
                now: now(),
            }
        }

        async fn publish(&self, payload: &str) {
            let message = json!({
                "routing_key": "q", "payload": payload, "payload_encoding": "string", "properties": {},
            });
            let sent = self.send("POST", "/api/exchanges/%2F/amq.default/publish", &message).await;
            assert_eq!(json_of(sent).await["routed"], true);
        }

        async fn get(&self, mode: &str) -> Response<Body> {
            let order = json!({ "ackmode": mode, "count": 100, "encoding": "auto" });
            self.send("POST", "/api/queues/%2F/q/get", &order).await
        }
    }

    async fn json_of(answer: Response<Body>) -> Value {
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// The first letters of the bodies that were got.
    async fn got(answer: Response<Body>) -> String {
        assert_eq!(answer.status(), 200);
        let messages = json_of(answer).await;
        let first = |message: &Value| message["payload"].as_str().unwrap().chars().next();
        messages.as_array().unwrap().iter().filter_map(first).collect()
    }

    /// Many claims of one list, that is, among requests of others.
    #[test]
    fn who_takes_more_than_there_is_room_for_goes_on_whatever_others_take() {
        let budget = Arc::new(Budget::new(1000));
        let [mut long, mut other] = [(); 2].map(|()| Room::of(&budget));
        assert_eq!(long.claim(900), Ok(()));
        assert_eq!(long.claim(1500), Ok(()));
        assert_eq!(other.take(100), Ok(()));
        assert_eq!(long.claim(1600), Ok(()));
        assert_eq!(long.claim(3000), Ok(()));
        // Others have their shares however much that is.
        assert_eq!(other.take(400), Err(Failure::no_room()));
        assert_eq!(other.take(300), Ok(()));
        // It has its turn when it is alone.
        assert_eq!(other.claim(1100), Err(Failure::no_room()));
        drop(long);
        assert_eq!(other.claim(1100), Ok(()));
        let mut late = Room::of(&budget);
        assert_eq!(late.claim(1000), Err(Failure::no_room()));
    }

    #[tokio::test]
    async fn what_is_got_takes_room_until_the_client_has_it() {
        let budget = Arc::new(Budget::new(1000 * KIB as u64));
        let bench = Bench::new(&budget).await;
        bench.send("PUT", "/api/queues/%2F/q", &json!({})).await;
        for letter in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            bench.publish(&letter.repeat(200 * KIB)).await;
        }
        // Others have all there is: nothing is taken from the queue.
        let mut others = Room::of(&budget);
        others.hold(2000 * KIB as u64);
        for mode in ["ack_requeue_false", "ack_requeue_true"] {
            let refused = bench.get(mode).await;
            assert_eq!(refused.status(), 503);
            assert_eq!(json_of(refused).await["error"], "service_unavailable");
        }
        drop(others);
        // Some fit, and the others stay.
        let some = bench.get("ack_requeue_false").await;
        assert!((400 * KIB as u64..1200 * KIB as u64).contains(&budget.taken()));
        let some = got(some).await;
        assert_eq!(budget.taken(), 0);
        assert!((2..6).contains(&some.len()), "{some}");
        let mut all = some;
        while all.len() < 8 {
            let held = got(bench.get("ack_requeue_true").await).await;
            let more = got(bench.get("ack_requeue_false").await).await;
            // What goes back is in memory beside what is told of it.
            assert!(!held.is_empty() && held.len() <= more.len() && more.starts_with(&held));
            all += &more;
        }
        assert_eq!(all, "abcdefgh");
        let looked_at = bench.send("GET", "/api/leveret/messages/%2F/q", &json!({})).await;
        assert!(budget.taken() > 0);
        drop(looked_at);
        assert_eq!(budget.taken(), 0);
        bench.server.stop().await;
    }

    #[tokio::test]
    async fn answers_take_room_until_the_client_has_them() {
        let budget = Arc::new(Budget::new(1000 * KIB as u64));
        let bench = Bench::new(&budget).await;
        let value = json!({ "value": "x".repeat(800 * KIB) });
        assert_eq!(bench.send("PUT", "/api/global-parameters/long", &value).await.status(), 201);
        let long = "/api/global-parameters";
        let unread = bench.ask(long).await;
        assert_eq!(unread.status(), 200);
        assert!((800 * KIB as u64..1000 * KIB as u64).contains(&budget.taken()));
        let refused = bench.ask(long).await;
        assert_eq!(refused.status(), 503);
        assert_eq!(json_of(refused).await["error"], "service_unavailable");
        assert_eq!(bench.ask("/api/whoami").await.status(), 200, "short ones are answered");
        let found = json_of(unread).await;
        assert!(found.as_array().unwrap().iter().any(|one| one["name"] == "long"));
        assert_eq!(budget.taken(), 0);
        // More than there is room for is answered as well, to one at a time.
        let value = json!({ "value": "x".repeat(800 * KIB) });
        assert_eq!(bench.send("PUT", "/api/global-parameters/more", &value).await.status(), 201);
        let unread = bench.ask(long).await;
        assert_eq!(unread.status(), 200);
        assert_eq!(budget.taken(), budget.max());
        assert_eq!(bench.ask(long).await.status(), 503);
        drop(unread);
        assert_eq!(bench.ask(long).await.status(), 200);
        bench.server.stop().await;
    }

    /// Many at a time would be there before any is counted.
    #[tokio::test]
    async fn a_list_takes_room_while_it_is_written() {
        static WRITTEN: AtomicUsize = AtomicUsize::new(0);
        const FIELDS: &[Field<()>] = &[("text", |()| {
            WRITTEN.fetch_add(1, Ordering::Relaxed);
            Some("x".repeat(KIB).into())
        })];
        let budget = Arc::new(Budget::new(1000 * KIB as u64));
        let bench = Bench::new(&budget).await;
        let (call, items) = (bench.call(), [(); 3000]);
        let mut others = Room::of(&budget);
        others.hold(2000 * KIB as u64);
        let refused = list::whole_list(&call, &items, FIELDS).err();
        assert_eq!(refused, Some(Failure::no_room()));
        assert!(WRITTEN.load(Ordering::Relaxed) < 100, "it was given up at once");
        assert_eq!(budget.taken(), 2000 * KIB as u64);
        assert!(list::whole_list(&call, &items[..10], FIELDS).is_ok(), "short ones are answered");
        drop(others);
        let unread = list::whole_list(&call, &items, FIELDS).unwrap();
        assert_eq!(budget.taken(), budget.max(), "to one at a time, however long it is");
        assert!(list::whole_list(&call, &items[..200], FIELDS).is_ok(), "and beside it to others");
        assert!(list::whole_list(&call, &items, FIELDS).is_err());
        drop(unread);
        assert_eq!(budget.taken(), 0);
        bench.server.stop().await;
    }

    /// There may be very many, and they are made while nobody counts their text.
    #[tokio::test]
    async fn definitions_take_room_while_they_are_made() {
        let budget = Arc::new(Budget::new(200 * KIB as u64));
        let bench = Bench::new(&budget).await;
        bench.send("PUT", "/api/queues/%2F/q", &json!({})).await;
        for key in 0..300 {
            let key = json!({ "routing_key": key.to_string() });
            let bound = bench.send("POST", "/api/bindings/%2F/e/amq.direct/q/q", &key).await;
            assert_eq!(bound.status(), 201);
        }
        for path in ["/api/definitions", "/api/definitions/%2F"] {
            // There is room for the text, but not for all it is made of.
            let mut others = Room::of(&budget);
            others.hold(200 * KIB as u64);
            assert_eq!(bench.ask(path).await.status(), 503, "{path}");
            drop(others);
            let unread = bench.ask(path).await;
            assert!((20 * KIB as u64..60 * KIB as u64).contains(&budget.taken()));
            assert_eq!(json_of(unread).await["bindings"].as_array().unwrap().len(), 300);
        }
        assert_eq!(budget.taken(), 0);
        bench.server.stop().await;
    }

    /// They are copies, made while nobody can bind.
    #[tokio::test]
    async fn bindings_take_room_before_they_are_written() {
        let budget = Arc::new(Budget::new(40 * KIB as u64));
        let bench = Bench::new(&budget).await;
        bench.send("PUT", "/api/queues/%2F/q", &json!({})).await;
        for key in 0..300 {
            let key = json!({ "routing_key": key.to_string() });
            let bound = bench.send("POST", "/api/bindings/%2F/e/amq.direct/q/q", &key).await;
            assert_eq!(bound.status(), 201);
        }
        // There is room for a short text, but not for all it is made of.
        let path = "/api/leveret/bindings/%2F/from/amq.direct?page=1&page_size=1";
        assert_eq!(bench.ask(path).await.status(), 200);
        let mut others = Room::of(&budget);
        others.hold(60 * KIB as u64);
        assert_eq!(bench.ask(path).await.status(), 503);
        drop(others);
        assert_eq!(bench.ask(path).await.status(), 200);
        assert_eq!(budget.taken(), 0);
        bench.server.stop().await;
    }
}
