//! Runs the checks of a program, as the programs in other languages do.

use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

/// A check by its name.
pub struct Check {
    name: &'static str,
    run: Pin<Box<dyn Future<Output = anyhow::Result<()>>>>,
}

/// How long a check may take. Generous: it bounds a hang.
const LIMIT: Duration = Duration::from_secs(30);

/// A check by its name.
pub fn check(name: &'static str, run: impl Future<Output = anyhow::Result<()>> + 'static) -> Check {
    Check { name, run: Box::pin(run) }
}

/// Makes the checks in their order, names each that fails, and says how many there were.
pub async fn run(checks: Vec<Check>) -> ExitCode {
    let total = checks.len();
    let mut passed = 0;
    for Check { name, run } in checks {
        match tokio::time::timeout(LIMIT, run).await {
            Ok(Ok(())) => passed += 1,
            Ok(Err(error)) => println!("{name}: {error:#}"),
            Err(_) => println!("{name}: took longer than {} s", LIMIT.as_secs()),
        }
    }
    println!("{passed} of {total} checks passed");
    if passed == total { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The broker, as a URL.
#[must_use]
pub fn url() -> String {
    let default = || "amqp://guest:guest@localhost:5672/%2f".to_owned();
    std::env::var("AMQP_URL").unwrap_or_else(|_| default())
}

/// A name nobody else uses: several programs share a broker.
#[must_use]
pub fn unique(name: &str) -> String {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanoseconds = clock.map(|time| time.as_nanos()).unwrap_or_default();
    format!("interop.{name}.{}.{nanoseconds:x}", std::process::id())
}
