//! Four-bit floating-point tables over blocks of the flattened matrix, as bitsandbytes has them.

mod absmax;

use kvant_kernels::Matrix;

pub use absmax::{Absmax, NESTED_BLOCK, dynamic_map};

use crate::fit::part::parts;
use crate::fit::range::{Around, Choice, choose};
use crate::fit::search::{Target, scale, snap_to};
use crate::{Cut, EncodeError, Fit, Grid, LayoutError, Levels, Observer, Scheme};

/// Largest magnitude that is encoded: the doubly quantized scale may be a little larger.
const MAX: f32 = f32::MAX / 2.0;

/// A table of 16 levels from −1 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Float4 {
    /// `nf4`: quantiles of the normal distribution, 0 among them (Dettmers et al., "`QLoRA`",
    /// 2023, §3).
    Nf4,
    /// `fp4`: a sign, two bits of exponent and one of mantissa.
    Fp4,
}

const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Magnitudes of [`Float4::Fp4`] in the order of the low three bits, in twelfths.
const FP4: [f32; 8] = [0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0];

/// The stored codes of [`Float4::Fp4`] in ascending order of their levels; −0 before 0.
const FP4_ORDER: [u8; 16] = [11, 10, 13, 12, 15, 14, 9, 8, 0, 1, 6, 7, 4, 5, 2, 3];

impl Float4 {
    /// The level of every stored code: `quant_map` of a file.
    pub fn table(self) -> [f32; 16] {
        match self {
            Self::Nf4 => NF4,
            Self::Fp4 => std::array::from_fn(|code| {
                let magnitude = FP4[code % 8] / 12.0;
                if code < 8 { magnitude } else { -magnitude }
            }),
        }
    }

    /// The stored code of the `index`-th level from below.
    fn stored(self, index: u8) -> u8 {
        match self {
            Self::Nf4 => index,
            Self::Fp4 => FP4_ORDER[usize::from(index)],
        }
    }

    /// The levels in ascending order.
    pub(crate) fn levels(self) -> [f32; 16] {
        let table = self.table();
        std::array::from_fn(|index| table[usize::from(self.stored(index as u8))])
    }

    /// The scale of a block as the observer wants it, `max` being the largest magnitude.
    fn fitted(self, target: Target<'_>, max: f32, observer: Observer) -> f32 {
        match choose(target, observer, Around::Zero, 16) {
            Choice::Ends([low, high]) => low.abs().max(high.abs()),
            Choice::Search => {
                let levels = self.levels();
                let snap = |v: f32| snap_to(&levels, v);
                // Of the sign that keeps the scale positive.
                let end = 1f32.copysign(target.largest());
                let found = scale(target, &[end], snap, |s| s);
                let error = |scale: f32| target.error(|v| scale * snap(v / scale));
                let better = found > 0.0 && found < MAX && error(found) < error(max);
                if better { found } else { max }
            }
        }
    }

    /// The place of every stored code among the levels in ascending order.
    fn order(self) -> [u8; 16] {
        let mut order = [0; 16];
        for index in 0..16 {
            order[usize::from(self.stored(index))] = index;
        }
        order
    }
}

/// Shape of a [`Float4Matrix`]; all lengths follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Float4Shape {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// The table of levels.
    pub format: Float4,
    /// Weights that share a scale, at least 1; blocks run over row ends.
    pub block: usize,
}

impl Float4Shape {
    /// Blocks of the whole matrix.
    pub fn blocks(&self) -> usize {
        (self.rows * self.cols).div_ceil(self.block)
    }

    /// Bytes of the codes of the whole matrix.
    pub fn code_bytes(&self) -> usize {
        (self.rows * self.cols).div_ceil(2)
    }

    fn check(&self) -> Result<(), LayoutError> {
        if self.block == 0 {
            return Err(LayoutError::Group);
        }
        let weights = self.rows.checked_mul(self.cols).and_then(|n| n.checked_mul(4));
        let overflow = LayoutError::Overflow { rows: self.rows, cols: self.cols };
        weights.map(|_| ()).ok_or(overflow)
    }
}

/// `w = table[code] · absmax` per block of the matrix, row after row.
///
/// The format of bitsandbytes, byte for byte: two codes a byte, the first in the high half; the
/// scale of a block is the largest magnitude in it, in f32 or quantized once more ([`Absmax`]).
/// Every weight gets the nearest level under the scale as it is stored. With an f32 scale `a`
/// the error of a weight is at most `0.152 · a` (`nf4`) or `a / 6` (`fp4`), and `2^−22 · a` for
/// the roundings of f32; zeros stay exact. `4 + 32 / block` bits per weight; doubly quantized
/// `4 + 8 / block + 32 / (256 · block)`: 4.127 in blocks of 64.
#[derive(Clone, Debug, PartialEq)]
pub struct Float4Matrix {
    shape: Float4Shape,
    codes: Vec<u8>,
    absmax: Absmax,
    /// The scales that `absmax` stands for.
    scales: Vec<f32>,
}

impl Float4Matrix {
    /// Encodes finite rows, the scales quantized once more if `double`.
    pub(crate) fn encode(
        w: Matrix<'_, f32>,
        shape: Float4Shape,
        double: bool,
        fit: &Fit<'_>,
    ) -> Result<Self, EncodeError> {
        let mut scales = Vec::with_capacity(shape.blocks());
        parts(w, Cut::Flat(shape.block), fit, |row, target| {
            let max = target.values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
            if max > MAX {
                let scheme = shape.scheme(double);
                return Err(EncodeError::Range { scheme, row, magnitude: max, limit: MAX });
            }
            scales.push(shape.format.fitted(target, max, fit.observer));
            Ok(())
        })?;
        let absmax = if double { Absmax::double(&scales) } else { Absmax::Plain(scales) };
        let mut out = Self { shape, codes: Vec::new(), scales: absmax.scales(), absmax };
        let codes = out.grid().nearest(w);
        out.set_grid_codes(&codes);
        Ok(out)
    }

    /// Puts stored parts together: `codes` over the flattened matrix, two a byte with the first
    /// in the high half, and a scale per block.
    ///
    /// # Errors
    /// [`LayoutError`] when a length does not follow from the shape or a scale is not finite.
    pub fn from_parts(
        shape: Float4Shape,
        codes: Vec<u8>,
        absmax: Absmax,
    ) -> Result<Self, LayoutError> {
        shape.check()?;
        if codes.len() != shape.code_bytes() {
            let (expected, got) = (shape.code_bytes(), codes.len());
            return Err(LayoutError::Length { part: "codes", expected, got });
        }
        absmax.check(shape.blocks())?;
        let scales = absmax.scales();
        if let Some(index) = scales.iter().position(|scale| !scale.is_finite()) {
            return Err(LayoutError::Scale { part: "absmax", index, value: scales[index] });
        }
        Ok(Self { shape, codes, absmax, scales })
    }

    /// Rows, columns, table and block.
    pub fn shape(&self) -> Float4Shape {
        self.shape
    }

    /// The scheme that writes this matrix.
    pub fn scheme(&self) -> Scheme {
        self.shape.scheme(matches!(self.absmax, Absmax::Double { .. }))
    }

    /// The codes, two a byte, the first in the high half.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// The scales as stored.
    pub fn absmax(&self) -> &Absmax {
        &self.absmax
    }

    /// The scale of every block, restored.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Bytes of codes and scales as stored.
    pub fn size_bytes(&self) -> usize {
        self.codes.len() + self.absmax.size_bytes()
    }

    /// The rows `order`, restored exactly as before. Where blocks run over row ends they become
    /// shorter, and doubly quantized scales become f32: their blocks of 256 no longer fit.
    pub(crate) fn select_rows(&self, order: &[usize]) -> Self {
        let Float4Shape { cols, block, .. } = self.shape;
        let in_order = order.iter().copied().eq(0..self.shape.rows);
        if in_order || cols == 0 {
            let shape = Float4Shape { rows: order.len(), ..self.shape };
            return Self { shape, ..self.clone() };
        }
        let block = common_divisor(cols, block);
        let shape = Float4Shape { rows: order.len(), block, ..self.shape };
        let first = order.iter().flat_map(|row| (row * cols..(row + 1) * cols).step_by(block));
        let scales: Vec<f32> = first.map(|index| self.scales[index / self.shape.block]).collect();
        let absmax = Absmax::Plain(scales.clone());
        let mut out = Self { shape, codes: Vec::new(), absmax, scales };
        out.set_grid_codes(&crate::coded::gather(&self.grid_codes(), cols, order));
        out
    }

    /// Restores row `row` into `out`.
    ///
    /// # Panics
    /// If there is no such row, or `out` does not hold exactly `cols` values.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        let Float4Shape { rows, cols, format, block } = self.shape;
        assert!(row < rows, "row {row} of {rows}");
        assert_eq!(out.len(), cols, "one value per column");
        let table = format.table();
        for (value, index) in out.iter_mut().zip(row * cols..) {
            *value = self.scales[index / block] * table[usize::from(self.code(index))];
        }
    }

    fn code(&self, index: usize) -> u8 {
        let byte = self.codes[index / 2];
        if index.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
    }

    pub(crate) fn set_scales(&mut self, scales: &[f32]) -> bool {
        let finite = scales.iter().all(|scale| scale.is_finite());
        let free = finite && matches!(self.absmax, Absmax::Plain(_));
        if free {
            self.scales = scales.to_vec();
            self.absmax = Absmax::Plain(scales.to_vec());
        }
        free
    }

    /// The levels: the table in ascending order times the restored scale.
    pub(crate) fn grid(&self) -> Grid {
        Grid {
            rows: self.shape.rows,
            cols: self.shape.cols,
            cut: Cut::Flat(self.shape.block),
            levels: Levels::Table(self.shape.format.levels().into()),
            scales: self.scales.clone(),
            zeros: Vec::new(),
            offsets: Vec::new(),
        }
    }

    pub(crate) fn grid_codes(&self) -> Vec<u8> {
        let order = self.shape.format.order();
        let weights = self.shape.rows * self.shape.cols;
        (0..weights).map(|index| order[usize::from(self.code(index))]).collect()
    }

    pub(crate) fn set_grid_codes(&mut self, codes: &[u8]) {
        let stored = |index: u8| self.shape.format.stored(index);
        self.codes = codes
            .chunks(2)
            .map(|pair| (stored(pair[0]) << 4) | pair.get(1).map_or(0, |&second| stored(second)))
            .collect();
    }
}

impl Float4Shape {
    fn scheme(&self, double: bool) -> Scheme {
        Scheme::Float4 { format: self.format, block: self.block, double }
    }
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_ascend_and_codes_find_their_place() {
        for format in [Float4::Nf4, Float4::Fp4] {
            let (table, levels, order) = (format.table(), format.levels(), format.order());
            assert!(levels.is_sorted(), "{levels:?}");
            assert_eq!((levels[0], levels[15]), (-1.0, 1.0));
            for code in 0..16u8 {
                assert_eq!(format.stored(order[usize::from(code)]), code);
                let level = levels[usize::from(order[usize::from(code)])];
                assert_eq!(table[usize::from(code)].to_bits(), level.to_bits());
            }
        }
        assert_eq!(Float4::Fp4.table()[0b0101], 0.5);
        assert_eq!(Float4::Fp4.table()[0b1001], -0.0625 / 12.0);
    }

    #[test]
    fn the_nf4_table_is_that_of_the_paper() {
        // Appendix E of QLoRA, in full.
        let printed = [
            "-0.6961928009986877",
            "-0.5250730514526367",
            "-0.39491748809814453",
            "-0.28444138169288635",
            "-0.18477343022823334",
            "-0.09105003625154495",
            "0.0",
            "0.07958029955625534",
            "0.16093020141124725",
            "0.24611230194568634",
            "0.33791524171829224",
            "0.44070982933044434",
            "0.5626170039176941",
            "0.7229568362236023",
        ];
        for (level, printed) in NF4[1..15].iter().zip(printed) {
            assert_eq!(printed.parse(), Ok(*level));
        }
    }
}
