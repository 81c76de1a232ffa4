//! The end of a connection: everything it held goes back, and its queues go.
//!
//! Very many queues go in several turns: whoever else its thread serves has theirs between them. The client
//! hears that the connection is closed once all are gone, and their names are free.

use leveret_broker::Session;
use leveret_engine::Millis;

use super::{Connection, TURN_PLACES};

/// A session that still has queues, and what its client is told when they are gone.
pub(super) struct Leaving {
    session: Session,
    words: Vec<u8>,
}

impl Leaving {
    pub(super) fn words(&mut self) -> &mut Vec<u8> {
        &mut self.words
    }
}

impl Connection {
    /// The client is gone, perhaps long after its last word. What is left to do [`leave`](Self::leave) does.
    pub(crate) fn end(&mut self, now: Millis) {
        if let Some(session) = &mut self.session {
            session.begin(now);
        }
        self.tear_down();
    }

    /// The client is gone, or is to be: everything it held goes back, and its queues go.
    pub(super) fn tear_down(&mut self) {
        self.flush();
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        for number in numbers {
            self.release_channel(number);
        }
        self.channels.clear();
        if let Some(session) = self.session.take() {
            self.leaving = Some(Box::new(Leaving { session, words: Vec::new() }));
            self.let_queues_go();
        } else if self.leaving.is_none() {
            self.free_place();
        }
    }

    /// Whether it still has queues that go.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Has more of its queues go: one turn.
    pub(crate) fn leave(&mut self, now: Millis) {
        if let Some(leaving) = &mut self.leaving {
            leaving.session.begin(now);
            self.let_queues_go();
        }
    }

    fn let_queues_go(&mut self) {
        let Some(leaving) = &mut self.leaving else { return };
        if leaving.session.close(TURN_PLACES) {
            return;
        }
        let words = std::mem::take(leaving.words());
        self.leaving = None;
        self.free_place();
        if !words.is_empty() {
            self.reply(|out| out.extend_from_slice(&words));
            self.outbox.flush();
        }
    }

    /// Whoever comes next has its place.
    fn free_place(&mut self) {
        self.registration = None;
        self.guest.close();
    }
}
