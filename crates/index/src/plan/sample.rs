//! Rows to try indexes on, and queries that are held out of them.

use crate::seed::Draw;
use crate::spread::spread;
use crate::{
    AnyShape, BuildOptions, CodeError, Effort, Flat, FloatRows, Hit, Index, IndexSpec, Metric, Row,
    Rows, Scorer, SearchOptions, Spec,
};

/// Queries held out at most, and one of so many rows.
const QUERIES: usize = 1000;
const ONE_OF: usize = 20;
/// Values of all rows of a sample at most: 256 MB.
const VALUES: usize = 1 << 26;
/// Of a distance: what rounding may make of equal ones.
const EQUAL: f32 = 1e-6;

/// Rows of the base, queries taken out of it, and how far the k-th neighbour of each is.
#[derive(Debug)]
pub(super) struct Sample {
    data: Vec<f32>,
    queries: Vec<f32>,
    dim: usize,
    metric: Metric,
    k: usize,
    /// For each query.
    reach: Vec<f32>,
}

/// A share of neighbours found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    pub(super) recall: f64,
    /// One standard error of it, over the queries.
    pub(super) error: f64,
}

impl Sample {
    /// At most `most` of `rows`, chosen by the seed, without the queries.
    pub(super) fn draw(
        rows: &FloatRows<'_>,
        (most, k): (usize, usize),
        build: &BuildOptions<'_>,
    ) -> Result<Self, CodeError> {
        let (dim, metric, n) = (rows.dim(), rows.metric(), rows.len());
        let mut draw = Draw::new(build.seed);
        let held = draw.some(QUERIES.min(n.div_ceil(ONE_OF)), n);
        let most = most.min(VALUES / dim).max(1).min(n - held.len());
        let mut is_held = held.iter().peekable();
        let kept = (0..n as u32).filter(|row| is_held.next_if_eq(&row).is_none());
        let kept: Vec<u32> = kept.collect();
        let kept = draw.some(most, kept.len()).into_iter().map(|at| kept[at as usize]).collect();
        let take = |rows_of: Vec<u32>| -> Vec<f32> {
            rows_of.into_iter().flat_map(|row| rows.vector(Row(row))).copied().collect()
        };
        Self { data: take(kept), queries: take(held), dim, metric, k, reach: Vec::new() }
            .measured(build)
    }

    /// The same queries among the first of the rows.
    pub(super) fn part(&self, rows: usize, build: &BuildOptions<'_>) -> Result<Self, CodeError> {
        let data = self.data[..rows * self.dim].to_vec();
        let &Self { dim, metric, k, .. } = self;
        Self { data, queries: self.queries.clone(), dim, metric, k, reach: Vec::new() }
            .measured(build)
    }

    fn measured(mut self, build: &BuildOptions<'_>) -> Result<Self, CodeError> {
        self.k = self.k.min(self.len());
        let spec = IndexSpec { shape: Spec::Flat, ..IndexSpec::default() };
        let flat = Index::build(&spec, self.rows(), &BuildOptions { progress: None, ..*build })?;
        let options =
            SearchOptions { k: self.k, effort: Effort::Exact, ..SearchOptions::default() };
        let queries: Vec<&[f32]> = self.queries().collect();
        let found = flat.shape().search_batch(flat.rows(), &queries, &options, build.threads);
        let last = |(query, (hits, _)): (&&[f32], &(Vec<Hit>, bool))| {
            let far = self.distances(query, hits).into_iter().fold(f32::NEG_INFINITY, f32::max);
            far + far.abs() * EQUAL
        };
        let reach = queries.iter().zip(&found).map(last).collect();
        Ok(Self { reach, ..self })
    }

    pub(super) fn rows(&self) -> FloatRows<'_> {
        FloatRows::new(&self.data, self.dim, self.metric)
    }

    pub(super) fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    pub(super) fn k(&self) -> usize {
        self.k
    }

    pub(super) fn queries(&self) -> impl Iterator<Item = &[f32]> {
        self.queries.chunks_exact(self.dim)
    }

    pub(super) fn asked(&self) -> usize {
        self.reach.len()
    }

    fn distances(&self, query: &[f32], hits: &[Hit]) -> Vec<f32> {
        let found: Vec<Row> = hits.iter().map(|hit| hit.row).collect();
        let mut distances = vec![0.0; found.len()];
        self.rows().scorer(query).score(&found, &mut distances);
        distances
    }

    /// What `shape` finds over `rows`: a row counts that is no farther than the k-th neighbour.
    pub(super) fn share<R: Rows<Query = [f32]>>(
        &self,
        (shape, rows): (&AnyShape, &R),
        effort: Effort,
        threads: usize,
    ) -> Share {
        let queries: Vec<&[f32]> = self.queries().collect();
        let options = SearchOptions { k: self.k, effort, ..SearchOptions::default() };
        let states = &mut vec![(); threads.max(1)];
        let shares = spread(states, queries.len(), |(), at| {
            let hits = shape.search(rows, queries[at], &options);
            let distances = self.distances(queries[at], &hits);
            let right = distances.iter().filter(|&&distance| distance <= self.reach[at]).count();
            right as f64 / self.k.max(1) as f64
        });
        Share::of(&shares)
    }

    /// What a scan of every row finds: the most that `rows` can tell.
    pub(super) fn ceiling<R: Rows<Query = [f32]>>(&self, rows: &R, threads: usize) -> Share {
        let flat = AnyShape::Flat(Flat::new(rows.len()));
        self.share((&flat, rows), Effort::Default, threads)
    }
}

impl Share {
    fn of(shares: &[f64]) -> Self {
        let count = shares.len().max(1) as f64;
        let recall = shares.iter().sum::<f64>() / count;
        let spread = shares.iter().map(|share| (share - recall).powi(2)).sum::<f64>() / count;
        Self { recall, error: (spread / count).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use kvant_testkit::clustered;

    use super::*;

    #[test]
    fn queries_are_held_out_and_neighbours_are_true() {
        let data = clustered(2000, 8, 3);
        let rows = FloatRows::new(&data, 8, Metric::Euclid);
        let build = BuildOptions::default();
        let sample = Sample::draw(&rows, (usize::MAX, 10), &build).unwrap();
        assert_eq!((sample.len(), sample.asked()), (1900, 100));
        let has = |query: &[f32]| sample.data.chunks_exact(8).any(|row| row == query);
        assert!(!sample.queries().any(has), "no query is a row");
        let share = sample.ceiling(&sample.rows(), 2);
        assert_eq!(share, Share { recall: 1.0, error: 0.0 });
        let small = Sample::draw(&rows, (500, 10), &build).unwrap();
        assert_eq!((small.len(), small.asked()), (500, 100));
        let part = small.part(5, &build).unwrap();
        assert_eq!((part.len(), part.k()), (5, 5));
        assert_eq!(part.ceiling(&part.rows(), 1).recall, 1.0);
    }

    #[test]
    fn equal_rows_are_as_good_as_one_another() {
        let data = vec![1.0; 4 * 300];
        let rows = FloatRows::new(&data, 4, Metric::Euclid);
        let sample = Sample::draw(&rows, (usize::MAX, 10), &BuildOptions::default()).unwrap();
        assert_eq!(sample.ceiling(&sample.rows(), 1).recall, 1.0);
    }

    #[test]
    fn errors_are_those_of_a_mean() {
        let share = Share::of(&[1.0, 0.0, 1.0, 0.0]);
        assert_eq!(share, Share { recall: 0.5, error: 0.25 });
    }
}
