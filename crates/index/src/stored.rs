//! A whole index as one framed file: what it is, its shape, its codes, and the rows where it needs
//! them. See [docs/format.md](../../../docs/format.md).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvant_storage::frame::{self, Frame, FrameError, Kind, Pieces, Section};
use kvant_storage::{BLOCK_BYTES, Blocks, Bytes, Sink, WriteError, block_sums, bytes_of_f32};
use thiserror::Error;

use crate::any::ground::{Ground, Guards};
use crate::code::coded::metric_code;
use crate::file::{HEAD as FRONT, Reader};
use crate::guard::{Large, Watch};
use crate::limit::{SPEC_MAX, STORED_DIM_MAX};
use crate::number::Part;
use crate::{
    AnyRows, AnyShape, FileError, FloatRows, Index, IndexSpec, Metric, ROWS_MAX, ReadAhead,
    SearchError, SpecError, Tuning,
};

const KIND: Kind = Kind { magic: *b"KVANTIDX", version: 2, features: 0 };
const HEAD: &str = "head";
pub(crate) const BLOCKS: &str = "blocks";
const SHAPE: &str = "shape";
const CODE: &str = "code";
const RERANK: &str = "rerank";
const ROWS: &str = "rows";
/// How hard to search, where that was found by trying.
const TUNING: &str = "tuning";
/// The sections that are verified block by block, in the order of their tables.
const LARGE: [&str; 4] = [SHAPE, CODE, RERANK, ROWS];

/// Why a file is not opened as an index.
#[derive(Debug, Error)]
pub enum StoredError {
    /// Not such a file, or damaged.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A section that is not what it should be, though its checksum may be right.
    #[error(
        "{path}: section {section:?}: {cause}; build the index again",
        path = path.display()
    )]
    Section {
        /// The file.
        path: PathBuf,
        /// The section.
        section: &'static str,
        /// What is wrong with it.
        cause: FileError,
    },
    /// It is of a kind that this release does not know.
    #[error("{path}: {cause}; use a newer kvant, or build the index again", path = path.display())]
    Spec {
        /// The file.
        path: PathBuf,
        /// Which part of its name.
        cause: SpecError,
    },
}

/// How much of a file is held against its checksums when it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// What is read then anyway: header, section table, table of blocks. The rest is verified when
    /// it is first read, in blocks of 16 KiB: a search that meets damage says so.
    #[default]
    Opened,
    /// Everything, and that links and lists are as searches expect them. O(bytes).
    Everything,
}

/// Bytes of the parts of an index, 0 for those it does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Which rows to look at.
    pub shape: u64,
    /// The codes that are searched; where those are the rows as they came, these.
    pub code: u64,
    /// What measures again, in a code or as the rows came.
    pub rerank: u64,
}

impl Sizes {
    /// Bytes that a search goes through, a row: shape and codes, without what measures again.
    pub fn hot_per_row(&self, rows: usize) -> f64 {
        (self.shape + self.code) as f64 / rows.max(1) as f64
    }
}

impl<B: AsRef<[u8]> + Sync> Index<'_, B> {
    /// Writes the index as one file to `sink`, which is left to be published; the same index gives
    /// the same bytes, and one that was opened from a file those of that file, damaged or not. Rows
    /// are written where it cannot do without: where they are searched as they
    /// came, bounded, or measured again as they came.
    ///
    /// # Errors
    /// [`WriteError`].
    ///
    /// # Panics
    /// If rows have more than 2^24 dimensions.
    pub fn write(&self, sink: &mut dyn Sink) -> Result<(), WriteError> {
        let parts = Parts::of(self);
        let pieces = |(name, data)| Pieces { name, data: vec![data] };
        frame::write(sink, &KIND, 0, &parts.sections().map(pieces).collect::<Vec<_>>())
    }

    /// What [`write`](Self::write) writes.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    pub fn to_bytes(&self) -> Vec<u8> {
        let parts = Parts::of(self);
        let section = |(name, data)| Section { name, data };
        frame::to_bytes(&KIND, 0, &parts.sections().map(section).collect::<Vec<_>>())
    }

    /// Bytes of its parts, in memory as in a file.
    pub fn sizes(&self) -> Sizes {
        let parts = Parts::of(self);
        let size = |data: Option<&[u8]>| data.map_or(0, |data| data.len() as u64);
        parts_of(&self.spec(), parts.shape.len() as u64, |name| match name {
            CODE => size(parts.code),
            RERANK => size(parts.rerank),
            _ => size(parts.rows),
        })
    }
}

/// The sections of a file.
pub(crate) struct Parts<'a> {
    head: Vec<u8>,
    blocks: Vec<u8>,
    shape: Vec<u8>,
    code: Option<&'a [u8]>,
    rerank: Option<&'a [u8]>,
    rows: Option<&'a [u8]>,
    tuning: Option<Vec<u8>>,
}

impl<'a> Parts<'a> {
    pub(crate) fn of<B: AsRef<[u8]> + Sync>(index: &'a Index<'_, B>) -> Self {
        let rows = index.rows();
        let (code, rerank) = rows.sections();
        let head =
            Head { spec: index.spec(), metric: index.metric(), dim: index.dim(), len: index.len() };
        let (rows, shape) = (rows.floats().map(bytes_of_f32), index.shape().to_bytes());
        let tuning = index.tuning().map(Tuning::to_bytes);
        let blocks = table_of([Some(&shape[..]), code, rerank, rows].into_iter().flatten());
        Self { head: head.to_bytes(), blocks, shape, code, rerank, rows, tuning }
    }

    pub(crate) fn sections(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let own = [(HEAD, Some(&self.head[..])), (BLOCKS, Some(&self.blocks[..]))];
        let parts = [Some(&self.shape[..]), self.code, self.rerank, self.rows];
        let tuning = [(TUNING, self.tuning.as_deref())];
        let all = own.into_iter().chain(LARGE.into_iter().zip(parts)).chain(tuning);
        all.filter_map(|(name, data)| Some((name, data?)))
    }
}

/// The table of the blocks of sections, in their order.
pub(crate) fn table_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut blocks = (BLOCK_BYTES as u64).to_le_bytes().to_vec();
    parts.into_iter().for_each(|part| blocks.extend(block_sums(part)));
    blocks
}

/// The sizes of an index whose sections have the lengths that `size` says.
fn parts_of(spec: &IndexSpec, shape: u64, size: impl Fn(&str) -> u64) -> Sizes {
    let (code, rerank, rows) = (size(CODE), size(RERANK), size(ROWS));
    if spec.searches_floats() {
        Sizes { shape, code: code + rows, rerank }
    } else {
        Sizes { shape, code, rerank: rerank + rows }
    }
}

/// What an index is: `rows u64 · dim u32 · metric u8 · 0 u8 · length of the spec u16 · the spec`.
struct Head {
    spec: IndexSpec,
    metric: Metric,
    dim: usize,
    len: usize,
}

impl Head {
    fn to_bytes(&self) -> Vec<u8> {
        assert!(self.dim <= STORED_DIM_MAX, "{} dimensions in a file", self.dim);
        let spec = self.spec.to_string();
        let mut bytes = (self.len as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(&(self.dim as u32).to_le_bytes());
        bytes.extend_from_slice(&[metric_code(self.metric), 0]);
        bytes.extend_from_slice(&(spec.len() as u16).to_le_bytes());
        bytes.extend_from_slice(spec.as_bytes());
        bytes
    }

    fn read(bytes: &[u8], path: &Path) -> Result<Self, StoredError> {
        let numbers = || {
            let mut reader = Reader::whole(bytes);
            let len = u64::from_le_bytes(reader.array()?);
            let dim = reader.number()?;
            let [metric, reserved] = reader.array()?;
            let size = u16::from_le_bytes(reader.array()?);
            let wrong = |name, got| Err(FileError::Header { name, got });
            let Some(&metric) = Metric::ALL.get(usize::from(metric)) else {
                return wrong("metric", metric.into());
            };
            if len > ROWS_MAX as u64 {
                return wrong("number of rows", len);
            }
            if dim == 0 || dim as usize > STORED_DIM_MAX {
                return wrong("dimension", dim.into());
            }
            if reserved != 0 {
                return wrong("reserved byte", reserved.into());
            }
            if usize::from(size) > SPEC_MAX {
                return wrong("length of the name", size.into());
            }
            let name = reader.take(size.into())?;
            reader.end().map(|()| (len as usize, dim as usize, metric, name))
        };
        let section = |cause| StoredError::Section { path: path.to_owned(), section: HEAD, cause };
        let (len, dim, metric, name) = numbers().map_err(section)?;
        let spec = String::from_utf8_lossy(name).parse();
        let spec = spec.map_err(|cause| StoredError::Spec { path: path.to_owned(), cause })?;
        Ok(Self { spec, metric, dim, len })
    }
}

/// The file of an index, opened. It owns the bytes that [`index`](Self::index) borrows.
///
/// ```
/// use kvant_index::{BuildOptions, Check, FloatRows, Index, Metric, Stored};
///
/// let data = [0.0, 0.0, 3.0, 4.0, 1.0, 1.0];
/// let rows = FloatRows::new(&data, 2, Metric::Euclid);
/// let index = Index::build(&"flat,rq8".parse()?, rows, &BuildOptions::default())?;
/// let stored = Stored::open(index.to_bytes().into(), "near.kvant".as_ref(), Check::Everything)?;
/// let again = stored.index()?;
/// assert_eq!(again.search(&[3.0, 3.0], &Default::default())?.hits[0].row.0, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Stored {
    frame: Frame,
    spec: IndexSpec,
    metric: Metric,
    dim: usize,
    len: usize,
    check: Check,
    code: Option<Bytes>,
    rows: Option<Bytes>,
    /// Of the shape, and of what searches read otherwise.
    shape: Option<Arc<Blocks>>,
    guards: Guards,
    watch: Watch,
}

impl Stored {
    /// Opens the index in `bytes`, those of a mapped file as a rule; `path` is for messages. Reads
    /// the header, the section table, what the index is, and 4 bytes for each 16 KiB: no other page
    /// is touched, unless `check` says so.
    ///
    /// # Errors
    /// [`StoredError`], naming the file and the remedy.
    pub fn open(bytes: Bytes, path: &Path, check: Check) -> Result<Self, StoredError> {
        Self::of_frame(Frame::open(bytes, path, &KIND)?, check)
    }

    /// The same of a file of which an index is a part.
    pub(crate) fn of_frame(frame: Frame, check: Check) -> Result<Self, StoredError> {
        let path = frame.path().to_owned();
        let path = path.as_path();
        let Head { spec, metric, dim, len } = Head::read(&frame.section(HEAD)?, path)?;
        let part = |name| frame.has(name).then(|| frame.unverified(name)).transpose();
        let (code, rows) = (part(CODE)?, part(ROWS)?);
        let tables = tables(&frame, &LARGE)?;
        let blocks = |name| tables.iter().find(|(of, ..)| *of == name).map(|table| table.2.clone());
        let guards = Guards {
            code: blocks(CODE),
            rerank: blocks(RERANK),
            rows: blocks(ROWS),
            ahead: ReadAhead::default(),
        };
        let (shape, watch) = (blocks(SHAPE), Watch::new(path.to_owned(), tables));
        let stored =
            Self { frame, spec, metric, dim, len, check, code, rows, shape, guards, watch };
        if check == Check::Everything {
            stored.verify_everything()?;
        }
        if let Some(rows) = &stored.rows {
            let expected = (len as u64).saturating_mul(dim as u64).saturating_mul(4);
            let cause = FileError::Length { expected, got: rows.len() as u64 };
            if rows.len() as u64 != expected || rows.as_f32().is_none() {
                return Err(stored.wrong(ROWS, cause));
            }
        }
        Ok(stored)
    }

    /// Holds everything against its checksums. O(bytes).
    ///
    /// # Errors
    /// [`StoredError`], naming the first block that is damaged.
    pub fn verify_everything(&self) -> Result<(), StoredError> {
        LARGE.into_iter().try_for_each(|name| self.verify(name))?;
        self.frame.has(TUNING).then(|| self.frame.section(TUNING)).transpose()?;
        Ok(())
    }

    /// Copies what searches go through, codes or rows, to memory and holds it against its checksums
    /// on the way; the shape and what measures again stay in the file. Without this everything
    /// does.
    ///
    /// # Errors
    /// [`StoredError`] if it is damaged.
    pub fn load(&mut self) -> Result<(), StoredError> {
        if let Some(code) = &self.code {
            self.verify(CODE)?;
            (self.code, self.guards.code) = (Some(Bytes::copy_of(code)), None);
        }
        if let Some(rows) = self.rows.as_ref().filter(|_| self.spec.searches_floats()) {
            self.verify(ROWS)?;
            (self.rows, self.guards.rows) = (Some(Bytes::copy_of(rows)), None);
        }
        Ok(())
    }

    /// When the rows that are measured again, and the codes of lists, are asked for: for a file
    /// larger than memory, [`ReadAhead::Always`]. For the indexes made from now on.
    pub fn read_ahead(&mut self, ahead: ReadAhead) {
        self.guards.ahead = ahead;
    }

    /// The index. Its shape stays where it lies, O(1); of lists the centroids are read.
    ///
    /// # Errors
    /// [`StoredError`], naming the file and the remedy.
    pub fn index(&self) -> Result<Index<'static, Bytes>, StoredError> {
        let met = self.watch.met();
        let index = self.assemble();
        // What is damaged explains what does not fit.
        if let Err(SearchError::Damaged { section, offset, .. }) = self.watch.since(met) {
            return Err(self.damaged(section, offset));
        }
        index.map(|index| index.watched(self.watch.clone()))
    }

    /// Says whether links and lists are as searches expect them, which checksums do not tell.
    /// O(links), unverified.
    ///
    /// # Errors
    /// [`StoredError`], naming the file and the remedy.
    pub fn sound(&self) -> Result<(), StoredError> {
        self.shape()?.check().map_err(|cause| self.wrong(SHAPE, cause))
    }

    fn shape(&self) -> Result<AnyShape, StoredError> {
        let part = Part::new(self.frame.unverified(SHAPE)?, self.shape.clone());
        AnyShape::open(&part, self.len).map_err(|cause| self.wrong(SHAPE, cause))
    }

    fn assemble(&self) -> Result<Index<'static, Bytes>, StoredError> {
        let shape = self.shape()?;
        if self.check == Check::Everything {
            shape.check().map_err(|cause| self.wrong(SHAPE, cause))?;
        }
        if shape.spec() != self.spec.shape {
            return Err(self.wrong(SHAPE, FileError::Header { name: "shape", got: 0 }));
        }
        if self.guards.ahead == ReadAhead::Always {
            shape.read_apart();
        }
        for blocks in [&self.guards.code, &self.guards.rerank].into_iter().flatten() {
            blocks.touch(0..FRONT.min(blocks.data().len()));
        }
        let rerank = self.frame.has(RERANK).then(|| self.frame.unverified(RERANK)).transpose()?;
        let (dim, metric) = (self.dim, self.metric);
        let rows = self.rows.clone().and_then(|rows| FloatRows::shared(rows, dim, metric));
        let ground = Ground { dim, len: self.len, metric, rows, guards: self.guards.clone() };
        if !shape.serves(dim, metric) {
            return Err(
                self.wrong(SHAPE, FileError::Header { name: "shape of other rows", got: 0 })
            );
        }
        let rows =
            AnyRows::open_over(&self.spec, &ground, (self.code.clone(), rerank), shape.order());
        let rows = rows.map_err(|cause| self.wrong(CODE, cause))?;
        let index = Index::of_parts(self.spec, (dim, metric), shape, rows);
        Ok(match self.tuning()? {
            Some(tuning) => index.tuned(tuning),
            None => index,
        })
    }

    /// How hard searches try that say nothing of it, where that was found by trying.
    ///
    /// # Errors
    /// [`StoredError`], naming the file and the remedy.
    pub fn tuning(&self) -> Result<Option<Tuning>, StoredError> {
        if !self.frame.has(TUNING) {
            return Ok(None);
        }
        let tuning = Tuning::read(&self.frame.section(TUNING)?, &self.spec);
        tuning.map(Some).map_err(|cause| self.wrong(TUNING, cause))
    }

    /// Holds what is not known of a section to be whole against its checksums.
    fn verify(&self, name: &str) -> Result<(), StoredError> {
        let Some((name, start, blocks)) = self.sections().iter().find(|(of, ..)| *of == name)
        else {
            return Ok(());
        };
        match blocks.check(&(0..blocks.data().len())) {
            None => Ok(()),
            Some(at) => Err(self.damaged(name, start + at as u64)),
        }
    }

    fn damaged(&self, section: &str, offset: u64) -> StoredError {
        let (path, part) = (self.frame.path().to_owned(), format!("section {section:?}"));
        FrameError::Damaged { path, part, offset }.into()
    }

    /// The large sections, where they begin, and what is known of them.
    pub(crate) fn sections(&self) -> &[Large] {
        self.watch.sections()
    }

    /// What it is.
    pub fn spec(&self) -> IndexSpec {
        self.spec
    }

    /// The measure.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Values of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of its parts.
    pub fn sizes(&self) -> Sizes {
        let size = |name: &str| self.frame.size(name).unwrap_or(0);
        parts_of(&self.spec, size(SHAPE), size)
    }

    fn wrong(&self, section: &'static str, cause: FileError) -> StoredError {
        StoredError::Section { path: self.frame.path().to_owned(), section, cause }
    }
}

/// The large sections of a file with the checksums of their blocks; of version 1 each is one block.
pub(crate) fn tables(frame: &Frame, names: &[&'static str]) -> Result<Vec<Large>, StoredError> {
    let wrong = |got| {
        let (path, section) = (frame.path().to_owned(), BLOCKS);
        StoredError::Section { path, section, cause: FileError::Header { name: "blocks", got } }
    };
    let table = if frame.version() == 1 { None } else { Some(frame.section(BLOCKS)?) };
    let size = table.as_deref().map(|table| table.first_chunk().copied().map(u64::from_le_bytes));
    let size = match size {
        Some(None | Some(0)) => return Err(wrong(0)),
        Some(Some(size)) => size,
        None => 1,
    };
    let (mut found, mut at) = (Vec::new(), 8);
    for &name in names.iter().filter(|name| frame.has(name)) {
        let count = frame.size(name).unwrap_or(0).div_ceil(size) as usize;
        let sums = table.as_ref().map(|table| {
            let end = at + count.saturating_mul(4).min(table.len().saturating_sub(at));
            let sums = table.slice(at..end);
            at = end;
            (sums, size as usize)
        });
        let blocks = frame.blocks(name, sums)?.ok_or_else(|| wrong(size))?;
        found.push((name, frame.offset(name).unwrap_or(0), Arc::new(blocks)));
    }
    match table {
        Some(table) if table.len() != at => Err(wrong(table.len() as u64)),
        _ => Ok(found),
    }
}
