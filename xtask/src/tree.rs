//! The tracked text of the repository, read once.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// One tracked file. `text` is `None` for bytes that are not UTF-8.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) size_bytes: usize,
    pub(crate) text: Option<String>,
}

/// Every tracked file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// Reads the files git tracks or would track below `root`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let listing = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("git ls-files: install git")?;
        ensure!(listing.status.success(), "git ls-files failed in {}", root.display());
        let names = String::from_utf8(listing.stdout).context("a tracked name is not UTF-8")?;
        let mut files = Vec::new();
        for path in names.split('\0').filter(|name| !name.is_empty()) {
            // A file deleted but not yet staged is still listed.
            let Ok(bytes) = std::fs::read(root.join(path)) else { continue };
            let size_bytes = bytes.len();
            files.push(File {
                path: path.to_owned(),
                size_bytes,
                text: String::from_utf8(bytes).ok(),
            });
        }
        ensure!(!files.is_empty(), "no tracked files below {}", root.display());
        Ok(Self { files })
    }

    /// The Rust sources with their text.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(|file| file.path.ends_with(".rs"))
            .filter_map(|file| Some((file.path.as_str(), file.text.as_deref()?)))
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            size_bytes: text.len(),
            text: Some((*text).to_owned()),
        };
        Self { files: files.iter().map(file).collect() }
    }
}
