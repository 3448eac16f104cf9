//! A segment in files: which points it has, and an index of each of their vectors. Never changed.

use std::collections::BTreeMap;

use kvant_index::{Bitmap, Row, Sparse};
use kvant_payload::PointId;
use kvant_storage::frame::Kind;
use kvant_storage::{Bytes, Dir};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::chunk::sparse_nearest;
use super::dense::Dense;
use super::slot::Slots;
use super::strip::{self, FileRef, Strip};
use super::table::{Table, blobs};
use super::{Entry, Wanted};
use crate::change::codec;
use crate::codec::Reader;
use crate::{Arity, Config, DamageError, OpenError, Vector};

const SLOTS: Kind = Kind { magic: *b"KVANTSLT", version: 1, features: 0 };
const OTHERS: Kind = Kind { magic: *b"KVANTVEC", version: 1, features: 0 };

/// The files of a segment, as a manifest lists them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    pub(crate) rows: usize,
    /// Names, versions, times, payloads.
    pub(crate) table: FileRef,
    pub(crate) vectors: BTreeMap<String, VectorFiles>,
}

/// The files of one vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VectorFiles {
    pub(crate) data: FileRef,
    /// Which rows have it; all where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slots: Option<FileRef>,
}

impl Files {
    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &FileRef> {
        let vectors = self.vectors.values();
        let vectors = vectors.flat_map(|files| files.slots.iter().chain([&files.data]));
        vectors.chain([&self.table])
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.all().map(|file| file.size).sum()
    }
}

/// Where segments of a collection are written, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) dir: &'a dyn Dir,
    /// The folder of segments.
    pub(crate) folder: &'a str,
    pub(crate) collection: u64,
    pub(crate) threads: usize,
}

/// A segment.
#[derive(Debug)]
pub(crate) struct Sealed {
    files: Files,
    table: Table,
    vectors: BTreeMap<String, Column>,
}

#[derive(Debug)]
enum Column {
    Dense(Dense),
    /// Sparse vectors, or several each, as they came.
    Others { slots: Slots, blobs: Strip, multi: Option<kvant_index::Metric> },
}

impl Sealed {
    /// Writes the files of these rows.
    pub(crate) fn write(
        site: &Site<'_>,
        entries: &[Entry],
        config: &Config,
    ) -> Result<Files, OpenError> {
        let mut vectors = BTreeMap::new();
        for name in config.dense.keys().chain(config.sparse.keys()) {
            let slots = Slots::of(entries.len(), |row| {
                entries[row.position()].vectors.contains_key(name)
            });
            if slots.count() > 0 {
                vectors.insert(name.clone(), write_vector(site, (name, &slots), entries, config)?);
            }
        }
        let bytes = Table::encode(site.collection, entries);
        let table = FileRef::publish(site.dir, site.folder, &bytes)?;
        Ok(Files { rows: entries.len(), table, vectors })
    }

    /// Opens the files, but for those of hidden vectors. Reads a few pages of each.
    pub(crate) fn open(
        site: &Site<'_>,
        (files, hidden): (&Files, &[String]),
        config: &Config,
    ) -> Result<Self, OpenError> {
        let (bytes, path) = files.table.read(site.dir, site.folder)?;
        let table = Table::open(bytes, &path, site.collection)?;
        if table.len() != files.rows {
            let what = format!("{} rows, the manifest says {}", table.len(), files.rows);
            return Err(OpenError::Corrupt { path, offset: 0, what });
        }
        let mut vectors = BTreeMap::new();
        for (name, of) in files.vectors.iter().filter(|(name, _)| !hidden.contains(name)) {
            let (bytes, path) = of.data.read(site.dir, site.folder)?;
            let slots = match &of.slots {
                None => Slots::All(files.rows),
                Some(file) => read_slots(site, file, files.rows)?,
            };
            let dense = config.dense.get(name);
            let column = match dense {
                Some(dense) if dense.multi == Arity::One => {
                    Column::Dense(Dense::open(bytes, &path, slots, dense.dim)?)
                }
                _ => {
                    let multi = dense.map(|dense| dense.metric);
                    open_others(bytes, &path, slots, multi)?
                }
            };
            vectors.insert(name.clone(), column);
        }
        Ok(Self { files: files.clone(), table, vectors })
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn id(&self, row: Row) -> Result<PointId, DamageError> {
        self.table.id(row)
    }

    pub(crate) fn version(&self, row: Row) -> Result<u64, DamageError> {
        self.table.version(row)
    }

    pub(crate) fn expires(&self, row: Row) -> Result<u64, DamageError> {
        self.table.expires(row)
    }

    pub(crate) fn earliest(&self) -> u64 {
        self.table.earliest()
    }

    pub(crate) fn payload(&self, row: Row) -> Result<Map<String, Value>, DamageError> {
        self.table.payload(row)
    }

    pub(crate) fn find(&self, id: &PointId) -> Result<Option<Row>, DamageError> {
        self.table.find(id)
    }

    /// The row at a place in the order of names.
    pub(crate) fn ordered(&self, place: usize) -> Result<Row, DamageError> {
        self.table.ordered(place)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.vectors.keys().cloned().collect()
    }

    /// What each vector is indexed by, and how many rows have it.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = (&str, String, usize)> {
        self.vectors.iter().map(|(name, column)| match column {
            Column::Dense(dense) => (name.as_str(), dense.spec(), dense.slots().count()),
            Column::Others { slots, .. } => (name.as_str(), "flat".to_owned(), slots.count()),
        })
    }

    pub(crate) fn has_vector(&self, name: &str, row: Row) -> bool {
        self.vectors.get(name).is_some_and(|column| column.slots().slot(row).is_some())
    }

    pub(crate) fn vector(&self, name: &str, row: Row) -> Result<Option<Vector>, DamageError> {
        match self.vectors.get(name) {
            None => Ok(None),
            Some(Column::Dense(dense)) => Ok(dense.vector(row)?.map(Vector::Dense)),
            Some(Column::Others { slots, blobs, .. }) => match slots.slot(row) {
                None => Ok(None),
                Some(slot) => other(blobs, slot, slots.count()).map(Some),
            },
        }
    }

    pub(crate) fn nearest(
        &self,
        name: &str,
        query: &Vector,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<(Row, f32)>, DamageError> {
        match (self.vectors.get(name), query) {
            (Some(Column::Dense(dense)), Vector::Dense(query)) => dense.nearest(query, wanted),
            (Some(Column::Others { slots, blobs, multi }), query) => {
                let slotted = slots.allowed(wanted.allowed);
                let allowed = slotted.as_ref().or(wanted.allowed);
                let hits = others_nearest((blobs, slots, *multi), query, wanted.k, allowed)?;
                Ok(hits.into_iter().map(|(slot, far)| (slots.row(slot), far)).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Holds every file against its checksums. O(bytes).
    pub(crate) fn verify(&self) -> Result<(), OpenError> {
        self.table.verify()?;
        for column in self.vectors.values() {
            match column {
                Column::Dense(dense) => dense.verify()?,
                Column::Others { blobs, .. } => blobs.verify()?,
            }
        }
        Ok(())
    }
}

impl Column {
    fn slots(&self) -> &Slots {
        match self {
            Self::Dense(dense) => dense.slots(),
            Self::Others { slots, .. } => slots,
        }
    }
}

fn write_vector(
    site: &Site<'_>,
    (name, slots): (&str, &Slots),
    entries: &[Entry],
    config: &Config,
) -> Result<VectorFiles, OpenError> {
    let vectors = || entries.iter().filter_map(|entry| entry.vectors.get(name));
    let one = config.dense.get(name).is_some_and(|dense| dense.multi == Arity::One);
    let bytes = if one {
        let mut data = Vec::new();
        for vector in vectors() {
            if let Vector::Dense(values) = vector {
                data.extend_from_slice(values);
            }
        }
        Dense::encode(config, name, &data, site.threads)
            .map_err(|problem| OpenError::Index { name: name.to_owned(), problem })?
    } else {
        let all: Vec<&Vector> = vectors().collect();
        let blobs = blobs(all.len(), |at, out| codec::put_vector(out, all[at]));
        strip::encode(&OTHERS, &[("vectors", blobs)])
    };
    let data = FileRef::publish(site.dir, site.folder, &bytes)?;
    let slots = match slots {
        Slots::All(_) => None,
        Slots::Some(rows, _) => {
            let rows = rows.iter().flat_map(|row| row.to_le_bytes()).collect();
            let bytes = strip::encode(&SLOTS, &[("rows", rows)]);
            Some(FileRef::publish(site.dir, site.folder, &bytes)?)
        }
    };
    Ok(VectorFiles { data, slots })
}

fn read_slots(site: &Site<'_>, file: &FileRef, rows: usize) -> Result<Slots, OpenError> {
    let (bytes, path) = file.read(site.dir, site.folder)?;
    let strips = strip::open(bytes, &path, &SLOTS, &["rows"])?;
    let data = strips.first().map(Strip::whole).transpose()?.unwrap_or_default();
    let of: Vec<u32> = data.as_chunks().0.iter().map(|raw| u32::from_le_bytes(*raw)).collect();
    let rising = of.is_sorted_by(|a, b| a < b);
    let inside = of.last().is_none_or(|last| (*last as usize) < rows);
    if !rising || !inside || data.len() % 4 != 0 {
        let what = "rows do not rise, or go beyond the segment".to_owned();
        return Err(OpenError::Corrupt { path, offset: 0, what });
    }
    Ok(Slots::Some(of, rows))
}

fn open_others(
    bytes: Bytes,
    path: &std::path::Path,
    slots: Slots,
    multi: Option<kvant_index::Metric>,
) -> Result<Column, OpenError> {
    let mut strips = strip::open(bytes, path, &OTHERS, &["vectors"])?;
    let table = (slots.count() + 1) * 8;
    match strips.pop().filter(|blobs| blobs.len() >= table) {
        Some(blobs) => Ok(Column::Others { slots, blobs, multi }),
        None => {
            let what = "fewer vectors than the segment has rows".to_owned();
            Err(OpenError::Corrupt { path: path.to_owned(), offset: 0, what })
        }
    }
}

/// The vector in a slot.
fn other(blobs: &Strip, slot: Row, count: usize) -> Result<Vector, DamageError> {
    let (at, table) = (slot.position(), (count + 1) * 8);
    let (start, end) = (blobs.u64(at)? as usize, blobs.u64(at + 1)? as usize);
    if start > end || end > blobs.len() - table {
        return Err(blobs.damaged(at * 8));
    }
    let mut reader = Reader::new(blobs.read(table + start..table + end)?);
    let vector = codec::vector(&mut reader).filter(|_| reader.left() == 0);
    vector.ok_or_else(|| blobs.damaged(table + start))
}

/// Every allowed slot is measured.
fn others_nearest(
    (blobs, slots, metric): (&Strip, &Slots, Option<kvant_index::Metric>),
    query: &Vector,
    k: usize,
    allowed: Option<&Bitmap>,
) -> Result<Vec<(Row, f32)>, DamageError> {
    let every = (0..slots.count() as u32).map(Row);
    let wanted: Vec<Row> =
        every.filter(|slot| allowed.is_none_or(|allowed| allowed.contains(*slot))).collect();
    let mut vectors = Vec::with_capacity(wanted.len());
    for slot in &wanted {
        vectors.push(other(blobs, *slot, slots.count())?);
    }
    let hits = match (query, metric) {
        (Vector::Sparse(query), None) => {
            let sparse: Vec<Sparse> = vectors.into_iter().filter_map(super::chunk::as_sparse).collect();
            sparse_nearest(&sparse, query, k, None)
        }
        (Vector::Multi(query), Some(metric)) => {
            let multi: Vec<_> = vectors.into_iter().filter_map(super::chunk::as_multi).collect();
            super::chunk::multi_nearest(&multi, (query, metric), k, None)
        }
        _ => Vec::new(),
    };
    Ok(hits.into_iter().map(|(at, far)| (wanted[at.position()], far)).collect())
}
