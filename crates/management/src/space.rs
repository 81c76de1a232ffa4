//! What a long list takes of memory while it is made: many at a time would be there before anybody counts
//! their answers.

use crate::answer::{Answer, FREE, Failure};
use crate::call::Call;
use crate::client::Peer;
use crate::room::Room;

/// What a list takes so far, of the room that requests share; an operator's takes none.
pub(crate) struct Space {
    room: Option<Room>,
    taken: usize,
}

impl Space {
    /// Nothing yet.
    pub(crate) fn of(call: &Call) -> Self {
        let is_client = matches!(call.peer, Peer::Client(_));
        let room = is_client.then(|| Room::of(&call.node.budgets.requests));
        Self { room, taken: 0 }
    }

    /// It takes so many bytes more. Short lists are free, as answers are.
    ///
    /// # Errors
    /// 503 when others leave no room for them.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Failure> {
        self.taken += bytes;
        match &mut self.room {
            Some(room) if self.taken >= FREE => room.claim(self.taken as u64),
            _ => Ok(()),
        }
    }

    /// Of all it has taken nothing is left but this text: the answer.
    pub(crate) fn answer(self, mut text: Vec<u8>) -> Answer {
        text.shrink_to_fit();
        let length = text.len();
        let answer = Answer::bytes(text);
        match self.room {
            Some(mut room) if length >= FREE => {
                room.hold(length as u64);
                answer.within(room)
            }
            _ => answer,
        }
    }
}
