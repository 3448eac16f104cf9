//! The shape that walks a graph: hierarchical navigable small worlds (Malkov & Yashunin, 2018).

use std::sync::{Mutex, PoisonError};

use crate::file::Reader;
use crate::{Account, BuildOptions, Effort, FileError, Hit, Rows, SearchOptions, flat};

mod allowed;
mod build;
mod graph;
mod reach;
mod search;

use graph::Graph;
use search::{Gate, Scratch};

/// Least candidates of a default search, whatever `k` is: with 64, words looking for their
/// definitions (MiniLM, 25,000 `WordNet` glosses) found 0.963 of the ten nearest, with 128 0.986.
const EF_LEAST: usize = 96;
/// Candidates per wanted row of a default search.
const EF_PER_K: usize = 4;
/// How much dearer a row is that a walk among allowed rows meets than one of a scan (seen: a scan
/// of 5,900 rows of 784 bytes takes as long as a walk that keeps 28, of 10,000 of 202 bytes 50).
const DEARER: usize = 16;
/// Fewest allowed rows two links away, on average: among fewer a walk loses its way.
const SEEN: usize = 24;
/// Where a smaller share of the rows is allowed, only those are measured and the links of others
/// are followed in their place; above, all are measured and the allowed ones kept.
const NARROW: f64 = 0.8;

/// A graph of near neighbours in levels; a search descends greedily to the lowest level and there
/// keeps the best `ef` candidates. Holds links only: 8·m bytes a row, and no vectors.
///
/// With a filter only allowed rows are measured, and the links of others are followed in their
/// place; where nearly all are allowed, all are measured and the allowed ones kept. Where a walk
/// would cost more than measuring every allowed row, that is done instead. Either way
/// `min(k, rows allowed)` rows come back.
#[derive(Debug)]
pub struct Hnsw {
    graph: Graph,
    /// Working memory of searches that are not running, one per thread that ever searched at once.
    idle: Mutex<Vec<Scratch>>,
}

impl Hnsw {
    /// Builds the graph of `rows` with `m` links per node and level, `2m` on level 0.
    pub fn build<R: Rows>(rows: &R, m: usize, options: &BuildOptions<'_>) -> Self {
        Self::over(build::build(rows, m, options))
    }

    fn over(graph: Graph) -> Self {
        Self { graph, idle: Mutex::new(Vec::new()) }
    }

    /// Links per node above level 0.
    pub fn m(&self) -> usize {
        self.graph.m()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.graph.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` allowed rows closest to `query`, closest first, as far as the effort finds them.
    ///
    /// # Panics
    /// If `rows` are not the ones this was built over (by number), the query does not fit them, or
    /// the allowed set ranges over another number of rows.
    pub fn search<R: Rows>(
        &self,
        rows: &R,
        query: &R::Query,
        options: &SearchOptions<'_>,
    ) -> Vec<Hit> {
        self.search_within(rows, query, options, &Account::new(&options.budget))
    }

    /// [`search`](Self::search), with what it uses of the budget put to `account`.
    ///
    /// # Panics
    /// As [`search`](Self::search).
    pub fn search_within<R: Rows>(
        &self,
        rows: &R,
        query: &R::Query,
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Vec<Hit> {
        assert_eq!(rows.len(), self.len(), "rows of another index");
        flat::assert_fits(options.allowed, self.len());
        let eligible = options.allowed.map_or(self.len(), crate::Bitmap::count);
        let k = options.k.min(eligible);
        // A code that measures again wants more to choose from.
        let found = rows.candidates(k).min(eligible);
        let ef = match options.effort {
            Effort::Exact => usize::MAX,
            Effort::Default | Effort::Probes(_) => {
                k.saturating_mul(EF_PER_K).max(EF_LEAST).max(found)
            }
            Effort::Ef(ef) => ef.max(found),
        };
        // A walk measures about `m` allowed rows for each it keeps (seen: 10 to 17 with m = 16),
        // here and there, behind links. Where measuring all that are allowed costs no more, that is
        // done, and is exact.
        let (links, filtered) = (2 * self.m(), eligible < self.len());
        let walked = ef.saturating_mul(self.m());
        let walked = if filtered { walked.saturating_mul(DEARER) } else { walked };
        let sparse = eligible.saturating_mul(links * links) < SEEN * self.len();
        if k == 0 || walked >= eligible || (filtered && sparse) {
            return flat::scan(rows, query, options, account);
        }
        let narrow = (eligible as f64) < NARROW * self.len() as f64;
        let allowed = options.allowed;
        let gate = Gate { allowed, budget: eligible, narrow, account: Some(account) };
        let mut scratch = self.checkout();
        let hits = scratch.search(&self.graph, &mut rows.scorer(query), ef, &gate);
        let hits = hits.filter(|hits| hits.len() >= k || account.is_cut());
        let hits: Option<Vec<Hit>> = hits.map(|hits| hits.take(found).collect());
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        let Some(mut hits) = hits else { return flat::scan(rows, query, options, account) };
        rows.refine(query, &mut hits);
        hits.truncate(k);
        hits
    }

    fn checkout(&self) -> Scratch {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Scratch::new(self.len()))
    }

    /// Appends the graph to `bytes`.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        self.graph.write(bytes);
    }

    /// Reads a graph over `len` rows.
    pub(crate) fn read(reader: &mut Reader<'_>, len: usize) -> Result<Self, FileError> {
        Graph::read(reader, len).map(Self::over)
    }
}

#[cfg(test)]
mod tests;
