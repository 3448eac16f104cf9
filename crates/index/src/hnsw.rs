//! The shape that walks a graph: hierarchical navigable small worlds (Malkov & Yashunin, 2018).

use crate::file::Reader;
use crate::number::Part;
use crate::{Account, BuildOptions, FileError, Hit, Row, Rows, SearchOptions, flat};

mod allowed;
mod beside;
mod build;
mod find;
mod graph;
mod grown;
mod leaf;
mod net;
pub(crate) mod quick;
mod reach;
mod search;
mod stage;

use find::Idle;
use graph::Graph;
pub(crate) use grown::{Extent, Growing};
use net::Net;

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
    idle: Idle,
}

impl Hnsw {
    /// Builds the graph of `rows` with `m` links per node and level, `2m` on level 0.
    pub fn build<R: Rows>(rows: &R, m: usize, options: &BuildOptions<'_>) -> Self {
        Self::over(build::build(rows, m, options).aligned())
    }

    /// Builds the graph of `rows` from this one, over rows of which those `from` are left and the
    /// first of them: their links are kept, and where they led to rows that are gone, to the
    /// neighbours of those (`FreshDiskANN`: Singh et al., 2021, Alg. 4). The others are inserted.
    /// Where fewer than half the rows are old, or half the old ones are gone, it is built anew.
    pub(crate) fn rebuilt<R: Rows>(
        &self,
        rows: &R,
        from: &[u32],
        options: &BuildOptions<'_>,
    ) -> Self {
        if 2 * from.len() < rows.len().max(self.len()) {
            return Self::build(rows, self.m(), options);
        }
        Self::over(build::rebuild(rows, &self.graph, from, options).aligned())
    }

    fn over(graph: Graph) -> Self {
        Self { graph, idle: Idle::default() }
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
        self.idle.search(&self.graph, (rows, query), options, account)
    }

    /// The same, where the walk begins at `seeds` too.
    pub(crate) fn search_from<R: Rows>(
        &self,
        rows: &R,
        query: &R::Query,
        (options, seeds): (&SearchOptions<'_>, &[Row]),
        account: &Account<'_>,
    ) -> Vec<Hit> {
        assert_eq!(rows.len(), self.len(), "rows of another index");
        flat::assert_fits(options.allowed, self.len());
        self.idle.search_from(&self.graph, (rows, query), (options, seeds), account)
    }

    /// Appends the graph to `bytes`.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        self.graph.write(bytes);
    }

    /// A graph over `len` rows, walked where it lies.
    pub(crate) fn open(part: &Part, len: usize) -> Result<Self, FileError> {
        Graph::open(part, len).map(Self::over)
    }

    /// Whether everything in it is as walks expect it. O(links).
    pub(crate) fn check(&self) -> Result<(), FileError> {
        self.graph.check()
    }

    /// Its links are read here and there.
    pub(crate) fn read_apart(&self) {
        self.graph.read_apart();
    }

    /// Reads a graph over `len` rows to memory.
    pub(crate) fn read(reader: &mut Reader<'_>, len: usize) -> Result<Self, FileError> {
        Graph::read(reader, len).map(Self::over)
    }
}

#[cfg(test)]
mod tests;
