//! What belongs to a point beside its vectors: what it is called, its JSON, and which points a
//! condition means.
//!
//! A payload is a JSON object. [`Path`] says where in it values lie, [`Filter`] which points are
//! meant (compiled once, asked of many), [`Edit`] how a payload changes, [`FieldSchema`] what kind
//! of values a field has; all four are read and written in the protocol's JSON. [`Datetime`] and
//! [`GeoPoint`] are what texts and objects of a payload may stand for. [`field`] indexes one field
//! over the rows of a segment, [`text`] cuts texts into words.
//!
//! **Invariant:** knows no vector and opens no file; what a filter lets through depends on the
//! point alone, never on the time or on an index.

mod datetime;
mod edit;
pub mod field;
mod filter;
mod geo;
mod id;
pub mod limits;
mod path;
mod schema;
mod shape;
pub mod text;

pub use datetime::{Datetime, DatetimeError};
pub use edit::{Edit, PayloadError, check_payload, decode, encode};
pub use filter::{
    Bounds, Compiled, Condition, ConditionError, Filter, Match, MatchList, MatchValue,
};
pub use filter::{MinShould, Range, Slice, Subject, Test, TextTest, Texts};
pub use geo::{EARTH_RADIUS, GeoBox, GeoCircle, GeoError, GeoPoint, GeoPolygon, Ring};
pub use id::{IdError, PointId};
pub use path::{Elements, MergeError, Path, PathError, Step, Values, elements, merge};
pub use schema::{FieldKind, FieldParams, FieldSchema, Language, Memory, Placement};
pub use schema::{Stemmer, Stopwords, TextParams, Tokenizer};
pub use shape::ShapeError;
