//! Futures that resolve when a number passes a limit, woken by the writer once per batch.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use crate::{Lsn, shared::Shared};

/// Tasks waiting, each for a number of its own.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<List>);

#[derive(Default)]
struct List {
    last_id: u64,
    /// By identity, which is never given twice: whoever was woken must not remove another.
    waiting: BTreeMap<u64, Waiter>,
}

struct Waiter {
    goal: u64,
    waker: Waker,
}

impl Waiters {
    /// Polls for `goal`: ready if `reached`, else woken by the first [`Waiters::wake`] that finds
    /// it so.
    fn poll(
        &self,
        id: &mut Option<u64>,
        goal: u64,
        context: &Context<'_>,
        reached: impl Fn() -> bool,
    ) -> Poll<()> {
        if reached() {
            self.remove(id);
            return Poll::Ready(());
        }
        let mut list = self.0.lock();
        // The writer publishes before it takes this lock, so one of the two sees the other.
        if reached() {
            drop(list);
            self.remove(id);
            return Poll::Ready(());
        }
        if let Some(waiter) = id.and_then(|id| list.waiting.get_mut(&id)) {
            waiter.waker.clone_from(context.waker());
        } else {
            list.last_id += 1;
            let new = list.last_id;
            *id = Some(new);
            list.waiting.insert(new, Waiter { goal, waker: context.waker().clone() });
        }
        Poll::Pending
    }

    fn remove(&self, id: &mut Option<u64>) {
        if let Some(id) = id.take() {
            self.0.lock().waiting.remove(&id);
        }
    }

    /// Wakes every task whose goal is `reached`. `scratch` keeps its memory between calls.
    pub(crate) fn wake(&self, scratch: &mut Vec<Waker>, reached: impl Fn(u64) -> bool) {
        let mut list = self.0.lock();
        let woken = list.waiting.extract_if(.., |_, waiter| reached(waiter.goal));
        scratch.extend(woken.map(|(_, waiter)| waiter.waker));
        drop(list);
        scratch.drain(..).for_each(Waker::wake);
    }
}

/// Future of [`Store::durable`](crate::Store::durable).
#[must_use = "futures do nothing unless polled"]
pub struct Durable {
    shared: Arc<Shared>,
    lsn: Lsn,
    id: Option<u64>,
}

impl Durable {
    pub(crate) const fn new(shared: Arc<Shared>, lsn: Lsn) -> Self {
        Self { shared, lsn, id: None }
    }
}

impl Future for Durable {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { shared, lsn, id } = self.get_mut();
        shared.durable_waiters.poll(id, lsn.0, context, || shared.durable() >= lsn.0)
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        self.shared.durable_waiters.remove(&mut self.id);
    }
}

/// Future of [`Store::writable`](crate::Store::writable).
#[must_use = "futures do nothing unless polled"]
pub struct Writable {
    shared: Arc<Shared>,
    limit: usize,
    id: Option<u64>,
}

impl Writable {
    pub(crate) const fn new(shared: Arc<Shared>, limit: usize) -> Self {
        Self { shared, limit, id: None }
    }
}

impl Future for Writable {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { shared, limit, id } = self.get_mut();
        let goal = *limit as u64;
        shared.writable_waiters.poll(id, goal, context, || shared.buffered() < *limit)
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        self.shared.writable_waiters.remove(&mut self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        task::Wake,
    };

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Task {
        id: Option<u64>,
        count: Arc<Count>,
    }

    impl Task {
        fn wait(waiters: &Waiters, goal: u64) -> Self {
            let mut task = Self { id: None, count: Arc::default() };
            task.poll(waiters, goal);
            task
        }

        fn poll(&mut self, waiters: &Waiters, goal: u64) {
            let waker = Waker::from(Arc::clone(&self.count));
            let polled = waiters.poll(&mut self.id, goal, &Context::from_waker(&waker), || false);
            assert!(polled.is_pending());
        }

        fn woken(&self) -> u32 {
            self.count.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn each_is_woken_once_by_what_it_waits_for() {
        let waiters = Waiters::default();
        let tasks: Vec<Task> = (0..1000).map(|goal| Task::wait(&waiters, goal)).collect();
        let mut scratch = Vec::new();
        for reached in [250, 250, 600] {
            waiters.wake(&mut scratch, |goal| goal <= reached);
            let woken = tasks.iter().filter(|task| task.woken() == 1).count();
            assert_eq!(woken as u64, reached + 1);
        }
        assert!(tasks.iter().all(|task| task.woken() <= 1));
    }

    #[test]
    fn one_that_was_woken_and_goes_takes_no_other_with_it() {
        let waiters = Waiters::default();
        let mut first = Task::wait(&waiters, 1);
        waiters.wake(&mut Vec::new(), |goal| goal <= 1);
        let second = Task::wait(&waiters, 2);
        waiters.remove(&mut first.id);
        waiters.wake(&mut Vec::new(), |goal| goal <= 2);
        assert_eq!((first.woken(), second.woken()), (1, 1));
    }

    #[test]
    fn who_is_polled_again_is_woken_by_the_waker_given_last() {
        let waiters = Waiters::default();
        let mut task = Task::wait(&waiters, 1);
        let before = std::mem::take(&mut task.count);
        task.poll(&waiters, 1);
        waiters.wake(&mut Vec::new(), |_| true);
        assert_eq!((before.0.load(Ordering::Relaxed), task.woken()), (0, 1));
    }
}
