//! Brings to one receiver what it is to be told, one after the other, and tries again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use leveret_engine::Millis;
use leveret_outbound::{HttpError, TrustError};
use leveret_server::config::{AlertsConfig, Receiver, Smtp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::notice::Telling;
use super::{command, email, webhook};
use crate::node::now;

/// What may wait for a receiver; what comes then is not told.
const WAITING_MAX: usize = 64;
/// How often something is tried.
const TRIES: u32 = 5;
/// The first pause between two tries; each is four times the one before.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one try may take.
pub(crate) const TRY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a receiver was not told.
#[derive(Debug, Error)]
pub(crate) enum Undelivered {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] HttpError),
    #[error("it answered {0}")]
    Status(axum::http::StatusCode),
    #[error("{0}")]
    Mail(#[from] lettre::transport::smtp::Error),
    #[error("an address can't be used: {0}")]
    Address(#[from] lettre::address::AddressError),
    #[error("the mail can't be made: {0}")]
    Letter(#[from] lettre::error::Error),
    #[error("the command ended with {0}")]
    Command(std::process::ExitStatus),
    #[error("certificates: {0}")]
    Certificates(#[from] TrustError),
    #[error("it took longer than {} s", TRY_TIMEOUT.as_secs())]
    TooSlow,
}

/// How a receiver is reached.
enum Way {
    Webhook(Receiver),
    Email(Smtp, Vec<String>),
    Command(Vec<String>),
}

/// The way to a receiver.
pub(crate) struct Courier {
    kind: &'static str,
    waiting: mpsc::Sender<Arc<Telling>>,
    record: Arc<Mutex<Record>>,
    stop: CancellationToken,
}

/// How it went.
#[derive(Clone, Default)]
struct Record {
    delivered: u64,
    failed: u64,
    last_error: Option<String>,
    last_delivered_at: Option<Millis>,
}

impl Courier {
    /// Starts a task for the receiver, which ends with `stop`. Called within a runtime.
    pub(crate) fn start(
        name: &str,
        receiver: &Receiver,
        config: &AlertsConfig,
        stop: CancellationToken,
    ) -> Self {
        let (kind, way) = match &config.smtp {
            Some(smtp) if !receiver.email.is_empty() => {
                ("email", Way::Email(smtp.clone(), receiver.email.clone()))
            }
            _ if !receiver.command.is_empty() => {
                ("command", Way::Command(receiver.command.clone()))
            }
            _ => ("webhook", Way::Webhook(receiver.clone())),
        };
        let (waiting, told) = mpsc::channel(WAITING_MAX);
        let record = Arc::new(Mutex::new(Record::default()));
        let (name, ca_file) = (name.to_owned(), config.ca_file.clone());
        let (writes, ends) = (Arc::clone(&record), stop.clone());
        tokio::spawn(async move {
            ends.run_until_cancelled(carry(name, way, ca_file, told, writes)).await;
        });
        Self { kind, waiting, record, stop }
    }

    /// Has the receiver told. Does not wait.
    pub(crate) fn hand(&self, telling: Arc<Telling>) {
        if self.waiting.try_send(telling).is_err() {
            let mut record = self.record.lock();
            record.failed += 1;
            record.last_error = Some(format!("{WAITING_MAX} notices wait already"));
        }
    }

    pub(crate) fn to_json(&self, name: &str) -> Value {
        let Record { delivered, failed, last_error, last_delivered_at } =
            self.record.lock().clone();
        json!({
            "name": name,
            "by": self.kind,
            "delivered": delivered,
            "failed": failed,
            "last_error": last_error,
            "last_delivered_at": last_delivered_at.map(|at| at.0),
        })
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn carry(
    name: String,
    way: Way,
    ca_file: Option<PathBuf>,
    mut told: mpsc::Receiver<Arc<Telling>>,
    record: Arc<Mutex<Record>>,
) {
    while let Some(telling) = told.recv().await {
        let mut pause = PAUSE;
        for attempt in 1..=TRIES {
            let brought = timeout(TRY_TIMEOUT, bring(&way, ca_file.as_ref(), &telling)).await;
            let Err(error) = brought.unwrap_or(Err(Undelivered::TooSlow)) else {
                let mut record = record.lock();
                record.delivered += 1;
                record.last_delivered_at = Some(now());
                break;
            };
            let is_last = attempt == TRIES;
            let then = if is_last { "given up" } else { "it will be tried again" };
            tracing::warn!(
                "receiver {name} is not told of alert {}: {error}; {then}",
                telling.rule
            );
            {
                let mut record = record.lock();
                record.last_error = Some(error.to_string());
                record.failed += u64::from(is_last);
            }
            if !is_last {
                sleep(pause).await;
                pause *= 4;
            }
        }
    }
}

async fn bring(way: &Way, ca_file: Option<&PathBuf>, telling: &Telling) -> Result<(), Undelivered> {
    match way {
        Way::Webhook(receiver) => webhook::post(receiver, ca_file, telling).await,
        Way::Email(smtp, to) => email::send(smtp, to, ca_file, telling).await,
        Way::Command(words) => command::run(words, telling).await,
    }
}
