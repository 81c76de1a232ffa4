//! `[audit]`: what operators do.

use std::path;

use super::{Refused, Setting};
use crate::config::units::show_bytes;

pub(super) static AUDIT: [Setting; 3] = [
    Setting {
        key: "audit.file",
        about: "A file for a line of JSON about each thing an operator does",
        live: true,
        allowed: "the path of a file, or \"none\"",
        apply: |config, value| {
            let none = value.word(&[("none", ())]).is_ok();
            let path = || path::absolute(value.text()?).map_err(|_| Refused::NotAllowed);
            config.audit.file = if none { None } else { Some(path()?) };
            Ok(())
        },
        show: |config| match &config.audit.file {
            None => "none".into(),
            Some(path) => path.to_string_lossy().as_ref().into(),
        },
    },
    Setting {
        key: "audit.max_size",
        about: "How large the file gets before a new one is begun",
        live: true,
        allowed: "a size from 4KiB to 1GiB, such as \"16MiB\"",
        apply: |config, value| {
            config.audit.max_bytes = value.bytes(4 << 10..=1 << 30)?;
            Ok(())
        },
        show: |config| show_bytes(config.audit.max_bytes).into(),
    },
    Setting {
        key: "audit.max_files",
        about: "How many such files are kept, the one that is written included",
        live: true,
        allowed: "a number of files from 1 to 1000",
        apply: |config, value| {
            config.audit.max_files = value.integer(1..=1000)?;
            Ok(())
        },
        show: |config| i64::from(config.audit.max_files).into(),
    },
];
