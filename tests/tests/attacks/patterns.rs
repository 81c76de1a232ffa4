//! Patterns that are meant to take forever.

use leveret_tests::codec::{ArrayBuilder, Properties, Value, exchange, queue};
use leveret_tests::{
    Channel, Login, bind, confirm_select, declare, declare_exchange, publish, table,
};
use serde_json::json;

use crate::scene::Attack;

/// As many as a header has room for, about.
const COPIES: usize = 400;

/// Bindings with as many `#` as a key has room for, which part from each other again and again, and messages
/// whose many keys lead through all of them in as many ways as there are.
#[test]
fn pathological_topics() {
    let attack = Attack {
        name: "topics of nothing but `#` and `*`",
        config: "",
        rounds: 3,
        memory_max: 32.0,
        descriptors_max: 50.0,
    };
    attack.run(|target| {
        let connection = target.connect();
        let channel = connection.channel(1);
        channel.call(&queue::Declare { exclusive: true, ..declare("q") });
        for number in 0..500_u64 {
            // Which words are `*` is as good as random.
            let bits = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let words = (0..60).map(|word| if bits >> word & 1 == 0 { "#.a" } else { "#.*" });
            let key = words.collect::<Vec<_>>().join(".");
            assert_eq!(channel.call(&bind("q", "amq.topic", &key)), "queue.bind-ok");
        }
        let long = "a.".repeat(120);
        for round in target.rounds() {
            channel.call(&confirm_select());
            // Other keys each time, for what was found once is remembered.
            publish_copies(&channel, &format!("a.{round}"));
            assert_eq!(channel.recv(), "basic.ack 1");
            publish_copies(&channel, &format!("{long}{round}"));
            let refused = "channel.close 406 basic.publish PRECONDITION_FAILED - finding queues";
            let answer = channel.recv();
            assert!(answer.starts_with(refused), "{answer}");
            channel.reopen();
        }
        connection
    });
}

fn publish_copies(channel: &Channel, key: &str) {
    let copies = (0..COPIES).map(|copy| format!("{key}.{copy}"));
    let copies = copies.fold(ArrayBuilder::new(), |keys, key| keys.push(&*key)).build();
    let headers = table([("CC", Value::Array(copies.as_array()))]);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    channel.publish_with(&publish("amq.topic", key), &properties, b"");
}

/// As many alternatives as a selector has room for, each of which is tried at each byte of a header and nearly
/// holds everywhere.
#[test]
fn pathological_selectors() {
    let attack = Attack {
        name: "selectors of many patterns",
        config: "",
        rounds: 3,
        memory_max: 32.0,
        descriptors_max: 50.0,
    };
    attack.run(|target| {
        let connection = target.connect();
        let channel = connection.channel(1);
        let selecting = declare_exchange("selecting", "x-jms-topic");
        channel.call(&exchange::Declare { auto_delete: true, ..selecting });
        channel.call(&queue::Declare { exclusive: true, ..declare("q") });
        let mut terms: Vec<String> = (0..64).map(nearly_everywhere).collect();
        while let [_, _, ..] = &*terms {
            terms = terms.chunks(2).map(|two| format!("{{'or',{}}}", two.join(","))).collect();
        }
        let selector = format!("{}.", terms[0]);
        let arguments = table([("rjms_erlang_selector", Value::LongStr(selector.as_bytes()))]);
        let arguments = arguments.as_table();
        let bound = channel.call(&queue::Bind { arguments, ..bind("q", "selecting", "") });
        assert_eq!(bound, "queue.bind-ok");
        let text = "a".repeat(100_000);
        let headers = table([("h", Value::LongStr(text.as_bytes()))]);
        let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        for _ in target.rounds() {
            channel.publish_with(&publish("selecting", ""), &properties, b"");
            let refused = "channel.close 406 basic.publish PRECONDITION_FAILED - finding queues";
            let answer = channel.recv();
            assert!(answer.starts_with(refused), "{answer}");
            channel.reopen();
        }
        connection
    });
}

fn nearly_everywhere(number: usize) -> String {
    let many = "a".repeat(1000 + number % 20);
    format!("{{like,{{ident,<<\"h\">>}},<<\"%{many}b%\">>,no_escape}}")
}

/// Policies and permissions, which are searched for in each name.
#[test]
fn pathological_expressions() {
    let attack = Attack {
        name: "expressions of policies and permissions",
        config: "",
        rounds: 60,
        memory_max: 48.0,
        descriptors_max: 50.0,
    };
    attack.run(|target| {
        const PATTERNS: [&str; 4] = [
            // These need steps back, of which there are so many.
            r"^(a+)+(?=b)\1$",
            r"^(?=(a|aa)+$)(a*)*\2b$",
            // And these need none.
            r"(a|a|aa)*(a*)*(a{1,50}){1,50}b$",
            r"((((a*)*)*)*)*(a?){500}b$",
        ];
        let api = target.api();
        let user = json!({ "password": "evil", "tags": "" });
        assert_eq!(api.call("PUT", "/users/evil", &user).status, 201);
        let permit = |pattern: &str, status: u16| {
            let rights = json!({ "configure": pattern, "write": pattern, "read": pattern });
            let reply = api.call("PUT", "/permissions/%2F/evil", &rights);
            assert_eq!(reply.status, status, "{}", reply.text);
        };
        permit("", 201);
        for (number, pattern) in PATTERNS.iter().enumerate() {
            let policy = json!({
                "pattern": pattern,
                "apply-to": "all",
                "priority": number,
                "definition": { "max-length": 10 },
            });
            let reply = api.call("PUT", &format!("/policies/%2F/evil-{number}"), &policy);
            assert_eq!(reply.status, 201, "{}", reply.text);
        }
        // Guest's names meet the policies, and evil's their permissions.
        let (guest, evil) = (target.connect(), target.dial());
        let login = Login { response: b"\0evil\0evil", ..Login::default() };
        evil.open(&login).unwrap_or_else(|refused| panic!("{refused}"));
        let refused = evil.channel(1);
        let names = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|one| format!("{}-{one}", "a".repeat(250)));
        for (round, pattern) in target.rounds().zip(PATTERNS.iter().cycle()) {
            permit(pattern, 204);
            let channel = guest.channel(1);
            for name in &names {
                channel.send(&queue::Declare { exclusive: true, ..declare(name) });
            }
            for answer in channel.recv_many(names.len()) {
                assert!(answer.starts_with("queue.declare-ok"), "{round}: {answer}");
            }
            channel.close();
            for name in &names {
                let answer = refused.call(&declare(name));
                let why =
                    "channel.close 403 queue.declare ACCESS_REFUSED - configure access to queue";
                assert!(answer.starts_with(why), "{round}: {answer}");
                refused.reopen();
            }
        }
        (guest, evil)
    });
}
