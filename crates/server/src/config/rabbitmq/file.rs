//! The files: `key = value` a line.

use std::fs;
use std::path::Path;

use super::Entries;
use crate::config::error::ConfigError;
use crate::config::sources::{Origin, Sources};

impl Entries {
    /// Reads a file over what was read before.
    ///
    /// # Errors
    /// When it can't be read, or a line is none.
    pub(in crate::config) fn read(
        &mut self,
        path: &Path,
        sources: &Sources,
    ) -> Result<(), ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let origin = Origin::File(path.to_owned(), number + 1);
            let Some((key, value)) = line.split_once('=') else {
                return Err(ConfigError::NoKey { origin, line: line.to_owned() });
            };
            let block;
            let value = match value.trim_start().strip_prefix(BLOCK) {
                None => without_comment(value),
                Some(first) => {
                    let rest = lines.by_ref().map(|(_, line)| line);
                    block = until_end(std::iter::once(first).chain(rest));
                    let unfinished =
                        || ConfigError::NoKey { origin: origin.clone(), line: line.to_owned() };
                    block.as_deref().ok_or_else(unfinished)?
                }
            };
            let value = interpolated(value, sources)
                .map_err(|name| ConfigError::NoVariable { origin: origin.clone(), name })?;
            self.insert(key.trim().to_owned(), value, origin);
        }
        Ok(())
    }
}

/// Around a value of several lines.
const BLOCK: &str = "'''";

/// The lines up to the end of the block, if it has one.
fn until_end<'a>(lines: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut text = String::new();
    for line in lines {
        if let Some((last, _)) = line.split_once(BLOCK) {
            return Some((text + last).trim().to_owned());
        }
        text += line;
        text.push('\n');
    }
    None
}

/// A comment behind a value begins with ` #`; quotes keep what is in them.
fn without_comment(value: &str) -> &str {
    let value = value.trim();
    for quote in ['\'', '"'] {
        if let Some(rest) = value.strip_prefix(quote)
            && let Some((inner, _)) = rest.split_once(quote)
        {
            return inner;
        }
    }
    value.split_once(" #").map_or(value, |(value, _)| value.trim_end())
}

/// With environment variables in the place of `$(NAME)`.
///
/// # Errors
/// The name of a variable that is not set.
fn interpolated(value: &str, sources: &Sources) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once("$(") {
        let Some((name, behind)) = behind.split_once(')') else { break };
        text += before;
        text += sources.variable(name).ok_or_else(|| name.to_owned())?;
        rest = behind;
    }
    Ok(text + rest)
}
