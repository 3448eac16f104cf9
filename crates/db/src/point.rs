//! What a collection holds, and ways to mean some of it.

use std::sync::Arc;

use kvant_payload::{Filter, PointId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Vectors;

/// Vectors under an identifier, with whatever JSON belongs to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name; writing a point under a name in use replaces the one there.
    pub id: PointId,
    /// Any of the collection's vectors.
    pub vectors: Vectors,
    /// Up to 1 MiB as JSON, nested up to 64 deep.
    pub payload: Map<String, Value>,
    /// Seconds, by the time of the log, after which it is deleted; what the collection says where
    /// `None`.
    pub ttl: Option<u64>,
}

/// A point as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its name.
    pub id: PointId,
    /// The number of the change that wrote it.
    pub version: u64,
    /// All of its vectors in the form they are kept: of unit length where the metric is cosine.
    pub vectors: Vectors,
    /// Its JSON.
    pub payload: Arc<Map<String, Value>>,
}

/// Some points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selector {
    /// Those of these names.
    Ids(Vec<PointId>),
    /// Those that pass when the change is applied.
    Filter(Filter),
}

/// Which of the points of a batch are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Only {
    /// All.
    #[default]
    All,
    /// Those that are not there yet.
    New,
    /// Those that are there.
    Old,
}
