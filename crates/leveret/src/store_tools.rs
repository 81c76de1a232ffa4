//! `leveret store`: what an operator does with the data of a stopped broker.

mod dump;
mod stats;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use leveret_broker::streams;
use leveret_server::config::{Config, Storage};
use leveret_store::RealDisk;
use leveret_store::offline::{self, CheckReport, Damage, Definitions, RepairReport};

use crate::arguments::{Arguments, Place};

/// What to do with the data. None of it works while a broker runs on them.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreTool {
    /// Show what takes the space: each queue's messages, and what keeps each segment
    Stats(Place),
    /// Read everything, verify all checksums, and name what is damaged and what is lost with it
    ///
    /// Changes nothing. Exit code 0: sound; 3: damaged; 1: could not be checked.
    Check(Place),
    /// Make damaged data such that the broker starts from them, with all that can be read
    ///
    /// Damaged files are kept under other names. Exit code 0 if the broker can start afterwards.
    Repair {
        #[command(flatten)]
        place: Place,
        /// Go on without definitions that cannot be read or are missing. Their queues are lost, and
        /// the messages in them
        #[arg(long)]
        drop_definitions: bool,
    },
    /// Print every record of the journal as a line of JSON
    Dump {
        #[command(flatten)]
        place: Place,
        /// With the bodies of messages, in base64
        #[arg(long)]
        bodies: bool,
    },
}

impl StoreTool {
    pub(crate) fn place(&self) -> &Place {
        match self {
            Self::Stats(place) | Self::Check(place) => place,
            Self::Repair { place, .. } | Self::Dump { place, .. } => place,
        }
    }
}

/// Does it.
///
/// # Errors
/// When it can't be done; not when something is damaged.
pub(crate) fn run(tool: &StoreTool, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (config, _) = Config::load(&arguments.sources(std::env::vars_os()))?;
    let Storage::Directory(dir) = config.storage else { bail!("there is no data directory") };
    let disk = RealDisk::new();
    let (text, code) = match tool {
        StoreTool::Stats(_) => (stats::text(&offline::usage(&disk, &dir)?), ExitCode::SUCCESS),
        StoreTool::Check(_) => {
            let report = offline::check(&disk, &dir)?;
            let sound = report.damages.is_empty() && !report.lacks_tables;
            (check_text(&report), if sound { ExitCode::SUCCESS } else { DAMAGED.into() })
        }
        StoreTool::Repair { drop_definitions, .. } => {
            let definitions =
                if *drop_definitions { Definitions::Dropped } else { Definitions::Needed };
            (
                repair_text(&offline::repair_with_streams(&disk, &dir, definitions, streams)?),
                ExitCode::SUCCESS,
            )
        }
        StoreTool::Dump { bodies, .. } => return dump::run(&disk, &dir, *bodies),
    };
    print(&text)?;
    Ok(code)
}

/// Exit code of a check that found damage.
const DAMAGED: u8 = 3;

/// Writes to standard output. Whoever closes it has seen enough.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn check_text(report: &CheckReport) -> String {
    let CheckReport { segments, records, bytes, last_lsn, definitions, .. } = report;
    let mut text = lines(&report.damages);
    if report.lacks_tables {
        text += "definitions.redb is missing: put it back, or let leveret store repair --drop-definitions make one \
                 without queues, exchanges, bindings and users\n";
    }
    text += &format!(
        "{segments} segments, {records} records of {bytes} bytes up to LSN {last_lsn}, {definitions} definitions\n"
    );
    if report.torn_bytes > 0 {
        text += &format!(
            "{} bytes at the end were never acknowledged and will be cut\n",
            report.torn_bytes
        );
    }
    text += &match report.damages.len() {
        0 if report.lacks_tables => "nothing else is damaged\n".to_owned(),
        0 => "nothing is damaged\n".to_owned(),
        1 => "1 place is damaged: restore a backup, or run leveret store repair\n".to_owned(),
        count => {
            format!("{count} places are damaged: restore a backup, or run leveret store repair\n")
        }
    };
    text
}

fn repair_text(report: &RepairReport) -> String {
    let mut text = lines(&report.damages);
    for file in &report.replaced_before {
        text += &format!(
            "{}: replaced by the repair that was cut off, the damaged file is {}\n",
            file.path.display(),
            file.aside.display()
        );
    }
    for file in &report.files {
        let path = file.path.display();
        text += &match &file.set_aside {
            Some(aside) => format!(
                "{path}: {} records kept, the damaged file is {}\n",
                file.records,
                aside.display()
            ),
            None => format!("{path}: made anew, it was missing\n"),
        };
    }
    if report.files.iter().any(|file| file.path.ends_with("definitions.redb")) {
        text += "queues that the journal does not define are lost with their messages: leveret store stats shows \
                 them by their numbers until the broker starts\n";
    }
    if report.was_cut_off {
        text += "the repair that was cut off is finished\n";
    }
    let is_sound = report.damages.is_empty() && report.files.is_empty() && !report.was_cut_off;
    text += if is_sound {
        "nothing is damaged, nothing was changed\n"
    } else {
        "repaired: the broker can start; messages settled in what is lost may come again\n"
    };
    text
}

fn lines(damages: &[Damage]) -> String {
    damages.iter().map(|damage| format!("{damage}\n")).collect()
}

/// The name of a queue, or its number if nothing defines it any more.
fn queue_name(names: &BTreeMap<u64, String>, queue: u64) -> String {
    names.get(&queue).cloned().unwrap_or_else(|| format!("deleted queue {queue}"))
}

/// The name of a segment's file.
fn segment_name(number: u64) -> String {
    format!("{number:016x}.seg")
}
