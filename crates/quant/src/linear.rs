//! Minimum and step per group, codes of 2 to 8 bits.

use half::f16;
use kvant_kernels::Matrix;

use crate::affine::{covering_step, nearest};
use crate::coded::gather;
use crate::fit::part::parts;
use crate::fit::range::{Around, Choice, choose};
use crate::fit::search::{Target, scale_and_offset};
use crate::pack::pack;
use crate::refit::all_stored;
use crate::shape::{F16_MAX, at_most, to_half};
use crate::{CodeShape, EncodeError, Fit, Grid, LayoutError, Levels, Scheme, Span};

/// Widest range of a row or tensor: `min + 255 · step` must not overflow f32.
const RANGE_MAX: f32 = f32::MAX / 2.0;

/// `w = min + code · step`, `code = round((w − min) / (max − min) · (2^n − 1))` per group.
///
/// Rounding is to nearest, ties to even. From minimum to maximum, per row or per tensor `min` and
/// `step` are f32; in groups they are f16, `min` rounded down and `step` up, so that the codes
/// still reach both ends. The error of a weight is at most `step / 2`, and `2^−21 · max|w|` more
/// for the roundings
/// of f32. A span of one value that f16 (without groups: f32) holds has step 0 and stays exact.
/// `n + 32 / g` bits per weight in groups of `g`, `n + 64 / cols` per row (whole groups and
/// bytes). The formula is [`affine::Linear`](crate::affine::Linear).
#[derive(Clone, Debug, PartialEq)]
pub struct LinearMatrix {
    shape: CodeShape,
    codes: Vec<u8>,
    mins: Vec<f32>,
    steps: Vec<f32>,
}

impl LinearMatrix {
    /// Encodes finite rows.
    pub(crate) fn encode(
        w: Matrix<'_, f32>,
        shape: CodeShape,
        fit: &Fit<'_>,
    ) -> Result<Self, EncodeError> {
        let CodeShape { bits, span, .. } = shape;
        if !(2..=8).contains(&bits) {
            return Err(EncodeError::Bits { bits });
        }
        let mut out = Self {
            shape,
            codes: vec![0; shape.rows * shape.row_bytes()],
            mins: Vec::with_capacity(shape.numbers()),
            steps: Vec::with_capacity(shape.numbers()),
        };
        parts(w, shape.cut(), fit, |row, target| {
            let (min, step) = fitted(target, &shape, fit).map_err(|(magnitude, limit)| {
                let scheme = Scheme::Linear { bits, span };
                EncodeError::Range { scheme, row, magnitude, limit }
            })?;
            out.mins.push(min);
            out.steps.push(step);
            Ok(())
        })?;
        out.round(w);
        Ok(out)
    }

    /// Takes the nearest code for every weight.
    fn round(&mut self, w: Matrix<'_, f32>) {
        let CodeShape { rows, cols, bits, span } = self.shape;
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

    /// Puts stored parts together: packed `codes` row by row ([`CodeShape::row_bytes`] each),
    /// `mins` and `steps` one per span, row by row. In groups these must be f16 numbers.
    ///
    /// # Errors
    /// [`LayoutError`] when a length does not follow from the shape, or a number does not give
    /// finite weights, or is no f16 where it must be.
    pub fn from_parts(
        shape: CodeShape,
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
    pub fn shape(&self) -> CodeShape {
        self.shape
    }

    /// The scheme that writes this matrix.
    pub fn scheme(&self) -> Scheme {
        Scheme::Linear { bits: self.shape.bits, span: self.shape.span }
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
            shape: CodeShape { rows: order.len(), ..self.shape },
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
        let CodeShape { rows, cols, span, .. } = self.shape;
        assert!(row < rows, "row {row} of {rows}");
        assert_eq!(out.len(), cols, "one value per column");
        self.shape.unpack_row(&self.codes, row, out);
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
        let CodeShape { rows, cols, bits, .. } = self.shape;
        Grid {
            rows,
            cols,
            cut: self.shape.cut(),
            levels: Levels::Uniform(1 << bits),
            scales: self.steps.clone(),
            zeros: Vec::new(),
            offsets: self.mins.clone(),
        }
    }

    pub(crate) fn set_scales(&mut self, steps: &[f32], mins: &[f32]) -> bool {
        let half = self.shape.is_half();
        let (Some(steps), Some(mins)) = (all_stored(steps, half), all_stored(mins, half)) else {
            return false;
        };
        let top = f32::from(u8::MAX >> (8 - self.shape.bits));
        let finite = steps.iter().zip(&mins).all(|(step, min)| (min + top * step).is_finite());
        if finite {
            (self.steps, self.mins) = (steps, mins);
        }
        finite
    }

    pub(crate) fn grid_codes(&self) -> Vec<u8> {
        self.shape.unpack(&self.codes)
    }

    pub(crate) fn set_grid_codes(&mut self, codes: &[u8]) {
        self.codes = self.shape.pack(codes);
    }
}

/// Minimum and step as the observer wants them.
fn fitted(target: Target<'_>, shape: &CodeShape, fit: &Fit<'_>) -> Result<(f32, f32), (f32, f32)> {
    let whole = range(target.values, shape)?;
    let levels = usize::from(shape.top()) + 1;
    match choose(target, fit.observer, Around::Anything, levels) {
        Choice::Ends(ends) => range(&ends, shape),
        Choice::Search => {
            let store = |step, min| {
                if shape.is_half() { (to_half(step), to_half(min)) } else { (step, min) }
            };
            let top = f32::from(shape.top());
            let (step, min) = scale_and_offset(target, top, store);
            let error = |(min, step): (f32, f32)| {
                let code = |v: f32| ((v - min) / step).round_ties_even().clamp(0.0, top);
                target.error(|v| if step == 0.0 { min } else { min + step * code(v) })
            };
            let better = (min + top * step).is_finite() && error((min, step)) < error(whole);
            Ok(if better { (min, step) } else { whole })
        }
    }
}

/// Minimum and step of a group as stored, or the magnitude that does not fit and the limit.
fn range(group: &[f32], shape: &CodeShape) -> Result<(f32, f32), (f32, f32)> {
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
        // Far outside a clipped range the rounding would not hold.
        let place = ((v - min) / step).clamp(-1.0, 256.0);
        *code = nearest(place).clamp(0, levels) as u8;
    }
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
