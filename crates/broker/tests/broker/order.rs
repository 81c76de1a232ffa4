//! The order of what comes back.

use leveret_broker::Settlement;
use leveret_codec::Properties;
use leveret_engine::Return;

use crate::world::{Got, World};

/// However persistent and transient messages follow each other in what a client sends at once.
#[test]
fn messages_of_one_batch_come_back_in_order() {
    for pattern in 0..64_u8 {
        let mut world = World::new();
        world.declare("q", &[]);
        let bodies: Vec<String> = (0..6).map(|number| number.to_string()).collect();
        for (number, body) in bodies.iter().enumerate() {
            let delivery_mode = Some(if pattern >> number & 1 == 1 { 2 } else { 1 });
            world.stage("", "q", Properties { delivery_mode, ..Properties::default() }, body);
        }
        let _ = world.confirmation();
        let _ = world.publish("", "q", "last");
        let got: Vec<Got> = (0..6).map(|_| world.get("q").unwrap()).collect();
        world.settle(Settlement::Requeue(Return::Released), got.into_iter().rev());
        let mut expected = bodies;
        expected.push("last".to_owned());
        assert_eq!(world.drain("q"), expected, "{pattern:06b}");
    }
}
