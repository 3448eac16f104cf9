//! Manifests: the numbered files that say what a collection consists of, and up to which record.
//!
//! Framed, sections `config`, `state` (JSON) and `deleted` (see [`put_rows`]). A manifest is only
//! ever created; the one with the highest number is the state. Since its name appears only when all
//! of it is on the disk, a damaged one is damage and never an unfinished write: it is an error, and
//! no older one is taken in its place.

use std::collections::BTreeMap;
use std::path::Path;

use kvant_index::{Bitmap, Row};
use kvant_payload::FieldSchema;
use kvant_storage::frame::{Frame, Kind, Section, to_bytes};
use kvant_storage::{Dir, Name, ReadError};
use serde::{Deserialize, Serialize};

use crate::codec::Reader;
use crate::limits::{ROWS_MAX, SEGMENTS_MAX};
use crate::segment::sealed::Files;
use crate::{Config, OpenError};

const KIND: Kind = Kind { magic: *b"KVANTMAN", version: 2, features: 0 };

/// A state of a collection.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) number: u64,
    pub(crate) collection: u64,
    pub(crate) config: Config,
    pub(crate) fields: BTreeMap<kvant_payload::Path, FieldSchema>,
    /// The last record that is in it, and its time.
    pub(crate) seq: u64,
    pub(crate) time: u64,
    pub(crate) segments: Vec<Listed>,
}

/// A segment, and what of it was alive when that record had been applied.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) files: Files,
    pub(crate) live: Bitmap,
    /// Vectors in it that were dropped by then.
    pub(crate) hidden: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    collection: u64,
    seq: u64,
    time: u64,
    segments: Vec<Segment>,
}

#[derive(Serialize, Deserialize)]
struct Segment {
    files: Files,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hidden: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Makeup {
    config: Config,
    fields: Vec<(kvant_payload::Path, FieldSchema)>,
}

/// The folder of manifests of a collection.
pub(crate) fn folder(collection: u64) -> String {
    format!("collection/{collection}/manifest")
}

impl Manifest {
    /// Creates the file and returns its bytes in size. Afterwards this is the state.
    pub(crate) fn publish(&self, dir: &dyn Dir) -> Result<u64, OpenError> {
        assert!(self.segments.len() <= SEGMENTS_MAX, "{} segments", self.segments.len());
        let segment = |Listed { files, hidden, .. }: &Listed| {
            let (files, hidden) = (files.clone(), hidden.clone());
            Segment { files, hidden }
        };
        let head = Head {
            collection: self.collection,
            seq: self.seq,
            time: self.time,
            segments: self.segments.iter().map(segment).collect(),
        };
        let fields = self.fields.iter().map(|(path, of)| (path.clone(), of.clone())).collect();
        let makeup = Makeup { config: self.config.clone(), fields };
        let mut deleted = Vec::new();
        for listed in &self.segments {
            put_rows(&mut deleted, &listed.live);
        }
        // Plain structs of numbers and texts into memory: there is no way to fail.
        let makeup = serde_json::to_vec(&makeup).unwrap_or_default();
        let head = serde_json::to_vec(&head).unwrap_or_default();
        assert!(!makeup.is_empty() && !head.is_empty(), "written as JSON");
        let sections = [
            Section { name: "config", data: &makeup },
            Section { name: "state", data: &head },
            Section { name: "deleted", data: &deleted },
        ];
        let bytes = to_bytes(&KIND, 0, &sections);
        dir.create_new(&numbered(&folder(self.collection), self.number)?, &bytes)?;
        Ok(bytes.len() as u64)
    }

    /// The manifest of `collection` with the highest number; `None` where there is none.
    pub(crate) fn newest(dir: &dyn Dir, collection: u64) -> Result<Option<Self>, OpenError> {
        let folder = folder(collection);
        let Some(number) = numbers(dir, &folder)?.into_iter().max() else { return Ok(None) };
        let name = numbered(&folder, number)?;
        let path = dir.place().join(name.as_str());
        let frame = Frame::open(dir.read(&name)?, &path, &KIND)?;
        if frame.version() < KIND.version {
            return Err(corrupt(&path, "made by an earlier release: import the points again"));
        }
        let makeup: Makeup = json(&frame, "config")?;
        makeup.config.check().map_err(|e| corrupt(&path, &e.to_string()))?;
        let Head { collection: of, seq, time, segments: named } = json(&frame, "state")?;
        let rows = named.iter().map(|segment| segment.files.rows);
        let rows = rows.into_iter().try_fold(0usize, usize::checked_add);
        if of != collection {
            return Err(corrupt(&path, "the manifest belongs to another collection"));
        }
        if named.len() > SEGMENTS_MAX || rows.is_none_or(|rows| rows > ROWS_MAX) {
            return Err(corrupt(&path, "too many segments or rows"));
        }
        let deleted = frame.section("deleted")?;
        let mut reader = Reader::new(&deleted);
        let mut segments = Vec::new();
        for Segment { files, hidden } in named {
            let live = rows_of(&mut reader, files.rows as u32)
                .ok_or_else(|| corrupt(&path, "the deleted rows are senseless"))?;
            segments.push(Listed { files, live, hidden });
        }
        if reader.left() != 0 {
            return Err(corrupt(&path, "deleted rows of no segment"));
        }
        let Makeup { config, fields } = makeup;
        let fields = fields.into_iter().collect();
        Ok(Some(Self { number, collection, config, fields, seq, time, segments }))
    }
}

/// `folder/` and a number in ten digits.
pub(crate) fn numbered(folder: &str, number: u64) -> Result<Name, OpenError> {
    Name::new(&format!("{folder}/{number:010}"))
        .map_err(|error| corrupt(Path::new(folder), &error.to_string()))
}

/// The numbers of the files in `folder`; other files are none of ours.
pub(crate) fn numbers(dir: &dyn Dir, folder: &str) -> Result<Vec<u64>, ReadError> {
    let number = |name: &Name| {
        let leaf = name.leaf();
        leaf.parse().ok().filter(|number: &u64| format!("{number:010}") == leaf)
    };
    Ok(dir.list(folder)?.iter().filter_map(number).collect())
}

fn json<T: for<'de> Deserialize<'de>>(frame: &Frame, section: &str) -> Result<T, OpenError> {
    let bytes = frame.section(section)?;
    serde_json::from_slice(&bytes)
        .map_err(|e| corrupt(frame.path(), &format!("section {section:?}: {e}")))
}

fn corrupt(path: &Path, what: &str) -> OpenError {
    OpenError::Corrupt { path: path.to_owned(), offset: 0, what: what.to_owned() }
}

/// Appends the rows missing from `live`: `count u32`, then each as u32, rising. Where a bit per
/// row is shorter than that, `u32::MAX` and the bits, first row lowest.
fn put_rows(out: &mut Vec<u8>, live: &Bitmap) {
    let deleted = (0..live.len() as u32).map(Row).filter(|row| !live.contains(*row));
    let count = live.len() - live.count();
    if count * 4 <= live.len().div_ceil(8) {
        out.extend_from_slice(&(count as u32).to_le_bytes());
        deleted.for_each(|row| out.extend_from_slice(&row.0.to_le_bytes()));
        return;
    }
    out.extend_from_slice(&u32::MAX.to_le_bytes());
    let start = out.len();
    out.resize(start + live.len().div_ceil(8), 0);
    deleted.for_each(|row| out[start + row.position() / 8] |= 1 << (row.position() % 8));
}

/// Reads what [`put_rows`] wrote of a segment of `len` rows. Costs a bit per row; the sum of rows
/// is bounded by the caller.
fn rows_of(reader: &mut Reader<'_>, len: u32) -> Option<Bitmap> {
    let count = reader.u32()?;
    if count == u32::MAX {
        let bits = reader.take((len as usize).div_ceil(8))?;
        let mut live = Bitmap::full(len as usize);
        for row in (0..len).filter(|row| bits[*row as usize / 8] >> (row % 8) & 1 == 1) {
            live.remove(Row(row));
        }
        return Some(live);
    }
    let rows = reader.take((count as usize).checked_mul(4)?)?;
    let mut live = Bitmap::full(len as usize);
    for raw in rows.as_chunks().0 {
        if !live.remove(Row(u32::from_le_bytes(*raw))) {
            return None;
        }
    }
    Some(live)
}

#[cfg(test)]
mod tests;
