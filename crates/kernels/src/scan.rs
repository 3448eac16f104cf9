//! Runs of rows measured by tables in registers: codes of 4 bits in blocks of 32 rows (André et
//! al., "Quicker ADC", 2019; the layout that FAISS calls fast-scan), and picks from long lists.
//!
//! A row has a code of 4 bits for each of a number of tables of 16 bytes; its sum is that of the
//! entries its codes name. A block holds 32 rows: for each table 16 bytes, in byte `j` the code of
//! row `j` in the low and that of row `j + 16` in the high half. Tables come by fours, those
//! missing are zeros, so that a block is a multiple of 64 bytes. One shuffle looks 64 codes up.

use crate::{Kernels, Sum};

/// Rows of a block.
pub const BLOCK_ROWS: usize = 32;
/// Entries of a table.
pub const ENTRIES: usize = 16;
/// Tables in a register of 64 bytes.
pub(crate) const FOUR: usize = 4;
/// The largest entry: two of them are added in a byte.
pub const ENTRY_MAX: u8 = 127;

/// The tables of one query, checked so that no sum leaves 16 bits.
#[derive(Clone, Debug, Default)]
pub struct ScanTables {
    /// Whole fours of tables.
    pub(crate) fours: Vec<[u8; FOUR * ENTRIES]>,
}

impl ScanTables {
    /// Bytes of a block of 32 rows with codes for `tables` tables.
    pub fn block_bytes(tables: usize) -> usize {
        tables.div_ceil(FOUR) * FOUR * ENTRIES
    }

    /// Tables with these entries.
    ///
    /// # Panics
    /// If an entry is above [`ENTRY_MAX`], or the largest sum above `u16::MAX`.
    pub fn new(tables: &[[u8; ENTRIES]]) -> Self {
        let largest = |table: &[u8; ENTRIES]| table.iter().fold(0, |most: u8, &e| most.max(e));
        let (mut sum, mut most) = (0, 0);
        for largest in tables.iter().map(largest) {
            sum += u64::from(largest);
            most = most.max(largest);
        }
        assert!(most <= ENTRY_MAX, "an entry above 127");
        assert!(u16::try_from(sum).is_ok(), "sums of up to {sum}");
        let mut fours = vec![[0; FOUR * ENTRIES]; tables.len().div_ceil(FOUR)];
        for (four, tables) in fours.iter_mut().zip(tables.chunks(FOUR)) {
            four[..tables.len() * ENTRIES].copy_from_slice(tables.as_flattened());
        }
        Self { fours }
    }

    /// Bytes of a block.
    pub(crate) fn bytes(&self) -> usize {
        self.fours.len() * FOUR * ENTRIES
    }
}

/// Where the code of row `row` of a block for `table` is: the byte, and how far it is shifted.
#[inline]
pub fn code_place(table: usize, row: usize) -> (usize, u32) {
    (table * ENTRIES + row % ENTRIES, if row < ENTRIES { 0 } else { 4 })
}

/// What makes a distance of the sum of a row and of two numbers kept with it, `f` and `a`:
/// `base + (along·a + slope·(f·(2·sum − all)))`, each step rounded to f32.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// What all distances begin with.
    pub base: f32,
    /// What `a` counts.
    pub along: f32,
    /// What `f` counts.
    pub slope: f32,
    /// Twice the middle of the sums, a whole number below 2²⁴.
    pub all: f32,
}

impl Estimate {
    /// Bytes behind the codes of a block: `f` of its 32 rows, then `a`, in f32, little endian.
    pub const BYTES: usize = 8 * BLOCK_ROWS;

    /// Minus the distance of a row.
    #[expect(clippy::inline_always, reason = "compiled anew to the instructions of each level")]
    #[inline(always)]
    pub fn closeness(&self, sum: u16, [f, a]: [f32; 2]) -> f32 {
        let middle = 2.0 * f32::from(sum) - self.all;
        -(self.base + (self.along * a + self.slope * (f * middle)))
    }
}

/// The entries of a table before they are rounded.
type Entries = [f32; ENTRIES];

type Round = fn(&[Entries], &[[f32; 2]], f32, &mut [[u8; ENTRIES]]);

/// The part of a table that scans.
#[derive(Debug)]
pub(crate) struct ScanKernels {
    pub(crate) entries: fn(Sum, &[f32], &[Entries], &mut [Entries]),
    pub(crate) ends: fn(&[Entries], &mut [[f32; 2]]),
    pub(crate) round: Round,
    pub(crate) sums: fn(&[u8], &ScanTables, &mut [u16]),
    pub(crate) closeness: fn(&[u8], &ScanTables, &Estimate, &mut [f32]),
    pub(crate) below: fn(&[u16], u16, &mut Vec<u32>),
    pub(crate) least: fn(&[f32]) -> Option<(u32, f32)>,
}

impl Kernels {
    /// The tables of a query for a vector cut into `out.len()` parts: part `p` are the dimensions
    /// from `p·dim/parts` on, a line of `books` has the values of 16 centroids in one dimension.
    /// An entry is summed in the order of dimensions.
    ///
    /// # Panics
    /// If there is not one line for each dimension, or there are more parts than those.
    pub fn scan_entries(
        &self,
        sum: Sum,
        query: &[f32],
        books: &[[f32; ENTRIES]],
        out: &mut [[f32; ENTRIES]],
    ) {
        assert!(query.len() == books.len() && out.len() <= query.len(), "parts of a query");
        (self.scan.entries)(sum, query, books, out);
    }

    /// The least and the largest entry of each table; NaN counts for nothing behind a number.
    ///
    /// # Panics
    /// If there is not one pair for each table.
    pub fn scan_ends(&self, tables: &[[f32; ENTRIES]], out: &mut [[f32; 2]]) {
        assert_eq!(tables.len(), out.len(), "a pair for each table");
        (self.scan.ends)(tables, out);
    }

    /// `round((entry − least) · per_step)` in 0..=[`ENTRY_MAX`], halves to even.
    ///
    /// # Panics
    /// If there is not one place for each table.
    pub fn scan_round(
        &self,
        tables: &[[f32; ENTRIES]],
        ends: &[[f32; 2]],
        per_step: f32,
        out: &mut [[u8; ENTRIES]],
    ) {
        assert!(tables.len() == out.len() && tables.len() == ends.len(), "a place for each table");
        (self.scan.round)(tables, ends, per_step, out);
    }

    /// The sum of every row of some blocks, exact.
    ///
    /// # Panics
    /// If `blocks` are not whole blocks of as many tables, or `out` has not one place for each of
    /// their rows.
    pub fn scan_sums(&self, blocks: &[u8], tables: &ScanTables, out: &mut [u16]) {
        let bytes = out.len() / BLOCK_ROWS * tables.bytes();
        assert!(out.len().is_multiple_of(BLOCK_ROWS) && blocks.len() == bytes, "whole blocks");
        (self.scan.sums)(blocks, tables, out);
    }

    /// Minus the distance of every row of some blocks, each with the numbers of [`Estimate`] behind
    /// its codes: the same bits at every level.
    ///
    /// # Panics
    /// As [`Kernels::scan_sums`].
    pub fn scan_closeness(
        &self,
        blocks: &[u8],
        tables: &ScanTables,
        estimate: &Estimate,
        out: &mut [f32],
    ) {
        let bytes = out.len() / BLOCK_ROWS * (tables.bytes() + Estimate::BYTES);
        assert!(out.len().is_multiple_of(BLOCK_ROWS) && blocks.len() == bytes, "whole blocks");
        (self.scan.closeness)(blocks, tables, estimate, out);
    }

    /// Appends the places of values that are at most `most` to `places`, rising.
    pub fn scan_below(&self, values: &[u16], most: u16, places: &mut Vec<u32>) {
        (self.scan.below)(values, most, places);
    }

    /// The first of the least values and where it is; NaN is never the least.
    pub fn least(&self, values: &[f32]) -> Option<(u32, f32)> {
        (self.scan.least)(values)
    }
}
