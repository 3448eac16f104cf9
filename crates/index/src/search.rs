//! What a search takes and gives.

use std::path::PathBuf;

use thiserror::Error;

use crate::{Bitmap, Budget, Row};

/// How hard a search tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// The shape's own choice: at least 0.95 of the true neighbours on data like text embeddings.
    #[default]
    Default,
    /// Candidates kept while walking a graph, where there is one; raised to `k` where lower. More
    /// is better and slower.
    Ef(usize),
    /// Lists looked into, where rows lie in lists.
    Probes(usize),
    /// Every allowed row is measured: the true answer.
    Exact,
}

/// Options of one search.
#[derive(Clone, Copy, Debug)]
pub struct SearchOptions<'a> {
    /// How many rows to return; fewer only where fewer are allowed, or a budget ended the search.
    pub k: usize,
    /// How hard to try.
    pub effort: Effort,
    /// The rows that may be returned; all where `None`.
    pub allowed: Option<&'a Bitmap>,
    /// When to end early; never by default.
    pub budget: Budget<'a>,
}

impl Default for SearchOptions<'_> {
    /// The ten nearest of all rows.
    fn default() -> Self {
        Self { k: 10, effort: Effort::Default, allowed: None, budget: Budget::default() }
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

/// How sure an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// The true nearest of the rows as they were given: every allowed row was measured in full, or
    /// proven to be farther.
    Exact,
    /// The best of what the effort allowed to look at, or of what a code can tell.
    Bounded,
    /// Ended by its [`Budget`]: the best found by then, perhaps fewer than were asked for.
    Truncated,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchResult {
    /// The rows, closest first.
    pub hits: Vec<Hit>,
    /// How sure that is.
    pub certainty: Certainty,
}

/// Why a search is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SearchError {
    /// No rows were asked for.
    #[error("k is 0: ask for at least one row")]
    Nothing,
    /// A query of another dimension.
    #[error("query of {got} dimensions, the index has {expected}")]
    Dimension {
        /// Of the index.
        expected: usize,
        /// Of the query.
        got: usize,
    },
    /// A value that is no finite number.
    #[error("value {at} of the query is not a finite number")]
    NotFinite {
        /// Which value.
        at: usize,
    },
    /// What the search read of a file is not what was written.
    #[error(
        "{path}: section {section:?}: the block at byte {offset} is damaged; restore the file from \
         a backup, or build the index again",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The section.
        section: &'static str,
        /// Where the block begins in the file.
        offset: u64,
    },
    /// A set over another number of rows.
    #[error("allowed set over {got} rows, the index has {expected}")]
    Allowed {
        /// Of the index.
        expected: usize,
        /// Of the set.
        got: usize,
    },
}
