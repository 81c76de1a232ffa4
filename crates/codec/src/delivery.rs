use crate::content::{PREFIX_LEN, encode_content_header};
use crate::frame::{FRAME_END, FRAME_HEADER_LEN, FrameKind, frame_header};
use crate::wire::{self, SHORT_STR_MAX, cut, put_short_bytes};

/// A `basic.deliver` and the header of the message it brings, as they are sent before the body.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The channel it goes out on.
    pub channel: u16,
    /// Whose it is.
    pub consumer_tag: &'a str,
    /// Counts deliveries on the channel from 1.
    pub delivery_tag: u64,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// Exchange and routing key, each behind an octet with its length.
    pub names: &'a [u8],
    /// Flags and values; empty for no property at all.
    pub properties: &'a [u8],
    /// Bytes of the body that follows.
    pub body_size: u64,
}

/// Where a [`Delivery`] lies in what is sent.
#[derive(Clone, Copy, Debug)]
pub struct EncodedDelivery {
    start: usize,
    end: usize,
    /// From `start`, as are the others.
    tag_at: usize,
    names_at: usize,
    names_len: usize,
    size_at: usize,
    redelivered: bool,
}

impl Delivery<'_> {
    /// Appends it. One that differs from `previous`, a delivery to the same consumer that lies in
    /// `out`, in nothing but tag and body is made from that.
    #[inline]
    pub fn encode_after(
        &self,
        previous: Option<EncodedDelivery>,
        out: &mut Vec<u8>,
    ) -> EncodedDelivery {
        match previous {
            Some(previous) if self.is_like(previous, out) => self.encode_like(previous, out),
            _ => self.encode(out),
        }
    }

    #[inline]
    fn is_like(&self, previous: EncodedDelivery, out: &[u8]) -> bool {
        let EncodedDelivery { start, end, names_at, names_len, size_at, redelivered, .. } =
            previous;
        let names = start + names_at;
        redelivered == self.redelivered
            && out.get(names..names + names_len) == Some(self.names)
            && out.get(start + size_at + 8..end - 1) == Some(self.properties)
    }

    #[inline]
    fn encode_like(&self, previous: EncodedDelivery, out: &mut Vec<u8>) -> EncodedDelivery {
        let EncodedDelivery { start, end, tag_at, size_at, .. } = previous;
        let at = out.len();
        out.extend_from_within(start..end);
        put(out, at + tag_at, self.delivery_tag);
        put(out, at + size_at, self.body_size);
        EncodedDelivery { start: at, end: out.len(), ..previous }
    }

    fn encode(&self, out: &mut Vec<u8>) -> EncodedDelivery {
        let (start, names_len) = (out.len(), self.names.len());
        let tag = cut(self.consumer_tag, SHORT_STR_MAX).as_bytes();
        let payload = DELIVER.len() + 1 + tag.len() + 8 + 1 + names_len;
        out.extend_from_slice(&frame_header(FrameKind::Method, self.channel, wire::size(payload)));
        out.extend_from_slice(&DELIVER);
        put_short_bytes(out, tag);
        let tag_at = out.len() - start;
        out.extend_from_slice(&self.delivery_tag.to_be_bytes());
        out.push(self.redelivered.into());
        let names_at = out.len() - start;
        out.extend_from_slice(self.names);
        out.push(FRAME_END);
        let size_at = out.len() - start + FRAME_HEADER_LEN + PREFIX_LEN - 8;
        encode_content_header(self.channel, self.properties, self.body_size, out);
        let (end, redelivered) = (out.len(), self.redelivered);
        EncodedDelivery { start, end, tag_at, names_at, names_len, size_at, redelivered }
    }
}

/// Class and number of `basic.deliver`.
const DELIVER: [u8; 4] = [0, 60, 0, 60];

fn put(out: &mut [u8], at: usize, value: u64) {
    if let Some(place) = out.get_mut(at..at + 8) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::basic;

    const DELIVERY: Delivery<'static> = Delivery {
        channel: 7,
        consumer_tag: "consumer",
        delivery_tag: 1,
        redelivered: false,
        names: b"\x01x\x03key",
        properties: &[0x10, 0, 2],
        body_size: 5,
    };

    /// As the general encoders have it.
    fn frames(delivery: &Delivery<'_>, exchange: &str, routing_key: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let Delivery { consumer_tag, delivery_tag, redelivered, .. } = *delivery;
        basic::Deliver { consumer_tag, delivery_tag, redelivered, exchange, routing_key }
            .encode_frame(delivery.channel, &mut out);
        encode_content_header(delivery.channel, delivery.properties, delivery.body_size, &mut out);
        out
    }

    #[test]
    fn each_delivery_is_what_it_would_be_alone() {
        let further = Delivery { delivery_tag: u64::MAX, body_size: 1 << 40, ..DELIVERY };
        let deliveries = [
            (DELIVERY, "x", "key"),
            (further, "x", "key"),
            (Delivery { redelivered: true, ..further }, "x", "key"),
            (Delivery { delivery_tag: 4, ..DELIVERY }, "x", "key"),
            (Delivery { names: b"\x02xk\x02ey", ..DELIVERY }, "xk", "ey"),
            (Delivery { names: b"\0\x05other", ..DELIVERY }, "", "other"),
            (Delivery { properties: &[0x08, 0, 9], ..DELIVERY }, "x", "key"),
            (Delivery { properties: &[], ..DELIVERY }, "x", "key"),
            (Delivery { properties: &[], body_size: 6, ..DELIVERY }, "x", "key"),
        ];
        let (mut out, mut previous) = (b"what was there before".to_vec(), None);
        for (delivery, exchange, routing_key) in deliveries {
            let start = out.len();
            previous = Some(delivery.encode_after(previous, &mut out));
            assert_eq!(out[start..], frames(&delivery, exchange, routing_key));
            out.extend_from_slice(b"a body");
        }
    }
}
