//! Rows with everything that belongs to them: growing in memory chunk by chunk, then sealed for
//! good.

pub(crate) mod chunk;
pub(crate) mod column;
pub(crate) mod sealed;
pub(crate) mod slot;
pub(crate) mod strip;
pub(crate) mod table;

use std::sync::Arc;

use kvant_index::{Bitmap, Effort, Examples, Metric, Row};
use kvant_payload::PointId;
use serde_json::{Map, Value};

use crate::query::example;
use crate::{DamageError, Vector, Vectors};
use chunk::Chunk;
use sealed::Sealed;

/// Where rows are. Nothing in it ever changes.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    /// In memory, and in the log.
    Chunk(Arc<Chunk>),
    /// In files.
    Sealed(Arc<Sealed>),
}

/// One row, whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) id: PointId,
    /// The number of the change that wrote it.
    pub(crate) version: u64,
    /// When it is to be deleted, in microseconds by the time of the log; 0 for never.
    pub(crate) expires: u64,
    pub(crate) payload: Arc<Map<String, Value>>,
    pub(crate) vectors: Vectors,
}

/// What to look for among the rows of one store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) k: usize,
    pub(crate) effort: Effort,
    pub(crate) metric: Metric,
    /// All rows where `None`.
    pub(crate) allowed: Option<&'a Bitmap>,
}

impl Store {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.len(),
            Self::Sealed(sealed) => sealed.len(),
        }
    }

    pub(crate) fn id(&self, row: Row) -> Result<PointId, DamageError> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.id(row).clone()),
            Self::Sealed(sealed) => sealed.id(row),
        }
    }

    pub(crate) fn version(&self, row: Row) -> Result<u64, DamageError> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.version(row)),
            Self::Sealed(sealed) => sealed.version(row),
        }
    }

    pub(crate) fn expires(&self, row: Row) -> Result<u64, DamageError> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.expires(row)),
            Self::Sealed(sealed) => sealed.expires(row),
        }
    }

    /// The earliest time at which a row is to be deleted; `u64::MAX` where none is.
    pub(crate) fn earliest(&self) -> u64 {
        match self {
            Self::Chunk(chunk) => chunk.earliest(),
            Self::Sealed(sealed) => sealed.earliest(),
        }
    }

    pub(crate) fn payload(&self, row: Row) -> Result<Arc<Map<String, Value>>, DamageError> {
        match self {
            Self::Chunk(chunk) => Ok(Arc::clone(chunk.payload(row))),
            Self::Sealed(sealed) => sealed.payload(row).map(Arc::new),
        }
    }

    /// The row of a point, dead or alive.
    pub(crate) fn find(&self, id: &PointId) -> Result<Option<Row>, DamageError> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.find(id)),
            Self::Sealed(sealed) => sealed.find(id),
        }
    }

    /// The row at a place in the order of names.
    pub(crate) fn ordered(&self, place: usize) -> Result<Row, DamageError> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.ordered(place)),
            Self::Sealed(sealed) => sealed.ordered(place),
        }
    }

    /// The first place in the order of names that is not before `id`.
    pub(crate) fn place(&self, id: &PointId) -> Result<usize, DamageError> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.id(self.ordered(middle)?)? < *id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    pub(crate) fn vector(&self, name: &str, row: Row) -> Result<Option<Vector>, DamageError> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.vector(name, row)),
            Self::Sealed(sealed) => {
                sealed.column(name).map_or(Ok(None), |column| column.vector(row))
            }
        }
    }

    /// Whether the row has the vector.
    pub(crate) fn has_vector(&self, name: &str, row: Row) -> bool {
        match self {
            Self::Chunk(chunk) => chunk.has_vector(name, row),
            Self::Sealed(sealed) => {
                sealed.column(name).is_some_and(|column| column.slots().slot(row).is_some())
            }
        }
    }

    /// The names of the vectors that rows have here.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Chunk(chunk) => chunk.names(),
            Self::Sealed(sealed) => sealed.names(),
        }
    }

    /// The whole row.
    pub(crate) fn entry(&self, row: Row) -> Result<Entry, DamageError> {
        let mut vectors = Vectors::new();
        for name in self.names() {
            if let Some(vector) = self.vector(&name, row)? {
                vectors.insert(name, vector);
            }
        }
        Ok(Entry {
            id: self.id(row)?,
            version: self.version(row)?,
            expires: self.expires(row)?,
            payload: self.payload(row)?,
            vectors,
        })
    }

    /// The rows closest to `query` by one of their vectors, and how far they are.
    pub(crate) fn nearest(
        &self,
        name: &str,
        query: &Vector,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<(Row, f32)>, DamageError> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.nearest(name, query, wanted)),
            Self::Sealed(sealed) => {
                sealed.column(name).map_or(Ok(Vec::new()), |column| column.nearest(query, wanted))
            }
        }
    }

    /// The rows of the best score by examples, and those scores with a minus.
    pub(crate) fn examples(
        &self,
        name: &str,
        examples: &Examples<Vector>,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<(Row, f32)>, DamageError> {
        let indexed = match self {
            Self::Chunk(_) => None,
            Self::Sealed(sealed) => {
                sealed.column(name).and_then(|of| of.examples(examples, wanted))
            }
        };
        indexed.unwrap_or_else(|| self.measured(name, examples, wanted))
    }

    /// The same, every allowed row measured.
    fn measured(
        &self,
        name: &str,
        examples: &Examples<Vector>,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<(Row, f32)>, DamageError> {
        let rows = (0..self.len() as u32).map(Row);
        let mut all = Vec::new();
        for row in rows.filter(|row| wanted.allowed.is_none_or(|rows| rows.contains(*row))) {
            if let Some(vector) = self.vector(name, row)? {
                all.push((row, -example::score(wanted.metric, examples, &vector)));
            }
        }
        Ok(chunk::closest(all, wanted.k))
    }

    /// How many live rows have each of these indices of a sparse vector.
    pub(crate) fn frequencies(
        &self,
        name: &str,
        indices: &[u32],
        among: Option<&Bitmap>,
    ) -> Result<Vec<usize>, DamageError> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.frequencies(name, indices, among)),
            Self::Sealed(sealed) => match sealed.column(name) {
                Some(column) => column.frequencies(indices, among),
                None => Ok(vec![0; indices.len()]),
            },
        }
    }

    /// Whether both are one and the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Chunk(a), Self::Chunk(b)) => Arc::ptr_eq(a, b),
            (Self::Sealed(a), Self::Sealed(b)) => Arc::ptr_eq(a, b),
            (Self::Chunk(_), Self::Sealed(_)) | (Self::Sealed(_), Self::Chunk(_)) => false,
        }
    }
}
