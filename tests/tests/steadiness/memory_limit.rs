//! The broker is in a container that has little memory.

use std::fs;
use std::path::PathBuf;
use std::process;

use leveret_tests::codec::{Properties, basic, queue};
use leveret_tests::{
    Api, Broker, Connection, Unconfirmed, confirm_select, consume, declare, delete, eventually,
    publish,
};

/// A broker that is not optimised takes some 40 MiB for its code.
const LIMIT: u64 = 256 << 20;
const BODY: usize = 64 << 10;
/// Twice the limit.
const MESSAGES: u64 = 2 * LIMIT / (BODY as u64);
const LISTENERS: &str = "management = \"127.0.0.1:0\"\n";

/// A control group with a limit of memory; gone when it is dropped.
struct Group(PathBuf);

impl Group {
    /// `None`, and a note, where none can be made.
    fn new(test: &str) -> Option<Self> {
        let name = format!("leveret-test-{}-{test}", process::id());
        // The older version, and the newer.
        let places =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let make = |(mount, file): (&str, &str)| {
            let group = Self(PathBuf::from(mount).join(&name));
            fs::create_dir(&group.0).ok()?;
            fs::write(group.0.join(file), LIMIT.to_string()).ok()?;
            Some(group)
        };
        let group = places.into_iter().find_map(make);
        if group.is_none() {
            let is_required = std::env::var_os("LEVERET_REQUIRE_CGROUP").is_some();
            assert!(
                !is_required,
                "no control group can be made, and LEVERET_REQUIRE_CGROUP is set"
            );
            println!("skipped: no control group can be made here");
        }
        group
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A broker in such a group; that is there for as long as it runs.
fn contained(test: &str) -> Option<(Group, Broker)> {
    let group = Group::new(test)?;
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", group.0.display());
    let wrapper = ["sh", "-c", &enter];
    let broker = Broker::behind(&wrapper, LISTENERS, "limits the broker's memory")?;
    Some((group, broker))
}

/// Whatever a client leaves with it, waiting or unacknowledged, transient or not: it is not killed for
/// it, and has all of it.
#[test]
fn a_container_with_little_memory_takes_a_backlog_of_twice_that() {
    let Some((_group, broker)) = contained("backlog") else { return };
    let told = &Api::new(broker.management_address()).get("/nodes")[0]["mem_limit"];
    assert!(told.as_u64().is_some_and(|limit| limit < LIMIT), "the alarm is below: {told}");
    for delivery_mode in [1, 2] {
        let channel = broker.connect().channel(1);
        channel.call(&queue::Declare { durable: true, ..declare("q") });
        channel.call(&confirm_select());
        let properties = Properties { delivery_mode: Some(delivery_mode), ..Properties::default() };
        let body = |number: u64| [&number.to_be_bytes()[..], &vec![b'x'; BODY - 8]].concat();
        let mut unconfirmed = Unconfirmed::default();
        for number in 0..MESSAGES {
            unconfirmed.add();
            channel.publish_with(&publish("", "q"), &properties, &body(number));
            while unconfirmed.len() > 50 {
                unconfirmed.confirm(&channel.recv());
            }
        }
        while !unconfirmed.is_empty() {
            unconfirmed.confirm(&channel.recv());
        }
        let consumer = broker.connect().channel(1);
        consumer.call(&consume("q", "c"));
        for number in 0..MESSAGES {
            let delivery = consumer.recv();
            assert!(delivery.body() == body(number), "{number}: {delivery}");
        }
        consumer.send(&basic::Ack { delivery_tag: MESSAGES, multiple: true });
        assert_eq!(consumer.call(&delete("q")), "queue.delete-ok 0");
    }
}

/// A sixty-fourth of the memory is for those of a listener, which may hold 224 KiB each.
#[test]
fn a_container_with_little_memory_has_few_connections_for_http() {
    let Some((_group, broker)) = contained("http") else { return };
    let _held = [(); 50].map(|()| Connection::dial(broker.management_address()));
    eventually(|| broker.log().contains("18 HTTP connections of a listener are open"));
}
