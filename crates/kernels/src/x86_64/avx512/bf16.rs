//! Rounding to bf16 and the product of such operands: two multiply-adds a lane where the CPU has
//! AVX512-BF16, else one after the other in f32.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, __mmask16, _CMP_UNORD_Q, _MM_FROUND_NO_EXC,
    _MM_FROUND_TO_NEAREST_INT, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512,
    _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtne2ps_pbh,
    _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_fmsub_ps, _mm512_load_si512, _mm512_mask_mov_epi32,
    _mm512_mask_storeu_ps, _mm512_maskz_mov_ps, _mm512_max_ps, _mm512_or_si512,
    _mm512_permutex2var_epi32, _mm512_reduce_add_ps, _mm512_roundscale_ps, _mm512_scalef_ps,
    _mm512_set_epi32, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi32,
    _mm512_srli_epi32, _mm512_sub_ps, _mm512_test_epi32_mask,
};
use std::array;
use std::ops::Range;

use super::gemm::{by_every_size, by_size, prefetch_rows, transpose_square};
use super::row::largest_value;
use crate::pack::PANEL;
use crate::pack::bf16::{LineBF16, PAIR};
use crate::series::EXP2;
use crate::x86_64::block::{Blocking, ProductBF16, Tile, each_tile};
use crate::x86_64::load::{f32x16, f32x16_head, mask16, put_u32x16, put_u32x16_head};
use crate::{Matrix, MatrixMut, PackedBF16, RowsBF16};

/// A block of panels is at most 48 × 16 × 768 × 2 = 1.2 MB, half of it for a width of 384.
const BLOCKING: Blocking = Blocking {
    rows: 12,
    rows_low: 3,
    panels: 2,
    panels_low: 4,
    panels_block: 48,
    steps_block: usize::MAX,
};

#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn gemm_bf16(
    x: &RowsBF16,
    w: &PackedBF16,
    bias: Option<&[f32]>,
    outputs: Range<usize>,
    out: MatrixMut<'_, f32>,
) {
    let mut product = ProductBF16 { x, w, bias, outputs, out };
    if is_x86_feature_detected!("avx512bf16") {
        each_tile(&product.shape(), &BLOCKING, |tile| {
            // SAFETY: the CPU was just found to have AVX512-BF16, and has what this function needs.
            unsafe { by_every_size!(tile_pairs, &mut product, tile) }
        });
    } else {
        each_tile(&product.shape(), &BLOCKING, |tile| {
            by_every_size!(tile_singles, &mut product, tile);
        });
    }
}

/// Writes a tile kernel of `R` rows × `P` panels; `$step` adds the products of a pair to a sum.
macro_rules! tile {
    ($name:ident, $features:literal, $step:ident) => {
        #[target_feature(enable = $features)]
        fn $name<const R: usize, const P: usize>(product: &mut ProductBF16<'_>, tile: &Tile) {
            assert!(tile.height == R && tile.width == P, "tile size");
            let (x, w, out) = product.corner(tile);
            let (steps, out_stride) = (tile.steps.len(), product.out.stride());
            prefetch_rows(out, R, out_stride, P);
            let mut sums = [[_mm512_setzero_ps(); P]; R];
            for j in 0..steps {
                let lines: [__m512i; P] = array::from_fn(|p| {
                    // SAFETY: `corner`: panel `p < width` has line `j < steps`, aligned to 64.
                    unsafe { _mm512_load_si512(w.add(p * steps + j).cast()) }
                });
                for i in 0..R {
                    // SAFETY: `corner`: row `i < height` has the pair `j < steps`.
                    let pair = _mm512_set1_epi32(unsafe { *x.add(i * steps + j) }.cast_signed());
                    for p in 0..P {
                        sums[i][p] = $step(sums[i][p], pair, lines[p]);
                    }
                }
            }
            for p in 0..P {
                let lanes = product.lanes(tile.panel + p);
                let mask: __mmask16 = mask16(lanes);
                let bias = product.bias.map_or(_mm512_setzero_ps(), |bias| {
                    f32x16_head(&bias[(tile.panel + p) * PANEL..][..lanes])
                });
                for i in 0..R {
                    let value = _mm512_add_ps(sums[i][p], bias);
                    // SAFETY: `corner`: row `i < height` of the output has the lanes of the mask.
                    unsafe {
                        _mm512_mask_storeu_ps(out.add(i * out_stride + p * PANEL), mask, value);
                    }
                }
            }
        }
    };
}

tile!(tile_pairs, "avx512f,avx512bw,avx512bf16", step_pairs);
tile!(tile_singles, "avx512f,avx512bw", step_singles);

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn step_pairs(sum: __m512, x: __m512i, w: __m512i) -> __m512 {
    // SAFETY: both types are 64 bytes of which every pattern is a value.
    let (x, w) = unsafe {
        (std::mem::transmute::<__m512i, __m512bh>(x), std::mem::transmute::<__m512i, __m512bh>(w))
    };
    _mm512_dpbf16_ps(sum, x, w)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn step_singles(sum: __m512, x: __m512i, w: __m512i) -> __m512 {
    let sum = _mm512_fmadd_ps(first(x), first(w), sum);
    _mm512_fmadd_ps(second(x), second(w), sum)
}

/// The first values of pairs.
#[inline]
#[target_feature(enable = "avx512f")]
fn first(pairs: __m512i) -> __m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs))
}

/// The second values of pairs.
#[inline]
#[target_feature(enable = "avx512f")]
fn second(pairs: __m512i) -> __m512 {
    let upper = _mm512_set1_epi32(0xFFFF_0000_u32.cast_signed());
    _mm512_castsi512_ps(_mm512_and_si512(pairs, upper))
}

/// 16 values as bf16, in the lower halves.
#[inline]
#[target_feature(enable = "avx512f")]
fn round(value: __m512) -> __m512i {
    let bits = _mm512_castps_si512(value);
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value);
    let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x40_0000));
    let rounded = _mm512_mask_mov_epi32(up, nan, quiet);
    let normal = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x7F80_0000));
    let zero = _mm512_and_si512(bits, _mm512_set1_epi32(i32::MIN));
    _mm512_srli_epi32::<16>(_mm512_mask_mov_epi32(zero, normal, rounded))
}

/// `2^x` for `x ≤ 0`, see [`EXP2`]; nothing below 2⁻¹⁵⁰.
#[inline]
#[target_feature(enable = "avx512f")]
fn exp2(x: __m512) -> __m512 {
    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    // Where an operand is NaN, max gives its second one.
    let x = _mm512_max_ps(_mm512_set1_ps(-150.0), x);
    let turns = _mm512_roundscale_ps::<NEAREST>(x);
    let rest = _mm512_sub_ps(x, turns);
    let [one, first, second, third] = EXP2.map(|c| _mm512_set1_ps(c));
    let power = _mm512_fmadd_ps(third, rest, second);
    let power = _mm512_fmadd_ps(power, rest, first);
    _mm512_scalef_ps(_mm512_fmadd_ps(power, rest, one), turns)
}

/// Writes what rounds to bf16: `$pairs` 32 neighbouring values to 16 pairs, and the rows of it.
macro_rules! rounding {
    ($features:literal, $pairs:ident, $row:ident, $shares:ident, $pack:ident) => {
        #[target_feature(enable = $features)]
        fn $shares(x: &[f32], scale: f32, out: &mut [u32]) -> f32 {
            let scale = scale * std::f32::consts::LOG2_E;
            let max = _mm512_set1_ps(largest_value(x) * scale);
            let scale = _mm512_set1_ps(scale);
            let mut sums = [_mm512_setzero_ps(); 2];
            let (values, tail) = x.as_chunks::<{ PANEL * PAIR }>();
            let (out, out_tail) = out.split_at_mut(values.len() * PANEL);
            for (out, values) in out.as_chunks_mut::<PANEL>().0.iter_mut().zip(values) {
                let [low, high] = [0, 1].map(|half| f32x16(&values.as_chunks().0[half]));
                let low = exp2(_mm512_fmsub_ps(low, scale, max));
                let high = exp2(_mm512_fmsub_ps(high, scale, max));
                sums = [_mm512_add_ps(sums[0], low), _mm512_add_ps(sums[1], high)];
                put_u32x16(out, $pairs(low, high));
            }
            if !tail.is_empty() {
                let (low, high) = tail.split_at(tail.len().min(PANEL));
                let [low, high] = [low, high].map(|part| {
                    let power = exp2(_mm512_fmsub_ps(f32x16_head(part), scale, max));
                    _mm512_maskz_mov_ps(mask16(part.len()), power)
                });
                sums = [_mm512_add_ps(sums[0], low), _mm512_add_ps(sums[1], high)];
                put_u32x16_head(out_tail, $pairs(low, high));
            }
            _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]))
        }

        #[target_feature(enable = $features)]
        fn $row(row: &[f32], out: &mut [u32]) {
            let (values, values_tail) = row.as_chunks::<{ PANEL * PAIR }>();
            let (out, out_tail) = out.split_at_mut(values.len() * PANEL);
            for (out, values) in out.as_chunks_mut::<PANEL>().0.iter_mut().zip(values) {
                let [low, high] = [0, 1].map(|half| f32x16(&values.as_chunks().0[half]));
                put_u32x16(out, $pairs(low, high));
            }
            if !values_tail.is_empty() {
                let (low, high) = values_tail.split_at(values_tail.len().min(PANEL));
                put_u32x16_head(out_tail, $pairs(f32x16_head(low), f32x16_head(high)));
            }
        }

        /// Squares of 16 rows × 16 pairs.
        #[target_feature(enable = $features)]
        fn $pack(w: Matrix<'_, f32>, lines: &mut [LineBF16]) {
            for (p, panel) in lines.chunks_exact_mut(w.cols().div_ceil(PAIR).max(1)).enumerate() {
                let height = PANEL.min(w.rows() - p * PANEL);
                for (square, lines) in panel.chunks_mut(PANEL).enumerate() {
                    let from = square * PANEL * PAIR;
                    let columns = from..w.cols().min(from + PANEL * PAIR);
                    let mut rows = [_mm512_setzero_ps(); PANEL];
                    for (i, row) in rows.iter_mut().enumerate().take(height) {
                        let values = &w.row(p * PANEL + i)[columns.clone()];
                        let (low, high) = values.split_at(values.len().min(PANEL));
                        let pairs = $pairs(f32x16_head(low), f32x16_head(high));
                        *row = _mm512_castsi512_ps(pairs);
                    }
                    for (line, column) in lines.iter_mut().zip(transpose_square(&rows)) {
                        put_u32x16(&mut line.0, _mm512_castps_si512(column));
                    }
                }
            }
        }
    };
}

rounding!(
    "avx512f,avx512bw,avx512bf16",
    pairs_at_once,
    round_row_at_once,
    shares_at_once,
    pack_at_once
);
rounding!("avx512f,avx512bw", pairs_by_parts, round_row_by_parts, shares_by_parts, pack_by_parts);

/// 16 pairs of the values of two registers that lie one behind the other.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs_at_once(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both types are 64 bytes of which every pattern is a value.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// As [`pairs_at_once`].
#[inline]
#[target_feature(enable = "avx512f")]
fn pairs_by_parts(low: __m512, high: __m512) -> __m512i {
    let even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    let odd = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    let (low, high) = (round(low), round(high));
    let first = _mm512_permutex2var_epi32(low, even, high);
    let second = _mm512_permutex2var_epi32(low, odd, high);
    _mm512_or_si512(first, _mm512_slli_epi32::<16>(second))
}

#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn round_row(row: &[f32], out: &mut [u32]) {
    if is_x86_feature_detected!("avx512bf16") {
        // SAFETY: the CPU was just found to have AVX512-BF16, and has what this function needs.
        unsafe { round_row_at_once(row, out) }
    } else {
        round_row_by_parts(row, out);
    }
}

/// See [`crate::scalar::bf16::shares`].
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn shares(x: &mut [f32], scale: f32, out: &mut [u32]) -> f32 {
    if is_x86_feature_detected!("avx512bf16") {
        // SAFETY: the CPU was just found to have AVX512-BF16, and has what this function needs.
        unsafe { shares_at_once(x, scale, out) }
    } else {
        shares_by_parts(x, scale, out)
    }
}

/// See [`crate::scalar::bf16::pack`].
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn pack(w: Matrix<'_, f32>, lines: &mut [LineBF16]) {
    if is_x86_feature_detected!("avx512bf16") {
        // SAFETY: the CPU was just found to have AVX512-BF16, and has what this function needs.
        unsafe { pack_at_once(w, lines) }
    } else {
        pack_by_parts(w, lines);
    }
}

/// See [`crate::scalar::bf16::pack_transposed`].
#[target_feature(enable = "avx512f")]
pub(super) fn pack_transposed(w: Matrix<'_, f32>, lines: &mut [LineBF16]) {
    for (p, panel) in lines.chunks_exact_mut(w.rows().div_ceil(PAIR).max(1)).enumerate() {
        let columns = p * PANEL..w.cols().min((p + 1) * PANEL);
        for (j, line) in panel.iter_mut().enumerate() {
            let low = round(f32x16_head(&w.row(PAIR * j)[columns.clone()]));
            let mut pairs = low;
            if PAIR * j + 1 < w.rows() {
                let high = round(f32x16_head(&w.row(PAIR * j + 1)[columns.clone()]));
                pairs = _mm512_or_si512(low, _mm512_slli_epi32::<16>(high));
            }
            put_u32x16(&mut line.0, pairs);
        }
    }
}
