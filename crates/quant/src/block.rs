//! Blocks of 32 or 256 weights, byte for byte as ggml stores them.

mod fit;
mod format;
mod group;
mod layout;
mod range;
mod reference;
mod search;

pub use format::{BLOCK, BlockFormat};

use half::f16;
use kvant_kernels::{Matrix, Shared};

use crate::coded::gather;
use crate::refit::stored;
use crate::{Cut, EncodeError, Fit, Grid, LayoutError, Levels, Observer, Scheme};
use format::{FLOAT4_MAX, Ladder, NONLINEAR};
use group::Numbers;

/// A matrix whose rows are whole blocks of 32 or 256 weights, in the bytes of a GGUF file.
///
/// Layouts and decoding are those of [`BlockFormat`], bit for bit as ggml decodes. Where ggml has
/// a reference quantizer for ranges (`q4_0` to `q8_0`), encoding gives its bytes: codes from the
/// f32 scale, which is then rounded to f16. Elsewhere, and in every searched block, the numbers
/// are rounded before factors and codes are chosen.
///
/// With `u = max(2^−11·|d|, 2^−25)`, the rounding of `d`, the error of encoding is at most
/// - `q8_0`: `|d|/2·(1 + 2^−14) + 127·u`;
/// - `q4_0`: `|d|/2·(1 + 2^−14) + 8·u`; for weights beyond `7.5·|d|` whose sign is not that of the
///   largest (`+8` has no code) twice the first term;
/// - the others: see `docs/numerics.md`.
///
/// Blocks of zeros stay exact.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockMatrix {
    format: BlockFormat,
    rows: usize,
    cols: usize,
    data: Shared<u8>,
}

impl BlockMatrix {
    /// Encodes finite rows as ggml's reference quantizer does.
    pub(crate) fn encode(w: Matrix<'_, f32>, format: BlockFormat) -> Result<Self, EncodeError> {
        Self::write(w, format, |_, weights, block| format.encode(weights, block))
    }

    /// Encodes finite rows with the scales that `fit` asks for. A block has too few weights for
    /// percentiles and histograms: [`Observer::Percentile`] is the full range, and
    /// [`Observer::Entropy`] the least squared error.
    pub(crate) fn fit(
        w: Matrix<'_, f32>,
        format: BlockFormat,
        fit: &Fit<'_>,
    ) -> Result<Self, EncodeError> {
        match fit.observer {
            Observer::MinMax | Observer::Percentile => Self::encode(w, format),
            Observer::Mse | Observer::Entropy => {
                let importance = fit::importance(w, fit.importance);
                Self::write(w, format, |col, weights, block| {
                    format.search(weights, &importance[col..][..weights.len()], block);
                })
            }
        }
    }

    /// Writes every block by `encode`, which gets the column of its first weight.
    fn write(
        w: Matrix<'_, f32>,
        format: BlockFormat,
        encode: impl Fn(usize, &[f32], &mut [u8]),
    ) -> Result<Self, EncodeError> {
        let scheme = Scheme::Block(format);
        if !format.is_written() {
            return Err(EncodeError::ReadOnly { scheme });
        }
        let width = format.weights_per_block();
        if !w.cols().is_multiple_of(width) {
            return Err(EncodeError::BlockCols { scheme, block: width, cols: w.cols() });
        }
        let (limit, size) = (format.limit(), format.block_bytes());
        let mut data = vec![0; w.rows() * (w.cols() / width) * size];
        let mut blocks = data.chunks_exact_mut(size);
        for row in 0..w.rows() {
            let weights = w.row(row).chunks_exact(width).zip(&mut blocks).enumerate();
            for (index, (weights, block)) in weights {
                let magnitude = weights.iter().fold(0.0f32, |max, v| max.max(v.abs()));
                if magnitude > limit {
                    return Err(EncodeError::Range { scheme, row, magnitude, limit });
                }
                encode(index * width, weights, block);
            }
        }
        Ok(Self { format, rows: w.rows(), cols: w.cols(), data: data.into() })
    }

    /// Puts stored blocks together: `data` holds the blocks of row 0, then of row 1, …; lent ones
    /// are not copied.
    ///
    /// # Errors
    /// [`LayoutError`] when the rows are no whole blocks, the length does not follow from the
    /// shape, or a scale or minimum is not finite.
    pub fn from_parts(
        format: BlockFormat,
        rows: usize,
        cols: usize,
        data: impl Into<Shared<u8>>,
    ) -> Result<Self, LayoutError> {
        let data = data.into();
        let width = format.weights_per_block();
        if !cols.is_multiple_of(width) {
            return Err(LayoutError::BlockCols { format, block: width, cols });
        }
        let overflow = LayoutError::Overflow { rows, cols };
        rows.checked_mul(cols).ok_or(overflow.clone())?;
        let blocks = rows.checked_mul(cols / width);
        let expected = blocks.and_then(|n| n.checked_mul(format.block_bytes())).ok_or(overflow)?;
        if data.len() != expected {
            return Err(LayoutError::Length { part: "blocks", expected, got: data.len() });
        }
        for (index, block) in data.chunks_exact(format.block_bytes()).enumerate() {
            for &(part, at) in format.numbers() {
                let value = number(block, at);
                if !value.is_finite() {
                    return Err(LayoutError::Scale { part, index, value });
                }
            }
            if format == BlockFormat::MXFP4 && !(power(block[0]) * FLOAT4_MAX).is_finite() {
                let value = power(block[0]);
                return Err(LayoutError::Scale { part: "scale", index, value });
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

    /// Number of columns, whole blocks.
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
        let row_bytes = self.row_bytes();
        let data = gather(&self.data, row_bytes, order).into();
        Self { rows: order.len(), data, ..*self }
    }

    /// Restores row `row` into `out`.
    ///
    /// # Panics
    /// If there is no such row, or `out` does not hold exactly `cols` values.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert_eq!(out.len(), self.cols, "one value per column");
        let bytes = &self.data[row * self.row_bytes()..][..self.row_bytes()];
        let (format, mut codes) = (self.format, [0; BLOCK_MAX]);
        let (width, group) = (format.weights_per_block(), format.weights_per_scale());
        let codes = &mut codes[..width];
        let blocks = bytes.chunks_exact(format.block_bytes());
        for (values, block) in out.chunks_exact_mut(width).zip(blocks) {
            format.unpack(block, codes);
            let steps = format.steps(block);
            let groups = values.chunks_exact_mut(group).zip(codes.chunks_exact(group));
            for ((values, codes), step) in groups.zip(steps) {
                format.restore(step, codes, values);
            }
        }
    }

    /// Writes the codes of row `row`, as indices into the levels of its grid.
    ///
    /// # Panics
    /// If there is no such row, or `out` does not hold exactly `cols` codes.
    pub fn row_codes(&self, row: usize, out: &mut [u8]) {
        assert!(row < self.rows && out.len() == self.cols, "row {row} of {}", self.rows);
        let bytes = &self.data[row * self.row_bytes()..][..self.row_bytes()];
        let blocks = bytes.chunks_exact(self.format.block_bytes());
        for (codes, block) in out.chunks_exact_mut(self.format.weights_per_block()).zip(blocks) {
            self.format.unpack(block, codes);
        }
    }

    fn row_bytes(&self) -> usize {
        self.cols / self.format.weights_per_block() * self.format.block_bytes()
    }
}

/// Most weights of a block.
const BLOCK_MAX: usize = 256;

/// Most scales of a block.
const STEPS_MAX: usize = 16;

/// What the levels of a group are multiplied by, and what is then added.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    scale: f32,
    offset: f32,
}

impl BlockFormat {
    /// Scale and offset of every group of a block.
    fn steps(self, block: &[u8]) -> [Step; STEPS_MAX] {
        let mut steps = [Step::default(); STEPS_MAX];
        let numbers = match *self.numbers() {
            [] => Numbers { scale: power(block[0]), minimum: 0.0 },
            [(_, at)] => Numbers { scale: number(block, at), minimum: 0.0 },
            [(_, at), (_, minimum), ..] => {
                Numbers { scale: number(block, at), minimum: number(block, minimum) }
            }
        };
        if self.groups() == 1 {
            steps[0] = Step { scale: numbers.scale, offset: numbers.minimum };
        } else {
            let factors = self.factors(block);
            for (index, step) in steps[..self.groups()].iter_mut().enumerate() {
                *step = numbers.step(&factors, index);
            }
        }
        steps
    }

    /// The weights that codes of a group stand for, in ggml's order of operations.
    fn restore(self, step: Step, codes: &[u8], values: &mut [f32]) {
        let Step { scale, offset } = step;
        let pairs = values.iter_mut().zip(codes);
        match self.ladder() {
            Ladder::Whole { .. } if self.has_offsets() => {
                pairs.for_each(|(value, &code)| *value = scale * f32::from(code) + offset);
            }
            Ladder::Whole { zero, .. } => pairs.for_each(|(value, &code)| {
                *value = scale * f32::from(i16::from(code) - zero.cast_signed());
            }),
            Ladder::Table(levels) => pairs.for_each(|(value, &code)| {
                *value = scale * f32::from(levels[usize::from(code & 15)]);
            }),
        }
    }
}

impl BlockMatrix {
    /// The levels of every group.
    pub(crate) fn grid(&self) -> Grid {
        let format = self.format;
        let (group, per_block) = (format.weights_per_scale(), format.groups());
        let blocks = self.data.chunks_exact(format.block_bytes());
        let steps = || blocks.clone().flat_map(|b| format.steps(b).into_iter().take(per_block));
        let scales: Vec<f32> = steps().map(|step| step.scale).collect();
        let offsets = if format.has_offsets() {
            steps().map(|step| step.offset).collect()
        } else {
            Vec::new()
        };
        let (levels, zeros) = match format.ladder() {
            Ladder::Whole { count, zero: 0 } => (Levels::Uniform(count), Vec::new()),
            Ladder::Whole { count, zero } => {
                (Levels::Uniform(count), vec![f32::from(zero); scales.len()])
            }
            Ladder::Table(levels) => {
                (Levels::Table(levels.iter().map(|&level| f32::from(level)).collect()), Vec::new())
            }
        };
        let (rows, cols, cut) = (self.rows, self.cols, Cut::Rows(group));
        Grid { rows, cols, cut, levels, scales, zeros, offsets }
    }

    pub(crate) fn set_scales(&mut self, scales: &[f32], offsets: &[f32]) -> bool {
        let numbers = self.format.numbers();
        let all = || scales.iter().chain(offsets);
        if self.format.groups() != 1
            || numbers.is_empty()
            || !all().all(|&value| stored(value, true).is_some())
        {
            return false;
        }
        let blocks = self.data.to_mut().chunks_exact_mut(self.format.block_bytes());
        for (index, block) in blocks.enumerate() {
            set_number(block, numbers[0].1, scales[index]);
            if let Some(&(_, at)) = numbers.get(1) {
                set_number(block, at, offsets[index]);
            }
        }
        true
    }

    pub(crate) fn grid_codes(&self) -> Vec<u8> {
        let mut codes = vec![0; self.rows * self.cols];
        for (row, codes) in codes.chunks_exact_mut(self.cols.max(1)).enumerate() {
            self.row_codes(row, codes);
        }
        codes
    }

    pub(crate) fn set_grid_codes(&mut self, codes: &[u8]) {
        let width = self.format.weights_per_block();
        let blocks = self.data.to_mut().chunks_exact_mut(self.format.block_bytes());
        let mut copy = [0; BLOCK_MAX];
        for (codes, block) in codes.chunks_exact(width).zip(blocks) {
            copy[..width].copy_from_slice(codes);
            self.format.pack(&mut copy[..width], block);
        }
    }
}

/// The f16 number at byte `at` of a block.
fn number(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Writes an f16 number, at most the largest there is, at byte `at` of a block and gives it as
/// rounded.
fn set_number(block: &mut [u8], at: usize, value: f32) -> f32 {
    let value = f16::from_f32(value.clamp(-65504.0, 65504.0));
    block[at..at + 2].copy_from_slice(&value.to_le_bytes());
    value.to_f32()
}

/// Half the power of two that an exponent stands for, as the levels of MXFP4 are doubled:
/// `2^(exponent − 128)`.
fn power(exponent: u8) -> f32 {
    f32::from_bits(match exponent {
        0 | 1 => 0x0020_0000 << exponent,
        _ => u32::from(exponent - 1) << 23,
    })
}
