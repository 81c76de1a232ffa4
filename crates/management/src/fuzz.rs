//! For `crates/fuzz`: the API of a broker in memory, without listeners, asked over its control socket.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use leveret_server::Server;
use leveret_server::config::{Config, Storage};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::client::Peer;
use crate::dispatch;
use crate::node::Node;
use crate::routes::ROUTES;

/// A broker that listens nowhere.
pub struct Bench {
    server: Server,
    router: TowerToHyperService<Router>,
    runtime: Runtime,
}

/// The longest answer.
const BODY_MAX: usize = 64 << 20;

impl Bench {
    /// A fresh one; `None` if it doesn't start.
    pub fn new() -> Option<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let storage = Storage::Ephemeral;
        let config = Config { listen: Vec::new(), storage, ..Config::default() };
        let server = runtime.block_on(Server::start(config)).ok()?;
        let stop = CancellationToken::new();
        let node = Arc::new(Node::new(&server, Vec::new(), None, stop));
        let router = TowerToHyperService::new(dispatch::router(&node, &[ROUTES]));
        Some(Self { server, router, runtime })
    }

    /// Makes a request. What comes back, and its body.
    pub fn ask(&self, method: &str, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let Ok(method) = method.parse() else { return (400, Vec::new()) };
        self.send(method, target, body)
    }

    /// Imports definitions, and says with which status.
    pub fn import(&self, definitions: &[u8]) -> u16 {
        self.send(Method::POST, "/api/definitions", definitions).0
    }

    /// All definitions.
    pub fn export(&self) -> Vec<u8> {
        self.send(Method::GET, "/api/definitions", b"").1
    }

    fn send(&self, method: Method, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let request = Request::builder().method(method).uri(target).extension(Peer::Operator);
        // What is no request never gets here.
        let Ok(request) = request.body(Body::from(body.to_vec())) else { return (400, Vec::new()) };
        self.runtime.block_on(async {
            let Ok(response) = self.router.call(request).await;
            let status = response.status();
            let body = to_bytes(response.into_body(), BODY_MAX).await;
            let failed = |_| (StatusCode::INTERNAL_SERVER_ERROR.as_u16(), Vec::new());
            body.map_or_else(failed, |body| (status.as_u16(), body.to_vec()))
        })
    }

    /// Stops the broker.
    pub fn end(self) {
        self.runtime.block_on(self.server.stop());
    }
}
