//! One error per family of operations.

use crate::{ConditionError, IdError, PointId, SettingsError};
use kvant_storage::frame::{FrameError, SaveError};
use kvant_storage::{CreateError, LockError, ReadError};
use std::path::PathBuf;

/// Why a collection was not created or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Creating where something is.
    #[error(
        "{path}: already holds a collection or other files; open it, or choose a new directory",
        path = path.display()
    )]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// Opening where nothing is.
    #[error("{path}: no collection here; `kvant import` makes one", path = path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody else has it open, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The settings are out of range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file could not be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// A framed file is damaged or of another program.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A file contradicts itself or another one.
    #[error(
        "{path}: {what} (at byte {offset}); the file is damaged, restore it from a backup",
        path = path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },
}

impl From<CreateError> for OpenError {
    fn from(error: CreateError) -> Self {
        Self::Save(error.into())
    }
}

/// Why a batch was not written. Nothing of it is in the collection, unless it is
/// [`Log`](Self::Log): then it may turn out to be there, whole, when opened again.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A vector of another dimension.
    #[error("point {id}: vector of dimension {got}, the collection has {expected}")]
    Dim {
        /// The point.
        id: PointId,
        /// The collection's dimension.
        expected: usize,
        /// The vector's.
        got: usize,
    },
    /// NaN or infinite.
    #[error("point {id}: component {position} is {value}, every component must be finite")]
    NotFinite {
        /// The point.
        id: PointId,
        /// The component, from 0.
        position: usize,
        /// What it is.
        value: f32,
    },
    /// An identifier that is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A payload beyond its limits.
    #[error("point {id}: payload {problem}")]
    Payload {
        /// The point.
        id: PointId,
        /// Which limit, and how far beyond.
        problem: String,
    },
    /// A batch beyond its limits.
    #[error("batch of {got} {unit}, at most {max} are allowed; split it")]
    Batch {
        /// `points` or `bytes`.
        unit: &'static str,
        /// How many are allowed.
        max: usize,
        /// How many there were.
        got: usize,
    },
    /// The log could not be written or synced; the collection must be opened again.
    #[error(transparent)]
    Log(kvant_storage::WriteError),
    /// Sealing, or starting a new log, failed.
    #[error("cannot seal: {0}")]
    Seal(Box<OpenError>),
    /// An earlier write failed, so that no later one may follow it.
    #[error("{path}: closed for writing after an error; open it again", path = path.display())]
    Stopped {
        /// The directory.
        path: PathBuf,
    },
}

impl From<OpenError> for WriteError {
    fn from(error: OpenError) -> Self {
        Self::Seal(Box::new(error))
    }
}

/// Why a search or a read was not answered.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// A query of another dimension.
    #[error("query of dimension {got}, the collection has {expected}")]
    Dim {
        /// The collection's dimension.
        expected: usize,
        /// The query's.
        got: usize,
    },
    /// NaN or infinite.
    #[error("query component {position} is {value}, every component must be finite")]
    NotFinite {
        /// The component, from 0.
        position: usize,
        /// What it is.
        value: f32,
    },
    /// More results than allowed.
    #[error("{got} results asked for, at most {max} are allowed")]
    Limit {
        /// How many are allowed.
        max: usize,
        /// How many were asked for.
        got: usize,
    },
    /// The filter is beyond its limits.
    #[error(transparent)]
    Filter(#[from] ConditionError),
    /// A payload on disk is no longer what was written.
    #[error(
        "{path}: the payload of row {row} is damaged; restore the file from a backup",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u32,
    },
}
