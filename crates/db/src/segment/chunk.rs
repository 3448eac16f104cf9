//! Rows in memory. A batch makes a chunk; small ones are put together like the digits of a binary
//! counter, so that there are few and a row is copied a few times at most.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use kvant_index::{
    Bitmap, Flat, FloatRows, Metric, MultiRows, Row, Rows, Scorer, SearchOptions, Sparse,
};
use kvant_payload::PointId;
use serde_json::{Map, Value};

use super::{Entry, Wanted, slot::Slots};
use crate::vector::Multi;
use crate::{Config, Vector};

/// Rows in memory, never changed.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    ids: Vec<PointId>,
    versions: Vec<u64>,
    expires: Vec<u64>,
    payloads: Vec<Arc<Map<String, Value>>>,
    columns: BTreeMap<String, Column>,
    places: HashMap<PointId, u32>,
    /// Rows in the order of their names; made when first asked for.
    order: OnceLock<Vec<u32>>,
    size_bytes: usize,
}

/// One vector of those rows that have it.
#[derive(Debug)]
enum Column {
    Dense { slots: Slots, data: Vec<f32>, dim: usize, metric: Metric },
    Multi { slots: Slots, vectors: Vec<Multi>, metric: Metric },
    Sparse { slots: Slots, vectors: Vec<Sparse> },
}

impl Chunk {
    /// Of rows of different names. Vectors that `config` does not know are left out.
    pub(crate) fn new(entries: Vec<Entry>, config: &Config) -> Self {
        let mut chunk = Self::default();
        let mut names: Vec<String> = Vec::new();
        for entry in &entries {
            let missing = entry.vectors.keys().filter(|name| !names.contains(name));
            let missing: Vec<String> = missing.cloned().collect();
            names.extend(missing);
        }
        for name in names {
            if let Some(column) = Column::of(&name, &entries, config) {
                chunk.columns.insert(name, column);
            }
        }
        for (at, entry) in entries.into_iter().enumerate() {
            let vectors: usize = entry.vectors.values().map(size_of_vector).sum();
            chunk.size_bytes += 200 + vectors + size_of_object(&entry.payload);
            chunk.places.insert(entry.id.clone(), at as u32);
            chunk.ids.push(entry.id);
            chunk.versions.push(entry.version);
            chunk.expires.push(entry.expires);
            chunk.payloads.push(entry.payload);
        }
        chunk
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Bytes of memory, about.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    pub(crate) fn id(&self, row: Row) -> &PointId {
        &self.ids[row.position()]
    }

    pub(crate) fn version(&self, row: Row) -> u64 {
        self.versions[row.position()]
    }

    pub(crate) fn expires(&self, row: Row) -> u64 {
        self.expires[row.position()]
    }

    pub(crate) fn earliest(&self) -> u64 {
        self.expires.iter().copied().filter(|time| *time > 0).min().unwrap_or(u64::MAX)
    }

    pub(crate) fn payload(&self, row: Row) -> &Arc<Map<String, Value>> {
        &self.payloads[row.position()]
    }

    pub(crate) fn find(&self, id: &PointId) -> Option<Row> {
        self.places.get(id).map(|row| Row(*row))
    }

    /// The row at a place in the order of names.
    pub(crate) fn ordered(&self, place: usize) -> Row {
        let order = self.order.get_or_init(|| {
            let mut rows: Vec<u32> = (0..self.len() as u32).collect();
            rows.sort_unstable_by(|a, b| self.ids[*a as usize].cmp(&self.ids[*b as usize]));
            rows
        });
        Row(order[place])
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.columns.keys().cloned().collect()
    }

    pub(crate) fn has_vector(&self, name: &str, row: Row) -> bool {
        self.columns.get(name).is_some_and(|column| column.slots().slot(row).is_some())
    }

    pub(crate) fn vector(&self, name: &str, row: Row) -> Option<Vector> {
        let column = self.columns.get(name)?;
        let slot = column.slots().slot(row)?.position();
        Some(match column {
            Column::Dense { data, dim, .. } => {
                Vector::Dense(data[slot * dim..(slot + 1) * dim].to_vec())
            }
            Column::Multi { vectors, .. } => Vector::Multi(vectors[slot].clone()),
            Column::Sparse { vectors, .. } => Vector::Sparse(vectors[slot].clone()),
        })
    }

    /// How many rows have each of these indices of a sparse vector.
    pub(crate) fn frequencies(
        &self,
        name: &str,
        indices: &[u32],
        among: Option<&Bitmap>,
    ) -> Vec<usize> {
        let Some(Column::Sparse { slots, vectors }) = self.columns.get(name) else {
            return vec![0; indices.len()];
        };
        let counted =
            |slot: usize| among.is_none_or(|among| among.contains(slots.row(Row(slot as u32))));
        let counted: Vec<&Sparse> =
            vectors.iter().enumerate().filter(|(slot, _)| counted(*slot)).map(|(_, v)| v).collect();
        let has = |index: &u32| {
            counted.iter().filter(|sparse| sparse.indices().binary_search(index).is_ok()).count()
        };
        indices.iter().map(has).collect()
    }

    /// Every row that has the vector is measured.
    pub(crate) fn nearest(
        &self,
        name: &str,
        query: &Vector,
        wanted: &Wanted<'_>,
    ) -> Vec<(Row, f32)> {
        let Some(column) = self.columns.get(name) else { return Vec::new() };
        let slots = column.slots();
        let slotted = slots.allowed(wanted.allowed);
        let allowed = slotted.as_ref().or(wanted.allowed);
        let hits = column.nearest(query, wanted.k, allowed);
        hits.into_iter().map(|(slot, distance)| (slots.row(slot), distance)).collect()
    }
}

impl Column {
    fn of(name: &str, entries: &[Entry], config: &Config) -> Option<Self> {
        let slots =
            Slots::of(entries.len(), |row| entries[row.position()].vectors.contains_key(name));
        let vectors = || entries.iter().filter_map(|entry| entry.vectors.get(name));
        let Some(dense) = config.dense.get(name) else {
            config.sparse.get(name)?;
            let sparse = vectors().cloned().filter_map(as_sparse);
            return Some(Self::Sparse { slots, vectors: sparse.collect() });
        };
        let (dim, metric) = (dense.dim, dense.metric);
        if dense.multi == crate::Arity::Many {
            let vectors = vectors().cloned().filter_map(as_multi);
            return Some(Self::Multi { slots, vectors: vectors.collect(), metric });
        }
        let mut data = Vec::with_capacity(slots.count() * dim);
        for vector in vectors() {
            if let Vector::Dense(values) = vector {
                data.extend_from_slice(values);
            }
        }
        Some(Self::Dense { slots, data, dim, metric })
    }

    fn slots(&self) -> &Slots {
        match self {
            Self::Dense { slots, .. } | Self::Multi { slots, .. } | Self::Sparse { slots, .. } => {
                slots
            }
        }
    }

    /// The closest slots.
    fn nearest(&self, query: &Vector, k: usize, allowed: Option<&Bitmap>) -> Vec<(Row, f32)> {
        let options = SearchOptions { k, allowed, ..SearchOptions::default() };
        match (self, query) {
            (Self::Dense { data, dim, metric, slots }, Vector::Dense(query)) => {
                let rows = FloatRows::new(data, *dim, *metric);
                let hits = Flat::new(slots.count()).search(&rows, query, &options);
                hits.into_iter().map(|hit| (hit.row, hit.distance)).collect()
            }
            (Self::Sparse { vectors, .. }, Vector::Sparse(query)) => {
                sparse_nearest(vectors, query, k, allowed)
            }
            (Self::Multi { vectors, metric, .. }, Vector::Multi(query)) => {
                multi_nearest(vectors, (query, *metric), k, allowed)
            }
            _ => Vec::new(),
        }
    }
}

/// The largest products, of those that share an index with the query.
pub(crate) fn sparse_nearest(
    vectors: &[Sparse],
    query: &Sparse,
    k: usize,
    allowed: Option<&Bitmap>,
) -> Vec<(Row, f32)> {
    let rows = (0..vectors.len() as u32).map(Row);
    let rows = rows.filter(|row| allowed.is_none_or(|allowed| allowed.contains(*row)));
    let score = |row: Row| product(&vectors[row.position()], query).map(|sum| (row, -sum));
    closest(rows.filter_map(score).collect(), k)
}

/// What it is, if it is sparse.
pub(crate) fn as_sparse(vector: Vector) -> Option<Sparse> {
    match vector {
        Vector::Sparse(sparse) => Some(sparse),
        Vector::Dense(_) | Vector::Multi(_) => None,
    }
}

/// What it is, if it is several.
pub(crate) fn as_multi(vector: Vector) -> Option<Multi> {
    match vector {
        Vector::Multi(multi) => Some(multi),
        Vector::Dense(_) | Vector::Sparse(_) => None,
    }
}

/// The product of two; `None` where they share no index.
pub(crate) fn product(a: &Sparse, b: &Sparse) -> Option<f32> {
    let (mut at, mut sum, mut shared) = (0, 0.0f32, false);
    for (index, value) in b.indices().iter().zip(b.values()) {
        at += a.indices()[at..].partition_point(|other| other < index);
        if a.indices().get(at) == Some(index) {
            sum += value * a.values()[at];
            shared = true;
        }
    }
    shared.then_some(sum)
}

/// The closest by the sum over the query's vectors of their distance to the closest of each.
fn multi_nearest(
    vectors: &[Multi],
    (query, metric): (&Multi, Metric),
    k: usize,
    allowed: Option<&Bitmap>,
) -> Vec<(Row, f32)> {
    let data: Vec<f32> = vectors.iter().flat_map(Multi::data).copied().collect();
    let counts: Vec<u32> = vectors.iter().map(|multi| multi.rows().len() as u32).collect();
    let rows = FloatRows::new(&data, query.dim(), metric);
    let Some(rows) = MultiRows::new(rows, &counts) else { return Vec::new() };
    let every = (0..vectors.len() as u32).map(Row);
    let wanted: Vec<Row> =
        every.filter(|row| allowed.is_none_or(|allowed| allowed.contains(*row))).collect();
    let query: Vec<Vec<f32>> = query.rows().map(<[f32]>::to_vec).collect();
    let mut distances = vec![0.0; wanted.len()];
    rows.scorer(&query).score(&wanted, &mut distances);
    closest(wanted.into_iter().zip(distances).collect(), k)
}

/// The `k` closest, closest first; equal ones in order of rows.
pub(crate) fn closest(mut all: Vec<(Row, f32)>, k: usize) -> Vec<(Row, f32)> {
    let order = |a: &(Row, f32), b: &(Row, f32)| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0));
    if all.len() > k && k > 0 {
        all.select_nth_unstable_by(k - 1, order);
    }
    all.truncate(k);
    all.sort_unstable_by(order);
    all
}

fn size_of_vector(vector: &Vector) -> usize {
    match vector {
        Vector::Dense(values) => values.len() * 4,
        Vector::Sparse(sparse) => sparse.indices().len() * 8,
        Vector::Multi(multi) => multi.data().len() * 4,
    }
}

/// Bytes of JSON in memory, about.
fn size_of_object(object: &Map<String, Value>) -> usize {
    object.iter().map(|(key, value)| 96 + key.len() + size_of_value(value)).sum()
}

fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(|value| 32 + size_of_value(value)).sum(),
        Value::Object(object) => size_of_object(object),
    }
}
