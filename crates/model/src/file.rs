//! Reading the files of a model directory, each with a limit and its name in the error.

use std::path::Path;

use kvant_storage::Bytes;
use serde_json::Value;

use crate::LoadError;
use crate::limit::CONFIG_BYTES;

/// Maps `path` whole.
pub(crate) fn read(path: &Path) -> Result<Bytes, LoadError> {
    Ok(kvant_storage::read_file(path)?)
}

/// Maps `path` if it is at most `limit` bytes long.
pub(crate) fn read_bounded(path: &Path, limit: usize) -> Result<Bytes, LoadError> {
    let bytes = read(path)?;
    if bytes.len() > limit {
        let why = format!("{} bytes, the limit is {limit}", bytes.len());
        return Err(LoadError::Config { path: path.to_path_buf(), why });
    }
    Ok(bytes)
}

/// Reads a JSON object of at most [`CONFIG_BYTES`]. `None` if there is no such file.
pub(crate) fn json_if_there(path: &Path) -> Result<Option<Value>, LoadError> {
    if path.exists() { json(path, CONFIG_BYTES).map(Some) } else { Ok(None) }
}

/// Reads a JSON value of at most `limit` bytes (nesting is bounded by the parser).
pub(crate) fn json(path: &Path, limit: usize) -> Result<Value, LoadError> {
    let bytes = read_bounded(path, limit)?;
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(crate::checkpoint::lfs_pointer(path));
    }
    serde_json::from_slice(&bytes).map_err(|error| LoadError::Config {
        path: path.to_path_buf(),
        why: format!("not valid JSON: {error}"),
    })
}

/// The folder that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}
