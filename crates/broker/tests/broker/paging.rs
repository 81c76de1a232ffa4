//! More messages than fit into memory.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use leveret_broker::{HeldMemory, HeldShare, Holder, MESSAGE_MEMORY, Outcome, Settlement, Staged};
use leveret_codec::{Properties, Value};
use leveret_engine::{Millis, Return};
use leveret_store::{Disk, DiskFile, DiskLock, LockError, Lsn, MemDisk, Store};

use crate::world::{START, World, table};

const BUDGET: u64 = 64 << 10;

fn world() -> World {
    World::open_with(Arc::new(MemDisk::new()), START, BUDGET)
}

fn body(number: usize) -> String {
    format!("{number:06}{}", "x".repeat(number % 700))
}

/// Publishes so many messages, and lets most of them go to disk.
fn fill(world: &mut World, queue: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        world.publish("", queue, &body(number));
        if number % 100 == 99 {
            world.page();
            assert!(world.broker.message_memory() <= BUDGET, "{number}");
        }
    }
    world.page();
}

#[test]
fn a_deep_backlog_keeps_its_order_and_bodies_across_paging_and_restart() {
    let mut world = world();
    world.declare("q", &[]);
    fill(&mut world, "q", 0..2000);
    assert_eq!(world.ready("q"), 2000);
    for number in 0..500 {
        let got = world.get("q").unwrap();
        assert_eq!((got.body.as_str(), got.redelivered), (body(number).as_str(), false));
        world.ack(got);
    }
    let mut world = world.restart();
    assert_eq!(world.ready("q"), 1500);
    world.page();
    assert!(world.broker.message_memory() <= BUDGET);
    let bodies = world.drain("q");
    assert!(bodies.into_iter().eq((500..2000).map(body)));
    assert_eq!(world.broker.message_memory(), 0);
}

#[test]
fn headers_count_in_what_is_shown_at_a_time() {
    let mut world = world();
    world.declare("q", &[]);
    let text = "x".repeat(10_000);
    let headers = table(&[("text", Value::text(&text))]);
    for number in 0..100 {
        let headers = Some(headers.as_table());
        let properties = Properties { headers, delivery_mode: Some(2), ..Properties::default() };
        world.publish_with("", "q", properties, &body(number));
    }
    // In memory, and on disk, where it is only known once they are read.
    for _ in 0..2 {
        let shown = world.session.browse("q", 20, 100, 50_000).unwrap();
        let bodies = shown.messages.iter().map(|(_, entry)| entry.message.body());
        assert!(bodies.eq((20..25).map(|number| body(number).into_bytes())));
        assert_eq!((shown.next, shown.end), (25, 100));
        let last = world.session.browse("q", shown.next, 100, u64::MAX).unwrap();
        assert_eq!((last.messages.len(), last.next), (75, 100));
        world.page();
        assert!(world.broker.message_memory() <= BUDGET);
    }
}

#[test]
fn what_comes_back_takes_its_place_before_what_is_on_disk() {
    let mut world = world();
    world.declare("q", &[]);
    fill(&mut world, "q", 0..300);
    let held: Vec<_> = (0..10).map(|_| world.get("q").unwrap()).collect();
    world.page();
    world.settle(Settlement::Requeue(Return::Released), held);
    fill(&mut world, "q", 300..600);
    for number in 0..600 {
        let got = world.get("q").unwrap();
        assert_eq!((got.body.as_str(), got.redelivered), (body(number).as_str(), number < 10));
        world.ack(got);
        if number % 50 == 0 {
            world.page();
        }
    }
}

#[test]
fn what_comes_back_in_great_number_takes_no_more_memory_than_it_may() {
    let mut world = world();
    world.declare("q", &[]);
    fill(&mut world, "q", 0..2000);
    let held: Vec<_> = (0..1500).map(|_| world.get("q").unwrap()).collect();
    world.settle(Settlement::Requeue(Return::Released), held);
    world.page();
    assert!(world.broker.message_memory() <= BUDGET);
    // Some come back between others that are on disk again.
    let held: Vec<_> = (0..40).map(|_| world.get("q").unwrap()).collect();
    world.page();
    let (even, odd): (Vec<_>, Vec<_>) =
        held.into_iter().enumerate().partition(|(number, _)| number % 2 == 0);
    for some in [odd, even] {
        let some: Vec<_> = some.into_iter().map(|(_, got)| got).collect();
        world.settle(Settlement::Requeue(Return::Released), some);
        world.page();
    }
    let shown = world.session.browse("q", 30, 20, 1 << 20).unwrap();
    let bodies = shown.messages.iter().map(|(_, entry)| entry.message.body().to_vec());
    assert!(bodies.eq((30..50).map(|number| body(number).into_bytes())));
    for number in 0..2000 {
        let got = world.get("q").unwrap();
        assert_eq!((got.body.as_str(), got.redelivered), (body(number).as_str(), number < 1500));
        world.ack(got);
    }
    assert_eq!(world.broker.message_memory(), 0);
}

#[test]
fn deliveries_without_their_messages_are_settled_as_any_other() {
    let mut world = world();
    world.declare("dead", &[]);
    let arguments = [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
    ];
    world.declare("q", &arguments);
    fill(&mut world, "q", 0..100);
    let mut held: Vec<_> = (0..90).map(|_| world.get("q").unwrap().paged_out()).collect();
    let status = |world: &World| world.session.vhost().queue("q").unwrap().status();
    let bytes: usize = (0..90).map(|number| body(number).len()).sum();
    let now = status(&world);
    assert_eq!((now.unacked, now.unacked_paged), (90, 90));
    assert_eq!((now.unacked_bytes, now.unacked_paged_bytes), (bytes as u64, bytes as u64));
    world.await_readable();
    // In and out of a transaction, and back to where they were in any order.
    let mut some = |count: usize| held.drain(..count).collect::<Vec<_>>();
    world.settle(Settlement::Discard, some(10));
    let committed = some(10).into_iter().map(|got| (Settlement::Discard, got));
    world.commit(committed, &[]).unwrap();
    world.settle(Settlement::Acknowledge, some(10));
    let committed = some(10).into_iter().map(|got| (Settlement::Requeue(Return::Released), got));
    world.commit(committed, &[("dead", "published")]).unwrap();
    let mut mixed = some(50);
    for step in [7, 5, 3, 2, 1] {
        let at = |number: usize| number.is_multiple_of(step);
        let (now, later): (Vec<_>, Vec<_>) =
            mixed.into_iter().enumerate().partition(|(number, _)| at(*number));
        let now = now.into_iter().rev().map(|(_, got)| got);
        world.settle(Settlement::Requeue(Return::Failed), now);
        mixed = later.into_iter().map(|(_, got)| got).collect();
    }
    let now = status(&world);
    assert_eq!((now.unacked, now.unacked_paged, now.unacked_paged_bytes), (0, 0, 0));
    assert_eq!((now.ready, now.paged), (70, 60));
    for number in 30..100 {
        let got = world.get("q").unwrap();
        assert_eq!((got.body.as_str(), got.redelivered), (body(number).as_str(), number < 90));
        world.ack(got);
    }
    let dead = (0..20).map(body).chain(["published".to_owned()]);
    assert!(world.drain("dead").into_iter().eq(dead));
    assert_eq!(world.broker.message_memory(), 0);
    assert_eq!(world.restart().broker.store().stats().live_places, 0);
}

#[test]
fn messages_on_disk_expire_and_are_dead_lettered_whole() {
    let mut world = world();
    world.declare("dead", &[]);
    let arguments = [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
    ];
    world.declare("q", &arguments);
    for number in 0..1000 {
        // Every third expires, from behind those that don't.
        let expiration = (number % 3 == 0).then_some(b"1000".as_slice());
        let properties = Properties { expiration, ..Properties::default() };
        world.publish_with("", "q", properties, &body(number));
    }
    world.page();
    assert!(world.broker.message_memory() <= BUDGET);
    world.pass(1001);
    for _ in 0..20 {
        world.page();
        world.pass(20);
    }
    let mortal = (0..1000).filter(|number| number % 3 == 0);
    assert_eq!(world.ready("dead"), mortal.clone().count() as u64);
    let mut dead = world.drain("dead");
    // Which of those that expire together goes first is open.
    dead.sort();
    assert!(dead.into_iter().eq(mortal.map(body)));
    let live = world.drain("q");
    assert!(live.into_iter().eq((0..1000).filter(|number| number % 3 != 0).map(body)));
}

#[test]
fn a_limit_drops_what_is_on_disk_first() {
    let mut world = world();
    world.declare("dead", &[]);
    let arguments = [
        ("x-max-length", Value::I32(800)),
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
    ];
    world.declare("q", &arguments);
    fill(&mut world, "q", 0..1000);
    assert_eq!((world.ready("q"), world.ready("dead")), (800, 200));
    assert!(world.drain("dead").into_iter().eq((0..200).map(body)));
    assert!(world.drain("q").into_iter().eq((200..1000).map(body)));
}

/// Waits until there are fewer bytes than that. Answers how many.
fn await_less(most: u64, bytes: impl Fn() -> u64) -> u64 {
    let begun = Instant::now();
    loop {
        let now = bytes();
        if now < most {
            return now;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{now} bytes, not below {most}");
    }
}

#[test]
fn purged_and_deleted_backlogs_are_gone_from_memory_and_journal() {
    let mut world = world();
    for queue in ["purged", "deleted"] {
        world.declare(queue, &[]);
        fill(&mut world, queue, 0..500);
    }
    let segment_bytes = |world: &World| {
        // Space is given back behind the next sync.
        world.await_readable();
        world.broker.store().stats().segment_bytes
    };
    let filled = segment_bytes(&world);
    assert_eq!(world.session.purge_queue("purged").unwrap(), 500);
    world.session.finish();
    let purged = await_less(filled, || segment_bytes(&world));
    let deleted = world.session.delete_queue("deleted", Default::default()).unwrap();
    assert_eq!(deleted.messages, 500);
    world.session.finish();
    assert_eq!(world.broker.message_memory(), 0);
    // Only what is being written is left.
    await_less(purged.min(256 << 10) + 1, || segment_bytes(&world));
    let world = world.restart();
    assert_eq!(world.ready("purged"), 0);
    assert_eq!(world.broker.store().stats().live_places, 0);
}

#[test]
fn many_shallow_queues_share_the_budget() {
    let mut world = world();
    for queue in 0..300 {
        world.declare(&format!("q{queue}"), &[]);
    }
    for round in 0..4 {
        for queue in 0..300 {
            world.publish("", &format!("q{queue}"), &body(1000 * round + queue));
        }
        world.page();
        assert!(world.broker.message_memory() <= BUDGET, "{round}");
    }
    for queue in 0..300 {
        let bodies = world.drain(&format!("q{queue}"));
        assert!(bodies.into_iter().eq((0..4).map(|round| body(1000 * round + queue))));
    }
}

/// As [`fill`], with transient messages.
fn fill_transient(world: &mut World, queue: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let properties = Properties { delivery_mode: Some(1), ..Properties::default() };
        world.publish_with("", queue, properties, &body(number));
        if number % 100 == 99 {
            world.page();
            assert!(world.broker.message_memory() <= 4 * BUDGET, "{number}");
        }
    }
    world.page();
}

#[test]
fn transient_messages_on_disk_are_shown_got_and_put_back_in_order() {
    let mut world = world();
    world.declare("q", &[]);
    fill_transient(&mut world, "q", 0..1000);
    let resident = world.broker.message_memory();
    assert!(resident > BUDGET, "{resident}: some milliseconds of a backlog stay");
    let shown = world.session.browse("q", 100, 50, 1 << 20).unwrap();
    let bodies = shown.messages.iter().map(|(_, entry)| entry.message.body());
    assert_eq!(
        bodies.collect::<Vec<_>>(),
        (100..150).map(|n| body(n).into_bytes()).collect::<Vec<_>>()
    );
    let held: Vec<_> = (0..10).map(|_| world.get("q").unwrap()).collect();
    world.settle(Settlement::Requeue(Return::Released), held);
    world.page();
    assert!(world.broker.message_memory() <= 4 * BUDGET);
    assert!(world.drain("q").into_iter().eq((0..1000).map(body)));
    assert_eq!(world.broker.message_memory(), 0);
    assert_eq!(world.broker.store().stats().live_places, 0);
    fill_transient(&mut world, "q", 0..300);
    assert_eq!(world.restart().ready("q"), 0);
}

#[test]
fn no_more_is_written_to_disk_than_has_to_leave_memory() {
    let mut world = World::open_with(Arc::new(MemDisk::new()), START, 2 << 20);
    world.declare("q", &[]);
    let body = "x".repeat(50_000);
    for _ in 0..200 {
        let properties = Properties { delivery_mode: Some(1), ..Properties::default() };
        world.publish_with("", "q", properties, &body);
    }
    world.page();
    // Of 8 MiB that may stay an eighth goes so that not every message is a reason.
    let memory = world.broker.message_memory();
    assert!((5 << 20..=7 << 20).contains(&memory), "{memory}");
    assert!(world.drain("q").iter().all(|drained| *drained == body));
}

#[test]
fn what_waits_for_its_delay_is_on_disk_and_comes_back_as_it_was() {
    let mut world = world();
    let arguments = [
        ("x-queue-type", Value::text("quorum")),
        ("x-delayed-retry-type", Value::text("all")),
        ("x-delayed-retry-min", Value::I32(1000)),
    ];
    world.declare("q", &arguments);
    fill(&mut world, "q", 0..900);
    // Some without their messages, some with, and each hundred later than the one before.
    for round in 0..8 {
        let held = (0..100).map(|_| world.get("q").unwrap());
        let held: Vec<_> = held.collect();
        world.settle(Settlement::Requeue(Return::Released), held);
        if round % 2 == 0 {
            world.page();
        }
        world.pass(10);
    }
    world.page();
    let status = |world: &World| world.session.vhost().queue("q").unwrap().status();
    let bytes = |numbers: std::ops::Range<usize>| numbers.map(|it| body(it).len() as u64).sum();
    let seen = status(&world);
    assert_eq!((seen.ready, seen.delayed, seen.messages()), (100, 800, 900));
    assert_eq!((seen.delayed_bytes, seen.bytes()), (bytes(0..800), bytes(0..900)));
    assert!(seen.delayed_paged > 600 && world.broker.message_memory() <= BUDGET);

    let now = world.now;
    let mut world = world.restart();
    world.page();
    let after = status(&world);
    assert_eq!((after.ready, after.delayed, after.bytes()), (100, 800, bytes(0..900)));
    assert_eq!(after.next_delayed_at, seen.next_delayed_at);
    assert_eq!(after.last_delayed_at, seen.last_delayed_at);
    assert!(after.delayed_paged > 600 && world.broker.message_memory() <= BUDGET);

    // The first half is back before what was never taken.
    let half = now - 80 + 1000 + 30;
    world.pass(half - world.now);
    assert_eq!((status(&world).ready, status(&world).delayed), (500, 400));
    for number in (0..400).chain(800..900) {
        let got = world.get("q").unwrap();
        assert_eq!((got.body.as_str(), got.redelivered), (body(number).as_str(), number < 400));
        world.ack(got);
    }
    world.pass(1000);
    assert!(world.drain("q").into_iter().eq((400..800).map(body)));
    assert_eq!((world.broker.message_memory(), status(&world).messages()), (0, 0));
}

/// The delays are in headers, and the longest come first.
#[test]
fn what_a_delayed_exchange_keeps_is_on_disk_and_leaves_in_time() {
    let mut world = world();
    let kind = [("x-delayed-type", Value::text("fanout"))];
    world.declare_exchange_with("later", "x-delayed-message", &kind);
    world.declare("q", &[]);
    world.bind("q", "later", "");
    let delay = |number: usize| 100_000 - 100 * u64::try_from(number).unwrap();
    let published = world.now;
    for number in 0..800 {
        let delay = Value::I64(delay(number).try_into().unwrap());
        let headers = table(&[("x-delay", delay)]);
        let headers = Some(headers.as_table());
        let properties = Properties { headers, ..Properties::default() };
        // Where it goes is not known yet.
        let staged = world.offer("later", "", properties, &body(number));
        assert_eq!(staged, Staged::Unroutable);
        assert!(matches!(world.confirmation(), Outcome::DurableAt(_)));
        if number % 100 == 99 {
            world.page();
            assert!(world.broker.message_memory() <= BUDGET, "{number}");
        }
    }
    // Once with what it held in memory, and once with what it never had there.
    for _ in 0..2 {
        world = world.restart();
        assert!(world.broker.message_memory() <= BUDGET);
    }
    for number in (0..800).rev() {
        let due = published + delay(number);
        world.pass(due - 1 - world.now);
        assert_eq!(world.ready("q"), 0, "{number} is early");
        world.pass(2);
        world.page();
        let got = world.get("q").unwrap();
        assert_eq!(got.body, body(number));
        world.ack(got);
    }
    assert_eq!(world.broker.message_memory(), 0);
}

/// Nobody takes them at first, then some have no room.
#[test]
fn dead_letters_that_are_kept_are_on_disk_and_arrive_as_they_died() {
    let mut world = world();
    let careful = [
        ("x-queue-type", Value::text("quorum")),
        ("x-dead-letter-strategy", Value::text("at-least-once")),
        ("x-dead-letter-exchange", Value::text("dlx")),
        ("x-overflow", Value::text("reject-publish")),
    ];
    world.declare("q", &careful);
    fill(&mut world, "q", 0..800);
    for number in 0..700 {
        let got = world.get("q").unwrap();
        world.reject(got);
        if number % 100 == 99 {
            world.page();
            assert!(world.broker.message_memory() <= BUDGET);
        }
    }
    let status = |world: &World| world.session.vhost().queue("q").unwrap().status();
    let bytes = |numbers: std::ops::Range<usize>| numbers.map(|it| body(it).len() as u64).sum();
    let mut world = {
        let seen = status(&world);
        assert_eq!((seen.ready, seen.dead_letters, seen.messages()), (100, 700, 800));
        assert_eq!((seen.dead_letter_bytes, seen.bytes()), (bytes(0..700), bytes(0..800)));
        assert!(seen.dead_letters_paged > 500);
        assert_eq!(
            seen.bytes_in_memory() + seen.paged_bytes + seen.dead_letter_bytes_paged,
            seen.bytes()
        );
        world.restart()
    };
    world.page();
    let seen = status(&world);
    assert_eq!((seen.ready, seen.dead_letters, seen.bytes()), (100, 700, bytes(0..800)));
    assert!(seen.dead_letters_paged > 500 && world.broker.message_memory() <= BUDGET);

    world.declare_exchange("dlx", "fanout");
    let small = [("x-max-length", Value::I32(150)), ("x-overflow", Value::text("reject-publish"))];
    world.declare("dead", &small);
    world.bind("dead", "dlx", "");
    let mut next = 0;
    while next < 700 {
        world.pass(1_000);
        world.page();
        assert_eq!(world.ready("dead") + status(&world).dead_letters, 700 - next as u64);
        for got in world.drain("dead") {
            assert_eq!(got, body(next));
            next += 1;
        }
    }
    let seen = status(&world);
    assert_eq!((seen.dead_letters, seen.dead_letters_paged), (0, 0));
    assert!(world.drain("q").into_iter().eq((700..800).map(body)));
    assert_eq!(world.broker.message_memory(), 0);
}

/// Holds deliveries, and can do nothing about it.
struct Client;

impl Holder for Client {
    fn page_out(&self, _: Lsn, _: usize) -> bool {
        false
    }

    fn spill(&self, _: &Store, _: u64) -> io::Result<bool> {
        Ok(false)
    }

    fn hold_on(&self) {}
}

#[test]
fn what_ten_thousand_channels_do_not_tell_is_less_than_half_the_budget() {
    let world = World::new();
    let client: Weak<Client> = Arc::downgrade(&Arc::new(Client));
    let held = Arc::new(HeldMemory::new(&world.broker, client));
    let (mut shares, mut untold) = (Vec::new(), 0);
    for _ in 0..10_000 {
        let mut probe = HeldShare::new(Arc::clone(&held));
        let step = (16..).step_by(16).find(|memory| {
            probe.set(*memory);
            probe.is_told()
        });
        drop(probe);
        // All it may hold without telling.
        let memory = step.unwrap() - 16;
        let mut share = HeldShare::new(Arc::clone(&held));
        share.set(memory);
        untold += memory;
        shares.push(share);
    }
    assert_eq!(world.broker.message_memory(), 0);
    assert!(untold < MESSAGE_MEMORY / 2, "{untold}");
    // Few need not tell of each delivery.
    drop(shares);
    let mut share = HeldShare::new(held);
    share.set(30_000);
    assert!(!share.is_told());
}

/// Where nothing can be written but the journal.
struct WithoutSpill(MemDisk);

impl Disk for WithoutSpill {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if path.ends_with("spill") {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.0.open(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir_all(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.0.free_space(dir)
    }

    fn lock(&self, path: &Path) -> Result<DiskLock, LockError> {
        self.0.lock(path)
    }
}

/// Publishes transient messages until their publisher has to wait.
fn publish_until_held(world: &mut World) {
    let properties = Properties { delivery_mode: Some(1), ..Properties::default() };
    let large = "x".repeat(64 << 10);
    for number in 0.. {
        world.session.begin(Millis(world.now));
        world.publish_with("", "q", properties, &large);
        if world.session.piles_up() {
            // 8 MiB may wait.
            assert!(number >= 120, "{number}");
            return;
        }
        assert!(number < 200, "nobody waits");
    }
}

#[test]
fn publishers_of_what_stays_wait_until_the_disk_has_taken_it() {
    let mut world = world();
    world.declare("q", &[]);
    world.declare("consumed", &[]);
    let told = Arc::new(AtomicUsize::new(0));
    let listener = Arc::clone(&told);
    world.broker.listen_to_relief(Arc::new(move || {
        listener.fetch_add(1, Ordering::Relaxed);
    }));
    crate::confirms::consume(&mut world, "consumed", true);
    publish_until_held(&mut world);
    assert!(world.broker.is_paging_behind());
    // Not those whose messages do not stay.
    world.session.begin(Millis(world.now));
    world.publish("", "consumed", "x");
    assert!(!world.session.piles_up());
    assert_eq!(told.load(Ordering::Relaxed), 0);
    world.page();
    assert!(!world.broker.is_paging_behind());
    assert_eq!(told.load(Ordering::Relaxed), 1);
    publish_until_held(&mut world);
    // Nor do they wait when it has become less without the disk.
    world.session.purge_queue("q").unwrap();
    assert!(!world.broker.is_paging_behind());
    assert_eq!(told.load(Ordering::Relaxed), 2);
}

#[test]
fn publishers_do_not_wait_for_a_disk_that_takes_nothing() {
    let mut world = World::open_with(Arc::new(WithoutSpill(MemDisk::new())), START, BUDGET);
    world.declare("q", &[]);
    for _ in 0..3 {
        publish_until_held(&mut world);
        world.page();
        assert!(!world.broker.is_paging_behind());
    }
}
