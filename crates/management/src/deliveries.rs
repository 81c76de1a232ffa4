//! Messages as a broker sends them to a client: frames of AMQP 0-9-1, one behind the other.

use std::borrow::Cow;

use leveret_codec::{AmqpError, ContentHeader, Frame, FrameKind, Method, split};

/// A message that was delivered or fetched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivered<'a> {
    pub(crate) redelivered: bool,
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
    /// As on the wire.
    pub(crate) raw_properties: &'a [u8],
    pub(crate) body: Cow<'a, [u8]>,
}

/// Reads `basic.deliver` and `basic.get-ok`, each with its content, up to the end.
///
/// # Errors
/// 501 or 505 for what is no frame, another one, or a message that is cut off.
pub(crate) fn read(mut wire: &[u8]) -> Result<Vec<Delivered<'_>>, AmqpError> {
    let mut all = Vec::new();
    while !wire.is_empty() {
        let frame = next(&mut wire)?;
        let method = match frame.kind {
            FrameKind::Method => Method::decode(frame.payload)?,
            _ => return Err(frame.misplaced()),
        };
        let (redelivered, exchange, routing_key) = match method {
            Method::BasicDeliver(it) => (it.redelivered, it.exchange, it.routing_key),
            Method::BasicGetOk(it) => (it.redelivered, it.exchange, it.routing_key),
            _ => return Err(frame.misplaced()),
        };
        let frame = next(&mut wire)?;
        if frame.kind != FrameKind::Header {
            return Err(frame.misplaced());
        }
        let ContentHeader { body_size, properties: raw_properties, .. } =
            ContentHeader::decode(frame.payload)?;
        let body = body(&mut wire, body_size)?;
        all.push(Delivered { redelivered, exchange, routing_key, raw_properties, body });
    }
    Ok(all)
}

fn body<'a>(wire: &mut &'a [u8], size: u64) -> Result<Cow<'a, [u8]>, AmqpError> {
    let mut body: Cow<'a, [u8]> = Cow::Borrowed(&[]);
    while (body.len() as u64) < size {
        let frame = next(wire)?;
        let length = (body.len() + frame.payload.len()) as u64;
        if frame.kind != FrameKind::Body || length > size {
            return Err(frame.misplaced());
        }
        match &mut body {
            Cow::Borrowed([]) => body = Cow::Borrowed(frame.payload),
            some => some.to_mut().extend_from_slice(frame.payload),
        }
    }
    Ok(body)
}

fn next<'a>(wire: &mut &'a [u8]) -> Result<Frame<'a>, AmqpError> {
    // The sender has all of it, whatever frames it came in.
    let found = split(wire, 0)?;
    let (frame, used) = found.ok_or_else(|| AmqpError::frame_error("a message is cut off"))?;
    *wire = wire.get(used..).unwrap_or_default();
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use leveret_codec::{basic, channel, encode_content};

    use super::*;

    fn delivery(body: &[u8], wire: &mut Vec<u8>) {
        let deliver = basic::Deliver {
            consumer_tag: "c",
            delivery_tag: 1,
            redelivered: true,
            exchange: "x",
            routing_key: "k",
        };
        deliver.encode_frame(1, wire);
        encode_content(1, &[0x10, 0, 2], body, 4096, wire);
    }

    #[test]
    fn messages_are_put_together_from_their_frames() {
        let bodies = [vec![], b"small".to_vec(), vec![7; 10_000]];
        let mut wire = Vec::new();
        bodies.iter().for_each(|body| delivery(body, &mut wire));
        let fetched = basic::GetOk {
            delivery_tag: 2,
            redelivered: false,
            exchange: "",
            routing_key: "q",
            message_count: 0,
        };
        fetched.encode_frame(1, &mut wire);
        encode_content(1, &[], b"got", 4096, &mut wire);
        let read = read(&wire).unwrap();
        let expected = bodies.iter().map(|body| Delivered {
            redelivered: true,
            exchange: "x",
            routing_key: "k",
            raw_properties: &[0x10, 0, 2],
            body: body.as_slice().into(),
        });
        let fetched = Delivered {
            redelivered: false,
            exchange: "",
            routing_key: "q",
            raw_properties: &[0, 0],
            body: b"got".as_slice().into(),
        };
        assert_eq!(read, expected.chain([fetched]).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_whole_message_is_refused() {
        let mut wire = Vec::new();
        delivery(&[7; 10_000], &mut wire);
        for end in 1..wire.len() {
            assert!(read(&wire[..end]).is_err(), "{end}");
        }
        let header = split(&wire, 0).unwrap().unwrap().1;
        assert!(read(&wire[header..]).is_err());
        let mut other = Vec::new();
        channel::CloseOk {}.encode_frame(1, &mut other);
        assert!(read(&other).is_err());
    }
}
