//! What a collection says about itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use kvant_payload::{FieldSchema, Path};

use crate::Config;
use crate::segment::Store;
use crate::state::Part;

/// Numbers and names of a collection.
#[derive(Clone, Debug)]
pub struct Info {
    /// Points that can be found.
    pub points: usize,
    /// What it is made of.
    pub config: Arc<Config>,
    /// Indexed fields.
    pub fields: Arc<BTreeMap<Path, FieldSchema>>,
    /// Where points are.
    pub segments: Vec<SegmentInfo>,
    /// Bytes of its files; the log, which all collections share, apart.
    pub bytes_disk: u64,
    /// Bytes of points that are in memory and the log.
    pub bytes_memory: usize,
    /// The last record applied.
    pub seq: u64,
    /// The last record that the log is not needed for.
    pub sealed_seq: u64,
}

/// A segment in files, or a chunk of points in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Whether it is in files.
    pub sealed: bool,
    /// Points that can be found.
    pub points: usize,
    /// Replaced and deleted rows that still take space.
    pub dead: usize,
    /// Bytes of files, or of memory.
    pub bytes: u64,
    /// What each vector is indexed by, and how many rows have it.
    pub vectors: Vec<(String, String, usize)>,
}

impl SegmentInfo {
    pub(crate) fn of(part: &Part) -> Self {
        let (points, dead) = (part.count, part.live.len() - part.count);
        match &part.store {
            Store::Chunk(chunk) => {
                let bytes = chunk.size_bytes() as u64;
                Self { sealed: false, points, dead, bytes, vectors: Vec::new() }
            }
            Store::Sealed(sealed) => {
                let vectors =
                    sealed.indexes().map(|(name, spec, rows)| (name.to_owned(), spec, rows));
                let (vectors, bytes) = (vectors.collect(), sealed.files().size_bytes());
                Self { sealed: true, points, dead, bytes, vectors }
            }
        }
    }
}

impl Info {
    /// Points in memory and the log, not yet sealed.
    pub fn growing_points(&self) -> usize {
        self.segments.iter().filter(|segment| !segment.sealed).map(|segment| segment.points).sum()
    }

    /// Replaced and deleted rows that still take space in files.
    pub fn dead_rows(&self) -> usize {
        self.segments.iter().filter(|segment| segment.sealed).map(|segment| segment.dead).sum()
    }
}
