//! `/control/definitions` and `/control/messages`: what a migration brings from another broker.

use std::path::Path;
use std::sync::Arc;

use leveret_broker::{Broker, BrokerOptions, Imported};
use leveret_codec::TableLimits;
use leveret_store::{MemDisk, StoreOptions};
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;
use crate::definitions;
use crate::deliveries;
use crate::space::Space;

/// Segments of a store in memory, which are allocated whole.
const SCRATCH_SEGMENT_BYTES: u64 = 1 << 20;

/// Sets up all of the definitions in the body that can be, and says what can't:
/// `{"refused": [{"section": "policies", "vhost": "/", "name": "p", "reason": "..."}]}`. With
/// `dry-run=true` it only says what would be refused.
pub(crate) fn definitions(call: &Call) -> Outcome {
    let (given, stop) = (call.object()?, &call.node.stop);
    if !call.flag("dry-run") {
        let tables = call.node.config().amqp.tables;
        let (broker, actor) = (call.broker(), &call.actor);
        let (refused, commit) =
            definitions::import_what_can_be(broker, actor, &given, tables, call.now, stop)?;
        return Ok(Answer::json(&json!({ "refused": refused })).after(commit));
    }
    let refused = tried(call, &given)?;
    Ok(Answer::json(&json!({ "refused": refused })))
}

/// What is refused of definitions by a broker in memory that has all this one has.
fn tried(call: &Call, given: &Map<String, Value>) -> Result<Vec<Value>, Failure> {
    let store = StoreOptions { segment_bytes: SCRATCH_SEGMENT_BYTES, ..StoreOptions::default() };
    let options = BrokerOptions { store, create_defaults: false, ..BrokerOptions::default() };
    let scratch = Broker::open(Arc::new(MemDisk::default()), Path::new("/"), &options);
    let scratch = scratch.map_err(|_| Failure::Internal)?;
    let mut space = Space::of(call);
    let own = definitions::of_node(&call.node, &mut space)?;
    let stop = &call.node.stop;
    if let Value::Object(own) = &own {
        let accepted = TableLimits::ACCEPTED;
        definitions::import(&scratch, &call.actor, own, accepted, call.now, stop)?;
    }
    let tables = call.node.config().amqp.tables;
    let (refused, _) =
        definitions::import_what_can_be(&scratch, &call.actor, given, tables, call.now, stop)?;
    scratch.close(call.now);
    Ok(refused)
}

/// Where messages would go: `{"type": "stream", "next_offset": 0}`, the offset of streams only.
pub(crate) fn place(call: &Call) -> Outcome {
    let queue = call.vhost()?.queue(call.part("queue")).ok_or(Failure::NotFound)?;
    Ok(Answer::json(&json!({
        "type": queue.queue_type().as_str(),
        "next_offset": queue.next_offset(),
    })))
}

/// Takes the deliveries in the body, as on the wire, into a queue; the answer leaves once they are on
/// disk: `{"messages": 1000}`, how many those are. `first-offset` is that of the first one in the
/// stream it comes from. 503 while publishers would have to wait.
pub(crate) fn messages(call: &Call) -> Outcome {
    call.check_room()?;
    let first_offset = call.parameter("first-offset").map(str::parse).transpose();
    let first_offset =
        first_offset.map_err(|_| Failure::bad_request("first-offset is no offset"))?;
    let delivered = deliveries::read(&call.body);
    let delivered = delivered.map_err(|error| Failure::bad_request(error.reply_text()))?;
    let imported: Vec<Imported<'_>> = delivered
        .iter()
        .map(|one| Imported {
            redelivered: one.redelivered,
            exchange: one.exchange,
            routing_key: one.routing_key,
            raw_properties: one.raw_properties,
            body: &one.body,
        })
        .collect();
    let mut session = call.session()?;
    let tables = call.node.config().amqp.tables;
    let taken = session.import(call.part("queue"), &imported, first_offset, &tables)?;
    session.finish();
    Ok(Answer::json(&json!({ "messages": taken.messages })).after(taken.commit))
}
