//! How long the allocator keeps what is free before the system gets it back.
//!
//! This is the one place with `unsafe` in the workspace: mimalloc's options are the C library's, and
//! nothing but its environment variables or these calls sets them.

use std::ffi::{c_int, c_long};
use std::fs;
use std::time::Duration;

use libmimalloc_sys::{mi_option_get, mi_option_set_default};

/// `mi_option_purge_delay` of `mimalloc.h`, in milliseconds: a number libmimalloc-sys does not name.
const PURGE_DELAY: c_int = 15;

/// A backlog is written and read at a gigabyte a second. What it frees is wanted again at once or not
/// at all, and mimalloc's whole second of it is 10 MiB that nobody uses. Sooner than this costs more
/// CPU than it frees memory.
const SOONER: c_long = 200;

/// Has free memory go back to the system a fifth of a second after it was freed, in place of a
/// second, unless `MIMALLOC_PURGE_DELAY` in the environment says something else. Answers when it now
/// does, or `None`, and changes nothing, if that was called too late: once there are other threads.
pub fn give_back_sooner() -> Option<Duration> {
    if !is_only_thread() {
        return None;
    }
    let delay = set_default(PURGE_DELAY, SOONER);
    u64::try_from(delay).ok().map(Duration::from_millis)
}

/// Nobody but this thread could start another meanwhile.
fn is_only_thread() -> bool {
    fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Sets an option that the environment does not, and answers what it is then.
#[allow(unsafe_code)]
fn set_default(option: c_int, value: c_long) -> c_long {
    // SAFETY: both functions take and give plain numbers, and refuse an `option` out of range: they
    // return 0 and do nothing. They read and write one entry of a static array without a lock, which
    // is a race only with other threads, and those whom the only caller lets through have none.
    unsafe {
        mi_option_set_default(option, value);
        mi_option_get(option)
    }
}
