//! Loads and stores of vectors: the pointers behind them are formed here from checked references.

use std::arch::x86_64::{
    __m128, __m128i, __m256, __m256i, __m512, __m512i, __mmask16, __mmask64, _MM_HINT_T0,
    _mm_loadu_si128, _mm_mask_storeu_epi8, _mm_prefetch, _mm_storel_epi64, _mm_storeu_ps,
    _mm_storeu_si128, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_slli_epi32, _mm256_storeu_ps, _mm256_storeu_si256,
    _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_loadu_epi8,
    _mm512_loadu_ps, _mm512_mask_storeu_epi32, _mm512_mask_storeu_ps, _mm512_maskz_loadu_epi8,
    _mm512_maskz_loadu_ps, _mm512_slli_epi32, _mm512_storeu_epi8, _mm512_storeu_epi32,
    _mm512_storeu_ps,
};

/// 16 floats.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn f32x16(from: &[f32; 16]) -> __m512 {
    // SAFETY: the reference covers the 64 bytes read; loadu has no alignment rule.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

/// The at most 16 floats of `from`, then zeros.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn f32x16_head(from: &[f32]) -> __m512 {
    // SAFETY: only the lanes in the mask are read, and the mask has at most `from.len()` of them.
    unsafe { _mm512_maskz_loadu_ps(mask16(from.len()), from.as_ptr()) }
}

/// Writes 16 floats.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn put_f32x16(to: &mut [f32; 16], value: __m512) {
    // SAFETY: the reference covers the 64 bytes written; storeu has no alignment rule.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), value) }
}

/// Writes the first `to.len()` lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn put_f32x16_head(to: &mut [f32], value: __m512) {
    // SAFETY: only the lanes in the mask are written, and it has at most `to.len()` of them.
    unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), mask16(to.len()), value) }
}

/// 64 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn i8x64(from: &[i8; 64]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes read; loadu has no alignment rule.
    unsafe { _mm512_loadu_epi8(from.as_ptr()) }
}

/// The at most 64 bytes of `from`, then zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn i8x64_head(from: &[i8]) -> __m512i {
    let lanes: __mmask64 = if from.len() < 64 { (1 << from.len()) - 1 } else { u64::MAX };
    // SAFETY: only the lanes in the mask are read, and the mask has at most `from.len()` of them.
    unsafe { _mm512_maskz_loadu_epi8(lanes, from.as_ptr()) }
}

/// Writes the first `to.len()` bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn put_u8x16_head(to: &mut [u8], value: __m128i) {
    // SAFETY: only the lanes in the mask are written, and it has at most `to.len()` of them.
    unsafe { _mm_mask_storeu_epi8(to.as_mut_ptr().cast(), mask16(to.len()), value) }
}

/// Writes 16 bytes.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn put_i8x16(to: &mut [i8; 16], value: __m128i) {
    // SAFETY: the reference covers the 16 bytes written; storeu has no alignment rule.
    unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), value) }
}

/// Writes 64 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn put_u8x64(to: &mut [u8; 64], value: __m512i) {
    // SAFETY: the reference covers the 64 bytes written; storeu has no alignment rule.
    unsafe { _mm512_storeu_epi8(to.as_mut_ptr().cast(), value) }
}

/// Writes 16 numbers of 32 bits.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn put_u32x16(to: &mut [u32; 16], value: __m512i) {
    // SAFETY: the reference covers the 64 bytes written; storeu has no alignment rule.
    unsafe { _mm512_storeu_epi32(to.as_mut_ptr().cast(), value) }
}

/// Writes the first `to.len()` numbers of 32 bits.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn put_u32x16_head(to: &mut [u32], value: __m512i) {
    // SAFETY: only the lanes in the mask are written, and it has at most `to.len()` of them.
    unsafe { _mm512_mask_storeu_epi32(to.as_mut_ptr().cast(), mask16(to.len()), value) }
}

/// The lowest `lanes` of 16 lanes; all of them from 16 on.
#[inline]
pub(super) fn mask16(lanes: usize) -> __mmask16 {
    if lanes < 16 { (1 << lanes) - 1 } else { u16::MAX }
}

/// 8 floats.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn f32x8(from: &[f32; 8]) -> __m256 {
    // SAFETY: the reference covers the 32 bytes read; loadu has no alignment rule.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}

/// The at most 8 floats of `from`, then `fill`.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn f32x8_head(from: &[f32], fill: f32) -> __m256 {
    let mut lanes = [fill; 8];
    lanes[..from.len()].copy_from_slice(from);
    f32x8(&lanes)
}

/// Writes 8 floats.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn put_f32x8(to: &mut [f32; 8], value: __m256) {
    // SAFETY: the reference covers the 32 bytes written; storeu has no alignment rule.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), value) }
}

/// Writes the first `to.len()` lanes.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn put_f32x8_head(to: &mut [f32], value: __m256) {
    let mut lanes = [0.0; 8];
    put_f32x8(&mut lanes, value);
    to.copy_from_slice(&lanes[..to.len()]);
}

/// 16 bytes.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn i8x16(from: &[i8; 16]) -> __m128i {
    // SAFETY: the reference covers the 16 bytes read; loadu has no alignment rule.
    unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
}

/// 32 bytes.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn i8x32(from: &[i8; 32]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes read; loadu has no alignment rule.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

/// The 8 lanes in memory.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn f32x8_lanes(value: __m256) -> [f32; 8] {
    let mut lanes = [0.0; 8];
    put_f32x8(&mut lanes, value);
    lanes
}

/// The 8 lanes in memory.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn i32x8_lanes(value: __m256i) -> [i32; 8] {
    let mut lanes = [0; 8];
    // SAFETY: the array covers the 32 bytes written; storeu has no alignment rule.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), value) }
    lanes
}

/// Writes the first `to.len()` of the 8 low bytes.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn put_u8x8_head(to: &mut [u8], value: __m128i) {
    let mut lanes = [0; 8];
    // SAFETY: the array covers the 8 bytes written; storel has no alignment rule.
    unsafe { _mm_storel_epi64(lanes.as_mut_ptr().cast(), value) }
    to.copy_from_slice(&lanes[..to.len()]);
}

/// 16 numbers of f16, in f32.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn f16x16(from: &[u16; 16]) -> __m512 {
    // SAFETY: the reference covers the 32 bytes read; loadu has no alignment rule.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) })
}

/// 8 numbers of f16, in f32.
#[inline]
#[target_feature(enable = "f16c")]
pub(super) fn f16x8(from: &[u16; 8]) -> __m256 {
    // SAFETY: the reference covers the 16 bytes read; loadu has no alignment rule.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(from.as_ptr().cast()) })
}

/// 64 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn u8x64(from: &[u8; 64]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes read; loadu has no alignment rule.
    unsafe { _mm512_loadu_epi8(from.as_ptr().cast()) }
}

/// The at most 64 first bytes of `from`, then zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn u8x64_head(from: &[u8]) -> __m512i {
    let lanes: __mmask64 = if from.len() < 64 { (1 << from.len()) - 1 } else { u64::MAX };
    // SAFETY: only the lanes in the mask are read, and the mask has at most `from.len()` of them.
    unsafe { _mm512_maskz_loadu_epi8(lanes, from.as_ptr().cast()) }
}

/// 16 bytes.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn u8x16(from: &[u8; 16]) -> __m128i {
    // SAFETY: the reference covers the 16 bytes read; loadu has no alignment rule.
    unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
}

/// 16 numbers of f16, in f32.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn f16x16_bytes(from: &[u8; 32]) -> __m512 {
    // SAFETY: the reference covers the 32 bytes read; loadu has no alignment rule.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) })
}

/// 16 numbers of bf16, in f32.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn bf16x16(from: &[u8; 32]) -> __m512 {
    // SAFETY: the reference covers the 32 bytes read; loadu has no alignment rule.
    let halves = _mm512_cvtepu16_epi32(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) });
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
}

/// 8 numbers of f16, in f32.
#[inline]
#[target_feature(enable = "avx,f16c")]
pub(super) fn f16x8_bytes(from: &[u8; 16]) -> __m256 {
    _mm256_cvtph_ps(u8x16(from))
}

/// 8 numbers of bf16, in f32.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn bf16x8(from: &[u8; 16]) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(u8x16(from))))
}

/// The 4 lanes in memory.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn f32x4_lanes(value: __m128) -> [f32; 4] {
    let mut lanes = [0.0; 4];
    // SAFETY: the array covers the 16 bytes written; storeu has no alignment rule.
    unsafe { _mm_storeu_ps(lanes.as_mut_ptr(), value) }
    lanes
}

/// The 4 lanes in memory.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn i32x4_lanes(value: __m128i) -> [i32; 4] {
    let mut lanes = [0; 4];
    // SAFETY: the array covers the 16 bytes written; storeu has no alignment rule.
    unsafe { _mm_storeu_si128(lanes.as_mut_ptr().cast(), value) }
    lanes
}

/// See [`crate::fetch()`].
#[inline]
pub(crate) fn fetch<T>(slice: &[T]) {
    for at in (0..size_of_val(slice)).step_by(64) {
        // SAFETY: the address is inside the slice, and asking for a line has no other effect.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(slice.as_ptr().cast::<i8>().add(at)) };
    }
}
