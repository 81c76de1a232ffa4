//! Limits outlive the broker.

use leveret_broker::{Actor, UserLimits, VhostLimits};

use crate::world::World;

#[test]
fn limits_survive_a_restart() {
    let world = World::new();
    let of_vhost = VhostLimits { max_connections: Some(5), max_queues: Some(-1) };
    let of_user = UserLimits { max_connections: None, max_channels: Some(7) };
    world.broker.administration(&Actor::program()).set_vhost_limits("/", of_vhost).unwrap();
    world.broker.administration(&Actor::program()).set_user_limits("guest", of_user).unwrap();
    assert!(
        world
            .broker
            .administration(&Actor::program())
            .set_vhost_limits("nowhere", of_vhost)
            .is_err()
    );
    assert!(
        world.broker.administration(&Actor::program()).set_user_limits("nobody", of_user).is_err()
    );

    let world = world.restart();
    assert_eq!(world.broker.vhost("/").unwrap().limits(), of_vhost);
    assert_eq!(world.broker.access().user_limits("guest"), of_user);
    world
        .broker
        .administration(&Actor::program())
        .set_vhost_limits("/", VhostLimits::default())
        .unwrap();
    world
        .broker
        .administration(&Actor::program())
        .set_user_limits("guest", UserLimits::default())
        .unwrap();

    let world = world.restart();
    assert_eq!(world.broker.vhost("/").unwrap().limits(), VhostLimits::default());
    assert_eq!(world.broker.access().user_limits("guest"), UserLimits::default());
}
