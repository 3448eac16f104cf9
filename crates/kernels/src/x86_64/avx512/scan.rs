//! Four tables a shuffle, 32 rows of them; sums of 16 bits by bytes of even and of odd rows.

use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _CMP_LT_OQ, _mm_add_epi16, _mm_storeu_si128,
    _mm_unpackhi_epi16, _mm_unpacklo_epi16, _mm256_add_epi16, _mm256_castsi256_si128,
    _mm256_extracti128_si256, _mm512_add_epi8, _mm512_add_epi16, _mm512_and_si512,
    _mm512_castsi512_si256, _mm512_cmp_ps_mask, _mm512_cmple_epu16_mask, _mm512_extracti64x4_epi64,
    _mm512_loadu_si512, _mm512_mask_blend_epi32, _mm512_mask_blend_ps, _mm512_set1_epi8,
    _mm512_set1_epi16, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512,
    _mm512_shuffle_epi8, _mm512_slli_epi16, _mm512_srli_epi16, _mm512_storeu_ps,
    _mm512_storeu_si512, _mm512_sub_epi16,
};

use crate::Sum;
use crate::scalar;
use crate::scan::{BLOCK_ROWS, ENTRIES, Estimate, ScanKernels, ScanTables};
use crate::x86_64::load::{f32x16, u8x64};

/// Every entry calls a function that needs the features of the level, see the table.
pub(super) static TABLE: ScanKernels = ScanKernels {
    // SAFETY: the CPU has the features, see above.
    entries: |sum, query, books, out| unsafe { entries(sum, query, books, out) },
    // SAFETY: the CPU has the features, see above.
    ends: |tables, out| unsafe { ends(tables, out) },
    // SAFETY: the CPU has the features, see above.
    round: |tables, ends, per_step, out| unsafe { round(tables, ends, per_step, out) },
    // SAFETY: the CPU has the features, see above.
    sums: |blocks, tables, out| unsafe { sums(blocks, tables, out) },
    // SAFETY: the CPU has the features, see above.
    closeness: |blocks, tables, by, out| unsafe { closeness(blocks, tables, by, out) },
    // SAFETY: the CPU has the features, see above.
    below: |values, most, places| unsafe { below(values, most, places) },
    // SAFETY: the CPU has the features, see above.
    least: |values| unsafe { least(values) },
};

/// Sums of 16 rows: those of all bytes as words (even rows, and odd ones times 256, modulo 2¹⁶),
/// and those of odd rows.
#[derive(Clone, Copy)]
struct Sums {
    all: __m512i,
    odd: __m512i,
}

impl Sums {
    /// Adds 64 bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn add(&mut self, bytes: __m512i) {
        self.all = _mm512_add_epi16(self.all, bytes);
        self.odd = _mm512_add_epi16(self.odd, _mm512_srli_epi16::<8>(bytes));
    }

    /// The 16 sums in the order of rows.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
    fn finish(self, out: &mut [u16]) {
        let even = _mm512_sub_epi16(self.all, _mm512_slli_epi16::<8>(self.odd));
        let (even, odd) = (quarters(even), quarters(self.odd));
        let (low, high) = (_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd));
        let out: &mut [u16; 16] = &mut out.as_chunks_mut::<16>().0[0];
        // SAFETY: the reference covers the 32 bytes written; storeu has no alignment rule.
        unsafe {
            _mm_storeu_si128(out.as_mut_ptr().cast(), low);
            _mm_storeu_si128(out.as_mut_ptr().add(8).cast(), high);
        }
    }
}

/// The sum of the four quarters, word by word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn quarters(sums: __m512i) -> __m128i {
    let half: __m256i =
        _mm256_add_epi16(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums));
    _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}

/// Rows 0 to 15 and rows 16 to 31 of four tables.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn look_up(codes: &[u8; 64], four: &[u8; 64]) -> [__m512i; 2] {
    let (codes, table) = (u8x64(codes), u8x64(four));
    let nibble = _mm512_set1_epi8(15);
    let high = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble);
    let low = _mm512_and_si512(codes, nibble);
    [_mm512_shuffle_epi8(table, low), _mm512_shuffle_epi8(table, high)]
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn sums(blocks: &[u8], tables: &ScanTables, out: &mut [u16]) {
    let zero = Sums { all: _mm512_setzero_si512(), odd: _mm512_setzero_si512() };
    let (codes, _) = blocks.as_chunks::<64>();
    let steps = tables.fours.len();
    let (pairs, single) = tables.fours.as_chunks::<2>();
    for (at, out) in out.chunks_exact_mut(BLOCK_ROWS).enumerate() {
        let block = &codes[at * steps..][..steps];
        let (twos, one) = block.as_chunks::<2>();
        let (mut low, mut high) = (zero, zero);
        for (codes, four) in twos.iter().zip(pairs) {
            let first = look_up(&codes[0], &four[0]);
            let second = look_up(&codes[1], &four[1]);
            // Entries are below 128: two of them fit a byte.
            low.add(_mm512_add_epi8(first[0], second[0]));
            high.add(_mm512_add_epi8(first[1], second[1]));
        }
        if let ([codes], [four]) = (one, single) {
            let last = look_up(codes, four);
            low.add(last[0]);
            high.add(last[1]);
        }
        low.finish(&mut out[..16]);
        high.finish(&mut out[16..]);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn closeness(blocks: &[u8], tables: &ScanTables, estimate: &Estimate, out: &mut [f32]) {
    let by = (tables.bytes(), estimate);
    scalar::scan::closeness_by(blocks, by, out, |codes, out| sums(codes, tables, out));
}

/// 32 values at a time, most of which have none.
#[target_feature(enable = "avx512f,avx512bw")]
fn below(values: &[u16], most: u16, places: &mut Vec<u32>) {
    let limit = _mm512_set1_epi16(most as i16);
    let (whole, tail) = values.as_chunks::<32>();
    for (at, values) in whole.iter().enumerate() {
        // SAFETY: the reference covers the 64 bytes read; loadu has no alignment rule.
        let values = unsafe { _mm512_loadu_si512(values.as_ptr().cast()) };
        let mut lanes = _mm512_cmple_epu16_mask(values, limit);
        while lanes != 0 {
            places.push((at * 32) as u32 + lanes.trailing_zeros());
            lanes &= lanes - 1;
        }
    }
    scalar::scan::below_from((whole.len() * 32) as u32, tail, most, places);
}

/// The least value of every lane and its chunk, then of the lanes.
#[target_feature(enable = "avx512f")]
fn least(values: &[f32]) -> Option<(u32, f32)> {
    let (whole, tail) = values.as_chunks::<16>();
    let mut best: __m512 = _mm512_set1_ps(f32::INFINITY);
    let mut chunk = _mm512_set1_epi32(-1);
    for (at, values) in whole.iter().enumerate() {
        let values = f32x16(values);
        let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(values, best);
        best = _mm512_mask_blend_ps(less, best, values);
        chunk = _mm512_mask_blend_epi32(less, chunk, _mm512_set1_epi32(at as i32));
    }
    let (mut lanes, mut chunks) = ([0.0f32; 16], [0i32; 16]);
    // SAFETY: the arrays cover the 64 bytes written; storeu has no alignment rule.
    unsafe {
        _mm512_storeu_ps(lanes.as_mut_ptr(), best);
        _mm512_storeu_si512(chunks.as_mut_ptr().cast(), chunk);
    }
    scalar::scan::least_of(&lanes, &chunks, (values, whole.len() * 16, tail))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn entries(sum: Sum, query: &[f32], books: &[[f32; ENTRIES]], out: &mut [[f32; ENTRIES]]) {
    scalar::scan::entries(sum, query, books, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn ends(tables: &[[f32; ENTRIES]], out: &mut [[f32; 2]]) {
    scalar::scan::ends(tables, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn round(tables: &[[f32; ENTRIES]], ends: &[[f32; 2]], per_step: f32, out: &mut [[u8; ENTRIES]]) {
    scalar::scan::round(tables, ends, per_step, out);
}
