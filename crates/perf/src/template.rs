use leveret_codec::{FRAME_HEADER_LEN, basic, encode_content};

use crate::client::CHANNEL;
use crate::clock::Nanos;
use crate::layout::Key;
use crate::stamp::Stamp;

/// A publisher's messages, encoded once: all that changes from one to the next is the stamp.
///
/// It holds a whole number of the publisher's cycles through its keys and sizes, so the message
/// that is at hand always follows from its number.
#[derive(Debug)]
pub(crate) struct Template {
    publisher: u16,
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    /// The slot of the next message.
    at: usize,
    /// The next message's number.
    sequence: u64,
    write_bytes: usize,
}

/// Where in the template a message is.
#[derive(Clone, Copy, Debug)]
struct Slot {
    end: usize,
    stamp_start: usize,
    stamp_end: usize,
}

/// What a template is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ingredients<'a> {
    pub(crate) publisher: u16,
    pub(crate) exchange: &'a str,
    /// Used in turn, at least one.
    pub(crate) keys: &'a [Key],
    /// Used in turn, at least one.
    pub(crate) sizes: &'a [usize],
    pub(crate) frame_max: u32,
    /// The most bytes written at once, unless a single message is larger.
    pub(crate) write_bytes: usize,
}

impl Template {
    pub(crate) fn new(of: &Ingredients<'_>) -> Self {
        let mut template = Self {
            publisher: of.publisher,
            bytes: Vec::new(),
            slots: Vec::new(),
            at: 0,
            sequence: 0,
            write_bytes: of.write_bytes,
        };
        let cycle = least_common_multiple(of.keys.len(), of.sizes.len());
        let mut body = Vec::new();
        loop {
            for (key, &size) in of.keys.iter().cycle().zip(of.sizes.iter().cycle()).take(cycle) {
                body.resize(size, FILLER);
                template.push(of, key, &body);
            }
            let cycle_bytes = template.bytes.len() / (template.slots.len() / cycle.max(1)).max(1);
            if cycle_bytes == 0 || template.bytes.len() + cycle_bytes > of.write_bytes {
                return template;
            }
        }
    }

    /// The next message's number, which is how many were handed out.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The next messages as frames, at most `most` and as many as are to be written at once; and
    /// how many they are. `due` says when a message was due, by its number.
    #[inline]
    pub(crate) fn take(
        &mut self,
        most: u64,
        mut due: impl FnMut(u64) -> Option<Nanos>,
    ) -> (&[u8], u64) {
        let start = self.start();
        let mut end = start;
        let mut count = 0;
        for slot in self.slots.iter().skip(self.at) {
            let is_full = count > 0 && slot.end - start > self.write_bytes;
            if count == most || is_full {
                break;
            }
            let sequence = self.sequence + count;
            if let Some(room) = self.bytes.get_mut(slot.stamp_start..slot.stamp_end) {
                Stamp { publisher: self.publisher, sequence, due: due(sequence) }.write(room);
            }
            end = slot.end;
            count += 1;
        }
        self.sequence += count;
        self.at += usize::try_from(count).unwrap_or(usize::MAX);
        if self.at >= self.slots.len() {
            self.at = 0;
        }
        (self.bytes.get(start..end).unwrap_or_default(), count)
    }

    fn start(&self) -> usize {
        let before = self.at.checked_sub(1).and_then(|last| self.slots.get(last));
        before.map_or(0, |slot| slot.end)
    }

    fn push(&mut self, of: &Ingredients<'_>, key: &Key, body: &[u8]) {
        let publish = basic::Publish {
            exchange: of.exchange,
            routing_key: &key.routing_key,
            mandatory: false,
            immediate: false,
        };
        publish.encode_frame(CHANNEL, &mut self.bytes);
        let header = self.bytes.len();
        encode_content(CHANNEL, &key.properties, &[], of.frame_max, &mut self.bytes);
        let header_len = self.bytes.len() - header;
        self.bytes.truncate(header);
        encode_content(CHANNEL, &key.properties, body, of.frame_max, &mut self.bytes);
        let end = self.bytes.len();
        let stamp_start = (header + header_len + FRAME_HEADER_LEN).min(end);
        let stamp_end = (stamp_start + body.len().min(Stamp::LEN)).min(end);
        self.slots.push(Slot { end, stamp_start, stamp_end });
    }
}

/// What bodies consist of after the stamp.
const FILLER: u8 = b'x';

fn least_common_multiple(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a.max(1), b.max(1));
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a.max(1) / x * b.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_codec::{ContentHeader, FrameKind, Method, split};

    fn key(routing_key: &str) -> Key {
        Key { routing_key: routing_key.to_owned(), properties: vec![0x10, 0, 2] }
    }

    fn template(keys: &[Key], sizes: &[usize], write_bytes: usize) -> Template {
        let ingredients =
            Ingredients { publisher: 3, exchange: "x", keys, sizes, frame_max: 8192, write_bytes };
        Template::new(&ingredients)
    }

    /// Routing key, body size, and what the first body frame's stamp says.
    fn messages(mut wire: &[u8]) -> Vec<(String, u64, Option<Stamp>)> {
        let mut messages = Vec::new();
        let mut is_first = false;
        while let Some((frame, used)) = split(wire, 8192).unwrap() {
            match frame.kind {
                FrameKind::Method => match Method::decode(frame.payload).unwrap() {
                    Method::BasicPublish(publish) => {
                        messages.push((publish.routing_key.to_owned(), 0, None));
                    }
                    other => panic!("{other:?}"),
                },
                FrameKind::Header => {
                    let header = ContentHeader::decode(frame.payload).unwrap();
                    assert_eq!(header.properties, [0x10, 0, 2]);
                    messages.last_mut().unwrap().1 = header.body_size;
                    is_first = true;
                }
                _ if is_first => {
                    messages.last_mut().unwrap().2 = Stamp::read(frame.payload);
                    is_first = false;
                }
                _ => {}
            }
            wire = &wire[used..];
        }
        assert!(wire.is_empty());
        messages
    }

    #[test]
    fn keys_and_sizes_follow_the_number() {
        let keys = [key("a"), key("b"), key("c")];
        let mut template = template(&keys, &[16, 20_000], 1000);
        for expected in 0..40_u64 {
            let (wire, count) = template.take(1, |sequence| Some(Nanos(sequence + 1)));
            assert_eq!(count, 1);
            let key = ["a", "b", "c"][usize::try_from(expected % 3).unwrap()];
            let size = [16, 20_000][usize::try_from(expected % 2).unwrap()];
            let stamp = Stamp { publisher: 3, sequence: expected, due: Some(Nanos(expected + 1)) };
            assert_eq!(messages(wire), [(key.to_owned(), size, Some(stamp))]);
        }
    }

    #[test]
    fn a_batch_is_what_may_be_written_at_once() {
        let mut template = template(&[key("a")], &[16], 4096);
        let (wire, count) = template.take(u64::MAX, |_| None);
        assert!(wire.len() <= 4096 && wire.len() > 3900, "{}", wire.len());
        assert_eq!(messages(wire).len() as u64, count);
        let (wire, next) = template.take(5, |_| None);
        assert_eq!(next, 5);
        assert_eq!(messages(wire)[0].2.unwrap().sequence, count);
        // What is left of the template, not around its end.
        let (wire, rest) = template.take(u64::MAX, |_| None);
        assert_eq!((rest, messages(wire)[0].2.unwrap().sequence), (count - 5, count + 5));
    }

    #[test]
    fn a_large_message_goes_alone() {
        let mut template = template(&[key("a")], &[100_000], 4096);
        let (wire, count) = template.take(u64::MAX, |_| None);
        assert_eq!(count, 1);
        assert_eq!(messages(wire)[0].1, 100_000);
    }

    #[test]
    fn small_bodies_have_no_stamp() {
        let mut template = template(&[key("a")], &[0, 7], 4096);
        let (wire, _) = template.take(2, |_| None);
        assert_eq!(messages(wire), [("a".to_owned(), 0, None), ("a".to_owned(), 7, None)]);
    }

    #[test]
    fn nothing_may_be_taken() {
        let mut template = template(&[key("a")], &[16], 4096);
        assert_eq!(template.take(0, |_| None), (&[][..], 0));
        assert_eq!(template.sequence(), 0);
    }
}
