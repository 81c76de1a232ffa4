//! Names of queues, given by clients or made up by the broker.

use leveret_tests::codec::{Value, queue};
use leveret_tests::{Broker, declare, delete, passive, table};

use crate::check;

#[test]
fn names_are_checked() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let long = "q".repeat(255);
    check(
        &channel,
        &[
            (
                &passive("q"),
                "channel.close 404 queue.declare NOT_FOUND - no queue 'q' in vhost '/'",
            ),
            (
                &declare("amq.foo"),
                "channel.close 403 queue.declare \
                 ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*'",
            ),
            (
                &passive("amq.foo"),
                "channel.close 404 queue.declare NOT_FOUND - no queue 'amq.foo' in vhost '/'",
            ),
            (&declare("l\r\nq"), "queue.declare-ok lq 0 0"),
            (&delete("lq"), "queue.delete-ok 0"),
            (&declare(&long), &format!("queue.declare-ok {long} 0 0")),
            (&delete(&long), "queue.delete-ok 0"),
            (&declare("ümläut € 🐇"), "queue.declare-ok ümläut € 🐇 0 0"),
            (&delete("ümläut € 🐇"), "queue.delete-ok 0"),
        ],
    );
}

#[test]
fn the_broker_makes_up_names() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let exclusive = queue::Declare { exclusive: true, ..declare("") };
    let (one, two) = (channel.call(&exclusive), channel.call(&exclusive));
    for answer in [&one, &two] {
        let random = answer.queue().strip_prefix("amq.gen-").unwrap();
        assert_eq!(random.len(), 22, "{answer}");
        assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    }
    assert_ne!(one.queue(), two.queue());
    assert!(channel.call(&passive(one.queue())).starts_with("queue.declare-ok amq.gen-"));
    assert_eq!(
        channel.call(&queue::Declare { exclusive: true, ..declare(one.queue()) }),
        format!(
            "channel.close 403 queue.declare ACCESS_REFUSED - \
             queue name '{}' contains reserved prefix 'amq.*'",
            one.queue()
        )
    );
}

/// As RabbitMQ 4.4 has it: what stands in front of the random part may be chosen.
#[test]
fn made_up_names_may_have_a_prefix() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for prefix in ["billing", "p", &"p".repeat(64)] {
        let arguments = table([("x-name-prefix", Value::text(prefix))]);
        let nameless =
            queue::Declare { exclusive: true, arguments: arguments.as_table(), ..declare("") };
        let answer = channel.call(&nameless);
        let random = answer.queue().strip_prefix(prefix).unwrap().strip_prefix('-').unwrap();
        assert_eq!(random.len(), 22, "{answer}");
        // It is a name like any other.
        let again = queue::Declare { queue: answer.queue(), ..nameless };
        assert_eq!(channel.call(&again), format!("queue.declare-ok {} 0 0", answer.queue()));
        // Who has a name needs no prefix.
        assert_eq!(
            channel.call(&queue::Declare { queue: "q", ..nameless }),
            "queue.declare-ok q 0 0"
        );
    }
    let reserved = table([("x-name-prefix", Value::text("amq.mine"))]);
    let number = table([("x-name-prefix", Value::I32(1))]);
    let nameless = |arguments| queue::Declare { exclusive: true, arguments, ..declare("") };
    check(
        &channel,
        &[
            (
                &nameless(reserved.as_table()),
                "channel.close 403 queue.declare ACCESS_REFUSED - queue name 'amq.mine' contains \
                 reserved prefix 'amq.*'",
            ),
            (
                &nameless(number.as_table()),
                "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-name-prefix' \
                 for queue '' in vhost '/': {unacceptable_type,signedint}",
            ),
        ],
    );
}
