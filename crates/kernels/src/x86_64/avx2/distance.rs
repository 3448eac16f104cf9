//! Distances between two vectors: four sums of 8 lanes, the tail padded with zeros.

use std::arch::x86_64::{
    __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_shuffle_ps, _mm256_add_epi32,
    _mm256_add_ps, _mm256_andnot_ps, _mm256_castps256_ps128, _mm256_cvtepi8_epi16,
    _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_madd_epi16, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm256_sub_ps,
};

use crate::scalar;
use crate::x86_64::load::{f32x8, f32x8_head, i8x16, i32x8_lanes};

const SUMS: usize = 4;

/// The sum of the lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add_lanes(v: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn fold(a: &[f32], b: &[f32], step: impl Fn(__m256, __m256, __m256) -> __m256) -> f32 {
    let (a, a_tail) = a.as_chunks::<8>();
    let (b, b_tail) = b.as_chunks::<8>();
    let (a, a_rest) = a.as_chunks::<SUMS>();
    let (b, b_rest) = b.as_chunks::<SUMS>();
    let mut sums = [_mm256_setzero_ps(); SUMS];
    for (a, b) in a.iter().zip(b) {
        for i in 0..SUMS {
            sums[i] = step(sums[i], f32x8(&a[i]), f32x8(&b[i]));
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *sum = step(*sum, f32x8(a), f32x8(b));
    }
    if !a_tail.is_empty() {
        sums[SUMS - 1] = step(sums[SUMS - 1], f32x8_head(a_tail, 0.0), f32x8_head(b_tail, 0.0));
    }
    let [s, t, u, v] = sums;
    add_lanes(_mm256_add_ps(_mm256_add_ps(s, t), _mm256_add_ps(u, v)))
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |sum, x, y| _mm256_fmadd_ps(x, y, sum))
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn l2_f32(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |sum, x, y| {
        let step = _mm256_sub_ps(x, y);
        _mm256_fmadd_ps(step, step, sum)
    })
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn l1_f32(a: &[f32], b: &[f32]) -> f32 {
    let sign = _mm256_set1_ps(-0.0);
    fold(a, b, |sum, x, y| _mm256_add_ps(sum, _mm256_andnot_ps(sign, _mm256_sub_ps(x, y))))
}

/// `Σ a·b`, `Σ a·a`, `Σ b·b`.
#[target_feature(enable = "avx2,fma")]
pub(super) fn products_f32(a: &[f32], b: &[f32]) -> [f32; 3] {
    [dot_f32(a, b), dot_f32(a, a), dot_f32(b, b)]
}

/// Products of 16 bits, added in pairs to 32: nothing saturates, so −128 is exact.
#[target_feature(enable = "avx2,fma")]
pub(super) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let (a, a_tail) = a.as_chunks::<16>();
    let (b, b_tail) = b.as_chunks::<16>();
    let mut sum = _mm256_setzero_si256();
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (_mm256_cvtepi8_epi16(i8x16(a)), _mm256_cvtepi8_epi16(i8x16(b)));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
    }
    i32x8_lanes(sum).iter().sum::<i32>() + scalar::distance::dot_i8(a_tail, b_tail)
}
