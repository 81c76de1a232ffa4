use std::sync::atomic::{AtomicBool, Ordering};

/// Sets a flag that threads look at when it goes out of scope: also by a panic, so that whoever goes
/// on until it is set doesn't have the test hang that has failed.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
