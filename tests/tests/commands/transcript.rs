//! A transcript of commands, made with RabbitMQ 3.10.8 and then run against Leveret; where the two
//! differ on purpose, it says why.

use leveret_tests::Api;
use serde_json::json;

use crate::managed;

/// Each command, `$ ` in front, and then what it printed: `> ` standard output, `! ` standard
/// error, `= ` the exit code. `#` lines are remarks, and `@ declare` makes two queues.
const TRANSCRIPT: &str = include_str!("transcript.txt");

#[test]
fn commands_print_what_rabbitmqs_do() {
    let Some((broker, tools)) = managed() else { return };
    let api = Api::new(broker.management_address());
    let node = api.get("/overview")["node"].as_str().unwrap().to_owned();
    let mut expected = String::new();
    let mut found = String::new();
    for line in TRANSCRIPT.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        expected += &format!("{}\n", line.replace("$NODE", &node));
        if line == "@ declare" {
            declare(&api);
            found += "@ declare\n";
        } else if let Some(command) = line.strip_prefix("$ ") {
            let outcome = tools.run(command);
            found += &format!("{line}\n");
            for line in outcome.stdout.lines() {
                found += &format!("> {line}\n");
            }
            for line in outcome.stderr.lines() {
                found += &format!("! {line}\n");
            }
            found += &format!("= {}\n", outcome.code);
        }
    }
    for ((number, expected), found) in expected.lines().enumerate().zip(found.lines()) {
        assert_eq!(expected.trim_end(), found.trim_end(), "line {number}");
    }
    assert_eq!(expected.lines().count(), found.lines().count());
}

fn declare(api: &Api) {
    let arguments = json!({ "x-max-length": 10, "x-dead-letter-exchange": "dlx" });
    for name in ["q1", "q2"] {
        let body = json!({ "durable": true, "arguments": arguments });
        api.put(&format!("/queues/%2F/{name}"), &body);
    }
    let message = json!({
        "properties": {}, "routing_key": "q1", "payload": "a", "payload_encoding": "string",
    });
    let published = api.call("POST", "/exchanges/%2F/amq.default/publish", &message);
    assert_eq!(published.json(), json!({ "routed": true }));
    let binding = json!({ "routing_key": "k", "arguments": { "a": "b", "n": 1 } });
    assert_eq!(api.call("POST", "/bindings/%2F/e/amq.direct/q/q1", &binding).status, 201);
}
