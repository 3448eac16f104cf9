//! Two codes of the same rows: one to find candidates, a better one to choose among them.

mod doubt;

use std::ops::Range;

use crate::key::key;
use crate::{
    Account, Bitmap, Effort, FloatRows, Hit, Order, Row, Rows, Scorer, SearchOptions, flat,
};

/// Fewest candidates, however few rows are wanted.
const LEAST: usize = 20;
/// Neighbours that may be missing of those wanted, as far as can be told.
const MISSING: f64 = 0.02;
/// Where fewer than one row in so many is allowed, these are measured by the better code instead of
/// blocks of the other being scanned for them: a block costs as much as four to eight rows.
const SCANNED: usize = 8;

/// Rows in a fast code, and what it finds measured again in a better one.
///
/// A shape walks or scans the fast code and finds `k·factor` rows (at least 20) for `k`; these are
/// measured again, and the best `k` of them returned with the better distances. Graphs are built
/// over the better code, and a search of exact effort measures every row in it.
///
/// With a filter more are measured again, `2·k·factor` and so on, until the distances say that
/// few neighbours are missing; and where codes are scanned in blocks and few rows are allowed, the
/// better code alone is asked.
#[derive(Clone, Debug)]
pub struct Reranked<F, E> {
    fast: F,
    exact: E,
    factor: usize,
}

impl<F: Rows, E: Rows<Query = F::Query>> Reranked<F, E> {
    /// `fast` and `exact` hold the same rows in the same order; `factor` 0 counts as 1.
    ///
    /// # Panics
    /// If they hold different numbers of rows.
    pub fn new(fast: F, exact: E, factor: usize) -> Self {
        assert_eq!(fast.len(), exact.len(), "two codes of the same rows");
        Self { fast, exact, factor: factor.max(1) }
    }

    /// The code that finds.
    pub fn fast(&self) -> &F {
        &self.fast
    }

    /// The code that chooses.
    pub fn exact(&self) -> &E {
        &self.exact
    }

    /// Candidates per row wanted.
    pub fn factor(&self) -> usize {
        self.factor
    }
}

impl<F: Rows, E: Rows<Query = F::Query>> Rows for Reranked<F, E> {
    type Query = F::Query;
    type Scorer<'q>
        = RerankedScorer<F::Scorer<'q>, E::Scorer<'q>>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.fast.len()
    }

    fn scorer<'q>(&'q self, query: &'q Self::Query) -> Self::Scorer<'q> {
        RerankedScorer::Fast(self.fast.scorer(query))
    }

    fn scorer_of(&self, row: Row) -> Self::Scorer<'_> {
        RerankedScorer::Exact(self.exact.scorer_of(row))
    }

    fn order(&self) -> Option<&Order> {
        self.fast.order()
    }

    fn is_scanned(&self) -> bool {
        self.fast.is_scanned()
    }

    fn vectors(&self) -> Option<FloatRows<'_>> {
        self.exact.vectors().or_else(|| self.fast.vectors())
    }

    fn candidates(&self, k: usize) -> usize {
        self.exact.candidates(k).saturating_mul(self.factor).max(k.min(1) * LEAST)
    }

    fn refine(&self, query: &Self::Query, hits: &mut Vec<Hit>) {
        let rows: Vec<Row> = hits.iter().map(|hit| hit.row).collect();
        let mut distances = vec![0.0; rows.len()];
        self.exact.scorer(query).score(&rows, &mut distances);
        for (hit, distance) in hits.iter_mut().zip(distances) {
            hit.distance = distance;
        }
        hits.sort_unstable_by_key(|hit| key(hit.distance, hit.row));
        self.exact.refine(query, hits);
    }

    fn settle(&self, query: &Self::Query, hits: &mut Vec<Hit>, k: usize) -> bool {
        let mut scorer = self.exact.scorer(query);
        let mut pairs: Vec<(f32, f32)> = Vec::with_capacity(hits.len());
        let mut wanted = self.candidates(k);
        let sure = loop {
            let next = &hits[pairs.len()..hits.len().min(wanted)];
            let rows: Vec<Row> = next.iter().map(|hit| hit.row).collect();
            let mut distances = vec![0.0; rows.len()];
            scorer.score(&rows, &mut distances);
            pairs.extend(next.iter().map(|hit| hit.distance).zip(distances));
            let sure = doubt::missing(&pairs, k) <= MISSING * k as f64;
            if sure || pairs.len() == hits.len() {
                break sure;
            }
            wanted = wanted.saturating_mul(2);
        };
        hits.truncate(pairs.len());
        for (hit, (_, distance)) in hits.iter_mut().zip(pairs) {
            hit.distance = distance;
        }
        hits.sort_unstable_by_key(|hit| key(hit.distance, hit.row));
        self.exact.refine(query, hits);
        sure
    }

    fn is_on_disk(&self) -> bool {
        self.fast.is_on_disk()
    }

    fn nearest(
        &self,
        query: &Self::Query,
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Option<Vec<Hit>> {
        let few = || {
            let eligible = options.allowed.map_or(self.len(), Bitmap::count);
            self.is_scanned() && eligible < self.len() / SCANNED && !self.exact.is_on_disk()
        };
        let exact = options.effort == Effort::Exact || few();
        exact.then(|| flat::scan(&self.exact, query, options, account))
    }
}

/// Distances of [`Reranked`] rows: the fast code for queries, the better one between rows.
#[derive(Debug)]
pub enum RerankedScorer<F, E> {
    /// Of a query.
    Fast(F),
    /// Of a row.
    Exact(E),
}

impl<F: Scorer, E: Scorer> Scorer for RerankedScorer<F, E> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        match self {
            Self::Fast(fast) => fast.score(rows, out),
            Self::Exact(exact) => exact.score(rows, out),
        }
    }

    fn scan(&mut self, places: Range<u32>, reach: f32, found: &mut Vec<Hit>) {
        match self {
            Self::Fast(fast) => fast.scan(places, reach, found),
            Self::Exact(exact) => exact.scan(places, reach, found),
        }
    }

    fn ahead(&self, places: Range<u32>) {
        match self {
            Self::Fast(fast) => fast.ahead(places),
            Self::Exact(exact) => exact.ahead(places),
        }
    }
}
