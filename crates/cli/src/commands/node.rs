//! The life of the node, and what can be set while it runs.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};

use crate::at::At;
use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::{Failure, SOFTWARE, TIMEOUT, UNAVAILABLE, USAGE};
use crate::http::part;
use crate::output::Output;
use crate::program::Program::{Ctl, Diagnostics};

const NODE: Command = Command::of("Nodes", &[Ctl]);
const SETTINGS: Command = Command::of("Configuration and Environment", &[Ctl]);

/// How often it is looked whether something has come or gone.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "await_startup",
        about: "Waits until the broker serves",
        run: Run::With(|call| {
            await_up(call, 300)?;
            Ok(Output::Nothing)
        }),
        ..NODE
    },
    Command {
        name: "wait",
        tools: &[Ctl, Diagnostics],
        arguments: "[<pidfile>]",
        switches: &[Switch::value("pid", "pid", "The broker's process").short('P')],
        about: "Waits until a broker that was started serves, as long as its process lives",
        example: "wait --pid 4711 --timeout 60\nwait /run/leveret.pid",
        run: Run::With(wait),
        ..NODE
    },
    Command {
        name: "stop",
        arguments: "[<pidfile>]",
        switches: &[Switch::flag("idempotent", "Without a complaint if no broker runs")],
        about: "Stops the broker, and waits for the process of a pid file to end",
        example: "stop\nstop /run/leveret.pid",
        banner: Some(|call| format!("Stopping and halting node {} ...", call.node())),
        run: Run::With(stop),
        ..NODE
    },
    Command {
        name: "shutdown",
        switches: &[Switch::flag("no-wait", "Don't wait for the process to end")],
        about: "Stops the broker, and waits for its process to end",
        banner: Some(|call| {
            format!("Shutting down RabbitMQ node {} running at this machine", call.node())
        }),
        run: Run::With(shutdown),
        ..NODE
    },
    Command {
        name: "start_app",
        about: "Starts the application in the node, which runs whenever the node does",
        banner: Some(|call| format!("Starting node {} ...", call.node())),
        run: Run::With(|call| call.broker.get("/health/live").map(|_| Output::Nothing)),
        ..NODE
    },
    Command {
        name: "backup",
        arguments: "<directory>",
        about: "Copies messages and definitions, while the broker runs, to where another can start",
        example: "backup /backups/monday\nbackup /backups/monday --timeout 86400",
        banner: Some(|call| format!("Backing up node {} to {} ...", call.node(), call.argument(0))),
        patience: 24 * 60 * 60,
        run: Run::With(back_up),
        ..NODE
    },
    Command {
        name: "rotate_logs",
        about: "Does nothing: the log goes to standard error, and who collects it rotates it",
        banner: Some(|call| format!("Reopening logs for node {} ...", call.node())),
        run: Run::With(|call| call.broker.get("/health/live").map(|_| Output::Nothing)),
        ..NODE
    },
    Command {
        name: "reload",
        about: "Reads the configuration again, as SIGHUP does, and says what waits for a restart",
        banner: Some(|call| format!("Reading the configuration of node {} again ...", call.node())),
        run: Run::With(reload),
        ..SETTINGS
    },
    Command {
        name: "set_log_level",
        arguments: "<level>",
        about: "Sets the least severe level that is logged, until the next start",
        example: "set_log_level debug",
        banner: Some(|call| format!("Setting log level to \"{}\" ...", call.argument(0))),
        run: Run::With(|call| {
            call.broker.put("/control/log-level", &json!({ "level": call.argument(0) }))?;
            Ok(Output::Nothing)
        }),
        ..SETTINGS
    },
    Command {
        name: "set_vm_memory_high_watermark",
        arguments: "<fraction> [<value>]",
        about: "Sets how much memory the broker may take before publishers wait, until the next start",
        example: "set_vm_memory_high_watermark 0.5\nset_vm_memory_high_watermark absolute 2GB",
        banner: Some(|call| match call.argument(0) {
            "absolute" => format!(
                "Setting memory threshold on {} to {} bytes ...",
                call.node(),
                call.argument(1)
            ),
            fraction => format!("Setting memory threshold on {} to {fraction} ...", call.node()),
        }),
        check: Some(|call| limit(call, "absolute", 1.0).map(drop)),
        run: Run::With(|call| {
            let limit = limit(call, "absolute", 1.0)?;
            call.broker.put("/control/memory-watermark", &json!({ "value": limit }))?;
            Ok(Output::Nothing)
        }),
        ..SETTINGS
    },
    Command {
        name: "set_disk_free_limit",
        arguments: "<limit> [<fraction>]",
        about: "Sets how much disk space has to be free or publishers wait, until the next start",
        example: "set_disk_free_limit 2GB\nset_disk_free_limit mem_relative 1.5",
        banner: Some(|call| match call.argument(0) {
            "mem_relative" => format!(
                "Setting disk free limit on {} to {} times the total RAM ...",
                call.node(),
                call.argument(1)
            ),
            limit => format!("Setting disk free limit on {} to {limit} bytes ...", call.node()),
        }),
        check: Some(|call| limit(call, "mem_relative", 10.0).map(drop)),
        run: Run::With(|call| {
            let limit = limit(call, "mem_relative", 10.0)?;
            call.broker.put("/control/disk-free-limit", &json!({ "value": limit }))?;
            Ok(Output::Nothing)
        }),
        ..SETTINGS
    },
    Command {
        name: "log_location",
        tools: &[Diagnostics],
        switches: &[Switch::flag("all", "All there are, which is one").short('a')],
        about: "Says where the log goes",
        banner: Some(|call| format!("Log file location(s) on node {} ...", call.node())),
        run: Run::With(|call| {
            call.broker.get("/health/live")?;
            Ok(Output::text("<stderr>"))
        }),
        ..SETTINGS
    },
    Command {
        name: "os_env",
        tools: &[Diagnostics],
        about: "Lists the environment variables that are settings, as this process has them",
        banner: Some(|call| {
            format!("Listing RabbitMQ-specific environment variables for node {}...", call.node())
        }),
        run: Run::With(|_| {
            let ours = |name: &str| name.starts_with("LEVERET_") || name.starts_with("RABBITMQ_");
            let secret = |name: &str| name.contains("PASS") || name.contains("COOKIE");
            let mut lines: Vec<String> = std::env::vars()
                .filter(|(name, _)| ours(name))
                .map(|(name, value)| match secret(&name) {
                    true => format!("{name}=(not shown)"),
                    false => format!("{name}={value}"),
                })
                .collect();
            lines.sort_unstable();
            Ok(Output::text(lines.join("\n")))
        }),
        ..SETTINGS
    },
];

/// Waits until somebody answers; the seconds are those of the command line, or these.
pub(crate) fn await_up(call: &Call, seconds: u64) -> Result<(), Failure> {
    let limit = Duration::from_secs(call.options.timeout.unwrap_or(seconds));
    await_that(call, limit, || Ok(call.broker.is_up()))
}

fn back_up(call: &Call) -> Result<Output, Failure> {
    let directory = std::path::absolute(call.argument(0));
    let directory = directory.map_err(|error| Failure::error(USAGE, error))?;
    let copied = call.broker.post("/control/backup", &json!({ "directory": directory }))?;
    let number = |key| copied.at(key).as_f64().unwrap_or_default();
    let text = format!(
        "{} MB of the journal in {} files, in {:.1} s",
        (number("bytes") / 1e6).ceil(),
        number("segments"),
        number("seconds")
    );
    if let Some(damages) = copied.at("damages").as_array().filter(|damages| !damages.is_empty()) {
        let damages: Vec<&str> = damages.iter().filter_map(Value::as_str).collect();
        let text = format!(
            "{text}, but the copy is not whole: {}. `leveret store check --data-dir {}` shows what is lost, \
             `leveret store repair` of the copy keeps the rest",
            damages.join("; "),
            directory.display()
        );
        return Err(Failure::error(SOFTWARE, text));
    }
    Ok(Output::Report(text, copied))
}

fn await_that(
    call: &Call,
    limit: Duration,
    mut is_so: impl FnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let begun = Instant::now();
    while !is_so()? {
        if begun.elapsed() > limit {
            let (node, millis) = (call.node(), limit.as_millis());
            let text =
                format!("Error: operation timed out on node {node}. Timeout value used: {millis}");
            return Err(Failure::plain(TIMEOUT, text));
        }
        sleep(LOOK);
    }
    Ok(())
}

fn is_alive(pid: i32) -> bool {
    Pid::from_raw(pid)
        .is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

fn read_pid(file: &str) -> Option<i32> {
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|pid| *pid > 0)
}

fn wait(call: &Call) -> Result<Output, Failure> {
    let limit = Duration::from_secs(call.options.timeout.unwrap_or(10));
    let pid = match (call.switch("pid"), call.argument(0)) {
        (Some(pid), "") => {
            pid.parse().map_err(|_| call.misused(USAGE, "the pid should be a number"))?
        }
        (None, file) if !file.is_empty() => {
            await_that(call, limit, || Ok(read_pid(file).is_some()))?;
            read_pid(file).unwrap_or_default()
        }
        _ => return Err(call.misused(USAGE, "give either a pid file or --pid")),
    };
    await_that(call, limit, || {
        if !is_alive(pid) {
            let why = format!("Error: process {pid} is not running");
            return Err(Failure::plain(UNAVAILABLE, why));
        }
        Ok(call.broker.is_up())
    })?;
    let node = call.node();
    Ok(Output::text(format!("Applications 'rabbit_and_plugins' are running on node '{node}'")))
}

/// The order to stop; the process ends soon after.
fn give_order(call: &Call) -> Result<(), Failure> {
    call.broker.post("/control/stop", &Value::Null).map(drop)
}

fn stop(call: &Call) -> Result<Output, Failure> {
    if call.has("idempotent") && !call.broker.is_up() {
        return Ok(Output::Nothing);
    }
    let pid = read_pid(call.argument(0));
    give_order(call)?;
    if let Some(pid) = pid {
        await_gone(call, pid)?;
    }
    Ok(Output::Nothing)
}

fn shutdown(call: &Call) -> Result<Output, Failure> {
    let node = call.broker.get(&format!("/api/nodes/{}?columns=os_pid", part(call.node())))?;
    let pid = node.at("os_pid").as_str().and_then(|pid| pid.parse().ok());
    give_order(call)?;
    if let Some(pid) = pid
        && !call.has("no-wait")
    {
        await_gone(call, pid)?;
    }
    Ok(Output::Nothing)
}

fn await_gone(call: &Call, pid: i32) -> Result<(), Failure> {
    let limit = Duration::from_secs(call.options.timeout.unwrap_or(60));
    await_that(call, limit, || Ok(!is_alive(pid)))
}

fn reload(call: &Call) -> Result<Output, Failure> {
    let reply = call.broker.send("POST", "/control/reload", &Value::Null)?;
    if reply.status == hyper::StatusCode::BAD_REQUEST {
        return Err(Failure::error(crate::failure::CONFIG, reply.reason()));
    }
    let reloaded = crate::broker::accepted(reply)?.json();
    let keys = |name: &str| -> Vec<String> {
        let keys = reloaded.at(name).as_array().into_iter().flatten();
        keys.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut lines: Vec<String> =
        keys("changed").iter().map(|key| format!("{key} has changed")).collect();
    lines
        .extend(keys("at_next_start").iter().map(|key| format!("{key} changes at the next start")));
    if lines.is_empty() {
        lines.push("nothing has changed".to_owned());
    }
    Ok(Output::Report(lines.join("\n"), reloaded))
}

/// A part of the memory as it is, or, behind this word, the other form of the limit.
fn limit(call: &Call, word: &str, most: f64) -> Result<String, Failure> {
    let [first, second] = [0, 1].map(|place| call.argument(place));
    let is_behind = first == word;
    if second.is_empty() == is_behind {
        return Err(call.misused(
            USAGE,
            if is_behind { "not enough arguments." } else { "too many arguments." },
        ));
    }
    let (value, is_fraction) = match word {
        "absolute" if is_behind => (second, false),
        "absolute" => (first, true),
        _ if is_behind => (second, true),
        _ => (first, false),
    };
    if !is_fraction {
        return Ok(value.to_owned());
    }
    match value.parse::<f64>() {
        Ok(fraction) if (0.0..=most).contains(&fraction) => Ok(format!("{fraction:.6}")),
        Ok(_) => Err(call
            .bad_argument(&format!("The threshold should be a fraction between 0.0 and {most:?}"))),
        Err(_) => Err(call.bad_argument("The threshold should be a number")),
    }
}
