//! Dense codes: 128 of a row a step, 64 at a time, planes of bits spread to bytes.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi8, _mm256_add_epi32, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setr_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16,
};

use super::pick::{first, sums_i32};
use crate::dense::{DenseQuery, DenseWidth, HALVES, PLANE, plane_bits};
use crate::pick::Picked;
use crate::x86_64::load::u8x16;
use crate::x86_64::pick::{TOGETHER, by_fours};

/// Bytes of a register.
const WIDE: usize = 32;

#[target_feature(enable = "avx2")]
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

/// 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn load<T>(from: &[T; WIDE]) -> __m256i {
    const { assert!(size_of::<T>() == 1, "numbers of a byte") };
    // SAFETY: the reference covers the 32 bytes read; loadu has no alignment rule.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

/// `weight` in the bytes whose bit is set.
#[inline]
#[target_feature(enable = "avx2")]
fn spread(bits: u32, weight: __m256i) -> __m256i {
    let each = _mm256_setr_epi8(
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3,
        3, 3,
    );
    let one_of_eight = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits as i32), each);
    let set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, one_of_eight), one_of_eight);
    _mm256_and_si256(set, weight)
}

/// `BEFORE` is 1 where the low 4 bits lie before the planes. Levels are below 128, so that pairs of
/// products stay in 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn some<const R: usize, const BEFORE: usize, const PLANES: usize>(
    rows: [&[u8]; R],
    query: &DenseQuery,
) -> [i32; R] {
    let levels = _mm256_broadcastsi128_si256(u8x16(&query.levels));
    let (before, room) = (query.width().before(query.dim()), query.dim().div_ceil(8));
    let (nibble, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let mut sums = [_mm256_setzero_si256(); TOGETHER];
    for (at, chunk) in query.chunks.iter().enumerate() {
        let [even, odd] = chunk.each_ref().map(|values| values.as_chunks::<WIDE>().0);
        let shift = query.odd_bits(at);
        for r in 0..R {
            let bytes = if BEFORE > 0 { halves(&rows[r][..before], at) } else { [0; HALVES] };
            let mut planes = [[0; 2]; PLANES];
            for (plane, bits) in planes.iter_mut().enumerate() {
                let plane = &rows[r][before + plane * room..][..room];
                *bits = plane_bits(&plane[at * PLANE..], shift);
            }
            for part in 0..2 {
                let bytes = load(&bytes.as_chunks::<WIDE>().0[part]);
                let mut low = _mm256_and_si256(bytes, nibble);
                let mut high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble);
                for (plane, [in_even, in_odd]) in planes.iter().enumerate() {
                    let bit = _mm256_set1_epi8(1 << (4 * BEFORE + plane));
                    let word = |bits: u64| (bits >> (part * WIDE)) as u32;
                    low = _mm256_add_epi8(low, spread(word(*in_even), bit));
                    high = _mm256_add_epi8(high, spread(word(*in_odd), bit));
                }
                if BEFORE == 0 {
                    low = _mm256_shuffle_epi8(levels, low);
                    high = _mm256_shuffle_epi8(levels, high);
                }
                for (level, query) in [(low, &even[part]), (high, &odd[part])] {
                    let pairs = _mm256_maddubs_epi16(level, load(query));
                    sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(pairs, ones));
                }
            }
        }
    }
    first(sums_i32(sums))
}

/// The bytes of chunk `at`, then zeros.
#[inline]
fn halves(bytes: &[u8], at: usize) -> [u8; HALVES] {
    let rest = &bytes[at * HALVES..];
    rest.first_chunk::<HALVES>().copied().unwrap_or_else(|| {
        let mut padded = [0; HALVES];
        padded[..rest.len()].copy_from_slice(rest);
        padded
    })
}
