//! What a request brings, and what it takes of memory.
//!
//! Of those who have not logged in nothing is kept but what may be a login. What the others send takes of
//! a budget they all share: its bytes as they come, and what its JSON becomes before that is parsed.

use std::ops::Deref;

use axum::body::Body as Incoming;
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;
use serde_json::Value;

use crate::answer::Failure;
use crate::room::Room;

/// Longest body that is passed over; with a longer one the connection ends.
const PASSED_OVER_MAX: usize = 64 * 1024;

/// Bytes that what JSON says takes, about, but for its texts: an element, which is in a list that grows to
/// twice its length, the least a list has room for, and the least an object has.
const ELEMENT: u64 = 2 * size_of::<Value>() as u64;
const LIST: u64 = 4 * size_of::<Value>() as u64;
const OBJECT: u64 = 12 * (size_of::<String>() + size_of::<Value>()) as u64;

/// The body of a request that has come whole.
#[derive(Default)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    room: Option<Mutex<Room>>,
}

impl Body {
    /// Takes it in, up to so many bytes, which take room if it is counted.
    ///
    /// # Errors
    /// 400 when it is longer, 503 when others leave no room for it.
    pub(crate) async fn read(
        from: Incoming,
        max: usize,
        mut room: Option<Room>,
    ) -> Result<Self, Failure> {
        let (mut from, mut bytes) = (Limited::new(from, max), Vec::new());
        while let Some(frame) = from.frame().await {
            let Ok(data) = frame.map_err(|_| Failure::TooLarge)?.into_data() else { continue };
            bytes.extend_from_slice(&data);
            if let Some(room) = &mut room {
                room.take(bytes.capacity() as u64)?;
            }
        }
        Ok(Self { bytes, room: room.map(Mutex::new) })
    }

    /// Lets one go by that nobody looks at: the next request on the connection comes behind it.
    ///
    /// # Errors
    /// 400 when it is too long for that.
    pub(crate) async fn pass_over(from: Incoming) -> Result<Self, Failure> {
        let mut from = Limited::new(from, PASSED_OVER_MAX);
        while let Some(frame) = from.frame().await {
            frame.map_err(|_| Failure::TooLarge)?;
        }
        Ok(Self::default())
    }

    /// Takes what this JSON, which is in it, will become when it is parsed.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn make_room_for(&self, json: &[u8]) -> Result<(), Failure> {
        let Some(room) = &self.room else { return Ok(()) };
        room.lock().take(self.bytes.capacity() as u64 + parsed(json))
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes that values in a JSON text take, about; rather too many. Small ones take many times theirs.
fn parsed(json: &[u8]) -> u64 {
    let (mut size, mut bytes) = (json.len() as u64, json.iter());
    while let Some(byte) = bytes.next() {
        size += match byte {
            b'{' => OBJECT,
            b'[' => LIST,
            b',' | b':' => ELEMENT,
            b'"' => {
                // To its end, which is not one that is escaped.
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
                0
            }
            _ => 0,
        };
    }
    size
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use leveret_server::Budget;

    use super::*;

    const KIB: usize = 1024;

    async fn read(text: &str, budget: &Arc<Budget>) -> Result<Body, Failure> {
        Body::read(Incoming::from(text.to_owned()), 64 * KIB, Some(Room::of(budget))).await
    }

    fn status(failure: Failure) -> u16 {
        failure.into_response("").status().as_u16()
    }

    #[tokio::test]
    async fn bodies_take_of_what_all_may_have_until_they_are_dropped() {
        let budget = Arc::new(Budget::new(10 * KIB as u64));
        let text = "x".repeat(6 * KIB);
        let first = read(&text, &budget).await.ok().unwrap();
        assert_eq!((&*first, budget.taken()), (text.as_bytes(), 6 * KIB as u64));
        let second = read(&"x".repeat(8 * KIB), &budget).await;
        assert_eq!(second.err().map(status), Some(503));
        let small = read("{}", &budget).await.ok().unwrap();
        assert_eq!(&*small, b"{}");
        drop((first, small));
        assert_eq!(budget.taken(), 0);
        let alone = read(&"x".repeat(8 * KIB), &budget).await.ok().unwrap();
        assert_eq!(alone.len(), 8 * KIB);
        let more = read(&"x".repeat(11 * KIB), &budget).await;
        assert_eq!(more.err().map(status), Some(400));
    }

    #[tokio::test]
    async fn json_takes_what_it_becomes() {
        let budget = Arc::new(Budget::new(20 * KIB as u64));
        for (text, is_room) in [
            (format!("[{}0]", "0,".repeat(KIB)), false),
            (format!("[{}[]]", "[],".repeat(200)), false),
            (format!("[{}0]", "{\"a\":0},".repeat(50)), false),
            (format!("[\"{}\\\"\"]", "0,[{".repeat(KIB)), true),
            ("[0, {\"a\": 1}]".to_owned(), true),
        ] {
            let body = read(&text, &budget).await.ok().unwrap();
            assert_eq!(body.make_room_for(&body).is_ok(), is_room, "{text}");
        }
        assert_eq!(budget.taken(), 0);
    }

    #[tokio::test]
    async fn what_is_passed_over_is_not_kept_and_not_endless() {
        let kept = Body::pass_over(Incoming::from(vec![0; PASSED_OVER_MAX])).await;
        assert_eq!(kept.ok().map(|body| body.len()), Some(0));
        let longer = Body::pass_over(Incoming::from(vec![0; PASSED_OVER_MAX + 1])).await;
        assert_eq!(longer.err().map(status), Some(400));
    }
}
