use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use leveret_tests::binary as leveret;
use tempfile::TempDir;

/// The tools for the broker of a data directory: links to the binary.
pub(crate) struct Tools {
    links: TempDir,
    data: PathBuf,
}

/// What a tool left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

const NAMES: [&str; 7] = [
    "rabbitmqctl",
    "rabbitmq-diagnostics",
    "rabbitmq-plugins",
    "rabbitmq-queues",
    "rabbitmq-streams",
    "rabbitmq-upgrade",
    "rabbitmqadmin",
];

impl Tools {
    pub(crate) fn of(data: &Path) -> Self {
        let links = TempDir::with_prefix("leveret-tools-").unwrap();
        for name in NAMES {
            symlink(leveret(), links.path().join(name)).unwrap();
        }
        Self { links, data: data.to_owned() }
    }

    /// A tool that isn't running yet. It knows nothing of the environment but the data directory.
    pub(crate) fn command(&self, tool: &str) -> Command {
        self.program(&self.links.path().join(tool))
    }

    /// Another program that isn't running yet, which knows the same.
    pub(crate) fn program(&self, path: &Path) -> Command {
        let mut command = Command::new(path);
        command.env_clear().env("LEVERET_DATA_DIR", &self.data).stdin(Stdio::null());
        command
    }

    /// Runs a tool with the words of a line, which may be quoted.
    pub(crate) fn run(&self, line: &str) -> Outcome {
        let words = words(line);
        let (tool, arguments) = words.split_first().unwrap();
        self.run_with(tool, arguments)
    }

    pub(crate) fn run_with(&self, tool: &str, arguments: &[impl AsRef<OsStr>]) -> Outcome {
        outcome(self.command(tool).args(arguments))
    }

    /// What a tool prints that has nothing to complain of.
    pub(crate) fn print(&self, line: &str) -> String {
        let outcome = self.run(line);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{line}: {outcome:?}");
        outcome.stdout
    }
}

pub(crate) fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

/// The words of a line; quotes of either kind keep what is between them together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        match (character, quote) {
            (one, Some(open)) if one == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (' ', None) => words.extend(word.take()),
            (other, _) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}
