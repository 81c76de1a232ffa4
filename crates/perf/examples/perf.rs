//! The command line of `leveret perf` as a program of its own.

use std::process::ExitCode;

use clap::Parser;
use leveret_perf::PerfArgs;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    perf: PerfArgs,
}

fn main() -> anyhow::Result<ExitCode> {
    Ok(Cli::parse().perf.run()?)
}
