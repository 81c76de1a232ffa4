//! What is left of a queue.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{
    Lsn, Outline, RecoveredMessage, RecoveredPlace,
    encoding::{Reader, put_varint},
    live::Live,
    outline::{self, Outlines},
};

/// The messages of a queue that are not settled, in a few bytes each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    queue: u64,
    outlines: Outlines,
    /// Of some of the messages, ascending: number, deliveries, whether it was returned, and until
    /// when it is delayed.
    notes: Vec<u8>,
    /// Up to this number all may have been delivered.
    crashed_at: u64,
}

impl Backlog {
    /// Those of the messages of a queue that still wait there.
    pub(super) fn of(queue: u64, known: Known, live: &Live, crashed_at: u64) -> Self {
        if known.moved.is_empty() && live.plain_in(queue) == Some(known.written.len()) {
            // Nothing has happened to any of them.
            let outlines = known.written;
            return Self { queue, outlines, notes: Vec::new(), crashed_at };
        }
        Self::gather(queue, &known, live.waiting_in(queue), crashed_at)
    }

    /// Puts together what is known of the messages of a queue, `known`, with those that still wait
    /// there, ascending.
    fn gather(
        queue: u64,
        known: &Known,
        waiting: impl Iterator<Item = (u64, RecoveredPlace)>,
        crashed_at: u64,
    ) -> Self {
        let mut backlog = Self { queue, crashed_at, ..Self::default() };
        let mut known = known.merged().peekable();
        for (lsn, place) in waiting {
            while known.next_if(|(known, _)| *known < lsn).is_some() {}
            let outline = known.next_if(|(known, _)| *known == lsn);
            // Whoever needs it will find out what is wrong with it.
            let outline = outline.map(|(_, outline)| outline).unwrap_or_default();
            backlog.outlines.push(lsn, &outline);
            let RecoveredPlace { deliveries, redelivered, delayed_until, .. } = place;
            if redelivered || deliveries > 0 || delayed_until > 0 {
                put_varint(&mut backlog.notes, lsn);
                put_varint(&mut backlog.notes, deliveries.into());
                put_varint(&mut backlog.notes, redelivered.into());
                put_varint(&mut backlog.notes, delayed_until);
            }
        }
        backlog
    }

    /// The queue.
    #[must_use]
    pub const fn queue(&self) -> u64 {
        self.queue
    }

    /// How many messages there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.outlines.len()
    }

    /// Bytes of their bodies.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.outlines.bytes()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last of them that is delayed, if one is.
    #[must_use]
    pub fn last_delayed(&self) -> Option<Lsn> {
        let delayed = self.notes().filter(|note| note.delayed_until > 0);
        delayed.last().map(|note| Lsn(note.lsn))
    }

    /// The messages, ascending by LSN.
    pub fn messages(&self) -> impl Iterator<Item = RecoveredMessage> + '_ {
        let mut notes = self.notes();
        let mut next = notes.next();
        self.outlines.iter().map(move |(lsn, outline)| {
            let Note { deliveries, redelivered, delayed_until, .. } = match next {
                Some(note) if note.lsn == lsn => std::mem::replace(&mut next, notes.next()),
                _ => None,
            }
            .unwrap_or_default();
            let redelivered = redelivered || lsn <= self.crashed_at;
            RecoveredMessage { lsn: Lsn(lsn), outline, deliveries, redelivered, delayed_until }
        })
    }

    fn notes(&self) -> impl Iterator<Item = Note> + '_ {
        let mut reader = Reader(&self.notes);
        std::iter::from_fn(move || {
            Some(Note {
                lsn: reader.varint()?,
                deliveries: u32::try_from(reader.varint()?).ok()?,
                redelivered: reader.varint()? != 0,
                delayed_until: reader.varint()?,
            })
        })
    }
}

/// What is known of a message beyond its outline.
#[derive(Clone, Copy, Default)]
struct Note {
    lsn: u64,
    deliveries: u32,
    redelivered: bool,
    delayed_until: u64,
}

/// All the journal has of a queue's messages, settled or not.
#[derive(Default)]
pub(super) struct Known {
    written: Outlines,
    /// Those that compaction has moved: each run ascends.
    moved: Vec<Outlines>,
}

impl Known {
    /// Adds a message in the place where it was written first.
    pub(super) fn write(&mut self, lsn: u64, outline: &Outline) {
        self.written.push(lsn, outline);
    }

    /// Adds one that was moved, perhaps another time.
    pub(super) fn find_moved(&mut self, lsn: u64, outline: &Outline) {
        if !self.moved.last_mut().is_some_and(|run| run.push(lsn, outline)) {
            let mut run = Outlines::default();
            run.push(lsn, outline);
            self.moved.push(run);
        }
    }

    /// All of them, ascending, some more than once.
    fn merged(&self) -> impl Iterator<Item = (u64, Outline)> {
        let runs = std::iter::once(&self.written).chain(&self.moved);
        let mut runs: Vec<outline::Iter<'_>> = runs.map(Outlines::iter).collect();
        let firsts = runs.iter_mut().enumerate();
        let firsts = firsts.filter_map(|(run, messages)| Some(Next::new(messages.next()?, run)));
        let mut next: BinaryHeap<Reverse<Next>> = firsts.map(Reverse).collect();
        std::iter::from_fn(move || {
            let mut first = next.peek_mut()?;
            let Reverse(Next { lsn, run, outline }) = *first;
            match runs.get_mut(run).and_then(Iterator::next) {
                Some(after) => *first = Reverse(Next::new(after, run)),
                None => drop(std::collections::binary_heap::PeekMut::pop(first)),
            }
            Some((lsn, outline))
        })
    }
}

/// The next message of a run.
#[derive(Clone, Copy)]
struct Next {
    lsn: u64,
    run: usize,
    outline: Outline,
}

impl Next {
    const fn new((lsn, outline): (u64, Outline), run: usize) -> Self {
        Self { lsn, run, outline }
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.lsn, self.run).cmp(&(other.lsn, other.run))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Next {}
