//! Functions over one row of activations.

use std::arch::x86_64::{
    __m512, __m512i, _CMP_LT_OQ, _CMP_NLT_UQ, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT,
    _mm512_abs_ps, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_castps_si512,
    _mm512_cmp_ps_mask, _mm512_cvtps_epi32, _mm512_cvtusepi32_epi8, _mm512_div_ps, _mm512_fmadd_ps,
    _mm512_fnmadd_ps, _mm512_mask_mov_ps, _mm512_mask3_fnmadd_ps, _mm512_maskz_mov_ps,
    _mm512_maskz_scalef_ps, _mm512_max_epi32, _mm512_max_epu32, _mm512_max_ps, _mm512_min_ps,
    _mm512_mul_ps, _mm512_packs_epi32, _mm512_packus_epi16, _mm512_permutexvar_epi32,
    _mm512_reduce_add_ps, _mm512_reduce_max_epu32, _mm512_reduce_max_ps, _mm512_reduce_min_ps,
    _mm512_roundscale_ps, _mm512_set_epi32, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_sub_ps,
};

use crate::scalar::row::{RowCode, row_code};
use crate::series::{EXP, EXP_MIN, GELU, GELU_END, LN2_HIGH, LN2_LOW, SWIGLU_END};
use crate::x86_64::load::{
    f32x16, f32x16_head, mask16, put_f32x16, put_f32x16_head, put_u8x16_head, put_u8x64,
};
use crate::{Matrix, RowsI8};

/// `x ← f(x)` for every element; lanes past the end hold zeros and are dropped.
#[inline]
#[target_feature(enable = "avx512f")]
fn map(x: &mut [f32], f: impl Fn(__m512) -> __m512) {
    let (body, tail) = x.as_chunks_mut::<16>();
    for lanes in body {
        put_f32x16(lanes, f(f32x16(lanes)));
    }
    if !tail.is_empty() {
        put_f32x16_head(tail, f(f32x16_head(tail)));
    }
}

/// Four sums over `x` in steps of 16; lanes past the end hold `fill`.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold(
    x: &[f32],
    fill: __m512,
    start: __m512,
    step: impl Fn(__m512, __m512) -> __m512,
) -> [__m512; 4] {
    let (body, tail) = x.as_chunks::<16>();
    let (body, rest) = body.as_chunks::<4>();
    let mut sums = [start; 4];
    for lanes in body {
        for i in 0..4 {
            sums[i] = step(sums[i], f32x16(&lanes[i]));
        }
    }
    for (sum, lanes) in sums.iter_mut().zip(rest) {
        *sum = step(*sum, f32x16(lanes));
    }
    if !tail.is_empty() {
        let last = _mm512_mask_mov_ps(fill, mask16(tail.len()), f32x16_head(tail));
        sums[3] = step(sums[3], last);
    }
    sums
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add_up([a, b, c, d]: [__m512; 4]) -> f32 {
    _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)))
}

/// `c[0] + x·c[1] + x²·c[2] + …`: even and odd terms apart, which halves the chain of steps that
/// wait for one another.
#[inline]
#[target_feature(enable = "avx512f")]
fn polynomial<const N: usize>(x: __m512, coefficients: &[f32; N]) -> __m512 {
    const { assert!(N.is_multiple_of(2), "as many even terms as odd ones") }
    let square = _mm512_mul_ps(x, x);
    let mut even = _mm512_set1_ps(coefficients[N - 2]);
    let mut odd = _mm512_set1_ps(coefficients[N - 1]);
    for pair in coefficients.as_chunks::<2>().0.iter().rev().skip(1) {
        even = _mm512_fmadd_ps(even, square, _mm512_set1_ps(pair[0]));
        odd = _mm512_fmadd_ps(odd, square, _mm512_set1_ps(pair[1]));
    }
    _mm512_fmadd_ps(odd, x, even)
}

/// See [`crate::series::GELU`]: `max(x, 0) − |x|·Φ(−|x|)`.
#[target_feature(enable = "avx512f")]
pub(super) fn gelu(x: &mut [f32]) {
    map(x, |x| {
        let end = _mm512_set1_ps(GELU_END);
        // Where an operand is NaN, max and min give their second one.
        let positive = _mm512_max_ps(_mm512_setzero_ps(), x);
        let a = _mm512_min_ps(end, _mm512_abs_ps(x));
        let t = _mm512_fmadd_ps(a, _mm512_set1_ps(2.0 / GELU_END), _mm512_set1_ps(-1.0));
        let inside = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, end);
        _mm512_mask3_fnmadd_ps(a, polynomial(t, &GELU), positive, inside)
    });
}

/// See [`crate::series::EXP`].
#[inline]
#[target_feature(enable = "avx512f")]
fn exp(x: __m512) -> __m512 {
    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    let turns = _mm512_mul_ps(x, _mm512_set1_ps(std::f32::consts::LOG2_E));
    let turns = _mm512_roundscale_ps::<NEAREST>(turns);
    let rest = _mm512_fnmadd_ps(turns, _mm512_set1_ps(LN2_HIGH), x);
    let rest = _mm512_fnmadd_ps(turns, _mm512_set1_ps(LN2_LOW), rest);
    let keep = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(EXP_MIN));
    _mm512_maskz_scalef_ps(keep, polynomial(rest, &EXP), turns)
}

/// The largest value; NaN is passed over.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn largest_value(x: &[f32]) -> f32 {
    let lowest = _mm512_set1_ps(f32::NEG_INFINITY);
    let [a, b, c, d] = fold(x, lowest, lowest, |max, x| _mm512_max_ps(x, max));
    _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(a, b), _mm512_max_ps(c, d)))
}

/// `x ← exp(scale · (x − max))`; returns the sum.
#[target_feature(enable = "avx512f")]
pub(super) fn exponentials(x: &mut [f32], scale: f32) -> f32 {
    let max = _mm512_set1_ps(largest_value(x));
    let scale = _mm512_set1_ps(scale);
    let power = |x| exp(_mm512_mul_ps(_mm512_sub_ps(x, max), scale));
    let (body, tail) = x.as_chunks_mut::<16>();
    let mut sum = _mm512_setzero_ps();
    for lanes in body {
        let value = power(f32x16(lanes));
        put_f32x16(lanes, value);
        sum = _mm512_add_ps(sum, value);
    }
    if !tail.is_empty() {
        let value = power(f32x16_head(tail));
        put_f32x16_head(tail, value);
        sum = _mm512_add_ps(sum, _mm512_maskz_mov_ps(mask16(tail.len()), value));
    }
    _mm512_reduce_add_ps(sum)
}

#[target_feature(enable = "avx512f")]
pub(super) fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    let (zero, one) = (_mm512_setzero_ps(), _mm512_set1_ps(1.0));
    let (end, start) = (_mm512_set1_ps(SWIGLU_END), _mm512_set1_ps(-SWIGLU_END));
    let value = |gate, up| {
        // Where an operand is NaN, max and min give their second one.
        let power = exp(_mm512_max_ps(start, _mm512_min_ps(end, _mm512_sub_ps(zero, gate))));
        _mm512_mul_ps(_mm512_div_ps(gate, _mm512_add_ps(one, power)), up)
    };
    let (out, out_tail) = out.as_chunks_mut::<16>();
    let (gate, gate_tail) = gate.as_chunks::<16>();
    let (up, up_tail) = up.as_chunks::<16>();
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        put_f32x16(out, value(f32x16(gate), f32x16(up)));
    }
    if !out_tail.is_empty() {
        put_f32x16_head(out_tail, value(f32x16_head(gate_tail), f32x16_head(up_tail)));
    }
}

#[target_feature(enable = "avx512f")]
pub(super) fn scale(x: &mut [f32], factor: f32) {
    let factor = _mm512_set1_ps(factor);
    map(x, |x| _mm512_mul_ps(x, factor));
}

#[target_feature(enable = "avx512f")]
pub(super) fn add(x: &mut [f32], other: &[f32]) {
    let (body, tail) = x.as_chunks_mut::<16>();
    let (other, other_tail) = other.as_chunks::<16>();
    for (lanes, other) in body.iter_mut().zip(other) {
        put_f32x16(lanes, _mm512_add_ps(f32x16(lanes), f32x16(other)));
    }
    put_f32x16_head(tail, _mm512_add_ps(f32x16_head(tail), f32x16_head(other_tail)));
}

#[target_feature(enable = "avx512f")]
pub(super) fn multiply(a: &[f32], b: &[f32], out: &mut [f32]) {
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let (out, out_tail) = out.as_chunks_mut::<16>();
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        put_f32x16(out, _mm512_mul_ps(f32x16(a), f32x16(b)));
    }
    put_f32x16_head(out_tail, _mm512_mul_ps(f32x16_head(a_tail), f32x16_head(b_tail)));
}

#[target_feature(enable = "avx512f")]
pub(super) fn layer_norm(x: &mut [f32], gain: &[f32], bias: &[f32], eps: f32) {
    let n = x.len() as f32;
    let zero = _mm512_setzero_ps();
    let mean = _mm512_set1_ps(add_up(fold(x, zero, zero, |sum, x| _mm512_add_ps(sum, x))) / n);
    let squares = fold(x, mean, zero, |sum, x| {
        let step = _mm512_sub_ps(x, mean);
        _mm512_fmadd_ps(step, step, sum)
    });
    let factor = _mm512_set1_ps(1.0 / (add_up(squares) / n + eps).sqrt());
    let (x, x_tail) = x.as_chunks_mut::<16>();
    let (gain, gain_tail) = gain.as_chunks::<16>();
    let (bias, bias_tail) = bias.as_chunks::<16>();
    let norm =
        |x, gain, bias| _mm512_fmadd_ps(_mm512_mul_ps(_mm512_sub_ps(x, mean), factor), gain, bias);
    for ((x, gain), bias) in x.iter_mut().zip(gain).zip(bias) {
        put_f32x16(x, norm(f32x16(x), f32x16(gain), f32x16(bias)));
    }
    if !x_tail.is_empty() {
        let (gain, bias) = (f32x16_head(gain_tail), f32x16_head(bias_tail));
        put_f32x16_head(x_tail, norm(f32x16_head(x_tail), gain, bias));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn quantize_rows(x: Matrix<'_, f32>, rows: &mut RowsI8) {
    rows.reset(x.rows(), x.cols());
    for m in 0..x.rows() {
        quantize_row(x.row(m), m, rows);
    }
}

/// Row `m` of `rows` from `row`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn quantize_row(row: &[f32], m: usize, rows: &mut RowsI8) {
    let (low, high, largest) = range(row);
    let RowCode { scale, inverse, zero } = row_code(low, high, largest);
    rows.code_row(m, scale, zero);
    let stride = rows.stride();
    let codes = &mut rows.codes[m * stride..][..stride];
    if inverse == 0.0 {
        // All zeros, or not finite: then the scale tells.
        codes.fill(zero);
        return;
    }
    let inverse = _mm512_set1_ps(inverse);
    let (codes, codes_tail) = codes.split_at_mut(row.len() / 64 * 64);
    let (values, values_tail) = row.as_chunks::<16>();
    let (values, values_rest) = values.as_chunks::<4>();
    let zero = _mm512_set1_epi32(i32::from(zero));
    let code = |lanes| _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(lanes, inverse)), zero);
    for (codes, values) in codes.as_chunks_mut().0.iter_mut().zip(values) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| code(f32x16(&values[i])));
        put_u8x64(codes, narrow(a, b, c, d));
    }
    let tail = values_rest.iter().map(|v| f32x16(v)).chain([f32x16_head(values_tail)]);
    for (codes, lanes) in codes_tail.chunks_mut(16).zip(tail) {
        let code = _mm512_max_epi32(code(lanes), _mm512_setzero_si512());
        put_u8x16_head(codes, _mm512_cvtusepi32_epi8(code));
    }
}

/// 64 numbers as bytes, in order; what is out of their range becomes the nearest one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn narrow(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    // Packing goes by quarters: quarter q of the result holds quarter q of a, b, c and d.
    let order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    let packed = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
    _mm512_permutexvar_epi32(order, packed)
}

/// The lowest and the highest value and 0, NaN passed over; and the bits of the largest magnitude,
/// NaN above all.
#[inline]
#[target_feature(enable = "avx512f")]
fn range(row: &[f32]) -> (f32, f32, u32) {
    let magnitude = _mm512_set1_epi32(i32::MAX);
    let (body, tail) = row.as_chunks::<16>();
    let (mut low, mut high) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let mut largest = _mm512_setzero_si512();
    for lanes in body.iter().map(|lanes| f32x16(lanes)).chain([f32x16_head(tail)]) {
        // Where an operand is NaN, min and max give their second one.
        (low, high) = (_mm512_min_ps(lanes, low), _mm512_max_ps(lanes, high));
        let bits = _mm512_and_si512(_mm512_castps_si512(lanes), magnitude);
        largest = _mm512_max_epu32(largest, bits);
    }
    let largest = _mm512_reduce_max_epu32(largest);
    (_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high), largest)
}

/// Bits of the largest magnitude, NaN above all.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn largest(row: &[f32]) -> u32 {
    let magnitude = _mm512_set1_epi32(i32::MAX);
    let (body, tail) = row.as_chunks::<16>();
    let mut max = _mm512_setzero_si512();
    for lanes in body {
        let bits = _mm512_and_si512(_mm512_castps_si512(f32x16(lanes)), magnitude);
        max = _mm512_max_epu32(max, bits);
    }
    let bits = _mm512_and_si512(_mm512_castps_si512(f32x16_head(tail)), magnitude);
    _mm512_reduce_max_epu32(_mm512_max_epu32(max, bits))
}
