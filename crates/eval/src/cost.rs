//! What a model costs: time, bytes on disk, bytes in memory, arithmetic.

mod disk;
mod machine;
mod memory;
mod tensor;
mod time;

pub use disk::weigh;
pub use machine::{machine, utc};
pub use memory::{MemoryError, Meter, held_bytes, in_child};
pub use tensor::tensor_errors;
pub(crate) use time::{Plan, latencies, throughputs};

use std::path::PathBuf;

use kvant_storage::ReadError;

/// Why a model's files could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A file or directory cannot be read.
    #[error("{path}: cannot read: {cause}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// More files than a model has.
    #[error("{path}: more than {limit} files; is this a model's directory?", path = path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
        /// The most there may be.
        limit: usize,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// The record of a compression is not what it should be.
    #[error("{path}: not a record of a compression: {what}", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

#[cfg(test)]
mod tests;
