use leveret_codec::TableBuilder;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn encoded(properties: &Properties<'_>) -> Vec<u8> {
    let mut raw = Vec::new();
    properties.encode(&mut raw);
    raw
}

fn plain(arena: &mut MessageArena, body: &[u8]) -> Message {
    let properties = Properties::default();
    arena.message(Millis(1), "x", "k", &properties, &[0, 0], Body::Copy(body))
}

/// The address of a message's bytes, to see memory being used again.
fn address(message: &Message) -> usize {
    message.data.as_ptr().addr()
}

#[test]
fn the_stored_form_is_as_documented() {
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    let raw = encoded(&properties);
    let mut arena = MessageArena::new();
    let message =
        arena.message(Millis(0x0102), "ex", "key", &properties, &raw, Body::Copy(b"body"));
    let expected = b"\x02\x01\0\0\0\0\0\0\x02ex\x03key\x03\0\0\0\x10\0\x02body";
    assert_eq!(message.stored_parts(), [&expected[..], &[]]);
    assert_eq!(message.stored_len(), expected.len());
}

#[test]
fn annotations_stay_with_the_message_and_out_of_its_properties() {
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    let raw_properties = &encoded(&properties);
    for body_len in [0, 4, LARGE_BODY] {
        let body = vec![7; body_len];
        let made = MessageArena::new().make(NewMessage {
            now: Millis(1),
            exchange: "x",
            routing_key: "k",
            properties: &properties,
            raw_properties,
            annotations: b"note",
            body: Body::Copy(&body),
        });
        let stored = Bytes::from(made.stored_parts().concat());
        let read = Message::from_stored(stored.clone()).unwrap();
        for message in [&made, &read] {
            assert_eq!(message.annotations(), b"note");
            assert_eq!(message.properties(), raw_properties);
            assert_eq!(message.body(), body);
            assert!(message.is_persistent());
        }
        let head = stored.len() - body_len;
        assert!(Message::from_stored(stored.slice(..head)).is_ok());
        assert!(Message::from_stored(stored.slice(..head - 1)).is_err());
    }
    assert!(plain(&mut MessageArena::new(), b"").annotations().is_empty());
}

#[test]
fn a_message_like_another_differs_in_time_and_body_alone() {
    let properties = Properties { delivery_mode: Some(2), priority: Some(3), ..Default::default() };
    let raw = encoded(&properties);
    let mut arena = MessageArena::new();
    let made = |arena: &mut MessageArena, now, body| {
        arena.message(now, "ex", "key", &properties, &raw, Body::Copy(body))
    };
    let first = made(&mut arena, Millis(1), b"first");
    let bare = first.without_body();
    assert_ne!(address(&bare), address(&first), "it keeps no block alive");
    for body in [&b""[..], b"other", &[7; LARGE_BODY]] {
        let whole = made(&mut arena, Millis(2), body);
        for template in [&first, &bare] {
            let like = arena.like(template, Millis(2), Body::Copy(body));
            assert_eq!(like.stored_parts(), whole.stored_parts());
            assert_eq!(like.priority(), Some(3));
            assert!(like.is_persistent());
            assert_eq!(like.names(), b"\x02ex\x03key");
        }
    }
}

#[test]
fn the_engine_reads_priority_persistence_and_expiration() {
    let of = |properties: &Properties<'_>| {
        let raw = encoded(properties);
        let body = Body::Copy(b"");
        let made = MessageArena::new().message(Millis(1), "", "", properties, &raw, body);
        let read = Message::from_stored(Bytes::copy_from_slice(made.stored_parts()[0])).unwrap();
        let traits = (made.priority(), made.is_persistent(), made.expiration());
        assert_eq!((read.priority(), read.is_persistent(), read.expiration()), traits);
        traits
    };
    let none = Properties::default();
    assert_eq!(of(&none), (None, false, None));
    assert_eq!(of(&Properties { priority: Some(0), ..none }).0, Some(0));
    assert!(!of(&Properties { delivery_mode: Some(1), ..none }).1);
    assert!(of(&Properties { delivery_mode: Some(2), ..none }).1);
    let expiration = Some(&b"315360000000"[..]);
    assert_eq!(of(&Properties { expiration, ..none }).2, Some(Millis(315_360_000_000)));
}

#[test]
fn large_bodies_are_shared_and_small_ones_copied() {
    let mut arena = MessageArena::new();
    let properties = Properties::default();
    for (len, shared) in [(LARGE_BODY, true), (LARGE_BODY - 1, false)] {
        let body = Bytes::from(vec![7; len]);
        let given = Body::Shared(body.clone());
        let message = arena.message(Millis(1), "x", "k", &properties, &[0, 0], given);
        assert_eq!(message.body(), body);
        assert_eq!(message.size(), len);
        assert_eq!(message.body().as_ptr() == body.as_ptr(), shared);
        assert_eq!(message.stored_parts()[1].len(), if shared { len } else { 0 });
        assert_eq!(message.shared_body(), body);

        let stored = Bytes::from(message.stored_parts().concat());
        let read = Message::from_stored(stored).unwrap();
        assert_eq!(read.body(), body);
        assert_eq!(read.shared_body(), body);
    }
}

#[test]
fn a_block_is_used_again_when_its_messages_are_gone() {
    let mut arena = MessageArena::new();
    let first = address(&plain(&mut arena, &[0; 100]));
    let mut addresses: Vec<_> =
        (0..10_000).map(|_| address(&plain(&mut arena, &[0; 100]))).collect();
    addresses.sort_unstable();
    let span = addresses[addresses.len() - 1] - addresses[0];
    assert!(span < 4096 && addresses[0].abs_diff(first) < 4096, "one block serves for all");
}

#[test]
fn blocks_grow_while_messages_pile_up() {
    let mut arena = MessageArena::new();
    let mut kept = Vec::new();
    let mut sizes = Vec::new();
    for _ in 0..2_000 {
        kept.push(plain(&mut arena, &[0; 100]));
        sizes.push(arena.block_size());
    }
    sizes.dedup();
    assert_eq!(sizes, [4096, 8192, 16384, 32768, 65536]);
    assert!(kept.iter().all(|message| message.body() == [0; 100]));
    arena.release();
    assert_eq!(arena.block_size(), 0);
}

#[test]
fn names_are_cut_at_what_the_protocol_can_carry() {
    let mut arena = MessageArena::new();
    let properties = Properties::default();
    let long = "ä".repeat(200);
    let message = arena.message(Millis(1), &long, &long, &properties, &[0, 0], Body::Copy(b"x"));
    assert_eq!(message.exchange(), "ä".repeat(127));
    assert_eq!(message.routing_key(), "ä".repeat(127));
    assert_eq!(message.body(), b"x");
}

#[test]
fn bytes_that_do_not_hold_together_are_refused() {
    let headers = TableBuilder::new().put("h", "v").build();
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    let raw = encoded(&properties);
    let mut arena = MessageArena::new();
    let message = arena.message(Millis(1), "exch", "key", &properties, &raw, Body::Copy(b""));
    let [stored, _] = message.stored_parts();
    let read = |bytes: Vec<u8>| Message::from_stored(bytes.into()).map(|_| ());
    for len in 0..stored.len() {
        assert!(
            matches!(read(stored[..len].to_vec()), Err(StoredMessageError::Truncated(_))),
            "{len} bytes"
        );
    }
    let changed = |at: usize, byte: u8| {
        let mut bytes = stored.to_vec();
        bytes[at] = byte;
        read(bytes)
    };
    assert_eq!(changed(10, 0xff), Err(StoredMessageError::NotUtf8("exchange")));
    assert_eq!(changed(15, 0xff), Err(StoredMessageError::NotUtf8("routing key")));
    assert!(matches!(changed(stored.len() - 1, b'w'), Ok(())));
    assert!(matches!(changed(stored.len() - 6, b'?'), Err(StoredMessageError::Properties(_))));
}

/// Whatever stands there, it is read as it was made.
#[test]
fn an_expiration_that_is_no_number_is_none_in_a_stored_message_as_well() {
    for (text, expected) in [
        ("soon", None),
        ("-1", None),
        ("99999999999999999999", None),
        ("-0", Some(0)),
        ("+60000", Some(60_000)),
        ("007", Some(7)),
    ] {
        let properties = Properties { expiration: Some(text.as_bytes()), ..Properties::default() };
        let raw = encoded(&properties);
        let body = Body::Copy(b"");
        let made = MessageArena::new().message(Millis(1), "", "", &properties, &raw, body);
        let [stored, _] = made.stored_parts();
        let read = Message::from_stored(Bytes::copy_from_slice(stored)).unwrap();
        let outline = Message::outline(stored).unwrap();
        let all = [made.expiration(), read.expiration(), outline.expiration];
        assert_eq!(all, [expected.map(Millis); 3], "{text}");
    }
}

proptest! {
    #[test]
    fn a_message_survives_storage(
        now in any::<u64>(),
        exchange in "\\PC{0,60}",
        routing_key in "\\PC{0,60}",
        content_type in vec(any::<u8>(), 0..255),
        body in vec(any::<u8>(), 0..20_000),
    ) {
        let content_type = Some(&content_type[..]);
        let properties = Properties { content_type, ..Properties::default() };
        let raw = encoded(&properties);
        let mut arena = MessageArena::new();
        let given = Body::Copy(&body);
        let made = arena.message(Millis(now), &exchange, &routing_key, &properties, &raw, given);
        let read = Message::from_stored(made.stored_parts().concat().into()).unwrap();
        for message in [made, read] {
            prop_assert_eq!(message.timestamp(), Millis(now));
            prop_assert_eq!(message.exchange(), &exchange);
            prop_assert_eq!(message.routing_key(), &routing_key);
            prop_assert_eq!(message.properties(), &raw);
            prop_assert_eq!(message.body(), &body);
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::from_stored(bytes.clone().into()) {
            prop_assert_eq!(message.stored_parts()[0], bytes);
            let _ = (message.exchange(), message.routing_key(), message.body());
        }
    }
}
