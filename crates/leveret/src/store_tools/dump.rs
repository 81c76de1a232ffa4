//! The records of a journal as lines of JSON.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use leveret_broker::key_names;
use leveret_engine::Message;
use leveret_store::offline::{DumpedRecord, OfflineError, dump};
use leveret_store::{Definition, Disk, Lsn, Table};
use serde_json::{Map, Value, json};

use super::segment_name;

/// Prints them all.
///
/// # Errors
/// When the journal or standard output can't be used.
pub(super) fn run(disk: &dyn Disk, dir: &Path, bodies: bool) -> anyhow::Result<ExitCode> {
    let mut output = BufWriter::new(io::stdout().lock());
    let dumped = dump(disk, dir, |segment, offset, lsn, record| {
        writeln!(output, "{}", line(segment, offset, lsn, &record, bodies))
    });
    let dumped = dumped.and_then(|()| output.flush().map_err(OfflineError::Output));
    match dumped {
        // Whoever reads it has seen enough.
        Err(OfflineError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            // What is still buffered has no reader.
            let _ = output.into_parts();
        }
        dumped => dumped?,
    }
    Ok(ExitCode::SUCCESS)
}

fn line(segment: u64, offset: u64, lsn: Lsn, record: &DumpedRecord<'_>, bodies: bool) -> Value {
    let mut fields = Map::new();
    let place = json!({"lsn": lsn.0, "segment": segment_name(segment), "offset": offset});
    for part in [place, said(record, bodies)] {
        if let Value::Object(part) = part {
            fields.extend(part);
        }
    }
    Value::Object(fields)
}

fn said(record: &DumpedRecord<'_>, bodies: bool) -> Value {
    match record {
        DumpedRecord::Message { queues, payload } => {
            let mut said = message(payload, bodies);
            said.insert("record".into(), "message".into());
            said.insert("queues".into(), json!(queues));
            Value::Object(said)
        }
        DumpedRecord::Moved { message: lsn, places, payload } => {
            let mut said = message(payload, bodies);
            said.insert("record".into(), "moved".into());
            said.insert("message".into(), lsn.0.into());
            let queues: Vec<u64> = places.iter().map(|place| place.queue).collect();
            said.insert("queues".into(), json!(queues));
            Value::Object(said)
        }
        DumpedRecord::Ack { queue, runs } => {
            json!({"record": "ack", "queue": queue, "runs": runs})
        }
        DumpedRecord::Returned { queue, returns } => {
            json!({"record": "returned", "queue": queue, "returns": returns})
        }
        DumpedRecord::Delayed { queue, delays } => {
            json!({"record": "delayed", "queue": queue, "delays": delays})
        }
        DumpedRecord::DropQueue { queue } => json!({"record": "drop_queue", "queue": queue}),
        DumpedRecord::Define { changes } => {
            let changes: Vec<Value> = changes.iter().map(change).collect();
            json!({"record": "define", "changes": changes})
        }
    }
}

fn message(payload: &[u8], bodies: bool) -> Map<String, Value> {
    let mut said = Map::new();
    said.insert("bytes".into(), payload.len().into());
    // The journal keeps what it is given; only what decodes has more to say.
    if let Ok(message) = Message::from_stored(Bytes::copy_from_slice(payload)) {
        said.insert("exchange".into(), message.exchange().into());
        said.insert("routing_key".into(), message.routing_key().into());
        said.insert("timestamp_ms".into(), message.timestamp().0.into());
        if bodies {
            said.insert("body".into(), STANDARD.encode(message.body()).into());
        }
    }
    said
}

/// A change without its value, which may hold a password.
fn change(change: &Definition) -> Value {
    let (operation, table, key): (_, &Table, _) = match change {
        Definition::Put { table, key, .. } => ("put", table, key),
        Definition::Delete { table, key } => ("delete", table, key),
    };
    json!({"operation": operation, "table": table.name(), "key": key_names(key)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_flat_object() {
        let ack = DumpedRecord::Ack { queue: 3, runs: vec![(7, 2)] };
        let expected = json!({
            "lsn": 9, "segment": "0000000000000002.seg", "offset": 64,
            "record": "ack", "queue": 3, "runs": [[7, 2]],
        });
        assert_eq!(line(2, 64, Lsn(9), &ack, false), expected);
    }

    #[test]
    fn definitions_show_what_and_not_how() {
        let put =
            Definition::Put { table: Table::Users, key: b"guest".to_vec(), value: vec![1, 2] };
        let expected = json!({"operation": "put", "table": "users", "key": ["guest"]});
        assert_eq!(change(&put), expected);
    }
}
