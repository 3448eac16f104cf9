//! One vector of the rows of a segment: an index of those that have it, in a file.

use std::path::{Path, PathBuf};

use kvant_index::{
    Bitmap, BuildOptions, Check, Examples, FloatRows, Index, IndexSpec, Inverted, MultiStored, Row,
    SearchError, SearchOptions, SparseRows, Stored,
};
use kvant_storage::Bytes;

use super::{Wanted, slot::Slots};
use crate::query::changed;
use crate::vector::Multi;
use crate::{Arity, Config, DamageError, OpenError, Vector, config};

/// An index in a file and which rows it is of.
#[derive(Debug)]
pub(crate) struct Column {
    path: PathBuf,
    slots: Slots,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Dense(Box<(Stored, Index<'static, Bytes>)>),
    Multi(Box<(MultiStored, kvant_index::Multi<'static, Bytes>)>),
    Sparse(Box<Inverted>),
}

impl Column {
    /// The file of an index over `vectors`, as the collection wants one of that many rows.
    pub(crate) fn encode<'v>(
        config: &Config,
        name: &str,
        vectors: impl Iterator<Item = &'v Vector>,
        threads: usize,
    ) -> Result<Vec<u8>, String> {
        let Some(dense) = config.dense.get(name) else {
            let mut rows = SparseRows::default();
            for vector in vectors {
                if let Vector::Sparse(sparse) = vector {
                    rows.push(sparse);
                }
            }
            return Ok(Inverted::build(&rows).to_bytes());
        };
        let (mut data, mut counts) = (Vec::new(), Vec::new());
        for vector in vectors {
            let values = match vector {
                Vector::Dense(values) => &values[..],
                Vector::Multi(multi) => multi.data(),
                Vector::Sparse(_) => &[],
            };
            data.extend_from_slice(values);
            counts.push((values.len() / dense.dim) as u32);
        }
        let rows = FloatRows::new(&data, dense.dim, dense.metric);
        let spec = config.spec(name, data.len() / dense.dim)?;
        let graph = dense.graph.unwrap_or(config.graph);
        let options = BuildOptions {
            threads,
            ef_construction: graph.ef_construct,
            ..BuildOptions::default()
        };
        let told = |error: kvant_index::CodeError| error.to_string();
        if dense.multi == Arity::Many {
            // Points of several vectors are measured in full by what their index holds.
            let spec = IndexSpec { rerank: None, code: kvant_index::CodeSpec::Float, ..spec };
            let multi = kvant_index::Multi::build(&spec, rows, &counts, &options).map_err(told)?;
            return Ok(multi.to_bytes());
        }
        Ok(Index::build(&spec, rows, &options).map_err(told)?.to_bytes())
    }

    /// Opens what [`encode`](Self::encode) made. Reads a few pages.
    pub(crate) fn open(
        (bytes, path): (Bytes, &Path),
        slots: Slots,
        dense: Option<&config::Dense>,
    ) -> Result<Self, OpenError> {
        let (kind, rows, dim) = match dense {
            None => {
                let inverted = Inverted::open(bytes, path, Check::Opened)?;
                let rows = inverted.len();
                (Kind::Sparse(Box::new(inverted)), rows, None)
            }
            Some(dense) if dense.multi == Arity::Many => {
                let stored = MultiStored::open(bytes, path, Check::Opened)?;
                let multi = stored.multi()?;
                let (rows, dim) = (stored.len(), Some((stored.stored().dim(), dense.dim)));
                (Kind::Multi(Box::new((stored, multi))), rows, dim)
            }
            Some(dense) => {
                let stored = Stored::open(bytes, path, Check::Opened)?;
                let index = stored.index()?;
                let (rows, dim) = (stored.len(), Some((stored.dim(), dense.dim)));
                (Kind::Dense(Box::new((stored, index))), rows, dim)
            }
        };
        if rows != slots.count() || dim.is_some_and(|(got, expected)| got != expected) {
            let what = format!("an index of {rows} rows, the segment has {}", slots.count());
            return Err(OpenError::Corrupt { path: path.to_owned(), offset: 0, what });
        }
        Ok(Self { path: path.to_owned(), slots, kind })
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// What it is.
    pub(crate) fn spec(&self) -> String {
        match &self.kind {
            Kind::Dense(dense) => dense.0.spec().to_string(),
            Kind::Multi(multi) => multi.0.stored().spec().to_string(),
            Kind::Sparse(_) => "inverted".to_owned(),
        }
    }

    /// The rows closest to `query`, and how far they are.
    pub(crate) fn nearest(
        &self,
        query: &Vector,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<(Row, f32)>, DamageError> {
        self.ask(wanted, |options| match (&self.kind, query) {
            (Kind::Dense(dense), Vector::Dense(query)) => Ok(dense.1.search(query, options)?.hits),
            (Kind::Sparse(inverted), Vector::Sparse(query)) => {
                Ok(inverted.search(query, options)?.hits)
            }
            (Kind::Multi(multi), Vector::Multi(query)) => {
                let query: Vec<Vec<f32>> = query.rows().map(<[f32]>::to_vec).collect();
                Ok(multi.1.search(&query, options)?.hits)
            }
            _ => Ok(Vec::new()),
        })
    }

    /// The rows of the best score by examples; their distances are scores with a minus. `None` for
    /// sparse vectors, which are measured one by one.
    pub(crate) fn examples(
        &self,
        examples: &Examples<Vector>,
        wanted: &Wanted<'_>,
    ) -> Option<Result<Vec<(Row, f32)>, DamageError>> {
        match &self.kind {
            Kind::Sparse(_) => None,
            Kind::Dense(dense) => {
                let examples = changed(examples, |vector| match vector {
                    Vector::Dense(values) => values.clone(),
                    Vector::Multi(_) | Vector::Sparse(_) => Vec::new(),
                });
                Some(
                    self.ask(wanted, |options| {
                        Ok(dense.1.search_examples(&examples, options)?.hits)
                    }),
                )
            }
            Kind::Multi(multi) => {
                let examples = changed(examples, |vector| match vector {
                    Vector::Multi(multi) => multi.rows().map(<[f32]>::to_vec).collect(),
                    Vector::Dense(_) | Vector::Sparse(_) => Vec::new(),
                });
                Some(
                    self.ask(wanted, |options| {
                        Ok(multi.1.search_examples(&examples, options)?.hits)
                    }),
                )
            }
        }
    }

    /// Asks for rows by their slots.
    fn ask(
        &self,
        wanted: &Wanted<'_>,
        search: impl FnOnce(&SearchOptions<'_>) -> Result<Vec<kvant_index::Hit>, SearchError>,
    ) -> Result<Vec<(Row, f32)>, DamageError> {
        let slotted = self.slots.allowed(wanted.allowed);
        let allowed = slotted.as_ref().or(wanted.allowed);
        let k = wanted.k.min(allowed.map_or(self.slots.count(), Bitmap::count));
        if k == 0 {
            return Ok(Vec::new());
        }
        let effort = wanted.effort;
        let hits = search(&SearchOptions { k, effort, allowed, ..SearchOptions::default() });
        let hits = hits.map_err(damage)?.into_iter();
        Ok(hits.map(|hit| (self.slots.row(hit.row), hit.distance)).collect())
    }

    /// How many rows have each of these indices of a sparse vector, of those `among`.
    pub(crate) fn frequencies(
        &self,
        indices: &[u32],
        among: Option<&Bitmap>,
    ) -> Result<Vec<usize>, DamageError> {
        let slotted = self.slots.allowed(among);
        let among = slotted.as_ref().or(among);
        match &self.kind {
            Kind::Sparse(inverted) => inverted.frequencies(indices, among).map_err(damage),
            Kind::Dense(_) | Kind::Multi(_) => Ok(vec![0; indices.len()]),
        }
    }

    /// The vector of a row that has it.
    pub(crate) fn vector(&self, row: Row) -> Result<Option<Vector>, DamageError> {
        let Some(slot) = self.slots.slot(row) else { return Ok(None) };
        match &self.kind {
            Kind::Dense(dense) => Ok(dense.1.vector(slot).map_err(damage)?.map(Vector::Dense)),
            Kind::Sparse(inverted) => Ok(Some(Vector::Sparse(inverted.row(slot).map_err(damage)?))),
            Kind::Multi(multi) => {
                let mut data = Vec::new();
                for at in multi.1.vectors(slot) {
                    let row = multi.1.index().vector(Row(at)).map_err(damage)?;
                    data.extend(row.unwrap_or_default());
                }
                Ok(Multi::of(multi.0.stored().dim(), data).map(Vector::Multi))
            }
        }
    }

    /// Holds all of it against its checksums.
    pub(crate) fn verify(&self) -> Result<(), DamageError> {
        let options = kvant_index::ScrubOptions::default();
        let found = match &self.kind {
            Kind::Dense(dense) => dense.0.scrub(&options),
            Kind::Multi(multi) => multi.0.stored().scrub(&options),
            Kind::Sparse(inverted) => inverted.scrub(&options),
        };
        match found.damaged.first() {
            Some(damage) => Err(DamageError {
                path: self.path.clone(),
                section: damage.section,
                offset: damage.offset,
            }),
            None => Ok(()),
        }
    }
}

/// What a search of a file says; the query was held to the index before.
fn damage(error: SearchError) -> DamageError {
    match error {
        SearchError::Damaged { path, section, offset } => DamageError { path, section, offset },
        SearchError::Nothing
        | SearchError::Dimension { .. }
        | SearchError::NotFinite { .. }
        | SearchError::Allowed { .. } => {
            // Whatever it was asked, a file that answers so is not what was written.
            DamageError { path: PathBuf::from(error.to_string()), section: "", offset: 0 }
        }
    }
}
