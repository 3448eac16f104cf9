//! Rows of several vectors each, compared by their best pairs.

use std::sync::Arc;

use crate::{Row, Rows, Scorer};

/// Rows that are several vectors each, as late-interaction models make of a text (`ColBERT`:
/// Khattab & Zaharia, 2020, §3.2). The vectors are rows of any dense code.
///
/// A query is several vectors too. The distance of a row is `Σ_q min_t d(q, t)` over the vectors
/// `q` of the query and `t` of the row: for [`Metric::Dot`](crate::Metric::Dot) that is minus
/// `MaxSim`. Between rows it is the mean of `min_t d(q, t)` over `q` plus the mean of
/// `min_q d(q, t)` over `t`, which is the same both ways, as building a graph wants it. A row
/// without vectors is infinitely far from every other.
///
/// A distance costs the vectors of the query times those of the row, in distances of the code.
#[derive(Debug)]
pub struct MultiRows<R> {
    vectors: R,
    /// `starts[row]..starts[row + 1]` are the vectors of a row.
    starts: Arc<[u32]>,
}

impl MultiRows<()> {
    /// Where rows of so many vectors begin, and the last one ends; `None` past 2^32.
    pub(crate) fn starts(counts: &[u32]) -> Option<Vec<u32>> {
        let mut starts = Vec::with_capacity(counts.len() + 1);
        let mut end = 0u32;
        starts.push(end);
        for &count in counts {
            end = end.checked_add(count)?;
            starts.push(end);
        }
        Some(starts)
    }
}

impl<R: Rows<Query = [f32]>> MultiRows<R> {
    /// Rows of `counts` vectors each, one after the other in `vectors`. `None` if these are more or
    /// fewer than all of them together.
    pub fn new(vectors: R, counts: &[u32]) -> Option<Self> {
        let starts = MultiRows::starts(counts)?;
        let whole = starts.last().map(|&end| end as usize) == Some(vectors.len());
        whole.then(|| Self::over(vectors, starts.into()))
    }

    /// Rows that begin at `starts`, the last of which is the number of vectors.
    pub(crate) fn over(vectors: R, starts: Arc<[u32]>) -> Self {
        Self { vectors, starts }
    }

    /// The vectors.
    pub fn vectors(&self) -> &R {
        &self.vectors
    }

    fn of(&self, row: Row) -> impl Iterator<Item = Row> + Clone + use<R> {
        let at = row.position();
        (self.starts[at]..self.starts[at + 1]).map(Row)
    }
}

impl<R: Rows<Query = [f32]>> Rows for MultiRows<R> {
    type Query = [Vec<f32>];
    type Scorer<'q>
        = MultiScorer<'q, R>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn scorer<'q>(&'q self, query: &'q [Vec<f32>]) -> MultiScorer<'q, R> {
        let scorers = query.iter().map(|vector| self.vectors.scorer(vector)).collect();
        MultiScorer::new(self, scorers, Pairs::Query)
    }

    fn scorer_of(&self, row: Row) -> MultiScorer<'_, R> {
        let scorers = self.of(row).map(|vector| self.vectors.scorer_of(vector)).collect();
        MultiScorer::new(self, scorers, Pairs::Both)
    }

    fn is_exact(&self) -> bool {
        self.vectors.is_exact()
    }
}

/// Which vectors look for their nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pairs {
    /// Those of the query, and their distances are added.
    Query,
    /// Those of both sides, and their means are added.
    Both,
}

/// Distances of [`MultiRows`] to one query.
pub struct MultiScorer<'q, R: Rows + 'q> {
    rows: &'q MultiRows<R>,
    scorers: Vec<R::Scorer<'q>>,
    pairs: Pairs,
    /// The vectors of a row, how far each is from one of the query, and from the nearest.
    vectors: Vec<Row>,
    distances: Vec<f32>,
    nearest: Vec<f32>,
}

impl<'q, R: Rows<Query = [f32]>> MultiScorer<'q, R> {
    fn new(rows: &'q MultiRows<R>, scorers: Vec<R::Scorer<'q>>, pairs: Pairs) -> Self {
        let (vectors, distances, nearest) = (Vec::new(), Vec::new(), Vec::new());
        Self { rows, scorers, pairs, vectors, distances, nearest }
    }

    fn measure(&mut self, row: Row) -> f32 {
        self.vectors.clear();
        self.vectors.extend(self.rows.of(row));
        if self.vectors.is_empty() || self.scorers.is_empty() {
            return f32::INFINITY;
        }
        self.distances.resize(self.vectors.len(), 0.0);
        self.nearest.clear();
        self.nearest.resize(self.vectors.len(), f32::INFINITY);
        let mut sum = 0.0;
        for scorer in &mut self.scorers {
            scorer.score(&self.vectors, &mut self.distances);
            sum += self.distances.iter().copied().fold(f32::INFINITY, f32::min);
            if self.pairs == Pairs::Both {
                for (nearest, distance) in self.nearest.iter_mut().zip(&self.distances) {
                    *nearest = nearest.min(*distance);
                }
            }
        }
        match self.pairs {
            Pairs::Query => sum,
            Pairs::Both => {
                let back = self.nearest.iter().sum::<f32>();
                sum / self.scorers.len() as f32 + back / self.vectors.len() as f32
            }
        }
    }
}

impl<R: Rows<Query = [f32]>> Scorer for MultiScorer<'_, R> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        assert_eq!(rows.len(), out.len(), "a distance for each row");
        for (&row, out) in rows.iter().zip(out) {
            *out = self.measure(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use kvant_testkit::{Random, clustered};

    use super::*;
    use crate::{BuildOptions, Effort, Flat, FloatRows, Hnsw, Metric, SearchOptions};

    const DIM: usize = 8;

    /// Rows of none to five vectors near one another.
    fn some(random: &mut Random, rows: usize) -> (Vec<f32>, Vec<u32>) {
        let centers = clustered(rows, DIM, 3);
        let counts: Vec<u32> = (0..rows).map(|row| (row % 6) as u32).collect();
        let near = |x: &f32, random: &mut Random| x + 0.1 * random.normal();
        let mut data = Vec::new();
        for (center, &count) in centers.chunks_exact(DIM).zip(&counts) {
            for _ in 0..count {
                data.extend(center.iter().map(|x| near(x, random)));
            }
        }
        (data, counts)
    }

    #[test]
    fn distances_are_those_of_the_best_pairs() {
        let (data, counts) = some(&mut Random::new(1), 60);
        let rows = MultiRows::new(FloatRows::new(&data, DIM, Metric::Dot), &counts).unwrap();
        let query =
            vec![vec![0.5; DIM], vec![-0.25; DIM], vec![0.0, 1.0, 0.0, 0.0, 0.0, 0., 0., 0.]];
        let all: Vec<Row> = (0..60).map(Row).collect();
        let mut out = vec![0.0; 60];
        rows.scorer(&query).score(&all, &mut out);
        let mut vectors = data.chunks_exact(DIM);
        for (row, got) in out.iter().enumerate() {
            let own: Vec<&[f32]> = vectors.by_ref().take(counts[row] as usize).collect();
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let best = |q: &Vec<f32>| own.iter().map(|t| dot(q, t)).fold(f32::MIN, f32::max);
            let maxsim: f32 = query.iter().map(best).sum();
            let expected = if own.is_empty() { f32::INFINITY } else { -maxsim };
            assert!(*got == expected || (got - expected).abs() < 1e-4, "{row}: {got}, {expected}");
        }
        let between = |a, b| {
            let mut out = [0.0];
            rows.scorer_of(Row(a)).score(&[Row(b)], &mut out);
            out[0]
        };
        for (a, b) in (1..50).zip(7..57).filter(|(a, b)| a % 6 > 0 && b % 6 > 0) {
            assert!((between(a, b) - between(b, a)).abs() < 1e-3, "{a} and {b}");
        }
    }

    #[test]
    fn graphs_over_them_find_what_a_scan_finds() {
        let (data, counts) = some(&mut Random::new(2), 3000);
        let rows = MultiRows::new(FloatRows::new(&data, DIM, Metric::Euclid), &counts).unwrap();
        let hnsw = Hnsw::build(&rows, 16, &BuildOptions::default());
        let (mut hits, queries) = (0, 40);
        for at in 0..queries {
            let query: Vec<Vec<f32>> =
                data.chunks_exact(DIM).skip(at * 100).take(3).map(<[f32]>::to_vec).collect();
            let options = SearchOptions { effort: Effort::Ef(80), ..SearchOptions::default() };
            let truth = Flat::new(rows.len()).search(&rows, &query, &options);
            let found = hnsw.search(&rows, &query, &options);
            hits += found.iter().filter(|hit| truth.contains(hit)).count();
        }
        let recall = hits as f64 / (10 * queries) as f64;
        assert!(recall >= 0.95, "{recall}");
    }

    #[test]
    fn counts_must_be_those_of_the_vectors() {
        let rows = |counts: &[u32]| {
            MultiRows::new(FloatRows::new(&[0.0; 24], DIM, Metric::Dot), counts).map(|r| r.len())
        };
        assert_eq!((rows(&[1, 2]), rows(&[0, 3, 0])), (Some(2), Some(3)));
        assert_eq!((rows(&[1, 1]), rows(&[4]), rows(&[u32::MAX, 4])), (None, None, None));
    }
}
