//! A queue is no other queue's heir, whatever a repair could not read.

use std::path::Path;
use std::sync::Arc;

use leveret_broker::DeleteIf;
use leveret_store::offline::Definitions;
use leveret_store::{Disk, MemDisk, offline};

use crate::world::{START, World};

const SEGMENT: &str = "/data/journal/0000000000000001.seg";
/// A record that drops a queue, behind its checksum and up to the queue.
const DROP_QUEUE: [u8; 12] = [5, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn a_new_queue_gets_no_messages_of_a_deleted_one_when_a_repair_loses_the_deletion() {
    let disk = MemDisk::new();
    let mut world = World::open(Arc::new(disk.clone()), START);
    world.declare("old", &[]);
    let _ = world.publish("", "old", "of the old queue");
    let deleted = world.session.delete_queue("old", DeleteIf::default()).unwrap();
    world.session.finish();
    world.wait(deleted.commit.unwrap());
    let mut world = world.restart();
    world.declare("new", &[]);
    let _ = world.publish("", "new", "of the new queue");
    drop(world.restart());

    let file = disk.open(Path::new(SEGMENT)).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let dropping: Vec<usize> =
        (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&DROP_QUEUE)).collect();
    assert_eq!(dropping.len(), 1, "{dropping:?}");
    let at = dropping[0] + DROP_QUEUE.len();
    file.write_all_at(&[&[!bytes[at]]], at as u64).unwrap();
    let report = offline::repair(&disk, Path::new("/data"), Definitions::Optional).unwrap();
    assert!(!report.damages.is_empty(), "{report:?}");

    let mut world = World::open(Arc::new(disk), START);
    assert_eq!(world.drain("new"), ["of the new queue"]);
}
