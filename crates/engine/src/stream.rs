//! The stream: a log that many readers read at their own pace.

mod filter;
mod log;
mod names;
mod page;
mod paging;
mod progress;
mod readers;
mod settings;
mod start;
#[cfg(test)]
mod tests;

pub use filter::Filter;
pub use log::Shown;
pub use names::NameChange;
pub use paging::StreamRequest;
pub use readers::{ReaderSpec, ReaderStatus};
pub use settings::StreamSettings;
pub use start::StartAt;

use crate::ids::{ConsumerId, Lsn, Millis};
use crate::message::Message;
use crate::queue::{Admission, Entry, Gate, sent_len};
use log::Log;
use names::Names;
use progress::Progress;
use readers::{Halt, Readers};

/// A stream queue.
///
/// Messages are numbered from 0 on as they are [appended](Self::append); reading takes nothing
/// away. Old ones leave by [retention](Self::retain), in whole segments and from the front. An
/// appended message is read only once it is [committed](Self::commit), so that nobody has seen
/// what a crash takes back and whose offset the next message gets.
///
/// A [reader](ReaderSpec) has a position and credit: as many deliveries as its prefetch count may
/// be unsettled. Settling, however it is done, gives credit and nothing else, except that the
/// stream keeps the position of a reader with a name.
///
/// **After anything that can make a reader ready** (commit, settle, add a reader, unblock) **call
/// [`serve`](Self::serve)** until it answers `None`; if then the stream
/// [`is_behind`](Self::is_behind), it goes on in another turn, and if it
/// [wants pages](Self::wants_pages), once they are read.
///
/// RabbitMQ reads chunks, which are what its writer happened to write at once. Here messages are
/// one that were appended since [`begin_chunk`](Self::begin_chunk), and of those that were
/// [restored](Self::restore), which needs no record, what was published in the same millisecond. A
/// chunk ends with its segment.
#[derive(Debug)]
pub struct Stream {
    settings: StreamSettings,
    log: Log,
    /// The next message starts a chunk.
    begins_chunk: bool,
    /// The offset after the last message that may be read.
    committed: u64,
    readers: Readers,
    /// A [`StreamRequest`] has been given out.
    is_reading: bool,
    names: Names,
    /// Positions of named readers that have gone and left deliveries unsettled.
    departed: ahash::AHashMap<ConsumerId, Progress>,
}

/// How a delivery was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Acknowledged, or rejected for good: its reader is done with it.
    Done,
    /// Given back, or never settled at all. It is not delivered again, but a named reader that
    /// returns begins with it.
    Returned,
}

/// What one turn may take of a stream's time, however far behind its readers are.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Messages looked at, whether they matched a filter or not.
    messages: usize,
    /// Bytes delivered.
    bytes: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { messages: 4096, bytes: 1024 * 1024 }
    }
}

/// Messages a reader gets, or that are held against its filter, before others have their turn.
const RUN: usize = 128;
/// Messages one call of [`Stream::retain`] takes away: a segment may have millions.
const DROPPED_AT_ONCE: usize = 4096;

impl Stream {
    /// A stream without messages. Allocates nothing.
    #[must_use]
    pub fn new(settings: StreamSettings) -> Self {
        Self {
            settings,
            log: Log::default(),
            begins_chunk: true,
            committed: 0,
            readers: Readers::default(),
            is_reading: false,
            names: Names::default(),
            departed: ahash::AHashMap::new(),
        }
    }

    /// The settings in force.
    #[must_use]
    pub const fn settings(&self) -> &StreamSettings {
        &self.settings
    }

    /// Replaces the settings, as a changed policy does. Limits hold from the next
    /// [`retain`](Self::retain) on, the size of segments from the next message on.
    pub const fn set_settings(&mut self, settings: StreamSettings) {
        self.settings = settings;
    }

    /// Says which offset the next message gets, before there is any: earlier ones are gone.
    pub fn begin_at(&mut self, offset: u64) {
        self.log.begin_at(offset);
        self.committed = offset;
    }

    /// What is appended from here on is a chunk of its own.
    pub const fn begin_chunk(&mut self) {
        self.begins_chunk = true;
    }

    /// Appends a message and returns its offset. LSNs ascend.
    pub fn append(&mut self, lsn: Lsn, message: Message) -> u64 {
        let begins_chunk = std::mem::take(&mut self.begins_chunk);
        self.log.append(lsn, message, begins_chunk, self.settings.max_segment_bytes)
    }

    /// Appends a message that has been in the stream before, as recovery does, and commits it. It stays
    /// on disk: `payload` is how many bytes it has there, and `time` when it was published.
    pub fn restore(&mut self, lsn: Lsn, time: Millis, payload: u64) -> u64 {
        let begins_chunk = self.log.last_time() < Some(time);
        let segment_bytes = self.settings.max_segment_bytes;
        let offset = self.log.append_paged(lsn, time, payload, begins_chunk, segment_bytes);
        self.begins_chunk = true;
        self.committed = self.log.next();
        offset
    }

    /// Messages with an LSN up to this one will survive a crash: they may be read.
    pub fn commit(&mut self, through: Lsn) {
        let committed = self.log.offset_after(through, self.committed);
        if committed > self.committed {
            self.committed = committed;
            self.readers.wake(committed);
        }
    }

    /// LSN of the first message that is not committed.
    #[must_use]
    pub fn uncommitted(&self) -> Option<Lsn> {
        self.log.lsn(self.committed)
    }

    /// Takes deliveries for one ready reader and appends them to `run`; the caller sends them and
    /// keeps them until they are settled. The [`lsn`](Entry::lsn) of such an entry is its offset.
    ///
    /// `None` when no reader is ready, or `allowance` is used up.
    pub fn serve(
        &mut self,
        gate: &mut impl Gate,
        allowance: &mut Allowance,
        run: &mut Vec<Entry>,
    ) -> Option<ConsumerId> {
        while allowance.messages > 0 && allowance.bytes > 0 {
            let id = self.readers.next_ready()?;
            let before = run.len();
            self.serve_one(id, gate, allowance, run);
            if run.len() > before {
                return Some(id);
            }
        }
        None
    }

    /// Gives the reader in front its run, and its place in line afterwards.
    fn serve_one(
        &mut self,
        id: ConsumerId,
        gate: &mut impl Gate,
        allowance: &mut Allowance,
        run: &mut Vec<Entry>,
    ) {
        let Some(reader) = self.readers.get_mut(id) else { return };
        reader.next = reader.next.max(self.log.first());
        let (before, mut halt) = (run.len(), None);
        let mut slots = self.log.from(reader.next);
        for _ in 0..RUN {
            let is_served = reader.next >= self.committed || reader.credit() == 0;
            if is_served || allowance.messages == 0 || allowance.bytes == 0 {
                break;
            }
            let slot = slots.next().or_else(|| {
                slots = self.log.from(reader.next);
                slots.next()
            });
            let Some(slot) = slot else {
                halt = slots.is_paged.then_some(Halt::Paged);
                break;
            };
            if let Some(message) = &slot.message
                && reader.spec.filter.as_ref().is_none_or(|filter| filter.matches(slot))
            {
                if gate.admit(id) == Admission::Blocked {
                    halt = Some(Halt::Blocked);
                    break;
                }
                let bytes = sent_len(message);
                gate.delivered(id, bytes);
                allowance.bytes = allowance.bytes.saturating_sub(bytes);
                reader.delivered();
                run.push(Entry::new(Lsn(reader.next), message.clone()));
            }
            allowance.messages -= 1;
            reader.next += 1;
        }
        self.readers.served(id, run.len() - before, halt, self.committed);
    }

    /// Shows messages that may be read, from this offset on or from the first: at most `most`, and
    /// no more once they have `bytes` body bytes, about.
    #[must_use]
    pub fn browse(&self, from: u64, most: usize, bytes: u64) -> Vec<Shown> {
        let from = from.max(self.log.first());
        let left = usize::try_from(self.committed.saturating_sub(from)).unwrap_or(usize::MAX);
        self.log.browse(from, most.min(left), bytes)
    }

    /// Whether readers are left that could go on: serve them in another turn.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.readers.next_ready().is_some()
    }

    /// Adds a reader.
    ///
    /// A named one goes on where the last of its name has got to, if there was one; else, and
    /// without a name, it begins where its spec says. Of several with one name the latest has it.
    pub fn add_reader(&mut self, spec: ReaderSpec) {
        let (id, name) = (spec.id, spec.name.clone());
        let start = self.log.start(spec.start);
        let start = name.map_or(start, |name| self.names.take(&name, id, start));
        self.readers.add(spec, start, self.committed);
    }

    /// Removes a reader. What it holds may be settled later.
    pub fn remove_reader(&mut self, id: ConsumerId) {
        let Some(reader) = self.readers.remove(id) else { return };
        let Some(progress) = reader.into_progress() else { return };
        self.names.store(id, &progress);
        if progress.is_settled() {
            self.names.release(id, &progress);
        } else {
            self.departed.insert(id, progress);
        }
    }

    /// Lets a reader a [`Gate`] blocked take part again.
    pub fn unblock(&mut self, id: ConsumerId) {
        self.readers.unblock(id, self.committed);
    }

    /// Deliveries of a reader were settled, whether it is still there or not: it gets its credit
    /// back.
    pub fn settle(
        &mut self,
        id: ConsumerId,
        how: Settled,
        offsets: impl ExactSizeIterator<Item = u64>,
    ) {
        let count = u32::try_from(offsets.len()).unwrap_or(u32::MAX);
        if let Some(reader) = self.readers.get_mut(id) {
            if let Some(progress) = reader.progress() {
                offsets.for_each(|offset| progress.settled(offset, how));
                self.names.store(id, progress);
            }
            self.readers.settled(id, count, self.committed);
        } else if let Some(progress) = self.departed.get_mut(&id) {
            offsets.for_each(|offset| progress.settled(offset, how));
            self.names.store(id, progress);
            if progress.is_settled() {
                self.names.release(id, progress);
                self.departed.remove(&id);
            }
        }
    }

    /// Takes away what has become too much or too old, as far as one turn should. The LSNs of what
    /// is gone are added to `dropped`. The last segment stays, and what is not committed.
    pub fn retain(&mut self, now: Millis, dropped: &mut Vec<Lsn>) {
        self.log.retain(&self.settings, now, self.committed, DROPPED_AT_ONCE, dropped);
    }

    /// When to call [`retain`](Self::retain) next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        self.log.next_deadline(&self.settings, self.committed)
    }

    /// The offset a name was left at, as a record of it says.
    pub fn restore_name(&mut self, name: &str, offset: u64) {
        self.names.restore(name, offset);
    }

    /// Whether positions of named readers have changed.
    #[must_use]
    pub const fn has_changed_names(&self) -> bool {
        self.names.has_changed()
    }

    /// Takes what has changed of the positions of named readers.
    pub fn take_changed_names(&mut self, changes: &mut Vec<NameChange>) {
        self.names.take_changed(changes);
    }

    /// The names of readers it keeps positions for, with these.
    pub fn names(&self) -> impl Iterator<Item = (&str, u64)> {
        self.names.iter()
    }

    /// The offset of the oldest message; that of the next one if there is none.
    #[must_use]
    pub const fn first_offset(&self) -> u64 {
        self.log.first()
    }

    /// The offset the next message gets.
    #[must_use]
    pub const fn next_offset(&self) -> u64 {
        self.log.next()
    }

    /// The offset after the last message that may be read.
    #[must_use]
    pub const fn committed_offset(&self) -> u64 {
        self.committed
    }

    /// Messages in it.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.log.next() - self.log.first()
    }

    /// Whether there is no message in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What its messages take in the journal, about, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// Segments it has.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.log.segments()
    }

    /// Deliveries that are not settled, of the readers that are there.
    #[must_use]
    pub const fn unsettled(&self) -> u64 {
        self.readers.unsettled()
    }

    /// Number of readers.
    #[must_use]
    pub fn reader_count(&self) -> usize {
        self.readers.len()
    }

    /// All readers in the order they came.
    #[must_use]
    pub fn readers(&self) -> Vec<ReaderStatus> {
        self.readers.status()
    }
}
