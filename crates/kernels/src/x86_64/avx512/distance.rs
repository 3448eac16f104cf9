//! Distances between two vectors: four sums of 16 lanes, the tail by a masked load.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_abs_ps, _mm512_add_epi32, _mm512_add_ps, _mm512_dpbusd_epi32,
    _mm512_fmadd_ps, _mm512_reduce_add_epi32, _mm512_reduce_add_ps, _mm512_set1_epi8,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_sub_ps, _mm512_xor_si512,
};

use crate::x86_64::load::{f32x16, f32x16_head, i8x64, i8x64_head};

const SUMS: usize = 4;

#[inline]
#[target_feature(enable = "avx512f")]
fn fold(a: &[f32], b: &[f32], step: impl Fn(__m512, __m512, __m512) -> __m512) -> f32 {
    let (a, a_tail) = a.as_chunks::<16>();
    let (b, b_tail) = b.as_chunks::<16>();
    let (a, a_rest) = a.as_chunks::<SUMS>();
    let (b, b_rest) = b.as_chunks::<SUMS>();
    let mut sums = [_mm512_setzero_ps(); SUMS];
    for (a, b) in a.iter().zip(b) {
        for i in 0..SUMS {
            sums[i] = step(sums[i], f32x16(&a[i]), f32x16(&b[i]));
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *sum = step(*sum, f32x16(a), f32x16(b));
    }
    if !a_tail.is_empty() {
        sums[SUMS - 1] = step(sums[SUMS - 1], f32x16_head(a_tail), f32x16_head(b_tail));
    }
    let [s, t, u, v] = sums;
    _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s, t), _mm512_add_ps(u, v)))
}

#[target_feature(enable = "avx512f")]
pub(super) fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |sum, x, y| _mm512_fmadd_ps(x, y, sum))
}

#[target_feature(enable = "avx512f")]
pub(super) fn l2_f32(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |sum, x, y| {
        let step = _mm512_sub_ps(x, y);
        _mm512_fmadd_ps(step, step, sum)
    })
}

#[target_feature(enable = "avx512f")]
pub(super) fn l1_f32(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |sum, x, y| _mm512_add_ps(sum, _mm512_abs_ps(_mm512_sub_ps(x, y))))
}

/// `Σ a·b`, `Σ a·a`, `Σ b·b` in one pass.
#[target_feature(enable = "avx512f")]
pub(super) fn products_f32(a: &[f32], b: &[f32]) -> [f32; 3] {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn step(sums: &mut [__m512; 3], x: __m512, y: __m512) {
        sums[0] = _mm512_fmadd_ps(x, y, sums[0]);
        sums[1] = _mm512_fmadd_ps(x, x, sums[1]);
        sums[2] = _mm512_fmadd_ps(y, y, sums[2]);
    }
    let (a, a_tail) = a.as_chunks::<16>();
    let (b, b_tail) = b.as_chunks::<16>();
    let (a, a_rest) = a.as_chunks::<2>();
    let (b, b_rest) = b.as_chunks::<2>();
    let mut even = [_mm512_setzero_ps(); 3];
    let mut odd = even;
    for (a, b) in a.iter().zip(b) {
        step(&mut even, f32x16(&a[0]), f32x16(&b[0]));
        step(&mut odd, f32x16(&a[1]), f32x16(&b[1]));
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        step(&mut even, f32x16(a), f32x16(b));
    }
    if !a_tail.is_empty() {
        step(&mut odd, f32x16_head(a_tail), f32x16_head(b_tail));
    }
    [0, 1, 2].map(|i| _mm512_reduce_add_ps(_mm512_add_ps(even[i], odd[i])))
}

/// `vpdpbusd` wants one unsigned side: `Σ (a+128)·b − 128·Σ b`, exact because all is mod 2³².
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn step(sums: &mut [__m512i; 2], x: __m512i, y: __m512i) {
        let shifted = _mm512_xor_si512(x, _mm512_set1_epi8(i8::MIN));
        sums[0] = _mm512_dpbusd_epi32(sums[0], shifted, y);
        sums[1] = _mm512_dpbusd_epi32(sums[1], _mm512_set1_epi8(1), y);
    }
    let (a, a_tail) = a.as_chunks::<64>();
    let (b, b_tail) = b.as_chunks::<64>();
    let (a, a_rest) = a.as_chunks::<2>();
    let (b, b_rest) = b.as_chunks::<2>();
    let mut even = [_mm512_setzero_si512(); 2];
    let mut odd = even;
    for (a, b) in a.iter().zip(b) {
        step(&mut even, i8x64(&a[0]), i8x64(&b[0]));
        step(&mut odd, i8x64(&a[1]), i8x64(&b[1]));
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        step(&mut even, i8x64(a), i8x64(b));
    }
    if !a_tail.is_empty() {
        step(&mut odd, i8x64_head(a_tail), i8x64_head(b_tail));
    }
    let [shifted, sum] = [0, 1].map(|i| _mm512_reduce_add_epi32(_mm512_add_epi32(even[i], odd[i])));
    shifted.wrapping_sub(sum.wrapping_mul(128))
}
