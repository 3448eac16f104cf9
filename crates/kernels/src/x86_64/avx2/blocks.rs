//! Products over weights in blocks: tiles of 2 rows × 1 panel, by products of 16 bits: those of 8
//! bits would saturate.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_and_si128, _mm_load_si128, _mm_set1_epi8, _mm_set1_epi32,
    _mm_shuffle_epi8, _mm_srli_epi16, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps,
    _mm256_cvtepu8_epi16, _mm256_cvtps_epi32, _mm256_fmadd_ps, _mm256_hadd_epi32,
    _mm256_madd_epi16, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_permute4x64_epi64,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
};
use std::array;
use std::ops::Range;

use super::gemm::{halves, put_lanes};
use super::row::largest;
use crate::pack::blocks::Halves;
use crate::pack::{LANE, LineF32, PANEL};
use crate::scalar::blocks::quantize_groups;
use crate::x86_64::block::{Blocking, ProductBlocks, Tile, each_tile};
use crate::x86_64::load::{f16x8, f32x8_head, i8x16, i32x8_lanes};
use crate::{BlocksI8, Matrix, MatrixMut, PackedBlocks, Scaling, scalar};

/// As the blocks of AVX-512.
const BLOCKING: Blocking = Blocking {
    rows: 2,
    rows_low: 0,
    panels: 1,
    panels_low: 1,
    panels_block: 16,
    steps_block: usize::MAX,
};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemm_blocks(
    x: &BlocksI8,
    w: &PackedBlocks,
    bias: Option<&[f32]>,
    outputs: Range<usize>,
    out: MatrixMut<'_, f32>,
) {
    let mut product = ProductBlocks::new(x, w, bias, outputs, out);
    each_tile(&product.shape(), &BLOCKING, |tile| match (tile.height, product.w.is_four()) {
        (1, true) => self::tile::<1, 4>(&mut product, tile),
        (1, false) => self::tile::<1, 8>(&mut product, tile),
        (_, true) => self::tile::<2, 4>(&mut product, tile),
        (_, false) => self::tile::<2, 8>(&mut product, tile),
    });
}

/// `R` rows × 1 panel of codes of `BITS` bits.
#[target_feature(enable = "avx2,fma,f16c")]
fn tile<const R: usize, const BITS: usize>(product: &mut ProductBlocks<'_>, tile: &Tile) {
    assert!(tile.height == R && tile.width == 1, "tile size");
    assert!(product.w.is_four() == (BITS == 4), "tile bits");
    let (x, w, out) = product.corner(tile);
    let (operand, weight) = (product.x, product.w);
    let (x_stride, blocks, lines) = (operand.stride(), operand.blocks(), weight.block_lines());
    let table = i8x16(&weight.table.map(|byte| byte as i8));
    let nibble = _mm_set1_epi8(15);
    let mut totals = [[_mm256_setzero_ps(); 2]; R];
    for b in 0..blocks {
        // Register `q` of a row: outputs 4q..4q + 4, two halves of the four `k` each.
        let mut sums = [[_mm256_setzero_si256(); 4]; R];
        for j in b * lines..(b + 1) * lines {
            for q in 0..4 {
                // SAFETY: `corner`: the panel has line `j`, 4 × 16 bytes aligned to 64.
                let bytes = unsafe { _mm_load_si128(w.add(j).cast::<__m128i>().add(q)) };
                if BITS == 8 {
                    // SAFETY: `corner`: row `i < height` has the four codes of line `j`.
                    let codes = |i: usize| unsafe { four(x.add(i * x_stride + j * LANE)) };
                    multiply(&mut sums, q, bytes, codes);
                    continue;
                }
                // SAFETY: `corner`: row `i < height` has the eight codes of line `j`.
                let codes = |i: usize| unsafe { four(x.add(i * x_stride + 2 * j * LANE)) };
                multiply(
                    &mut sums,
                    q,
                    _mm_shuffle_epi8(table, _mm_and_si128(bytes, nibble)),
                    codes,
                );
                // SAFETY: as before, the second four.
                let codes = |i: usize| unsafe { four(x.add(i * x_stride + (2 * j + 1) * LANE)) };
                let high = _mm_and_si128(_mm_srli_epi16::<4>(bytes), nibble);
                multiply(&mut sums, q, _mm_shuffle_epi8(table, high), codes);
            }
        }
        let at = tile.panel * blocks + b;
        for i in 0..R {
            let whole = array::from_fn(|h| {
                let whole = _mm256_hadd_epi32(sums[i][2 * h], sums[i][2 * h + 1]);
                _mm256_permute4x64_epi64::<0b11_01_10_00>(whole)
            });
            add_scaled(product, (tile.row + i) * blocks + b, at, whole, &mut totals[i]);
        }
    }
    // SAFETY: `out` is where `corner` says the tile begins.
    unsafe { put_totals(product, tile, out, &totals) };
}

/// Writes a tile of one panel: factors of the outputs, then the bias.
///
/// # Safety
/// `out` is the corner of `tile` in the output of `product`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(in crate::x86_64) unsafe fn put_totals<const R: usize>(
    product: &ProductBlocks<'_>,
    tile: &Tile,
    out: *mut f32,
    totals: &[[__m256; 2]; R],
) {
    let (from, lanes, weight) = (tile.panel * PANEL, product.lanes(tile.panel), product.w);
    let unit = _mm256_set1_ps(weight.unit);
    let factors = halves(&weight.factors[from..from + PANEL]).map(|f| _mm256_mul_ps(f, unit));
    let bias = product.bias.map_or([_mm256_setzero_ps(); 2], |b| halves(&b[from..][..lanes]));
    for i in 0..R {
        let value = array::from_fn(|h| _mm256_fmadd_ps(totals[i][h], factors[h], bias[h]));
        // SAFETY: the caller's promise: row `i < height` of the output has `lanes` floats.
        unsafe { put_lanes(out.add(i * product.out.stride()), lanes, value) };
    }
}

/// Four codes as 16 numbers of 16 bits, four times over.
///
/// # Safety
/// Four codes may be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn four(codes: *const i8) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_cvtepi8_epi16(_mm_set1_epi32(unsafe { codes.cast::<i32>().read_unaligned() }))
}

/// Adds the products of 4 outputs × 4 columns for every row.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply<const R: usize>(
    sums: &mut [[__m256i; 4]; R],
    q: usize,
    bytes: __m128i,
    codes: impl Fn(usize) -> __m256i,
) {
    let weights = _mm256_cvtepu8_epi16(bytes);
    for (i, sums) in sums.iter_mut().enumerate() {
        sums[q] = _mm256_add_epi32(sums[q], _mm256_madd_epi16(codes(i), weights));
    }
}

/// Adds the sums of a block, scaled, and its minima to the totals of a row: entry `of_row` of the
/// operand, entry `of_panel` of the weight.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::x86_64) fn add_scaled(
    product: &ProductBlocks<'_>,
    of_row: usize,
    of_panel: usize,
    sums: [__m256i; 2],
    totals: &mut [__m256; 2],
) {
    let (x, w) = (product.x, product.w);
    let start = _mm256_set1_epi32(-w.zero * x.sums[of_row]);
    let (scale, scales) = (_mm256_set1_ps(x.scales[of_row]), floats(&w.scales[of_panel]));
    for h in 0..2 {
        let exact = _mm256_cvtepi32_ps(_mm256_add_epi32(sums[h], start));
        totals[h] = _mm256_fmadd_ps(exact, _mm256_mul_ps(scales[h], scale), totals[h]);
    }
    if let Some(minima) = w.minima.get(of_panel) {
        let (total, minima) = (_mm256_set1_ps(x.totals[of_row]), floats(minima));
        for h in 0..2 {
            totals[h] = _mm256_fmadd_ps(minima[h], total, totals[h]);
        }
    }
}

/// 16 numbers of f16 in f32.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn floats(from: &Halves) -> [__m256; 2] {
    let halves = from.0.as_chunks().0;
    [f16x8(&halves[0]), f16x8(&halves[1])]
}

/// See [`crate::Kernels::quantize_blocks`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn quantize_blocks(
    x: Matrix<'_, f32>,
    scaling: Scaling,
    block: usize,
    out: &mut BlocksI8,
) {
    let (top, bottom) = (_mm256_set1_ps(127.0), _mm256_set1_ps(-127.0));
    quantize_groups(
        x,
        (scaling, block),
        out,
        |row| largest(row),
        |values, inverse, codes| {
            let inverse = _mm256_set1_ps(inverse);
            codes.fill(0);
            let mut sums = [0; 2];
            for (at, (codes, values)) in codes.chunks_mut(8).zip(values.chunks(8)).enumerate() {
                let scaled = _mm256_mul_ps(f32x8_head(values, 0.0), inverse);
                let eight = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(scaled, bottom), top));
                for (code, lane) in codes.iter_mut().zip(i32x8_lanes(eight)) {
                    *code = lane as i8;
                    sums[at / 2] += lane;
                }
            }
            sums
        },
    );
}

/// See [`crate::scalar::blocks::expand`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn expand(w: &PackedBlocks, panel: usize, lines: &mut [LineF32]) {
    scalar::blocks::expand(w, panel, lines);
}
