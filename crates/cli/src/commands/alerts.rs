//! Alerts of the broker, and silences.

use serde_json::{Value, json};

use crate::at::At;
use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::{DATA, Failure};
use crate::http::part;
use crate::output::{Output, Rows};

const ALERTS: Command = Command::of("Alerts", &[]);

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "list_alerts",
        about: "Lists the alerts that fire",
        banner: Some(|_| "Listing alerts ...".to_owned()),
        run: Run::With(|call| {
            let all = call.broker.get("/api/leveret/alerts")?;
            let columns = ["rule", "vhost", "queue", "value", "bound", "is_silenced", "summary"];
            Ok(rows(all.at("alerts"), &columns))
        }),
        ..ALERTS
    },
    Command {
        name: "list_alert_rules",
        about: "Lists the rules, and how many alerts of each fire",
        banner: Some(|_| "Listing alert rules ...".to_owned()),
        run: Run::With(|call| {
            let all = call.broker.get("/api/leveret/alerts")?;
            let columns = ["name", "when", "vhost", "queues", "bound", "firing"];
            Ok(rows(all.at("rules"), &columns))
        }),
        ..ALERTS
    },
    Command {
        name: "silence_alerts",
        arguments: "<seconds>",
        switches: &[
            Switch::value("rule", "name", "Only of this rule"),
            Switch::value("of-vhost", "vhost", "Only about queues of this vhost"),
            Switch::value("queue", "name", "Only about queues of this name"),
            Switch::value("comment", "text", "Why"),
        ],
        about: "Has nobody told of alerts for a while",
        example: "silence_alerts 3600 --rule backlog --comment \"known, being worked on\"",
        banner: Some(|call| format!("Silencing alerts for {} seconds ...", call.argument(0))),
        run: Run::With(silence),
        ..ALERTS
    },
    Command {
        name: "list_silences",
        about: "Lists the silences that hold",
        banner: Some(|_| "Listing silences ...".to_owned()),
        run: Run::With(|call| {
            let all = call.broker.get("/api/leveret/silences")?;
            let columns = ["id", "rule", "vhost", "queue", "until", "user", "comment"];
            Ok(rows(&all, &columns))
        }),
        ..ALERTS
    },
    Command {
        name: "end_silence",
        arguments: "<id>",
        about: "Ends a silence before its time",
        example: "end_silence 3",
        banner: Some(|call| format!("Ending silence {} ...", call.argument(0))),
        run: Run::With(|call| {
            let id = call.argument(0);
            match call.broker.delete(&format!("/api/leveret/silences/{}", part(id)))? {
                true => Ok(Output::Nothing),
                false => Err(Failure::error(DATA, format!("There is no silence {id}"))),
            }
        }),
        ..ALERTS
    },
];

fn silence(call: &Call) -> Result<Output, Failure> {
    let seconds: u64 = call.argument(0).parse().map_err(|_| call.bad_argument("not a number"))?;
    let silence = json!({
        "seconds": seconds,
        "rule": call.switch("rule"),
        "vhost": call.switch("of-vhost"),
        "queue": call.switch("queue"),
        "comment": call.switch("comment"),
    });
    let made = call.broker.post("/api/leveret/silences", &silence)?;
    Ok(Output::text(made.at("id").to_string()))
}

fn rows(items: &Value, columns: &[&str]) -> Output {
    let mut rows = Rows::new(columns);
    for item in items.as_array().into_iter().flatten() {
        rows.push(columns.iter().map(|column| item.at(column).clone()));
    }
    rows.into()
}
