//! A queue that is deleted while others are at it, and what the pager learns of it.

use std::sync::Arc;

use leveret_codec::{Table, TableBuilder};
use leveret_store::{Disk, MemDisk};

use crate::queue::DeleteIf;
use crate::session::Session;
use crate::stage::{NOW, bind, declare, open, publish, session};
use crate::turn::Turn;

/// Between its end and that of its name.
#[test]
fn what_a_deleted_stream_is_given_is_settled_for_no_other_queue() {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
    let (broker, mut session) = open(&disk);
    let stream = TableBuilder::new().put("x-queue-type", "stream").build();
    declare(&mut session, "stream", stream.as_table());
    declare(&mut session, "other", Table::EMPTY);
    for queue in ["stream", "other"] {
        bind(&mut session, queue);
    }
    publish(&mut session, "", b"1");
    let queue = broker.vhost("/").unwrap().queue("stream").unwrap();
    let mut turn = Turn::new();
    turn.begin(NOW, broker.store());
    queue.delete(DeleteIf::default(), &mut turn).unwrap();
    publish(&mut session, "", b"2");
    session.close(usize::MAX);
    broker.close(NOW);
    drop((session, queue, broker));
    let (broker, _session) = open(&disk);
    let other = broker.vhost("/").unwrap().queue("other").unwrap();
    let bodies: Vec<_> = other.ready_messages().iter().map(|one| one.body().to_vec()).collect();
    assert_eq!(bodies, [b"1", b"2"]);
}

/// As programs do that begin with a clean slate, several of them at once.
#[test]
fn who_deletes_a_queue_deletes_the_one_that_has_the_name_now() {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
    let (broker, _session) = open(&disk);
    let begin_anew = || {
        let mut session = session(&broker);
        for _ in 0..5000 {
            session.delete_queue("q", DeleteIf::default()).unwrap();
            declare(&mut session, "q", Table::EMPTY);
            session.finish();
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(begin_anew))));
    let vhost = broker.vhost("/").unwrap();
    assert!(vhost.queue("q").is_some());
    assert_eq!(vhost.directory.read().all_queues().len(), 1);
}

/// Each queue reads ahead a part of what all may have in memory.
#[test]
fn queues_that_are_gone_or_empty_take_no_part_of_what_others_read_ahead() {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
    let (broker, mut session) = open(&disk);
    let window = |session: &mut Session| {
        publish(session, "", b"1");
        broker.agenda.pager.window()
    };
    declare(&mut session, "q", Table::EMPTY);
    bind(&mut session, "q");
    let alone = window(&mut session);
    for number in 0..10 {
        let name = format!("{number}");
        declare(&mut session, &name, Table::EMPTY);
        bind(&mut session, &name);
    }
    assert!(window(&mut session) < alone);
    for number in 0..10 {
        let name = format!("{number}");
        if number % 2 == 0 {
            session.delete_queue(&name, DeleteIf::default()).unwrap();
        } else {
            session.purge_queue(&name).unwrap();
        }
    }
    assert_eq!(broker.agenda.pager.window(), alone);
}
