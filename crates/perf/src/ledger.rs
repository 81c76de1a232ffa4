//! Which messages of which publisher have reached a queue's consumers: nothing lost, nothing twice,
//! nothing in the wrong queue.
//!
//! A consumer notes numbers in a page of bits of its own, and adds the page to the queue's ledger
//! when it comes to the next one. A page that is complete is forgotten, so the memory is that of
//! what is under way, however long a run.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

/// The part of a publisher's messages that a queue gets: every n-th from an offset on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    every: u64,
    offset: u64,
}

impl Share {
    /// Every message.
    pub(crate) const ALL: Self = Self { every: 1, offset: 0 };

    /// The messages whose number modulo `every` is `offset`, which is below `every`.
    pub(crate) fn new(every: u64, offset: u64) -> Self {
        debug_assert!(offset < every);
        Self { every: every.max(1), offset }
    }

    /// How many of the messages with a number below `end` are in the share.
    pub(crate) fn count_below(self, end: u64) -> u64 {
        end.saturating_sub(self.offset).div_ceil(self.every)
    }

    /// The first message of the share with a number of at least `start`.
    fn first_from(self, start: u64) -> u64 {
        let past = start.saturating_sub(self.offset).div_ceil(self.every);
        past * self.every + self.offset
    }
}

/// The publishers whose messages reach a queue: every n-th from one on. Thousands of publishers with
/// as many queues are few for each of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Senders {
    first: u16,
    every: u16,
}

impl Senders {
    /// Every publisher.
    pub(crate) const ALL: Self = Self { first: 0, every: 1 };

    /// The publisher `first` and each `every`-th after it.
    pub(crate) fn new(first: u16, every: u16) -> Self {
        Self { first, every: every.max(1) }
    }

    /// Their numbers, where there are `publishers` in all.
    fn among(self, publishers: u16) -> impl Iterator<Item = u16> {
        (self.first..publishers).step_by(self.every.into())
    }

    /// The place of a publisher among them; `None` if it is none of them.
    #[inline]
    fn position(self, publisher: u16) -> Option<usize> {
        let past = publisher.checked_sub(self.first)?;
        match self.every {
            1 => Some(past.into()),
            every => (past % every == 0).then_some((past / every).into()),
        }
    }
}

/// What reached the consumers of one queue.
#[derive(Debug)]
pub(crate) struct Ledger {
    senders: Senders,
    accounts: Vec<Mutex<Account>>,
}

/// What was wrong with what reached a queue.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Findings {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) misrouted: u64,
}

impl Ledger {
    /// For a queue that gets `share` of the messages of those `senders` that are among so many
    /// publishers.
    pub(crate) fn new(share: Share, senders: Senders, publishers: u16) -> Self {
        let accounts = senders.among(publishers).map(|_| Mutex::new(Account::new(share)));
        Self { senders, accounts: accounts.collect() }
    }

    /// A place for a consumer to note what it gets.
    pub(crate) fn tracks(&self) -> Tracks<'_> {
        Tracks { senders: self.senders, tracks: self.accounts.iter().map(Track::new).collect() }
    }

    /// The result, when the publishers have sent as many as `published` says and the consumers have
    /// [closed](Track::close) their tracks.
    pub(crate) fn findings(&self, published: &[u64]) -> Findings {
        let Senders { first, every } = self.senders;
        let sent = published.iter().skip(first.into()).step_by(every.into());
        self.accounts.iter().zip(sent).map(|(account, &sent)| account.lock().findings(sent)).fold(
            Findings::default(),
            |sum, one| Findings {
                lost: sum.lost + one.lost,
                duplicated: sum.duplicated + one.duplicated,
                misrouted: sum.misrouted + one.misrouted,
            },
        )
    }
}

/// What one consumer gets of a queue, by publisher.
#[derive(Debug)]
pub(crate) struct Tracks<'a> {
    senders: Senders,
    tracks: Vec<Track<'a>>,
}

impl<'a> Tracks<'a> {
    /// What it gets of a publisher's messages; `None` if none of them should reach the queue.
    #[inline]
    pub(crate) fn of(&mut self, publisher: u16) -> Option<&mut Track<'a>> {
        self.tracks.get_mut(self.senders.position(publisher)?)
    }

    /// [Closes](Track::close) all.
    pub(crate) fn close(self) -> u64 {
        self.tracks.into_iter().map(Track::close).sum()
    }
}

/// What one consumer gets of one publisher's messages.
#[derive(Debug)]
pub(crate) struct Track<'a> {
    account: &'a Mutex<Account>,
    page_number: u64,
    page: Option<Box<Page>>,
    /// The least number that keeps the order.
    next: u64,
    duplicated: u64,
    reordered: u64,
}

impl<'a> Track<'a> {
    fn new(account: &'a Mutex<Account>) -> Self {
        Self { account, page_number: 0, page: None, next: 0, duplicated: 0, reordered: 0 }
    }

    /// Notes a message.
    #[inline]
    pub(crate) fn record(&mut self, sequence: u64) {
        let page_number = sequence >> Page::BITS_LOG2;
        if page_number != self.page_number || self.page.is_none() {
            self.turn_to(page_number);
        }
        let was_there = self.page.as_mut().is_some_and(|page| page.set(sequence));
        if was_there {
            self.duplicated += 1;
        } else if sequence < self.next {
            self.reordered += 1;
        } else {
            self.next = sequence + 1;
        }
    }

    /// Adds what was noted to the ledger; says how many messages came after one with a higher
    /// number.
    pub(crate) fn close(mut self) -> u64 {
        self.turn_to(0);
        self.account.lock().duplicated += self.duplicated;
        self.reordered
    }

    #[cold]
    fn turn_to(&mut self, page_number: u64) {
        match &mut self.page {
            Some(page) => {
                self.account.lock().add(self.page_number, page);
                page.clear();
            }
            none => *none = Some(Box::new(Page::EMPTY)),
        }
        self.page_number = page_number;
    }
}

/// What all consumers of a queue got of one publisher's messages.
#[derive(Debug)]
struct Account {
    share: Share,
    /// Pages in which something is missing.
    open: BTreeMap<u64, Box<Page>>,
    /// All pages below this are complete.
    complete_below: u64,
    /// Complete pages after it.
    complete: BTreeSet<u64>,
    /// Messages that came, each counted once.
    distinct: u64,
    duplicated: u64,
    misrouted: u64,
}

impl Account {
    fn new(share: Share) -> Self {
        Self {
            share,
            open: BTreeMap::new(),
            complete_below: 0,
            complete: BTreeSet::new(),
            distinct: 0,
            duplicated: 0,
            misrouted: 0,
        }
    }

    fn add(&mut self, number: u64, page: &Page) {
        let expected = Page::of(self.share, number);
        self.misrouted += page.count_outside(&expected);
        if number < self.complete_below || self.complete.contains(&number) {
            self.duplicated += page.count_within(&expected);
            return;
        }
        let known = self.open.entry(number).or_insert_with(|| Box::new(Page::EMPTY));
        for ((known, new), mask) in known.0.iter_mut().zip(&page.0).zip(&expected.0) {
            let new = new & mask;
            self.duplicated += u64::from((*known & new).count_ones());
            self.distinct += u64::from((new & !*known).count_ones());
            *known |= new;
        }
        if **known == expected {
            self.open.remove(&number);
            self.complete.insert(number);
            while self.complete.remove(&self.complete_below) {
                self.complete_below += 1;
            }
        }
    }

    fn findings(&self, published: u64) -> Findings {
        Findings {
            lost: self.share.count_below(published).saturating_sub(self.distinct),
            duplicated: self.duplicated,
            misrouted: self.misrouted,
        }
    }
}

/// A bit for each of 65,536 consecutive numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Page([u64; Self::WORDS]);

impl Page {
    const BITS_LOG2: u32 = 16;
    const WORDS: usize = 1 << (Self::BITS_LOG2 - 6);
    const EMPTY: Self = Self([0; Self::WORDS]);

    /// The bits that belong to a share.
    fn of(share: Share, number: u64) -> Self {
        match share {
            Share::ALL => Self([u64::MAX; Self::WORDS]),
            share => {
                let mut page = Self::EMPTY;
                let start = number << Self::BITS_LOG2;
                let mut sequence = share.first_from(start);
                while sequence >> Self::BITS_LOG2 == number {
                    page.set(sequence);
                    sequence += share.every;
                }
                page
            }
        }
    }

    /// Sets a bit; says whether it was set.
    #[inline]
    fn set(&mut self, sequence: u64) -> bool {
        const WORD_MASK: u64 = (1 << (Page::BITS_LOG2 - 6)) - 1;
        let index = usize::try_from((sequence >> 6) & WORD_MASK).unwrap_or_default();
        let Some(word) = self.0.get_mut(index) else { return false };
        let bit = 1 << (sequence & 63);
        let was_set = *word & bit != 0;
        *word |= bit;
        was_set
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    fn count_within(&self, mask: &Self) -> u64 {
        self.0.iter().zip(&mask.0).map(|(word, mask)| u64::from((word & mask).count_ones())).sum()
    }

    fn count_outside(&self, mask: &Self) -> u64 {
        self.0.iter().zip(&mask.0).map(|(word, mask)| u64::from((word & !mask).count_ones())).sum()
    }
}

#[cfg(test)]
mod tests;
