//! The memory of messages: a budget that all queues and clients share, and who sees to it.
//!
//! Queues say what their ready messages take, where they say everything else: under their own lock,
//! after each turn of work. Clients say what the deliveries take that they have not settled
//! ([`HeldMemory`](crate::HeldMemory)). When that is more than the budget, they are asked one after
//! the other to page messages out, those that have waited for longest to be asked first. What queues
//! want to have back is read with no lock held. Both is done by [`Broker::page`], on threads that may wait for
//! the disk.

mod asked;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use leveret_engine::Millis;
use leveret_store::Store;
use parking_lot::{Condvar, Mutex};

use self::asked::{Asked, Holding};
use crate::broker::Broker;
use crate::held_memory::Holder;
use crate::queue::SharedQueue;
use crate::remembered::RememberedMemory;
use crate::turn::Turn;

/// The budget and the queues there is something to do for. A leaf among the locks, taken under a
/// queue's.
pub(crate) struct Pager {
    budget: u64,
    /// Above this messages are written that the journal does not have.
    spill_limit: u64,
    /// What ready messages, unsettled deliveries and dead letters that wait take in memory, about, in bytes.
    memory: AtomicU64,
    /// Queues with messages in memory.
    holders: AtomicU64,
    /// What deduplicators take beside them: it can't be paged out, but has its part of what need not be written.
    remembered: Arc<RememberedMemory>,
    /// The memory exceeds the budget, and somebody has been told.
    is_over: AtomicBool,
    /// The last attempt to write messages to disk that the journal does not have has failed.
    could_not_spill: AtomicBool,
    /// The memory exceeds what is reason to write messages that the journal does not have.
    must_spill: AtomicBool,
    /// Whoever adds to the memory above this waits until less is there.
    hold_above: AtomicU64,
    /// The memory exceeds that: publishers wait.
    is_behind: AtomicBool,
    /// Told when they may not have to any more.
    relief: OnceLock<ReliefListener>,
    /// Who tells of deliveries, each in [steps](Self::step).
    shares: AtomicU64,
    lists: Mutex<Lists>,
    wake: Condvar,
}

/// Told when publishers need no longer wait, with locks held: it must not call back.
pub type ReliefListener = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Lists {
    /// Queues that want something read; each once.
    wanting: VecDeque<Weak<SharedQueue>>,
    /// Queues for which the disk could not be read, and when to try again, ascending.
    unread: VecDeque<(Instant, Weak<SharedQueue>)>,
    holding: Asked,
    /// How many are to be asked before the pager gives up for a while.
    left_to_ask: usize,
    /// Nothing more could be paged out: not before this time again.
    rest_until: Option<Instant>,
    /// How long the last such rest was.
    rest: Duration,
    /// How many are paging out now.
    at_work: usize,
    is_closed: bool,
}

/// Something to do.
enum Task {
    /// A queue wants messages read.
    Read(Weak<SharedQueue>),
    /// It is time to try again.
    ReadAgain(Weak<SharedQueue>),
    /// Somebody should page messages out.
    PageOut(Holding),
    End,
}

/// The largest step in which a change of what deliveries take is told, in bytes, and the part of the
/// budget that is divided into steps.
const STEP_MAX: u64 = 32 * 1024;
const STEPS_SHARE: u64 = 16;
/// Most that one queue reads ahead, and keeps in front, in bytes.
const WINDOW_MAX: u64 = 1 << 20;
/// Messages that go at a time: nobody should wait long for their queue.
const AT_ONCE: usize = 4096;
/// Memory of the messages that are written at a time, in bytes: what goes beyond what has to could have
/// stayed, and makes room so suddenly that the allocator does not use it again.
const SPILLED_AT_ONCE_MAX: u64 = 1 << 20;
/// How long the pager rests when all that is over the budget has to stay: twice as long each time.
const REST_MIN: Duration = Duration::from_millis(4);
const REST_MAX: Duration = Duration::from_millis(256);
/// What may wait to be written besides what may stay in memory, in bytes: beyond it publishers wait.
const UNWRITTEN_MAX: u64 = 8 << 20;
/// The part of what messages may take that the journal does not have above which deduplicators have shares; twice
/// that is the most they take.
const REMEMBERED_SHARE: u64 = 4;
/// How long a queue waits when the disk could not be read for it.
const RETRY: Duration = Duration::from_secs(1);

impl Pager {
    /// A pager for a budget, and for what messages that the journal does not have may take before they
    /// are written: that is work which for the others has been done already.
    pub(crate) fn new(budget: u64, spill_limit: u64) -> Self {
        Self {
            budget,
            spill_limit,
            memory: AtomicU64::new(0),
            remembered: Arc::new(RememberedMemory::new(spill_limit / REMEMBERED_SHARE)),
            is_over: AtomicBool::new(false),
            could_not_spill: AtomicBool::new(false),
            must_spill: AtomicBool::new(false),
            hold_above: AtomicU64::new(hold_above(budget, spill_limit)),
            is_behind: AtomicBool::new(false),
            relief: OnceLock::new(),
            holders: AtomicU64::new(0),
            shares: AtomicU64::new(0),
            lists: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// What ready messages and unsettled deliveries may take in memory, about, in bytes.
    pub(crate) const fn budget(&self) -> u64 {
        self.budget
    }

    /// What one queue may have in memory of the messages next to be delivered.
    pub(crate) fn window(&self) -> u64 {
        let holders = self.holders.load(Ordering::Relaxed).max(1);
        (self.budget / 4 / holders).min(WINDOW_MAX)
    }

    /// A queue's messages take so much now, instead of what they did. Whether that is more, and whoever
    /// published it has to wait.
    pub(crate) fn changed(&self, before: u64, now: u64) -> bool {
        let change = now.wrapping_sub(before);
        let memory = self.memory.fetch_add(change, Ordering::Relaxed).wrapping_add(change);
        if now <= before {
            if self.is_behind() {
                self.relieve_if_enough_has_gone();
            }
            return false;
        }
        if memory > self.budget && !self.is_over.swap(true, Ordering::Relaxed) {
            self.lists.lock().left_to_ask = usize::MAX;
            self.wake.notify_one();
        }
        let all = memory.wrapping_add(self.remembered.taken());
        if all > self.spill_limit && !self.must_spill.swap(true, Ordering::Relaxed) {
            self.begin_anew();
        }
        let is_too_much = all > self.hold_above.load(Ordering::Relaxed);
        if is_too_much && !self.is_behind.swap(true, Ordering::AcqRel) {
            // Ends with relief, at once if it has become less meanwhile.
            self.begin_anew();
        }
        is_too_much
    }

    /// Has all asked that hold messages, also if the pager rests.
    fn begin_anew(&self) {
        let mut lists = self.lists.lock();
        lists.left_to_ask = usize::MAX;
        lists.rest_until = None;
        drop(lists);
        self.wake.notify_one();
    }

    /// Whether publishers whose messages stay have to wait.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    fn relieve_if_enough_has_gone(&self) {
        if self.all_memory() <= self.hold_above.load(Ordering::Relaxed) {
            self.relieve();
        }
    }

    fn relieve(&self) {
        if self.is_behind.swap(false, Ordering::AcqRel) {
            self.tell_relief();
        }
    }

    /// Has publishers look whether they still have to wait.
    pub(crate) fn tell_relief(&self) {
        if let Some(relief) = self.relief.get() {
            relief();
        }
    }

    /// That anything goes is worth waiting for.
    fn expect_progress(&self) {
        self.hold_above.store(hold_above(self.budget, self.spill_limit), Ordering::Relaxed);
    }

    /// A queue holds messages and can be asked for them.
    pub(crate) fn hold(&self, queue: Weak<SharedQueue>) {
        self.lists.lock().holding.push(Holding::Queue(queue));
    }

    /// A queue that had no messages in memory has some now, or one that had some has none.
    pub(crate) fn holds_some(&self, some: bool) {
        let change = if some { 1 } else { u64::MAX };
        self.holders.fetch_add(change, Ordering::Relaxed);
    }

    /// A client holds deliveries.
    pub(crate) fn hold_deliveries(&self, holder: Weak<dyn Holder>) {
        self.lists.lock().holding.push(Holding::Client(holder));
    }

    /// One more tells of deliveries. Answers how many do.
    pub(crate) fn add_share(&self) -> u64 {
        self.shares.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn remove_share(&self) {
        self.shares.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many tell of deliveries.
    pub(crate) fn shares(&self) -> u64 {
        self.shares.load(Ordering::Relaxed)
    }

    /// By how many bytes what is known of one of so many shares may be wrong.
    pub(crate) fn step(&self, shares: u64) -> u64 {
        (self.budget / STEPS_SHARE / shares.max(1)).clamp(1, STEP_MAX)
    }

    /// A queue wants messages read.
    pub(crate) fn want(&self, queue: Weak<SharedQueue>) {
        self.lists.lock().wanting.push_back(queue);
        self.wake.notify_one();
    }

    /// What a queue wants could not be read now.
    fn want_later(&self, queue: Weak<SharedQueue>) {
        self.lists.lock().unread.push_back((Instant::now() + RETRY, queue));
        // The others' waiting may have to end earlier.
        self.wake.notify_one();
    }

    fn close(&self) {
        self.lists.lock().is_closed = true;
        self.wake.notify_all();
    }

    /// What ready messages, unsettled deliveries and dead letters that wait take in memory, about, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// The same with what deduplicators take.
    fn all_memory(&self) -> u64 {
        self.memory().saturating_add(self.remembered.taken())
    }

    /// What deduplicators take.
    pub(crate) fn remembered(&self) -> &Arc<RememberedMemory> {
        &self.remembered
    }

    /// Memory of the messages that the journal does not have and that are written at a time, in bytes.
    fn spilled_at_once(&self) -> u64 {
        (self.spill_limit / 8).clamp(1, SPILLED_AT_ONCE_MAX)
    }

    /// Whether so much is in memory that some has to go: somewhat below the budget, so that not
    /// every message is a reason to begin.
    fn is_full(&self) -> bool {
        self.memory() > self.budget / 8 * 7
    }

    /// Something to do, if there is anything.
    fn take(&self, lists: &mut Lists) -> Option<Task> {
        if lists.is_closed {
            return Some(Task::End);
        }
        if let Some((_, queue)) = lists.unread.pop_front_if(|(due, _)| *due <= Instant::now()) {
            return Some(Task::ReadAgain(queue));
        }
        if let Some(queue) = lists.wanting.pop_front() {
            return Some(Task::Read(queue));
        }
        if self.is_behind() {
            self.relieve_if_enough_has_gone();
        }
        if !self.is_over.load(Ordering::Relaxed) && !self.is_behind() {
            return None;
        }
        if lists.rest_until.is_some_and(|until| until > Instant::now()) {
            return None;
        }
        if lists.rest_until.take().is_some() {
            lists.left_to_ask = usize::MAX;
        }
        lists.left_to_ask = lists.left_to_ask.min(lists.holding.len());
        if !self.is_full() {
            self.is_over.store(false, Ordering::Relaxed);
            self.expect_progress();
            self.relieve();
            return None;
        }
        if lists.left_to_ask == 0 {
            if lists.at_work > 0 {
                // Whoever is at it will say whether anything went, and look again.
                return None;
            }
            // All that is left can't go, or not yet: to wait for it would be to wait for ever.
            let most = self.all_memory().saturating_add(UNWRITTEN_MAX);
            self.hold_above.fetch_max(most, Ordering::Relaxed);
            self.relieve();
            lists.rest = (lists.rest * 2).clamp(REST_MIN, REST_MAX);
            lists.rest_until = Some(Instant::now() + lists.rest);
            return None;
        }
        lists.left_to_ask -= 1;
        let holding = lists.holding.pop()?;
        lists.at_work += 1;
        Some(Task::PageOut(holding))
    }

    /// Waits for something to do.
    fn wait(&self) -> Task {
        let mut lists = self.lists.lock();
        loop {
            if let Some(task) = self.take(&mut lists) {
                return task;
            }
            let unread = lists.unread.front().map(|(due, _)| *due);
            match lists.rest_until.into_iter().chain(unread).min() {
                Some(until) => drop(self.wake.wait_until(&mut lists, until)),
                None => self.wake.wait(&mut lists),
            }
        }
    }

    /// A queue has paged something out: all are worth asking again.
    fn has_progress(&self) {
        let mut lists = self.lists.lock();
        lists.left_to_ask = usize::MAX;
        lists.rest = Duration::ZERO;
        drop(lists);
        self.expect_progress();
    }
}

/// Above how much memory publishers wait.
const fn hold_above(budget: u64, spill_limit: u64) -> u64 {
    let stays = if budget > spill_limit { budget } else { spill_limit };
    stays.saturating_add(UNWRITTEN_MAX)
}

/// Counts one that pages out, until it is done or has panicked.
struct AtWork<'a>(&'a Pager);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.lists.lock().at_work -= 1;
        // Another may have waited for what comes of it.
        self.0.wake.notify_one();
    }
}

/// Whether there will be more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Paging {
    /// There may be.
    Open,
    /// The broker has stopped.
    Closed,
}

impl Broker {
    /// Waits until memory is short or a queue wants messages read, and does something about it.
    /// For threads of their own: it waits for the disk as well. `now` is asked once there is
    /// something to do.
    pub fn page(&self, now: impl Fn() -> Millis, turn: &mut Turn) -> Paging {
        let task = self.agenda.pager.wait();
        self.carry_out_paging(task, now, turn)
    }

    /// Does what [`page`](Self::page) has to do, until there is nothing more. Answers whether there
    /// was anything.
    pub fn page_all(&self, now: Millis, turn: &mut Turn) -> bool {
        let mut is_done = false;
        loop {
            let task = self.agenda.pager.take(&mut self.agenda.pager.lists.lock());
            let Some(task) = task else { return is_done };
            if self.carry_out_paging(task, || now, turn) == Paging::Closed {
                return is_done;
            }
            is_done = true;
        }
    }

    /// Ends all waiting in [`page`](Self::page).
    pub fn stop_paging(&self) {
        self.agenda.pager.close();
    }

    /// Whether so much waits to be written that those who add to it have to wait.
    pub fn is_paging_behind(&self) -> bool {
        self.agenda.pager.is_behind()
    }

    /// Has this called whenever that is over, and whenever [dead letters](crate::Session::outruns_dead_letters)
    /// that waited have had a turn. Only the first that asks is told.
    pub fn listen_to_relief(&self, listener: ReliefListener) {
        let _ = self.agenda.pager.relief.set(listener);
    }

    /// What ready messages, unsettled deliveries and dead letters that wait take in memory, about, in bytes.
    pub fn message_memory(&self) -> u64 {
        self.agenda.pager.memory()
    }

    /// What exchanges and queues remember to drop what was seen before, about, in bytes.
    pub fn remembered_memory(&self) -> u64 {
        self.agenda.pager.remembered().taken()
    }

    /// How many values they have forgotten for lack of room.
    pub fn forgotten_values(&self) -> u64 {
        self.agenda.pager.remembered().forgotten()
    }

    /// Has somebody write to disk what the journal does not have. Whether anything went.
    fn spill(&self, spill: impl FnOnce(&Store) -> io::Result<bool>) -> bool {
        let pager = &self.agenda.pager;
        if pager.all_memory() <= pager.spill_limit / 8 * 7 {
            pager.must_spill.store(false, Ordering::Relaxed);
        }
        if !pager.must_spill.load(Ordering::Relaxed) {
            return false;
        }
        let could_not = &pager.could_not_spill;
        match spill(self.store()) {
            Ok(has_gone) => {
                if has_gone {
                    could_not.store(false, Ordering::Relaxed);
                }
                has_gone
            }
            Err(error) => {
                if !could_not.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        "transient messages stay in memory, the disk takes none: {error}"
                    );
                }
                false
            }
        }
    }

    fn carry_out_paging(&self, task: Task, now: impl Fn() -> Millis, turn: &mut Turn) -> Paging {
        match task {
            Task::Read(queue) => {
                if let Some(queue) = queue.upgrade() {
                    turn.begin(now(), self.store());
                    let read = queue.read_pages(self.store(), turn);
                    self.finish(turn);
                    if read.is_err() {
                        self.agenda.pager.want_later(Arc::downgrade(&queue));
                    }
                }
            }
            Task::ReadAgain(queue) => {
                if let Some(queue) = queue.upgrade() {
                    queue.retry_pages();
                }
            }
            Task::PageOut(holding) => {
                let _at_work = AtWork(&self.agenda.pager);
                let readable = self.store().readable_lsn();
                let most = self.agenda.pager.spilled_at_once();
                let has_gone = match holding {
                    Holding::Queue(queue) => queue.upgrade().is_some_and(|queue| {
                        let has_gone = queue.page_out(readable, AT_ONCE);
                        has_gone | self.spill(|store| queue.spill(store, most))
                    }),
                    Holding::Client(holder) => holder.upgrade().is_some_and(|holder| {
                        let has_gone = holder.page_out(readable, AT_ONCE);
                        let has_gone = has_gone | self.spill(|store| holder.spill(store, most));
                        holder.hold_on();
                        has_gone
                    }),
                };
                if has_gone {
                    self.agenda.pager.has_progress();
                }
            }
            Task::End => return Paging::Closed,
        }
        Paging::Open
    }
}
