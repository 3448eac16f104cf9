//! Collections of points: durable writes, immutable segments, filtered search.
//!
//! A [`Database`] is a directory of [`Collection`]s. A change goes to the log they share and is on
//! the disk when the call returns; points are searched in memory until enough have gathered to be
//! sealed into immutable checksummed files with an index over each of their vectors. A collection's
//! state is a value: who reads holds the one there was, who writes makes the next. The numbered
//! manifest that lists the segments is the one atomic commit point of files, and says up to which
//! record of the log they go. `docs/format.md` describes every byte.
//!
//! **Invariant:** this crate computes no distance but of sparse vectors in memory (`index` does)
//! and opens no path of its own (`storage` does, but for [`source`], which streams foreign files);
//! nothing it wrote is changed, and what it holds is a function of manifests and log alone.

mod catalog;
mod change;
mod codec;
mod collection;
mod config;
mod database;
mod error;
mod info;
mod journal;
pub mod limits;
mod manifest;
mod plan;
mod point;
mod query;
mod segment;
pub mod source;
mod state;
mod subject;
mod vector;

pub use catalog::{Catalog, Listing};
pub use change::{Alteration, Change, Edit};
pub use collection::Collection;
pub use config::{
    Arity, Code, Config, ConfigError, Dense, Graph, Optimizer, SparseField, Storage, Weighting,
};
pub use database::{Clock, Database, Optimizing, Tuning};
pub use error::{CatalogError, DamageError, LogError, OpenError, SearchError, WriteError};
pub use info::{Info, SegmentInfo};
pub use journal::{Journal, Stamp};
pub use kvant_index::{Effort, Metric, Sparse};
pub use kvant_payload::{
    Condition, ConditionError, FieldSchema, Filter, IdError, Path, PayloadError, PointId,
    ShapeError,
};
pub use point::{Found, Only, Point, Selector};
pub use query::{
    Decay, Direction, Diversity, Expression, Facet, FacetValue, Group, Groups, Input, Lookup,
    Matrix, MatrixRow, OrderBy, Payloads, Query, Scored, Search, Start, Strategy, Variable, Wish,
    With,
};
pub use state::Outcome;
pub use vector::{Multi, Vector, VectorError, Vectors};
