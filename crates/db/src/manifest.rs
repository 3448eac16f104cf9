//! Manifests: the numbered files that say what the collection consists of.
//!
//! Framed, sections `settings` and `state` (JSON) and `deleted` (see [`put_rows`]). A manifest is
//! only ever created; the one with the highest number is the state. Since its name appears only
//! when all of it is on the disk, a damaged one is damage and never an unfinished write: it is an
//! error, and no older one is taken in its place.

use crate::codec::Reader;
use crate::limits::{ROWS_MAX, SEGMENTS_MAX};
use crate::wal::Pin;
use crate::{OpenError, Settings};
use kvant_index::{Bitmap, Row};
use kvant_storage::frame::{Frame, Kind, Section, to_bytes};
use kvant_storage::{Dir, Name, ReadError};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where manifests are.
pub(crate) const FOLDER: &str = "manifest";
const KIND: Kind = Kind { magic: *b"KVANTMAN", version: 1, features: 0 };

/// A state of the collection.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) number: u64,
    pub(crate) settings: Settings,
    /// A number no other collection has.
    pub(crate) collection: u64,
    pub(crate) wal: Pin,
    pub(crate) segments: Vec<Listed>,
}

/// A segment and what is deleted from it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) number: u64,
    pub(crate) identity: u32,
    pub(crate) live: Bitmap,
}

#[derive(Serialize, Deserialize)]
struct State {
    collection: u64,
    wal: Pin,
    segments: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    number: u64,
    identity: u32,
    rows: u32,
}

impl Manifest {
    /// Creates the file and returns its bytes in size. Afterwards this is the state.
    pub(crate) fn publish(&self, dir: &dyn Dir) -> Result<u64, OpenError> {
        assert!(self.segments.len() <= SEGMENTS_MAX, "{} segments", self.segments.len());
        let entry = |listed: &Listed| Entry {
            number: listed.number,
            identity: listed.identity,
            rows: listed.live.len() as u32,
        };
        let state = State {
            collection: self.collection,
            wal: self.wal.clone(),
            segments: self.segments.iter().map(entry).collect(),
        };
        let mut deleted = Vec::new();
        for listed in &self.segments {
            put_rows(&mut deleted, &listed.live);
        }
        // Plain structs of numbers and strings into memory: there is no way to fail.
        let settings = serde_json::to_vec(&self.settings).unwrap_or_default();
        let state = serde_json::to_vec(&state).unwrap_or_default();
        assert!(!settings.is_empty() && !state.is_empty(), "written as JSON");
        let bytes = to_bytes(
            &KIND,
            0,
            &[
                Section { name: "settings", data: &settings },
                Section { name: "state", data: &state },
                Section { name: "deleted", data: &deleted },
            ],
        );
        dir.create_new(&Name::numbered(FOLDER, self.number), &bytes)?;
        Ok(bytes.len() as u64)
    }

    /// The manifest with the highest number and its size; `None` where there is none.
    pub(crate) fn newest(dir: &dyn Dir) -> Result<Option<(Self, u64)>, OpenError> {
        let Some(number) = numbers(dir, FOLDER)?.into_iter().max() else { return Ok(None) };
        let name = Name::numbered(FOLDER, number);
        let path = dir.place().join(name.as_str());
        let bytes = dir.read(&name)?;
        let size = bytes.len() as u64;
        let frame = Frame::open(bytes, &path, &KIND)?;
        let settings: Settings = json(&frame, "settings")?;
        settings.check().map_err(|e| corrupt(&path, &e.to_string()))?;
        let state: State = json(&frame, "state")?;
        let rows: usize = state.segments.iter().map(|entry| entry.rows as usize).sum();
        if state.segments.len() > SEGMENTS_MAX || rows > ROWS_MAX || state.wal.first == 0 {
            return Err(corrupt(&path, "too many segments or rows, or a log that starts at 0"));
        }
        let deleted = frame.section("deleted")?;
        let mut reader = Reader::new(&deleted);
        let mut segments = Vec::new();
        for Entry { number, identity, rows } in state.segments {
            let live = rows_of(&mut reader, rows)
                .ok_or_else(|| corrupt(&path, "the deleted rows are senseless"))?;
            segments.push(Listed { number, identity, live });
        }
        if reader.left() != 0 {
            return Err(corrupt(&path, "deleted rows of no segment"));
        }
        let State { collection, wal, .. } = state;
        Ok(Some((Self { number, settings, collection, wal, segments }, size)))
    }
}

/// The numbers of the files in `folder`; other files are none of ours.
pub(crate) fn numbers(dir: &dyn Dir, folder: &str) -> Result<Vec<u64>, ReadError> {
    Ok(dir.list(folder)?.iter().filter_map(Name::number).collect())
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
