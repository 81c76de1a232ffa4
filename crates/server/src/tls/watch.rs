//! The task that notices new files.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::files::{self, Stamp};
use super::{Tls, TlsListeners};

/// Looks at the files from time to time, and reads those again that are new, until the broker
/// stops.
pub(crate) async fn watch(listeners: TlsListeners, stop: CancellationToken) {
    let mut watched: Vec<Watched> = listeners
        .all()
        .into_iter()
        .filter_map(|(name, tls)| {
            Some(Watched { name, tls: Arc::clone(tls?), refused: Vec::new() })
        })
        .collect();
    while let Some(interval) = watched.iter().map(Watched::interval).min() {
        tokio::select! {
            () = sleep(interval) => {}
            () = stop.cancelled() => return,
        }
        let look = move || {
            watched.iter_mut().for_each(Watched::look);
            watched
        };
        watched = match tokio::task::spawn_blocking(look).await {
            Ok(watched) => watched,
            Err(_) => return,
        };
    }
}

struct Watched {
    name: &'static str,
    tls: Arc<Tls>,
    /// Files that were new and could not be used: they are told of once.
    refused: Vec<Stamp>,
}

impl Watched {
    fn interval(&self) -> Duration {
        self.tls.served().config.reload_interval
    }

    fn look(&mut self) {
        let served = self.tls.served();
        let stamps = files::stamps(&served.config);
        if stamps == served.stamps || stamps == self.refused {
            return;
        }
        match self.tls.renew(&served) {
            Ok(true) => tracing::info!("certificates for {} are new and were read", self.name),
            Ok(false) => {}
            Err(error) => {
                tracing::error!("TLS for {} stays as it was: {error}", self.name);
                self.refused = stamps;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::config::{TlsConfig, TlsVersion};

    #[test]
    fn settings_that_come_while_files_are_read_stay() {
        let folder = TempDir::new().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&cert, identity.cert.pem()).unwrap();
        fs::write(&key, identity.signing_key.serialize_pem()).unwrap();
        let before =
            TlsConfig { cert_files: vec![cert], key_files: vec![key], ..TlsConfig::default() };
        let after = TlsConfig { versions: vec![TlsVersion::Tls13], ..before.clone() };
        let tls = Tls::new(before, None).unwrap();
        let looked_at = tls.served();
        assert!(tls.renew(&looked_at).unwrap());
        let looked_at = tls.served();
        tls.reload(after.clone()).unwrap();
        assert!(!tls.renew(&looked_at).unwrap());
        assert_eq!(tls.served().config, after);
    }
}
