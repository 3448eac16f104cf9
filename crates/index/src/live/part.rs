//! A part of a live index: what was built, or what grows.

use std::fmt;

use kvant_storage::Append;

use super::LiveOptions;
use crate::hnsw::{Extent, Growing};
use crate::{Account, Effort, FloatRows, Hit, Index, Metric, Row, SearchOptions};

/// Rows under ids. What is in it never changes; a tail may have more than is looked at.
pub(super) struct Part {
    pub(super) serial: u64,
    pub(super) body: Body,
}

/// The two kinds of part.
pub(super) enum Body {
    /// An index that was built; the vectors are those of its rows.
    Sealed { index: Box<Index<'static>>, vectors: FloatRows<'static>, ids: Vec<u64> },
    /// A graph that grows.
    Tail(Tail),
}

/// Rows put one after the other, and the graph over them.
pub(super) struct Tail {
    vectors: Append<f32>,
    ids: Append<u64>,
    graph: Growing,
    dim: usize,
    metric: Metric,
}

impl Part {
    /// What was built, over rows that are shared.
    pub(super) fn sealed(
        serial: u64,
        index: Index<'static>,
        vectors: FloatRows<'static>,
        ids: Vec<u64>,
    ) -> Self {
        Self { serial, body: Body::Sealed { index: Box::new(index), vectors, ids } }
    }

    /// Room for `room` rows of `dim` values, with links `m`.
    pub(super) fn tail(
        serial: u64,
        (room, m): (usize, usize),
        (dim, metric): (usize, Metric),
        seed: u64,
    ) -> Self {
        let (vectors, ids) = (Append::new(room * dim), Append::new(room));
        let graph = Growing::new(room, m, seed);
        Self { serial, body: Body::Tail(Tail { vectors, ids, graph, dim, metric }) }
    }

    /// Rows there is room for.
    pub(super) fn room(&self) -> usize {
        match &self.body {
            Body::Sealed { ids, .. } => ids.len(),
            Body::Tail(tail) => tail.ids.room(),
        }
    }

    /// Whether it grows, or grew.
    pub(super) fn is_tail(&self) -> bool {
        matches!(self.body, Body::Tail(_))
    }

    /// What was built, in one that was.
    pub(super) fn index(&self) -> Option<&Index<'static>> {
        match &self.body {
            Body::Sealed { index, .. } => Some(index),
            Body::Tail(_) => None,
        }
    }

    /// Whether a search of such an effort finds the true nearest.
    pub(super) fn is_exact(&self, effort: Effort) -> bool {
        match &self.body {
            Body::Sealed { index, .. } => index.is_exact(effort),
            Body::Tail(_) => effort == Effort::Exact,
        }
    }

    /// The ids of its rows, in order.
    pub(super) fn ids(&self) -> &[u64] {
        match &self.body {
            Body::Sealed { ids, .. } => ids,
            Body::Tail(tail) => tail.ids.get(),
        }
    }

    /// The vectors of its rows, in order.
    pub(super) fn vectors(&self) -> FloatRows<'_> {
        match &self.body {
            Body::Sealed { vectors, .. } => vectors.view(),
            Body::Tail(tail) => tail.rows(tail.ids.get().len()),
        }
    }

    /// Appends rows that there is room for behind those of `extent`; what there is then.
    pub(super) fn extend(
        &self,
        extent: Extent,
        (ids, vectors): (&[u64], &[f32]),
        options: &LiveOptions,
    ) -> Extent {
        let Body::Tail(tail) = &self.body else { unreachable!("what was built is full") };
        let room = tail.vectors.extend(vectors) && tail.ids.extend(ids);
        assert!(room, "{} rows where there is no room", ids.len());
        let rows = tail.rows(extent.len + ids.len());
        tail.graph.grow(&rows, extent, (options.threads, options.ef_construction))
    }

    /// The allowed rows of `extent` closest to `query`.
    pub(super) fn search(
        &self,
        extent: Extent,
        query: &[f32],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Vec<Hit> {
        match &self.body {
            Body::Sealed { index, .. } => {
                index.shape().search_within(index.rows(), query, options, account)
            }
            Body::Tail(tail) => {
                let rows = tail.rows(extent.len);
                tail.graph.search_within((&rows, extent), query, options, account)
            }
        }
    }

    /// The values of a row.
    pub(super) fn vector(&self, row: u32) -> Vec<f32> {
        self.vectors().vector(Row(row)).to_vec()
    }
}

impl Tail {
    /// The first `len` rows.
    fn rows(&self, len: usize) -> FloatRows<'_> {
        FloatRows::new(&self.vectors.get()[..len * self.dim], self.dim, self.metric)
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_tail() { "tail" } else { "sealed" };
        write!(f, "Part({kind} {}, {} rows)", self.serial, self.ids().len())
    }
}
