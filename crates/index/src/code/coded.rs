//! The buffer of a code: a header, its parameters, its rows.
//!
//! Little endian: `magic "KVXC" · version u16 · code u8 · metric u8 · dim u32 · detail u32 · rows
//! u64 · seed u64 · parameters u64 · bytes of a row u64 · 16 zeros`, the parameters in f32, zeros
//! to a multiple of 64, then the rows one after the other. A code borrows the buffer from whatever
//! holds it: a vector or a mapping.

use std::ops::Range;
use std::slice::{ChunksExact, ChunksExactMut};

use kvant_kernels::Picked;

use crate::file::{FileError, Reader};
use crate::{DIM_MAX, Metric, ROWS_MAX};

const MAGIC: [u8; 4] = *b"KVXC";
const VERSION: u16 = 1;
const HEADER: usize = 64;
const ALIGN: usize = 64;

/// What a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Which code, see the modules.
    pub(crate) code: u8,
    /// The place of the measure in its list.
    pub(crate) metric: u8,
    pub(crate) dim: usize,
    /// What else the code needs to know.
    pub(crate) detail: u32,
    pub(crate) len: usize,
    pub(crate) seed: u64,
}

impl Head {
    /// The measure of dense codes.
    pub(crate) fn dense_metric(&self) -> Result<Metric, FileError> {
        let got = self.metric.into();
        let metric = Metric::ALL.get(usize::from(self.metric)).copied();
        metric.ok_or(FileError::Header { name: "metric", got })
    }
}

/// The place of a measure in [`Metric::ALL`].
pub(crate) fn metric_code(metric: Metric) -> u8 {
    Metric::ALL.iter().position(|&other| other == metric).map_or(0, |at| at as u8)
}

/// A buffer and where its rows are.
#[derive(Clone, Debug)]
pub(crate) struct Coded<B> {
    pub(crate) head: Head,
    pub(crate) params: Vec<f32>,
    stride: usize,
    slab: usize,
    bytes: B,
}

/// Units of bytes that `len` rows take, `group` rows in each.
fn units(len: usize, group: usize) -> usize {
    len.div_ceil(group)
}

impl Coded<Vec<u8>> {
    /// A buffer whose rows are zeros of `stride` bytes.
    pub(crate) fn new(head: Head, params: Vec<f32>, stride: usize) -> Self {
        Self::grouped(head, params, (stride, 1))
    }

    /// A buffer of zeros whose rows share units of `stride` bytes, `group` rows in each.
    pub(crate) fn grouped(head: Head, params: Vec<f32>, (stride, group): (usize, usize)) -> Self {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[head.code, head.metric]);
        bytes.extend_from_slice(&(head.dim as u32).to_le_bytes());
        bytes.extend_from_slice(&head.detail.to_le_bytes());
        for number in [head.len as u64, head.seed, params.len() as u64, stride as u64, 0, 0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend(params.iter().flat_map(|param| param.to_le_bytes()));
        let slab = bytes.len().next_multiple_of(ALIGN);
        bytes.resize(slab + units(head.len, group) * stride, 0);
        Self { head, params, stride, slab, bytes }
    }

    /// Has `work` write the rows from those in `data` (`len × dim`), a share of them on each of
    /// `threads` threads (0 counts as 1).
    pub(crate) fn write(
        &mut self,
        data: &[f32],
        threads: usize,
        work: impl Fn(ChunksExactMut<'_, u8>, ChunksExact<'_, f32>) + Sync,
    ) {
        let (dim, stride) = (self.head.dim, self.stride.max(1));
        let share = self.head.len.div_ceil(threads.max(1)).max(1);
        let bytes = self.bytes[self.slab..].chunks_mut(share * stride);
        let mut parts = bytes.zip(data.chunks(share * dim));
        let work = |(bytes, data): (&mut [u8], &[f32])| {
            work(bytes.chunks_exact_mut(stride), data.chunks_exact(dim));
        };
        let own = parts.next();
        std::thread::scope(|scope| {
            let work = &work;
            parts.for_each(|part| {
                scope.spawn(move || work(part));
            });
            own.map(work);
        });
    }

    /// The rows or units, to be written.
    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.bytes[self.slab..].chunks_exact_mut(self.stride.max(1))
    }
}

impl<B: AsRef<[u8]>> Coded<B> {
    /// The buffer in `bytes`, over `len` rows. `layout` says of a header how many parameters there
    /// are and how long a row is; nothing is read but the header and the parameters.
    pub(crate) fn open(
        bytes: B,
        len: usize,
        layout: impl Fn(&Head) -> Result<(usize, usize), FileError>,
    ) -> Result<Self, FileError> {
        Self::open_grouped(bytes, (len, 1), layout)
    }

    /// As [`open`](Self::open), for rows that share units, `group` in each; `layout` says how long
    /// a unit is.
    pub(crate) fn open_grouped(
        bytes: B,
        (len, group): (usize, usize),
        layout: impl Fn(&Head) -> Result<(usize, usize), FileError>,
    ) -> Result<Self, FileError> {
        let all = bytes.as_ref();
        let mut reader = Reader::new(all, MAGIC, VERSION)?;
        let [code, metric] = reader.array()?;
        let dim = u32::from_le_bytes(reader.array()?);
        let detail = u32::from_le_bytes(reader.array()?);
        let rows = u64::from_le_bytes(reader.array()?);
        let seed = u64::from_le_bytes(reader.array()?);
        let mut check = |name, expected: u64| {
            let got = u64::from_le_bytes(reader.array()?);
            if got == expected { Ok(()) } else { Err(FileError::Header { name, got }) }
        };
        if rows != len as u64 || len > ROWS_MAX {
            return Err(FileError::Rows { expected: len as u64, got: rows });
        }
        if dim == 0 || dim as usize > DIM_MAX {
            return Err(FileError::Header { name: "dimension", got: dim.into() });
        }
        let head = Head { code, metric, dim: dim as usize, detail, len, seed };
        let (params, stride) = layout(&head)?;
        check("number of parameters", params as u64)?;
        check("bytes of a row", stride as u64)?;
        check("reserved number", 0)?;
        check("reserved number", 0)?;
        let values = reader.take(params * 4)?.as_chunks::<4>().0;
        let params: Vec<f32> = values.iter().map(|&value| f32::from_le_bytes(value)).collect();
        let read = HEADER + params.len() * 4;
        let slab = read.next_multiple_of(ALIGN);
        if let Some(&got) = reader.take(slab - read)?.iter().find(|&&byte| byte != 0) {
            return Err(FileError::Header { name: "padding", got: got.into() });
        }
        reader.take(units(len, group).saturating_mul(stride))?;
        reader.end()?;
        Ok(Self { head, params, stride, slab, bytes })
    }

    /// The whole buffer: what `open` reads.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Bytes of a row.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// The bytes of a row.
    pub(crate) fn row(&self, row: u32) -> &[u8] {
        &self.bytes.as_ref()[self.slab..][row as usize * self.stride..][..self.stride]
    }

    /// All rows.
    pub(crate) fn slab(&self) -> &[u8] {
        &self.bytes.as_ref()[self.slab..]
    }

    /// Some rows for a kernel.
    pub(crate) fn picked<'a>(&'a self, rows: &'a [u32]) -> Picked<'a, u8> {
        Picked::new(&self.bytes.as_ref()[self.slab..], self.stride, rows)
    }
}

/// Where rows lie in a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    slab: usize,
    stride: usize,
    group: u32,
}

impl Layout {
    /// Of `bytes` that were opened, `group` rows in each unit.
    pub(crate) fn of(bytes: &[u8], group: usize) -> Self {
        let number = |at: usize| {
            let number = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
            number.map_or(0, |&number| u64::from_le_bytes(number)) as usize
        };
        let slab = (HEADER + number(32) * 4).next_multiple_of(ALIGN);
        Self { slab, stride: number(40), group: group as u32 }
    }

    /// Of rows of `dim` values and nothing else.
    pub(crate) fn floats(dim: usize) -> Self {
        Self { slab: 0, stride: dim * 4, group: 1 }
    }

    /// The bytes before the first row.
    pub(crate) fn slab(&self) -> usize {
        self.slab
    }

    /// The bytes in which `row` lies.
    #[inline]
    pub(crate) fn row(&self, row: u32) -> Range<usize> {
        let unit = if self.group == 1 { row } else { row / self.group };
        let start = self.slab + unit as usize * self.stride;
        start..start + self.stride
    }
}

/// The f32 at byte `at` of a row.
#[inline]
pub(crate) fn float_at(row: &[u8], at: usize) -> f32 {
    row[at..].first_chunk::<4>().map_or(f32::NAN, |&bytes| f32::from_le_bytes(bytes))
}

/// Writes an f32 at byte `at` of a row.
pub(crate) fn put_float(row: &mut [u8], at: usize, value: f32) {
    row[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
