//! Why data cannot be read or a task has no figure.

use std::path::PathBuf;

use kvant_storage::ReadError;

use crate::metric::MetricError;

/// Why a data file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// A file whose extension says nothing this task can read.
    #[error("{path}: a {kind} task reads {expected} files", path = path.display())]
    Extension {
        /// The file.
        path: PathBuf,
        /// The task.
        kind: &'static str,
        /// Extensions it reads.
        expected: &'static str,
    },
    /// A line that is not what it should be.
    #[error("{path}:{line}: {what}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it and what was expected.
        what: String,
    },
    /// More than is allowed.
    #[error("{path}: more than {limit} {what}", path = path.display())]
    Limit {
        /// The file.
        path: PathBuf,
        /// The most there may be.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// A file with nothing to score.
    #[error("{path}: {what}", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// A second file for a task that has one.
    #[error("a {kind} task has one data file; leave out the test file")]
    Second {
        /// The task.
        kind: &'static str,
    },
}

/// Why vectors have no figure.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TaskError {
    /// Not one vector per text.
    #[error("expected {expected} vectors, got {got}")]
    Vectors {
        /// Texts of the task.
        expected: usize,
        /// Vectors given.
        got: usize,
    },
    /// A formula has no value.
    #[error("{metric} is undefined: {cause}")]
    Metric {
        /// The figure.
        metric: &'static str,
        /// Why.
        cause: MetricError,
    },
}
