//! The exporter's way over HTTP.

use std::time::Duration;

use async_trait::async_trait;
use leveret_outbound::{HttpClient, RequestBuilder, Trust};
use opentelemetry_http::{Bytes, HttpClient as ExporterClient, HttpError, Request, Response};
use tokio::time::timeout;

/// The largest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(trust: Trust, timeout: Duration) -> Self {
        Self { http: HttpClient::new(trust), timeout }
    }
}

#[async_trait]
impl ExporterClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
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
