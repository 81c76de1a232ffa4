//! The commands for alerts and silences.

use leveret_tests::{Broker, declare, eventually, passive};
use serde_json::{Value, json};

use crate::tools::{Outcome, Tools, outcome};

/// `leveret ctl` for a broker; RabbitMQ's tools don't have these commands.
struct Ctl(Tools);

impl Ctl {
    fn run(&self, arguments: &[&str]) -> Outcome {
        outcome(self.0.program(leveret_tests::binary()).arg("ctl").args(arguments))
    }

    fn print(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{arguments:?}: {outcome:?}");
        outcome.stdout
    }
}

#[test]
fn alerts_are_listed_and_silenced() {
    let config = "management = \"none\"\nmetrics = \"none\"\n\
                  [alerts]\ninterval = \"100ms\"\n\
                  [[alerts.rule]]\nname = \"wait\"\nwhen = \"backlog\"\nabove = 1\nqueues = \"^q\"\n";
    let Some(broker) = Broker::configured(config, "has an alert rule") else { return };
    let ctl = Ctl(Tools::of(&broker.data_dir()));
    let rules = "Listing alert rules ...\nname\twhen\tvhost\tqueues\tbound\tfiring\n\
                 wait\tbacklog\t\t^q\t1\t0\n";
    assert_eq!(ctl.print(&["list_alert_rules"]), rules);
    assert_eq!(ctl.print(&["list_alerts"]), "Listing alerts ...\n");

    let channel = broker.connect().channel(1);
    channel.call(&declare("q1"));
    channel.publish("", "q1", "a");
    channel.publish("", "q1", "b");
    channel.call(&passive("q1"));
    let alerts = || ctl.print(&["-q", "list_alerts"]);
    eventually(|| alerts().lines().count() == 2);
    let expected = "rule\tvhost\tqueue\tvalue\tbound\tis_silenced\tsummary\n\
                    wait\t/\tq1\t2\t1\tfalse\tqueue 'q1' in vhost '/' holds 2 messages\n";
    assert_eq!(alerts(), expected);

    let silence = ["silence_alerts", "3600", "--rule", "wait", "--of-vhost", "/", "--queue", "q1"];
    let silence = [&silence[..], &["--comment", "known, being worked on"]].concat();
    assert_eq!(ctl.print(&silence), "Silencing alerts for 3600 seconds ...\n1\n");
    assert_eq!(alerts(), expected.replace("false", "true"));
    let silences = ctl.print(&["-q", "list_silences", "--formatter", "json"]);
    let silences: Value = serde_json::from_str(&silences).unwrap();
    let said = ["id", "rule", "vhost", "queue", "comment"].map(|key| silences[0][key].clone());
    let expected_silence = json!([1, "wait", "/", "q1", "known, being worked on"]);
    assert_eq!(json!(said), expected_silence);
    assert!(silences[0]["until"].as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(ctl.print(&["end_silence", "1"]), "Ending silence 1 ...\n");
    assert_eq!(alerts(), expected);

    let refused = ctl.run(&["end_silence", "1"]);
    assert_eq!((refused.code, refused.stderr.as_str()), (65, "Error:\nThere is no silence 1\n"));
    let refused = ctl.run(&["silence_alerts", "soon"]);
    assert_eq!(refused.code, 65, "{refused:?}");
    let refused = ctl.run(&["silence_alerts", "60", "--rule", "none"]);
    assert_eq!((refused.code, refused.stderr.as_str()), (69, "Error:\nthere is no rule none\n"));
}
