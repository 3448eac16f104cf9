//! One error per family of operations.

use std::path::PathBuf;

use kvant_index::StoredError;
use kvant_payload::{IdError, PayloadError, PointId, ShapeError};
use kvant_storage::frame::{FrameError, SaveError};
use kvant_storage::{CreateError, LockError, ReadError};

use crate::config::ConfigError;
use crate::limits::NAME_SIZE_MAX;
use crate::vector::VectorError;

/// That a file no longer holds what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path}: section {section:?}: damaged at byte {offset}; restore the file from a backup",
    path = path.display()
)]
pub struct DamageError {
    /// The file.
    pub path: PathBuf,
    /// The section of it.
    pub section: &'static str,
    /// Where in the file.
    pub offset: u64,
}

/// Why a data directory or a collection was not created or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Creating where something is.
    #[error("{path}: holds other files; choose an empty or a new directory", path = path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The layout of a release before the first that keeps its promise of compatibility.
    #[error(
        "{path}: a collection of an earlier release; import its points into a new directory",
        path = path.display()
    )]
    Earlier {
        /// The directory.
        path: PathBuf,
    },
    /// Opening where nothing is.
    #[error("{path}: no data directory here; `kvant import` makes one", path = path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody else has it open, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The make-up of a collection is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file could not be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// A framed file is damaged or of another program.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// An index is damaged or of another program.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// A block is damaged.
    #[error(transparent)]
    Damage(#[from] DamageError),
    /// The index of a vector cannot be built.
    #[error("index of {name:?}: {problem}")]
    Index {
        /// The vector or the field.
        name: String,
        /// What is wrong.
        problem: String,
    },
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

/// Why the log takes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// One change is too large.
    #[error("a change of {got} bytes, at most {max} are allowed; split it")]
    Size {
        /// Its bytes.
        got: usize,
        /// Those allowed.
        max: usize,
    },
    /// Writing failed, so that what the disk holds is in doubt until it is read again.
    #[error("{cause}; nothing is written until the data directory is opened again")]
    Failed {
        /// Why.
        cause: String,
    },
}

impl From<&OpenError> for LogError {
    fn from(error: &OpenError) -> Self {
        Self::Failed { cause: error.to_string() }
    }
}

/// Why a collection was not made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A name that is none.
    #[error(
        "{name:?} is no name of a collection: 1 to {NAME_SIZE_MAX} bytes without control \
         characters and / \\ < > : \" | ? *"
    )]
    Name {
        /// How it starts.
        name: String,
    },
    /// A name in use.
    #[error("collection {name:?} already exists")]
    Exists {
        /// The name.
        name: String,
    },
    /// A name not in use.
    #[error("no collection {name:?}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// There are too many.
    #[error("there are {max} collections, the most a data directory can have")]
    TooMany {
        /// Most there can be.
        max: usize,
    },
    /// Somebody else changed the catalog.
    #[error("the catalog was changed meanwhile; try again")]
    Raced,
    /// The make-up is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It cannot be opened or written.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Why a change was not made. Nothing of it is in the collection, unless it is
/// [`Log`](Self::Log): then it may turn out to be there, whole, when opened again.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Vectors that do not fit.
    #[error("point {id}: {cause}")]
    Point {
        /// The point.
        id: PointId,
        /// What does not fit.
        cause: ConfigError,
    },
    /// What a collection is to be made of is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An identifier that is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A payload beyond its limits.
    #[error("{}{cause}", id.as_ref().map(|id| format!("point {id}: ")).unwrap_or_default())]
    Payload {
        /// The point, where there is one.
        id: Option<PointId>,
        /// Which limit, and how far beyond.
        cause: PayloadError,
    },
    /// A filter beyond its limits.
    #[error(transparent)]
    Filter(#[from] ShapeError),
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
    /// The log takes nothing.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Sealing or merging failed.
    #[error("cannot seal: {0}")]
    Seal(Box<OpenError>),
    /// A file that a change needs is damaged.
    #[error("{cause}; the collection is closed for writing until it is opened again")]
    Stopped {
        /// What is damaged.
        cause: String,
    },
}

impl WriteError {
    pub(crate) fn of(id: &PointId, cause: ConfigError) -> Self {
        Self::Point { id: id.clone(), cause }
    }
}

impl From<OpenError> for WriteError {
    fn from(error: OpenError) -> Self {
        Self::Seal(Box::new(error))
    }
}

/// Why a search or a read was not answered.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// A query of another kind or dimension, or by a vector there is none of.
    #[error("query: {0}")]
    Config(#[from] ConfigError),
    /// A query that is no vector.
    #[error("query: {0}")]
    Vector(VectorError),
    /// More results than allowed.
    #[error("{got} results asked for, at most {max} are allowed")]
    Limit {
        /// How many are allowed.
        max: usize,
        /// How many were asked for.
        got: usize,
    },
    /// A filter beyond its limits.
    #[error("query: {0}")]
    Filter(#[from] ShapeError),
    /// A query that lacks something.
    #[error("query: needs {0}")]
    Question(&'static str),
    /// A point, or a vector of one, that is not there.
    #[error("query: no point {id} with a vector {using:?}")]
    Unknown {
        /// The point.
        id: PointId,
        /// The vector.
        using: String,
    },
    /// A formula that gives no number.
    #[error("query: the formula gives {got} for a point; use by_zero_default or other bounds")]
    Formula {
        /// What it gives.
        got: f64,
    },
    /// A file no longer holds what was written.
    #[error(transparent)]
    Damage(#[from] DamageError),
}
