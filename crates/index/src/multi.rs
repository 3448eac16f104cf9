//! Points of several vectors each, searched by several vectors (`MaxSim`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::{
    Account, AnyShape, Bitmap, BuildOptions, Certainty, CodeError, Effort, ExampleRows, Examples,
    FloatRows, Hit, Index, IndexSpec, Metric, MultiRows, Row, Rows, Scorer, SearchError,
    SearchOptions, SearchResult, Top, flat,
};

mod file;

pub use file::MultiStored;

/// Vectors found for each vector of a query, for a point wanted and at least.
const FOUND_PER_K: usize = 8;
const FOUND_LEAST: usize = 128;
/// Points measured in full, for a point wanted and at least.
const FULL_PER_K: usize = 8;
const FULL_LEAST: usize = 96;
/// Points measured in full at a time.
const RUN: usize = 16;

/// An index of points that are several vectors each, as late-interaction models make of a text
/// (`ColBERT`: Khattab & Zaharia, 2020): an [`Index`] over all vectors, and which are whose.
///
/// The distance of a point is `Σ_q min_t d(q, t)` over the vectors `q` of the query and `t` of the
/// point. A search finds the nearest vectors of each `q`. What they say of their points, and the
/// farthest of them of all others, bounds each distance from below (as in XTR: Lee et al., 2023,
/// §3.2); points are measured in full in the order of these bounds until none that is left can be
/// nearer, or enough were. A point without vectors is never found.
///
/// ```
/// use kvant_index::{BuildOptions, FloatRows, Metric, Multi, SearchOptions};
///
/// let data = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
/// let rows = FloatRows::new(&data, 2, Metric::Dot);
/// // Two points, of two vectors and of one.
/// let multi = Multi::build(&"flat".parse()?, rows, &[2, 1], &BuildOptions::default())?;
/// let query = [vec![1.0, 0.0], vec![0.0, 1.0]];
/// let found = multi.search(&query, &SearchOptions::default())?;
/// assert_eq!(found.hits[0].row.0, 0);
/// assert_eq!(multi.similarity(found.hits[0].distance, query.len()), 2.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Multi<'a, B = Vec<u8>> {
    index: Index<'a, B>,
    /// `starts[point]..starts[point + 1]` are the vectors of a point.
    starts: Arc<[u32]>,
}

impl<'a> Multi<'a> {
    /// Builds the index of `spec` over `rows`, of which `counts` are each point's, one after the
    /// other.
    ///
    /// # Errors
    /// If the code cannot hold them.
    ///
    /// # Panics
    /// If the counts are not those of all rows together.
    pub fn build(
        spec: &IndexSpec,
        rows: FloatRows<'a>,
        counts: &[u32],
        options: &BuildOptions<'_>,
    ) -> Result<Self, CodeError> {
        let starts = MultiRows::starts(counts);
        let end = starts.as_ref().and_then(|starts| starts.last()).map(|&end| end as usize);
        assert_eq!(end, Some(rows.len()), "every vector belongs to a point");
        let index = Index::build(spec, rows, options)?;
        Ok(Self { index, starts: starts.unwrap_or_default().into() })
    }
}

impl<B: AsRef<[u8]> + Sync> Multi<'_, B> {
    /// The index over all vectors.
    pub fn index(&self) -> &Index<'_, B> {
        &self.index
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are no points.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which rows of [`index`](Self::index) are the vectors of a point.
    ///
    /// # Panics
    /// If there is no such point.
    pub fn vectors(&self, point: Row) -> std::ops::Range<u32> {
        self.starts[point.position()]..self.starts[point.position() + 1]
    }

    /// What people expect to read for the distance of a point to `count` vectors: the sum of the
    /// similarities of the best pairs.
    pub fn similarity(&self, distance: f32, count: usize) -> f32 {
        self.index.metric().alike() * count as f32 - distance
    }

    /// The `k` allowed points closest to the vectors of `query`, closest first; fewer only where
    /// fewer have vectors, or a budget ends it. Hits name points.
    ///
    /// Flat indexes and [`Effort::Exact`] measure every allowed point in full, O(vectors of the
    /// query · vectors); [`Effort::Ef`] says how many vectors are found for each of the query. A
    /// budget holds for the search of each vector, and counts points where all are measured.
    ///
    /// # Errors
    /// If there is no vector, one of them or the options do not fit, or what was read of the file
    /// is damaged.
    pub fn search(
        &self,
        query: &[Vec<f32>],
        options: &SearchOptions<'_>,
    ) -> Result<SearchResult, SearchError> {
        self.check(query.iter(), options)?;
        let (account, met) = (Account::new(&options.budget), self.index.watch().met());
        let eligible = options.allowed.map_or(self.len(), Bitmap::count);
        let exact = options.effort == Effort::Exact;
        let every = exact || matches!(self.index.shape(), AnyShape::Flat(_));
        let few = eligible / 2 <= full(options.k);
        let found = if every || few { None } else { self.walk(query, options, &account) };
        let (hits, cut) = match found {
            Some((hits, cut)) => (hits, cut),
            None => (self.scan(query, options, &account), account.is_cut()),
        };
        self.index.watch().since(met)?;
        let whole = if every && self.index.is_exact(options.effort) {
            Certainty::Exact
        } else {
            Certainty::Bounded
        };
        Ok(SearchResult { hits, certainty: if cut { Certainty::Truncated } else { whole } })
    }

    /// The `k` allowed points of the best score by `examples`, each of several vectors; their
    /// distances are their scores with a minus. Every allowed point is measured.
    ///
    /// # Errors
    /// As [`search`](Self::search) says, of each example.
    pub fn search_examples(
        &self,
        examples: &Examples<Vec<Vec<f32>>>,
        options: &SearchOptions<'_>,
    ) -> Result<SearchResult, SearchError> {
        let vectors = examples.vectors();
        self.check(vectors.iter().flat_map(|example| example.iter()), options)?;
        if vectors.iter().any(|example| example.is_empty()) {
            return Err(SearchError::Dimension { expected: self.index.dim(), got: 0 });
        }
        let (account, met) = (Account::new(&options.budget), self.index.watch().met());
        let points = self.points(self.index.rows().best());
        let alike = match self.index.metric() {
            Metric::Cosine => |query: &[Vec<f32>]| query.len() as f32,
            Metric::Dot | Metric::Euclid | Metric::Manhattan => |_: &[Vec<f32>]| 0.0,
        };
        let rows = ExampleRows::new(&points, alike);
        let mut hits = flat::scan(&rows, examples, options, &account);
        hits.retain(|hit| !self.vectors(hit.row).is_empty());
        self.index.watch().since(met)?;
        let exact = self.index.is_exact(Effort::Exact);
        let whole = if exact { Certainty::Exact } else { Certainty::Bounded };
        let certainty = if account.is_cut() { Certainty::Truncated } else { whole };
        Ok(SearchResult { hits, certainty })
    }

    fn check<'q>(
        &self,
        vectors: impl Iterator<Item = &'q Vec<f32>>,
        options: &SearchOptions<'_>,
    ) -> Result<(), SearchError> {
        let (expected, got) = (self.len(), options.allowed.map_or(self.len(), Bitmap::len));
        if expected != got {
            return Err(SearchError::Allowed { expected, got });
        }
        let each = SearchOptions { allowed: None, ..*options };
        let mut none = true;
        for vector in vectors {
            self.index.check(vector, &each)?;
            none = false;
        }
        let expected = self.index.dim();
        if none { Err(SearchError::Dimension { expected, got: 0 }) } else { Ok(()) }
    }

    /// The points, their vectors in one of the codes.
    fn points<R: Rows<Query = [f32]>>(&self, rows: R) -> MultiRows<R> {
        MultiRows::over(rows, Arc::clone(&self.starts))
    }

    /// Measures every allowed point, those that come out best by the best code.
    fn scan(
        &self,
        query: &[Vec<f32>],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Vec<Hit> {
        let (rows, best) = (self.index.rows(), self.index.rows().best());
        let rows = if options.effort == Effort::Exact { best } else { rows };
        let found = SearchOptions { k: rows.candidates(options.k).max(options.k), ..*options };
        let mut hits = flat::scan(&self.points(rows), query, &found, account);
        if !std::ptr::eq(rows, best) {
            let mut top = Top::new(options.k);
            let points: Vec<Row> = hits.iter().map(|hit| hit.row).collect();
            self.measure(query, &points, &mut top);
            hits = top.into_hits();
        }
        hits.retain(|hit| !self.vectors(hit.row).is_empty());
        hits.truncate(options.k);
        hits
    }

    /// Offers points with their distances by the best code.
    fn measure(&self, query: &[Vec<f32>], points: &[Row], top: &mut Top) {
        let rows = self.points(self.index.rows().best());
        let mut scorer = rows.scorer(query);
        let mut distances = [0.0; RUN];
        for points in points.chunks(RUN) {
            let distances = &mut distances[..points.len()];
            scorer.score(points, distances);
            points.iter().zip(distances).for_each(|(&point, d)| top.offer(point, *d));
        }
    }

    /// Measures the points in full of which near vectors were found, as long as it may matter.
    /// `None` where too few were found.
    fn walk(
        &self,
        query: &[Vec<f32>],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Option<(Vec<Hit>, bool)> {
        let (candidates, cut) = self.candidates(query, options);
        let wanted = options.k.min(options.allowed.map_or(self.len(), Bitmap::count));
        if candidates.len() < wanted && !cut {
            return None;
        }
        let mut top = Top::new(options.k);
        let points = &candidates[..candidates.len().min(full(options.k))];
        for run in points.chunks(RUN) {
            if run[0].distance >= top.reach() || account.is_late() {
                break;
            }
            let rows: Vec<Row> = run.iter().map(|hit| hit.row).collect();
            self.measure(query, &rows, &mut top);
        }
        Some((top.into_hits(), cut || account.is_cut()))
    }

    /// Points with vectors near those of the query, each with what its distance is at least as far
    /// as the searches tell, the least first; and whether a search was ended early.
    fn candidates(&self, query: &[Vec<f32>], options: &SearchOptions<'_>) -> (Vec<Hit>, bool) {
        let vectors = self.index.len();
        let wanted = options.k.saturating_mul(FOUND_PER_K).max(FOUND_LEAST);
        let (count, effort) = match options.effort {
            Effort::Ef(ef) => (ef.max(options.k), options.effort),
            Effort::Probes(_) => (wanted, options.effort),
            Effort::Default | Effort::Exact => (wanted, Effort::Ef(wanted)),
        };
        let allowed = options.allowed.map(|allowed| {
            let mut rows = Bitmap::new(vectors);
            for point in allowed.iter() {
                let range = self.vectors(point);
                rows.insert_all(range.start as usize..range.end as usize);
            }
            rows
        });
        let each = SearchOptions { k: count, effort, allowed: allowed.as_ref(), ..*options };
        let queries: Vec<&[f32]> = query.iter().map(Vec::as_slice).collect();
        let (shape, rows) = (self.index.shape(), self.index.rows());
        let found = shape.search_batch(rows, &queries, &each, 1);
        // Each point's distance is at least `base` and what is kept of it, which is below 0.
        let (mut base, mut cut) = (0.0, false);
        let mut kept: HashMap<u32, (usize, f32)> = HashMap::new();
        for (at, (hits, ended)) in found.iter().enumerate() {
            cut |= ended;
            let farthest = hits.last().map_or(0.0, |hit| hit.distance);
            base += farthest;
            for hit in hits {
                let point = self.starts.partition_point(|&start| start <= hit.row.0) as u32 - 1;
                let (last, gain) = kept.entry(point).or_insert((usize::MAX, 0.0));
                // The first of its vectors is the nearest.
                if *last != at {
                    (*last, *gain) = (at, *gain + (hit.distance - farthest));
                }
            }
        }
        let hit = |(point, (_, gain))| Hit { row: Row(point), distance: base + gain };
        let mut candidates: Vec<Hit> = kept.into_iter().map(hit).collect();
        candidates.sort_unstable_by_key(|hit| crate::key::key(hit.distance, hit.row));
        (candidates, cut)
    }
}

/// Points measured in full at most.
fn full(k: usize) -> usize {
    k.saturating_mul(FULL_PER_K).max(FULL_LEAST)
}

#[cfg(test)]
mod tests;
