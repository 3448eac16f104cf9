//! Picked rows, four at a time, each with two sums of 16 lanes.

use std::arch::x86_64::{
    __m128, __m128i, __m512, __m512i, _CMP_NLT_UQ, _mm_add_epi32, _mm_add_ps, _mm256_add_epi32,
    _mm256_add_ps, _mm256_castps256_ps128, _mm256_castsi256_si128, _mm256_extractf128_ps,
    _mm256_extracti128_si256, _mm512_abs_ps, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512,
    _mm512_broadcast_i32x4, _mm512_castps512_ps256, _mm512_castsi512_si256, _mm512_cmp_ps_mask,
    _mm512_dpbusd_epi32, _mm512_extractf32x8_ps, _mm512_extracti32x8_epi32, _mm512_fmadd_ps,
    _mm512_sad_epu8, _mm512_set1_epi8, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_shuffle_epi8, _mm512_srli_epi16, _mm512_sub_ps, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpackhi_ps, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    _mm512_unpacklo_ps,
};

use crate::pick::{Half, PackedQuery, Packing, PickKernels, Picked, Sum};
use crate::scalar;
use crate::x86_64::avx2;
use crate::x86_64::load::{
    bf16x16, f16x16_bytes, f32x4_lanes, f32x16, f32x16_head, i8x64, i8x64_head, i32x4_lanes, u8x16,
    u8x64, u8x64_head,
};
use crate::x86_64::pick::{TOGETHER, by_fours};

/// Every entry calls a function that needs the features of the level, see the table.
pub(super) static TABLE: PickKernels = PickKernels {
    // SAFETY: the CPU has the features, see above.
    floats: |sum, rows, query, out| unsafe { floats(sum, rows, query, out) },
    // SAFETY: the CPU has the features, see above.
    halves: |half, sum, rows, query, out| unsafe { halves(half, sum, rows, query, out) },
    // SAFETY: the CPU has the features, see above.
    bytes: |rows, query, out| unsafe { bytes(rows, query, out) },
    // SAFETY: the CPU has the features, see above.
    gaps: |rows, query, out| unsafe { gaps(rows, query, out) },
    // SAFETY: the CPU has the features, see above.
    packed: |rows, query, out| unsafe { packed(rows, query, out) },
    // SAFETY: the CPU has the features, see above.
    dense: |rows, query, out| unsafe { super::dense::dense(rows, query, out) },
    // SAFETY: the CPU has the features, see above.
    planes: |rows, query, out| unsafe { super::count::planes(rows, query, out) },
    // SAFETY: the CPU has the features, see above.
    bits: |rows, query, out| unsafe { avx2::pick::bits(rows, query, out) },
    // SAFETY: the CPU has the features, see above.
    reaching: |values, least, places| unsafe { reaching(values, least, places) },
};

/// The sums of the lanes of four registers, in one order whatever the other three hold.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn sums_f32([a, b, c, d]: [__m512; TOGETHER]) -> [f32; TOGETHER] {
    let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    let (ab, cd) = (cast_i(ab), cast_i(cd));
    let low = cast_f(_mm512_unpacklo_epi64(ab, cd));
    let all = _mm512_add_ps(low, cast_f(_mm512_unpackhi_epi64(ab, cd)));
    let half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps::<1>(all));
    let lanes: __m128 = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
    f32x4_lanes(lanes)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn cast_i(v: __m512) -> __m512i {
    std::arch::x86_64::_mm512_castps_si512(v)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn cast_f(v: __m512i) -> __m512 {
    std::arch::x86_64::_mm512_castsi512_ps(v)
}

/// As [`sums_f32`]; in integers the order is no matter.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) fn sums_i32([a, b, c, d]: [__m512i; TOGETHER]) -> [i32; TOGETHER] {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let high = _mm512_extracti32x8_epi32::<1>(all);
    let half = _mm256_add_epi32(_mm512_castsi512_si256(all), high);
    let (low, high) = (_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
    let lanes: __m128i = _mm_add_epi32(low, high);
    i32x4_lanes(lanes)
}

/// The first `R` of four sums.
#[inline]
pub(super) fn first<O: Copy, const R: usize>(sums: [O; TOGETHER]) -> [O; R] {
    std::array::from_fn(|at| sums[at])
}

/// A way in which rows store floats.
trait Source {
    type Item;
    /// Sixteen numbers.
    type Chunk;
    fn chunks(row: &[Self::Item]) -> (&[Self::Chunk], &[Self::Item]);
    /// # Safety
    /// The CPU must have AVX-512 F.
    unsafe fn load(chunk: &Self::Chunk) -> __m512;
    /// # Safety
    /// The CPU must have AVX-512 F.
    unsafe fn head(tail: &[Self::Item]) -> __m512;
}

struct Single;
struct HalfF16;
struct HalfBf16;

impl Source for Single {
    type Item = f32;
    type Chunk = [f32; 16];

    fn chunks(row: &[f32]) -> (&[[f32; 16]], &[f32]) {
        row.as_chunks()
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn load(chunk: &[f32; 16]) -> __m512 {
        f32x16(chunk)
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn head(tail: &[f32]) -> __m512 {
        f32x16_head(tail)
    }
}

/// At most 32 bytes and zeros.
fn padded(tail: &[u8]) -> [u8; 32] {
    let mut chunk = [0; 32];
    chunk[..tail.len()].copy_from_slice(tail);
    chunk
}

macro_rules! half_source {
    ($name:ident, $load:ident) => {
        impl Source for $name {
            type Item = u8;
            type Chunk = [u8; 32];

            fn chunks(row: &[u8]) -> (&[[u8; 32]], &[u8]) {
                row.as_chunks()
            }

            #[target_feature(enable = "avx512f")]
            unsafe fn load(chunk: &[u8; 32]) -> __m512 {
                $load(chunk)
            }

            #[target_feature(enable = "avx512f")]
            unsafe fn head(tail: &[u8]) -> __m512 {
                $load(&padded(tail))
            }
        }
    };
}

half_source!(HalfF16, f16x16_bytes);
half_source!(HalfBf16, bf16x16);

/// Two sums of 16 lanes per row, chunks in turn.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn fold<S: Source, const R: usize>(
    rows: [&[S::Item]; R],
    query: &[f32],
    step: impl Fn(__m512, __m512, __m512) -> __m512,
) -> [f32; R] {
    let (whole, query_tail) = query.as_chunks::<16>();
    let bodies = rows.map(|row| &S::chunks(row).0[..whole.len()]);
    let mut sums = [[_mm512_setzero_ps(); 2]; R];
    let (pairs, odd) = whole.as_chunks::<2>();
    for (at, pair) in pairs.iter().enumerate() {
        for part in 0..2 {
            let query = f32x16(&pair[part]);
            for r in 0..R {
                // SAFETY: this function has the features.
                let row = unsafe { S::load(&bodies[r][2 * at + part]) };
                sums[r][part] = step(sums[r][part], row, query);
            }
        }
    }
    if let [chunk] = odd {
        let query = f32x16(chunk);
        for r in 0..R {
            // SAFETY: this function has the features.
            let row = unsafe { S::load(&bodies[r][whole.len() - 1]) };
            sums[r][0] = step(sums[r][0], row, query);
        }
    }
    if !query_tail.is_empty() {
        let query = f32x16_head(query_tail);
        for r in 0..R {
            // SAFETY: this function has the features.
            let row = unsafe { S::head(S::chunks(rows[r]).1) };
            sums[r][1] = step(sums[r][1], row, query);
        }
    }
    let mut four = [_mm512_setzero_ps(); TOGETHER];
    for r in 0..R {
        four[r] = _mm512_add_ps(sums[r][0], sums[r][1]);
    }
    first(sums_f32(four))
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn sum_rows<S: Source>(
    sum: Sum,
    rows: &Picked<'_, S::Item>,
    (len, query): (usize, &[f32]),
    out: &mut [f32],
) {
    macro_rules! fold_by {
        ($step:expr) => {
            by_fours(
                rows,
                len,
                out,
                |four| fold::<S, TOGETHER>(four, query, $step),
                |one| fold::<S, 1>(one, query, $step),
            )
        };
    }
    match sum {
        Sum::Product => fold_by!(|sum, x, q| _mm512_fmadd_ps(x, q, sum)),
        Sum::Square => fold_by!(|sum, x, q| {
            let gap = _mm512_sub_ps(x, q);
            _mm512_fmadd_ps(gap, gap, sum)
        }),
        Sum::Magnitude => {
            fold_by!(|sum, x, q| _mm512_add_ps(sum, _mm512_abs_ps(_mm512_sub_ps(x, q))));
        }
    }
}

#[target_feature(enable = "avx512f,avx512dq")]
fn floats(sum: Sum, rows: Picked<'_, f32>, query: &[f32], out: &mut [f32]) {
    sum_rows::<Single>(sum, &rows, (query.len(), query), out);
}

#[target_feature(enable = "avx512f,avx512dq")]
fn halves(half: Half, sum: Sum, rows: Picked<'_, u8>, query: &[f32], out: &mut [f32]) {
    let query = (2 * query.len(), query);
    match half {
        Half::F16 => sum_rows::<HalfF16>(sum, &rows, query, out),
        Half::Bf16 => sum_rows::<HalfBf16>(sum, &rows, query, out),
    }
}

/// One sum of 16 lanes per row over chunks of 64 bytes; the last may be short.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
pub(super) fn fold_bytes<const R: usize>(
    rows: [&[u8]; R],
    len: usize,
    mut step: impl FnMut(usize, [__m512i; R], &mut [__m512i; R]),
) -> [i32; R] {
    let whole = len / 64;
    let bodies = rows.map(|row| &row.as_chunks::<64>().0[..whole]);
    let mut sums = [_mm512_setzero_si512(); R];
    for at in 0..whole {
        let mut chunk = [_mm512_setzero_si512(); R];
        for r in 0..R {
            chunk[r] = u8x64(&bodies[r][at]);
        }
        step(at, chunk, &mut sums);
    }
    if whole * 64 < len {
        let mut chunk = [_mm512_setzero_si512(); R];
        for r in 0..R {
            chunk[r] = u8x64_head(&rows[r][whole * 64..]);
        }
        step(whole, chunk, &mut sums);
    }
    let mut four = [_mm512_setzero_si512(); TOGETHER];
    four[..R].copy_from_slice(&sums);
    first(sums_i32(four))
}

/// 64 bytes of `from` from chunk `at` on, then zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn chunk_of(from: &[u8], at: usize) -> __m512i {
    let rest = &from[at * 64..];
    rest.first_chunk::<64>().map_or_else(|| u8x64_head(rest), |chunk| u8x64(chunk))
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni")]
fn bytes(rows: Picked<'_, u8>, query: &[i8], out: &mut [i32]) {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni")]
    fn some<const R: usize>(rows: [&[u8]; R], query: &[i8]) -> [i32; R] {
        let (whole, tail) = query.as_chunks::<64>();
        fold_bytes(rows, query.len(), |at, chunk, sums| {
            let query = whole.get(at).map_or_else(|| i8x64_head(tail), |chunk| i8x64(chunk));
            for r in 0..R {
                sums[r] = _mm512_dpbusd_epi32(sums[r], chunk[r], query);
            }
        })
    }
    by_fours(&rows, query.len(), out, |four| some(four, query), |one| some(one, query));
}

/// Sums of eight differences each; a sum of fewer than 2²⁴ stays in the lower half of its lane.
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn gaps(rows: Picked<'_, u8>, query: &[u8], out: &mut [u32]) {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
    fn some<const R: usize>(rows: [&[u8]; R], query: &[u8]) -> [u32; R] {
        let sums = fold_bytes(rows, query.len(), |at, chunk, sums| {
            let query = chunk_of(query, at);
            for r in 0..R {
                sums[r] = _mm512_add_epi32(sums[r], _mm512_sad_epu8(chunk[r], query));
            }
        });
        sums.map(|sum| sum as u32)
    }
    by_fours(&rows, query.len(), out, |four| some(four, query), |one| some(one, query));
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni")]
fn packed(rows: Picked<'_, u8>, query: &PackedQuery, out: &mut [i32]) {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni")]
    fn some<const R: usize, const PLACES: usize>(
        rows: [&[u8]; R],
        query: &PackedQuery,
    ) -> [i32; R] {
        let levels = _mm512_broadcast_i32x4(u8x16(&query.levels));
        let mask = _mm512_set1_epi8(((1u32 << (8 / PLACES)) - 1) as i8);
        let chunks = query.bytes.div_ceil(64);
        let mut streams: [&[[i8; 64]]; PLACES] = [&[]; PLACES];
        for (place, stream) in streams.iter_mut().enumerate() {
            *stream = &query.stream(place).as_chunks::<64>().0[..chunks];
        }
        fold_bytes(rows, query.bytes, |at, mut chunk, sums| {
            for stream in streams {
                let query = i8x64(&stream[at]);
                for r in 0..R {
                    let codes = _mm512_and_si512(chunk[r], mask);
                    let level = _mm512_shuffle_epi8(levels, codes);
                    sums[r] = _mm512_dpbusd_epi32(sums[r], level, query);
                    chunk[r] = if PLACES == 2 {
                        _mm512_srli_epi16::<4>(chunk[r])
                    } else {
                        _mm512_srli_epi16::<2>(chunk[r])
                    };
                }
            }
        })
    }
    let len = query.bytes;
    match query.packing {
        Packing::Two => by_fours(
            &rows,
            len,
            out,
            |four| some::<TOGETHER, 4>(four, query),
            |one| some::<1, 4>(one, query),
        ),
        Packing::Four => by_fours(
            &rows,
            len,
            out,
            |four| some::<TOGETHER, 2>(four, query),
            |one| some::<1, 2>(one, query),
        ),
    }
}

/// 16 values at a time, most of which have none.
#[target_feature(enable = "avx512f")]
fn reaching(values: &[f32], least: f32, places: &mut Vec<u32>) {
    let limit = _mm512_set1_ps(least);
    let (whole, tail) = values.as_chunks::<16>();
    for (at, values) in whole.iter().enumerate() {
        let mut lanes = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(f32x16(values), limit);
        while lanes != 0 {
            places.push((at * 16) as u32 + lanes.trailing_zeros());
            lanes &= lanes - 1;
        }
    }
    scalar::pick::reaching_from((whole.len() * 16) as u32, tail, least, places);
}
