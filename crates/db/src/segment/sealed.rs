//! A sealed segment: one framed file, mapped, never changed.
//!
//! Sections: `meta` (JSON), `vectors` (f32, row-major), `ids` and `payloads` (offsets and bytes),
//! `index` (the shape, as `index` writes it). All are verified when the file is opened.

use super::Columns;
use super::blob::Blobs;
use crate::change::Rows;
use crate::codec::{Reader, put_id};
use crate::manifest::Listed;
use crate::{OpenError, PointId, SearchError, Settings};
use kvant_index::{AnyShape, BuildOptions, FloatRows, Hit, Metric, Row, SearchOptions, Spec};
use kvant_storage::frame::{Frame, Kind, Section, save};
use kvant_storage::{Bytes, Dir, Name, bytes_of_f32};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where segments are.
pub(crate) const FOLDER: &str = "segment";
const KIND: Kind = Kind { magic: *b"KVANTSEG", version: 1, features: 0 };
/// Below this many rows measuring all of them takes no longer than walking a graph.
const FLAT_ROWS: usize = 2048;

/// A segment on disk, opened.
#[derive(Debug)]
pub(crate) struct Sealed {
    number: u64,
    identity: u32,
    path: PathBuf,
    size_bytes: u64,
    len: usize,
    dim: usize,
    metric: Metric,
    vectors: Bytes,
    ids: Blobs,
    payloads: Blobs,
    shape: AnyShape,
}

/// What the file says about itself; must agree with the manifest.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    collection: u64,
    number: u64,
    rows: u32,
    dim: usize,
    metric: String,
}

/// Whose segment it is and how to build it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) collection: u64,
    pub(crate) threads: usize,
}

impl Plan<'_> {
    fn meta(&self, number: u64, rows: usize) -> Meta {
        Meta {
            collection: self.collection,
            number,
            rows: rows as u32,
            dim: self.settings.dim,
            metric: self.settings.metric.to_string(),
        }
    }
}

impl Sealed {
    /// Builds the index over `rows` and writes all of it durably as segment `number`.
    pub(crate) fn write(
        dir: &dyn Dir,
        number: u64,
        rows: &Rows,
        plan: &Plan<'_>,
    ) -> Result<Listed, OpenError> {
        let Plan { settings, threads, .. } = *plan;
        let len = rows.ids.len();
        assert_eq!(rows.vectors.len(), len * settings.dim, "whole rows");
        let spec = if len < FLAT_ROWS { Spec::Flat } else { settings.spec };
        let floats = FloatRows::new(&rows.vectors, settings.dim, settings.metric);
        let options = BuildOptions { threads, ..BuildOptions::default() };
        let index = AnyShape::build(&spec, &floats, &options).to_bytes();
        let encoded = |id| {
            let mut out = Vec::new();
            put_id(&mut out, id);
            out
        };
        let ids: Vec<Vec<u8>> = rows.ids.iter().map(encoded).collect();
        let ids = Blobs::encode(ids.iter().map(Vec::as_slice));
        let payloads = Blobs::encode(rows.payloads.iter().map(|p| &**p));
        // Numbers and strings into memory: there is no way to fail.
        let meta = serde_json::to_vec(&plan.meta(number, len)).unwrap_or_default();
        assert!(!meta.is_empty(), "written as JSON");
        let sections = [
            Section { name: "meta", data: &meta },
            Section { name: "vectors", data: bytes_of_f32(&rows.vectors) },
            Section { name: "ids", data: &ids },
            Section { name: "payloads", data: &payloads },
            Section { name: "index", data: &index },
        ];
        let identity = save(dir, &Name::numbered(FOLDER, number), &KIND, 0, &sections)?;
        Ok(Listed { number, identity, live: kvant_index::Bitmap::full(len) })
    }

    /// Opens and verifies the segment that `listed` names. O(bytes of the file).
    pub(crate) fn open(dir: &dyn Dir, listed: &Listed, plan: &Plan<'_>) -> Result<Self, OpenError> {
        let name = Name::numbered(FOLDER, listed.number);
        let path = dir.place().join(name.as_str());
        let bytes = dir.read(&name)?;
        let size_bytes = bytes.len() as u64;
        let frame = Frame::open(bytes, &path, &KIND)?;
        let corrupt = |what: &str| corrupt(&path, what);
        if frame.identity() != listed.identity {
            return Err(corrupt("the file is not the one the manifest lists"));
        }
        let (len, dim) = (listed.live.len(), plan.settings.dim);
        let meta: Option<Meta> = serde_json::from_slice(&frame.section("meta")?).ok();
        if meta != Some(plan.meta(listed.number, len)) {
            return Err(corrupt("the segment belongs to another collection or manifest"));
        }
        let vectors = frame.section("vectors")?;
        if vectors.as_f32().map(<[f32]>::len) != len.checked_mul(dim) {
            return Err(corrupt("the vectors are not rows × dimension"));
        }
        let blobs = |name: &str| {
            let bytes = frame.section(name)?;
            Blobs::open(bytes, len).ok_or_else(|| corrupt("offsets do not rise to the end"))
        };
        let (ids, payloads) = (blobs("ids")?, blobs("payloads")?);
        let shape = AnyShape::from_bytes(&frame.section("index")?, len)
            .map_err(|e| corrupt(&e.to_string()))?;
        let metric = plan.settings.metric;
        if !shape.serves(dim, metric) {
            return Err(corrupt("the index is of other vectors"));
        }
        let (number, identity) = (listed.number, listed.identity);
        Ok(Self {
            number,
            identity,
            path,
            size_bytes,
            len,
            dim,
            metric,
            vectors,
            ids,
            payloads,
            shape,
        })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn identity(&self) -> u32 {
        self.identity
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn search(&self, query: &[f32], options: &SearchOptions<'_>) -> Vec<Hit> {
        let rows = FloatRows::new(self.floats(), self.dim, self.metric);
        self.shape.search(&rows, query, options)
    }

    fn floats(&self) -> &[f32] {
        let floats = self.vectors.as_f32().unwrap_or_default();
        assert_eq!(floats.len(), self.len * self.dim, "checked when opened");
        floats
    }
}

impl Columns for Sealed {
    fn id(&self, row: Row) -> Option<PointId> {
        let mut reader = Reader::new(self.ids.get(row));
        reader.id().filter(|_| reader.left() == 0)
    }

    fn vector(&self, row: Row) -> &[f32] {
        &self.floats()[row.position() * self.dim..(row.position() + 1) * self.dim]
    }

    fn payload(&self, row: Row) -> &[u8] {
        self.payloads.get(row)
    }

    fn damaged(&self, row: Row) -> SearchError {
        SearchError::Damaged { path: self.path.clone(), row: row.0 }
    }
}

pub(crate) fn corrupt(path: &Path, what: &str) -> OpenError {
    OpenError::Corrupt { path: path.to_owned(), offset: 0, what: what.to_owned() }
}
