//! Picked rows, four at a time, each with two sums of 8 lanes.

use std::arch::x86_64::{
    __m256, __m256i, _CMP_NLT_UQ, _mm_add_epi32, _mm_add_ps, _mm_and_si128, _mm_set1_epi8,
    _mm_shuffle_epi8, _mm_srli_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_andnot_ps,
    _mm256_castps256_ps128, _mm256_castsi128_si256, _mm256_castsi256_si128, _mm256_cmp_ps,
    _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16, _mm256_extractf128_ps, _mm256_extracti128_si256,
    _mm256_fmadd_ps, _mm256_hadd_epi32, _mm256_hadd_ps, _mm256_madd_epi16, _mm256_movemask_ps,
    _mm256_sad_epu8, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sub_ps,
};

use crate::pick::{Half, PackedQuery, Packing, PickKernels, Picked, PlaneQuery, Sum};
use crate::scalar;
use crate::x86_64::load::{
    bf16x8, f16x8_bytes, f32x4_lanes, f32x8, f32x8_head, i8x16, i32x4_lanes, u8x16,
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
    planes: |rows, query, out| unsafe { planes(rows, query, out) },
    // SAFETY: the CPU has the features, see above.
    bits: |rows, query, out| unsafe { bits(rows, query, out) },
    // SAFETY: the CPU has the features, see above.
    reaching: |values, least, places| unsafe { reaching(values, least, places) },
};

/// The sums of the lanes of four registers, in one order whatever the other three hold.
#[inline]
#[target_feature(enable = "avx2")]
fn sums_f32([a, b, c, d]: [__m256; TOGETHER]) -> [f32; TOGETHER] {
    let pairs = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    let high = _mm256_extractf128_ps::<1>(pairs);
    f32x4_lanes(_mm_add_ps(_mm256_castps256_ps128(pairs), high))
}

/// As [`sums_f32`]; in integers the order is no matter.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sums_i32([a, b, c, d]: [__m256i; TOGETHER]) -> [i32; TOGETHER] {
    let pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    let high = _mm256_extracti128_si256::<1>(pairs);
    i32x4_lanes(_mm_add_epi32(_mm256_castsi256_si128(pairs), high))
}

/// The first `R` of four sums.
#[inline]
pub(super) fn first<O: Copy, const R: usize>(sums: [O; TOGETHER]) -> [O; R] {
    std::array::from_fn(|at| sums[at])
}

/// A way in which rows store floats.
trait Source {
    type Item: Copy + Default;
    /// Eight numbers.
    type Chunk;
    fn chunks(row: &[Self::Item]) -> (&[Self::Chunk], &[Self::Item]);
    /// # Safety
    /// The CPU must have AVX2 and F16C.
    unsafe fn load(chunk: &Self::Chunk) -> __m256;
    /// # Safety
    /// The CPU must have AVX2 and F16C.
    unsafe fn head(tail: &[Self::Item]) -> __m256;
}

struct Single;
struct HalfF16;
struct HalfBf16;

impl Source for Single {
    type Item = f32;
    type Chunk = [f32; 8];

    fn chunks(row: &[f32]) -> (&[[f32; 8]], &[f32]) {
        row.as_chunks()
    }

    #[target_feature(enable = "avx2,f16c")]
    unsafe fn load(chunk: &[f32; 8]) -> __m256 {
        f32x8(chunk)
    }

    #[target_feature(enable = "avx2,f16c")]
    unsafe fn head(tail: &[f32]) -> __m256 {
        f32x8_head(tail, 0.0)
    }
}

/// At most 16 bytes and zeros.
fn padded(tail: &[u8]) -> [u8; 16] {
    let mut chunk = [0; 16];
    chunk[..tail.len()].copy_from_slice(tail);
    chunk
}

macro_rules! half_source {
    ($name:ident, $load:ident) => {
        impl Source for $name {
            type Item = u8;
            type Chunk = [u8; 16];

            fn chunks(row: &[u8]) -> (&[[u8; 16]], &[u8]) {
                row.as_chunks()
            }

            #[target_feature(enable = "avx2,f16c")]
            unsafe fn load(chunk: &[u8; 16]) -> __m256 {
                $load(chunk)
            }

            #[target_feature(enable = "avx2,f16c")]
            unsafe fn head(tail: &[u8]) -> __m256 {
                $load(&padded(tail))
            }
        }
    };
}

half_source!(HalfF16, f16x8_bytes);
half_source!(HalfBf16, bf16x8);

/// Two sums of 8 lanes per row, chunks in turn.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fold<S: Source, const R: usize>(
    rows: [&[S::Item]; R],
    query: &[f32],
    step: impl Fn(__m256, __m256, __m256) -> __m256,
) -> [f32; R] {
    let (whole, query_tail) = query.as_chunks::<8>();
    let bodies = rows.map(|row| &S::chunks(row).0[..whole.len()]);
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    let (pairs, odd) = whole.as_chunks::<2>();
    for (at, pair) in pairs.iter().enumerate() {
        for part in 0..2 {
            let query = f32x8(&pair[part]);
            for r in 0..R {
                // SAFETY: this function has the features.
                let row = unsafe { S::load(&bodies[r][2 * at + part]) };
                sums[r][part] = step(sums[r][part], row, query);
            }
        }
    }
    if let [chunk] = odd {
        let query = f32x8(chunk);
        for r in 0..R {
            // SAFETY: this function has the features.
            let row = unsafe { S::load(&bodies[r][whole.len() - 1]) };
            sums[r][0] = step(sums[r][0], row, query);
        }
    }
    if !query_tail.is_empty() {
        let query = f32x8_head(query_tail, 0.0);
        for r in 0..R {
            // SAFETY: this function has the features.
            let row = unsafe { S::head(S::chunks(rows[r]).1) };
            sums[r][1] = step(sums[r][1], row, query);
        }
    }
    let mut four = [_mm256_setzero_ps(); TOGETHER];
    for r in 0..R {
        four[r] = _mm256_add_ps(sums[r][0], sums[r][1]);
    }
    first(sums_f32(four))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
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
        Sum::Product => fold_by!(|sum, x, q| _mm256_fmadd_ps(x, q, sum)),
        Sum::Square => fold_by!(|sum, x, q| {
            let gap = _mm256_sub_ps(x, q);
            _mm256_fmadd_ps(gap, gap, sum)
        }),
        Sum::Magnitude => {
            let sign = _mm256_set1_ps(-0.0);
            fold_by!(|sum, x, q| {
                _mm256_add_ps(sum, _mm256_andnot_ps(sign, _mm256_sub_ps(x, q)))
            });
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn floats(sum: Sum, rows: Picked<'_, f32>, query: &[f32], out: &mut [f32]) {
    sum_rows::<Single>(sum, &rows, (query.len(), query), out);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn halves(half: Half, sum: Sum, rows: Picked<'_, u8>, query: &[f32], out: &mut [f32]) {
    let query = (2 * query.len(), query);
    match half {
        Half::F16 => sum_rows::<HalfF16>(sum, &rows, query, out),
        Half::Bf16 => sum_rows::<HalfBf16>(sum, &rows, query, out),
    }
}

/// One sum of 8 lanes per row over whole chunks of 16 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn fold_bytes<const R: usize>(
    rows: [&[u8]; R],
    len: usize,
    mut step: impl FnMut(usize, [&[u8; 16]; R], &mut [__m256i; R]),
) -> [i32; R] {
    let whole = len / 16;
    let bodies = rows.map(|row| &row.as_chunks::<16>().0[..whole]);
    let mut sums = [_mm256_setzero_si256(); R];
    for at in 0..whole {
        step(at, bodies.map(|body| &body[at]), &mut sums);
    }
    let mut four = [_mm256_setzero_si256(); TOGETHER];
    four[..R].copy_from_slice(&sums);
    first(sums_i32(four))
}

/// Products of 16 bits, added in pairs to 32: nothing saturates.
#[target_feature(enable = "avx2")]
fn bytes(rows: Picked<'_, u8>, query: &[i8], out: &mut [i32]) {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn some<const R: usize>(rows: [&[u8]; R], query: &[i8]) -> [i32; R] {
        let (whole, tail) = query.as_chunks::<16>();
        let mut sums = fold_bytes(rows, query.len(), |at, chunk, sums| {
            let query = _mm256_cvtepi8_epi16(i8x16(&whole[at]));
            for r in 0..R {
                let row = _mm256_cvtepu8_epi16(u8x16(chunk[r]));
                sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(row, query));
            }
        });
        for (sum, row) in sums.iter_mut().zip(rows) {
            let rest = row[whole.len() * 16..].iter().zip(tail);
            *sum += rest.map(|(&x, &q)| i32::from(x) * i32::from(q)).sum::<i32>();
        }
        sums
    }
    by_fours(&rows, query.len(), out, |four| some(four, query), |one| some(one, query));
}

/// Sums of eight differences each; a sum of fewer than 2²⁴ stays in the lower half of its lane.
#[target_feature(enable = "avx2")]
fn gaps(rows: Picked<'_, u8>, query: &[u8], out: &mut [u32]) {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn some<const R: usize>(rows: [&[u8]; R], query: &[u8]) -> [u32; R] {
        let (whole, tail) = query.as_chunks::<16>();
        let sums = fold_bytes(rows, query.len(), |at, chunk, sums| {
            let query = _mm256_castsi128_si256(u8x16(&whole[at]));
            for r in 0..R {
                let gaps = _mm256_sad_epu8(_mm256_castsi128_si256(u8x16(chunk[r])), query);
                let low = _mm256_castsi256_si128(gaps);
                // The upper half of a widened register is not defined.
                let gaps = std::arch::x86_64::_mm256_zextsi128_si256(low);
                sums[r] = _mm256_add_epi32(sums[r], gaps);
            }
        });
        let mut sums = sums.map(|sum| sum as u32);
        for (sum, row) in sums.iter_mut().zip(rows) {
            let rest = row[whole.len() * 16..].iter().zip(tail);
            *sum += rest.map(|(&x, &q)| u32::from(x.abs_diff(q))).sum::<u32>();
        }
        sums
    }
    by_fours(&rows, query.len(), out, |four| some(four, query), |one| some(one, query));
}

#[target_feature(enable = "avx2")]
fn packed(rows: Picked<'_, u8>, query: &PackedQuery, out: &mut [i32]) {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn some<const R: usize, const PLACES: usize>(
        rows: [&[u8]; R],
        query: &PackedQuery,
    ) -> [i32; R] {
        let levels = u8x16(&query.levels);
        let mask = _mm_set1_epi8(((1u32 << (8 / PLACES)) - 1) as i8);
        let whole = query.bytes / 16;
        let mut streams: [&[[i8; 16]]; PLACES] = [&[]; PLACES];
        for (place, stream) in streams.iter_mut().enumerate() {
            *stream = &query.stream(place).as_chunks::<16>().0[..whole];
        }
        let mut sums = fold_bytes(rows, query.bytes, |at, chunk, sums| {
            let mut chunk = chunk.map(|chunk| u8x16(chunk));
            for stream in streams {
                let query = _mm256_cvtepi8_epi16(i8x16(&stream[at]));
                for r in 0..R {
                    let level = _mm_shuffle_epi8(levels, _mm_and_si128(chunk[r], mask));
                    let products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(level), query);
                    sums[r] = _mm256_add_epi32(sums[r], products);
                    chunk[r] = if PLACES == 2 {
                        _mm_srli_epi16::<4>(chunk[r])
                    } else {
                        _mm_srli_epi16::<2>(chunk[r])
                    };
                }
            }
        });
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum += scalar::pick::packed_tail(&row[whole * 16..], query, whole * 16);
        }
        sums
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

#[target_feature(enable = "avx2,popcnt")]
pub(in crate::x86_64) fn planes(rows: Picked<'_, u8>, query: &PlaneQuery, out: &mut [i32]) {
    scalar::pick::planes_by_fours(rows, query, out);
}

#[target_feature(enable = "avx2,popcnt")]
pub(in crate::x86_64) fn bits(rows: Picked<'_, u8>, query: &[u8], out: &mut [[u32; 2]]) {
    scalar::pick::bits_of(rows, query, out);
}

/// 8 values at a time, most of which have none.
#[target_feature(enable = "avx2")]
fn reaching(values: &[f32], least: f32, places: &mut Vec<u32>) {
    let limit = _mm256_set1_ps(least);
    let (whole, tail) = values.as_chunks::<8>();
    for (at, values) in whole.iter().enumerate() {
        let mut lanes =
            _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(f32x8(values), limit)) as u32;
        while lanes != 0 {
            places.push((at * 8) as u32 + lanes.trailing_zeros());
            lanes &= lanes - 1;
        }
    }
    scalar::pick::reaching_from((whole.len() * 8) as u32, tail, least, places);
}
