//! Rows as plain f32 vectors.

use std::ops::Range;

use kvant_kernels::{Kernels, Picked, kernels};
use kvant_storage::Bytes;

use super::by_numbers;
use super::half::finish;
use super::lift::{Lift, Lifted};
use crate::metric::{norm, scale_of};
use crate::{Account, Hit, Metric, ROWS_MAX, Row, Rows, Scorer, SearchOptions, batch};

/// Dense f32 rows, `len × dim`, row-major, borrowed or shared with their owner.
///
/// For [`Metric::Cosine`] the rows must be of unit length ([`Metric::prepare`]); a query need not.
///
/// Inner product is no metric: a row need not be its own nearest neighbour, and greedy walks over
/// a graph of largest products get lost among rows of small norm. Between rows (that is, while a
/// graph is built) [`Metric::Dot`] therefore measures in the space of Bachrach et al. (2014, §3.1):
/// each row `x` gains one coordinate `√(M² − |x|²)`, so that all have length `M` and the order of
/// inner products becomes that of angles. A query has a zero there: the search itself computes
/// plain products. We take for `M` the 95th percentile of the norms where the paper takes the
/// largest, and zero for longer rows, which thereby become the hubs that queries look for: with
/// log-normal norms (σ = 0.5) a default search over `hnsw8` finds 0.99 of the true neighbours,
/// against 0.81 with the largest and 0.87 with no coordinate at all. Of rows of one length this
/// makes plain inner products.
#[derive(Debug)]
pub struct FloatRows<'a> {
    data: Values<'a>,
    dim: usize,
    len: usize,
    metric: Metric,
    lift: Lift,
}

/// Who has the values.
#[derive(Clone, Debug)]
enum Values<'a> {
    Borrowed(&'a [f32]),
    /// Bytes that are whole values, see [`Bytes::as_f32`].
    Shared(Bytes),
}

impl<'a> FloatRows<'a> {
    /// A view of `data` as rows of `dim` values. Costs nothing.
    ///
    /// # Panics
    /// If `dim` is zero, does not divide the length of `data`, or there are more than
    /// [`ROWS_MAX`] rows.
    pub fn new(data: &'a [f32], dim: usize, metric: Metric) -> Self {
        assert!(dim > 0 && data.len().is_multiple_of(dim), "{} values, dim {dim}", data.len());
        let len = data.len() / dim;
        assert!(len <= ROWS_MAX, "{len} rows, at most {ROWS_MAX}");
        Self { data: Values::Borrowed(data), dim, len, metric, lift: Lift::default() }
    }

    /// The same over memory that is shared: rows that live as long as anything reads them. `None`
    /// unless `data` are whole rows, aligned as f32 are, and no more than [`ROWS_MAX`].
    pub fn shared(data: Bytes, dim: usize, metric: Metric) -> Option<Self> {
        let values = data.as_f32()?.len();
        let len = values.checked_div(dim)?;
        let fits = len * dim == values && len <= ROWS_MAX;
        let data = Values::Shared(data);
        fits.then(|| Self { data, dim, len, metric, lift: Lift::default() })
    }

    /// Values per row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The measure.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The `dim` values of `row`.
    pub fn vector(&self, row: Row) -> &[f32] {
        &self.data()[row.position() * self.dim..][..self.dim]
    }

    /// The same rows once more.
    pub(crate) fn view(&self) -> Self {
        let &Self { ref data, dim, len, metric, .. } = self;
        Self { data: data.clone(), dim, len, metric, lift: Lift::default() }
    }

    /// All values.
    pub(crate) fn data(&self) -> &[f32] {
        match &self.data {
            Values::Borrowed(data) => data,
            Values::Shared(bytes) => bytes.as_f32().unwrap_or_default(),
        }
    }

    fn with<'q>(
        &'q self,
        query: &'q [f32],
        scale: f32,
        lifted: Option<Lifted<'q>>,
    ) -> FloatScorer<'q> {
        let (data, dim, metric) = (self.data(), self.dim, self.metric);
        FloatScorer { kernels: kernels(), data, dim, query, metric, scale, lifted }
    }
}

impl Rows for FloatRows<'_> {
    type Query = [f32];
    type Scorer<'q>
        = FloatScorer<'q>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.len
    }

    fn scorer<'q>(&'q self, query: &'q [f32]) -> FloatScorer<'q> {
        assert_eq!(query.len(), self.dim, "query of another dimension");
        self.with(query, scale_of(self.metric, query), None)
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn vectors(&self) -> Option<FloatRows<'_>> {
        Some(self.view())
    }

    fn nearest_all(
        &self,
        queries: &[&[f32]],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Option<Vec<Vec<Hit>>> {
        if !batch::fits(self, queries, options) {
            return None;
        }
        let scorers: Vec<FloatScorer<'_>> =
            queries.iter().map(|query| self.scorer(query)).collect();
        let measure = |query: usize, row: u32| {
            let mut distance = [0.0];
            scorers[query].measure(&[row], &mut distance);
            f64::from(distance[0])
        };
        let best = batch::search(self, queries, (options, account), (self.metric, &measure));
        Some(batch::finish(best, |_, distance| distance as f32))
    }

    fn scorer_of(&self, row: Row) -> FloatScorer<'_> {
        let norms = || self.data().chunks_exact(self.dim).map(norm).collect();
        let lifted = (self.metric == Metric::Dot).then(|| Lifted::new(self.lift.of(norms), row));
        self.with(self.vector(row), 1.0, lifted)
    }
}

/// Distances of [`FloatRows`] to one query.
#[derive(Debug)]
pub struct FloatScorer<'a> {
    kernels: &'static Kernels,
    data: &'a [f32],
    dim: usize,
    query: &'a [f32],
    metric: Metric,
    /// One over the length of the query where the measure is the cosine.
    scale: f32,
    lifted: Option<Lifted<'a>>,
}

impl FloatScorer<'_> {
    fn measure(&self, numbers: &[u32], out: &mut [f32]) {
        let picked = Picked::new(self.data, self.dim, numbers);
        self.kernels.pick_f32(self.metric.sum(), picked, self.query, out);
        finish(self.metric, (self.scale, self.lifted), numbers, out);
    }
}

impl Scorer for FloatScorer<'_> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        by_numbers(rows, out, |numbers, out| self.measure(numbers, out));
    }

    fn ahead(&self, mut places: Range<u32>) {
        // The processor sees by itself where a run goes on.
        if let Some(row) = places.next() {
            kvant_kernels::fetch(&self.data[row as usize * self.dim..][..self.dim]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distances(rows: &FloatRows<'_>, query: &[f32]) -> Vec<f32> {
        let all: Vec<Row> = (0..rows.len() as u32).map(Row).collect();
        let mut out = vec![0.0; all.len()];
        rows.scorer(query).score(&all, &mut out);
        out
    }

    #[test]
    fn each_metric_measures_what_it_says() {
        let data = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
        let query = [2.0, 0.0];
        let near = |metric, expected: [f32; 3]| {
            let got = distances(&FloatRows::new(&data, 2, metric), &query);
            assert!(
                got.iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-6),
                "{metric} {got:?}"
            );
        };
        near(Metric::Cosine, [0.0, 1.0, 0.4]);
        near(Metric::Dot, [-2.0, 0.0, -1.2]);
        near(Metric::Euclid, [1.0, 5.0, 2.6]);
        near(Metric::Manhattan, [1.0, 3.0, 2.2]);
    }

    #[test]
    fn a_zero_query_is_at_one_from_everything() {
        let rows = FloatRows::new(&[1.0, 0.0, 0.0, 0.0], 2, Metric::Cosine);
        assert_eq!(distances(&rows, &[0.0, 0.0]), [1.0, 1.0]);
    }

    #[test]
    fn lifted_rows_are_their_own_nearest() {
        // Norms 0 to 39; M is that of row 38, and row 39 alone is longer.
        let data: Vec<f32> =
            (0..40u8).flat_map(|i| [0.6 * f32::from(i), -0.8 * f32::from(i)]).collect();
        let rows = FloatRows::new(&data, 2, Metric::Dot);
        let all: Vec<Row> = (0..39).map(Row).collect();
        for &row in &all {
            let mut out = [0.0; 39];
            rows.scorer_of(row).score(&all, &mut out);
            let own = out[row.position()];
            assert!((own + 38.0 * 38.0).abs() < 1e-3, "{row}: {own}");
            assert!(out.iter().all(|&d| d >= own - 1e-3), "{row}: {out:?}");
        }
        let mut out = [0.0];
        rows.scorer_of(Row(39)).score(&[Row(39)], &mut out);
        assert!((out[0] + 39.0 * 39.0).abs() < 1e-3, "a longer row is not lifted: {out:?}");
    }
}
