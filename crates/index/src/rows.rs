//! The seam between shapes and codes: how rows are measured.

use crate::Row;

/// Vectors in some code. A shape never sees them, only distances to them.
pub trait Rows: Sync {
    /// What a query is: `[f32]` for dense codes.
    type Query: ?Sized;
    /// Measures distances to one prepared query.
    type Scorer<'a>: Scorer
    where
        Self: 'a;

    /// Number of rows; valid rows are `0..len`.
    fn len(&self) -> usize;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Prepares `query` once; the scorer then measures any number of rows against it.
    fn scorer<'a>(&'a self, query: &'a Self::Query) -> Self::Scorer<'a>;

    /// A scorer whose query is `row` itself, for building graphs.
    ///
    /// Its distances are symmetric and behave as those of a metric space; they may differ from
    /// those of [`scorer`](Self::scorer) where the measure itself does not (inner product).
    fn scorer_of(&self, row: Row) -> Self::Scorer<'_>;
}

/// Distances to one query, many rows a call: lower is closer.
pub trait Scorer {
    /// Writes the distance of `rows[i]` to `out[i]`.
    ///
    /// # Panics
    /// If the lengths differ or a row is not below `len`.
    fn score(&mut self, rows: &[Row], out: &mut [f32]);
}
