//! Minimum and step per group, codes of 2 to 8 bits.

use half::f16;
use kvant_kernels::Matrix;

use crate::affine::{covering_step, nearest};
use crate::coded::gather;
use crate::pack::{pack, packed_len, unpack};
use crate::{EncodeError, LayoutError, Scheme};

/// Weights per group below 8 bits.
pub const GROUP: usize = 64;

/// Largest magnitude that a group below 8 bits may hold: its minimum is stored in f16.
const F16_MAX: f32 = 65504.0;
/// Widest range of an 8-bit row: `min + 255 · step` must not overflow f32.
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
    /// Weights per group along a row, at least 1; the last group of a row may be shorter.
    pub group: usize,
}

impl LinearShape {
    /// The shape that [`Scheme::Linear`] writes: groups of the whole row at 8 bits, else of
    /// [`GROUP`].
    pub fn new(rows: usize, cols: usize, bits: u8) -> Self {
        let group = if bits == 8 { cols.max(1) } else { GROUP };
        Self { rows, cols, bits, group }
    }

    /// Groups of one row.
    pub fn groups(&self) -> usize {
        self.cols.div_ceil(self.group)
    }

    /// Bytes of the codes of one row, padded to a whole byte.
    pub fn row_bytes(&self) -> usize {
        packed_len(self.cols, self.bits)
    }

    /// Bytes of one stored minimum or step: f32 at 8 bits, f16 below.
    pub fn number_bytes(&self) -> usize {
        if self.bits == 8 { 4 } else { 2 }
    }

    fn check(&self) -> Result<(), LayoutError> {
        if !(2..=8).contains(&self.bits) {
            return Err(LayoutError::Bits { bits: self.bits });
        }
        if self.group == 0 {
            return Err(LayoutError::Group);
        }
        let overflow = LayoutError::Overflow { rows: self.rows, cols: self.cols };
        let bytes = self.cols.checked_mul(9).and_then(|row| row.checked_mul(self.rows));
        bytes.map(|_| ()).ok_or(overflow)
    }
}

/// `w = min + code · step`, `code = round((w − min) / (max − min) · (2^n − 1))` per group.
///
/// Rounding is to nearest, ties to even. At 8 bits a group is the whole row and `min`, `step` are
/// f32; below, a group is 64 weights and they are f16, `min` rounded down and `step` up, so that
/// the codes still reach both ends. The error of a weight is at most `step / 2`, and
/// `2^−21 · max|w|` more for the roundings of f32. A group of one value that f16 (at 8 bits: f32)
/// holds has step 0 and stays exact. `8 + 64 / cols` or `n + 32 / 64` bits per weight (whole
/// groups and bytes). The formula is [`affine::Linear`](crate::affine::Linear).
#[derive(Clone, Debug, PartialEq)]
pub struct LinearMatrix {
    shape: LinearShape,
    codes: Vec<u8>,
    mins: Vec<f32>,
    steps: Vec<f32>,
}

impl LinearMatrix {
    /// Encodes finite rows.
    pub(crate) fn encode(w: Matrix<'_, f32>, bits: u8) -> Result<Self, EncodeError> {
        if !(2..=8).contains(&bits) {
            return Err(EncodeError::Bits { bits });
        }
        let shape = LinearShape::new(w.rows(), w.cols(), bits);
        let numbers = shape.rows * shape.groups();
        let mut out = Self {
            shape,
            codes: vec![0; shape.rows * shape.row_bytes()],
            mins: Vec::with_capacity(numbers),
            steps: Vec::with_capacity(numbers),
        };
        let mut codes = vec![0u8; shape.cols];
        let row_bytes = shape.row_bytes();
        for i in 0..w.rows() {
            for (group, codes) in w.row(i).chunks(shape.group).zip(codes.chunks_mut(shape.group)) {
                let (min, step) = grid(group, bits).map_err(|(magnitude, limit)| {
                    let scheme = Scheme::Linear { bits };
                    EncodeError::Range { scheme, row: i, magnitude, limit }
                })?;
                out.mins.push(min);
                out.steps.push(step);
                encode_group(group, (min, step), i32::from(u8::MAX >> (8 - bits)), codes);
            }
            pack(&codes, bits, &mut out.codes[i * row_bytes..(i + 1) * row_bytes]);
        }
        Ok(out)
    }

    /// Puts stored parts together: packed `codes` row by row ([`LinearShape::row_bytes`] each),
    /// `mins` and `steps` one per group, row by row. Below 8 bits these must be f16 numbers.
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
        let groups = shape.rows * shape.groups();
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
            check_numbers(part, numbers, shape.bits)?;
        }
        let levels = f32::from(u8::MAX >> (8 - shape.bits));
        let ends = mins.iter().zip(&steps).map(|(min, step)| min + levels * step);
        if let Some(index) = ends.into_iter().position(|end| !end.is_finite()) {
            return Err(LayoutError::Scale { part: "step", index, value: steps[index] });
        }
        Ok(Self { shape, codes, mins, steps })
    }

    /// Rows, columns, bits and group.
    pub fn shape(&self) -> LinearShape {
        self.shape
    }

    /// The packed codes, row by row, low bits first.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// One minimum per group, row by row; below 8 bits every one is an f16 number.
    pub fn mins(&self) -> &[f32] {
        &self.mins
    }

    /// One step per group, row by row; below 8 bits every one is an f16 number.
    pub fn steps(&self) -> &[f32] {
        &self.steps
    }

    /// Bytes of codes, minimums and steps as stored.
    pub fn size_bytes(&self) -> usize {
        self.codes.len() + 2 * self.mins.len() * self.shape.number_bytes()
    }

    pub(crate) fn select_rows(&self, order: &[usize]) -> Self {
        let groups = self.shape.groups();
        Self {
            shape: LinearShape { rows: order.len(), ..self.shape },
            codes: gather(&self.codes, self.shape.row_bytes(), order),
            mins: gather(&self.mins, groups, order),
            steps: gather(&self.steps, groups, order),
        }
    }

    /// Restores row `row` into `out`.
    ///
    /// # Panics
    /// If there is no such row, or `out` does not hold exactly `cols` values.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        let LinearShape { rows, cols, bits, group } = self.shape;
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
        let numbers = row * self.shape.groups();
        let (mins, steps) = (&self.mins[numbers..], &self.steps[numbers..]);
        for ((values, min), step) in out.chunks_mut(group).zip(mins).zip(steps) {
            for value in values {
                *value = min + *value * step;
            }
        }
    }
}

/// Minimum and step of a group as stored, or the magnitude that does not fit and the limit.
fn grid(group: &[f32], bits: u8) -> Result<(f32, f32), (f32, f32)> {
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for &v in group {
        low = if v < low { v } else { low };
        high = if v > high { v } else { high };
    }
    let levels = f64::from(u8::MAX >> (8 - bits));
    if bits == 8 {
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

fn check_numbers(part: &'static str, numbers: &[f32], bits: u8) -> Result<(), LayoutError> {
    for (index, &value) in numbers.iter().enumerate() {
        if !value.is_finite() {
            return Err(LayoutError::Scale { part, index, value });
        }
        if bits < 8 && f16::from_f32(value).to_f32() != value {
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
        let shape = LinearShape::new(3, 130, 3);
        assert_eq!((shape.group, shape.groups(), shape.row_bytes()), (64, 3, 49));
        let shape = LinearShape::new(3, 130, 8);
        assert_eq!((shape.group, shape.groups(), shape.row_bytes()), (130, 1, 130));
        assert_eq!(LinearShape::new(3, 0, 8).groups(), 0);
    }
}
