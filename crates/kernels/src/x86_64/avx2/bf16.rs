//! Rounding to bf16 and the product of such operands: tiles of 5 rows × 1 panel, the two halves of
//! pairs multiplied one after the other in f32.

use std::arch::x86_64::{
    __m256, __m256i, _mm256_add_ps, _mm256_and_si256, _mm256_castsi256_ps, _mm256_fmadd_ps,
    _mm256_load_si256, _mm256_set1_epi32, _mm256_setzero_ps, _mm256_slli_epi32,
};
use std::ops::Range;

use super::gemm::{halves, put_lanes};
use crate::pack::PANEL;
use crate::pack::bf16::LineBF16;
use crate::x86_64::block::{Blocking, ProductBF16, Tile, each_tile};
use crate::{Matrix, MatrixMut, PackedBF16, RowsBF16, scalar};

const BLOCKING: Blocking = Blocking {
    rows: 5,
    rows_low: 0,
    panels: 1,
    panels_low: 1,
    panels_block: 48,
    steps_block: usize::MAX,
};

#[target_feature(enable = "avx2,fma")]
pub(super) fn gemm_bf16(
    x: &RowsBF16,
    w: &PackedBF16,
    bias: Option<&[f32]>,
    outputs: Range<usize>,
    out: MatrixMut<'_, f32>,
) {
    let mut product = ProductBF16 { x, w, bias, outputs, out };
    each_tile(&product.shape(), &BLOCKING, |tile| match tile.height {
        1 => tile_bf16::<1>(&mut product, tile),
        2 => tile_bf16::<2>(&mut product, tile),
        3 => tile_bf16::<3>(&mut product, tile),
        4 => tile_bf16::<4>(&mut product, tile),
        _ => tile_bf16::<5>(&mut product, tile),
    });
}

/// `R` rows × 1 panel.
#[target_feature(enable = "avx2,fma")]
fn tile_bf16<const R: usize>(product: &mut ProductBF16<'_>, tile: &Tile) {
    assert!(tile.height == R && tile.width == 1, "tile size");
    let (x, w, out) = product.corner(tile);
    let (steps, out_stride) = (tile.steps.len(), product.out.stride());
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    for j in 0..steps {
        // SAFETY: `corner`: the panel has line `j < steps`; a line is 16 pairs aligned to 64.
        let lines: [__m256i; 2] = unsafe {
            let line = w.add(j).cast::<__m256i>();
            [_mm256_load_si256(line), _mm256_load_si256(line.add(1))]
        };
        let (firsts, seconds) = (lines.map(|l| first(l)), lines.map(|l| second(l)));
        for i in 0..R {
            // SAFETY: `corner`: row `i < height` has the pair `j < steps`.
            let pair = _mm256_set1_epi32(unsafe { *x.add(i * steps + j) }.cast_signed());
            let (low, high) = (first(pair), second(pair));
            for half in 0..2 {
                let sum = _mm256_fmadd_ps(low, firsts[half], sums[i][half]);
                sums[i][half] = _mm256_fmadd_ps(high, seconds[half], sum);
            }
        }
    }
    let lanes = product.lanes(tile.panel);
    let bias = product.bias.map(|bias| halves(&bias[tile.panel * PANEL..][..lanes]));
    let bias = bias.unwrap_or([_mm256_setzero_ps(); 2]);
    for i in 0..R {
        let value = [_mm256_add_ps(sums[i][0], bias[0]), _mm256_add_ps(sums[i][1], bias[1])];
        // SAFETY: `corner`: row `i < height` of the output has `lanes` floats.
        unsafe { put_lanes(out.add(i * out_stride), lanes, value) };
    }
}

/// The first values of pairs.
#[inline]
#[target_feature(enable = "avx2")]
fn first(pairs: __m256i) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs))
}

/// The second values of pairs.
#[inline]
#[target_feature(enable = "avx2")]
fn second(pairs: __m256i) -> __m256 {
    let upper = _mm256_set1_epi32(0xFFFF_0000_u32.cast_signed());
    _mm256_castsi256_ps(_mm256_and_si256(pairs, upper))
}

// Plain loops over integers: compilers make them as wide as the features allow.

#[target_feature(enable = "avx2")]
pub(super) fn round_row(row: &[f32], pairs: &mut [u32]) {
    scalar::bf16::round_row(row, pairs);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn shares(x: &mut [f32], scale: f32, pairs: &mut [u32]) -> f32 {
    let sum = super::row::exponentials(x, scale);
    scalar::bf16::round_row(x, pairs);
    sum
}

#[target_feature(enable = "avx2")]
pub(super) fn pack(w: Matrix<'_, f32>, lines: &mut [LineBF16]) {
    scalar::bf16::pack(w, lines);
}

#[target_feature(enable = "avx2")]
pub(super) fn pack_transposed(w: Matrix<'_, f32>, lines: &mut [LineBF16]) {
    scalar::bf16::pack_transposed(w, lines);
}
