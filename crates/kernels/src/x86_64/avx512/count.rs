//! Set bits of picked rows, 512 at a time where the CPU counts them in a register (AVX-512
//! VPOPCNTDQ), else word by word.

use std::arch::x86_64::{
    _mm512_add_epi64, _mm512_and_si512, _mm512_mask_add_epi32, _mm512_popcnt_epi64,
    _mm512_slli_epi64, _mm512_sub_epi64,
};

use super::pick::fold_bytes;
use crate::pick::{Picked, PlaneQuery};
use crate::x86_64::avx2;
use crate::x86_64::load::u8x64;
use crate::x86_64::pick::{TOGETHER, by_fours};

/// The lower halves of eight lanes: what is below zero in 64 bits is so in them.
const LOWER: u16 = 0x5555;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,popcnt,avx2")]
pub(super) fn planes(rows: Picked<'_, u8>, query: &PlaneQuery, out: &mut [i32]) {
    if is_x86_feature_detected!("avx512vpopcntdq") {
        // SAFETY: the CPU has the feature, as was just asked.
        unsafe { planes_at_once(rows, query, out) }
    } else {
        avx2::pick::planes(rows, query, out);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vpopcntdq")]
fn planes_at_once(rows: Picked<'_, u8>, query: &PlaneQuery, out: &mut [i32]) {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vpopcntdq")]
    fn some<const R: usize>(rows: [&[u8]; R], query: &PlaneQuery) -> [i32; R] {
        fold_bytes(rows, query.bytes, |at, chunk, sums| {
            let planes = query.chunks[at].each_ref().map(|plane| u8x64(plane));
            for r in 0..R {
                let [one, two, four, eight] =
                    planes.map(|plane| _mm512_popcnt_epi64(_mm512_and_si512(chunk[r], plane)));
                let high = _mm512_sub_epi64(four, _mm512_slli_epi64::<1>(eight));
                let high = _mm512_add_epi64(two, _mm512_slli_epi64::<1>(high));
                let all = _mm512_add_epi64(one, _mm512_slli_epi64::<1>(high));
                sums[r] = _mm512_mask_add_epi32(sums[r], LOWER, sums[r], all);
            }
        })
    }
    let len = query.bytes;
    by_fours(&rows, len, out, |four| some::<TOGETHER>(four, query), |one| some::<1>(one, query));
}
