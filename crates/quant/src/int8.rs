//! Symmetric int8 with one scale per row.

use kvant_kernels::Matrix;

use crate::affine::{covering_step, nearest};
use crate::coded::gather;
use crate::fit::range::{Around, Choice, choose};
use crate::fit::search::{self, Target};
use crate::{Cut, EncodeError, Fit, Grid, LayoutError, Levels, Scheme};

/// `w = code · scale`, `scale = max|w| / 127` of the row, `code = round(w / scale)` in −127..=127.
///
/// Rounding is to nearest, ties to even; other observers than
/// [`Observer::MinMax`](crate::Observer::MinMax) may clip. Unclipped the error of a weight is
/// at most `scale / 2`, and `127 · 2^−23 · scale` more for the roundings of f32. Rows of zeros
/// have scale 0 and stay exact. `8 + 32 / cols` bits per weight. The format of `LLM.int8()`
/// (Dettmers et al., 2022)
/// without its outliers.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8Matrix {
    rows: usize,
    cols: usize,
    codes: Vec<i8>,
    scales: Vec<f32>,
}

const LEVELS: f32 = 127.0;
/// Largest magnitude that is encoded: `128 · scale` must not overflow.
pub(crate) const MAX: f32 = f32::MAX / 2.0;

impl Int8Matrix {
    /// Encodes finite rows.
    pub(crate) fn encode(w: Matrix<'_, f32>, fit: &Fit<'_>) -> Result<Self, EncodeError> {
        let mut codes = Vec::with_capacity(w.rows() * w.cols());
        let mut scales = Vec::with_capacity(w.rows());
        for i in 0..w.rows() {
            let row = w.row(i);
            let max = row.iter().fold(0.0f32, |max, v| max.max(v.abs()));
            if max > MAX {
                let scheme = Scheme::Int8;
                return Err(EncodeError::Range { scheme, row: i, magnitude: max, limit: MAX });
            }
            let importance = fit.importance.unwrap_or(&[]);
            let scale = fitted(Target { values: row, importance }, max, fit);
            scales.push(scale);
            if scale > 0.0 {
                // Far outside a clipped range the rounding would not hold.
                let place = |v: &f32| (v / scale).clamp(-128.0, 128.0);
                let code = |v: &f32| nearest(place(v)).clamp(-127, 127) as i8;
                codes.extend(row.iter().map(code));
            } else {
                codes.resize(codes.len() + row.len(), 0);
            }
        }
        Ok(Self { rows: w.rows(), cols: w.cols(), codes, scales })
    }

    /// Puts stored parts together: `codes` row-major, one scale per row.
    ///
    /// # Errors
    /// [`LayoutError`] when a length does not follow from the shape or a scale does not give
    /// finite weights.
    pub fn from_parts(
        rows: usize,
        cols: usize,
        codes: Vec<i8>,
        scales: Vec<f32>,
    ) -> Result<Self, LayoutError> {
        let expected = rows.checked_mul(cols).ok_or(LayoutError::Overflow { rows, cols })?;
        if codes.len() != expected {
            return Err(LayoutError::Length { part: "codes", expected, got: codes.len() });
        }
        if scales.len() != rows {
            let got = scales.len();
            return Err(LayoutError::Length { part: "scales", expected: rows, got });
        }
        if let Some(index) = scales.iter().position(|s| !(s * 128.0).is_finite()) {
            return Err(LayoutError::Scale { part: "scale", index, value: scales[index] });
        }
        Ok(Self { rows, cols, codes, scales })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The codes, row-major.
    pub fn codes(&self) -> &[i8] {
        &self.codes
    }

    /// The codes as a matrix, as the int8 product packs them.
    pub fn matrix(&self) -> Matrix<'_, i8> {
        Matrix::new(&self.codes, self.rows, self.cols)
    }

    /// One scale per row.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Bytes of codes and scales.
    pub fn size_bytes(&self) -> usize {
        self.codes.len() + self.scales.len() * 4
    }

    pub(crate) fn select_rows(&self, order: &[usize]) -> Self {
        let codes = gather(&self.codes, self.cols, order);
        Self { rows: order.len(), codes, scales: gather(&self.scales, 1, order), ..*self }
    }

    /// Restores row `row` into `out`.
    ///
    /// # Panics
    /// If there is no such row, or `out` does not hold exactly `cols` values.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.cols, "one value per column");
        let scale = self.scales[row];
        let codes = &self.codes[row * self.cols..(row + 1) * self.cols];
        for (value, &code) in out.iter_mut().zip(codes) {
            *value = f32::from(code) * scale;
        }
    }
    /// The levels: `−127 · scale` to `127 · scale` per row.
    pub(crate) fn grid(&self) -> Grid {
        Grid {
            rows: self.rows,
            cols: self.cols,
            cut: Cut::Rows(self.cols.max(1)),
            levels: Levels::Uniform(2 * LEVELS as u16 + 1),
            scales: self.scales.clone(),
            zeros: vec![LEVELS; self.rows],
            offsets: Vec::new(),
        }
    }

    pub(crate) fn set_scales(&mut self, scales: &[f32]) -> bool {
        let finite = scales.iter().all(|scale| (scale * 128.0).is_finite());
        if finite {
            self.scales.copy_from_slice(scales);
        }
        finite
    }

    pub(crate) fn grid_codes(&self) -> Vec<u8> {
        // A foreign file may hold −128, which this format itself never writes.
        self.codes.iter().map(|&code| (i16::from(code) + 127).max(0) as u8).collect()
    }

    pub(crate) fn set_grid_codes(&mut self, codes: &[u8]) {
        for (code, &index) in self.codes.iter_mut().zip(codes) {
            *code = (i16::from(index) - 127) as i8;
        }
    }
}

/// The scale as the observer wants it, `max` being the largest magnitude.
fn fitted(target: Target<'_>, max: f32, fit: &Fit<'_>) -> f32 {
    let covering = |max: f32| covering_step(f64::from(max), f64::from(LEVELS));
    let levels = 2 * LEVELS as usize + 1;
    if max == 0.0 {
        return 0.0;
    }
    match choose(target, fit.observer, Around::Zero, levels) {
        Choice::Ends([low, high]) => covering(low.abs().max(high.abs())),
        Choice::Search => {
            let end = LEVELS.copysign(target.largest());
            let snap = |v: f32| v.round_ties_even().clamp(-LEVELS, LEVELS);
            let (found, whole) = (search::scale(target, &[end], snap, |s| s), covering(max));
            let error = |scale: f32| target.error(|v| scale * snap(v / scale));
            let better = found > 0.0 && found.is_finite() && error(found) < error(whole);
            if better { found } else { whole }
        }
    }
}
