//! Dense codes: 128 of a row a step, planes of bits as masks.

use std::arch::x86_64::{
    __m512i, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_dpbusd_epi32, _mm512_mask_add_epi8,
    _mm512_set1_epi8, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_srli_epi16,
};

use super::pick::{first, sums_i32};
use crate::dense::{DenseQuery, DenseWidth, HALVES, PLANE, plane_bits};
use crate::pick::Picked;
use crate::x86_64::load::{i8x64, u8x16, u8x64, u8x64_head};
use crate::x86_64::pick::{TOGETHER, by_fours};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni")]
pub(super) fn dense(rows: Picked<'_, u8>, query: &DenseQuery, out: &mut [i32]) {
    macro_rules! planes {
        ($halves:literal, $planes:literal) => {
            by_fours(
                &rows,
                query.bytes(),
                out,
                |four| some::<TOGETHER, $halves, $planes>(four, query),
                |one| some::<1, $halves, $planes>(one, query),
            )
        };
    }
    match query.width() {
        DenseWidth::Three => planes!(0, 3),
        DenseWidth::Five => planes!(1, 1),
        DenseWidth::Six => planes!(1, 2),
        DenseWidth::Seven => planes!(1, 3),
    }
}

/// `BEFORE` is 1 where the low 4 bits lie before the planes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni")]
fn some<const R: usize, const BEFORE: usize, const PLANES: usize>(
    rows: [&[u8]; R],
    query: &DenseQuery,
) -> [i32; R] {
    let levels = _mm512_broadcast_i32x4(u8x16(&query.levels));
    let before = query.width().before(query.dim());
    let room = query.dim().div_ceil(8);
    let nibble = _mm512_set1_epi8(15);
    let mut sums = [_mm512_setzero_si512(); TOGETHER];
    for (at, [even, odd]) in query.chunks.iter().enumerate() {
        let (even, odd, shift) = (i8x64(even), i8x64(odd), query.odd_bits(at));
        for r in 0..R {
            let [mut low, mut high] = [_mm512_setzero_si512(); 2];
            if BEFORE > 0 {
                let bytes = halves(&rows[r][..before], at);
                low = _mm512_and_si512(bytes, nibble);
                high = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), nibble);
            }
            for plane in 0..PLANES {
                let bit = _mm512_set1_epi8(1 << (4 * BEFORE + plane));
                let plane = &rows[r][before + plane * room..][..room];
                let [in_even, in_odd] = plane_bits(&plane[at * PLANE..], shift);
                low = _mm512_mask_add_epi8(low, in_even, low, bit);
                high = _mm512_mask_add_epi8(high, in_odd, high, bit);
            }
            if BEFORE == 0 {
                low = _mm512_shuffle_epi8(levels, low);
                high = _mm512_shuffle_epi8(levels, high);
            }
            sums[r] = _mm512_dpbusd_epi32(sums[r], low, even);
            sums[r] = _mm512_dpbusd_epi32(sums[r], high, odd);
        }
    }
    first(sums_i32(sums))
}

/// The bytes of chunk `at`, then zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn halves(bytes: &[u8], at: usize) -> __m512i {
    let rest = &bytes[at * HALVES..];
    rest.first_chunk::<HALVES>().map_or_else(|| u8x64_head(rest), |chunk| u8x64(chunk))
}
