//! Futures that resolve when a number passes a limit, woken by the writer once per batch.

use std::{
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
    next_id: u64,
    waiting: Vec<Waiter>,
}

struct Waiter {
    id: u64,
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
        if let Some(waiter) = list.waiting.iter_mut().find(|waiter| Some(waiter.id) == *id) {
            waiter.waker.clone_from(context.waker());
        } else {
            list.next_id += 1;
            *id = Some(list.next_id);
            let id = list.next_id;
            list.waiting.push(Waiter { id, goal, waker: context.waker().clone() });
        }
        Poll::Pending
    }

    fn remove(&self, id: &mut Option<u64>) {
        if let Some(id) = id.take() {
            self.0.lock().waiting.retain(|waiter| waiter.id != id);
        }
    }

    /// Wakes every task whose goal is `reached`. `scratch` keeps its memory between calls.
    pub(crate) fn wake(&self, scratch: &mut Vec<Waker>, reached: impl Fn(u64) -> bool) {
        let mut list = self.0.lock();
        let mut at = 0;
        while let Some(waiter) = list.waiting.get(at) {
            if reached(waiter.goal) {
                scratch.push(list.waiting.swap_remove(at).waker);
            } else {
                at += 1;
            }
        }
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
