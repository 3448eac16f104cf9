//! A file of the given bytes for parsers that take a path; one folder per thread.

use std::path::{Path, PathBuf};

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder");
}

/// Calls `read` with a file called `name` that holds `data`.
pub(crate) fn with_file(name: &str, data: &[u8], read: impl FnOnce(&Path)) {
    let path: PathBuf = FOLDER.with(|folder| folder.path().join(name));
    std::fs::write(&path, data).expect("room for a temporary file");
    read(&path);
}

/// Calls `read` with a fresh folder that holds `files`.
pub(crate) fn with_folder(files: &[(&str, &[u8])], read: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, data) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder");
        std::fs::write(path, data).expect("room for a temporary file");
    }
    read(folder.path());
}
