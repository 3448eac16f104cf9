//! Functions over one row of activations.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _CMP_LT_OQ, _CMP_NLT_UQ, _MM_FROUND_NO_EXC,
    _MM_FROUND_TO_NEAREST_INT, _mm_packs_epi32, _mm_packus_epi16, _mm256_add_epi32, _mm256_add_ps,
    _mm256_and_ps, _mm256_and_si256, _mm256_andnot_ps, _mm256_castps_si256, _mm256_castsi256_ps,
    _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_cvtps_epi32, _mm256_div_ps,
    _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_max_epu32, _mm256_max_ps,
    _mm256_min_ps, _mm256_mul_ps, _mm256_round_ps, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_slli_epi32, _mm256_sub_ps,
};

use super::distance::add_lanes;
use crate::scalar::row::{RowCode, row_code};
use crate::series::{EXP, EXP_MIN, GELU, GELU_END, LN2_HIGH, LN2_LOW, SWIGLU_END};
use crate::x86_64::load::{
    f32x8, f32x8_head, f32x8_lanes, i32x8_lanes, put_f32x8, put_f32x8_head, put_u8x8_head,
};
use crate::{Matrix, RowsI8};

/// `x ← f(x)` for every element; lanes past the end hold zeros and are dropped.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn map(x: &mut [f32], f: impl Fn(__m256) -> __m256) {
    let (body, tail) = x.as_chunks_mut::<8>();
    for lanes in body {
        put_f32x8(lanes, f(f32x8(lanes)));
    }
    if !tail.is_empty() {
        put_f32x8_head(tail, f(f32x8_head(tail, 0.0)));
    }
}

/// Four sums over `x` in steps of 8; lanes past the end hold `fill`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn fold(
    x: &[f32],
    fill: f32,
    start: __m256,
    step: impl Fn(__m256, __m256) -> __m256,
) -> [__m256; 4] {
    let (body, tail) = x.as_chunks::<8>();
    let (body, rest) = body.as_chunks::<4>();
    let mut sums = [start; 4];
    for lanes in body {
        for i in 0..4 {
            sums[i] = step(sums[i], f32x8(&lanes[i]));
        }
    }
    for (sum, lanes) in sums.iter_mut().zip(rest) {
        *sum = step(*sum, f32x8(lanes));
    }
    if !tail.is_empty() {
        sums[3] = step(sums[3], f32x8_head(tail, fill));
    }
    sums
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_up([a, b, c, d]: [__m256; 4]) -> f32 {
    add_lanes(_mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)))
}

/// `c[0] + x·c[1] + x²·c[2] + …`: even and odd terms apart, which halves the chain of steps that
/// wait for one another.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn polynomial<const N: usize>(x: __m256, coefficients: &[f32; N]) -> __m256 {
    const { assert!(N.is_multiple_of(2), "as many even terms as odd ones") }
    let square = _mm256_mul_ps(x, x);
    let mut even = _mm256_set1_ps(coefficients[N - 2]);
    let mut odd = _mm256_set1_ps(coefficients[N - 1]);
    for pair in coefficients.as_chunks::<2>().0.iter().rev().skip(1) {
        even = _mm256_fmadd_ps(even, square, _mm256_set1_ps(pair[0]));
        odd = _mm256_fmadd_ps(odd, square, _mm256_set1_ps(pair[1]));
    }
    _mm256_fmadd_ps(odd, x, even)
}

/// See [`crate::series::GELU`]: `max(x, 0) − |x|·Φ(−|x|)`.
#[target_feature(enable = "avx2,fma")]
pub(super) fn gelu(x: &mut [f32]) {
    map(x, |x| {
        let end = _mm256_set1_ps(GELU_END);
        // Where an operand is NaN, max and min give their second one.
        let positive = _mm256_max_ps(_mm256_setzero_ps(), x);
        let a = _mm256_min_ps(end, _mm256_andnot_ps(_mm256_set1_ps(-0.0), x));
        let t = _mm256_fmadd_ps(a, _mm256_set1_ps(2.0 / GELU_END), _mm256_set1_ps(-1.0));
        let inside = _mm256_cmp_ps::<_CMP_LT_OQ>(a, end);
        let under = _mm256_and_ps(inside, _mm256_mul_ps(a, polynomial(t, &GELU)));
        _mm256_sub_ps(positive, under)
    });
}

/// See [`crate::series::EXP`]; for arguments up to 88.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn exp(x: __m256) -> __m256 {
    let turns = _mm256_mul_ps(x, _mm256_set1_ps(std::f32::consts::LOG2_E));
    let turns = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(turns);
    let rest = _mm256_fnmadd_ps(turns, _mm256_set1_ps(LN2_HIGH), x);
    let rest = _mm256_fnmadd_ps(turns, _mm256_set1_ps(LN2_LOW), rest);
    let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(turns), _mm256_set1_epi32(127));
    let power = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent));
    let keep = _mm256_cmp_ps::<_CMP_NLT_UQ>(x, _mm256_set1_ps(EXP_MIN));
    _mm256_and_ps(keep, _mm256_mul_ps(polynomial(rest, &EXP), power))
}

/// `x ← exp(scale · (x − max))`; returns the sum.
#[target_feature(enable = "avx2,fma")]
pub(super) fn exponentials(x: &mut [f32], scale: f32) -> f32 {
    let lowest = _mm256_set1_ps(f32::NEG_INFINITY);
    // NaN is passed over here and comes back through the subtraction.
    let [a, b, c, d] = fold(x, f32::NEG_INFINITY, lowest, |max, x| _mm256_max_ps(x, max));
    let max = _mm256_max_ps(_mm256_max_ps(a, b), _mm256_max_ps(c, d));
    let max = f32x8_lanes(max).into_iter().fold(f32::NEG_INFINITY, f32::max);
    let (max_lanes, scale) = (_mm256_set1_ps(max), _mm256_set1_ps(scale));
    let (body, tail) = x.as_chunks_mut::<8>();
    let mut sum = _mm256_setzero_ps();
    for lanes in body {
        let value = exp(_mm256_mul_ps(_mm256_sub_ps(f32x8(lanes), max_lanes), scale));
        put_f32x8(lanes, value);
        sum = _mm256_add_ps(sum, value);
    }
    if !tail.is_empty() {
        let value = f32x8_head(tail, f32::NEG_INFINITY);
        let value = exp(_mm256_mul_ps(_mm256_sub_ps(value, max_lanes), scale));
        put_f32x8_head(tail, value);
        sum = _mm256_add_ps(sum, f32x8_head(tail, 0.0));
    }
    add_lanes(sum)
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    let (zero, one) = (_mm256_setzero_ps(), _mm256_set1_ps(1.0));
    let (end, start) = (_mm256_set1_ps(SWIGLU_END), _mm256_set1_ps(-SWIGLU_END));
    for ((out, gate), up) in out.chunks_mut(8).zip(gate.chunks(8)).zip(up.chunks(8)) {
        let (gate, up) = (f32x8_head(gate, 0.0), f32x8_head(up, 0.0));
        // Where an operand is NaN, max and min give their second one.
        let power = exp(_mm256_max_ps(start, _mm256_min_ps(end, _mm256_sub_ps(zero, gate))));
        let value = _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(one, power)), up);
        put_f32x8_head(out, value);
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn scale(x: &mut [f32], factor: f32) {
    let factor = _mm256_set1_ps(factor);
    map(x, |x| _mm256_mul_ps(x, factor));
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn add(x: &mut [f32], other: &[f32]) {
    let (body, tail) = x.as_chunks_mut::<8>();
    let (other, other_tail) = other.as_chunks::<8>();
    for (lanes, other) in body.iter_mut().zip(other) {
        put_f32x8(lanes, _mm256_add_ps(f32x8(lanes), f32x8(other)));
    }
    let sum = _mm256_add_ps(f32x8_head(tail, 0.0), f32x8_head(other_tail, 0.0));
    put_f32x8_head(tail, sum);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn multiply(a: &[f32], b: &[f32], out: &mut [f32]) {
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let (out, out_tail) = out.as_chunks_mut::<8>();
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        put_f32x8(out, _mm256_mul_ps(f32x8(a), f32x8(b)));
    }
    put_f32x8_head(out_tail, _mm256_mul_ps(f32x8_head(a_tail, 0.0), f32x8_head(b_tail, 0.0)));
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn layer_norm(x: &mut [f32], gain: &[f32], bias: &[f32], eps: f32) {
    let n = x.len() as f32;
    let zero = _mm256_setzero_ps();
    let mean = add_up(fold(x, 0.0, zero, |sum, x| _mm256_add_ps(sum, x))) / n;
    let mean_lanes = _mm256_set1_ps(mean);
    let squares = fold(x, mean, zero, |sum, x| {
        let step = _mm256_sub_ps(x, mean_lanes);
        _mm256_fmadd_ps(step, step, sum)
    });
    let factor = _mm256_set1_ps(1.0 / (add_up(squares) / n + eps).sqrt());
    let (x, x_tail) = x.as_chunks_mut::<8>();
    let (gain, gain_tail) = gain.as_chunks::<8>();
    let (bias, bias_tail) = bias.as_chunks::<8>();
    let norm = |x, gain, bias| {
        _mm256_fmadd_ps(_mm256_mul_ps(_mm256_sub_ps(x, mean_lanes), factor), gain, bias)
    };
    for ((x, gain), bias) in x.iter_mut().zip(gain).zip(bias) {
        put_f32x8(x, norm(f32x8(x), f32x8(gain), f32x8(bias)));
    }
    if !x_tail.is_empty() {
        let (gain, bias) = (f32x8_head(gain_tail, 0.0), f32x8_head(bias_tail, 0.0));
        put_f32x8_head(x_tail, norm(f32x8_head(x_tail, 0.0), gain, bias));
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn quantize_rows(x: Matrix<'_, f32>, rows: &mut RowsI8) {
    rows.reset(x.rows(), x.cols());
    for m in 0..x.rows() {
        quantize_row(x.row(m), m, rows);
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn quantize_row(row: &[f32], m: usize, rows: &mut RowsI8) {
    let stride = rows.stride();
    let (low, high) = range(row);
    let RowCode { scale, inverse, zero } = row_code(low, high, largest(row));
    rows.code_row(m, scale, zero);
    let codes = &mut rows.codes[m * stride..][..stride];
    if inverse == 0.0 {
        // All zeros, or not finite: then the scale tells.
        codes.fill(zero);
        return;
    }
    let (inverse, zero) = (_mm256_set1_ps(inverse), _mm256_set1_epi32(i32::from(zero)));
    let codes = codes.chunks_mut(8);
    let (body, tail) = row.as_chunks::<8>();
    let tail = (!tail.is_empty()).then(|| f32x8_head(tail, 0.0));
    for (codes, values) in codes.zip(body.iter().map(|v| f32x8(v)).chain(tail)) {
        put_u8x8_head(codes, code(values, inverse, zero));
    }
}

/// Codes of 8 values in the low half.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn code(values: __m256, inverse: __m256, zero: __m256i) -> __m128i {
    let codes = _mm256_cvtps_epi32(_mm256_mul_ps(values, inverse));
    let codes = _mm256_add_epi32(codes, zero);
    let (low, high) = (_mm256_castsi256_si128(codes), _mm256_extracti128_si256::<1>(codes));
    // Both saturate: what is out of the range of bytes becomes the nearest one.
    let words = _mm_packs_epi32(low, high);
    _mm_packus_epi16(words, words)
}

/// The lowest and the highest value and 0; NaN is passed over.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn range(row: &[f32]) -> (f32, f32) {
    let (body, tail) = row.as_chunks::<8>();
    let (mut low, mut high) = (_mm256_setzero_ps(), _mm256_setzero_ps());
    for values in body {
        let values = f32x8(values);
        // Where an operand is NaN, min and max give their second one.
        (low, high) = (_mm256_min_ps(values, low), _mm256_max_ps(values, high));
    }
    let low = f32x8_lanes(low).into_iter().chain(tail.iter().copied()).fold(0.0, f32::min);
    let high = f32x8_lanes(high).into_iter().chain(tail.iter().copied()).fold(0.0, f32::max);
    (low, high)
}

/// Bits of the largest magnitude, NaN above all.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn largest(row: &[f32]) -> u32 {
    let magnitude = _mm256_set1_epi32(i32::MAX);
    let (body, tail) = row.as_chunks::<8>();
    let mut max = _mm256_setzero_si256();
    for values in body {
        let bits = _mm256_and_si256(_mm256_castps_si256(f32x8(values)), magnitude);
        max = _mm256_max_epu32(max, bits);
    }
    let tail = tail.iter().map(|v| v.abs().to_bits());
    i32x8_lanes(max).map(i32::cast_unsigned).into_iter().chain(tail).fold(0, u32::max)
}
