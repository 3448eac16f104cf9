//! What belongs to a point beside its vectors: what it is called, its JSON, and which points a
//! condition means.
//!
//! [`field`] indexes one field over the rows of a segment, [`text`] cuts texts into words.
//!
//! **Invariant:** knows no vector and opens no file; what a filter lets through depends on the
//! point alone, never on the time or on an index.

mod datetime;
pub mod field;
mod geo;
mod id;
pub mod limits;
mod path;
mod schema;
mod shape;
pub mod text;

pub use datetime::{Datetime, DatetimeError};
pub use geo::{EARTH_RADIUS, GeoBox, GeoCircle, GeoError, GeoPoint, GeoPolygon, Ring};
pub use id::{IdError, PointId};
pub use path::{Elements, MergeError, Path, PathError, Step, Values, elements, merge};
pub use schema::{FieldKind, FieldParams, FieldSchema, Language, Memory, Placement};
pub use schema::{Stemmer, Stopwords, TextParams, Tokenizer};
pub use shape::ShapeError;
