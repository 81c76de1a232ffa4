//! Sends spans of messages to an OpenTelemetry collector, by OTLP over HTTP.
//!
//! The broker leaves them in [`WaitingSpans`], which is bounded; a collector that does not answer
//! costs spans, and nothing else.

mod client;
mod span_data;

use std::sync::Arc;
use std::time::Duration;

use leveret_outbound::Trust;
use leveret_server::WaitingSpans;
use leveret_server::config::TracingConfig;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::client::{Client, LastFailure};
use self::span_data::span_data;

/// Spans sent at a time.
const BATCH: usize = 512;
/// How long further spans are waited for before some are sent.
const GATHERING: Duration = Duration::from_millis(500);
/// How long one try may take.
pub(crate) const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a try that failed; each is twice the one before, up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the last spans may take when the broker stops.
const STOP_TIMEOUT: Duration = Duration::from_millis(200);

/// Sends what comes until the broker stops, and then what is left.
pub(crate) async fn run(
    config: TracingConfig,
    node: String,
    spans: Arc<WaitingSpans>,
    stop: CancellationToken,
) {
    let endpoint = config.endpoint.clone().unwrap_or_default();
    let client = Client::new(Trust::new(config.ca_file.clone(), None), TRY_TIMEOUT);
    let last_failure = client.last_failure();
    let exporter = match exporter(client, &config, &node) {
        Ok(exporter) => exporter,
        Err(error) => {
            tracing::error!("no spans are sent to {endpoint}: {error}");
            return;
        }
    };
    let mut batch = Vec::new();
    let sending = send_all(&exporter, &endpoint, &spans, &last_failure, &mut batch);
    if stop.run_until_cancelled(sending).await.is_none() {
        batch.extend(spans.take(usize::MAX).into_iter().map(span_data));
        if !batch.is_empty() {
            // Too late to try again.
            let _ = timeout(STOP_TIMEOUT, exporter.export(batch)).await;
        }
    }
}

/// Sends what comes, for good. What is being sent is in `batch`.
async fn send_all(
    exporter: &SpanExporter,
    endpoint: &str,
    spans: &WaitingSpans,
    last_failure: &LastFailure,
    batch: &mut Vec<SpanData>,
) {
    let (mut pause, mut is_failing) = (PAUSE, false);
    loop {
        if batch.is_empty() {
            spans.some().await;
            if spans.len() < BATCH {
                sleep(GATHERING).await;
            }
            batch.extend(spans.take(BATCH).into_iter().map(span_data));
        }
        match exporter.export(batch.clone()).await {
            Ok(()) => {
                batch.clear();
                (pause, is_failing) = (PAUSE, tell_success(endpoint, spans, is_failing));
            }
            Err(_) => {
                tell_failure(endpoint, &last_failure.lock(), is_failing);
                is_failing = true;
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(2 * pause);
            }
        }
    }
}

/// Says once that spans can't be sent.
fn tell_failure(endpoint: &str, why: &str, is_failing: bool) {
    if !is_failing {
        tracing::warn!(
            "spans can't be sent to {endpoint}: {why}. It is tried again; what finds no room \
             meanwhile is lost"
        );
    }
}

/// Says that spans can be sent again, and that some are lost.
fn tell_success(endpoint: &str, spans: &WaitingSpans, was_failing: bool) -> bool {
    let lost = spans.take_lost();
    if was_failing {
        tracing::warn!("spans are sent to {endpoint} again; {lost} were lost");
    } else if lost > 0 {
        tracing::warn!("{lost} spans found no room and were lost: follow fewer messages");
    }
    false
}

fn exporter(
    client: Client,
    config: &TracingConfig,
    node: &str,
) -> Result<SpanExporter, ExporterBuildError> {
    let endpoint = config.endpoint.clone().unwrap_or_default();
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(client)
        .with_endpoint(endpoint)
        .with_retry_policy(RetryPolicy::disabled())
        .build()?;
    let resource = Resource::builder_empty()
        .with_service_name(config.service_name.clone())
        .with_attribute(KeyValue::new("service.instance.id", node.to_owned()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    exporter.set_resource(&resource);
    Ok(exporter)
}
