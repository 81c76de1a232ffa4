use crate::broker::Broker;
use crate::connections;
use crate::error::PerfError;
use crate::flow::{self, Order, Outcome};
use crate::observer::{Progress, settle};
use crate::queues;
use crate::report::{BrokerInfo, Phase, Report};
use crate::scenario::Scenario;

/// A scenario and what it is called in reports.
#[derive(Clone, PartialEq, Debug)]
pub struct Named {
    /// The preset's name, or `custom`.
    pub name: String,
    /// What it does.
    pub scenario: Scenario,
}

/// Runs a scenario against a broker, and waits for the broker to calm down.
///
/// # Errors
/// The scenario cannot be run, or the broker refuses something or fails. Lost messages are no
/// error: see [`Report::is_clean`].
pub fn run(broker: &Broker, what: &Named, progress: Progress) -> Result<Report, PerfError> {
    what.scenario.check()?;
    let mut report = Report {
        scenario: what.name.clone(),
        settings: what.scenario.clone(),
        broker: look_at(broker)?,
        phases: Vec::new(),
        messages: None,
        latency: None,
        confirm_latency: None,
        generator_lateness: None,
    };
    match &what.scenario {
        Scenario::Flow(flow) => {
            report.take(flow::run(broker, flow, Order::Together, progress)?);
        }
        Scenario::Backlog(flow) => {
            report.take(flow::run(broker, flow, Order::FillThenDrain, progress)?);
            // How long a message lay there says nothing about the broker.
            report.latency = None;
        }
        Scenario::ConnectionChurn(churn) => {
            report.phases.push(connections::churn(broker, churn, progress)?);
        }
        Scenario::IdleConnections(idle) => {
            report.phases.push(connections::idle(broker, idle, progress)?);
        }
        Scenario::QueueChurn(churn) => report.phases = queues::churn(broker, churn)?,
    }
    settle(broker)?;
    Ok(report)
}

impl Report {
    fn take(&mut self, outcome: Outcome) {
        self.phases = outcome.phases;
        self.messages = Some(outcome.messages);
        self.latency = outcome.latency;
        self.confirm_latency = outcome.confirm_latency;
        self.generator_lateness = outcome.lateness;
    }

    /// The phase with this name.
    #[must_use]
    pub fn phase(&self, name: &str) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.name == name)
    }
}

fn look_at(broker: &Broker) -> Result<BrokerInfo, PerfError> {
    let client = broker.connect("greeting", 64 << 10)?;
    let product = client.product().clone();
    client.close().map_err(|source| broker.failed(source))?;
    let (product, version) = match product.leveret_version {
        Some(version) => ("Leveret".to_owned(), version),
        None => (product.name, product.version),
    };
    let (name, address) = (broker.name().to_owned(), broker.address().to_string());
    Ok(BrokerInfo { name, address, product, version })
}
