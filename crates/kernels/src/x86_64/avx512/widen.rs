//! Stored keys and values to the lines of an f32 operand, or multiplied as they are.

use std::arch::x86_64::{
    _mm512_fmadd_ps, _mm512_mask_storeu_ps, _mm512_set1_ps, _mm512_setzero_ps,
};

use crate::pack::{LineF32, PANEL};
use crate::scalar;
use crate::x86_64::load::{f16x16, mask16, put_f32x16};
use crate::{Matrix, MatrixMut};

/// Rows and panels of a tile: 16 sums.
const ROWS: usize = 4;
const PANELS: usize = 4;

/// See [`crate::Kernels::gemm_f16`]: the sums of [`super::gemm::gemm_f32`] over one block of steps.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn gemm_f16(x: Matrix<'_, f32>, halves: &[u16], mut out: MatrixMut<'_, f32>) {
    let k = x.cols();
    let lines = halves.as_chunks::<PANEL>().0;
    assert_eq!(lines.len(), out.cols().div_ceil(PANEL) * k, "values of a packed weight");
    for row in (0..x.rows()).step_by(ROWS) {
        for panel in (0..out.cols().div_ceil(PANEL)).step_by(PANELS) {
            let at = (row, panel);
            match (x.rows() - row).min(ROWS) {
                1 => tile_f16::<1>(x, lines, &mut out, at),
                2 => tile_f16::<2>(x, lines, &mut out, at),
                3 => tile_f16::<3>(x, lines, &mut out, at),
                _ => tile_f16::<ROWS>(x, lines, &mut out, at),
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn tile_f16<const R: usize>(
    x: Matrix<'_, f32>,
    lines: &[[u16; PANEL]],
    out: &mut MatrixMut<'_, f32>,
    (row, panel): (usize, usize),
) {
    let (k, panels) = (x.cols(), out.cols().div_ceil(PANEL));
    // A panel that is not there repeats the last one, and is not written.
    let weights: [&[[u16; PANEL]]; PANELS] =
        std::array::from_fn(|p| &lines[(panel + p).min(panels - 1) * k..][..k]);
    let inputs: [&[f32]; R] = std::array::from_fn(|i| &x.row(row + i)[..k]);
    let mut sums = [[_mm512_setzero_ps(); PANELS]; R];
    for j in 0..k {
        for p in 0..PANELS {
            let weight = f16x16(&weights[p][j]);
            for i in 0..R {
                sums[i][p] = _mm512_fmadd_ps(_mm512_set1_ps(inputs[i][j]), weight, sums[i][p]);
            }
        }
    }
    for i in 0..R {
        let row = &mut out.row_mut(row + i)[panel * PANEL..];
        for (part, sum) in row.chunks_mut(PANEL).zip(sums[i]) {
            // SAFETY: the mask names no more lanes than the part has floats.
            unsafe { _mm512_mask_storeu_ps(part.as_mut_ptr(), mask16(part.len()), sum) };
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn widen_f16(halves: &[u16], lines: &mut [LineF32]) {
    for (line, halves) in lines.iter_mut().zip(halves.as_chunks().0) {
        put_f32x16(&mut line.0, f16x16(halves));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(super) fn widen_i8_outputs(codes: &[i8], scales: &[f32], k: usize, lines: &mut [LineF32]) {
    scalar::widen::widen_i8_outputs(codes, scales, k, lines);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(super) fn widen_i8_inputs(codes: &[i8], scales: &[f32], lines: &mut [LineF32]) {
    scalar::widen::widen_i8_inputs(codes, scales, lines);
}
