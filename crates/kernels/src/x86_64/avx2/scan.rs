//! Two tables a shuffle, 32 rows of them; sums of 16 bits by bytes of even and of odd rows.

use std::arch::x86_64::{
    __m128i, __m256i, _CMP_LT_OQ, _mm_add_epi16, _mm_storeu_si128, _mm_unpackhi_epi16,
    _mm_unpacklo_epi16, _mm256_add_epi8, _mm256_add_epi16, _mm256_and_si256, _mm256_blendv_epi8,
    _mm256_blendv_ps, _mm256_castps_si256, _mm256_castsi256_si128, _mm256_cmp_ps,
    _mm256_cmpeq_epi16, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_max_epu16,
    _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16,
    _mm256_sub_epi16,
};

use crate::Sum;
use crate::scalar;
use crate::scan::{BLOCK_ROWS, ENTRIES, Estimate, ScanKernels, ScanTables};
use crate::x86_64::load::{f32x8, f32x8_lanes, i32x8_lanes};

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

/// As for 512 bits.
#[derive(Clone, Copy)]
struct Sums {
    all: __m256i,
    odd: __m256i,
}

impl Sums {
    /// Adds 32 bytes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(&mut self, bytes: __m256i) {
        self.all = _mm256_add_epi16(self.all, bytes);
        self.odd = _mm256_add_epi16(self.odd, _mm256_srli_epi16::<8>(bytes));
    }

    /// The 16 sums in the order of rows.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn finish(self, out: &mut [u16]) {
        let even = _mm256_sub_epi16(self.all, _mm256_slli_epi16::<8>(self.odd));
        let (even, odd) = (halves(even), halves(self.odd));
        let (low, high) = (_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd));
        let out: &mut [u16; 16] = &mut out.as_chunks_mut::<16>().0[0];
        // SAFETY: the reference covers the 32 bytes written; storeu has no alignment rule.
        unsafe {
            _mm_storeu_si128(out.as_mut_ptr().cast(), low);
            _mm_storeu_si128(out.as_mut_ptr().add(8).cast(), high);
        }
    }
}

/// The sum of the two halves, word by word.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(sums: __m256i) -> __m128i {
    _mm_add_epi16(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums))
}

/// Rows 0 to 15 and rows 16 to 31 of two tables.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up(codes: &[u8; 32], table: &[u8; 32]) -> [__m256i; 2] {
    // SAFETY: the references cover the 32 bytes read; loadu has no alignment rule.
    let (codes, table) = unsafe {
        (_mm256_loadu_si256(codes.as_ptr().cast()), _mm256_loadu_si256(table.as_ptr().cast()))
    };
    let nibble = _mm256_set1_epi8(15);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble);
    let low = _mm256_and_si256(codes, nibble);
    [_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high)]
}

#[target_feature(enable = "avx2")]
fn sums(blocks: &[u8], tables: &ScanTables, out: &mut [u16]) {
    let zero = Sums { all: _mm256_setzero_si256(), odd: _mm256_setzero_si256() };
    let (codes, _) = blocks.as_chunks::<32>();
    let steps = 2 * tables.fours.len();
    for (at, out) in out.chunks_exact_mut(BLOCK_ROWS).enumerate() {
        let (twos, _) = codes[at * steps..][..steps].as_chunks::<2>();
        let (mut low, mut high) = (zero, zero);
        for (codes, four) in twos.iter().zip(&tables.fours) {
            let (tables, _) = four.as_chunks::<32>();
            let first = look_up(&codes[0], &tables[0]);
            let second = look_up(&codes[1], &tables[1]);
            // Entries are below 128: two of them fit a byte.
            low.add(_mm256_add_epi8(first[0], second[0]));
            high.add(_mm256_add_epi8(first[1], second[1]));
        }
        low.finish(&mut out[..16]);
        high.finish(&mut out[16..]);
    }
}

#[target_feature(enable = "avx2")]
fn closeness(blocks: &[u8], tables: &ScanTables, estimate: &Estimate, out: &mut [f32]) {
    let by = (tables.bytes(), estimate);
    scalar::scan::closeness_by(blocks, by, out, |codes, out| sums(codes, tables, out));
}

/// 16 values at a time, most of which have none.
#[target_feature(enable = "avx2")]
fn below(values: &[u16], most: u16, places: &mut Vec<u32>) {
    let limit = _mm256_set1_epi16(most as i16);
    let (whole, tail) = values.as_chunks::<16>();
    for (at, values) in whole.iter().enumerate() {
        // SAFETY: the reference covers the 32 bytes read; loadu has no alignment rule.
        let values = unsafe { _mm256_loadu_si256(values.as_ptr().cast()) };
        let within = _mm256_cmpeq_epi16(_mm256_max_epu16(values, limit), limit);
        // Two bits for each value.
        let mut lanes = _mm256_movemask_epi8(within) as u32 & 0x5555_5555;
        while lanes != 0 {
            places.push((at * 16) as u32 + lanes.trailing_zeros() / 2);
            lanes &= lanes - 1;
        }
    }
    scalar::scan::below_from((whole.len() * 16) as u32, tail, most, places);
}

/// The least value of every lane and its chunk, then of the lanes.
#[target_feature(enable = "avx2")]
fn least(values: &[f32]) -> Option<(u32, f32)> {
    let (whole, tail) = values.as_chunks::<8>();
    let mut best = _mm256_set1_ps(f32::INFINITY);
    let mut chunk = _mm256_set1_epi32(-1);
    for (at, values) in whole.iter().enumerate() {
        let values = f32x8(values);
        let less = _mm256_cmp_ps::<_CMP_LT_OQ>(values, best);
        best = _mm256_blendv_ps(best, values, less);
        let here = _mm256_set1_epi32(at as i32);
        chunk = _mm256_blendv_epi8(chunk, here, _mm256_castps_si256(less));
    }
    let (lanes, chunks) = (f32x8_lanes(best), i32x8_lanes(chunk));
    scalar::scan::least_of(&lanes, &chunks, (values, whole.len() * 8, tail))
}

#[target_feature(enable = "avx2")]
fn entries(sum: Sum, query: &[f32], books: &[[f32; ENTRIES]], out: &mut [[f32; ENTRIES]]) {
    scalar::scan::entries(sum, query, books, out);
}

#[target_feature(enable = "avx2")]
fn ends(tables: &[[f32; ENTRIES]], out: &mut [[f32; 2]]) {
    scalar::scan::ends(tables, out);
}

#[target_feature(enable = "avx2")]
fn round(tables: &[[f32; ENTRIES]], ends: &[[f32; 2]], per_step: f32, out: &mut [[u8; ENTRIES]]) {
    scalar::scan::round(tables, ends, per_step, out);
}
