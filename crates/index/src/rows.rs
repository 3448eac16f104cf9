//! The seam between shapes and codes: how rows are measured.

use crate::{Account, Hit, Row, SearchOptions};

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

    /// How many rows a shape should find for [`refine`](Self::refine) to choose the best `k` of;
    /// `k` where distances are final.
    fn candidates(&self, k: usize) -> usize {
        k
    }

    /// Measures what was found once more by something better, and puts it in order. A shape keeps
    /// the first `k` of it.
    fn refine(&self, query: &Self::Query, hits: &mut Vec<Hit>) {
        let _ = (query, hits);
    }

    /// Whether distances are those of the rows as they were given, up to the rounding of a sum in
    /// f32 (after [`refine`](Self::refine) too, where every row is a candidate).
    fn is_exact(&self) -> bool {
        false
    }

    /// The true nearest allowed rows, where the code can prove it without measuring each of them
    /// as closely; `None` where it cannot. `account` is asked before rows are measured.
    fn nearest(
        &self,
        query: &Self::Query,
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Option<Vec<Hit>> {
        let _ = (query, options, account);
        None
    }

    /// What a scan of every row gives for each query, where many at once are faster than one by
    /// one; `None` where they are not. `account` stands for all of them.
    fn nearest_all(
        &self,
        queries: &[&Self::Query],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Option<Vec<Vec<Hit>>> {
        let _ = (queries, options, account);
        None
    }
}

/// Distances to one query, many rows a call: lower is closer.
pub trait Scorer {
    /// Writes the distance of `rows[i]` to `out[i]`.
    ///
    /// # Panics
    /// If the lengths differ or a row is not below `len`.
    fn score(&mut self, rows: &[Row], out: &mut [f32]);
}
