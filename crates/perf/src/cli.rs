//! The command line of `leveret perf`.

mod overrides;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use self::overrides::Overrides;
use crate::broker::Broker;
use crate::compare::compare;
use crate::error::PerfError;
use crate::limits::limits;
use crate::observer::Progress;
use crate::output::{note, show};
use crate::preset::{PRESETS, Preset, transient};
use crate::report::{Report, Table};
use crate::run::{Named, run};
use crate::scenario::{Scenario, ScenarioError};
use crate::start::{Stop, start};
use crate::target::{Reach, Target};
use crate::units::{parse_duration, parse_size};

/// Measures AMQP 0-9-1 brokers.
#[derive(Debug, Args)]
pub struct PerfArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios against one broker
    Run(RunArgs),
    /// Run scenarios against several brokers in turn, and compare them
    Compare(CompareArgs),
    /// Start a broker several times, and measure how long it takes to the first connection
    Start(StartArgs),
    /// Measure what the machine itself can do, which no broker can exceed
    Limits(LimitsArgs),
    /// List the presets
    Presets,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The broker
    #[arg(long, value_name = "URI", default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    target: Target,
    /// The id of the broker's process, to measure its CPU, memory and disk
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// A broker and what to call it; the first one is what the others are compared with
    #[arg(long = "target", value_name = "NAME=URI", required = true, value_parser = named::<Target>)]
    targets: Vec<(String, Target)>,
    /// The id of a broker's process, to measure its CPU, memory and disk
    #[arg(long = "pid", value_name = "NAME=PID", value_parser = named::<u32>)]
    pids: Vec<(String, u32)>,
    /// How often each broker is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct StartArgs {
    /// Where the broker will listen
    #[arg(long, value_name = "URI", default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    target: Target,
    /// How often it is started
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How it is stopped
    #[arg(long, value_enum, default_value_t = Stop::Term)]
    stop: Stop,
    /// Write what was found as JSON, `-` for the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The broker's program and its arguments; must be the broker itself, in the foreground
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(Debug, Args)]
struct LimitsArgs {
    /// Body sizes of the messages to relay: 16,1KiB
    #[arg(long = "size", value_name = "SIZES", value_delimiter = ',', value_parser = parse_size,
          default_value = "16,1KiB")]
    sizes: Vec<usize>,
    /// A folder on the disk to measure; a file in it is written and removed
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// How long each
    #[arg(long, default_value = "3s", value_parser = parse_duration)]
    duration: Duration,
    /// Write what was found as JSON, `-` for the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// What to run; may be several, separated by commas. Without one: messages as the options say
    #[arg(long = "preset", value_name = "NAME", value_delimiter = ',')]
    presets: Vec<String>,
    /// Write everything that was found as JSON, `-` for the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
    /// Put load on brokers that are not on this machine
    #[arg(long)]
    allow_remote: bool,
    #[command(flatten)]
    overrides: Overrides,
}

impl PerfArgs {
    /// Does what the command line says, and writes what was found to the standard output. The exit
    /// code is 3 when a broker lost, duplicated or reordered messages.
    ///
    /// # Errors
    /// Something cannot be measured.
    pub fn run(&self) -> Result<ExitCode, PerfError> {
        match &self.command {
            Command::Run(args) => args.run(),
            Command::Compare(args) => args.run(),
            Command::Start(args) => args.run(),
            Command::Limits(args) => args.run(),
            Command::Presets => {
                let mut table = Table::new(["preset", ""]);
                PRESETS.iter().for_each(|preset| table.row([preset.name, preset.summary]));
                show(table)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl RunArgs {
    fn run(&self) -> Result<ExitCode, PerfError> {
        let common = &self.common;
        let scenarios = common.scenarios()?;
        let name = self.target.to_string();
        let broker = Broker::new(name, self.target.clone(), self.pid, common.reach())?;
        let mut reports = Vec::new();
        for named in &scenarios {
            let report = run(&broker, named, common.progress())?;
            if !is_shown(&common.json) {
                show(format_args!("{report}\n"))?;
            }
            reports.push(report);
        }
        write_json(&common.json, &reports)?;
        Ok(exit_code(&reports))
    }
}

impl CompareArgs {
    fn run(&self) -> Result<ExitCode, PerfError> {
        let common = &self.common;
        let scenarios = common.scenarios()?;
        if let Some((stray, _)) = self.pids.iter().find(|(name, _)| !self.has_target(name)) {
            return Err(ScenarioError::UnknownTarget(stray.clone()).into());
        }
        let brokers = self.targets.iter().map(|(name, target)| {
            let pid = self.pids.iter().find(|(of, _)| of == name).map(|(_, pid)| *pid);
            Broker::new(name, target.clone(), pid, common.reach())
        });
        let brokers = brokers.collect::<Result<Vec<_>, _>>()?;
        let compared = compare(&brokers, &scenarios, self.rounds, common.progress(), |report| {
            if !common.quiet {
                note(report);
            }
        })?;
        if !is_shown(&common.json) {
            show(&compared)?;
        }
        write_json(&common.json, &compared)?;
        Ok(exit_code(&compared.reports))
    }

    fn has_target(&self, name: &str) -> bool {
        self.targets.iter().any(|(target, _)| target == name)
    }
}

impl StartArgs {
    fn run(&self) -> Result<ExitCode, PerfError> {
        let name = self.target.to_string();
        let broker = Broker::new(name, self.target.clone(), None, Reach::Loopback)?;
        let starts = start(&broker, &self.command, self.stop, self.rounds)?;
        if !is_shown(&self.json) {
            show(&starts)?;
        }
        write_json(&self.json, &starts)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl LimitsArgs {
    fn run(&self) -> Result<ExitCode, PerfError> {
        let found = limits(&self.sizes, &self.dir, self.duration)?;
        if !is_shown(&self.json) {
            show(&found)?;
        }
        write_json(&self.json, &found)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl CommonArgs {
    fn scenarios(&self) -> Result<Vec<Named>, ScenarioError> {
        let mut scenarios = Vec::new();
        for name in &self.presets {
            let scenario = Preset::find(name)?.scenario();
            scenarios.push(Named { name: name.clone(), scenario });
        }
        if scenarios.is_empty() {
            let scenario = Scenario::Flow(transient(16));
            scenarios.push(Named { name: "custom".to_owned(), scenario });
        }
        self.overrides.apply(&mut scenarios)?;
        scenarios.iter().try_for_each(|named| named.scenario.check())?;
        Ok(scenarios)
    }

    fn reach(&self) -> Reach {
        if self.allow_remote { Reach::Anywhere } else { Reach::Loopback }
    }

    fn progress(&self) -> Progress {
        if self.quiet { Progress::Hidden } else { Progress::Shown }
    }
}

/// Whether JSON takes the place of tables.
fn is_shown(json: &Option<PathBuf>) -> bool {
    json.as_deref() == Some(Path::new("-"))
}

fn write_json(json: &Option<PathBuf>, found: &impl Serialize) -> Result<(), PerfError> {
    let Some(path) = json else { return Ok(()) };
    let failed = |source| PerfError::Output { path: path.clone(), source };
    let text = serde_json::to_string_pretty(found).map_err(io::Error::from).map_err(failed)?;
    if path == Path::new("-") {
        return show(format_args!("{text}\n"));
    }
    fs::write(path, text + "\n").map_err(failed)
}

fn exit_code(reports: &[Report]) -> ExitCode {
    const FAULTY: u8 = 3;
    let is_clean = reports.iter().all(Report::is_clean);
    if is_clean { ExitCode::SUCCESS } else { ExitCode::from(FAULTY) }
}

fn named<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<(String, T), String> {
    let (name, value) = text.split_once('=').ok_or("a name, =, and a value")?;
    let value = value.parse().map_err(|error: T::Err| error.to_string())?;
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, FromArgMatches, Parser};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        perf: PerfArgs,
    }

    fn scenarios(line: &str) -> Result<Vec<Named>, String> {
        let words = ["perf", "run"].into_iter().chain(line.split_whitespace());
        let matches =
            Cli::command().try_get_matches_from(words).map_err(|error| error.to_string())?;
        let Command::Run(args) = Cli::from_arg_matches(&matches).unwrap().perf.command else {
            panic!("run")
        };
        args.common.scenarios().map_err(|error| error.to_string())
    }

    fn flow(line: &str) -> crate::Flow {
        match scenarios(line).unwrap().remove(0).scenario {
            Scenario::Flow(flow) | Scenario::Backlog(flow) => flow,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_change_a_preset() {
        let changed = flow(
            "--preset ack-1k --size 16,1KiB --ack-every 10 --rate 5k --messages 1M \
             --duration 500ms --confirm-window 7 --persistent true --queue-argument x-max-length=9",
        );
        assert_eq!(changed.sizes, [16, 1024]);
        assert_eq!(changed.settle, crate::Settle::Ack { every: 10, prefetch: 1000 });
        assert_eq!((changed.rate, changed.messages), (Some(5000), Some(1_000_000)));
        assert_eq!(changed.warmup.as_millis(), 100, "a warm-up never fills a shorter run");
        assert_eq!((changed.confirm_window, changed.persistent), (Some(7), true));
        assert_eq!(changed.queue_arguments[0].value, "9");
        assert_eq!(flow("--preset ack-1k --ack-every 0").settle, crate::Settle::Auto);
        assert_eq!(flow("--preset latency-5000 --rate 0").rate, None);
    }

    #[test]
    fn options_alone_are_a_flow() {
        assert_eq!(flow("--size 100").sizes, [100]);
        assert_eq!(scenarios("").unwrap()[0].name, "custom");
    }

    #[test]
    fn an_option_without_effect_is_refused() {
        let refused = scenarios("--preset transient-16 --in-flight 9").unwrap_err();
        assert_eq!(refused, "--in-flight has no effect here");
        assert!(scenarios("--preset transient-16,queue-churn --in-flight 9").is_ok());
    }

    #[test]
    fn an_unknown_preset_is_refused() {
        assert!(scenarios("--preset nothing").unwrap_err().contains("'nothing'"));
    }

    #[test]
    fn names_come_before_an_equals_sign() {
        assert_eq!(named::<u32>("a=7"), Ok(("a".to_owned(), 7)));
        assert!(named::<u32>("7").is_err() && named::<u32>("a=x").is_err());
    }
}
