//! Functions over one row of activations.

use std::f32::consts::FRAC_1_SQRT_2;

use crate::pack::ZERO_CODE;
use crate::{Matrix, RowsI8};

/// Largest code of a block.
const CODE_MAX: f32 = 127.0;
/// Steps between the codes of a row.
const STEPS: f32 = 255.0;
/// A row of smaller magnitudes is coded as zeros: `127 / max` would leave the range of f32.
const MAGNITUDE_MIN: f32 = 1e-30;

/// Exact GELU, `x · Φ(x)`, by the error function of Abramowitz & Stegun 7.1.26 in f32
/// (absolute error ≤ 1.5e-7 in erf).
pub(crate) fn gelu(x: &mut [f32]) {
    for value in x {
        // Written so that −∞ gives 0, not −∞ · 0.
        let part = 1.0 + erf(*value * FRAC_1_SQRT_2);
        *value = if part == 0.0 { 0.0 } else { 0.5 * *value * part };
    }
}

fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let poly = ((((1.061_405_4 * t - 1.453_152) * t + 1.421_413_7) * t - 0.284_496_74) * t
        + 0.254_829_6)
        * t;
    (1.0 - poly * (-a * a).exp()).copysign(x)
}

/// `x ← exp(scale · (x − max))`; returns the sum, so that the caller may divide once per result.
pub(crate) fn exponentials(x: &mut [f32], scale: f32) -> f32 {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0f32;
    for value in x.iter_mut() {
        *value = ((*value - max) * scale).exp();
        sum += *value;
    }
    sum
}

/// `out = gate / (1 + exp(−gate)) · up`.
pub(crate) fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = gate / (1.0 + (-gate).exp()) * up;
    }
}

pub(crate) fn scale(x: &mut [f32], factor: f32) {
    for value in x {
        *value *= factor;
    }
}

pub(crate) fn add(x: &mut [f32], other: &[f32]) {
    for (value, other) in x.iter_mut().zip(other) {
        *value += other;
    }
}

pub(crate) fn multiply(a: &[f32], b: &[f32], out: &mut [f32]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a * b;
    }
}

pub(crate) fn layer_norm(x: &mut [f32], gain: &[f32], bias: &[f32], eps: f32) {
    let n = x.len() as f32;
    let mean = x.iter().sum::<f32>() / n;
    let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / n;
    let scale = 1.0 / (variance + eps).sqrt();
    for ((value, gain), bias) in x.iter_mut().zip(gain).zip(bias) {
        *value = ((*value - mean) * scale).mul_add(*gain, *bias);
    }
}

/// Scale of a row whose largest magnitude has the bits `max`, and what its values are multiplied
/// by. Bits order magnitudes as numbers do and put NaN above all: it reaches the scale.
pub(crate) fn row_scale(max: u32) -> (f32, f32) {
    let max = f32::from_bits(max);
    if max < MAGNITUDE_MIN {
        (0.0, 0.0)
    } else if max.is_finite() {
        (max / CODE_MAX, CODE_MAX / max)
    } else {
        (max, 0.0)
    }
}

/// How a row is coded: value = `scale · (code − zero)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowCode {
    pub(crate) scale: f32,
    /// What values are multiplied by; 0 where there is nothing to code.
    pub(crate) inverse: f32,
    pub(crate) zero: u8,
}

/// The code of a row of values from `low` ≤ 0 to `high` ≥ 0, whose largest magnitude has the bits
/// `max`. Bits order magnitudes as numbers do and put NaN above all: it reaches the scale.
pub(crate) fn row_code(low: f32, high: f32, max: u32) -> RowCode {
    let max = f32::from_bits(max);
    if !max.is_finite() || max < MAGNITUDE_MIN {
        let scale = if max.is_finite() { 0.0 } else { max };
        return RowCode { scale, inverse: 0.0, zero: ZERO_CODE as u8 };
    }
    // One after the other: the difference may leave the range of f32.
    let scale = high / STEPS - low / STEPS;
    let inverse = 1.0 / scale;
    RowCode { scale, inverse, zero: (-low * inverse).round_ties_even() as u8 }
}

pub(crate) fn quantize_rows(x: Matrix<'_, f32>, rows: &mut RowsI8) {
    rows.reset(x.rows(), x.cols());
    for m in 0..x.rows() {
        quantize_row(x.row(m), m, rows);
    }
}

pub(crate) fn quantize_row(row: &[f32], m: usize, rows: &mut RowsI8) {
    let stride = rows.stride();
    let max = row.iter().fold(0, |max, v| v.abs().to_bits().max(max));
    let (low, high) =
        row.iter().fold((0.0f32, 0.0f32), |(low, high), &v| (low.min(v), high.max(v)));
    let RowCode { scale, inverse, zero } = row_code(low, high, max);
    rows.code_row(m, scale, zero);
    let (codes, padding) = rows.codes[m * stride..][..stride].split_at_mut(row.len());
    for (code, &value) in codes.iter_mut().zip(row) {
        *code = ((value * inverse).round_ties_even() as i32 + i32::from(zero)).clamp(0, 255) as u8;
    }
    padding.fill(zero);
}
