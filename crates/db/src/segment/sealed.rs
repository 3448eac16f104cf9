//! A segment in files: which points it has, and an index of each of their vectors. Never changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kvant_index::Row;
use kvant_payload::field::{FieldBuilder, FieldError, FieldIndex};
use kvant_payload::{FieldSchema, Path as PayloadPath, PointId};
use kvant_storage::Dir;
use kvant_storage::frame::Kind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Entry;
use super::column::Column;
use super::slot::Slots;
use super::strip::{self, FileRef, Strip};
use super::table::Table;
use crate::{Config, DamageError, OpenError};

const SLOTS: Kind = Kind { magic: *b"KVANTSLT", version: 1, features: 0 };

/// The files of a segment, as a manifest lists them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    pub(crate) rows: usize,
    /// Names, versions, times, payloads.
    pub(crate) table: FileRef,
    pub(crate) vectors: BTreeMap<String, VectorFiles>,
    /// Indexes of fields of payloads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<(PayloadPath, FileRef)>,
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
        vectors.chain([&self.table]).chain(self.fields.iter().map(|(_, file)| file))
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
    fields: BTreeMap<PayloadPath, (PathBuf, FieldIndex)>,
}

impl Sealed {
    /// Writes the files of these rows.
    pub(crate) fn write(
        site: &Site<'_>,
        entries: &[Entry],
        (config, schemas): (&Config, &BTreeMap<PayloadPath, FieldSchema>),
    ) -> Result<Files, OpenError> {
        let mut vectors = BTreeMap::new();
        for name in config.dense.keys().chain(config.sparse.keys()) {
            let slots =
                Slots::of(entries.len(), |row| entries[row.position()].vectors.contains_key(name));
            if slots.count() > 0 {
                vectors.insert(name.clone(), write_vector(site, (name, &slots), entries, config)?);
            }
        }
        let bytes = Table::encode(site.collection, entries);
        let table = FileRef::publish(site.dir, site.folder, &bytes)?;
        let mut fields = Vec::new();
        for (path, schema) in schemas {
            let mut builder = FieldBuilder::new(schema);
            for entry in entries {
                builder.push(path.values(&entry.payload));
            }
            fields.push((path.clone(), write_field(site, path, builder)?));
        }
        Ok(Files { rows: entries.len(), table, vectors, fields })
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
            vectors.insert(name.clone(), Column::open((bytes, &path), slots, dense)?);
        }
        let mut fields = BTreeMap::new();
        for (path, file) in &files.fields {
            let (bytes, place) = file.read(site.dir, site.folder)?;
            let index =
                FieldIndex::open(bytes, &place).map_err(|error| senseless(&place, &error))?;
            if index.len() as usize != files.rows {
                let what = format!("an index of {} rows of {}", index.len(), files.rows);
                return Err(OpenError::Corrupt { path: place, offset: 0, what });
            }
            fields.insert(path.clone(), (place, index));
        }
        Ok(Self { files: files.clone(), table, vectors, fields })
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
        self.vectors.iter().map(|(name, of)| (name.as_str(), of.spec(), of.slots().count()))
    }

    /// The same files with indexes of just these fields: those that are missing are made.
    pub(crate) fn indexed(
        &self,
        site: &Site<'_>,
        schemas: &BTreeMap<PayloadPath, FieldSchema>,
    ) -> Result<Files, OpenError> {
        let mut fields = Vec::new();
        for (path, schema) in schemas {
            let there = self.fields.get(path).filter(|(_, index)| index.schema() == schema);
            let named = self.files.fields.iter().find(|(of, _)| of == path);
            if let (Some(_), Some(same)) = (there, named) {
                fields.push(same.clone());
                continue;
            }
            let mut builder = FieldBuilder::new(schema);
            for row in 0..self.len() as u32 {
                let payload = self.payload(Row(row))?;
                builder.push(path.values(&payload));
            }
            fields.push((path.clone(), write_field(site, path, builder)?));
        }
        Ok(Files { fields, ..self.files.clone() })
    }

    /// Whether it has indexes of just these fields.
    pub(crate) fn is_indexed(&self, schemas: &BTreeMap<PayloadPath, FieldSchema>) -> bool {
        let same = |(path, schema): (&PayloadPath, &FieldSchema)| {
            self.fields.get(path).is_some_and(|(_, index)| index.schema() == schema)
        };
        schemas.len() == self.fields.len() && schemas.iter().all(same)
    }

    /// The index of a field, and where it is.
    pub(crate) fn field(&self, path: &PayloadPath) -> Option<&(PathBuf, FieldIndex)> {
        self.fields.get(path)
    }

    /// One of the vectors.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.vectors.get(name)
    }

    /// Holds every file against its checksums. O(bytes).
    pub(crate) fn verify(&self) -> Result<(), OpenError> {
        self.table.verify()?;
        self.vectors.values().try_for_each(Column::verify)?;
        let fields = &mut self.fields.values();
        fields.try_for_each(|(path, index)| index.verify().map_err(|e| senseless(path, &e)))
    }
}

fn write_vector(
    site: &Site<'_>,
    (name, slots): (&str, &Slots),
    entries: &[Entry],
    config: &Config,
) -> Result<VectorFiles, OpenError> {
    let vectors = entries.iter().filter_map(|entry| entry.vectors.get(name));
    let bytes = Column::encode(config, name, vectors, site.threads)
        .map_err(|problem| OpenError::Index { name: name.to_owned(), problem })?;
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

fn write_field(
    site: &Site<'_>,
    path: &PayloadPath,
    builder: FieldBuilder,
) -> Result<FileRef, OpenError> {
    let bytes = builder
        .finish()
        .map_err(|error| OpenError::Index { name: path.to_string(), problem: error.to_string() })?;
    FileRef::publish(site.dir, site.folder, &bytes)
}

fn senseless(path: &Path, error: &FieldError) -> OpenError {
    OpenError::Corrupt { path: path.to_owned(), offset: 0, what: error.to_string() }
}
