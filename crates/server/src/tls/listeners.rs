//! TLS of all kinds of listeners.

use std::sync::Arc;

use super::Tls;
use super::error::TlsError;
use crate::config::{Config, TlsConfig};

/// What RFC 7301 calls what is spoken with HTTP clients.
const HTTP: &[u8] = b"http/1.1";

/// TLS of the kinds of listeners that have any.
#[derive(Clone, Default)]
pub struct TlsListeners {
    /// For AMQP.
    pub amqp: Option<Arc<Tls>>,
    /// For the HTTP API.
    pub management: Option<Arc<Tls>>,
    /// For the metrics.
    pub metrics: Option<Arc<Tls>>,
}

/// Reads the files that listeners with TLS would be served with.
///
/// # Errors
/// The first one that can't be used.
pub fn check_tls(config: &Config) -> Result<(), TlsError> {
    TlsListeners::new(config).map(drop)
}

impl TlsListeners {
    /// Reads the files for the listeners there are.
    pub(crate) fn new(config: &Config) -> Result<Self, TlsError> {
        let [amqp, management, metrics] = sections(config)?;
        let serve = |is_wanted: bool, config: &TlsConfig, application| match is_wanted {
            true => Tls::new(config.clone(), application).map(|tls| Some(Arc::new(tls))),
            false => Ok(None),
        };
        Ok(Self {
            amqp: serve(!config.listen_tls.is_empty(), amqp, None)?,
            management: serve(!config.management_tls.is_empty(), management, Some(HTTP))?,
            metrics: serve(!config.metrics_tls.is_empty(), metrics, Some(HTTP))?,
        })
    }

    /// Reads all files anew. What can't be used is told, and changes nothing.
    pub(crate) fn reload(&self, config: &Config) {
        let sections = match sections(config) {
            Ok(sections) => sections,
            Err(error) => return tracing::error!("TLS stays as it was: {error}"),
        };
        for ((name, tls), config) in self.all().into_iter().zip(sections) {
            let Some(tls) = tls else { continue };
            match tls.reload(config.clone()) {
                Ok(()) => tracing::info!("certificates for {name} were read again"),
                Err(error) => tracing::error!("TLS for {name} stays as it was: {error}"),
            }
        }
    }

    /// By name.
    pub(super) fn all(&self) -> [(&'static str, Option<&Arc<Tls>>); 3] {
        [
            ("AMQP", self.amqp.as_ref()),
            ("management", self.management.as_ref()),
            ("metrics", self.metrics.as_ref()),
        ]
    }
}

/// The sections of the settings that count for AMQP, the HTTP API and the metrics.
fn sections(config: &Config) -> Result<[&TlsConfig; 3], TlsError> {
    Ok([
        &config.tls,
        section(config, "tls.management", &config.tls_management)?,
        section(config, "tls.metrics", &config.tls_metrics)?,
    ])
}

/// A listener's own section, once it says anything, or the one for all.
fn section<'a>(
    config: &'a Config,
    name: &str,
    own: &'a TlsConfig,
) -> Result<&'a TlsConfig, TlsError> {
    if *own == TlsConfig::default() {
        return Ok(&config.tls);
    }
    if own.cert_files.is_empty() {
        let reason = format!("[{name}] counts as a whole, and names no certificate (cert_file)");
        return Err(TlsError::settings(reason));
    }
    Ok(own)
}
