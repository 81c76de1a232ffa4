//! The audit log: a line of JSON for each thing an operator has done.
//!
//! `{"time":...,"who":...,"from":...,"action":...,"object":{...},"before":...,"after":...}`
//!
//! Each line is written when the thing is done, in that order. A line that can't be written costs
//! no operator anything: it is counted, the log of the broker says so once, and when lines can be
//! written again the first one tells how many are missing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use leveret_broker::{Action, Actor, AuditLog};
use parking_lot::Mutex;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::AuditConfig;

const OWNER_ONLY: u32 = 0o600;

/// The file that actions are written to.
#[derive(Debug)]
pub(crate) struct AuditFile(Mutex<State>);

#[derive(Debug)]
struct State {
    config: AuditConfig,
    open: Option<Open>,
    /// Lines that could not be written since the last one that could.
    lost: u64,
    /// Whether the log says that it can't be written.
    is_told: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
}

impl AuditFile {
    /// Opens the file, if there is to be one.
    pub(crate) fn new(config: AuditConfig) -> Self {
        let state = State { config: AuditConfig::default(), open: None, lost: 0, is_told: false };
        let audit = Self(Mutex::new(state));
        audit.reopen(config);
        audit
    }

    /// Opens the file anew, which may have been moved away, or be another one from now on.
    pub(crate) fn reopen(&self, config: AuditConfig) {
        let mut state = self.0.lock();
        state.config = config;
        state.open = None;
        let Some(path) = state.config.file.clone() else { return };
        match open(&path) {
            Ok(open) => state.open = Some(open),
            Err(error) => state.tell(&path, &error),
        }
    }
}

impl AuditLog for AuditFile {
    fn record(&self, actor: &Actor, action: &Action) {
        let mut state = self.0.lock();
        let Some(path) = state.config.file.clone() else { return };
        let time = now();
        let mut lines = String::new();
        if state.lost > 0 {
            let missing = json!({ "time": time, "action": "audit.lost", "lines": state.lost });
            lines = format!("{missing}\n");
        }
        lines += &format!("{}\n", line(&time, actor, action));
        match state.write(&path, lines.as_bytes()) {
            Ok(()) if state.lost > 0 => {
                let lost = std::mem::take(&mut state.lost);
                state.is_told = false;
                tracing::warn!(
                    "the audit log {} is written again; {lost} lines are missing",
                    path.display()
                );
            }
            Ok(()) => {}
            Err(error) => {
                if !state.is_told {
                    state.tell(&path, &error);
                }
                state.lost += 1;
                state.open = None;
            }
        }
    }
}

impl State {
    /// Writes lines, in the next file if this one is full.
    fn write(&mut self, path: &Path, lines: &[u8]) -> io::Result<()> {
        let mut own = match self.open.take() {
            Some(open) => open,
            None => open(path)?,
        };
        let added = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        if own.bytes > 0 && own.bytes.saturating_add(added) > self.config.max_bytes {
            rotate(path, self.config.max_files)?;
            own = open(path)?;
        }
        own.file.write_all(lines)?;
        own.bytes += added;
        self.open = Some(own);
        Ok(())
    }

    fn tell(&mut self, path: &Path, error: &io::Error) {
        self.is_told = true;
        tracing::error!(
            "cannot write the audit log {}: {error}. What operators do is not recorded until it can \
             be written: make room, or let the broker's user write there",
            path.display()
        );
    }
}

fn open(path: &Path) -> io::Result<Open> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).mode(OWNER_ONLY).open(path)?;
    let mut bytes = file.metadata()?.len();
    // A line that a full disk or a crash cut off ends where it was cut.
    if let Some(last) = bytes.checked_sub(1) {
        let mut end = [0];
        file.read_exact_at(&mut end, last)?;
        if end != *b"\n" {
            file.write_all(b"\n")?;
            bytes += 1;
        }
    }
    Ok(Open { file, bytes })
}

/// Makes room for a new file: each older one gets the next number, and the oldest goes.
fn rotate(path: &Path, max_files: u16) -> io::Result<()> {
    for number in (1..max_files).rev() {
        let from = if number == 1 { path.to_owned() } else { numbered(path, number - 1) };
        match fs::rename(from, numbered(path, number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    if max_files == 1 { fs::remove_file(path) } else { Ok(()) }
}

fn numbered(path: &Path, number: u16) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn line(time: &str, actor: &Actor, action: &Action) -> Value {
    json!({
        "time": time,
        "who": actor.user(),
        "from": actor.from().to_string(),
        "action": action.name,
        "object": action.object,
        "before": action.before,
        "after": action.after,
    })
}

fn now() -> String {
    // Fails for years beyond 9999 only.
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use leveret_broker::Place;
    use tempfile::TempDir;

    use super::*;

    fn config(folder: &TempDir, max_bytes: u64, max_files: u16) -> AuditConfig {
        let file = Some(folder.path().join("audit.jsonl"));
        AuditConfig { file, max_bytes, max_files }
    }

    fn record(audit: &AuditFile, name: &str) {
        let actor = Actor::new("anna", Place::Address([192, 0, 2, 1].into()));
        let (before, after) = (Value::Null, json!({ "tags": [] }));
        let object = json!({ "user": "bert" });
        audit.record(&actor, &Action { name: name.to_owned(), object, before, after });
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn names(path: &Path) -> Vec<String> {
        lines(path).iter().map(|line| line["action"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn an_action_is_a_line() {
        let folder = TempDir::new().unwrap();
        let audit = AuditFile::new(config(&folder, 1 << 20, 2));
        record(&audit, "user.created");
        let mut line = lines(&folder.path().join("audit.jsonl")).remove(0);
        let time = line["time"].take();
        assert!(OffsetDateTime::parse(time.as_str().unwrap(), &Rfc3339).is_ok(), "{time}");
        let expected = json!({
            "time": null, "who": "anna", "from": "192.0.2.1", "action": "user.created",
            "object": { "user": "bert" }, "before": null, "after": { "tags": [] },
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn full_files_are_kept_up_to_a_number() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("audit.jsonl");
        // A file takes one line, however small it is to be.
        let audit = AuditFile::new(config(&folder, 1, 3));
        for name in ["a", "b", "c", "d", "e"] {
            record(&audit, name);
        }
        assert_eq!(names(&path), ["e"]);
        assert_eq!(names(&numbered(&path, 1)), ["d"]);
        assert_eq!(names(&numbered(&path, 2)), ["c"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        audit.reopen(config(&folder, 1, 1));
        record(&audit, "f");
        assert_eq!(names(&path), ["f"]);
    }

    #[test]
    fn a_file_goes_on_where_it_ended() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("audit.jsonl");
        record(&AuditFile::new(config(&folder, 1 << 20, 2)), "a");
        let audit = AuditFile::new(config(&folder, 1 << 20, 2));
        record(&audit, "b");
        assert_eq!(names(&path), ["a", "b"]);
        fs::rename(&path, folder.path().join("moved")).unwrap();
        record(&audit, "c");
        assert_eq!(names(&folder.path().join("moved")), ["a", "b", "c"]);
        audit.reopen(config(&folder, 1 << 20, 2));
        record(&audit, "d");
        assert_eq!(names(&path), ["d"]);
    }

    #[test]
    fn a_line_that_was_cut_off_is_not_continued() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("audit.jsonl");
        fs::write(&path, "{\"time\":\"20").unwrap();
        let audit = AuditFile::new(config(&folder, 1 << 20, 2));
        record(&audit, "a");
        record(&audit, "b");
        let text = fs::read_to_string(&path).unwrap();
        let (cut_off, rest) = text.split_once('\n').unwrap();
        assert_eq!(cut_off, "{\"time\":\"20");
        fs::write(&path, rest).unwrap();
        assert_eq!(names(&path), ["a", "b"]);
    }

    #[test]
    fn what_could_not_be_written_is_counted() {
        let folder = TempDir::new().unwrap();
        let below = folder.path().join("missing");
        let file = below.join("audit.jsonl");
        let audit = AuditFile::new(AuditConfig {
            file: Some(file.clone()),
            max_bytes: 1 << 20,
            max_files: 2,
        });
        record(&audit, "a");
        record(&audit, "b");
        fs::create_dir(&below).unwrap();
        record(&audit, "c");
        record(&audit, "d");
        assert_eq!(names(&file), ["audit.lost", "c", "d"]);
        assert_eq!(lines(&file)[0]["lines"], 2);
    }

    #[test]
    fn without_a_file_nothing_is_written() {
        let audit = AuditFile::new(AuditConfig::default());
        record(&audit, "a");
        assert_eq!(audit.0.lock().lost, 0);
    }
}
