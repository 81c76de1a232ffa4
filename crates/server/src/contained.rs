//! What a mistake in the broker costs: the connection or the round of work it was in, and a line in
//! the log.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::future::poll_fn;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

/// How long a task that panicked waits until it begins again: if it always does, it is not to do
/// nothing else.
const PAUSE: Duration = Duration::from_secs(1);

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Has panics of this process logged and counted; to be called by its `main`.
pub fn report_panics() {
    panic::set_hook(Box::new(report));
}

/// How many panics there were since [`report_panics`].
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

fn report(panic: &PanicHookInfo<'_>) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a thread");
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string);
    let place = place.as_deref().unwrap_or("an unknown place");
    tracing::error!(
        "{name} panicked at {place}: {message}; this is a mistake in the broker, please report it"
    );
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!("{backtrace}");
    }
}

/// It panicked, which has been logged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Runs a future to its end, or to its panic. What it worked on has to be put in order then.
pub(crate) async fn contained<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

/// Runs what has to go on for as long as the broker does: after a panic it is made and begun anew.
pub async fn steadily<F: Future<Output = ()>>(what: &str, make: impl Fn() -> F) {
    again_after(PAUSE, what, make).await;
}

async fn again_after<F: Future<Output = ()>>(pause: Duration, what: &str, make: impl Fn() -> F) {
    while let Err(Panicked) = contained(make()).await {
        tracing::error!("{what} begins again after its panic");
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn begun_late() -> bool {
        std::hint::black_box(false)
    }

    #[tokio::test]
    async fn a_panic_is_an_error_to_others() {
        assert_eq!(contained(async { 1 }).await, Ok(1));
        let late = async {
            tokio::task::yield_now().await;
            assert!(begun_late(), "as the test wants it");
        };
        assert_eq!(contained(late).await, Err(Panicked));
    }

    #[tokio::test]
    async fn what_has_to_go_on_begins_again() {
        let begun = Cell::new(0);
        again_after(Duration::ZERO, "the test", || async {
            begun.set(begun.get() + 1);
            assert!(begun.get() == 3, "as the test wants it");
        })
        .await;
        assert_eq!(begun.get(), 3);
    }
}
