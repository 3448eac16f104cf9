//! Bytes of a model on disk.

use std::fs;
use std::path::{Path, PathBuf};

use super::DiskError;
use crate::limits;
use crate::report::Size;

/// Extensions of files that hold weights.
const WEIGHTS: [&str; 2] = ["safetensors", "gguf"];

/// The bytes of the weights at `path`, and of everything in it if it is a directory.
///
/// Files are counted at their length; a link to a file counts as the file, a link to a directory
/// not at all.
///
/// # Errors
/// [`DiskError`], naming the file or directory.
pub fn weigh(path: &Path) -> Result<Size, DiskError> {
    let mut files = Vec::new();
    let mut folders = vec![path.to_path_buf()];
    if kind(path)?.is_file() {
        files.push(folders.remove(0));
    }
    while let Some(folder) = folders.pop() {
        let failure = |cause| DiskError::Io { path: folder.clone(), cause };
        for entry in fs::read_dir(&folder).map_err(failure)? {
            let entry = entry.map_err(failure)?;
            if entry.file_type().map_err(failure)?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
            if files.len() + folders.len() > limits::FILES {
                return Err(DiskError::TooMany { path: path.into(), limit: limits::FILES });
            }
        }
    }
    total(&files)
}

fn total(files: &[PathBuf]) -> Result<Size, DiskError> {
    let (mut weights, mut all) = (0u64, 0u64);
    for file in files {
        let facts = kind(file)?;
        if !facts.is_file() {
            continue;
        }
        all = all.saturating_add(facts.len());
        let extension = file.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| WEIGHTS.contains(&extension)) {
            weights = weights.saturating_add(facts.len());
        }
    }
    let weights_bytes = (weights > 0).then_some(weights);
    Ok(Size { weights_bytes, directory_bytes: Some(all), ..Size::default() })
}

fn kind(path: &Path) -> Result<fs::Metadata, DiskError> {
    fs::metadata(path).map_err(|cause| DiskError::Io { path: path.into(), cause })
}
