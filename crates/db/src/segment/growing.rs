//! The points written since the last seal, in memory, searched row by row.

use crate::change::Rows;
use crate::segment::Columns;
use crate::{PointId, SearchError};
use kvant_index::{Bitmap, Flat, FloatRows, Hit, Metric, Row, SearchOptions};
use std::path::PathBuf;

/// Points in memory. Rows are only added; replaced and deleted ones are marked dead.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    rows: Rows,
    dead: Vec<bool>,
    dead_count: usize,
    size_bytes: usize,
}

impl Growing {
    pub(crate) fn len(&self) -> usize {
        self.dead.len()
    }

    pub(crate) fn live_count(&self) -> usize {
        self.dead.len() - self.dead_count
    }

    /// About what it takes in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Adds rows; the first of them gets the number returned.
    pub(crate) fn extend(&mut self, mut rows: Rows) -> Row {
        let first = Row(self.len() as u32);
        let payloads: usize = rows.payloads.iter().map(|p| p.len()).sum();
        self.size_bytes += rows.vectors.len() * 4 + payloads + rows.ids.len() * 64;
        self.dead.resize(self.len() + rows.ids.len(), false);
        self.rows.ids.append(&mut rows.ids);
        self.rows.payloads.append(&mut rows.payloads);
        self.rows.vectors.append(&mut rows.vectors);
        assert_eq!(self.dead.len(), self.rows.ids.len(), "one flag per row");
        first
    }

    pub(crate) fn remove(&mut self, row: Row) {
        assert!(!self.dead[row.position()], "row {row} removed twice");
        self.dead[row.position()] = true;
        self.dead_count += 1;
    }

    /// The rows that are neither replaced nor deleted. O(rows).
    pub(crate) fn live(&self) -> Bitmap {
        let mut live = Bitmap::full(self.len());
        for (row, _) in self.dead.iter().enumerate().filter(|(_, dead)| **dead) {
            live.remove(Row(row as u32));
        }
        live
    }

    /// The rows to search where there is no filter; `None` where that is all.
    pub(crate) fn allowed(&self) -> Option<Bitmap> {
        (self.dead_count > 0).then(|| self.live())
    }

    pub(crate) fn search(
        &self,
        metric: Metric,
        query: &[f32],
        options: &SearchOptions<'_>,
    ) -> Vec<Hit> {
        let rows = FloatRows::new(&self.rows.vectors, query.len(), metric);
        Flat::new(self.len()).search(&rows, query, options)
    }

    /// The live rows, in order.
    pub(crate) fn compacted(&self, dim: usize) -> Rows {
        let mut out = Rows::default();
        out.vectors.reserve_exact(self.live_count() * dim);
        for row in self.live().iter() {
            let at = row.position();
            out.ids.push(self.rows.ids[at].clone());
            out.payloads.push(self.rows.payloads[at].clone());
            out.vectors.extend_from_slice(self.vector(row));
        }
        out
    }
}

impl Columns for Growing {
    fn id(&self, row: Row) -> Option<PointId> {
        self.rows.ids.get(row.position()).cloned()
    }

    fn vector(&self, row: Row) -> &[f32] {
        let dim = self.rows.vectors.len() / self.len();
        &self.rows.vectors[row.position() * dim..(row.position() + 1) * dim]
    }

    fn payload(&self, row: Row) -> &[u8] {
        &self.rows.payloads[row.position()]
    }

    fn damaged(&self, row: Row) -> SearchError {
        SearchError::Damaged { path: PathBuf::from("log"), row: row.0 }
    }
}
