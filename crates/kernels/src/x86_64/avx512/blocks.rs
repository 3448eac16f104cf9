//! Products over weights in blocks: tiles of 6 rows × 2 panels, 12 sums of a block and 12 of all
//! blocks in registers (2 rows × 4 panels and less where rows are few).

use std::arch::x86_64::{
    __m512, __m512i, _MM_HINT_T0, _mm_cvtsi32_si128, _mm_prefetch, _mm512_and_si512,
    _mm512_broadcast_i32x4, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps, _mm512_cvtps_epi32,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_load_si512, _mm512_mask_storeu_ps, _mm512_max_ps,
    _mm512_min_ps, _mm512_mul_ps, _mm512_permutexvar_ps, _mm512_reduce_add_epi32, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_shuffle_epi8, _mm512_srl_epi32, _mm512_srli_epi16, _mm512_sub_ps,
};
use std::array;
use std::ops::Range;

use super::row::largest;
use crate::pack::blocks::LineU8;
use crate::pack::{LANE, LineF32, PANEL};
use crate::scalar::blocks::quantize_groups;
use crate::x86_64::block::{Blocking, ProductBlocks, Tile, each_tile};
use crate::x86_64::load::{f16x16, f32x16, f32x16_head, i8x16, mask16, put_f32x16, put_i8x16};
use crate::{BlocksI8, Matrix, MatrixMut, PackedBlocks, Scaling};

/// 16 panels of 1536 columns are 200–400 kB of L2.
const BLOCKING: Blocking = Blocking {
    rows: 6,
    rows_low: 2,
    panels: 2,
    panels_low: 1,
    panels_block: 16,
    steps_block: usize::MAX,
};

/// Calls `tile::<height, width, bits>` for the size of `$tile`.
macro_rules! by_size {
    ($bits:literal, $product:expr, $tile:expr, $(($height:literal, $width:literal))*) => {
        match ($tile.height, $tile.width) {
            $(($height, $width) => tile::<$height, $width, $bits>($product, $tile),)*
            (height, width) => unreachable!("no tile of {height} rows x {width} panels"),
        }
    };
}

/// All the sizes that [`BLOCKING`] gives.
macro_rules! by_every_size {
    ($bits:literal, $product:expr, $tile:expr) => {
        by_size!(
            $bits,
            $product,
            $tile,
            (1, 1)(2, 1)(3, 1)(3, 2)(4, 1)(4, 2)(5, 1)(5, 2)(6, 1)(6, 2)
        )
    };
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn gemm_blocks(
    x: &BlocksI8,
    w: &PackedBlocks,
    bias: Option<&[f32]>,
    outputs: Range<usize>,
    out: MatrixMut<'_, f32>,
) {
    let mut product = ProductBlocks::new(x, w, bias, outputs, out);
    each_tile(&product.shape(), &BLOCKING, |tile| {
        if product.w.is_four() {
            by_every_size!(4, &mut product, tile);
        } else {
            by_every_size!(8, &mut product, tile);
        }
    });
}

/// `R` rows × `P` panels of codes of `BITS` bits.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn tile<const R: usize, const P: usize, const BITS: usize>(
    product: &mut ProductBlocks<'_>,
    tile: &Tile,
) {
    assert!(tile.height == R && tile.width == P, "tile size");
    assert!(product.w.is_four() == (BITS == 4), "tile bits");
    let (x, w, out) = product.corner(tile);
    let (operand, weight) = (product.x, product.w);
    let (x_stride, blocks) = (operand.stride(), operand.blocks());
    let (lines, panel_lines) = (weight.block_lines(), weight.panel_lines());
    let table = _mm512_broadcast_i32x4(i8x16(&weight.table.map(|byte| byte as i8)));
    let nibble = _mm512_set1_epi8(15);
    let mut totals = [[_mm512_setzero_ps(); P]; R];
    for b in 0..blocks {
        let mut sums = [[_mm512_setzero_si512(); P]; R];
        for i in 0..R {
            // SAFETY: `corner`: `x.sums` holds `blocks` values a row.
            let sum = unsafe { *operand.sums.get_unchecked((tile.row + i) * blocks + b) };
            sums[i] = [_mm512_set1_epi32(-weight.zero * sum); P];
        }
        for j in b * lines..(b + 1) * lines {
            let loaded: [__m512i; P] = array::from_fn(|p| {
                let line = w.wrapping_add(p * panel_lines + j);
                _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(P * panel_lines).cast());
                // SAFETY: `corner`: panel `p < width` has line `j`; a line is aligned to 64.
                unsafe { _mm512_load_si512(line.cast()) }
            });
            if BITS == 8 {
                // SAFETY: `corner`: every row has the four codes of line `j`.
                unsafe { multiply(&mut sums, &loaded, x.add(j * LANE), x_stride) };
            } else {
                let mut bytes = loaded;
                for byte in &mut bytes {
                    *byte = _mm512_shuffle_epi8(table, _mm512_and_si512(*byte, nibble));
                }
                // SAFETY: `corner`: every row has the eight codes of line `j`: the first four.
                unsafe { multiply(&mut sums, &bytes, x.add(2 * j * LANE), x_stride) };
                bytes = loaded;
                for byte in &mut bytes {
                    let high = _mm512_and_si512(_mm512_srli_epi16::<4>(*byte), nibble);
                    *byte = _mm512_shuffle_epi8(table, high);
                }
                // SAFETY: as before, the second four.
                unsafe { multiply(&mut sums, &bytes, x.add((2 * j + 1) * LANE), x_stride) };
            }
        }
        for p in 0..P {
            let at = (tile.panel + p) * blocks + b;
            // SAFETY: `corner`: `w.scales` holds `blocks` entries a panel.
            let scales = f16x16(unsafe { &weight.scales.get_unchecked(at).0 });
            for i in 0..R {
                // SAFETY: `corner`: `x.scales` holds `blocks` values a row.
                let scale = unsafe { *operand.scales.get_unchecked((tile.row + i) * blocks + b) };
                let by = _mm512_mul_ps(scales, _mm512_set1_ps(scale));
                totals[i][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[i][p]), by, totals[i][p]);
            }
            let Some(minima) = weight.minima.get(at) else { continue };
            let minima = f16x16(&minima.0);
            for i in 0..R {
                // SAFETY: `corner`: `x.totals` holds `blocks` values a row.
                let total = unsafe { *operand.totals.get_unchecked((tile.row + i) * blocks + b) };
                totals[i][p] = _mm512_fmadd_ps(minima, _mm512_set1_ps(total), totals[i][p]);
            }
        }
    }
    // SAFETY: `out` is where `corner` says the tile begins.
    unsafe { put(product, tile, out, totals) };
}

/// Adds the products of four columns, of every row and panel.
///
/// # Safety
/// `x` points to the four codes of the first row, those of the others lie `stride` apart.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn multiply<const R: usize, const P: usize>(
    sums: &mut [[__m512i; P]; R],
    lines: &[__m512i; P],
    x: *const i8,
    stride: usize,
) {
    for i in 0..R {
        // SAFETY: the caller's promise.
        let four = unsafe { x.add(i * stride).cast::<i32>().read_unaligned() };
        let four = _mm512_set1_epi32(four);
        for p in 0..P {
            sums[i][p] = _mm512_dpbusd_epi32(sums[i][p], lines[p], four);
        }
    }
}

/// Writes a tile: factors of the outputs, then the bias.
///
/// # Safety
/// `out` is the corner of `tile` in the output of `product`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn put<const R: usize, const P: usize>(
    product: &ProductBlocks<'_>,
    tile: &Tile,
    out: *mut f32,
    totals: [[__m512; P]; R],
) {
    let stride = product.out.stride();
    for p in 0..P {
        let (from, lanes) = ((tile.panel + p) * PANEL, product.lanes(tile.panel + p));
        let factors = f32x16_head(&product.w.factors[from..from + PANEL]);
        let factors = _mm512_mul_ps(factors, _mm512_set1_ps(product.w.unit));
        let bias = product.bias.map_or(_mm512_setzero_ps(), |b| f32x16_head(&b[from..][..lanes]));
        for i in 0..R {
            let value = _mm512_fmadd_ps(totals[i][p], factors, bias);
            // SAFETY: row `i < height` of the output has the lanes of the mask.
            unsafe {
                _mm512_mask_storeu_ps(out.add(i * stride + p * PANEL), mask16(lanes), value);
            }
        }
    }
}

/// See [`crate::Kernels::quantize_blocks`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn quantize_blocks(
    x: Matrix<'_, f32>,
    scaling: Scaling,
    block: usize,
    out: &mut BlocksI8,
) {
    let (top, bottom) = (_mm512_set1_ps(127.0), _mm512_set1_ps(-127.0));
    quantize_groups(
        x,
        (scaling, block),
        out,
        |row| largest(row),
        |values, inverse, codes| {
            let inverse = _mm512_set1_ps(inverse);
            let (first, second) = values.split_at(values.len().min(16));
            let halves = codes.as_chunks_mut::<16>().0;
            let mut sums = [0; 2];
            for (half, values) in [first, second].into_iter().enumerate() {
                let scaled = _mm512_mul_ps(f32x16_head(values), inverse);
                let code = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(scaled, bottom), top));
                put_i8x16(&mut halves[half], _mm512_cvtepi32_epi8(code));
                sums[half] = _mm512_reduce_add_epi32(code);
            }
            sums
        },
    );
}

/// See [`crate::scalar::blocks::expand`].
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn expand(w: &PackedBlocks, panel: usize, lines: &mut [LineF32]) {
    let shape = w.shape();
    let packed = &w.codes[panel * w.panel_lines()..][..w.panel_lines()];
    let factors = f32x16_head(&w.factors[panel * PANEL..][..PANEL]);
    let levels = f32x16(&w.levels_f32());
    let (zero, byte) = (_mm512_set1_ps(w.zero as f32), _mm512_set1_epi32(0xFF));
    for (b, lines) in lines.chunks_mut(shape.block).enumerate() {
        let at = panel * shape.blocks() + b;
        let scales = f16x16(&w.scales[at].0);
        let minima = w.minima.get(at).map_or(_mm512_setzero_ps(), |m| f16x16(&m.0));
        let put = |line: &mut LineF32, level| {
            let value = _mm512_fmadd_ps(level, scales, minima);
            put_f32x16(&mut line.0, _mm512_mul_ps(value, factors));
        };
        let packed = &packed[b * w.block_lines()..][..w.block_lines()];
        if w.is_four() {
            for (codes, lines) in packed.iter().zip(lines.chunks_mut(2 * LANE)) {
                let codes = bytes(codes);
                for (c, line) in lines.iter_mut().enumerate() {
                    let shift = (c % LANE * 8 + c / LANE * 4) as u32;
                    let shifted = _mm512_srl_epi32(codes, _mm_cvtsi32_si128(shift as i32));
                    put(line, _mm512_permutexvar_ps(shifted, levels));
                }
            }
        } else {
            for (codes, lines) in packed.iter().zip(lines.chunks_mut(LANE)) {
                let codes = bytes(codes);
                for (c, line) in lines.iter_mut().enumerate() {
                    let shifted = _mm512_srl_epi32(codes, _mm_cvtsi32_si128(c as i32 * 8));
                    let level = _mm512_cvtepi32_ps(_mm512_and_si512(shifted, byte));
                    put(line, _mm512_sub_ps(level, zero));
                }
            }
        }
    }
}

/// The bytes of a line.
#[inline]
#[target_feature(enable = "avx512f")]
fn bytes(line: &LineU8) -> __m512i {
    // SAFETY: the reference covers the 64 bytes read, and a line is aligned to 64.
    unsafe { _mm512_load_si512(std::ptr::from_ref(line).cast()) }
}
