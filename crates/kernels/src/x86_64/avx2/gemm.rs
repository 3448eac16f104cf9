//! Matrix products: tiles of 6 rows × 1 panel in f32, of 3 rows × 1 panel in int8.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_load_si128, _mm_set1_epi32, _mm256_add_epi32, _mm256_add_ps,
    _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16, _mm256_fmadd_ps,
    _mm256_hadd_epi32, _mm256_load_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_mul_ps, _mm256_permute2f128_ps, _mm256_permute4x64_epi64, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_ps, _mm256_slli_epi32,
    _mm256_storeu_ps, _mm256_sub_epi32, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};
use std::array;
use std::ops::Range;

use crate::pack::{LANE, LineF32, PANEL};
use crate::x86_64::block::{Blocking, ProductF32, ProductI8, Tile, each_tile};
use crate::x86_64::load::{f32x8_head, put_f32x8, put_f32x8_head};
use crate::{Matrix, MatrixMut, PackedF32, PackedI8, RowsI8};

/// As the blocks of AVX-512: panels in L2, rows of a tile in L1.
const BLOCKING_F32: Blocking =
    Blocking { rows: 6, rows_low: 0, panels: 1, panels_low: 1, panels_block: 24, steps_block: 384 };

const BLOCKING_I8: Blocking = Blocking {
    rows: 3,
    rows_low: 0,
    panels: 1,
    panels_low: 1,
    panels_block: 96,
    steps_block: usize::MAX,
};

#[target_feature(enable = "avx2,fma")]
pub(super) fn gemm_f32(
    x: Matrix<'_, f32>,
    w: &PackedF32,
    bias: Option<&[f32]>,
    outputs: Range<usize>,
    out: MatrixMut<'_, f32>,
) {
    let mut product = ProductF32 { x, w, bias, outputs, out };
    each_tile(&product.shape(), &BLOCKING_F32, |tile| match tile.height {
        1 => tile_f32::<1>(&mut product, tile),
        2 => tile_f32::<2>(&mut product, tile),
        3 => tile_f32::<3>(&mut product, tile),
        4 => tile_f32::<4>(&mut product, tile),
        5 => tile_f32::<5>(&mut product, tile),
        _ => tile_f32::<6>(&mut product, tile),
    });
}

/// `R` rows × 1 panel; a sum that began in an earlier block of steps goes on from the output.
#[target_feature(enable = "avx2,fma")]
fn tile_f32<const R: usize>(product: &mut ProductF32<'_>, tile: &Tile) {
    assert!(tile.height == R && tile.width == 1, "tile size");
    let (x, w, out) = product.corner(tile);
    let (x_stride, out_stride) = (product.x.stride(), product.out.stride());
    let lanes = product.lanes(tile.panel);
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    if tile.steps.start > 0 {
        for i in 0..R {
            // SAFETY: `corner`: row `i < height` of the output has `lanes` floats.
            sums[i] = unsafe { get_lanes(out.add(i * out_stride), lanes) };
        }
    }
    for j in 0..tile.steps.len() {
        // SAFETY: `corner`: the panel has line `j < steps`; a line is 16 floats aligned to 64.
        let (low, high) = unsafe {
            let line = w.add(j).cast::<f32>();
            (_mm256_load_ps(line), _mm256_load_ps(line.add(8)))
        };
        for i in 0..R {
            // SAFETY: `corner`: row `i < height` has the float `j < steps`.
            let value = _mm256_set1_ps(unsafe { *x.add(i * x_stride + j) });
            sums[i][0] = _mm256_fmadd_ps(value, low, sums[i][0]);
            sums[i][1] = _mm256_fmadd_ps(value, high, sums[i][1]);
        }
    }
    let bias = product.bias.filter(|_| tile.steps.end == product.w.k());
    let bias = bias.map(|bias| halves(&bias[tile.panel * PANEL..][..lanes]));
    for i in 0..R {
        let value = bias.map_or(sums[i], |bias| {
            [_mm256_add_ps(sums[i][0], bias[0]), _mm256_add_ps(sums[i][1], bias[1])]
        });
        // SAFETY: `corner`: row `i < height` of the output has `lanes` floats.
        unsafe { put_lanes(out.add(i * out_stride), lanes, value) };
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn gemm_i8(
    x: &RowsI8,
    w: &PackedI8,
    bias: Option<&[f32]>,
    outputs: Range<usize>,
    out: MatrixMut<'_, f32>,
) {
    let mut product = ProductI8 { x, w, bias, outputs, out };
    each_tile(&product.shape(), &BLOCKING_I8, |tile| match tile.height {
        1 => tile_i8::<1>(&mut product, tile),
        2 => tile_i8::<2>(&mut product, tile),
        _ => tile_i8::<3>(&mut product, tile),
    });
}

/// `R` rows × 1 panel, by products of 16 bits: those of 8 bits would saturate.
#[target_feature(enable = "avx2,fma")]
fn tile_i8<const R: usize>(product: &mut ProductI8<'_>, tile: &Tile) {
    assert!(tile.height == R && tile.width == 1, "tile size");
    let (x, w, out) = product.corner(tile);
    let (x_stride, out_stride) = (product.x.stride(), product.out.stride());
    // Register `q` of a row: outputs 4q..4q + 4, two halves of the four `k` each.
    let mut sums = [[_mm256_setzero_si256(); 4]; R];
    for j in 0..tile.steps.len() {
        let codes: [__m256i; R] = array::from_fn(|i| {
            // SAFETY: `corner`: row `i < height` has the four codes of step `j < steps`.
            let four = unsafe { x.add(i * x_stride + j * LANE).cast::<i32>().read_unaligned() };
            _mm256_cvtepu8_epi16(_mm_set1_epi32(four))
        });
        for q in 0..4 {
            // SAFETY: `corner`: the panel has line `j < steps`, 4 × 16 bytes aligned to 64.
            let weights = unsafe { _mm_load_si128(w.add(j).cast::<__m128i>().add(q)) };
            let weights = _mm256_cvtepi8_epi16(weights);
            for i in 0..R {
                sums[i][q] = _mm256_add_epi32(sums[i][q], _mm256_madd_epi16(codes[i], weights));
            }
        }
    }
    let lanes = product.lanes(tile.panel);
    let (offsets, scales, totals) = panel_scales(product.w, tile.panel * PANEL);
    let bias = product
        .bias
        .map_or([_mm256_setzero_ps(); 2], |bias| halves(&bias[tile.panel * PANEL..][..lanes]));
    for i in 0..R {
        let row_scale = _mm256_set1_ps(product.x.scales[tile.row + i]);
        let row_offset = _mm256_set1_ps(product.x.offsets[tile.row + i]);
        let value = array::from_fn(|half| {
            let sums = _mm256_hadd_epi32(sums[i][2 * half], sums[i][2 * half + 1]);
            let sums = _mm256_permute4x64_epi64::<0b11_01_10_00>(sums);
            let exact = _mm256_cvtepi32_ps(_mm256_sub_epi32(sums, offsets[half]));
            let start = _mm256_fmadd_ps(row_offset, totals[half], bias[half]);
            _mm256_fmadd_ps(exact, _mm256_mul_ps(row_scale, scales[half]), start)
        });
        // SAFETY: `corner`: row `i < height` of the output has `lanes` floats.
        unsafe { put_lanes(out.add(i * out_stride), lanes, value) };
    }
}

/// `128 · Σ w` of the 16 outputs from `from`, their scales, and `Σ w` at these scales.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::x86_64) fn panel_scales(
    w: &PackedI8,
    from: usize,
) -> ([__m256i; 2], [__m256; 2], [__m256; 2]) {
    let (sums, scales) = (&w.sums[from..from + PANEL], &w.scales[from..from + PANEL]);
    // SAFETY: the slice was just cut to 16 elements.
    let sums = [0, 8].map(|at| unsafe { _mm256_loadu_si256(sums.as_ptr().add(at).cast()) });
    let scales = halves(scales);
    let totals = array::from_fn(|half| _mm256_mul_ps(_mm256_cvtepi32_ps(sums[half]), scales[half]));
    (sums.map(|sums| _mm256_slli_epi32::<7>(sums)), scales, totals)
}

/// The at most 16 floats of `from` in two registers, then zeros.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::x86_64) fn halves(from: &[f32]) -> [__m256; 2] {
    let (low, high) = from.split_at(from.len().min(8));
    [f32x8_head(low, 0.0), f32x8_head(high, 0.0)]
}

/// Reads `lanes` ≤ 16 floats.
///
/// # Safety
/// `from` is valid for reading them.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn get_lanes(from: *const f32, lanes: usize) -> [__m256; 2] {
    if lanes == PANEL {
        // SAFETY: 16 floats may be read.
        return unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] };
    }
    // SAFETY: `lanes` floats may be read.
    halves(unsafe { std::slice::from_raw_parts(from, lanes) })
}

/// Writes the first `lanes` ≤ 16 floats of `value`.
///
/// # Safety
/// `to` is valid for writing them.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::x86_64) unsafe fn put_lanes(to: *mut f32, lanes: usize, value: [__m256; 2]) {
    if lanes == PANEL {
        // SAFETY: 16 floats may be written.
        unsafe {
            _mm256_storeu_ps(to, value[0]);
            _mm256_storeu_ps(to.add(8), value[1]);
        }
        return;
    }
    // SAFETY: `lanes` floats may be written, and the caller holds the output mutably.
    let to = unsafe { std::slice::from_raw_parts_mut(to, lanes) };
    let (low, high) = to.split_at_mut(lanes.min(8));
    put_f32x8_head(low, value[0]);
    put_f32x8_head(high, value[1]);
}

/// See [`crate::scalar::gemm::transpose`]: squares of 8 × 8.
#[target_feature(enable = "avx2")]
pub(super) fn transpose(w: Matrix<'_, f32>, lines: &mut [LineF32]) {
    for (p, panel) in lines.chunks_exact_mut(w.cols().max(1)).enumerate() {
        for half in 0..2 {
            let row = p * PANEL + 8 * half;
            let height = w.rows().saturating_sub(row).min(8);
            for (square, lines) in panel.chunks_mut(8).enumerate() {
                let columns = square * 8..square * 8 + lines.len();
                let mut rows = [_mm256_setzero_ps(); 8];
                for (i, lanes) in rows.iter_mut().enumerate().take(height) {
                    *lanes = f32x8_head(&w.row(row + i)[columns.clone()], 0.0);
                }
                for (line, column) in lines.iter_mut().zip(transpose_square(rows)) {
                    put_f32x8(&mut line.0.as_chunks_mut().0[half], column);
                }
            }
        }
    }
}

/// Transposes 8 × 8: within halves of registers first, then halves among registers.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_square(rows: [__m256; 8]) -> [__m256; 8] {
    let mut quads = rows;
    for q in 0..2 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| rows[4 * q + i]);
        let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
        let (ab_high, cd_high) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
        quads[4 * q] = _mm256_shuffle_ps::<0x44>(ab, cd);
        quads[4 * q + 1] = _mm256_shuffle_ps::<0xEE>(ab, cd);
        quads[4 * q + 2] = _mm256_shuffle_ps::<0x44>(ab_high, cd_high);
        quads[4 * q + 3] = _mm256_shuffle_ps::<0xEE>(ab_high, cd_high);
    }
    let mut columns = rows;
    for c in 0..4 {
        columns[c] = _mm256_permute2f128_ps::<0x20>(quads[c], quads[4 + c]);
        columns[4 + c] = _mm256_permute2f128_ps::<0x31>(quads[c], quads[4 + c]);
    }
    columns
}
