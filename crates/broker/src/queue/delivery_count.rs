//! What a redelivery from a quorum queue says of those before it.

use leveret_codec::{Properties, TableBuilder, Value};
use leveret_engine::Message;

use super::properties;

/// Appends a message's properties with the headers `x-delivery-count` and `x-acquired-count` added.
///
/// RabbitMQ has both from the second delivery on; here they are equal, as every return counts.
pub(super) fn put_with_delivery_count(message: &Message, deliveries: u32, out: &mut Vec<u8>) {
    let properties = properties(message);
    let count = Value::I64(deliveries.into());
    let headers = TableBuilder::from_table(properties.headers.unwrap_or_default())
        .remove("x-delivery-count")
        .remove("x-acquired-count")
        .put("x-delivery-count", count)
        .put("x-acquired-count", count)
        .build();
    Properties { headers: Some(headers.as_table()), ..properties }.encode(out);
}
