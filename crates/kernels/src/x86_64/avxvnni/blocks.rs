//! Products over weights in blocks: tiles of 3 rows × 1 panel, whose sums of a block and of all
//! blocks fill the registers.

use std::arch::x86_64::{
    __m256, __m256i, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_dpbusd_avx_epi32,
    _mm256_load_si256, _mm256_set1_epi8, _mm256_set1_epi32, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16,
};
use std::array;
use std::ops::Range;

use crate::pack::LANE;
use crate::x86_64::avx2::blocks::{add_scaled, put_totals};
use crate::x86_64::block::{Blocking, ProductBlocks, Tile, each_tile};
use crate::x86_64::load::i8x16;
use crate::{BlocksI8, MatrixMut, PackedBlocks};

/// As the blocks of AVX-512.
const BLOCKING: Blocking = Blocking {
    rows: 3,
    rows_low: 0,
    panels: 1,
    panels_low: 1,
    panels_block: 16,
    steps_block: usize::MAX,
};

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
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
        (2, true) => self::tile::<2, 4>(&mut product, tile),
        (2, false) => self::tile::<2, 8>(&mut product, tile),
        (_, true) => self::tile::<3, 4>(&mut product, tile),
        (_, false) => self::tile::<3, 8>(&mut product, tile),
    });
}

/// `R` rows × 1 panel of codes of `BITS` bits.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn tile<const R: usize, const BITS: usize>(product: &mut ProductBlocks<'_>, tile: &Tile) {
    assert!(tile.height == R && tile.width == 1, "tile size");
    assert!(product.w.is_four() == (BITS == 4), "tile bits");
    let (x, w, out) = product.corner(tile);
    let (operand, weight) = (product.x, product.w);
    let (x_stride, blocks, lines) = (operand.stride(), operand.blocks(), weight.block_lines());
    let table = _mm256_broadcastsi128_si256(i8x16(&weight.table.map(|byte| byte as i8)));
    let nibble = _mm256_set1_epi8(15);
    let mut totals: [[__m256; 2]; R] = [[_mm256_setzero_ps(); 2]; R];
    for b in 0..blocks {
        // Two halves of 8 outputs.
        let mut sums = [[_mm256_setzero_si256(); 2]; R];
        for j in b * lines..(b + 1) * lines {
            let loaded: [__m256i; 2] = array::from_fn(|half| {
                // SAFETY: `corner`: the panel has line `j`, 64 bytes aligned so.
                unsafe { _mm256_load_si256(w.add(j).cast::<__m256i>().add(half)) }
            });
            if BITS == 8 {
                // SAFETY: `corner`: every row has the four codes of line `j`.
                unsafe { multiply(&mut sums, loaded, x.add(j * LANE), x_stride) };
                continue;
            }
            let mut bytes = loaded;
            for byte in &mut bytes {
                *byte = _mm256_shuffle_epi8(table, _mm256_and_si256(*byte, nibble));
            }
            // SAFETY: `corner`: every row has the eight codes of line `j`: the first four.
            unsafe { multiply(&mut sums, bytes, x.add(2 * j * LANE), x_stride) };
            bytes = loaded;
            for byte in &mut bytes {
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(*byte), nibble);
                *byte = _mm256_shuffle_epi8(table, high);
            }
            // SAFETY: as before, the second four.
            unsafe { multiply(&mut sums, bytes, x.add((2 * j + 1) * LANE), x_stride) };
        }
        let at = tile.panel * blocks + b;
        for i in 0..R {
            add_scaled(product, (tile.row + i) * blocks + b, at, sums[i], &mut totals[i]);
        }
    }
    // SAFETY: `out` is where `corner` says the tile begins.
    unsafe { put_totals(product, tile, out, &totals) };
}

/// Adds the products of 16 outputs × 4 columns for every row.
///
/// # Safety
/// `x` points to the four codes of the first row, those of the others lie `stride` apart.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn multiply<const R: usize>(
    sums: &mut [[__m256i; 2]; R],
    weights: [__m256i; 2],
    x: *const i8,
    stride: usize,
) {
    for i in 0..R {
        // SAFETY: the caller's promise.
        let four = unsafe { x.add(i * stride).cast::<i32>().read_unaligned() };
        let codes = _mm256_set1_epi32(four);
        for half in 0..2 {
            sums[i][half] = _mm256_dpbusd_avx_epi32(sums[i][half], weights[half], codes);
        }
    }
}
