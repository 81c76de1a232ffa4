//! Being asked to stop.

use std::process;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What a shell shows of a program that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// Whether SIGINT or SIGTERM came.
pub(super) struct Stop {
    asked: watch::Receiver<bool>,
}

impl Stop {
    /// Called within a runtime. The first signal asks for an orderly end, the second one ends it.
    pub(super) fn on_signals() -> Self {
        let (sender, asked) = watch::channel(false);
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            // Without a handler a signal ends the program as ever, which loses nothing either.
            let Ok(mut signals) = signal(kind) else { continue };
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    if sender.send_replace(true) {
                        process::exit(INTERRUPTED);
                    }
                }
            });
        }
        Self { asked }
    }

    pub(super) fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Waits until it is.
    pub(super) async fn asked(&self) {
        let mut asked = self.asked.clone();
        // Who would ask is gone only with the runtime.
        let _ = asked.wait_for(|asked| *asked).await;
    }
}
