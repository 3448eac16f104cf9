//! The shape that walks a graph by codes beside its rows.

use std::sync::{Mutex, PoisonError};

use super::Hnsw;
use super::beside::{Asked, Beside};
use super::find::{EF_LEAST, EF_PER_K};
use super::net::Net;
use super::search::{Gate, Pool};
use crate::file::Reader;
use crate::seen::Seen;
use crate::{
    Account, BuildOptions, Effort, FileError, FloatRows, Hit, Metric, Row, Rows, Scorer,
    SearchOptions, Top, flat,
};

/// A graph as [`Hnsw`]'s, with codes of its neighbours beside each row (`SymphonyQG`: Gou et al.,
/// 2025): a search reads what lies beside a row in one go, and measures only rows whose links it
/// follows, which is what it finds. `links` neighbours take `links·(dim/4 + 8)` bytes a row beside
/// the `4·links` of the graph: large, and not faster than [`Hnsw`] over bytes where
/// it does not stay in cache. Built in what [`Hnsw`] takes
/// and O(n·links·dim); a hop reads `links·(dim/4 + 8)` bytes in a row, and one row.
///
/// With a filter, for the Manhattan distance, and over rows that are not at hand as vectors or not
/// finite it is searched as the graph alone.
#[derive(Debug)]
pub struct Qg {
    hnsw: Hnsw,
    beside: Option<Beside>,
    idle: Mutex<Vec<Working>>,
}

/// Working memory of one search.
#[derive(Debug)]
struct Working {
    seen: Seen,
    pool: Pool,
    estimates: Vec<f32>,
}

impl Qg {
    /// Builds the graph of `rows` with `links` links per row on the lowest level, a multiple of
    /// 32, and codes of `vectors`, which are the same rows. The same for any number of threads.
    pub fn build<R: Rows>(
        rows: &R,
        vectors: Option<&FloatRows<'_>>,
        links: usize,
        options: &BuildOptions<'_>,
    ) -> Self {
        let hnsw = Hnsw::build(rows, links / 2, options);
        let beside = vectors.and_then(|vectors| Beside::build(vectors, &hnsw.graph, options));
        Self { hnsw, beside, idle: Mutex::new(Vec::new()) }
    }

    /// The graph alone.
    pub(crate) fn graph(&self) -> &Hnsw {
        &self.hnsw
    }

    /// Links per row on the lowest level.
    pub fn links(&self) -> usize {
        2 * self.hnsw.m()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.hnsw.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.hnsw.is_empty()
    }

    /// Whether rows of so many values by this measure may be what it was built over.
    pub fn serves(&self, dim: usize, metric: Metric) -> bool {
        self.beside.as_ref().is_none_or(|beside| beside.serves(dim, metric))
    }

    /// The `k` allowed rows closest to `query`, closest first, as far as the effort finds them.
    ///
    /// # Panics
    /// If `rows` are not the ones this was built over (by number), the query does not fit them, or
    /// the allowed set ranges over another number of rows.
    pub fn search<R: Rows<Query = [f32]>>(
        &self,
        rows: &R,
        query: &[f32],
        options: &SearchOptions<'_>,
    ) -> Vec<Hit> {
        self.search_within(rows, query, options, &Account::new(&options.budget))
    }

    /// [`search`](Self::search), with what it uses of the budget put to `account`. Estimates are
    /// not counted as rows measured.
    ///
    /// # Panics
    /// As [`search`](Self::search).
    pub fn search_within<R: Rows<Query = [f32]>>(
        &self,
        rows: &R,
        query: &[f32],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Vec<Hit> {
        assert_eq!(rows.len(), self.len(), "rows of another index");
        flat::assert_fits(options.allowed, self.len());
        let k = options.k.min(self.len());
        let found = rows.candidates(k).min(self.len());
        let dot = self.beside.as_ref().is_some_and(|beside| beside.measures(Metric::Dot));
        let ef = match options.effort {
            Effort::Exact => usize::MAX,
            Effort::Default | Effort::Probes(_) => {
                let ef = k.saturating_mul(EF_PER_K).max(EF_LEAST);
                // The query of a product is not near what it finds, and estimates are the worse.
                if dot { ef.saturating_mul(2) } else { ef }.max(found)
            }
            Effort::Ef(ef) => ef.max(found),
        };
        let filtered = options.allowed.is_some_and(|allowed| allowed.count() < self.len());
        let dear = ef.saturating_mul(self.hnsw.m()) >= self.len();
        let Some(beside) = self.beside.as_ref().filter(|_| k > 0 && !filtered && !dear) else {
            return self.hnsw.search_within(rows, query, options, account);
        };
        let mut working = self.checkout();
        let mut top = Top::new(found);
        let mut asked = (beside, beside.ask(query), rows.scorer(query));
        self.walk(&mut asked, (ef, account), &mut working, &mut top);
        working.seen.clear();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(working);
        if top.len() < k && !account.is_cut() {
            return self.hnsw.search_within(rows, query, options, account);
        }
        let mut hits = top.into_hits();
        rows.refine(query, &mut hits);
        hits.truncate(k);
        hits
    }

    fn checkout(&self) -> Working {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let fresh = || Working {
            seen: Seen::new(self.len()),
            pool: Pool::default(),
            estimates: vec![0.0; self.links()],
        };
        idle.unwrap_or_else(fresh)
    }

    /// Follows the links of the row of the least estimate until those of the best `ef` are, and
    /// offers each such row with its distance. A row may be among the candidates more than once.
    fn walk<S: Scorer>(
        &self,
        (beside, asked, scorer): &mut (&Beside, Asked, S),
        (ef, account): (usize, &Account<'_>),
        working: &mut Working,
        top: &mut Top,
    ) {
        let graph = &self.hnsw.graph;
        let mut scratch = self.hnsw.idle.checkout(self.len());
        let gate = Gate { account: Some(account), ..Gate::OPEN };
        let start = scratch.descend(graph, scorer, 0, &gate);
        self.hnsw.idle.checkin(scratch);
        let Some(start) = start else { return };
        let Working { seen, pool, estimates } = working;
        pool.clear(ef);
        pool.offer(start, f32::NEG_INFINITY, &Gate::OPEN);
        let mut ahead = start;
        while let Some(row) = pool.next() {
            if !seen.insert(row.0) {
                continue;
            }
            if account.grant(1) == 0 {
                return;
            }
            let mut distance = [0.0];
            scorer.score(&[row], &mut distance);
            top.offer(row, distance[0]);
            beside.estimate(row, distance[0], asked, estimates);
            // Unless one of the neighbours is nearer, it is next.
            let fetch = |next: Row, scorer: &S| {
                beside.fetch(next);
                graph.fetch(next);
                scorer.ahead(next.0..next.0 + 1);
            };
            if let Some(next) = pool.peek().filter(|&next| next != ahead) {
                fetch(next, scorer);
                ahead = next;
            }
            for (link, &estimate) in graph.each_link(row, 0).zip(&*estimates) {
                if pool.takes(estimate) && !seen.contains(link.0) {
                    pool.offer(link, estimate, &Gate::OPEN);
                }
            }
            if let Some(next) = pool.peek().filter(|&next| next != ahead) {
                fetch(next, scorer);
                ahead = next;
            }
        }
    }

    /// Appends the graph and what lies beside it to `bytes`.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        self.hnsw.write(bytes);
        bytes.extend_from_slice(&u32::from(self.beside.is_some()).to_le_bytes());
        if let Some(beside) = &self.beside {
            beside.write(bytes);
        }
    }

    /// Reads a graph over `len` rows, and what lies beside it.
    pub(crate) fn read(reader: &mut Reader<'_>, len: usize) -> Result<Self, FileError> {
        let hnsw = Hnsw::read(reader, len)?;
        if !hnsw.m().is_multiple_of(16) {
            return Err(FileError::Header { name: "links per row", got: 2 * hnsw.m() as u64 });
        }
        let beside = match reader.number()? {
            0 => None,
            1 => Some(Beside::read(reader, &hnsw.graph)?),
            got => return Err(FileError::Header { name: "codes beside rows", got: got.into() }),
        };
        Ok(Self { hnsw, beside, idle: Mutex::new(Vec::new()) })
    }
}
