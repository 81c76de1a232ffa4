//! Short scenarios against a broker in the same process: what is counted must be right, how long it
//! takes is nobody's business here.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use leveret_perf::{
    Broker, Checked, ExchangeKind, Faults, Flow, Named, Preset, Progress, QueueSpread, Reach,
    Report, Scenario, Settle, Stop, Unit, compare, run, start,
};
use leveret_server::Server;
use leveret_server::config::{Config, Storage};
use tokio::runtime::Runtime;

/// A broker that lives as long as the test.
struct Harness {
    broker: Broker,
    _runtime: Runtime,
    _server: Server,
}

impl Harness {
    fn start() -> Self {
        Self::named("leveret")
    }

    fn named(name: &str) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let config = Config {
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            storage: Storage::Ephemeral,
            ..Config::default()
        };
        let server = runtime.block_on(Server::start(config)).expect("a broker");
        let target = format!("amqp://{}", server.addresses()[0]).parse().expect("a target");
        let pid = Some(std::process::id());
        let broker = Broker::new(name, target, pid, Reach::Loopback).expect("loopback");
        Self { broker, _runtime: runtime, _server: server }
    }

    fn run(&self, scenario: Scenario) -> Report {
        let named = Named { name: "test".to_owned(), scenario };
        let report = run(&self.broker, &named, Progress::Hidden).expect("a report");
        assert!(report.is_clean(), "{report}");
        report
    }
}

fn flow(preset: &str, messages: u64) -> Flow {
    let scenario = Preset::find(preset).expect("a preset").scenario();
    let (Scenario::Flow(flow) | Scenario::Backlog(flow)) = scenario else { panic!("a flow") };
    Flow {
        messages: Some(messages),
        duration: Duration::from_secs(60),
        warmup: Duration::ZERO,
        ..flow
    }
}

#[test]
fn every_message_of_a_flow_arrives_once() {
    let harness = Harness::start();
    for preset in ["transient-16", "ack-1k", "persistent-1k", "confirm-1-consumer", "pairs-2"] {
        let report = harness.run(Scenario::Flow(flow(preset, 501)));
        let messages = report.messages.expect("messages");
        assert_eq!((messages.published, messages.delivered), (501, 501), "{preset}");
        assert_eq!(messages.checked, Checked::EachMessage);
        let phase = report.phase("deliver").expect("a phase");
        assert_eq!((phase.operations, phase.unit), (501, Unit::Delivery));
        assert!(phase.broker.is_some_and(|usage| usage.resident_peak > 0));
    }
}

#[test]
fn confirms_are_counted() {
    let report = Harness::start().run(Scenario::Flow(flow("persistent-1k-stored", 300)));
    let messages = report.messages.expect("messages");
    assert_eq!((messages.published, messages.confirmed, messages.delivered), (300, 300, 0));
    assert_eq!(report.confirm_latency.expect("confirms").count, 300);
    assert!(report.latency.is_none());
}

#[test]
fn exchanges_reach_the_queues_they_must() {
    let harness = Harness::start();
    for (exchange, bindings) in [
        (ExchangeKind::Default, 0),
        (ExchangeKind::Direct, 12),
        (ExchangeKind::Topic, 12),
        (ExchangeKind::Headers, 12),
    ] {
        let flow =
            Flow { exchange, bindings, queues: 4, consumers: 3, ..flow("transient-16", 1000) };
        let report = harness.run(Scenario::Flow(flow));
        assert_eq!(report.messages.expect("messages").delivered, 1000, "{exchange:?}");
    }
    let fanout = harness.run(Scenario::Flow(flow("fanout-10", 200)));
    assert_eq!(fanout.messages.expect("messages").delivered, 2000);
}

#[test]
fn many_of_everything_are_told_apart() {
    let flow = Flow {
        publishers: 3,
        consumers: 5,
        queues: 2,
        spread: QueueSpread::Rotate,
        sizes: vec![8, 16, 5000, 200_000],
        settle: Settle::Ack { every: 7, prefetch: 20 },
        confirm_window: Some(50),
        ..flow("transient-16", 1000)
    };
    let report = Harness::start().run(Scenario::Flow(flow));
    let messages = report.messages.expect("messages");
    assert_eq!((messages.published, messages.delivered), (1000, 1000));
}

#[test]
fn bodies_without_room_for_a_number_are_counted() {
    let harness = Harness::start();
    let report =
        harness.run(Scenario::Flow(Flow { sizes: vec![0, 3], ..flow("transient-16", 100) }));
    let messages = report.messages.expect("messages");
    assert_eq!((messages.delivered, messages.checked), (100, Checked::CountOnly));
}

#[test]
fn a_rate_gives_every_message_a_latency() {
    let flow = Flow { rate: Some(2000), confirm_window: Some(100), ..flow("latency-5000", 400) };
    let report = Harness::start().run(Scenario::Flow(flow));
    assert_eq!(report.latency.expect("latencies").count, 400);
    assert_eq!(report.confirm_latency.expect("confirms").count, 400);
}

#[test]
fn messages_that_do_not_come_are_lost_and_those_that_expire_too() {
    let harness = Harness::start();
    let mut flow = flow("persistent-1k-stored", 100);
    flow.queue_arguments = vec!["x-max-length=60".parse().expect("an argument")];
    let named = Named { name: "test".to_owned(), scenario: Scenario::Flow(flow) };
    let report = run(&harness.broker, &named, Progress::Hidden).expect("a report");
    let faults = report.messages.expect("messages").faults;
    assert_eq!(faults, Faults { lost: 40, ..Faults::default() });
    assert!(!report.is_clean());
}

#[test]
fn a_backlog_is_filled_and_drained() {
    let report = Harness::start().run(Scenario::Backlog(flow("backlog", 2000)));
    let [fill, drain] = report.phases.as_slice() else { panic!("two phases") };
    assert_eq!((fill.operations, drain.operations), (2000, 2000));
}

#[test]
fn connections_and_queues_come_and_go() {
    let harness = Harness::start();
    let mut scenarios = ["connection-churn", "idle-connections", "queue-churn"]
        .map(|preset| Preset::find(preset).expect("a preset").scenario());
    for scenario in &mut scenarios {
        match scenario {
            Scenario::ConnectionChurn(churn) => {
                churn.connections = 40;
                churn.channel = true;
            }
            Scenario::IdleConnections(idle) => {
                idle.connections = 40;
                idle.duration = Duration::from_millis(10);
            }
            Scenario::QueueChurn(churn) => churn.queues = 250,
            other => panic!("{other:?}"),
        }
    }
    let [churn, idle, queues] = scenarios.map(|scenario| harness.run(scenario));
    assert_eq!(churn.phases[0].operations, 40);
    assert_eq!(idle.phases[0].operations, 40);
    let operations: Vec<_> = queues.phases.iter().map(|phase| phase.operations).collect();
    assert_eq!(operations, [250, 250]);
}

#[test]
fn a_broker_that_refuses_is_an_error() {
    let harness = Harness::start();
    let mut flow = flow("transient-16", 10);
    flow.queue_arguments = vec!["x-max-length=-1".parse().expect("an argument")];
    let named = Named { name: "test".to_owned(), scenario: Scenario::Flow(flow) };
    let error = run(&harness.broker, &named, Progress::Hidden).expect_err("a refusal");
    let text = error.to_string();
    assert!(text.starts_with("leveret: closed by the broker: 406 PRECONDITION_FAILED"), "{text}");
}

#[test]
fn brokers_are_compared_in_turns() {
    let (one, other) = (Harness::named("one"), Harness::named("other"));
    let named = ["transient-16", "ack-16"].map(|preset| Named {
        name: preset.to_owned(),
        scenario: Scenario::Flow(flow(preset, 50)),
    });
    let twice = [one.broker.clone(), one.broker.clone()];
    assert!(compare(&twice, &named, 1, Progress::Hidden, |_| ()).is_err());
    let brokers = [one.broker, other.broker];
    let mut runs = 0;
    let compared =
        compare(&brokers, &named, 2, Progress::Hidden, |_| runs += 1).expect("a comparison");
    assert_eq!((runs, compared.reports.len(), compared.rows.len()), (8, 8, 4));
    assert!(compared.rows.iter().all(|row| row.faulty_runs == 0));
}

#[test]
fn a_broker_that_does_not_start_is_an_error() {
    let harness = Harness::start();
    let command = |program: &str| vec![program.to_owned()];
    let error = start(&harness.broker, &command("true"), Stop::Kill, 1).expect_err("in use");
    assert!(error.to_string().starts_with("something listens at 127.0.0.1:"), "{error}");

    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let target = format!("amqp://{}", free.local_addr().expect("an address"));
    drop(free);
    let nobody = target.parse().expect("a target");
    let nobody = Broker::new("nobody", nobody, None, Reach::Loopback).expect("loopback");
    for (program, text) in [
        ("true", "cannot run true: it ended with exit status: 0"),
        ("/no/such/program", "cannot run /no/such/program: No such file or directory"),
    ] {
        let error = start(&nobody, &command(program), Stop::Term, 1).expect_err("no broker");
        assert!(error.to_string().starts_with(text), "{error}");
    }
}
