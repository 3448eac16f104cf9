//! What a search takes and gives.

use crate::{Filter, PointId};
use kvant_index::Effort;
use serde::Serialize;
use serde_json::{Map, Value};

/// One search.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// As many finite components as the collection has dimensions; need not be of unit length.
    pub vector: Vec<f32>,
    /// How many points to return, at most 10 000; fewer come only where fewer pass the filter.
    pub k: usize,
    /// Which points may be returned.
    pub filter: Filter,
    /// How hard to try.
    pub effort: Effort,
}

/// One point found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// Its name.
    pub id: PointId,
    /// As people read it: cosine similarity and inner product (higher is closer), Euclidean and
    /// Manhattan distance (lower is closer).
    pub score: f32,
    /// What was written with it.
    pub payload: Map<String, Value>,
}
