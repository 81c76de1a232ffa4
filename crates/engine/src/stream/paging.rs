//! What of a stream is in memory, and what is on disk only.
//!
//! As a queue does, a stream pages out when it is told to, and says what readers need to have back.

use super::Stream;
use crate::ids::Lsn;
use crate::message::Message;

/// Messages to be read; see [`Stream::page_in`].
#[derive(Debug)]
pub struct StreamRequest {
    /// What names the pages.
    ends: Vec<u64>,
    lsns: Vec<Lsn>,
}

impl StreamRequest {
    /// The messages to be read from the journal.
    #[must_use]
    pub fn lsns(&self) -> &[Lsn] {
        &self.lsns
    }
}

impl Stream {
    /// What its messages take in memory, about, in bytes.
    #[must_use]
    pub const fn memory(&self) -> u64 {
        self.log.hot().memory()
    }

    /// Messages that are not in memory.
    #[must_use]
    pub const fn paged_len(&self) -> u64 {
        self.len() - self.log.hot().len
    }

    /// What those take in the journal, about, in bytes.
    #[must_use]
    pub const fn paged_bytes(&self) -> u64 {
        self.bytes().saturating_sub(self.log.hot().bytes)
    }

    /// Forgets the content of committed messages with an LSN up to `readable`, of about `most` of
    /// them, except for what readers get next that takes about `keep` bytes. Returns how many.
    pub fn page_out(&mut self, readable: Lsn, keep: u64, most: usize) -> u64 {
        let next = self.readers.positions();
        self.log.page_out(self.committed, readable, (keep, next), most)
    }

    /// Whether something should be read for readers.
    #[must_use]
    pub fn wants_pages(&self) -> bool {
        !self.is_reading && self.readers.reading().next().is_some()
    }

    /// What to read next, of about `window` bytes, for a stream that [wants](Self::wants_pages) it.
    /// To be answered by [`page_in`](Self::page_in) or [`abandon`](Self::abandon), and the readers
    /// served then.
    pub fn next_pages(&mut self, window: u64) -> Option<StreamRequest> {
        if !self.wants_pages() {
            return None;
        }
        let mut request = StreamRequest { ends: Vec::new(), lsns: Vec::new() };
        let share = window / self.readers.reading().count().max(1) as u64;
        let mut bytes = 0;
        for next in self.readers.reading() {
            if bytes > window {
                break;
            }
            for page in self.log.paged_from(next.max(self.log.first()), share) {
                if !request.ends.contains(&page.end()) {
                    request.ends.push(page.end());
                    page.lsns(|lsn| request.lsns.push(lsn));
                    bytes += page.bytes.max(1);
                }
            }
        }
        if request.ends.is_empty() {
            // It came with what others wanted.
            self.readers.go_on(self.committed);
            return None;
        }
        self.is_reading = true;
        Some(request)
    }

    /// Takes messages that have been read, ascending by LSN. Nobody gets those that are missing:
    /// their LSNs are returned.
    pub fn page_in(&mut self, request: &StreamRequest, messages: &[(Lsn, Message)]) -> Vec<Lsn> {
        let mut lost = Vec::new();
        let find = |lsn: Lsn| {
            let at = messages.binary_search_by_key(&lsn, |(lsn, _)| *lsn).ok()?;
            messages.get(at).map(|(_, message)| message.clone())
        };
        for end in &request.ends {
            self.log.page_in(*end, find, &mut lost);
        }
        self.is_reading = false;
        self.readers.go_on(self.committed);
        lost
    }

    /// Nothing was read. The stream wants it again.
    pub const fn abandon(&mut self) {
        self.is_reading = false;
    }
}
