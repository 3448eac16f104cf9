//! The seam between shapes and codes: how rows are measured.

use std::ops::Range;

use crate::{Account, FloatRows, Hit, Order, Row, SearchOptions};

/// Rows that [`Scorer::scan`] measures at a time where a code has no better way.
const RUN: usize = 64;

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

    /// The order in which the rows lie, where it is not that of their numbers.
    fn order(&self) -> Option<&Order> {
        None
    }

    /// Whether [`Scorer::scan`] is faster than measuring the same rows one by one.
    fn is_scanned(&self) -> bool {
        false
    }

    /// The rows as they were given, where they are at hand.
    fn vectors(&self) -> Option<FloatRows<'_>> {
        None
    }

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

    /// [`refine`](Self::refine) of rows that were found among those of a filter, closest first; it
    /// may leave the last of them out. Says whether they are likely to hold the best `k` of all
    /// that are allowed: where they are not, a shape finds more.
    fn settle(&self, query: &Self::Query, hits: &mut Vec<Hit>, k: usize) -> bool {
        let _ = k;
        self.refine(query, hits);
        true
    }

    /// Whether a row that is measured may have to come from a disk first.
    fn is_on_disk(&self) -> bool {
        false
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

    /// Appends what lies at `places` and is no farther than `reach` (NaN is not) to `found`, places
    /// for rows, rising. The place of a row is its number, unless the rows lie in an order.
    ///
    /// # Panics
    /// If a place is past the last one.
    fn scan(&mut self, places: Range<u32>, reach: f32, found: &mut Vec<Hit>) {
        let mut out = [0.0; RUN];
        for from in places.clone().step_by(RUN) {
            let rows: Vec<Row> = (from..places.end.min(from + RUN as u32)).map(Row).collect();
            let out = &mut out[..rows.len()];
            self.score(&rows, out);
            keep(&rows, out, reach, found);
        }
    }

    /// Says that `places` will be scanned or measured soon.
    fn ahead(&self, places: Range<u32>) {
        let _ = places;
    }
}

/// Appends the rows no farther than `reach`; NaN is not said to be farther.
pub(crate) fn keep(rows: &[Row], distances: &[f32], reach: f32, found: &mut Vec<Hit>) {
    for (&row, &distance) in rows.iter().zip(distances) {
        if distance <= reach || distance.is_nan() || reach.is_nan() {
            found.push(Hit { row, distance });
        }
    }
}
