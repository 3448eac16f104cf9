//! What belongs to a point beside its vectors: what it is called, its JSON, and which points a
//! condition means.
//!
//! **Invariant:** knows no vector and opens no file; what a filter lets through depends on the
//! point alone, never on the time or on an index.

mod id;
pub mod limits;

pub use id::{IdError, PointId};
