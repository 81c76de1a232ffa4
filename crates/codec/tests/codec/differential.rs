//! Against amq-protocol: for every method, the frame one encoder writes is the frame the other one
//! writes, and each decoder reads what the other encoder wrote.

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{self as theirs, AMQPClass, basic::AMQPProperties};
use amq_protocol::types::{
    AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString,
};
use leveret_codec::{
    self as ours, ContentHeader, FrameKind, Method, Properties, Table, TableBuf, TableLimits,
    encode_content_header, split,
};
use proptest::prelude::*;

use crate::model::{self, Entries, Field};

/// Values for the fields of any method; both sides take them in the same order.
#[derive(Debug)]
struct Fill {
    texts: Vec<String>,
    blobs: Vec<Vec<u8>>,
    numbers: Vec<u64>,
    bits: Vec<bool>,
    entries: Entries,
    table: TableBuf,
}

fn fill() -> impl Strategy<Value = Fill> {
    let text = prop_oneof![Just(String::new()), "\\PC{0,60}", "[a-z]{255}"];
    (
        prop::collection::vec(text, 4),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 2),
        prop::collection::vec(any::<u64>(), 4),
        prop::collection::vec(any::<bool>(), 5),
        model::common_table(),
    )
        .prop_map(|(texts, blobs, numbers, bits, entries)| {
            let table = model::build(&entries);
            Fill { texts, blobs, numbers, bits, entries, table }
        })
}

/// Takes the values of a [`Fill`] one after another.
struct Cursor<'a> {
    fill: &'a Fill,
    text: usize,
    blob: usize,
    number: usize,
    bit: usize,
}

impl<'a> Cursor<'a> {
    fn new(fill: &'a Fill) -> Self {
        Self { fill, text: 0, blob: 0, number: 0, bit: 0 }
    }

    fn number(&mut self) -> u64 {
        self.number += 1;
        self.fill.numbers[self.number - 1]
    }

    fn text(&mut self) -> &'a str {
        self.text += 1;
        &self.fill.texts[self.text - 1]
    }

    fn blob(&mut self) -> &'a [u8] {
        self.blob += 1;
        &self.fill.blobs[self.blob - 1]
    }
}

/// A field that takes its value from a [`Fill`].
trait Take<'a> {
    fn take(cursor: &mut Cursor<'a>) -> Self;
}

macro_rules! take {
    ($($type:ty: $cursor:ident => $value:expr;)+) => {
        $(impl<'a> Take<'a> for $type {
            fn take($cursor: &mut Cursor<'a>) -> Self {
                $value
            }
        })+
    };
}

take! {
    u8: cursor => cursor.number() as u8;
    u16: cursor => cursor.number() as u16;
    u32: cursor => cursor.number() as u32;
    u64: cursor => cursor.number();
    bool: cursor => {
        cursor.bit += 1;
        cursor.fill.bits[cursor.bit - 1]
    };
    &'a str: cursor => cursor.text();
    ShortString: cursor => cursor.text().into();
    &'a [u8]: cursor => cursor.blob();
    LongString: cursor => cursor.blob().into();
    Table<'a>: cursor => cursor.fill.table.as_table();
    FieldTable: cursor => to_theirs(&cursor.fill.entries);
}

macro_rules! methods {
    ($(
        $class:ident $class_variant:ident {
            $($variant:ident $name:ident {
                $($field:ident),* $(; $only_ours:ident = $value:literal)?
            })+
        }
    )+) => {
        /// Every method on both sides, filled with the same values.
        fn every_method(fill: &Fill) -> Vec<(Method<'_>, AMQPClass)> {
            vec![$($({
                let mut _cursor = Cursor::new(fill);
                let ours = ours::$class::$name {
                    $($field: Take::take(&mut _cursor),)*
                    $($only_ours: $value,)?
                };
                let mut _cursor = Cursor::new(fill);
                let theirs = theirs::$class::$name {
                    $($field: Take::take(&mut _cursor),)*
                };
                (
                    Method::$variant(ours),
                    AMQPClass::$class_variant(theirs::$class::AMQPMethod::$name(theirs)),
                )
            },)+)+]
        }
    };
}

methods! {
    connection Connection {
        ConnectionStart Start {
            version_major, version_minor, server_properties, mechanisms, locales
        }
        ConnectionStartOk StartOk { client_properties, mechanism, response, locale }
        ConnectionSecure Secure { challenge }
        ConnectionSecureOk SecureOk { response }
        ConnectionTune Tune { channel_max, frame_max, heartbeat }
        ConnectionTuneOk TuneOk { channel_max, frame_max, heartbeat }
        ConnectionOpen Open { virtual_host }
        ConnectionOpenOk OpenOk {}
        ConnectionClose Close { reply_code, reply_text, class_id, method_id }
        ConnectionCloseOk CloseOk {}
        ConnectionBlocked Blocked { reason }
        ConnectionUnblocked Unblocked {}
        ConnectionUpdateSecret UpdateSecret { new_secret, reason }
        ConnectionUpdateSecretOk UpdateSecretOk {}
    }
    channel Channel {
        ChannelOpen Open {}
        ChannelOpenOk OpenOk {}
        ChannelFlow Flow { active }
        ChannelFlowOk FlowOk { active }
        ChannelClose Close { reply_code, reply_text, class_id, method_id }
        ChannelCloseOk CloseOk {}
    }
    access Access {
        AccessRequest Request { realm, exclusive, passive, active, write, read }
        AccessRequestOk RequestOk { ; ticket = 1 }
    }
    exchange Exchange {
        ExchangeDeclare Declare {
            exchange, kind, passive, durable, auto_delete, internal, nowait, arguments
        }
        ExchangeDeclareOk DeclareOk {}
        ExchangeDelete Delete { exchange, if_unused, nowait }
        ExchangeDeleteOk DeleteOk {}
        ExchangeBind Bind { destination, source, routing_key, nowait, arguments }
        ExchangeBindOk BindOk {}
        ExchangeUnbind Unbind { destination, source, routing_key, nowait, arguments }
        ExchangeUnbindOk UnbindOk {}
    }
    queue Queue {
        QueueDeclare Declare {
            queue, passive, durable, exclusive, auto_delete, nowait, arguments
        }
        QueueDeclareOk DeclareOk { queue, message_count, consumer_count }
        QueueBind Bind { queue, exchange, routing_key, nowait, arguments }
        QueueBindOk BindOk {}
        QueuePurge Purge { queue, nowait }
        QueuePurgeOk PurgeOk { message_count }
        QueueDelete Delete { queue, if_unused, if_empty, nowait }
        QueueDeleteOk DeleteOk { message_count }
        QueueUnbind Unbind { queue, exchange, routing_key, arguments }
        QueueUnbindOk UnbindOk {}
    }
    basic Basic {
        BasicQos Qos { prefetch_count, global; prefetch_size = 0 }
        BasicQosOk QosOk {}
        BasicConsume Consume {
            queue, consumer_tag, no_local, no_ack, exclusive, nowait, arguments
        }
        BasicConsumeOk ConsumeOk { consumer_tag }
        BasicCancel Cancel { consumer_tag, nowait }
        BasicCancelOk CancelOk { consumer_tag }
        BasicPublish Publish { exchange, routing_key, mandatory, immediate }
        BasicReturn Return { reply_code, reply_text, exchange, routing_key }
        BasicDeliver Deliver { consumer_tag, delivery_tag, redelivered, exchange, routing_key }
        BasicGet Get { queue, no_ack }
        BasicGetOk GetOk { delivery_tag, redelivered, exchange, routing_key, message_count }
        BasicGetEmpty GetEmpty {}
        BasicAck Ack { delivery_tag, multiple }
        BasicReject Reject { delivery_tag, requeue }
        BasicRecoverAsync RecoverAsync { requeue }
        BasicRecover Recover { requeue }
        BasicRecoverOk RecoverOk {}
        BasicNack Nack { delivery_tag, multiple, requeue }
    }
    confirm Confirm {
        ConfirmSelect Select { nowait }
        ConfirmSelectOk SelectOk {}
    }
    tx Tx {
        TxSelect Select {}
        TxSelectOk SelectOk {}
        TxCommit Commit {}
        TxCommitOk CommitOk {}
        TxRollback Rollback {}
        TxRollbackOk RollbackOk {}
    }
}

fn encode_theirs(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame(frame)(WriteContext::from(Vec::new())).unwrap().into_inner().0
}

fn to_theirs(entries: &Entries) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, field) in entries {
        table.insert(str::from_utf8(key).unwrap().into(), value_to_theirs(field));
    }
    table
}

fn value_to_theirs(field: &Field) -> AMQPValue {
    match field {
        Field::Bool(v) => AMQPValue::Boolean(*v),
        Field::I8(v) => AMQPValue::ShortShortInt(*v),
        Field::U8(v) => AMQPValue::ShortShortUInt(*v),
        Field::I16(v) => AMQPValue::ShortInt(*v),
        Field::U16(v) => AMQPValue::ShortUInt(*v),
        Field::I32(v) => AMQPValue::LongInt(*v),
        Field::U32(v) => AMQPValue::LongUInt(*v),
        Field::I64(v) | Field::I64Upper(v) => AMQPValue::LongLongInt(*v),
        Field::F32(v) => AMQPValue::Float(*v),
        Field::F64(v) => AMQPValue::Double(*v),
        Field::Decimal(scale, value) => {
            AMQPValue::DecimalValue(DecimalValue { scale: *scale, value: *value })
        }
        Field::LongStr(v) => AMQPValue::LongString(v.clone().into()),
        Field::Binary(v) => AMQPValue::ByteArray(ByteArray::from(v.clone())),
        Field::Array(fields) => AMQPValue::FieldArray(FieldArray::from(
            fields.iter().map(value_to_theirs).collect::<Vec<_>>(),
        )),
        Field::Table(entries) => AMQPValue::FieldTable(to_theirs(entries)),
        Field::Timestamp(v) => AMQPValue::Timestamp(*v),
        Field::Void => AMQPValue::Void,
    }
}

#[test]
fn every_method_there_is_takes_part() {
    let fill = Fill {
        texts: vec![String::new(); 4],
        blobs: vec![Vec::new(); 2],
        numbers: vec![0; 4],
        bits: vec![false; 5],
        entries: Entries::new(),
        table: TableBuf::default(),
    };
    let mut compared: Vec<_> = every_method(&fill).iter().map(|(ours, _)| ours.id()).collect();
    compared.sort();
    let named: Vec<_> = (0..=100)
        .flat_map(|class| (0..=200).map(move |method| ours::MethodId { class, method }))
        .filter(|id| id.name().is_some())
        .collect();
    assert_eq!(compared, named);
    assert_eq!(named.len(), 66);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn methods(fill in fill(), channel in any::<u16>()) {
        for (ours, theirs) in every_method(&fill) {
            let frame = AMQPFrame::Method(channel, theirs);
            let wire = encode_theirs(&frame);
            let mut out = Vec::new();
            ours.encode_frame(channel, &mut out);
            prop_assert_eq!(&out, &wire, "{}", ours.id());

            let (rest, parsed) = parse_frame(&out[..]).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert_eq!(&parsed, &frame);

            let (split, used) = split(&wire, 0).unwrap().unwrap();
            prop_assert_eq!((used, split.channel), (wire.len(), channel));
            prop_assert_eq!(Method::decode(split.payload).unwrap(), ours);
            for len in 4..split.payload.len() {
                prop_assert!(Method::decode(&split.payload[..len]).is_err());
            }
        }
    }

    #[test]
    fn properties(
        fill in fill(),
        more in prop::collection::vec("\\PC{0,60}", 6),
        has in prop::array::uniform14(any::<bool>()),
        body_size in any::<u64>(),
    ) {
        let mut texts = fill.texts.iter().chain(&more).map(String::as_str);
        let mut ours = Properties::default();
        let mut theirs = AMQPProperties::default();
        let mut has = has.into_iter();
        macro_rules! text {
            ($field:ident $with:ident) => {{
                let text = texts.next().unwrap();
                if has.next().unwrap() {
                    ours.$field = Some(text.as_bytes());
                    theirs = theirs.$with(text.into());
                }
            }};
        }
        text!(content_type with_content_type);
        text!(content_encoding with_content_encoding);
        text!(correlation_id with_correlation_id);
        text!(reply_to with_reply_to);
        text!(expiration with_expiration);
        text!(message_id with_message_id);
        text!(kind with_type);
        text!(user_id with_user_id);
        text!(app_id with_app_id);
        text!(cluster_id with_cluster_id);
        if has.next().unwrap() {
            ours.headers = Some(fill.table.as_table());
            theirs = theirs.with_headers(to_theirs(&fill.entries));
        }
        if has.next().unwrap() {
            ours.delivery_mode = Some(fill.numbers[0] as u8);
            theirs = theirs.with_delivery_mode(fill.numbers[0] as u8);
        }
        if has.next().unwrap() {
            ours.priority = Some(fill.numbers[1] as u8);
            theirs = theirs.with_priority(fill.numbers[1] as u8);
        }
        if has.next().unwrap() {
            ours.timestamp = Some(fill.numbers[2]);
            theirs = theirs.with_timestamp(fill.numbers[2]);
        }

        let mut raw = Vec::new();
        ours.encode(&mut raw);
        let mut out = Vec::new();
        encode_content_header(1, &raw, body_size, &mut out);
        let (_, parsed) = parse_frame(&out[..]).unwrap();
        let AMQPFrame::Header(1, parsed) = parsed else { panic!("{parsed:?}") };
        prop_assert_eq!((parsed.class_id, parsed.body_size), (60, body_size));
        prop_assert_eq!(&parsed.properties, &theirs);

        let wire = encode_theirs(&AMQPFrame::Header(1, parsed));
        prop_assert_eq!(&wire, &out);
        let (frame, _) = split(&wire, 0).unwrap().unwrap();
        prop_assert_eq!(frame.kind, FrameKind::Header);
        let header = ContentHeader::decode(frame.payload).unwrap();
        prop_assert_eq!(Properties::parse(header.properties, &TableLimits::default()), Ok(ours));
    }
}
