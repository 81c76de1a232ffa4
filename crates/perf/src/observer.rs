use std::thread;
use std::time::Duration;

use crate::broker::Broker;
use crate::clock::{Clock, Nanos};
use crate::control::{Meter, total};
use crate::error::PerfError;
use crate::output::note;
use crate::process::{Process, Sample};
use crate::report::{Phase, Unit, Usage};
use crate::units::{short, short_bytes};

/// How often it is looked whether something is over.
const TICK: Duration = Duration::from_millis(10);
/// How often the broker's memory is looked at.
const LOOK_EVERY: Nanos = Nanos(100_000_000);
/// How often progress is shown.
const SHOW_EVERY: Nanos = Nanos(1_000_000_000);

/// Whether progress is shown on the standard error output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// A line every second.
    Shown,
    /// Nothing.
    Hidden,
}

/// Watches a run from the outside: what the broker and the generator cost, and how far it is.
#[derive(Debug)]
pub(crate) struct Observer<'a> {
    broker: &'a Broker,
    progress: Progress,
    clock: Clock,
    resident_peak: u64,
    next_look: Nanos,
    next_show: Nanos,
    shown: Vec<u64>,
    shown_cpu: Duration,
}

/// What everything had cost at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) at: Nanos,
    broker: Option<Sample>,
    own: Sample,
}

/// Something that is counted during a run.
pub(crate) struct Gauge<'a> {
    pub(crate) label: &'static str,
    pub(crate) meters: &'a [Meter],
}

impl<'a> Observer<'a> {
    pub(crate) fn new(broker: &'a Broker, progress: Progress, clock: Clock) -> Self {
        Self {
            broker,
            progress,
            clock,
            resident_peak: 0,
            next_look: Nanos(0),
            next_show: SHOW_EVERY,
            shown: Vec::new(),
            shown_cpu: Duration::ZERO,
        }
    }

    /// Looks at everything, for the start or the end of a phase.
    pub(crate) fn mark(&self) -> Result<Mark, PerfError> {
        let at = self.clock.now();
        let broker = self.broker.sample()?;
        let own = Process::own();
        let own = own.sample().map_err(|source| PerfError::Process { pid: own.pid(), source })?;
        Ok(Mark { at, broker, own })
    }

    /// Watches until `is_over`, which is asked every few milliseconds.
    pub(crate) fn watch(
        &mut self,
        gauges: &[Gauge<'_>],
        mut is_over: impl FnMut(Nanos) -> bool,
    ) -> Result<(), PerfError> {
        loop {
            let now = self.clock.now();
            if now >= self.next_look {
                self.next_look = Nanos(now.0 + LOOK_EVERY.0);
                let sample = self.broker.sample()?.unwrap_or_default();
                self.resident_peak = self.resident_peak.max(sample.resident);
                if now >= self.next_show && self.progress == Progress::Shown {
                    self.next_show = Nanos(now.0 + SHOW_EVERY.0);
                    self.show(now, gauges, &sample);
                }
            }
            if is_over(now) {
                return Ok(());
            }
            thread::sleep(TICK);
        }
    }

    /// The phase between two marks, in which the last of the operations was at `end`.
    pub(crate) fn phase(
        &mut self,
        name: &'static str,
        unit: Unit,
        operations: u64,
        (from, to): (&Mark, &Mark),
        end: Nanos,
    ) -> Phase {
        let time = end.since(from.at).to_duration();
        let mut phase = Phase::new(name, unit, operations, time);
        let peak = std::mem::take(&mut self.resident_peak);
        let broker = from.broker.zip(to.broker);
        phase.broker = broker.map(|(from, to)| Usage::between(&from, &to, peak, operations, time));
        phase.generator = Usage::between(&from.own, &to.own, 0, operations, time);
        phase
    }

    fn show(&mut self, now: Nanos, gauges: &[Gauge<'_>], sample: &Sample) {
        let counts: Vec<_> = gauges.iter().map(|gauge| total(gauge.meters)).collect();
        let mut line = format!("  {:5.1} s", now.to_duration().as_secs_f64());
        for ((gauge, &count), before) in
            gauges.iter().zip(&counts).zip(self.shown.iter().chain(std::iter::repeat(&0)))
        {
            let rate = count.saturating_sub(*before) as f64;
            line += &format!("  {} {:>7}/s", gauge.label, short(rate));
        }
        if self.broker.has_process() {
            let cores = sample.cpu.saturating_sub(self.shown_cpu).as_secs_f64();
            let cores =
                if self.shown_cpu.is_zero() { String::new() } else { format!("{cores:.2}") };
            line += &format!("  broker {cores:>4} cores {:>9}", short_bytes(sample.resident));
        }
        note(line);
        self.shown = counts;
        self.shown_cpu = sample.cpu;
    }
}

/// Waits until the broker has nothing left to do, so that the clean-up of one run is not counted
/// with the next; for a few seconds at most, and not at all without its process.
pub(crate) fn settle(broker: &Broker) -> Result<(), PerfError> {
    const STEP: Duration = Duration::from_millis(200);
    const STEPS: usize = 25;
    const IDLE: Duration = Duration::from_millis(20);
    let Some(mut before) = broker.sample()? else { return Ok(()) };
    for _ in 0..STEPS {
        thread::sleep(STEP);
        let Some(now) = broker.sample()? else { return Ok(()) };
        if now.cpu.saturating_sub(before.cpu) <= IDLE {
            return Ok(());
        }
        before = now;
    }
    Ok(())
}
