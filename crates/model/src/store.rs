//! Packed weights kept in files, so that a model that was run before starts without packing.
//!
//! A file holds the weights of all linear layers of one model in the order that products read.
//! It is made when the model is first loaded and mapped from then on. It can always be made again:
//! one that is missing, damaged, of other weights or of another version is ignored and replaced.

mod form;
mod identity;
mod loader;
mod table;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::PathBuf;

use kvant_storage::frame::{self, Frame, Kind, Pieces};
use kvant_storage::{Bytes, Shelf};

pub(crate) use identity::SourceFile;
pub(crate) use loader::Loader;

use crate::layer::packed::Packed;
use table::{Entry, Layer, Table};

/// What a file of packed weights begins with, and what of it can be read.
const KIND: Kind = Kind { magic: *b"KVPACKED", version: 1, features: 0 };
/// Boundary of every part of a weight.
const ALIGN: usize = 64;

/// A folder of packed weights, bounded in size. Give it to
/// [`Checkpoint::with_packed`](crate::Checkpoint::with_packed).
///
/// Any number of processes may use one at the same time. Nothing that goes wrong with it is an
/// error: models then load as they do without.
#[derive(Clone, Debug)]
pub struct PackedStore {
    shelf: Shelf,
    size_max: u64,
}

impl PackedStore {
    /// The folder at `root`, made when a model is first kept there. Of files that take more than
    /// `size_max` bytes together those go that were not used for longest.
    pub fn new(root: PathBuf, size_max: u64) -> Self {
        Self { shelf: Shelf::new(root, size_max), size_max }
    }

    /// How many linear layers `file`, the content of a file of such a folder, holds that could be
    /// run, for whatever model; `None` if it is no such file. Reads all of it.
    pub fn check(file: &Bytes) -> Option<usize> {
        let kept = Kept::open(file.clone(), None)?;
        Some(kept.table.entries.iter().filter(|entry| kept.forms(entry).is_some()).count())
    }

    /// What is kept under `name`, if it is of the model that `key` says and not damaged.
    fn read(&self, name: &str, key: &str) -> Option<Kept> {
        Kept::open(self.shelf.read(name)?, Some(key))
    }

    /// Keeps `layers`, each under its own key, as those of the model that `key` says.
    fn write(&self, name: &str, key: &str, layers: &[Layer<'_>]) {
        let (table, data) = table::lay_out(layers);
        let size: usize = data.iter().map(|piece| piece.len()).sum();
        if size as u64 > self.size_max {
            return;
        }
        let sections = [
            Pieces { name: "key", data: vec![key.as_bytes()] },
            Pieces { name: "table", data: vec![&table] },
            Pieces { name: "data", data },
        ];
        // A full disk, a place that cannot be written: packed again next time.
        let Ok(mut sink) = self.shelf.create(name) else { return };
        if frame::write(sink.as_mut(), &KIND, 0, &sections).is_ok() && sink.publish().is_ok() {
            self.shelf.trim(name);
        }
    }
}

/// A file of packed weights, verified.
#[derive(Debug)]
struct Kept {
    table: Table,
    data: Bytes,
}

impl Kept {
    /// Opens `file`, with the key it must have. Reads all of it, for its checksum.
    fn open(file: Bytes, key: Option<&str>) -> Option<Self> {
        if cfg!(target_endian = "big") {
            return None;
        }
        let frame = Frame::open(file, "packed weights".as_ref(), &KIND).ok()?;
        let held = frame.section("key").ok()?;
        if key.is_some_and(|key| *held != *key.as_bytes()) {
            return None;
        }
        let table = Table::parse(&frame.section("table").ok()?)?;
        Some(Self { table, data: frame.section("data").ok()? })
    }

    /// The layer kept under `key`.
    fn layer(&self, key: &str) -> Option<Vec<Packed>> {
        self.forms(self.table.entries.iter().find(|entry| entry.key == key)?)
    }

    fn forms(&self, entry: &Entry) -> Option<Vec<Packed>> {
        let section = |range: &Range<u64>| {
            let (from, to) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
            let inside = from <= to && to <= self.data.len() && from.is_multiple_of(ALIGN);
            inside.then(|| self.data.slice(from..to))
        };
        let weights = entry.weights.iter().map(|(form, ranges)| {
            let sections: Option<Vec<Bytes>> = ranges.iter().map(section).collect();
            form.restore(&sections?)
        });
        weights.collect()
    }
}
