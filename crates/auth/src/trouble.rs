//! A backend that can't be asked is told of once, until it can again.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::settings::Backend;

#[derive(Debug)]
pub(crate) struct Trouble {
    backend: Backend,
    has_begun: AtomicBool,
}

impl Trouble {
    pub(crate) fn of(backend: Backend) -> Self {
        Self { backend, has_begun: AtomicBool::new(false) }
    }

    /// Notes how asking went.
    pub(crate) fn note<T, E: std::fmt::Display>(&self, asked: &Result<T, E>) {
        let name = self.backend.name();
        match asked {
            Ok(_) if self.has_begun.swap(false, Ordering::Relaxed) => {
                tracing::info!("the authentication backend '{name}' answers again");
            }
            Ok(_) => {}
            Err(error) if self.has_begun.swap(true, Ordering::Relaxed) => {
                tracing::debug!("the authentication backend '{name}' can't be asked: {error}");
            }
            Err(error) => {
                tracing::error!(
                    "the authentication backend '{name}' can't be asked: {error}; what it decides is \
                     refused until it can"
                );
            }
        }
    }
}
