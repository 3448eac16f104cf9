//! Functions over one row of activations.

use crate::{Matrix, RowsI8};

/// Exact GELU, `x · Φ(x)`, by the error function of Abramowitz & Stegun 7.1.26 in f32
/// (absolute error ≤ 1.5e-7 in erf).
pub(crate) fn gelu(x: &mut [f32]) {
    for value in x {
        *value = 0.5 * *value * (1.0 + erf(*value * std::f32::consts::FRAC_1_SQRT_2));
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

pub(crate) fn softmax(x: &mut [f32]) {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0f32;
    for value in x.iter_mut() {
        *value = (*value - max).exp();
        sum += *value;
    }
    let scale = 1.0 / sum;
    for value in x {
        *value *= scale;
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

pub(crate) fn quantize_rows(x: Matrix<'_, f32>, rows: &mut RowsI8) {
    rows.reset(x.rows(), x.cols());
    let stride = rows.stride();
    for m in 0..x.rows() {
        let row = x.row(m);
        let max = row.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        let inverse = if max > 0.0 { 127.0 / max } else { 0.0 };
        rows.scales[m] = max / 127.0;
        for (code, &value) in rows.codes[m * stride..].iter_mut().zip(row) {
            *code = ((value * inverse).round_ties_even() as i32 + 128) as u8;
        }
    }
}
