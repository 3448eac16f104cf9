//! What a collection holds.

use crate::PointId;
use serde_json::{Map, Value};

/// A vector under an identifier, with whatever JSON belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name; writing a point under a name in use replaces the one there.
    pub id: PointId,
    /// As many finite components as the collection has dimensions. Where the metric is cosine the
    /// collection keeps it at unit length.
    pub vector: Vec<f32>,
    /// Up to 1 MiB as JSON, nested up to 64 deep.
    pub payload: Map<String, Value>,
}
