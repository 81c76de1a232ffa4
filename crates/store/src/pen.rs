//! The right to write the journal, lent to a thread that would otherwise only wait for it.

use parking_lot::MutexGuard;

use crate::{
    Store,
    shared::{FatalPanic, Parked, Shared},
    writer::Writer,
};

/// The journal's writer while its own thread sleeps. What is appended as long as this is held wakes
/// nobody; when it is dropped the thread is given what is left to do.
///
/// To be held for a moment only, and never across an await.
pub struct Pen<'a> {
    shared: &'a Shared,
    writer: MutexGuard<'a, Writer>,
    /// What the thread waits for.
    parked: Parked,
}

impl Store {
    /// Lends the pen, which spares a message on its own two changes of threads on its way to the disk.
    ///
    /// `None` if the writer is at work, if the last sync took so long that nobody but the writer
    /// should wait for the next, or if it was for so many appends that more are likely to gather.
    pub fn pen(&self) -> Option<Pen<'_>> {
        let writer = self.writer.try_lock()?;
        if !writer.may_lend() {
            return None;
        }
        let mut pending = self.shared.pending.lock();
        if pending.parked == Parked::Busy {
            return None;
        }
        let parked = std::mem::take(&mut pending.parked);
        drop(pending);
        Some(Pen { shared: &self.shared, writer, parked })
    }
}

impl Pen<'_> {
    /// Writes what was appended and makes it durable. Blocks for the disk. Leaves it to the writer's
    /// thread if it needs another segment, which may take long to come.
    pub fn write(&mut self) {
        let _guard = FatalPanic { shared: self.shared, thread: "journal" };
        self.writer.write_urgent();
    }
}

impl Drop for Pen<'_> {
    fn drop(&mut self) {
        let mut pending = self.shared.pending.lock();
        if self.writer.must_look(&pending) {
            drop(pending);
            self.shared.writer_wake.notify_one();
        } else {
            pending.parked = self.parked;
        }
    }
}
