//! One dense vector of the rows of a segment: an index of those that have it, in a file.

use std::path::Path;

use kvant_index::{
    Bitmap, BuildOptions, Check, FloatRows, Index, Row, SearchError, SearchOptions, Stored,
    StoredError,
};
use kvant_storage::Bytes;

use super::{Wanted, slot::Slots};
use crate::{Config, DamageError, OpenError};

/// An index in a file and which rows it is of.
#[derive(Debug)]
pub(crate) struct Dense {
    stored: Stored,
    index: Index<'static, Bytes>,
    slots: Slots,
}

impl Dense {
    /// The file of an index over `data`, as the collection wants one of that many rows.
    pub(crate) fn encode(
        config: &Config,
        name: &str,
        data: &[f32],
        threads: usize,
    ) -> Result<Vec<u8>, String> {
        let dense = config.dense.get(name).ok_or_else(|| format!("no vector {name:?}"))?;
        let rows = FloatRows::new(data, dense.dim, dense.metric);
        let spec = config.spec(name, data.len() / dense.dim)?;
        let graph = dense.graph.unwrap_or(config.graph);
        let options =
            BuildOptions { threads, ef_construction: graph.ef_construct, ..Default::default() };
        let index = Index::build(&spec, rows, &options).map_err(|error| error.to_string())?;
        Ok(index.to_bytes())
    }

    /// Opens what [`encode`](Self::encode) made. Reads a few pages.
    pub(crate) fn open(
        bytes: Bytes,
        path: &Path,
        slots: Slots,
        dim: usize,
    ) -> Result<Self, OpenError> {
        let stored = Stored::open(bytes, path, Check::Opened)?;
        let corrupt = |what: String| {
            Err(OpenError::Corrupt { path: path.to_owned(), offset: 0, what })
        };
        if stored.len() != slots.count() || stored.dim() != dim {
            let what = format!("an index of {} rows of {}", stored.len(), stored.dim());
            return corrupt(format!("{what}, the segment has {} of {dim}", slots.count()));
        }
        let index = stored.index()?;
        Ok(Self { stored, index, slots })
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// What it is.
    pub(crate) fn spec(&self) -> String {
        self.stored.spec().to_string()
    }

    pub(crate) fn nearest(
        &self,
        query: &[f32],
        wanted: &Wanted<'_>,
    ) -> Result<Vec<(Row, f32)>, DamageError> {
        let slotted = self.slots.allowed(wanted.allowed);
        let allowed = slotted.as_ref().or(wanted.allowed);
        let k = wanted.k.min(allowed.map_or(self.slots.count(), Bitmap::count));
        if k == 0 {
            return Ok(Vec::new());
        }
        let options =
            SearchOptions { k, effort: wanted.effort, allowed, ..SearchOptions::default() };
        let found = self.index.search(query, &options).map_err(damage)?;
        let hits = found.hits.into_iter();
        Ok(hits.map(|hit| (self.slots.row(hit.row), hit.distance)).collect())
    }

    /// The components of a row that has it.
    pub(crate) fn vector(&self, row: Row) -> Result<Option<Vec<f32>>, DamageError> {
        let Some(slot) = self.slots.slot(row) else { return Ok(None) };
        self.index.vector(slot).map_err(damage)
    }

    /// Holds all of it against its checksums.
    pub(crate) fn verify(&self) -> Result<(), StoredError> {
        self.stored.verify_everything()
    }
}

/// What a search of a file says: the query was held to the index before.
fn damage(error: SearchError) -> DamageError {
    match error {
        SearchError::Damaged { path, section, offset } => DamageError { path, section, offset },
        other => unreachable_query(&other),
    }
}

fn unreachable_query(error: &SearchError) -> DamageError {
    assert!(matches!(error, SearchError::Damaged { .. }), "checked before: {error}");
    DamageError { path: std::path::PathBuf::new(), section: "", offset: 0 }
}
