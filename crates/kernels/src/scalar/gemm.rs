//! Matrix products `y = x · Wᵀ + bias` over packed weights.

use crate::pack::{LANE, PANEL};
use crate::{Matrix, MatrixMut, PackedF32, PackedI8, RowsI8};

pub(crate) fn gemm_f32(
    x: Matrix<'_, f32>,
    w: &PackedF32,
    bias: Option<&[f32]>,
    mut out: MatrixMut<'_, f32>,
) {
    let (k, n) = (w.k(), w.n());
    for m in 0..x.rows() {
        let row = x.row(m);
        for p in 0..n.div_ceil(PANEL) {
            let panel = &w.data[p * PANEL * k..][..PANEL * k];
            let mut sums = [0.0f32; PANEL];
            for (&value, lane) in row.iter().zip(panel.chunks_exact(PANEL)) {
                for (sum, &weight) in sums.iter_mut().zip(lane) {
                    *sum += value * weight;
                }
            }
            let from = p * PANEL;
            let width = PANEL.min(n - from);
            let target = &mut out.row_mut(m)[from..from + width];
            for (i, value) in target.iter_mut().enumerate() {
                *value = sums[i] + bias.map_or(0.0, |bias| bias[from + i]);
            }
        }
    }
}

pub(crate) fn gemm_i8(x: &RowsI8, w: &PackedI8, bias: Option<&[f32]>, mut out: MatrixMut<'_, f32>) {
    let (k, n) = (w.k(), w.n());
    let panel_len = k.div_ceil(LANE) * PANEL * LANE;
    for m in 0..x.rows() {
        let codes = &x.codes[m * x.stride()..][..x.stride()];
        for p in 0..n.div_ceil(PANEL) {
            let panel = &w.data[p * panel_len..][..panel_len];
            let mut sums = [0i32; PANEL];
            for (group, lane) in codes.chunks_exact(LANE).zip(panel.chunks_exact(PANEL * LANE)) {
                for (sum, weights) in sums.iter_mut().zip(lane.chunks_exact(LANE)) {
                    for t in 0..LANE {
                        *sum += i32::from(group[t]) * i32::from(weights[t]);
                    }
                }
            }
            let from = p * PANEL;
            let width = PANEL.min(n - from);
            let target = &mut out.row_mut(m)[from..from + width];
            for (i, value) in target.iter_mut().enumerate() {
                let exact = sums[i] - 128 * w.sums[from + i];
                let scale = x.scales[m] * w.scales[from + i];
                *value = (exact as f32).mul_add(scale, bias.map_or(0.0, |bias| bias[from + i]));
            }
        }
    }
}
