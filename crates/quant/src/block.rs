//! Blocks of 32 weights, byte for byte as ggml stores them.

mod format;
mod q4;
mod q5;
mod q8;

pub use format::{BLOCK, BlockFormat};

use half::f16;
use kvant_kernels::Matrix;

use crate::coded::gather;
use crate::{Cut, EncodeError, Grid, LayoutError, Levels, Scheme};

/// A matrix whose rows are whole blocks of 32 weights, in the bytes of a GGUF file.
///
/// Every block starts with an f16 scale `d` (and, for `q4_1` and `q5_1`, an f16 minimum `m`);
/// the layouts and the decoding are those of [`BlockFormat`]. Encoding gives the
/// bytes of ggml's reference quantizer: codes from the f32 scale, which is then rounded to f16.
///
/// With `u = max(2^−11·|d|, 2^−25)`, the rounding of `d`, the error is at most
/// - `q8_0`: `|d|/2·(1 + 2^−14) + 127·u`;
/// - `q4_0`: `|d|/2·(1 + 2^−14) + 8·u`; for weights beyond `7.5·|d|` whose sign is not that of the
///   largest (`+8` has no code) twice the first term.
///
/// Blocks of zeros stay exact.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockMatrix {
    format: BlockFormat,
    rows: usize,
    cols: usize,
    data: Vec<u8>,
}

/// Writes a block of weights.
type EncodeBlock = fn(&[f32; BLOCK], &mut [u8]);

impl BlockMatrix {
    /// Encodes finite rows as ggml's reference quantizer does.
    pub(crate) fn encode(w: Matrix<'_, f32>, format: BlockFormat) -> Result<Self, EncodeError> {
        let scheme = Scheme::Block(format);
        let (divisor, encode): (f32, EncodeBlock) = match format {
            BlockFormat::Q4_0 => (8.0, q4::encode_q4_0),
            BlockFormat::Q4_1 => (1.0, q4::encode_q4_1),
            BlockFormat::Q5_0 => (16.0, q5::encode_q5_0),
            BlockFormat::Q5_1 => (1.0, q5::encode_q5_1),
            BlockFormat::Q8_0 => (127.0, q8::encode_q8_0),
        };
        if !w.cols().is_multiple_of(BLOCK) {
            return Err(EncodeError::BlockCols { scheme, cols: w.cols() });
        }
        let limit = f16::MAX.to_f32() * divisor;
        let size = format.block_bytes();
        let mut data = vec![0; w.rows() * (w.cols() / BLOCK) * size];
        let mut blocks = data.chunks_exact_mut(size);
        for row in 0..w.rows() {
            for (weights, bytes) in w.row(row).as_chunks::<BLOCK>().0.iter().zip(&mut blocks) {
                let magnitude = weights.iter().fold(0.0f32, |max, v| max.max(v.abs()));
                if magnitude > limit {
                    return Err(EncodeError::Range { scheme, row, magnitude, limit });
                }
                encode(weights, bytes);
            }
        }
        Ok(Self { format, rows: w.rows(), cols: w.cols(), data })
    }

    /// Puts stored blocks together: `data` holds the blocks of row 0, then of row 1, …
    ///
    /// # Errors
    /// [`LayoutError`] when the rows are no whole blocks, the length does not follow from the
    /// shape, or a scale or minimum is not finite.
    pub fn from_parts(
        format: BlockFormat,
        rows: usize,
        cols: usize,
        data: Vec<u8>,
    ) -> Result<Self, LayoutError> {
        if !cols.is_multiple_of(BLOCK) {
            return Err(LayoutError::BlockCols { format, cols });
        }
        let overflow = LayoutError::Overflow { rows, cols };
        rows.checked_mul(cols).ok_or(overflow.clone())?;
        let blocks = rows.checked_mul(cols / BLOCK);
        let expected = blocks.and_then(|n| n.checked_mul(format.block_bytes())).ok_or(overflow)?;
        if data.len() != expected {
            return Err(LayoutError::Length { part: "blocks", expected, got: data.len() });
        }
        for (index, block) in data.chunks_exact(format.block_bytes()).enumerate() {
            for (slot, part) in format.numbers().iter().enumerate() {
                let value = number(block, slot);
                if !value.is_finite() {
                    return Err(LayoutError::Scale { part, index, value });
                }
            }
        }
        Ok(Self { format, rows, cols, data })
    }

    /// The layout of the blocks.
    pub fn format(&self) -> BlockFormat {
        self.format
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns, a multiple of 32.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The blocks, row by row.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Bytes of the blocks.
    pub fn size_bytes(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn select_rows(&self, order: &[usize]) -> Self {
        let row_bytes = self.cols / BLOCK * self.format.block_bytes();
        Self { rows: order.len(), data: gather(&self.data, row_bytes, order), ..*self }
    }

    /// Restores row `row` into `out`.
    ///
    /// # Panics
    /// If there is no such row, or `out` does not hold exactly `cols` values.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert_eq!(out.len(), self.cols, "one value per column");
        let size = self.format.block_bytes();
        let row_bytes = self.cols / BLOCK * size;
        let bytes = &self.data[row * row_bytes..(row + 1) * row_bytes];
        let decode: fn(&[u8], &mut [f32; BLOCK]) = match self.format {
            BlockFormat::Q4_0 => q4::decode_q4_0,
            BlockFormat::Q4_1 => q4::decode_q4_1,
            BlockFormat::Q5_0 => q5::decode_q5_0,
            BlockFormat::Q5_1 => q5::decode_q5_1,
            BlockFormat::Q8_0 => q8::decode_q8_0,
        };
        let values = out.as_chunks_mut::<BLOCK>().0;
        for (values, bytes) in values.iter_mut().zip(bytes.chunks_exact(size)) {
            decode(bytes, values);
        }
    }
}

impl BlockMatrix {
    /// The levels of every block.
    pub(crate) fn grid(&self) -> Grid {
        let blocks = self.data.chunks_exact(self.format.block_bytes());
        let scales: Vec<f32> = blocks.clone().map(|block| number(block, 0)).collect();
        let (count, zero) = self.format.levels();
        let zeros = if zero == 0.0 { Vec::new() } else { vec![zero; scales.len()] };
        let offsets = match self.format.numbers().len() {
            2 => blocks.map(|block| number(block, 1)).collect(),
            _ => Vec::new(),
        };
        let (rows, cols, cut) = (self.rows, self.cols, Cut::Rows(BLOCK));
        Grid { rows, cols, cut, levels: Levels::Uniform(count), scales, zeros, offsets }
    }

    pub(crate) fn grid_codes(&self) -> Vec<u8> {
        let mut codes = vec![0; self.rows * self.cols];
        let blocks = self.data.chunks_exact(self.format.block_bytes());
        for (codes, block) in codes.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks) {
            self.format.unpack(block, codes);
        }
        codes
    }

    pub(crate) fn set_grid_codes(&mut self, codes: &[u8]) {
        let blocks = self.data.chunks_exact_mut(self.format.block_bytes());
        for (codes, block) in codes.as_chunks::<BLOCK>().0.iter().zip(blocks) {
            self.format.pack(codes, block);
        }
    }
}

/// The f16 number in slot `slot` (0: scale, 1: minimum) of a block.
fn number(block: &[u8], slot: usize) -> f32 {
    f16::from_le_bytes([block[2 * slot], block[2 * slot + 1]]).to_f32()
}
