use serde_json::{from_str, json};

use super::*;

#[test]
fn what_differs_is_said_once_each() {
    let about = json!({
        "nodes": [
            { "enabled_plugins": ["rabbitmq_management", "rabbitmq_shovel", "cowboy"] },
            { "enabled_plugins": ["rabbitmq_shovel", "rabbitmq_mqtt"] },
        ],
        "exchanges": [{ "name": "later", "type": "x-delayed-message" }],
    });
    let definitions = json!({
        "users": [{ "name": "guest", "password_hash": "a" }],
        "policies": [
            { "name": "ha", "vhost": "/", "definition": { "ha-mode": "all", "max-length": 1 } },
        ],
        "exchanges": [{ "name": "x", "vhost": "/", "type": "topic", "durable": true }],
        "queues": [
            { "name": "same", "vhost": "/", "type": "quorum", "durable": true,
              "auto_delete": false, "arguments": { "x-queue-type": "quorum" } },
            { "name": "other", "vhost": "/", "durable": true,
              "arguments": { "x-max-length": 1, "x-queue-mode": "lazy" } },
        ],
    });
    let before = json!({
        "users": [{ "name": "guest", "password_hash": "b" }],
        "exchanges": [{ "name": "x", "vhost": "/", "type": "fanout", "durable": true }],
        "queues": [
            { "name": "same", "vhost": "/", "durable": true,
              "arguments": { "x-queue-type": "quorum" } },
            { "name": "other", "vhost": "/", "durable": false, "arguments": {} },
        ],
    });
    let refused = json!({ "refused": [
        { "section": "parameters", "vhost": "/", "name": "shovel s",
          "reason": "Validation failed\n\ncomponent shovel not found" },
    ] });
    let queue = |name: &str, kind: &str| Queue {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        kind: kind.to_owned(),
        auto_delete: false,
        exclusive: name.starts_with("own"),
        is_defined: !name.starts_with("own"),
        is_internal: false,
        has_delivery_limit: false,
        consumers: 1,
        message_bytes: None,
    };
    let queues = [queue("own1", "classic"), queue("own2", "classic"), queue("log", "stream")];
    let said = differences(&about, &definitions, &queues, &before, &refused, 1);
    let expected = [
        "parameter 'shovel s' in vhost '/' is not taken: Validation failed component shovel \
         not found",
        "exchange 'x' in vhost '/' is here already and stays as it is, with another type",
        "queue 'other' in vhost '/' is here already and stays as it is, with another durable \
         and arguments",
        "user 'guest', who is here already, gets the password of there",
        "there are 2 nodes there, and one here: nothing is replicated",
        "plugins that are on there and not here: rabbitmq_mqtt, rabbitmq_shovel",
        "policy 'ha' in vhost '/': ha-mode has no effect here",
        "queue 'other' in vhost '/': queue-mode has no effect here",
        "'own1' and 1 other: exclusive, so only its own connection has it, and it stays there",
        "'log': streams; their messages are copied and also stay there",
        "'log': consumers are connected there, which take messages meanwhile; what they hold \
         unacknowledged stays there",
        "exchange 'later': messages whose delay isn't over stay there",
    ];
    assert_eq!(said, expected);
}

#[test]
fn nothing_is_said_of_what_is_the_same() {
    let definitions = json!({ "queues": [{ "name": "q", "vhost": "/", "durable": true }] });
    let nothing = json!({});
    let said = differences(&nothing, &definitions, &[], &definitions, &nothing, 1);
    assert_eq!(said, Vec::<String>::new());
}

/// Of a RabbitMQ with shovels, federation, sharding and queues and exchanges of all types: what it said of itself.
#[test]
fn a_rabbitmq_with_all_its_plugins_differs_in_this() {
    let recorded: Value = from_str(include_str!("rabbitmq-3.10.8.json")).unwrap();
    let definitions = recorded.at("definitions");
    let queues = Queue::all(recorded.at("queues"), definitions);
    let nothing = json!({});
    let about = recorded.at("about");
    let said = differences(about, definitions, &queues, &nothing, &nothing, 16 << 20);
    let expected = [
        "plugins that are on there and not here: rabbitmq_event_exchange, rabbitmq_federation, \
         rabbitmq_federation_management, rabbitmq_sharding, rabbitmq_shovel, \
         rabbitmq_shovel_management, rabbitmq_stomp",
        "logins may depend on rabbitmq_auth_backend_http there, whose settings are no definitions",
        "vhost 'other': tracing is on there, which is no definition",
        "policy 'ha' in vhost '/': ha-mode, ha-params, ha-promote-on-shutdown, ha-sync-mode have \
         no effect here",
        "policy 'qq' in vhost '/': max-in-memory-length has no effect here",
        "policy 'v2' in vhost '/': queue-version has no effect here",
        "policy 'lazy' in vhost '/': queue-mode has no effect here",
        "queue 'stream' in vhost '/': initial-cluster-size has no effect here",
        "queue 'quorum' in vhost '/': max-in-memory-length, quorum-initial-group-size have no \
         effect here",
        "queue 'located' in vhost '/': queue-master-locator has no effect here",
        "queue 'lazy' in vhost '/': queue-mode has no effect here",
        "queue 'classic2' in vhost '/': queue-version has no effect here",
        "queue 'leader' in vhost '/': queue-leader-locator has no effect here",
        "'own': exclusive, so only its own connection has it, and it stays there",
        "'stream': streams; their messages are copied and also stay there",
        "'federation: fedx -> mig@vm': of a plugin there, and nothing here takes messages from it",
        "'leader': no delivery limit there, and here that of RabbitMQ 4, after 20 returns; a \
         policy can lift it",
        "'classic2' and 2 others: consumers are connected there, which take messages meanwhile; \
         what they hold unacknowledged stays there",
        "messages of more than 16777216 bytes are refused here (amqp.max_message_size), and there \
         of more than 134217728 unless it was told otherwise",
        "exchange 'recent': what it keeps for new bindings stays there",
    ];
    assert_eq!(said, expected);
}
