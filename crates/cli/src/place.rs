//! Where results are written: refused before the work, not after it.

use std::path::Path;

use anyhow::{Context, bail};

/// Holds `path` to be a place for a new file: nothing there, its directory writable.
///
/// # Errors
/// Naming the path and what to do.
pub(crate) fn new_file(path: &Path) -> anyhow::Result<()> {
    if path.symlink_metadata().is_ok() {
        bail!("{}: already exists; remove it or choose another name", path.display());
    }
    writable_folder(path)
}

/// Holds the directory of `path` to be there and writable.
///
/// # Errors
/// Naming the directory and what to do.
pub(crate) fn writable_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !folder.is_dir() {
        bail!("{}: no such directory; create it first", folder.display());
    }
    tempfile::tempfile_in(folder)
        .map(drop)
        .with_context(|| format!("{}: cannot write here", folder.display()))
}
