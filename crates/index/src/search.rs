//! What a search takes and gives.

use crate::{Bitmap, Row};

/// How hard a search tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// The shape's own choice: at least 0.95 of the true neighbours on data like text embeddings.
    #[default]
    Default,
    /// Candidates kept while walking a graph; raised to `k` where lower. More is better and slower.
    Ef(usize),
    /// Every allowed row is measured: the true answer.
    Exact,
}

/// Options of one search.
#[derive(Clone, Copy, Debug)]
pub struct SearchOptions<'a> {
    /// How many rows to return; fewer only where fewer are allowed.
    pub k: usize,
    /// How hard to try.
    pub effort: Effort,
    /// The rows that may be returned; all where `None`.
    pub allowed: Option<&'a Bitmap>,
}

impl Default for SearchOptions<'_> {
    /// The ten nearest of all rows.
    fn default() -> Self {
        Self { k: 10, effort: Effort::Default, allowed: None }
    }
}

/// One row found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The row.
    pub row: Row,
    /// Its distance to the query: lower is closer.
    pub distance: f32,
}
