//! Matrix products: tiles of 12 rows × 2 panels, 24 sums in registers (3 rows × 4 panels and less
//! where rows are few).

use std::arch::x86_64::{
    __m512, __m512i, __mmask16, _MM_HINT_ET0, _mm_prefetch, _mm512_add_ps, _mm512_castpd_ps,
    _mm512_castps_pd, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_load_ps,
    _mm512_load_si512, _mm512_loadu_epi32, _mm512_loadu_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_shuffle_f32x4, _mm512_slli_epi32, _mm512_sub_epi32,
    _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};
use std::array;
use std::ops::Range;

use crate::pack::{LANE, LineF32, PANEL};
use crate::x86_64::block::{Blocking, ProductF32, ProductI8, Tile, each_tile};
use crate::x86_64::load::{f32x16_head, mask16, put_f32x16};
use crate::{Matrix, MatrixMut, PackedF32, PackedI8, RowsI8};

/// A block of panels is at most 24 × 16 × 384 × 4 = 590 kB of L2, the rows of a tile 18 kB of L1.
const BLOCKING_F32: Blocking = Blocking {
    rows: 12,
    rows_low: 3,
    panels: 2,
    panels_low: 4,
    panels_block: 24,
    steps_block: 384,
};

/// A whole weight of 1536 × 384 bytes stays in L2.
const BLOCKING_I8: Blocking = Blocking {
    rows: 12,
    rows_low: 3,
    panels: 2,
    panels_low: 4,
    panels_block: 96,
    steps_block: usize::MAX,
};

/// Calls `$kernel::<height, width>` for the size of `$tile`.
macro_rules! by_size {
    ($kernel:ident, $product:expr, $tile:expr, $(($height:literal, $width:literal))*) => {
        match ($tile.height, $tile.width) {
            $(($height, $width) => $kernel::<$height, $width>($product, $tile),)*
            (height, width) => unreachable!("no tile of {height} rows x {width} panels"),
        }
    };
}

/// All the sizes of tiles of at most 12 × 2 or 3 × 4.
macro_rules! by_every_size {
    ($kernel:ident, $product:expr, $tile:expr) => {
        by_size!(
            $kernel,
            $product,
            $tile,
            (1, 1)(1, 2)(1, 3)(1, 4)(2, 1)(2, 2)(2, 3)(2, 4)(3, 1)(3, 2)(3, 3)(3, 4)(4, 1)(4, 2)(
                5, 1
            )(5, 2)(6, 1)(6, 2)(7, 1)(7, 2)(8, 1)(8, 2)(9, 1)(9, 2)(10, 1)(10, 2)(11, 1)(
                11, 2
            )(12, 1)(12, 2)
        )
    };
}

pub(super) use {by_every_size, by_size};

#[target_feature(enable = "avx512f")]
pub(super) fn gemm_f32(
    x: Matrix<'_, f32>,
    w: &PackedF32,
    bias: Option<&[f32]>,
    outputs: Range<usize>,
    out: MatrixMut<'_, f32>,
) {
    let mut product = ProductF32 { x, w, bias, outputs, out };
    each_tile(&product.shape(), &BLOCKING_F32, |tile| {
        by_every_size!(tile_f32, &mut product, tile);
    });
}

/// `R` rows × `P` panels; the sums of earlier blocks of steps wait in the output.
#[target_feature(enable = "avx512f")]
fn tile_f32<const R: usize, const P: usize>(product: &mut ProductF32<'_>, tile: &Tile) {
    assert!(tile.height == R && tile.width == P, "tile size");
    let (x, w, out) = product.corner(tile);
    let (x_stride, out_stride, k) = (product.x.stride(), product.out.stride(), product.w.k());
    let masks: [__mmask16; P] = array::from_fn(|p| mask16(product.lanes(tile.panel + p)));
    let mut sums = [[_mm512_setzero_ps(); P]; R];
    prefetch_rows(out, R, out_stride, P);
    for j in 0..tile.steps.len() {
        // SAFETY: `corner`: panel `p < width` has line `j < steps`; a line is aligned to 64.
        let lines: [__m512; P] =
            array::from_fn(|p| unsafe { _mm512_load_ps(w.add(p * k + j).cast()) });
        for i in 0..R {
            // SAFETY: `corner`: row `i < height` has the float `j < steps`.
            let value = _mm512_set1_ps(unsafe { *x.add(i * x_stride + j) });
            for p in 0..P {
                sums[i][p] = _mm512_fmadd_ps(value, lines[p], sums[i][p]);
            }
        }
    }
    if tile.steps.start > 0 {
        for i in 0..R {
            for p in 0..P {
                // SAFETY: `corner`: row `i < height` of the output has the lanes of the mask.
                let earlier =
                    unsafe { _mm512_maskz_loadu_ps(masks[p], out.add(i * out_stride + p * PANEL)) };
                sums[i][p] = _mm512_add_ps(earlier, sums[i][p]);
            }
        }
    }
    let bias = product.bias.filter(|_| tile.steps.end == k);
    for p in 0..P {
        let from = (tile.panel + p) * PANEL;
        let bias = bias.map(|bias| f32x16_head(&bias[from..bias.len().min(from + PANEL)]));
        for i in 0..R {
            let value = bias.map_or(sums[i][p], |bias| _mm512_add_ps(sums[i][p], bias));
            // SAFETY: `corner`: row `i < height` of the output has the lanes of the mask.
            unsafe {
                _mm512_mask_storeu_ps(out.add(i * out_stride + p * PANEL), masks[p], value);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn gemm_i8(
    x: &RowsI8,
    w: &PackedI8,
    bias: Option<&[f32]>,
    outputs: Range<usize>,
    out: MatrixMut<'_, f32>,
) {
    let mut product = ProductI8 { x, w, bias, outputs, out };
    each_tile(&product.shape(), &BLOCKING_I8, |tile| {
        by_every_size!(tile_i8, &mut product, tile);
    });
}

/// `R` rows × `P` panels; sums are of codes less 128, exactly, and a row's offset adds the rest.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn tile_i8<const R: usize, const P: usize>(product: &mut ProductI8<'_>, tile: &Tile) {
    assert!(tile.height == R && tile.width == P, "tile size");
    let (x, w, out) = product.corner(tile);
    let (x_stride, out_stride) = (product.x.stride(), product.out.stride());
    let steps = tile.steps.len();
    prefetch_rows(out, R, out_stride, P);
    let panels: [_; P] = array::from_fn(|p| panel_scales(product.w, (tile.panel + p) * PANEL));
    let mut sums = [panels.map(|(start, ..)| start); R];
    for j in 0..steps {
        // SAFETY: `corner`: panel `p < width` has line `j < steps`; a line is aligned to 64.
        let lines: [__m512i; P] =
            array::from_fn(|p| unsafe { _mm512_load_si512(w.add(p * steps + j).cast()) });
        for i in 0..R {
            // SAFETY: `corner`: row `i < height` has the four codes of step `j < steps`.
            let codes = unsafe { x.add(i * x_stride + j * LANE).cast::<i32>().read_unaligned() };
            let codes = _mm512_set1_epi32(codes);
            for p in 0..P {
                sums[i][p] = _mm512_dpbusd_epi32(sums[i][p], codes, lines[p]);
            }
        }
    }
    let row_scales = &product.x.scales[tile.row..tile.row + R];
    let row_offsets = &product.x.offsets[tile.row..tile.row + R];
    for p in 0..P {
        let lanes = product.lanes(tile.panel + p);
        let (mask, (_, scales, totals)) = (mask16(lanes), panels[p]);
        let bias = product.bias.map_or(_mm512_setzero_ps(), |bias| {
            f32x16_head(&bias[(tile.panel + p) * PANEL..][..lanes])
        });
        for i in 0..R {
            let scale = _mm512_mul_ps(_mm512_set1_ps(row_scales[i]), scales);
            let offset = _mm512_set1_ps(row_offsets[i]);
            let start = _mm512_fmadd_ps(offset, totals, bias);
            let value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[i][p]), scale, start);
            // SAFETY: `corner`: row `i < height` of the output has the lanes of the mask.
            unsafe {
                _mm512_mask_storeu_ps(out.add(i * out_stride + p * PANEL), mask, value);
            }
        }
    }
}

/// Asks for the output lines of a tile, to be there when its sums are done.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn prefetch_rows(out: *const f32, rows: usize, stride: usize, panels: usize) {
    for i in 0..rows {
        for p in 0..panels {
            _mm_prefetch::<_MM_HINT_ET0>(out.wrapping_add(i * stride + p * PANEL).cast());
        }
    }
}

/// What the sums of the 16 outputs from `from` begin with, `−128 · Σ w`, their scales, and `Σ w` at
/// these scales.
#[inline]
#[target_feature(enable = "avx512f")]
fn panel_scales(w: &PackedI8, from: usize) -> (__m512i, __m512, __m512) {
    let (sums, scales) = (&w.sums[from..from + PANEL], &w.scales[from..from + PANEL]);
    // SAFETY: both slices were just cut to 16 elements.
    let (sums, scales) =
        unsafe { (_mm512_loadu_epi32(sums.as_ptr()), _mm512_loadu_ps(scales.as_ptr())) };
    let offsets = _mm512_slli_epi32::<7>(sums);
    let totals = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scales);
    (_mm512_sub_epi32(_mm512_setzero_si512(), offsets), scales, totals)
}

/// See [`crate::scalar::gemm::transpose`]: squares of 16 × 16.
#[target_feature(enable = "avx512f")]
pub(super) fn transpose(w: Matrix<'_, f32>, lines: &mut [LineF32]) {
    for (p, panel) in lines.chunks_exact_mut(w.cols().max(1)).enumerate() {
        let height = PANEL.min(w.rows() - p * PANEL);
        for (square, lines) in panel.chunks_mut(PANEL).enumerate() {
            let columns = square * PANEL..square * PANEL + lines.len();
            let mut rows = [_mm512_setzero_ps(); PANEL];
            for (i, row) in rows.iter_mut().enumerate().take(height) {
                *row = f32x16_head(&w.row(p * PANEL + i)[columns.clone()]);
            }
            for (line, column) in lines.iter_mut().zip(transpose_square(&rows)) {
                put_f32x16(&mut line.0, column);
            }
        }
    }
}

/// Transposes 16 × 16: within quarters of registers first, then quarters among registers.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose_square(rows: &[__m512; 16]) -> [__m512; 16] {
    let mut quads = *rows;
    for q in 0..4 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| rows[4 * q + i]);
        let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
        let (ab_high, cd_high) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
        let [ab, cd, ab_high, cd_high] = [ab, cd, ab_high, cd_high].map(|v| _mm512_castps_pd(v));
        quads[4 * q] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
        quads[4 * q + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
        quads[4 * q + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_high, cd_high));
        quads[4 * q + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_high, cd_high));
    }
    let mut columns = *rows;
    for c in 0..4 {
        let [a, b, d, e] = [0, 4, 8, 12].map(|i| quads[i + c]);
        let (low, high) = (_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xEE>(a, b));
        let (low_end, high_end) =
            (_mm512_shuffle_f32x4::<0x44>(d, e), _mm512_shuffle_f32x4::<0xEE>(d, e));
        columns[c] = _mm512_shuffle_f32x4::<0x88>(low, low_end);
        columns[4 + c] = _mm512_shuffle_f32x4::<0xDD>(low, low_end);
        columns[8 + c] = _mm512_shuffle_f32x4::<0x88>(high, high_end);
        columns[12 + c] = _mm512_shuffle_f32x4::<0xDD>(high, high_end);
    }
    columns
}
