//! Definitions: out to a file, in from one.

use std::fs;
use std::io::{self, Write};

use serde_json::Value;

use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::{DATA, Failure, SOFTWARE, USAGE};
use crate::output::Output;
use crate::program::Program::Ctl;

const DEFINITIONS: Command = Command::of("Definitions", &[Ctl]);

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "export_definitions",
        arguments: "<file>",
        switches: &[Switch::value("format", "format", "json, the only one there is")],
        about: "Writes users, vhosts, queues and the like to a file, - for standard output",
        example: "export_definitions /backup/definitions.json\nexport_definitions -",
        check: Some(check_format),
        banner: Some(|call| match call.argument(0) {
            "-" => String::new(),
            file => format!("Exporting definitions in JSON to a file at \"{file}\" ..."),
        }),
        run: Run::With(export),
        ..DEFINITIONS
    },
    Command {
        name: "import_definitions",
        arguments: "[<file>]",
        switches: &[
            Switch::value("format", "format", "json, the only one there is"),
            Switch::flag("skip-if-unchanged", "Import only what changes something, as always"),
        ],
        about: "Reads definitions from a file, - or nothing for standard input",
        example: "import_definitions /backup/definitions.json\nimport_definitions < definitions.json",
        check: Some(|call| {
            check_format(call)?;
            let file = call.argument(0);
            if !["", "-"].contains(&file) && !fs::exists(file).unwrap_or(false) {
                return Err(call.bad_argument(&format!("File {file} does not exist")));
            }
            Ok(())
        }),
        banner: Some(|call| match call.argument(0) {
            "-" | "" => "Importing definitions in JSON from standard input ...".to_owned(),
            file => format!("Importing definitions in JSON from a file at \"{file}\" ..."),
        }),
        run: Run::With(import),
        ..DEFINITIONS
    },
];

fn check_format(call: &Call) -> Result<(), Failure> {
    match call.switch("format") {
        None => Ok(()),
        Some(format) if format.eq_ignore_ascii_case("json") => Ok(()),
        Some(other) => Err(call.misused(USAGE, &format!("format {other} is not supported"))),
    }
}

fn export(call: &Call) -> Result<Output, Failure> {
    let definitions = call.broker.get("/api/definitions")?.to_string();
    let written = match call.argument(0) {
        "-" => io::stdout().write_all(definitions.as_bytes()),
        file => fs::write(file, definitions),
    };
    let failed = |error| Failure::error(SOFTWARE, format!("{}: {error}", call.argument(0)));
    written.map_err(failed)?;
    Ok(Output::Nothing)
}

fn import(call: &Call) -> Result<Output, Failure> {
    let read = match call.argument(0) {
        "-" | "" => io::read_to_string(io::stdin()),
        file => fs::read_to_string(file),
    };
    let text = read.map_err(|error| Failure::error(SOFTWARE, error))?;
    let definitions: Value = serde_json::from_str(&text).map_err(|error| {
        Failure::error(DATA, format!("Failed to deserialise input (format: json) (error: {error})"))
    })?;
    call.broker.post("/api/definitions", &definitions)?;
    Ok(Output::text("Successfully imported the definitions."))
}
