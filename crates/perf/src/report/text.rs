//! Reports and comparisons for people.

use std::fmt;

use super::{Checked, Messages, Percentiles, Phase, Report, Table, Unit, Usage};
use crate::compare::{Comparison, Row, Spread};
use crate::limits::{Limits, Opened};
use crate::scenario::Scenario;
use crate::start::Starts;
use crate::units::{short, short_bytes, short_time};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broker = &self.broker;
        writeln!(
            f,
            "{} on {} ({} {} at {})",
            self.scenario, broker.name, broker.product, broker.version, broker.address
        )?;
        let mut table = Table::new([
            "phase",
            "count",
            "time",
            "per second",
            "CPU s/M",
            "cores",
            "generator CPU s/M",
            "memory",
            "peak",
            "each",
            "written",
        ]);
        self.phases.iter().for_each(|phase| table.row(phase.cells()));
        write!(f, "{table}")?;
        let latencies = [
            ("end to end", &self.latency),
            ("confirm", &self.confirm_latency),
            ("own timer", &self.generator_lateness),
        ];
        for (name, latency) in latencies {
            if let Some(latency) = latency {
                writeln!(f, "{name}: {latency}")?;
            }
        }
        match &self.messages {
            Some(messages) => writeln!(f, "{messages}"),
            None => Ok(()),
        }
    }
}

impl Phase {
    /// Bytes of memory for each operation, where what was made stays.
    pub(crate) fn resident_each(&self) -> Option<f64> {
        let usage = self.broker?;
        let stays = matches!(self.name, "open" | "declare") && self.operations > 0;
        stays.then(|| {
            let grown = usage.resident_end.saturating_sub(usage.resident_start);
            grown as f64 / self.operations as f64
        })
    }

    fn cells(&self) -> Vec<String> {
        let usage = |show: fn(Usage) -> String| self.broker.map(show).unwrap_or_default();
        vec![
            format!("{} ({})", self.name, self.unit),
            self.operations.to_string(),
            format!("{:.2} s", self.seconds),
            short(self.rate),
            usage(|usage| short(usage.cpu_seconds_per_million)),
            usage(|usage| format!("{:.2}", usage.cores)),
            short(self.generator.cpu_seconds_per_million),
            usage(|usage| short_bytes(usage.resident_end)),
            usage(|usage| short_bytes(usage.resident_peak)),
            self.resident_each().map(|bytes| format!("{bytes:.0} B")).unwrap_or_default(),
            usage(|usage| usage.written.map(short_bytes).unwrap_or_default()),
        ]
    }
}

impl Report {
    /// The latency that says something about the broker: that of messages at a given rate from end
    /// to end, else that of confirms. Messages that are sent as fast as the broker takes them
    /// mostly wait for each other.
    pub(crate) fn telling_latency(&self) -> Option<&Percentiles> {
        match &self.settings {
            Scenario::Flow(flow) if flow.rate.is_some() => {
                self.latency.as_ref().or(self.confirm_latency.as_ref())
            }
            _ => self.confirm_latency.as_ref(),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publishes",
            Self::Delivery => "deliveries",
            Self::Connection => "connections",
            Self::Queue => "queues",
        })
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantiles = [
            ("p50", self.p50),
            ("p90", self.p90),
            ("p99", self.p99),
            ("p99.9", self.p99_9),
            ("p99.99", self.p99_99),
            ("max", self.max),
        ];
        for (name, nanos) in quantiles {
            write!(f, "{name} {}, ", short_time(nanos))?;
        }
        write!(f, "of {}", self.count)
    }
}

impl fmt::Display for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} published", self.published)?;
        if self.confirmed > 0 {
            write!(f, ", {} confirmed", self.confirmed)?;
        }
        if self.delivered > 0 {
            write!(f, ", {} delivered", self.delivered)?;
        }
        if self.blocked > 0 {
            write!(f, ", blocked {} times", self.blocked)?;
        }
        let faults = self.faults.list();
        if faults.is_empty() {
            return f.write_str(match self.checked {
                Checked::EachMessage => "; nothing lost, duplicated or reordered",
                Checked::CountOnly => "; as many as there must be",
            });
        }
        f.write_str("; WRONG:")?;
        faults.iter().try_for_each(|(name, count)| write!(f, " {count} {name}"))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new([
            "scenario",
            "broker",
            "per second",
            "ratio",
            "CPU s/M",
            "ratio",
            "generator CPU s/M",
            "peak memory",
            "each",
            "p50",
            "p99",
            "p99.9",
            "verified",
        ]);
        self.rows.iter().for_each(|row| table.row(row.cells(self.rounds)));
        table.fmt(f)
    }
}

impl fmt::Display for Starts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |spread: Spread| {
            let [median, least, most] =
                [spread.median, spread.least, spread.most].map(|seconds| seconds * 1e3);
            format!("{} ms", Spread { median, least, most })
        };
        writeln!(f, "start to first channel: {}", milliseconds(self.seconds))?;
        writeln!(f, "signal to end: {}", milliseconds(self.stop_seconds))?;
        writeln!(f, "memory: {}", short_bytes(whole(self.resident.median)))
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["this machine alone", "per second", "CPU s/M"]);
        for relay in &self.relays {
            let name = format!("messages of {} B through a relay", relay.size);
            table.row([name, short(relay.rate), short(relay.cpu_seconds_per_million)]);
        }
        let disk = &self.disk;
        let Opened { rate, cpu_seconds_per_million } = self.connections;
        let opened = "connections opened and closed".to_owned();
        table.row([opened, short(rate), short(cpu_seconds_per_million)]);
        table.row([format!("writes of {} B, each with a sync", disk.size), short(disk.rate)]);
        let answered = "the same over loopback, the next after the answer";
        table.row([answered.to_owned(), short(disk.answers)]);
        table.row(["bytes written with a sync every MiB".to_owned(), short(disk.bulk)]);
        write!(f, "{table}")?;
        if let Some(latency) = &self.latency {
            writeln!(f, "through a relay, 5,000 a second: {latency}")?;
        }
        match &disk.latency {
            Some(latency) => writeln!(f, "write and sync in {}: {latency}", disk.dir.display()),
            None => Ok(()),
        }
    }
}

impl Row {
    fn cells(&self, rounds: u32) -> Vec<String> {
        let scenario = match self.phase {
            "deliver" | "publish" => self.scenario.clone(),
            phase => format!("{}, {phase}", self.scenario),
        };
        let median = |spread: Option<Spread>, show: fn(f64) -> String| {
            spread.map(|spread| show(spread.median)).unwrap_or_default()
        };
        let times = |ratio: Option<f64>| ratio.map(show_ratio).unwrap_or_default();
        let [p50, p99, p99_9] = self.latency.map_or([None; 3], |latency| latency.map(Some));
        vec![
            scenario,
            self.broker.clone(),
            self.rate.to_string(),
            times(Some(self.rate_ratio)),
            self.cpu.map(|cpu| cpu.to_string()).unwrap_or_default(),
            times(self.cpu_ratio),
            short(self.generator_cpu.median),
            median(self.resident_peak, |bytes| short_bytes(whole(bytes))),
            median(self.resident_each, |bytes| format!("{bytes:.0} B")),
            median(p50, |nanos| short_time(whole(nanos))),
            median(p99, |nanos| short_time(whole(nanos))),
            median(p99_9, |nanos| short_time(whole(nanos))),
            match self.faulty_runs {
                0 => "ok".to_owned(),
                count => format!("{count} of {rounds} faulty"),
            },
        ]
    }
}

/// The median, and between what it lies: `900 (700 - 1000)`.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} - {})", short(self.median), short(self.least), short(self.most))
    }
}

fn show_ratio(ratio: f64) -> String {
    match ratio {
        small if small < 10.0 => format!("{small:.2}x"),
        large => format!("{large:.1}x"),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and the figures were whole and positive before they were averaged"
)]
fn whole(figure: f64) -> u64 {
    figure as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::preset::Preset;
    use crate::report::{BrokerInfo, Faults};

    fn report() -> Report {
        let mut phase = Phase::new("declare", Unit::Queue, 10_000, Duration::from_millis(500));
        let (start, end) = (1 << 20, (1 << 20) + 20_480_000);
        phase.broker = Some(Usage {
            resident_start: start,
            resident_end: end,
            resident_peak: end,
            written: Some(5),
            ..Usage::default()
        });
        Report {
            scenario: "queue-churn".to_owned(),
            settings: Preset::find("queue-churn").unwrap().scenario(),
            broker: BrokerInfo {
                name: "mine".to_owned(),
                address: "127.0.0.1:5672".to_owned(),
                product: "Leveret".to_owned(),
                version: "0.1.0".to_owned(),
            },
            phases: vec![phase],
            messages: None,
            latency: None,
            confirm_latency: None,
            generator_lateness: None,
        }
    }

    #[test]
    fn a_report_names_the_broker_and_shows_its_phases() {
        let text = report().to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "queue-churn on mine (Leveret 0.1.0 at 127.0.0.1:5672)");
        for part in ["declare (queues)", "10000", "0.50 s", "20.0 k", "20.5 MiB", "2048 B", "5 B"] {
            assert!(lines[3].contains(part), "{part} in {text}");
        }
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn faults_are_named() {
        let mut messages = Messages { published: 9, delivered: 8, ..Messages::default() };
        let clean = "9 published, 8 delivered; nothing lost, duplicated or reordered";
        assert_eq!(messages.to_string(), clean);
        messages.faults = Faults { lost: 2, duplicated: 1, ..Faults::default() };
        assert_eq!(messages.to_string(), "9 published, 8 delivered; WRONG: 2 lost 1 duplicated");
    }
}
