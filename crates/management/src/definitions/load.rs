//! Definitions that are loaded when a broker starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use leveret_broker::{Actor, Broker, Place};
use leveret_codec::TableLimits;
use leveret_server::StartError;
use leveret_store::Lsn;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::import;
use crate::node::now;

/// Loads definitions from a file, or from all `.json` files of a directory in the order of their
/// names, with tables within these limits. Blocks until they are on disk is the caller's: the LSN that comes back.
///
/// # Errors
/// [`StartError::Definitions`] with the file and what is wrong with it.
pub fn load(
    broker: &Arc<Broker>,
    path: &Path,
    tables: TableLimits,
) -> Result<Option<Lsn>, StartError> {
    let failed =
        |path: &Path, reason: String| StartError::Definitions { path: path.to_owned(), reason };
    let files = files(path).map_err(|error| failed(path, error.to_string()))?;
    let mut commit = None;
    for file in files {
        let text = fs::read(&file).map_err(|error| failed(&file, error.to_string()))?;
        let definitions = serde_json::from_slice::<Value>(&text);
        let definitions = match definitions {
            Ok(Value::Object(definitions)) => definitions,
            Ok(_) => return Err(failed(&file, "it holds no JSON object".to_owned())),
            Err(error) => return Err(failed(&file, error.to_string())),
        };
        let actor = Arc::new(Actor::at(Place::File(file.clone())));
        // A process that is to end before it has started ends at once.
        let nothing_stops = CancellationToken::new();
        let loaded = import(broker, &actor, &definitions, tables, now(), &nothing_stops);
        commit = commit.max(loaded.map_err(|failure| failed(&file, failure.to_string()))?);
        tracing::info!("loaded definitions from {}", file.display());
    }
    Ok(commit)
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
