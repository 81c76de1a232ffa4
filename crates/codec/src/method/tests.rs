use super::*;
use crate::table::{Table, TableBuilder};
use crate::{ReplyCode, Scope, split};

fn payload(frame: &[u8]) -> &[u8] {
    split(frame, 0).unwrap().unwrap().0.payload
}

#[track_caller]
fn refused(payload: &[u8]) -> (String, MethodId) {
    let error = Method::decode(payload).unwrap_err();
    assert_eq!(error.scope(), Scope::Connection);
    (error.reply_text(), error.method())
}

#[test]
fn bytes_of_a_publish() {
    let publish =
        basic::Publish { exchange: "ex", routing_key: "key", mandatory: true, immediate: false };
    let mut out = b"before".to_vec();
    publish.encode_frame(0x0102, &mut out);
    let frame = out.strip_prefix(b"before").unwrap();
    assert_eq!(frame, b"\x01\x01\x02\0\0\0\x0e\0\x3c\0\x28\0\0\x02ex\x03key\x01\xce");
    assert_eq!(Method::decode(payload(frame)), Ok(Method::BasicPublish(publish)));
}

#[test]
fn bytes_of_a_declare() {
    let arguments = TableBuilder::new().put("x", true).build();
    let declare = queue::Declare {
        queue: "q",
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: true,
        nowait: true,
        arguments: arguments.as_table(),
    };
    let mut out = Vec::new();
    declare.encode_frame(1, &mut out);
    assert_eq!(out, b"\x01\0\x01\0\0\0\x11\0\x32\0\x0a\0\0\x01q\x1a\0\0\0\x04\x01xt\x01\xce");
    assert_eq!(Method::decode(payload(&out)), Ok(Method::QueueDeclare(declare)));
}

#[test]
fn reserved_fields_are_written_as_zero_and_skipped() {
    let mut out = Vec::new();
    connection::Open { virtual_host: "/" }.encode_frame(0, &mut out);
    assert_eq!(payload(&out), b"\0\x0a\0\x28\x01/\0\0");
    out.clear();
    channel::OpenOk {}.encode_frame(1, &mut out);
    assert_eq!(payload(&out), b"\0\x14\0\x0b\0\0\0\0");
    assert_eq!(
        Method::decode(b"\0\x0a\0\x28\x02vh\x03cap\x01"),
        Ok(Method::ConnectionOpen(connection::Open { virtual_host: "vh" }))
    );
    assert_eq!(
        Method::decode(b"\0\x3c\0\x46\x12\x34\x01q\x01"),
        Ok(Method::BasicGet(basic::Get { queue: "q", no_ack: true }))
    );
}

#[test]
fn rabbitmq_extensions_have_their_numbers() {
    assert_eq!(exchange::UnbindOk::ID, MethodId { class: 40, method: 51 });
    assert_eq!(basic::Nack::ID, MethodId { class: 60, method: 120 });
    assert_eq!(connection::UpdateSecret::ID, MethodId { class: 10, method: 70 });
    assert_eq!(confirm::Select::ID.to_string(), "confirm.select");
    assert_eq!(exchange::DeclareOk::ID.name(), Some("exchange.declare-ok"));
    assert_eq!(MethodId { class: 60, method: 99 }.to_string(), "60.99");
}

#[test]
fn four_methods_carry_content() {
    let carriers = (0..=300)
        .map(|method| MethodId { class: 60, method })
        .filter(|id| id.carries_content())
        .map(|id| id.name().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(carriers, ["basic.publish", "basic.return", "basic.deliver", "basic.get-ok"]);
}

#[test]
fn truncated_arguments() {
    assert_eq!(
        refused(&[0, 50, 0, 10, 0, 0]),
        ("FRAME_ERROR - cannot decode <<0,0>>".to_owned(), queue::Declare::ID)
    );
    assert_eq!(refused(&[0, 60, 0, 80]).0, "FRAME_ERROR - cannot decode <<>>");
    let long = [&[0, 60, 0, 80][..], &[0; 1000]].concat();
    let (text, _) = refused(&long);
    assert_eq!(text.len(), 255);
    assert!(text.starts_with("FRAME_ERROR - cannot decode <<0,0,0,"), "{text}");
}

#[test]
fn trailing_bytes_are_not_arguments_either() {
    assert_eq!(
        refused(&[0, 90, 0, 10, b'x']),
        ("FRAME_ERROR - cannot decode <<\"x\">>".to_owned(), tx::Select::ID)
    );
}

#[test]
fn names_are_utf8() {
    let declare = b"\0\x32\0\x0a\0\0\x02\xff\xfe\0\0\0\0\0";
    assert_eq!(
        refused(declare),
        ("FRAME_ERROR - Malformed UTF-8 in shortstr".to_owned(), MethodId::NONE)
    );
}

#[test]
fn unknown_methods() {
    for id in [MethodId { class: 60, method: 99 }, MethodId { class: 99, method: 10 }] {
        let payload = [id.class.to_be_bytes(), id.method.to_be_bytes()].concat();
        assert_eq!(refused(&payload), ("COMMAND_INVALID - unknown method".to_owned(), id));
    }
    assert_eq!(
        refused(&[0, 60, 0]).0,
        "FRAME_ERROR - type 1, all octets = <<0,60,0>>: unknown_frame"
    );
}

#[test]
fn malformed_tables() {
    let declare = b"\0\x32\0\x0a\0\0\x01q\0\0\0\0\x03\x01aZ";
    let error = Method::decode(declare).unwrap_err();
    assert_eq!(error.code(), ReplyCode::SYNTAX_ERROR);
    assert_eq!(error.method(), queue::Declare::ID);
    assert_eq!(error.reply_text(), "SYNTAX_ERROR - malformed table: unknown field type 90");
}

#[test]
fn a_deeply_nested_table_is_refused() {
    let mut table = Vec::new();
    for _ in 0..10_000 {
        let len = u32::try_from(table.len()).unwrap().to_be_bytes();
        table = [&b"\x01kF"[..], &len, &table].concat();
    }
    let len = u32::try_from(table.len()).unwrap().to_be_bytes();
    let payload = [&b"\0\x32\0\x0a\0\0\x01q\0"[..], &len, &table].concat();
    assert_eq!(refused(&payload).0, "SYNTAX_ERROR - table nested deeper than 16");
}

#[test]
fn room_is_reserved_once_for_the_hot_methods() {
    let deliver = basic::Deliver {
        consumer_tag: "tag",
        delivery_tag: 1,
        redelivered: true,
        exchange: "ex",
        routing_key: "key",
    };
    let ack = basic::Ack { delivery_tag: 1, multiple: false };
    let methods = [Method::BasicDeliver(deliver), Method::BasicAck(ack)];
    for method in methods {
        let mut out = Vec::new();
        method.encode_frame(1, &mut out);
        let mut fitted = Vec::with_capacity(out.len());
        method.encode_frame(1, &mut fitted);
        assert_eq!(fitted.capacity(), out.len());
    }
}

#[test]
#[cfg(not(debug_assertions))]
fn long_names_are_cut() {
    let name = "\u{fc}".repeat(200);
    let mut out = Vec::new();
    basic::CancelOk { consumer_tag: &name }.encode_frame(1, &mut out);
    let expected = basic::CancelOk { consumer_tag: &name[..254] };
    assert_eq!(Method::decode(payload(&out)), Ok(Method::BasicCancelOk(expected)));
}

#[test]
fn empty_tables_cost_nothing_to_read() {
    let consume = b"\0\x3c\0\x14\0\0\x01q\x01t\x02\0\0\0\0";
    let Method::BasicConsume(consume) = Method::decode(consume).unwrap() else { panic!() };
    assert_eq!(consume.arguments, Table::EMPTY);
    assert!(consume.no_ack && !consume.no_local && !consume.nowait);
}
