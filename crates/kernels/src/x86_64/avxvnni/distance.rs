//! The product of codes.

use std::arch::x86_64::{
    _mm256_dpbusd_avx_epi32, _mm256_set1_epi8, _mm256_setzero_si256, _mm256_slli_epi32,
    _mm256_sub_epi32, _mm256_xor_si256,
};

use crate::scalar;
use crate::x86_64::load::{i8x32, i32x8_lanes};

/// One factor must be unsigned: `Σ (a + 128)·b − 128·Σ b`, in sums that wrap and nothing that
/// saturates, so −128 is exact.
#[target_feature(enable = "avx2,avxvnni")]
pub(super) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let (a, a_tail) = a.as_chunks::<32>();
    let (b, b_tail) = b.as_chunks::<32>();
    let (flip, one) = (_mm256_set1_epi8(-128), _mm256_set1_epi8(1));
    let (mut products, mut sums) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (_mm256_xor_si256(i8x32(a), flip), i8x32(b));
        products = _mm256_dpbusd_avx_epi32(products, a, b);
        sums = _mm256_dpbusd_avx_epi32(sums, one, b);
    }
    let exact = _mm256_sub_epi32(products, _mm256_slli_epi32::<7>(sums));
    i32x8_lanes(exact).iter().sum::<i32>() + scalar::distance::dot_i8(a_tail, b_tail)
}
