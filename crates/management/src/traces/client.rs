//! The exporter's way over HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use leveret_outbound::{HttpClient, RequestBuilder, Trust};
use opentelemetry_http::{Bytes, HttpClient as ExporterClient, HttpError, Request, Response};
use parking_lot::Mutex;
use tokio::time::timeout;

/// The largest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    timeout: Duration,
    last_failure: LastFailure,
}

/// Why the last request failed that did. The exporter only tells that one has.
pub(super) type LastFailure = Arc<Mutex<String>>;

impl Client {
    pub(super) fn new(trust: Trust, timeout: Duration) -> Self {
        Self { http: HttpClient::new(trust), timeout, last_failure: LastFailure::default() }
    }

    pub(super) fn last_failure(&self) -> LastFailure {
        Arc::clone(&self.last_failure)
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let url = head.uri.to_string();
        let make = |mut request: RequestBuilder| {
            request = request.method(head.method.clone());
            head.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
        };
        let sent = self.http.send(&url, make, body, ANSWER_MAX);
        let answer = timeout(self.timeout, sent).await??;
        if !answer.status.is_success() {
            return Err(format!("it answered {}", answer.status).into());
        }
        Ok(Response::builder().status(answer.status).body(answer.body)?)
    }
}

#[async_trait]
impl ExporterClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.exchange(request).await;
        if let Err(error) = &answer {
            *self.last_failure.lock() = error.to_string();
        }
        answer
    }
}
