use std::time::Duration;

use super::*;
use crate::preset::Preset;
use crate::report::{BrokerInfo, Faults, Messages, Usage};

fn report(broker: &str, rate: u64, cpu: f64, lost: u64) -> Report {
    let mut phase = Phase::new("deliver", Unit::Delivery, rate, Duration::from_secs(1));
    phase.broker = Some(Usage { cpu_seconds_per_million: cpu, ..Usage::default() });
    Report {
        scenario: "transient-16".to_owned(),
        settings: Preset::find("transient-16").unwrap().scenario(),
        broker: BrokerInfo {
            name: broker.to_owned(),
            address: "127.0.0.1:5672".to_owned(),
            product: "RabbitMQ".to_owned(),
            version: "4.3.0".to_owned(),
        },
        phases: vec![phase],
        messages: Some(Messages {
            faults: Faults { lost, ..Faults::default() },
            ..Messages::default()
        }),
        latency: None,
        confirm_latency: None,
        generator_lateness: None,
    }
}

fn comparison() -> Comparison {
    let reports = vec![
        report("a", 900, 1.0, 0),
        report("b", 100, 14.0, 0),
        report("a", 1000, 1.2, 0),
        report("b", 300, 12.0, 7),
        report("a", 700, 1.1, 0),
        report("b", 200, 10.0, 0),
    ];
    Comparison { rounds: 3, rows: summarize(&reports), reports }
}

#[test]
fn rows_hold_medians_spread_and_ratios() {
    let rows = comparison().rows;
    let [a, b] = rows.as_slice() else { panic!("a row for each broker: {rows:?}") };
    assert_eq!((a.broker.as_str(), b.broker.as_str()), ("a", "b"));
    assert_eq!(a.rate, Spread { median: 900.0, least: 700.0, most: 1000.0 });
    assert_eq!(b.rate, Spread { median: 200.0, least: 100.0, most: 300.0 });
    assert_eq!((a.rate_ratio, a.cpu_ratio), (1.0, Some(1.0)));
    assert_eq!(b.rate_ratio, 200.0 / 900.0);
    assert_eq!(b.cpu_ratio, Some(12.0 / 1.1));
    assert_eq!((a.faulty_runs, b.faulty_runs), (0, 1));
}

#[test]
fn a_median_of_two_is_their_mean() {
    assert_eq!(Spread::of(vec![3.0, 1.0]).unwrap().median, 2.0);
    assert_eq!(Spread::of(vec![]), None);
}

#[test]
fn the_table_has_a_line_for_each_row() {
    let text = comparison().to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[2].contains("| transient-16"), "{text}");
    assert!(lines[2].contains("900 (700 - 1000)"), "{text}");
    assert!(lines[3].contains("0.22x") && lines[3].contains("10.9x"), "{text}");
    assert!(lines[2].ends_with(" ok |") && lines[3].contains("1 of 3 faulty"), "{text}");
}

#[test]
fn the_json_has_everything() {
    let json = serde_json::to_value(comparison()).unwrap();
    assert_eq!(json["rows"][1]["rate"]["median"], 200.0);
    assert_eq!(json["rows"][1]["unit"], "delivery");
    assert_eq!(json["reports"].as_array().unwrap().len(), 6);
    assert_eq!(json["reports"][3]["messages"]["faults"]["lost"], 7);
    assert_eq!(json["reports"][0]["settings"]["kind"], "flow");
    assert_eq!(json["reports"][0]["phases"][0]["broker"]["cpu_seconds_per_million"], 1.0);
}
