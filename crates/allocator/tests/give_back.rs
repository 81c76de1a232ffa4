//! Run without the usual harness, whose threads would be in the way.

use std::env;
use std::io;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const VARIABLE: &str = "MIMALLOC_PURGE_DELAY";

fn main() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(expected) = env::args().nth(1).and_then(|word| word.parse().ok()) {
        answers(Duration::from_millis(expected));
    } else {
        // What the environment says by name is found by number: it is the right option.
        for (set, expected) in [(None, "200"), (Some("77"), "77"), (Some("1000"), "1000")] {
            let mut again = Command::new(env::current_exe()?);
            again.arg(expected).env_remove(VARIABLE).envs(set.map(|value| (VARIABLE, value)));
            assert!(again.status()?.success(), "{VARIABLE}={set:?}");
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn answers(expected: Duration) {
    use leveret_allocator::{Allocator, give_back_sooner};

    #[global_allocator]
    static ALLOCATOR: Allocator = Allocator;

    assert_eq!(give_back_sooner(), Some(expected));
    let (done, wait) = mpsc::sync_channel::<()>(0);
    let other = thread::spawn(move || wait.recv());
    assert_eq!(give_back_sooner(), None, "another thread may be looking");
    drop(done);
    assert!(other.join().is_ok_and(|waited| waited.is_err()));
}
