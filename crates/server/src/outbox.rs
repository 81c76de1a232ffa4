//! What a connection has yet to send, and the deliveries its client has not settled.
//!
//! One lock per connection: a delivery gets its tag, its place among the unsettled and its bytes
//! under it at once, so that tags are on the wire in order. Taken last in the lock order.

mod blocked;
mod channel;
mod confirms;
mod holding;
mod overdue;
mod segments;
mod sources;
mod unacked;
mod unread;

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ahash::HashMap;
use leveret_broker::{Confirmation, HeldMemory, Holder, OpenChannel, SharedQueue, Wake};
use leveret_codec::{Delivery, basic, encode_content};
use leveret_engine::{Admission, ConsumerId, Entry, Message};
use leveret_store::Lsn;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::sync::Notify;

pub(crate) use self::blocked::Blocked;
use self::blocked::BlockedConsumers;
use self::channel::Way;
pub(crate) use self::channel::{ChannelOut, Overdue, TakenSlots};
pub(crate) use self::overdue::AckTimeouts;
pub(crate) use self::segments::Segments;
pub(crate) use self::unacked::{Rest, UnknownTag};
use self::unread::UnreadMax;
use crate::budget::Part;
use crate::connection::Context;

/// The node's budget is told in steps of so many bytes: all connections share it, and most of what
/// is written is gone at once.
const STEP: u64 = 8 * 1024;

/// A consumer whose queue is gone.
pub(crate) struct Cancelled {
    pub(crate) channel: u16,
    pub(crate) tag: Arc<str>,
    pub(crate) id: ConsumerId,
}

/// A connection's way out.
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Bytes waiting, those being written included; readable without the lock.
    queued: AtomicUsize,
    /// How many there may be.
    unread_max: UnreadMax,
    /// Whether any channel ever had a limit shared by its consumers; then admissions ask it.
    has_shared_limit: AtomicBool,
    /// Whether there are any consumers whose queues are gone.
    has_cancelled: AtomicBool,
    /// The negotiated interval in seconds, 0 for none.
    heartbeat: AtomicU16,
    /// What of the unsettled is in memory.
    held: Arc<HeldMemory>,
    writer: Notify,
    /// Told when `queued` has fallen.
    room: Notify,
}

struct State {
    pending: Segments,
    /// Bytes the writer has taken and not yet written.
    writing: usize,
    /// What the node knows of both.
    part: Part,
    /// Boxed: nearly all connections have one, and a map has room for more.
    channels: HashMap<u16, Box<ChannelOut>>,
    /// Consumers waiting for `queued` to fall.
    blocked: BlockedConsumers,
    /// Consumers whose queues are gone, which their channels have yet to forget.
    cancelled: Vec<Cancelled>,
    /// Properties that differ from those of their message.
    scratch: Vec<u8>,
    frame_max: u32,
    /// The writer sleeps and has to be woken.
    writer_idle: bool,
    /// Nothing more will come: the writer flushes and ends.
    finished: bool,
}

/// What the writer does next.
pub(crate) enum Work {
    /// Write what it was given.
    Write,
    /// Wait for more, and for this LSN if confirms wait for it.
    Wait(Option<Lsn>),
    /// Everything is written and nothing more comes.
    Finish,
}

/// A consumer's address.
#[derive(Clone, Copy)]
pub(crate) struct Address<'a> {
    pub(crate) channel: u16,
    pub(crate) consumer_tag: &'a str,
    /// Index of the consumer among the channel's sources; `None` if it settles nothing.
    pub(crate) source: Option<u32>,
    /// Where its deliveries come from; direct replies come from no queue.
    pub(crate) queue: Option<&'a SharedQueue>,
}

/// A message got with `basic.get`.
pub(crate) struct Got<'a> {
    pub(crate) queue: &'a Arc<SharedQueue>,
    pub(crate) entry: Entry,
    /// Ready messages left.
    pub(crate) left: u32,
}

impl Outbox {
    pub(crate) fn new(context: &Context) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| Self::with_holder(context, Weak::<Self>::clone(this)))
    }

    fn with_holder(context: &Context, holder: Weak<dyn Holder>) -> Self {
        let Context { broker, amqp, budgets, .. } = context;
        Self {
            held: Arc::new(HeldMemory::new(broker, holder)),
            unread_max: UnreadMax::new(amqp.unread.clone(), Arc::clone(&budgets.unread)),
            state: Mutex::new(State {
                pending: Segments::default(),
                writing: 0,
                part: Part::of(&budgets.unread),
                channels: HashMap::default(),
                blocked: BlockedConsumers::default(),
                cancelled: Vec::new(),
                scratch: Vec::new(),
                frame_max: 0,
                writer_idle: false,
                finished: false,
            }),
            queued: AtomicUsize::new(0),
            has_shared_limit: AtomicBool::new(false),
            has_cancelled: AtomicBool::new(false),
            heartbeat: AtomicU16::new(0),
            writer: Notify::new(),
            room: Notify::new(),
        }
    }

    /// Frames larger than this are cut, once it has been negotiated.
    pub(crate) fn set_frame_max(&self, frame_max: u32) {
        self.state.lock().frame_max = frame_max;
    }

    /// Half of this time without a write, and the writer sends a heartbeat; 0 for never.
    pub(crate) fn set_heartbeat(&self, seconds: u16) {
        self.heartbeat.store(seconds, Ordering::Relaxed);
        self.wake();
    }

    /// The negotiated interval, zero for none.
    pub(crate) fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat.load(Ordering::Relaxed).into())
    }

    /// Appends frames; the writer is woken by [`flush`](Self::flush).
    pub(crate) fn write(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        encode(&mut state.pending.bytes);
        self.count(&mut state);
    }

    /// Wakes the writer if it sleeps and there is something for it to do.
    pub(crate) fn flush(&self) {
        let mut state = self.state.lock();
        let wanted = !state.pending.is_empty() || state.awaits_confirms() || state.finished;
        if wanted && std::mem::take(&mut state.writer_idle) {
            drop(state);
            self.wake();
        }
    }

    /// Whether confirms wait for the disk.
    pub(crate) fn awaits_confirms(&self) -> bool {
        self.state.lock().awaits_confirms()
    }

    /// Nothing more will come.
    pub(crate) fn finish(&self) {
        self.state.lock().finished = true;
        self.flush();
    }

    /// Wakes the writer, which was found idle.
    pub(crate) fn wake(&self) {
        self.writer.notify_one();
    }

    /// Resolves when the writer is woken.
    pub(crate) async fn woken(&self) {
        self.writer.notified().await;
    }

    /// Resolves when most of what was queued has been written.
    pub(crate) async fn drained(&self) {
        while !self.is_drained() {
            let written = self.room.notified();
            if !self.is_drained() {
                written.await;
            }
        }
    }

    fn is_drained(&self) -> bool {
        self.queued() < self.unread_max.low_water()
    }

    /// Whether the client has fetched so little of its answers that it isn't listened to.
    pub(crate) fn is_unread(&self) -> bool {
        self.queued() > self.unread_max.answers()
    }

    /// Whether a direct reply is written, `pending` bytes of others being on their way.
    pub(crate) fn takes_reply(&self, pending: usize) -> bool {
        self.queued() + pending <= self.unread_max.replies()
    }

    /// Bytes that wait for the socket.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    pub(crate) fn open_channel(&self, channel: u16, open: Arc<OpenChannel>) {
        let out = ChannelOut::new(open, Arc::clone(&self.held));
        self.state.lock().channels.insert(channel, Box::new(out));
    }

    /// Forgets a channel, and returns it with its unsettled deliveries. Its consumers have been
    /// removed from their queues before, so nothing can be delivered to it any more.
    pub(crate) fn close_channel(&self, channel: u16) -> Option<Box<ChannelOut>> {
        self.state.lock().channels.remove(&channel)
    }

    /// A channel that is open.
    pub(crate) fn channel(&self, channel: u16) -> Option<MappedMutexGuard<'_, ChannelOut>> {
        let state = self.state.lock();
        MutexGuard::try_map(state, |state| state.channels.get_mut(&channel).map(Box::as_mut)).ok()
    }

    /// A consumer is gone from its queue, and its channel has forgotten it. Its place among the channel's
    /// sources is free once its deliveries are settled.
    pub(crate) fn remove_consumer(&self, channel: u16, consumer: ConsumerId, source: Option<u32>) {
        let mut state = self.state.lock();
        state.blocked.remove(consumer);
        if let (Some(channel), Some(source)) = (state.channels.get_mut(&channel), source) {
            channel.remove_consumer(consumer, source);
        }
    }

    /// Sets a channel's shared limit; returns consumers that waited for a higher one.
    pub(crate) fn set_shared_limit(&self, channel: u16, limit: u32) -> Vec<Blocked> {
        let Some(mut channel) = self.channel(channel) else {
            return Vec::new();
        };
        if limit > 0 {
            self.has_shared_limit.store(true, Ordering::Relaxed);
        }
        channel.set_shared_limit(limit);
        channel.unblocked()
    }

    /// Adds outcomes to the channels' confirms and writes what is due.
    pub(crate) fn confirm(&self, confirmations: &[Confirmation], durable: Lsn) {
        let mut state = self.state.lock();
        let State { pending, channels, .. } = &mut *state;
        for of_channel in confirmations.chunk_by(|a, b| a.ticket.channel == b.ticket.channel) {
            let Some(number) = of_channel.first().map(|c| c.ticket.channel) else { continue };
            let Some(channel) = channels.get_mut(&number) else { continue };
            for confirmation in of_channel {
                channel.confirms.push(confirmation.ticket.sequence, confirmation.outcome);
            }
            channel.write_confirms(durable, number, &mut pending.bytes);
        }
        self.count(&mut state);
    }

    /// Whether a consumer can take one more delivery, its place reserved; if not, it is remembered.
    /// `pending` bytes are on their way to it.
    pub(crate) fn admit(
        &self,
        to: Address<'_>,
        pending: usize,
        blocked: impl FnOnce() -> Blocked,
    ) -> Admission {
        let is_full = || self.queued() + pending >= self.unread_max.deliveries();
        let shared = to.source.is_some() && self.has_shared_limit.load(Ordering::Relaxed);
        if !shared && !is_full() {
            return Admission::Ready;
        }
        let mut state = self.state.lock();
        // The writer may have drained it meanwhile, and looks at `blocked` only under the lock.
        if is_full() {
            state.blocked.push(blocked());
            return Admission::Blocked;
        }
        match state.channels.get_mut(&to.channel) {
            Some(channel) if shared => channel.admit_shared(blocked),
            _ => Admission::Ready,
        }
    }

    /// Takes deliveries to a consumer: tags, bytes and places among the unsettled.
    pub(crate) fn deliver(&self, to: Address<'_>, entries: &mut Vec<Entry>) -> Wake {
        let mut state = self.state.lock();
        let State { pending, channels, frame_max, scratch, .. } = &mut *state;
        let Some(channel) = channels.get_mut(&to.channel) else {
            debug_assert!(false, "consumers are removed before their channel");
            entries.clear();
            return Wake::NotNeeded;
        };
        let mut previous = None;
        for entry in entries.drain(..) {
            let message = &entry.message;
            let delivery = Delivery {
                channel: to.channel,
                consumer_tag: to.consumer_tag,
                delivery_tag: channel.next_tag(),
                redelivered: entry.redelivered,
                names: message.names(),
                properties: match to.queue {
                    Some(queue) => queue.delivered_properties(&entry, scratch),
                    None => message.properties(),
                },
                body_size: message.size() as u64,
            };
            previous = Some(delivery.encode_after(previous, &mut pending.bytes));
            pending.body(to.channel, message, *frame_max);
            channel.delivered(Way::Consumer, to.source, entry);
        }
        self.count(&mut state);
        if std::mem::take(&mut state.writer_idle) { Wake::Needed } else { Wake::NotNeeded }
    }

    /// Writes a message got with `basic.get`. Returns its source, if it is to be settled.
    pub(crate) fn deliver_got(
        &self,
        number: u16,
        got: Got<'_>,
        no_ack: bool,
        ack_timeouts: AckTimeouts,
    ) -> Option<u32> {
        let Got { queue, entry, left } = got;
        let mut state = self.state.lock();
        let State { pending, channels, frame_max, scratch, .. } = &mut *state;
        let Some(channel) = channels.get_mut(&number) else {
            debug_assert!(false, "only an open channel gets");
            return None;
        };
        basic::GetOk {
            delivery_tag: channel.next_tag(),
            redelivered: entry.redelivered,
            exchange: entry.message.exchange(),
            routing_key: entry.message.routing_key(),
            message_count: left,
        }
        .encode_frame(number, &mut pending.bytes);
        let properties = queue.delivered_properties(&entry, scratch);
        pending.content(number, properties, &entry.message, *frame_max);
        let source = (!no_ack).then(|| channel.source_of_gets(queue, ack_timeouts));
        channel.delivered(Way::Get, source, entry);
        self.count(&mut state);
        source
    }

    /// Remembers a consumer whose queue is gone until its channel has forgotten it. `tell` says which,
    /// unless that was ended meanwhile, and writes what its client is told.
    pub(crate) fn cancel(&self, tell: impl FnOnce(&mut Vec<u8>) -> Option<Cancelled>) {
        let mut state = self.state.lock();
        let Some(cancelled) = tell(&mut state.pending.bytes) else { return };
        state.cancelled.push(cancelled);
        self.has_cancelled.store(true, Ordering::Relaxed);
        self.count(&mut state);
    }

    /// Consumers whose queues are gone, each once.
    pub(crate) fn take_cancelled(&self) -> Vec<Cancelled> {
        if !self.has_cancelled.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut state = self.state.lock();
        self.has_cancelled.store(false, Ordering::Relaxed);
        std::mem::take(&mut state.cancelled)
    }

    /// Notes what has been delivered by now. Times count from any fixed moment.
    pub(crate) fn note_deliveries(&self, now: Duration) {
        self.state.lock().channels.values_mut().for_each(|channel| channel.note_deliveries(now));
    }

    /// Says of queues how long a channel has held the oldest delivery it has of them, at least.
    pub(crate) fn held_for(&self, now: Duration, each: &mut dyn FnMut(&SharedQueue, Duration)) {
        self.state.lock().channels.values().for_each(|channel| channel.held_for(now, each));
    }

    /// Writes a `basic.return` with the message it returns.
    pub(crate) fn return_message(&self, channel: u16, message: &Message) {
        let mut state = self.state.lock();
        let frame_max = state.frame_max;
        let out = &mut state.pending.bytes;
        basic::Return {
            reply_code: leveret_codec::ReplyCode::NO_ROUTE.value(),
            reply_text: leveret_codec::ReplyCode::NO_ROUTE.name(),
            exchange: message.exchange(),
            routing_key: message.routing_key(),
        }
        .encode_frame(channel, out);
        encode_content(channel, message.properties(), message.body(), frame_max, out);
        self.count(&mut state);
    }

    /// Hands the writer what to write, confirms due by now included.
    pub(crate) fn take(&self, durable: Lsn, out: &mut Segments) -> Work {
        debug_assert!(out.is_empty());
        let mut state = self.state.lock();
        let State { pending, channels, .. } = &mut *state;
        let mut waits_for: Option<Lsn> = None;
        for (number, channel) in channels {
            if channel.confirms.waits_for().is_some() {
                channel.write_confirms(durable, *number, &mut pending.bytes);
                waits_for = waits_for.into_iter().chain(channel.confirms.waits_for()).min();
            }
        }
        if !state.pending.is_empty() {
            std::mem::swap(&mut state.pending, out);
            state.writing = out.len();
            self.count(&mut state);
            return Work::Write;
        }
        if state.finished {
            return Work::Finish;
        }
        state.writer_idle = true;
        Work::Wait(waits_for)
    }

    /// What the writer took has been written. Returns the consumers that can go on.
    pub(crate) fn written(&self) -> Vec<Blocked> {
        let mut state = self.state.lock();
        state.writing = 0;
        self.count(&mut state);
        if !self.is_drained() {
            return Vec::new();
        }
        self.room.notify_one();
        state.blocked.take()
    }

    /// Lets memory go that an idle connection doesn't need.
    pub(crate) fn release(&self) {
        let mut state = self.state.lock();
        if state.pending.is_empty() {
            state.pending = Segments::default();
        }
        state.scratch = Vec::new();
    }

    /// Keeps `queued` true after `pending` or `writing` has changed.
    fn count(&self, state: &mut State) {
        let queued = state.pending.len() + state.writing;
        self.queued.store(queued, Ordering::Relaxed);
        let queued = queued as u64;
        if queued.abs_diff(state.part.taken()) >= STEP {
            state.part.set(queued);
        }
    }
}

impl State {
    fn awaits_confirms(&self) -> bool {
        self.channels.values().any(|channel| channel.confirms.waits_for().is_some())
    }
}
