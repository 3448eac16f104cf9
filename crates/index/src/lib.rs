//! Shapes that say which rows to look at (`Flat`, HNSW), over codes that say what a row is.
//!
//! A code implements [`Rows`]; a shape asks it only for distances, so every shape works over every
//! code. [`AnyShape`] is the one place where shapes are told apart at run time. Inside, lower is
//! closer; [`Metric::score`] turns a distance round for people.
//!
//! **Invariant:** this crate opens no path, owns no vectors, spawns only the threads it is asked
//! for, and gives the same answer and the same bytes for the same rows, seed and options.

mod any;
mod bitmap;
mod build;
mod code;
mod file;
mod flat;
mod hnsw;
mod key;
mod limit;
mod metric;
mod row;
mod rows;
mod search;
mod spec;
mod top;

pub use any::AnyShape;
pub use bitmap::Bitmap;
pub use build::BuildOptions;
pub use code::float::{FloatRows, FloatScorer};
pub use file::FileError;
pub use flat::Flat;
pub use hnsw::Hnsw;
pub use limit::{LEVEL_MAX, M_MAX, M_MIN, ROWS_MAX};
pub use metric::{Metric, MetricError};
pub use row::Row;
pub use rows::{Rows, Scorer};
pub use search::{Effort, Hit, SearchOptions};
pub use spec::{Spec, SpecError};
pub use top::Top;
