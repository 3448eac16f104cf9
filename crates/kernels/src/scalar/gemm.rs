//! Matrix products `y = x · Wᵀ + bias` over packed weights.

use std::ops::Range;

use crate::pack::{LANE, LineF32, PANEL, ZERO_CODE};
use crate::{Matrix, MatrixMut, PackedF32, PackedI8, RowsI8};

pub(crate) fn gemm_f32(
    x: Matrix<'_, f32>,
    w: &PackedF32,
    bias: Option<&[f32]>,
    outputs: Range<usize>,
    mut out: MatrixMut<'_, f32>,
) {
    let k = w.k();
    for m in 0..x.rows() {
        let row = x.row(m);
        for p in outputs.start / PANEL..outputs.end.div_ceil(PANEL) {
            let panel = &w.data[p * k..][..k];
            let mut sums = [0.0f32; PANEL];
            for (&value, line) in row.iter().zip(panel) {
                for (sum, &weight) in sums.iter_mut().zip(&line.0) {
                    *sum += value * weight;
                }
            }
            let from = p * PANEL;
            let width = PANEL.min(outputs.end - from);
            let target = &mut out.row_mut(m)[from - outputs.start..][..width];
            for (i, value) in target.iter_mut().enumerate() {
                *value = sums[i] + bias.map_or(0.0, |bias| bias[from + i]);
            }
        }
    }
}

pub(crate) fn gemm_i8(
    x: &RowsI8,
    w: &PackedI8,
    bias: Option<&[f32]>,
    outputs: Range<usize>,
    mut out: MatrixMut<'_, f32>,
) {
    let k = w.k();
    let panel_len = k.div_ceil(LANE);
    for m in 0..x.rows() {
        let codes = &x.codes[m * x.stride()..][..x.stride()];
        for p in outputs.start / PANEL..outputs.end.div_ceil(PANEL) {
            let panel = &w.data[p * panel_len..][..panel_len];
            let mut sums = [0i32; PANEL];
            for (group, line) in codes.chunks_exact(LANE).zip(panel) {
                for (sum, weights) in sums.iter_mut().zip(line.0.chunks_exact(LANE)) {
                    for t in 0..LANE {
                        *sum += i32::from(group[t]) * i32::from(weights[t]);
                    }
                }
            }
            let from = p * PANEL;
            let width = PANEL.min(outputs.end - from);
            let target = &mut out.row_mut(m)[from - outputs.start..][..width];
            for (i, value) in target.iter_mut().enumerate() {
                let exact = sums[i] - ZERO_CODE * w.sums[from + i];
                let total = w.sums[from + i] as f32 * w.scales[from + i];
                let bias = bias.map_or(0.0, |bias| bias[from + i]);
                let start = x.offsets[m].mul_add(total, bias);
                *value = (exact as f32).mul_add(x.scales[m] * w.scales[from + i], start);
            }
        }
    }
}

/// Fills the lines of `⌈rows/16⌉` panels: line `j` of panel `p` is column `j` of 16 rows of `w`.
pub(crate) fn transpose(w: Matrix<'_, f32>, lines: &mut [LineF32]) {
    let k = w.cols();
    for (p, panel) in lines.chunks_exact_mut(k.max(1)).enumerate() {
        let height = PANEL.min(w.rows() - p * PANEL);
        for i in 0..height {
            for (line, &value) in panel.iter_mut().zip(w.row(p * PANEL + i)) {
                line.0[i] = value;
            }
        }
        if height < PANEL {
            for line in panel {
                line.0[height..].fill(0.0);
            }
        }
    }
}
