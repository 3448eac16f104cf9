//! The new directory while it is being finished.

use std::fs;
use std::path::{Path, PathBuf};

use kvant_model::SaveError;

/// A hidden directory beside `out` that becomes `out` when published, and is removed otherwise.
pub(crate) struct Place {
    out: PathBuf,
    hidden: PathBuf,
}

impl Place {
    /// A place for `out`, which must not exist.
    pub(crate) fn new(out: &Path) -> Result<Self, SaveError> {
        refuse_taken(out)?;
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        let hidden = out.with_file_name(format!(".compress-{}-{name}", std::process::id()));
        match fs::remove_dir_all(&hidden) {
            Err(error) if hidden.exists() => {
                Err(SaveError::Io { path: hidden, cause: error.into() })
            }
            // Nothing was there, or what a killed process of the same id left behind.
            Ok(()) | Err(_) => Ok(Self { out: out.to_owned(), hidden }),
        }
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.hidden
    }

    /// Gives the directory its name.
    pub(crate) fn publish(self) -> Result<(), SaveError> {
        refuse_taken(&self.out)?;
        let io =
            |cause: std::io::Error| SaveError::Io { path: self.out.clone(), cause: cause.into() };
        fs::rename(&self.hidden, &self.out).map_err(io)?;
        let parent = self.out.parent().filter(|parent| !parent.as_os_str().is_empty());
        Ok(kvant_storage::sync_folder(parent.unwrap_or(Path::new(".")))?)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Gone if it was published. If it cannot be removed, the error that brought us here
        // matters more.
        let _ = fs::remove_dir_all(&self.hidden);
    }
}

fn refuse_taken(out: &Path) -> Result<(), SaveError> {
    match out.symlink_metadata() {
        Ok(_) => Err(SaveError::Exists { path: out.to_owned() }),
        Err(_) => Ok(()),
    }
}
