//! Minimum and step per group, codes of 2 to 8 bits.

use half::f16;
use kvant_kernels::Matrix;

use crate::affine::{covering_step, nearest};
use crate::coded::gather;
use crate::pack::{pack, packed_len, unpack};
use crate::{Cut, EncodeError, Grid, LayoutError, Levels, Scheme, Span};

/// Largest magnitude that a group may hold: its minimum is stored in f16.
const F16_MAX: f32 = 65504.0;
/// Widest range of a row or tensor: `min + 255 · step` must not overflow f32.
const RANGE_MAX: f32 = f32::MAX / 2.0;
/// Codes unpacked at a time; a multiple of 8, so that every piece starts on a byte.
const PIECE: usize = 512;

/// Shape of a [`LinearMatrix`]; all lengths follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Bits per code, 2 to 8.
    pub bits: u8,
    /// Weights that share minimum and step.
    pub span: Span,
}

impl LinearShape {
    /// Minimums of the whole matrix; as many steps.
    pub fn numbers(&self) -> usize {
        match self.span {
            Span::Tensor => usize::from(self.rows * self.cols > 0),
            Span::Channel | Span::Group(_) => self.rows * self.groups(),
        }
    }

    /// Minimums that a row takes; as many steps.
    pub fn groups(&self) -> usize {
        self.cols.div_ceil(self.span.weights(self.cols))
    }

    /// The number of the first minimum and step of row `row`.
    fn first(&self, row: usize) -> usize {
        if self.span == Span::Tensor { 0 } else { row * self.groups() }
    }

    /// Bytes of the codes of one row, padded to a whole byte.
    pub fn row_bytes(&self) -> usize {
        packed_len(self.cols, self.bits)
    }

    /// Bytes of one stored minimum or step: f16 in groups, f32 per row or tensor.
    pub fn number_bytes(&self) -> usize {
        if self.is_half() { 2 } else { 4 }
    }

    /// The scheme that writes this shape.
    pub fn scheme(&self) -> Scheme {
        Scheme::Linear { bits: self.bits, span: self.span }
    }

    fn is_half(&self) -> bool {
        matches!(self.span, Span::Group(_))
    }

    fn check(&self) -> Result<(), LayoutError> {
        if !(2..=8).contains(&self.bits) {
            return Err(LayoutError::Bits { bits: self.bits });
        }
        if self.span == Span::Group(0) {
            return Err(LayoutError::Group);
        }
        let overflow = LayoutError::Overflow { rows: self.rows, cols: self.cols };
        let bytes = self.cols.checked_mul(9).and_then(|row| row.checked_mul(self.rows));
        bytes.map(|_| ()).ok_or(overflow)
    }
}

/// `w = min + code · step`, `code = round((w − min) / (max − min) · (2^n − 1))` per group.
///
/// Rounding is to nearest, ties to even. Per row or per tensor `min` and `step` are f32; in
/// groups they are f16, `min` rounded down and `step` up, so that the codes still reach both
/// ends. The error of a weight is at most `step / 2`, and `2^−21 · max|w|` more for the roundings
/// of f32. A span of one value that f16 (without groups: f32) holds has step 0 and stays exact.
/// `n + 32 / g` bits per weight in groups of `g`, `n + 64 / cols` per row (whole groups and
/// bytes). The formula is [`affine::Linear`](crate::affine::Linear).
#[derive(Clone, Debug, PartialEq)]
pub struct LinearMatrix {
    shape: LinearShape,
    codes: Vec<u8>,
    mins: Vec<f32>,
    steps: Vec<f32>,
}

impl LinearMatrix {
    /// Encodes finite rows.
    pub(crate) fn encode(w: Matrix<'_, f32>, bits: u8, span: Span) -> Result<Self, EncodeError> {
        if !(2..=8).contains(&bits) {
            return Err(EncodeError::Bits { bits });
        }
        let shape = LinearShape { rows: w.rows(), cols: w.cols(), bits, span };
        let mut out = Self {
            shape,
            codes: vec![0; shape.rows * shape.row_bytes()],
            mins: Vec::with_capacity(shape.numbers()),
            steps: Vec::with_capacity(shape.numbers()),
        };
        for row in 0..w.rows() {
            if span == Span::Tensor && row > 0 {
                break;
            }
            let values = if span == Span::Tensor { w.data() } else { w.row(row) };
            let len = if span == Span::Tensor { values.len() } else { span.weights(shape.cols) };
            for group in values.chunks(len.max(1)) {
                let (min, step) = range(group, &shape).map_err(|(magnitude, limit)| {
                    let scheme = Scheme::Linear { bits, span };
                    EncodeError::Range { scheme, row, magnitude, limit }
                })?;
                out.mins.push(min);
                out.steps.push(step);
            }
        }
        out.round(w);
        Ok(out)
    }

    /// Takes the nearest code for every weight.
    fn round(&mut self, w: Matrix<'_, f32>) {
        let LinearShape { rows, cols, bits, span } = self.shape;
        let mut codes = vec![0u8; cols];
        let (len, row_bytes) = (span.weights(cols), self.shape.row_bytes());
        for row in 0..rows {
            let numbers = self.shape.first(row);
            let groups = w.row(row).chunks(len).zip(codes.chunks_mut(len)).enumerate();
            for (group, (values, codes)) in groups {
                let (min, step) = (self.mins[numbers + group], self.steps[numbers + group]);
                encode_group(values, (min, step), i32::from(u8::MAX >> (8 - bits)), codes);
            }
            pack(&codes, bits, &mut self.codes[row * row_bytes..(row + 1) * row_bytes]);
        }
    }

    /// Puts stored parts together: packed `codes` row by row ([`LinearShape::row_bytes`] each),
    /// `mins` and `steps` one per span, row by row. In groups these must be f16 numbers.
    ///
    /// # Errors
    /// [`LayoutError`] when a length does not follow from the shape, or a number does not give
    /// finite weights, or is no f16 where it must be.
    pub fn from_parts(
        shape: LinearShape,
        codes: Vec<u8>,
        mins: Vec<f32>,
        steps: Vec<f32>,
    ) -> Result<Self, LayoutError> {
        shape.check()?;
        let groups = shape.numbers();
        let lengths = [
            ("codes", shape.rows * shape.row_bytes(), codes.len()),
            ("minimums", groups, mins.len()),
            ("steps", groups, steps.len()),
        ];
        for (part, expected, got) in lengths {
            if expected != got {
                return Err(LayoutError::Length { part, expected, got });
            }
        }
        for (part, numbers) in [("minimum", &mins), ("step", &steps)] {
            check_numbers(part, numbers, shape.is_half())?;
        }
        let levels = f32::from(u8::MAX >> (8 - shape.bits));
        let ends = mins.iter().zip(&steps).map(|(min, step)| min + levels * step);
        if let Some(index) = ends.into_iter().position(|end| !end.is_finite()) {
            return Err(LayoutError::Scale { part: "step", index, value: steps[index] });
        }
        Ok(Self { shape, codes, mins, steps })
    }

    /// Rows, columns, bits and span.
    pub fn shape(&self) -> LinearShape {
        self.shape
    }

    /// The packed codes, row by row, low bits first.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// One minimum per span, row by row; in groups every one is an f16 number.
    pub fn mins(&self) -> &[f32] {
        &self.mins
    }

    /// One step per span, row by row; in groups every one is an f16 number.
    pub fn steps(&self) -> &[f32] {
        &self.steps
    }

    /// Bytes of codes, minimums and steps as stored.
    pub fn size_bytes(&self) -> usize {
        self.codes.len() + 2 * self.mins.len() * self.shape.number_bytes()
    }

    pub(crate) fn select_rows(&self, order: &[usize]) -> Self {
        let shared = self.shape.span == Span::Tensor;
        let numbers = |numbers: &Vec<f32>| {
            if shared { numbers.clone() } else { gather(numbers, self.shape.groups(), order) }
        };
        Self {
            shape: LinearShape { rows: order.len(), ..self.shape },
            codes: gather(&self.codes, self.shape.row_bytes(), order),
            mins: numbers(&self.mins),
            steps: numbers(&self.steps),
        }
    }

    /// Restores row `row` into `out`.
    ///
    /// # Panics
    /// If there is no such row, or `out` does not hold exactly `cols` values.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        let LinearShape { rows, cols, bits, span } = self.shape;
        assert!(row < rows, "row {row} of {rows}");
        assert_eq!(out.len(), cols, "one value per column");
        let row_bytes = self.shape.row_bytes();
        let bytes = &self.codes[row * row_bytes..(row + 1) * row_bytes];
        let mut codes = [0u8; PIECE];
        for (values, bytes) in out.chunks_mut(PIECE).zip(bytes.chunks(packed_len(PIECE, bits))) {
            let codes = &mut codes[..values.len()];
            unpack(bytes, bits, codes);
            for (value, &code) in values.iter_mut().zip(codes.iter()) {
                *value = f32::from(code);
            }
        }
        let numbers = self.shape.first(row);
        let (mins, steps) = (&self.mins[numbers..], &self.steps[numbers..]);
        for ((values, min), step) in out.chunks_mut(span.weights(cols)).zip(mins).zip(steps) {
            for value in values {
                *value = min + *value * step;
            }
        }
    }
}

impl LinearMatrix {
    /// The levels: `min + code · step` per group.
    pub(crate) fn grid(&self) -> Grid {
        let LinearShape { rows, cols, bits, span } = self.shape;
        Grid {
            rows,
            cols,
            cut: Cut::of(span, rows, cols),
            levels: Levels::Uniform(1 << bits),
            scales: self.steps.clone(),
            zeros: Vec::new(),
            offsets: self.mins.clone(),
        }
    }

    pub(crate) fn grid_codes(&self) -> Vec<u8> {
        let LinearShape { rows, cols, bits, .. } = self.shape;
        let mut codes = vec![0; rows * cols];
        if cols > 0 {
            let rows = codes.chunks_exact_mut(cols);
            for (codes, bytes) in rows.zip(self.codes.chunks_exact(self.shape.row_bytes())) {
                unpack(bytes, bits, codes);
            }
        }
        codes
    }

    pub(crate) fn set_grid_codes(&mut self, codes: &[u8]) {
        let LinearShape { cols, bits, .. } = self.shape;
        if cols > 0 {
            let rows = self.codes.chunks_exact_mut(self.shape.row_bytes());
            for (codes, bytes) in codes.chunks_exact(cols).zip(rows) {
                pack(codes, bits, bytes);
            }
        }
    }
}

/// Minimum and step of a group as stored, or the magnitude that does not fit and the limit.
fn range(group: &[f32], shape: &LinearShape) -> Result<(f32, f32), (f32, f32)> {
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for &v in group {
        low = if v < low { v } else { low };
        high = if v > high { v } else { high };
    }
    let levels = f64::from(u8::MAX >> (8 - shape.bits));
    if !shape.is_half() {
        let span = f64::from(high) - f64::from(low);
        if span > f64::from(RANGE_MAX) {
            return Err((span as f32, RANGE_MAX));
        }
        return Ok((low, covering_step(span, levels)));
    }
    let magnitude = high.abs().max(low.abs());
    if magnitude > F16_MAX {
        return Err((magnitude, F16_MAX));
    }
    let min = at_most(low);
    let step = -at_most(-((f64::from(high) - f64::from(min)) / levels) as f32);
    Ok((min, step))
}

fn encode_group(group: &[f32], (min, step): (f32, f32), levels: i32, codes: &mut [u8]) {
    if step == 0.0 {
        codes.fill(0);
        return;
    }
    for (code, &v) in codes.iter_mut().zip(group) {
        *code = nearest((v - min) / step).clamp(0, levels) as u8;
    }
}

/// The largest f16 number that is not above `x`, for `|x| ≤ 65504`.
fn at_most(x: f32) -> f32 {
    let near = f16::from_f32(x);
    if near.to_f32() <= x {
        return near.to_f32();
    }
    let bits = near.to_bits();
    let below = match bits {
        0 => 0x8001,
        1..0x8000 => bits - 1,
        0x8000.. => bits + 1,
    };
    f16::from_bits(below).to_f32()
}

fn check_numbers(part: &'static str, numbers: &[f32], half: bool) -> Result<(), LayoutError> {
    for (index, &value) in numbers.iter().enumerate() {
        if !value.is_finite() {
            return Err(LayoutError::Scale { part, index, value });
        }
        if half && f16::from_f32(value).to_f32() != value {
            return Err(LayoutError::Precision { part, index, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_is_the_floor_in_f16() {
        for bits in 0..0x7C00u16 {
            for sign in [0, 0x8000] {
                let exact = f16::from_bits(bits | sign).to_f32();
                assert_eq!(at_most(exact), exact);
                if exact.abs() < F16_MAX {
                    let (up, down) = (exact.next_up(), exact.next_down());
                    assert!(at_most(up) == exact || exact == 0.0 && at_most(up) == 0.0, "{exact}");
                    let floor = at_most(down);
                    assert!(floor < exact, "{exact}");
                    assert_eq!(at_most(floor.next_up()), floor, "nothing between");
                }
            }
        }
    }

    #[test]
    fn shapes_say_their_lengths() {
        let shape = |span| LinearShape { rows: 3, cols: 130, bits: 3, span };
        let lengths = |shape: LinearShape| (shape.groups(), shape.numbers(), shape.row_bytes());
        assert_eq!(lengths(shape(Span::Group(64))), (3, 9, 49));
        assert_eq!(lengths(shape(Span::Channel)), (1, 3, 49));
        assert_eq!(lengths(shape(Span::Tensor)), (1, 1, 49));
        let empty = LinearShape { cols: 0, ..shape(Span::Tensor) };
        assert_eq!(lengths(empty), (0, 0, 0));
    }
}
