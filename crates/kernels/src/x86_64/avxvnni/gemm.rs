//! The product in int8: tiles of 6 rows × 1 panel, or 2 rows × 2 panels where rows are few.

use std::arch::x86_64::{
    __m256i, _mm256_cvtepi32_ps, _mm256_dpbusd_avx_epi32, _mm256_fmadd_ps, _mm256_load_si256,
    _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_sub_epi32,
};
use std::array;
use std::ops::Range;

use crate::pack::{LANE, PANEL};
use crate::x86_64::avx2::gemm::{halves, panel_scales, put_lanes};
use crate::x86_64::block::{Blocking, ProductI8, Tile, each_tile};
use crate::{MatrixMut, PackedI8, RowsI8};

const BLOCKING: Blocking = Blocking {
    rows: 6,
    rows_low: 2,
    panels: 1,
    panels_low: 2,
    panels_block: 96,
    steps_block: usize::MAX,
};

#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) fn gemm_i8(
    x: &RowsI8,
    w: &PackedI8,
    bias: Option<&[f32]>,
    outputs: Range<usize>,
    out: MatrixMut<'_, f32>,
) {
    let mut product = ProductI8 { x, w, bias, outputs, out };
    each_tile(&product.shape(), &BLOCKING, |tile| match (tile.height, tile.width) {
        (1, 1) => self::tile::<1, 1>(&mut product, tile),
        (1, _) => self::tile::<1, 2>(&mut product, tile),
        (2, 1) => self::tile::<2, 1>(&mut product, tile),
        (2, _) => self::tile::<2, 2>(&mut product, tile),
        (3, _) => self::tile::<3, 1>(&mut product, tile),
        (4, _) => self::tile::<4, 1>(&mut product, tile),
        (5, _) => self::tile::<5, 1>(&mut product, tile),
        _ => self::tile::<6, 1>(&mut product, tile),
    });
}

/// `R` rows × `P` panels; sums are of codes less 128, exactly, and a row's offset adds the rest.
#[target_feature(enable = "avx2,fma,avxvnni")]
fn tile<const R: usize, const P: usize>(product: &mut ProductI8<'_>, tile: &Tile) {
    assert!(tile.height == R && tile.width == P, "tile size");
    let (x, w, out) = product.corner(tile);
    let (x_stride, out_stride) = (product.x.stride(), product.out.stride());
    let steps = tile.steps.len();
    // Two halves of 8 outputs for each panel.
    let mut sums = [[[_mm256_setzero_si256(); 2]; P]; R];
    for j in 0..steps {
        for p in 0..P {
            let lines: [__m256i; 2] = array::from_fn(|half| {
                // SAFETY: `corner`: panel `p < width` has line `j < steps`, 64 bytes aligned so.
                unsafe { _mm256_load_si256(w.add(p * steps + j).cast::<__m256i>().add(half)) }
            });
            for i in 0..R {
                // SAFETY: `corner`: row `i < height` has the four codes of step `j < steps`.
                let four = unsafe { x.add(i * x_stride + j * LANE).cast::<i32>().read_unaligned() };
                let codes = _mm256_set1_epi32(four);
                for half in 0..2 {
                    let sum = &mut sums[i][p][half];
                    *sum = _mm256_dpbusd_avx_epi32(*sum, codes, lines[half]);
                }
            }
        }
    }
    for p in 0..P {
        let (from, lanes) = ((tile.panel + p) * PANEL, product.lanes(tile.panel + p));
        let (offsets, scales, totals) = panel_scales(product.w, from);
        let bias = product.bias.map_or([_mm256_setzero_ps(); 2], |b| halves(&b[from..][..lanes]));
        for i in 0..R {
            let row_scale = _mm256_set1_ps(product.x.scales[tile.row + i]);
            let row_offset = _mm256_set1_ps(product.x.offsets[tile.row + i]);
            let value = array::from_fn(|half| {
                let start = _mm256_fmadd_ps(row_offset, totals[half], bias[half]);
                let exact = _mm256_cvtepi32_ps(_mm256_sub_epi32(sums[i][p][half], offsets[half]));
                _mm256_fmadd_ps(exact, _mm256_mul_ps(row_scale, scales[half]), start)
            });
            // SAFETY: `corner`: row `i < height` of the output has `lanes` floats.
            unsafe { put_lanes(out.add(i * out_stride + p * PANEL), lanes, value) };
        }
    }
}
