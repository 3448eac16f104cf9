//! Functions over one row of activations.

use std::arch::x86_64::{
    __m512, _CMP_LT_OQ, _CMP_NLT_UQ, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _mm512_abs_ps,
    _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_castps_si512, _mm512_cmp_ps_mask,
    _mm512_cvtepi32_epi8, _mm512_cvtps_epi32, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_mask_mov_ps, _mm512_maskz_mov_ps, _mm512_maskz_mul_ps, _mm512_maskz_scalef_ps,
    _mm512_max_epu32, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_reduce_add_ps,
    _mm512_reduce_max_epu32, _mm512_reduce_max_ps, _mm512_roundscale_ps, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_sub_ps,
};

use std::array;

use crate::pack::ZERO_CODE;
use crate::scalar::row::row_scale;
use crate::series::{EXP, EXP_MIN, GELU, GELU_END, LN2_HIGH, LN2_LOW};
use crate::x86_64::load::{
    f32x16, f32x16_head, mask16, put_f32x16, put_f32x16_head, put_u8x16_head,
};
use crate::{Matrix, RowsI8};

/// How many registers go through a polynomial side by side, to hide the latency of its steps.
const ABREAST: usize = 4;

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

/// `c[0] + x·(c[1] + x·(…))`.
#[inline]
#[target_feature(enable = "avx512f")]
fn horner<const L: usize, const N: usize>(x: [__m512; L], coefficients: &[f32; N]) -> [__m512; L] {
    let mut sums = [_mm512_set1_ps(coefficients[N - 1]); L];
    for &c in coefficients.iter().rev().skip(1) {
        for i in 0..L {
            sums[i] = _mm512_fmadd_ps(sums[i], x[i], _mm512_set1_ps(c));
        }
    }
    sums
}

/// See [`crate::series::GELU`]: `max(x, 0) − |x|·Φ(−|x|)`.
#[inline]
#[target_feature(enable = "avx512f")]
fn gelu_lanes<const L: usize>(x: [__m512; L]) -> [__m512; L] {
    let end = _mm512_set1_ps(GELU_END);
    // Where an operand is NaN, max and min give their second one.
    let a = x.map(|x| _mm512_min_ps(end, _mm512_abs_ps(x)));
    let t = a.map(|a| _mm512_fmadd_ps(a, _mm512_set1_ps(2.0 / GELU_END), _mm512_set1_ps(-1.0)));
    let tail = horner(t, &GELU);
    array::from_fn(|i| {
        let positive = _mm512_max_ps(_mm512_setzero_ps(), x[i]);
        let inside = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a[i], end);
        _mm512_sub_ps(positive, _mm512_maskz_mul_ps(inside, a[i], tail[i]))
    })
}

#[target_feature(enable = "avx512f")]
pub(super) fn gelu(x: &mut [f32]) {
    let (body, tail) = x.as_chunks_mut::<16>();
    let (body, rest) = body.as_chunks_mut::<ABREAST>();
    for lanes in body {
        let values = gelu_lanes::<ABREAST>(array::from_fn(|i| f32x16(&lanes[i])));
        for (lanes, value) in lanes.iter_mut().zip(values) {
            put_f32x16(lanes, value);
        }
    }
    for lanes in rest {
        let [value] = gelu_lanes([f32x16(lanes)]);
        put_f32x16(lanes, value);
    }
    if !tail.is_empty() {
        let [value] = gelu_lanes([f32x16_head(tail)]);
        put_f32x16_head(tail, value);
    }
}

/// See [`crate::series::EXP`].
#[inline]
#[target_feature(enable = "avx512f")]
fn exp<const L: usize>(x: [__m512; L]) -> [__m512; L] {
    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    let log2_e = _mm512_set1_ps(std::f32::consts::LOG2_E);
    let turns = x.map(|x| _mm512_roundscale_ps::<NEAREST>(_mm512_mul_ps(x, log2_e)));
    let rest: [_; L] = array::from_fn(|i| {
        let rest = _mm512_fnmadd_ps(turns[i], _mm512_set1_ps(LN2_HIGH), x[i]);
        _mm512_fnmadd_ps(turns[i], _mm512_set1_ps(LN2_LOW), rest)
    });
    let power = horner(rest, &EXP);
    array::from_fn(|i| {
        let keep = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x[i], _mm512_set1_ps(EXP_MIN));
        _mm512_maskz_scalef_ps(keep, power[i], turns[i])
    })
}

/// `x ← exp(scale · (x − max))`; returns the sum.
#[target_feature(enable = "avx512f")]
pub(super) fn exponentials(x: &mut [f32], scale: f32) -> f32 {
    let lowest = _mm512_set1_ps(f32::NEG_INFINITY);
    // NaN is passed over here and comes back through the subtraction.
    let [a, b, c, d] = fold(x, lowest, lowest, |max, x| _mm512_max_ps(x, max));
    let max = _mm512_max_ps(_mm512_max_ps(a, b), _mm512_max_ps(c, d));
    let max = _mm512_set1_ps(_mm512_reduce_max_ps(max));
    let scale = _mm512_set1_ps(scale);
    let shift = |x| _mm512_mul_ps(_mm512_sub_ps(x, max), scale);
    let (body, tail) = x.as_chunks_mut::<16>();
    let (body, rest) = body.as_chunks_mut::<ABREAST>();
    let mut sums = [_mm512_setzero_ps(); ABREAST];
    for lanes in body {
        let values = exp::<ABREAST>(array::from_fn(|i| shift(f32x16(&lanes[i]))));
        for i in 0..ABREAST {
            put_f32x16(&mut lanes[i], values[i]);
            sums[i] = _mm512_add_ps(sums[i], values[i]);
        }
    }
    for (lanes, sum) in rest.iter_mut().zip(&mut sums) {
        let [value] = exp([shift(f32x16(lanes))]);
        put_f32x16(lanes, value);
        *sum = _mm512_add_ps(*sum, value);
    }
    if !tail.is_empty() {
        let [value] = exp([shift(f32x16_head(tail))]);
        put_f32x16_head(tail, value);
        sums[3] = _mm512_add_ps(sums[3], _mm512_maskz_mov_ps(mask16(tail.len()), value));
    }
    add_up(sums)
}

#[target_feature(enable = "avx512f")]
pub(super) fn scale(x: &mut [f32], factor: f32) {
    let factor = _mm512_set1_ps(factor);
    let (body, tail) = x.as_chunks_mut::<16>();
    for lanes in body {
        put_f32x16(lanes, _mm512_mul_ps(f32x16(lanes), factor));
    }
    put_f32x16_head(tail, _mm512_mul_ps(f32x16_head(tail), factor));
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
    let stride = rows.stride();
    for m in 0..x.rows() {
        let row = x.row(m);
        let (scale, inverse) = row_scale(largest(row));
        rows.scales[m] = scale;
        let inverse = _mm512_set1_ps(inverse);
        let zero_code = _mm512_set1_epi32(ZERO_CODE);
        let codes = rows.codes[m * stride..][..stride].chunks_mut(16);
        for (codes, values) in codes.zip(row.chunks(16)) {
            let scaled = _mm512_mul_ps(f32x16_head(values), inverse);
            // NaN becomes i32::MIN, whose low byte is that of zero: the code of zero.
            let code = _mm512_add_epi32(_mm512_cvtps_epi32(scaled), zero_code);
            put_u8x16_head(codes, _mm512_cvtepi32_epi8(code));
        }
    }
}

/// Bits of the largest magnitude, NaN above all.
#[inline]
#[target_feature(enable = "avx512f")]
fn largest(row: &[f32]) -> u32 {
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
