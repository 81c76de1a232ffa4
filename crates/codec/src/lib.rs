//! AMQP 0-9-1 on the wire, as RabbitMQ speaks it: frames, methods, tables, properties, reply codes.
//!
//! Everything here turns bytes into borrowed values and values into bytes. Decoding never copies,
//! encoding appends to the caller's buffer and never fails, and whatever a peer sends ends in a
//! value or in the [`AmqpError`] a client of RabbitMQ would have been sent.
//!
//! Deliberately absent: sockets, buffers that grow by themselves, channel and connection state,
//! time, and any knowledge of queues or exchanges.
//!
//! Read first: [`split`], which finds the next [`Frame`]; [`Method`], which is every method of the
//! protocol in both directions; [`Table`], which keeps argument and header tables as they came.
//!
//! ```
//! use leveret_codec::{Frame, FrameKind, Method, basic, split};
//!
//! let mut wire = Vec::new();
//! basic::Ack { delivery_tag: 7, multiple: false }.encode_frame(1, &mut wire);
//!
//! let (Frame { kind: FrameKind::Method, channel: 1, payload }, _) = split(&wire, 131_072)?.unwrap()
//! else { panic!("an ack is a method on channel 1") };
//! let Method::BasicAck(ack) = Method::decode(payload)? else { panic!("an ack") };
//! assert_eq!(ack.delivery_tag, 7);
//! # Ok::<(), leveret_codec::AmqpError>(())
//! ```

mod content;
mod delivery;
mod erlang;
mod error;
mod frame;
mod framing_error;
mod method;
mod properties;
mod protocol_header;
mod repeated_publish;
mod reply_code;
mod table;
mod whole_publish;
mod wire;

pub use content::{
    BASIC_CLASS, ContentHeader, body_frame_header, body_payload_max, encode_body,
    encode_body_frame, encode_content, encode_content_header,
};
pub use delivery::{Delivery, EncodedDelivery};
pub use error::{AmqpError, Scope};
pub use frame::{FRAME_END, FRAME_HEADER_LEN, FRAME_OVERHEAD, Frame, FrameKind};
pub use frame::{encode_heartbeat, split};
pub use method::{
    Method, MethodId, access, basic, channel, confirm, connection, exchange, queue, tx,
};
pub use properties::Properties;
pub use protocol_header::{Greeting, PROTOCOL_HEADER};
pub use repeated_publish::PublishShape;
pub use reply_code::ReplyCode;
pub use table::{
    Array, ArrayBuf, ArrayBuilder, ArrayIter, Table, TableBuf, TableBuilder, TableError, TableIter,
    TableLimits, Value,
};
pub use whole_publish::WholePublish;
