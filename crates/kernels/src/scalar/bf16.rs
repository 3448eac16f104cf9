//! Rounding to bf16 and the product of such operands.

use std::ops::Range;

use crate::pack::PANEL;
use crate::pack::bf16::{LineBF16, PAIR};
use crate::{Matrix, MatrixMut, PackedBF16, RowsBF16};

/// The bits of `value` rounded to the nearest bf16, ties to even; NaN stays NaN, and what is
/// smaller than a normal number becomes zero, as instructions of bf16 have it.
#[inline]
fn round(value: f32) -> u32 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7FFF_FFFF;
    let rounded = if magnitude > 0x7F80_0000 {
        bits | 0x40_0000
    } else {
        // What carries into the upper half is one half, or just below it where that is even.
        bits + 0x7FFF + ((bits >> 16) & 1)
    };
    (if magnitude < 0x80_0000 { bits & 0x8000_0000 } else { rounded }) >> 16
}

#[inline]
fn pair(low: f32, high: f32) -> u32 {
    round(low) | (round(high) << 16)
}

/// The two values of a pair, in order.
#[inline]
pub(crate) fn parts(pair: u32) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & 0xFFFF_0000)]
}

#[inline]
pub(crate) fn round_row(row: &[f32], pairs: &mut [u32]) {
    let (whole, rest) = row.as_chunks::<PAIR>();
    let (out, last) = pairs.split_at_mut(whole.len());
    for (out, &[low, high]) in out.iter_mut().zip(whole) {
        *out = pair(low, high);
    }
    if let (Some(out), Some(&value)) = (last.first_mut(), rest.first()) {
        *out = pair(value, 0.0);
    }
}

/// Rounds `exp(scale · (x − max))` to `pairs`; returns the sum before rounding. `x` is memory.
#[inline]
pub(crate) fn shares(x: &mut [f32], scale: f32, pairs: &mut [u32]) -> f32 {
    let sum = super::row::exponentials(x, scale);
    round_row(x, pairs);
    sum
}

/// Fills the lines of `⌈rows/16⌉` panels from a weight with a row for each output.
#[inline]
pub(crate) fn pack(w: Matrix<'_, f32>, lines: &mut [LineBF16]) {
    for (p, panel) in lines.chunks_exact_mut(w.cols().div_ceil(PAIR).max(1)).enumerate() {
        for line in panel.iter_mut() {
            line.0.fill(0);
        }
        for i in 0..PANEL.min(w.rows() - p * PANEL) {
            for (line, values) in panel.iter_mut().zip(w.row(p * PANEL + i).chunks(PAIR)) {
                line.0[i] = pair(values[0], values.get(1).copied().unwrap_or(0.0));
            }
        }
    }
}

/// Fills the lines of `⌈cols/16⌉` panels from a weight with a column for each output.
#[inline]
pub(crate) fn pack_transposed(w: Matrix<'_, f32>, lines: &mut [LineBF16]) {
    for (p, panel) in lines.chunks_exact_mut(w.rows().div_ceil(PAIR).max(1)).enumerate() {
        let columns = p * PANEL..w.cols().min((p + 1) * PANEL);
        for (j, line) in panel.iter_mut().enumerate() {
            let low = &w.row(PAIR * j)[columns.clone()];
            let second = PAIR * j + 1;
            let high = if second < w.rows() { &w.row(second)[columns.clone()] } else { &[] };
            let value = |row: &[f32], i: usize| row.get(i).copied().unwrap_or(0.0);
            for (i, out) in line.0.iter_mut().enumerate() {
                *out = pair(value(low, i), value(high, i));
            }
        }
    }
}

pub(crate) fn gemm_bf16(
    x: &RowsBF16,
    w: &PackedBF16,
    bias: Option<&[f32]>,
    outputs: Range<usize>,
    mut out: MatrixMut<'_, f32>,
) {
    let lines = w.k().div_ceil(PAIR);
    for m in 0..x.rows() {
        let pairs = &x.pairs[m * x.stride()..][..x.stride()];
        for p in outputs.start / PANEL..outputs.end.div_ceil(PANEL) {
            let panel = &w.data[p * lines..][..lines];
            let mut sums = [0.0f32; PANEL];
            for (&pair, line) in pairs.iter().zip(panel) {
                let [low, high] = parts(pair);
                for (sum, &weights) in sums.iter_mut().zip(&line.0) {
                    let weights = parts(weights);
                    *sum += low * weights[0];
                    *sum += high * weights[1];
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
