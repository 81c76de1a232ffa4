use leveret_codec::{ContentHeader, Frame, FrameKind, Method, MethodId, basic, split};

use crate::client::refuse_close;
use crate::error::ClientError;
use crate::stamp::Stamp;

/// Puts deliveries together from frames, decoding no more than a load test needs.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    state: State,
    head: Head,
    stamp: Option<Stamp>,
    missing: u64,
}

/// A message that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arrival {
    /// The number that is the consumer's tag.
    pub(crate) subscription: usize,
    pub(crate) delivery_tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) body_size: u64,
    /// `None` when the body is too short for one.
    pub(crate) stamp: Option<Stamp>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum State {
    #[default]
    Method,
    Header,
    Body,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Head {
    subscription: usize,
    delivery_tag: u64,
    redelivered: bool,
    body_size: u64,
}

impl Assembly {
    /// Hands the messages in `input` to `arrive`; says how many bytes were used. `stop` ends it at
    /// the method with that id.
    #[inline]
    pub(crate) fn scan(
        &mut self,
        input: &[u8],
        frame_max: u32,
        stop: MethodId,
        mut arrive: impl FnMut(&Arrival),
    ) -> Result<Scanned, ClientError> {
        let mut rest = input;
        let mut is_stopped = false;
        while let Some((frame, used)) = split(rest, frame_max)? {
            rest = rest.get(used..).unwrap_or_default();
            if self.take(&frame, stop, &mut arrive)? {
                is_stopped = true;
                break;
            }
        }
        Ok(Scanned { used: input.len() - rest.len(), is_stopped })
    }

    /// Says whether the frame was the method to stop at.
    #[inline]
    fn take(
        &mut self,
        frame: &Frame<'_>,
        stop: MethodId,
        arrive: &mut impl FnMut(&Arrival),
    ) -> Result<bool, ClientError> {
        match (frame.kind, self.state) {
            (FrameKind::Method, State::Method) => match Head::of_delivery(frame.payload) {
                Some(head) => {
                    self.head = head;
                    self.state = State::Header;
                }
                None => return other_method(frame.payload, stop),
            },
            (FrameKind::Header, State::Header) => {
                self.head.body_size = ContentHeader::decode(frame.payload)?.body_size;
                self.missing = self.head.body_size;
                self.stamp = None;
                self.state = State::Body;
                if self.missing == 0 {
                    self.complete(arrive);
                }
            }
            (FrameKind::Body, State::Body) => {
                if self.missing == self.head.body_size {
                    self.stamp = Stamp::read(frame.payload);
                }
                let length = frame.payload.len() as u64;
                self.missing = self
                    .missing
                    .checked_sub(length)
                    .ok_or(ClientError::Misplaced("a body longer than its header says"))?;
                if self.missing == 0 {
                    self.complete(arrive);
                }
            }
            (FrameKind::Heartbeat, _) => {}
            (FrameKind::Method, _) => {
                // A close may come at any time; anything else is out of place.
                other_method(frame.payload, stop)?;
                return Err(ClientError::Misplaced("a method within a message"));
            }
            (FrameKind::Header, _) => return Err(ClientError::Misplaced("a content header")),
            (FrameKind::Body, _) => return Err(ClientError::Misplaced("a body")),
        }
        Ok(false)
    }

    #[inline]
    fn complete(&mut self, arrive: &mut impl FnMut(&Arrival)) {
        self.state = State::Method;
        arrive(&Arrival {
            subscription: self.head.subscription,
            delivery_tag: self.head.delivery_tag,
            redelivered: self.head.redelivered,
            body_size: self.head.body_size,
            stamp: self.stamp,
        });
    }
}

/// What became of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scanned {
    /// Bytes that are done with.
    pub(crate) used: usize,
    /// The method to stop at was among them.
    pub(crate) is_stopped: bool,
}

impl Head {
    /// Reads the start of a `basic.deliver`; `None` for another method.
    #[inline]
    fn of_delivery(payload: &[u8]) -> Option<Self> {
        let (id, rest) = payload.split_first_chunk()?;
        if *id != DELIVER {
            return None;
        }
        let (&tag_len, rest) = rest.split_first()?;
        let (tag, rest) = rest.split_at_checked(tag_len.into())?;
        let (delivery_tag, rest) = rest.split_first_chunk()?;
        let subscription = tag.iter().try_fold(0_usize, |number, &digit| {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            number.checked_mul(10)?.checked_add(digit.into())
        })?;
        Some(Self {
            subscription,
            delivery_tag: u64::from_be_bytes(*delivery_tag),
            redelivered: rest.first().is_some_and(|bits| bits & 1 != 0),
            body_size: 0,
        })
    }
}

/// Class and number of `basic.deliver` on the wire.
const DELIVER: [u8; 4] = {
    let [class_high, class_low] = basic::Deliver::ID.class.to_be_bytes();
    let [method_high, method_low] = basic::Deliver::ID.method.to_be_bytes();
    [class_high, class_low, method_high, method_low]
};

/// Says whether it is the method to stop at; a close that was not asked for is an error.
#[cold]
fn other_method(payload: &[u8], stop: MethodId) -> Result<bool, ClientError> {
    let method = Method::decode(payload)?;
    refuse_close(&method)?;
    Ok(method.id() == stop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Nanos;
    use leveret_codec::{channel, encode_content};

    fn delivery(tag: &str, delivery_tag: u64, body: &[u8], out: &mut Vec<u8>) {
        let deliver = basic::Deliver {
            consumer_tag: tag,
            delivery_tag,
            redelivered: delivery_tag == 2,
            exchange: "x",
            routing_key: "k",
        };
        deliver.encode_frame(1, out);
        encode_content(1, &[], body, 8192, out);
    }

    fn scan(wire: &[u8], piece: usize) -> Result<(Vec<Arrival>, bool), ClientError> {
        let mut assembly = Assembly::default();
        let (mut start, mut arrivals, mut is_stopped) = (0, Vec::new(), false);
        let mut end = 0;
        while end < wire.len() {
            end = (end + piece).min(wire.len());
            let scanned =
                assembly.scan(&wire[start..end], 8192, channel::CloseOk::ID, |arrival| {
                    arrivals.push(*arrival);
                })?;
            start += scanned.used;
            is_stopped |= scanned.is_stopped;
        }
        assert_eq!(start, wire.len());
        Ok((arrivals, is_stopped))
    }

    #[test]
    fn deliveries_are_put_together_from_pieces() {
        let stamp = Stamp { publisher: 1, sequence: 9, due: Some(Nanos(5)) };
        let mut body = vec![0; 20_000];
        stamp.write(&mut body);
        let mut wire = Vec::new();
        delivery("0", 1, &body, &mut wire);
        delivery("17", 2, b"", &mut wire);
        delivery("3", 3, b"short", &mut wire);
        channel::CloseOk {}.encode_frame(1, &mut wire);

        let arrival = |subscription, delivery_tag, body_size, stamp| Arrival {
            subscription,
            delivery_tag,
            redelivered: delivery_tag == 2,
            body_size,
            stamp,
        };
        let expected = vec![
            arrival(0, 1, 20_000, Some(stamp)),
            arrival(17, 2, 0, None),
            arrival(3, 3, 5, None),
        ];
        for piece in [1, 7, 8192, usize::MAX >> 1] {
            assert_eq!(scan(&wire, piece).unwrap(), (expected.clone(), true), "{piece}");
        }
    }

    #[test]
    fn a_close_is_an_error() {
        let mut wire = Vec::new();
        let close =
            channel::Close { reply_code: 404, reply_text: "NOT_FOUND", class_id: 0, method_id: 0 };
        close.encode_frame(1, &mut wire);
        assert!(matches!(scan(&wire, 100), Err(ClientError::Closed { code: 404, .. })));
    }

    #[test]
    fn frames_out_of_order_are_an_error() {
        let mut wire = Vec::new();
        delivery("0", 1, &[0; 20_000], &mut wire);
        let method_end = split(&wire, 8192).unwrap().unwrap().1;
        assert!(matches!(scan(&wire[method_end..], 100_000), Err(ClientError::Misplaced(_))));
        let mut twice = wire[..method_end].to_vec();
        twice.extend_from_slice(&wire);
        assert!(matches!(scan(&twice, 100_000), Err(ClientError::Misplaced(_))));
    }
}
