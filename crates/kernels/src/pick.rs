//! Rows picked from a slab by number, measured against one query: what walks over graphs and scans
//! of codes spend their time in.
//!
//! A call takes a list of rows, so that four are in registers at once, share the loads of the query
//! and hide the memory behind the next four. What a row gives does not depend on the list it is in.

use crate::Kernels;
use crate::dense::DenseQuery;

/// Some rows of a slab, `stride` elements apart, by number; a row may be asked for twice.
#[derive(Clone, Copy, Debug)]
pub struct Picked<'a, T> {
    pub(crate) slab: &'a [T],
    pub(crate) stride: usize,
    pub(crate) rows: &'a [u32],
}

impl<'a, T> Picked<'a, T> {
    /// The rows `rows` of `slab`. They are checked when they are read.
    pub fn new(slab: &'a [T], stride: usize, rows: &'a [u32]) -> Self {
        Self { slab, stride, rows }
    }

    /// The first `len` elements of the row at `place` in the list.
    ///
    /// # Panics
    /// If the slab ends before them.
    #[inline]
    pub(crate) fn row(&self, place: usize, len: usize) -> &'a [T] {
        &self.slab[self.rows[place] as usize * self.stride..][..len]
    }
}

/// What is summed over the pairs of two vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// `Σ a·b`.
    Product,
    /// `Σ (a−b)²`.
    Square,
    /// `Σ |a−b|`.
    Magnitude,
}

/// Floats of 16 bits, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Half {
    /// IEEE half precision: 11 bits of significand, up to 65,504.
    F16,
    /// The upper half of an f32: 8 bits of significand.
    Bf16,
}

/// How many bits a code has that shares its byte with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// Four codes a byte.
    Two,
    /// Two codes a byte.
    Four,
}

impl Packing {
    /// Bits of a code.
    pub fn bits(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Codes of a byte.
    pub fn per_byte(self) -> usize {
        8 / self.bits()
    }

    /// Bytes of `dim` codes.
    pub fn bytes(self, dim: usize) -> usize {
        dim.div_ceil(self.per_byte())
    }
}

/// An int8 query in the order in which packed codes meet it, and the levels they stand for.
///
/// Code `j` of a row lies in byte `j / per_byte`, the first in the lowest bits. What follows the
/// last code in its byte meets a zero.
#[derive(Clone, Debug)]
pub struct PackedQuery {
    pub(crate) packing: Packing,
    /// Bytes of a row.
    pub(crate) bytes: usize,
    /// Bytes between streams.
    pub(crate) room: usize,
    /// One stream for each place in a byte; zeros after `bytes` up to `room`.
    pub(crate) streams: Vec<i8>,
    /// Repeated where there are fewer than 16.
    pub(crate) levels: [u8; 16],
}

impl PackedQuery {
    /// Arranges `query`; code `c` stands for `levels[c]`.
    pub fn new(query: &[i8], packing: Packing, levels: &[u8; 16]) -> Self {
        let (per_byte, bytes) = (packing.per_byte(), packing.bytes(query.len()));
        let room = bytes.next_multiple_of(64);
        let mut streams = vec![0; room * per_byte];
        for (at, &value) in query.iter().enumerate() {
            streams[at % per_byte * room + at / per_byte] = value;
        }
        let count = 1 << packing.bits();
        let levels = std::array::from_fn(|code| levels[code % count]);
        Self { packing, bytes, room, streams, levels }
    }

    /// What meets the place `place` of every byte.
    pub(crate) fn stream(&self, place: usize) -> &[i8] {
        &self.streams[place * self.room..][..self.room]
    }
}

/// A query of 4-bit numbers (−8..=7, two's complement) cut into bit planes, for rows of one bit per
/// dimension.
#[derive(Clone, Debug)]
pub struct PlaneQuery {
    /// Bytes of a row.
    pub(crate) bytes: usize,
    /// By words of 64 dimensions: the planes of 1, 2, 4 and −8.
    pub(crate) words: Vec<[u64; 4]>,
    /// The same planes by chunks of 64 bytes of a row, then zeros.
    pub(crate) chunks: Vec<[[u8; 64]; 4]>,
}

impl PlaneQuery {
    /// Cuts `query` into planes; of each number the low four bits count.
    pub fn new(query: &[i8]) -> Self {
        let mut words = vec![[0; 4]; query.len().div_ceil(64)];
        let mut chunks = vec![[[0; 64]; 4]; query.len().div_ceil(512)];
        for (at, &value) in query.iter().enumerate() {
            for (plane, word) in words[at / 64].iter_mut().enumerate() {
                let bit = value as u8 >> plane & 1;
                *word |= u64::from(bit) << (at % 64);
                chunks[at / 512][plane][at % 512 / 8] |= bit << (at % 8);
            }
        }
        Self { bytes: query.len().div_ceil(8), words, chunks }
    }
}

/// The part of a table that measures picked rows.
#[derive(Debug)]
pub(crate) struct PickKernels {
    pub(crate) floats: fn(Sum, Picked<'_, f32>, &[f32], &mut [f32]),
    pub(crate) halves: fn(Half, Sum, Picked<'_, u8>, &[f32], &mut [f32]),
    pub(crate) bytes: fn(Picked<'_, u8>, &[i8], &mut [i32]),
    pub(crate) gaps: fn(Picked<'_, u8>, &[u8], &mut [u32]),
    pub(crate) packed: fn(Picked<'_, u8>, &PackedQuery, &mut [i32]),
    pub(crate) dense: fn(Picked<'_, u8>, &DenseQuery, &mut [i32]),
    pub(crate) planes: fn(Picked<'_, u8>, &PlaneQuery, &mut [i32]),
    pub(crate) bits: fn(Picked<'_, u8>, &[u8], &mut [[u32; 2]]),
    pub(crate) reaching: fn(&[f32], f32, &mut Vec<u32>),
}

/// # Panics
/// All of these if there is not one place in `out` for every row, or a row ends past the slab.
impl Kernels {
    /// The sum over each row of f32, off as [`Kernels::dot_f32`], [`Kernels::l2_f32`] and
    /// [`Kernels::l1_f32`] say; not always the same bits as theirs.
    pub fn pick_f32(&self, sum: Sum, rows: Picked<'_, f32>, query: &[f32], out: &mut [f32]) {
        assert_eq!(rows.rows.len(), out.len(), "one sum per row");
        (self.pick.floats)(sum, rows, query, out);
    }

    /// The sum over each row of 16-bit floats, `2·n` bytes for a query of `n`; the bounds are those
    /// of [`Kernels::pick_f32`] for the rows as they are stored.
    pub fn pick_half(
        &self,
        half: Half,
        sum: Sum,
        rows: Picked<'_, u8>,
        query: &[f32],
        out: &mut [f32],
    ) {
        assert_eq!(rows.rows.len(), out.len(), "one sum per row");
        (self.pick.halves)(half, sum, rows, query, out);
    }

    /// `Σ row·query` over each row of bytes, exact for fewer than 2¹⁶ of them.
    pub fn pick_u8(&self, rows: Picked<'_, u8>, query: &[i8], out: &mut [i32]) {
        assert_eq!(rows.rows.len(), out.len(), "one sum per row");
        (self.pick.bytes)(rows, query, out);
    }

    /// `Σ |row − query|` over each row of bytes, exact for fewer than 2²⁴ of them.
    pub fn pick_gaps(&self, rows: Picked<'_, u8>, query: &[u8], out: &mut [u32]) {
        assert_eq!(rows.rows.len(), out.len(), "one sum per row");
        (self.pick.gaps)(rows, query, out);
    }

    /// `Σ level·query` over each row of packed codes, exact for fewer than 2¹⁶ of them.
    pub fn pick_packed(&self, rows: Picked<'_, u8>, query: &PackedQuery, out: &mut [i32]) {
        assert_eq!(rows.rows.len(), out.len(), "one sum per row");
        (self.pick.packed)(rows, query, out);
    }

    /// `Σ level·query` over each row of dense codes, exact for fewer than 2¹⁶ of them.
    pub fn pick_dense(&self, rows: Picked<'_, u8>, query: &DenseQuery, out: &mut [i32]) {
        assert_eq!(rows.rows.len(), out.len(), "one sum per row");
        (self.pick.dense)(rows, query, out);
    }

    /// The sum of the query over the set bits of each row (bit `j` of a row is bit `j % 8` of byte
    /// `j / 8`), exact.
    pub fn pick_planes(&self, rows: Picked<'_, u8>, query: &PlaneQuery, out: &mut [i32]) {
        assert_eq!(rows.rows.len(), out.len(), "one sum per row");
        (self.pick.planes)(rows, query, out);
    }

    /// For each row of bits how many are set in it and in the query, and in only one of the two.
    pub fn pick_bits(&self, rows: Picked<'_, u8>, query: &[u8], out: &mut [[u32; 2]]) {
        assert_eq!(rows.rows.len(), out.len(), "one pair per row");
        (self.pick.bits)(rows, query, out);
    }

    /// Appends the places of values that are not below `least` to `places`, rising; NaN is not
    /// below anything.
    pub fn reaching(&self, values: &[f32], least: f32, places: &mut Vec<u32>) {
        (self.pick.reaching)(values, least, places);
    }
}
