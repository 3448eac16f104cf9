//! One error per operation, each naming the path and, where there is one, the remedy.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// What the operating system said, in words that tell the user what to do.
#[derive(Debug)]
pub struct Cause(io::Error);

impl Cause {
    /// The kind of the underlying error.
    pub fn kind(&self) -> io::ErrorKind {
        self.0.kind()
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.0.kind();
        let known = [
            (io::ErrorKind::StorageFull, "the disk is full; free some space and try again"),
            (io::ErrorKind::QuotaExceeded, "the disk quota is used up; free some space"),
            (
                io::ErrorKind::ReadOnlyFilesystem,
                "the file system is read-only; remount it for writing or use another directory",
            ),
            (
                io::ErrorKind::PermissionDenied,
                "permission denied; check the owner and mode of the file and its directory",
            ),
            (io::ErrorKind::NotADirectory, "a part of the path is a file, not a directory"),
            (io::ErrorKind::IsADirectory, "is a directory, expected a file"),
        ];
        if let Some((_, text)) = known.iter().find(|(k, _)| *k == kind) {
            return f.write_str(text);
        }
        let many = rustix::io::Errno::from_io_error(&self.0);
        if matches!(many, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)) {
            return f.write_str("too many open files; raise the limit (ulimit -n)");
        }
        write!(f, "{}", self.0)
    }
}

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such file.
    #[error("{path}: no such file", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The range asked for is not inside the file.
    #[error("{path}: bytes {start}..{end} asked of {len}", path = path.display())]
    Range {
        /// The file.
        path: PathBuf,
        /// First byte asked for.
        start: u64,
        /// Byte after the last asked for.
        end: u64,
        /// Bytes in the file.
        len: u64,
    },
    /// The operating system refused.
    #[error("{path}: cannot read: {cause}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        cause: Cause,
    },
}

/// Why a file was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The name is taken: somebody else published first.
    #[error("{path}: already exists", path = path.display())]
    AlreadyExists {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused. The file is absent, or whole but perhaps not yet durable.
    #[error("{path}: cannot create: {cause}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: Cause,
    },
}

/// Why bytes were not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The operating system refused; what was appended since the last sync is in doubt.
    #[error("{path}: cannot write: {cause}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: Cause,
    },
    /// An earlier write or sync failed, so the end of the file is unknown.
    #[error("{path}: closed after an earlier write error; open it again", path = path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
}

/// Why a file was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The operating system refused.
    #[error("{path}: cannot remove: {cause}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: Cause,
    },
}

/// Why a directory was not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it open.
    #[error(
        "{path}: already open in {holder}; close it there first (one process at a time)",
        path = path.display()
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// Who, as far as known: `process 123` or `another process`.
        holder: String,
    },
    /// The operating system refused.
    #[error("{path}: cannot lock: {cause}", path = path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        cause: Cause,
    },
}
