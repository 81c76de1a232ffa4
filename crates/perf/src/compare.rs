use std::collections::HashSet;

use serde::Serialize;

use crate::broker::Broker;
use crate::error::PerfError;
use crate::observer::Progress;
use crate::report::{Phase, Report, Unit};
use crate::run::{Named, run};
use crate::scenario::ScenarioError;

/// Several brokers in the same scenarios.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// How often each was measured.
    pub rounds: u32,
    /// The summary, by scenario, phase and broker.
    pub rows: Vec<Row>,
    /// Every run, in the order of time.
    pub reports: Vec<Report>,
}

/// What a broker showed in all rounds of a scenario.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// The scenario.
    pub scenario: String,
    /// The phase of the scenario.
    pub phase: &'static str,
    /// The broker.
    pub broker: String,
    /// What is counted.
    pub unit: Unit,
    /// Operations a second.
    pub rate: Spread,
    /// The median rate over that of the first broker.
    pub rate_ratio: f64,
    /// CPU seconds of the broker for a million operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Spread>,
    /// The median of that over the first broker's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ratio: Option<f64>,
    /// CPU seconds of the generator for a million operations.
    pub generator_cpu: Spread,
    /// The most bytes of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_peak: Option<Spread>,
    /// Bytes of memory for each operation, where operations stay: connections, queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_each: Option<Spread>,
    /// Latencies in nanoseconds at 50, 99 and 99.9 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<[Spread; 3]>,
    /// Runs in which something was lost, duplicated or otherwise wrong.
    pub faulty_runs: usize,
}

/// A figure from several rounds.
#[derive(Clone, Copy, Default, PartialEq, Debug, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

/// Runs every scenario against every broker, `rounds` times, the brokers taking turns.
///
/// `after_run` is called with every single report.
///
/// # Errors
/// Two brokers have the same name. The first run that cannot be made ends the comparison.
pub fn compare(
    brokers: &[Broker],
    scenarios: &[Named],
    rounds: u32,
    progress: Progress,
    mut after_run: impl FnMut(&Report),
) -> Result<Comparison, PerfError> {
    scenarios.iter().try_for_each(|named| named.scenario.check())?;
    let names: HashSet<_> = brokers.iter().map(Broker::name).collect();
    if names.len() < brokers.len() {
        return Err(ScenarioError::Conflict("every target must have a name of its own").into());
    }
    let mut reports = Vec::new();
    for named in scenarios {
        for _ in 0..rounds {
            for broker in brokers {
                let report = run(broker, named, progress)?;
                after_run(&report);
                reports.push(report);
            }
        }
    }
    Ok(Comparison { rounds, rows: summarize(&reports), reports })
}

/// One row for each scenario, phase and broker, in the order they first appear in; all brokers of a
/// phase follow each other, the first of them is what the others are compared with.
fn summarize(reports: &[Report]) -> Vec<Row> {
    let mut keys: Vec<(&str, &'static str)> = Vec::new();
    let mut brokers: Vec<&str> = Vec::new();
    for report in reports {
        for phase in &report.phases {
            let key = (report.scenario.as_str(), phase.name);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if !brokers.contains(&report.broker.name.as_str()) {
            brokers.push(&report.broker.name);
        }
    }
    let mut rows = Vec::new();
    for (scenario, phase) in keys {
        let mut first: Option<(f64, Option<f64>)> = None;
        for broker in &brokers {
            let runs: Vec<_> = reports
                .iter()
                .filter(|report| report.scenario == scenario && report.broker.name == *broker)
                .filter_map(|report| Some((report, report.phase(phase)?)))
                .collect();
            let Some(mut row) = Row::of(&runs) else { continue };
            let cpu = row.cpu.map(|cpu| cpu.median);
            let (first_rate, first_cpu) = *first.get_or_insert((row.rate.median, cpu));
            row.rate_ratio = ratio(row.rate.median, first_rate);
            row.cpu_ratio = cpu.zip(first_cpu).map(|(own, first)| ratio(own, first));
            rows.push(row);
        }
    }
    rows
}

impl Row {
    fn of(runs: &[(&Report, &Phase)]) -> Option<Self> {
        let (report, phase) = runs.first()?;
        let spread = |figure: &dyn Fn(&Phase) -> Option<f64>| {
            Spread::of(runs.iter().filter_map(|(_, phase)| figure(phase)).collect())
        };
        let quantile = |figure: fn(&crate::Percentiles) -> u64| {
            let told = runs.iter().filter(|(_, phase)| phase.name != "drain");
            let latencies = told.filter_map(|(report, _)| report.telling_latency());
            Spread::of(latencies.map(|percentiles| figure(percentiles) as f64).collect())
        };
        let quantiles = (quantile(|p| p.p50), quantile(|p| p.p99), quantile(|p| p.p99_9));
        Some(Self {
            scenario: report.scenario.clone(),
            phase: phase.name,
            broker: report.broker.name.clone(),
            unit: phase.unit,
            rate: spread(&|phase| Some(phase.rate))?,
            rate_ratio: 1.0,
            cpu: spread(&|phase| Some(phase.broker?.cpu_seconds_per_million)),
            cpu_ratio: None,
            generator_cpu: spread(&|phase| Some(phase.generator.cpu_seconds_per_million))?,
            resident_peak: spread(&|phase| Some(phase.broker?.resident_peak as f64)),
            resident_each: spread(&|phase| phase.resident_each()),
            latency: match quantiles {
                (Some(p50), Some(p99), Some(p99_9)) => Some([p50, p99, p99_9]),
                _ => None,
            },
            faulty_runs: runs.iter().filter(|(report, _)| !report.is_clean()).count(),
        })
    }
}

impl Spread {
    /// `None` for no figures.
    pub(crate) fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let upper = *figures.get(figures.len() / 2)?;
        let lower = *figures.get((figures.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), least, most })
    }
}

fn ratio(own: f64, first: f64) -> f64 {
    if first > 0.0 { own / first } else { 0.0 }
}

#[cfg(test)]
mod tests;
