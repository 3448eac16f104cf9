//! Products over weights in blocks, and the int8 codes of their other operand.

use std::ops::Range;

use half::f16;

use super::row::row_scale;
use crate::pack::blocks::SCALED;
use crate::pack::{LANE, LineF32, PANEL};
use crate::{BlocksI8, Matrix, MatrixMut, PackedBlocks, Scaling};

/// Largest code.
const TOP: f32 = 127.0;

/// The sums of a block are exact; blocks are added in rising order, the scale's part before the
/// minimum's, each by one fused multiply-add.
pub(crate) fn gemm_blocks(
    x: &BlocksI8,
    w: &PackedBlocks,
    bias: Option<&[f32]>,
    outputs: Range<usize>,
    mut out: MatrixMut<'_, f32>,
) {
    for m in 0..x.rows() {
        let row = out.row_mut(m);
        for (panel, out) in row.chunks_mut(PANEL).enumerate() {
            let from = outputs.start + panel * PANEL;
            let sums = panel_sums(x, m, w, from / PANEL);
            for (lane, value) in out.iter_mut().enumerate() {
                let at = from + lane;
                let factor = w.factors[at] * w.unit;
                *value = sums[lane].mul_add(factor, bias.map_or(0.0, |bias| bias[at]));
            }
        }
    }
}

/// The 16 dot products of a row with a panel, before its factors.
fn panel_sums(x: &BlocksI8, m: usize, w: &PackedBlocks, panel: usize) -> [f32; PANEL] {
    let (blocks, lines, block) = (x.blocks(), w.block_lines(), x.block());
    let panel_lines = &w.codes[panel * w.panel_lines()..][..w.panel_lines()];
    let mut totals = [0.0f32; PANEL];
    for b in 0..blocks {
        let codes = &x.codes[m * x.stride() + b * block..][..block];
        let mut sums = [-w.zero * x.sums[m * blocks + b]; PANEL];
        for (j, line) in panel_lines[b * lines..][..lines].iter().enumerate() {
            for (i, sum) in sums.iter_mut().enumerate() {
                for t in 0..LANE {
                    let byte = line.0[i * LANE + t];
                    *sum += if w.is_four() {
                        let low = i32::from(w.table[usize::from(byte & 15)]);
                        let high = i32::from(w.table[usize::from(byte >> 4)]);
                        low * i32::from(codes[2 * LANE * j + t])
                            + high * i32::from(codes[2 * LANE * j + LANE + t])
                    } else {
                        i32::from(byte) * i32::from(codes[LANE * j + t])
                    };
                }
            }
        }
        let scale = x.scales[m * blocks + b];
        let scales = &w.scales[panel * blocks + b].0;
        for i in 0..PANEL {
            let by = f16::from_bits(scales[i]).to_f32() * scale;
            totals[i] = (sums[i] as f32).mul_add(by, totals[i]);
        }
        if let Some(minima) = w.minima.get(panel * blocks + b) {
            let total = x.totals[m * blocks + b];
            for i in 0..PANEL {
                totals[i] = f16::from_bits(minima.0[i]).to_f32().mul_add(total, totals[i]);
            }
        }
    }
    totals
}

/// See [`crate::Kernels::quantize_blocks`].
pub(crate) fn quantize_blocks(
    x: Matrix<'_, f32>,
    scaling: Scaling,
    block: usize,
    out: &mut BlocksI8,
) {
    quantize_groups(x, (scaling, block), out, largest, |values, inverse, codes| {
        codes.fill(0);
        for (code, value) in codes.iter_mut().zip(values) {
            *code = (value * inverse).round_ties_even().clamp(-TOP, TOP) as i8;
        }
        let (first, second) = codes.split_at(SCALED / 2);
        [first, second].map(|codes| codes.iter().map(|&code| i32::from(code)).sum())
    });
}

/// Goes through groups of at most 32 values: `largest` gives the bits of the largest magnitude of
/// some values, `code` writes the codes of a group, times an inverse scale that is not 0, and zeros
/// behind them, and returns the sums of either half.
#[inline]
pub(crate) fn quantize_groups(
    x: Matrix<'_, f32>,
    (scaling, block): (Scaling, usize),
    out: &mut BlocksI8,
    largest: impl Fn(&[f32]) -> u32,
    code: impl Fn(&[f32], f32, &mut [i8; SCALED]) -> [i32; 2],
) {
    out.reset(x.rows(), x.cols(), block);
    let (stride, blocks) = (out.stride(), out.blocks());
    for m in 0..x.rows() {
        let row = x.row(m);
        let whole = match scaling {
            Scaling::Block => None,
            Scaling::Row => Some(row_scale(largest(row))),
            Scaling::Fixed(scale) => Some(fixed(scale, largest(row))),
        };
        let codes = out.codes[m * stride..][..stride].as_chunks_mut().0;
        let mut at = m * blocks;
        for (values, codes) in row.chunks(SCALED).zip(codes) {
            let (scale, inverse) = whole.unwrap_or_else(|| row_scale(largest(values)));
            let sums = if inverse == 0.0 {
                // All zeros, or not finite: then the scale tells.
                codes.fill(0);
                [0; 2]
            } else {
                code(values, inverse, codes)
            };
            let halves = [sums[0] + sums[1], 0];
            let (sums, count) =
                if block == SCALED { (halves, 1) } else { (sums, values.len().div_ceil(block)) };
            for &sum in &sums[..count] {
                out.scales[at] = scale;
                out.sums[at] = sum;
                out.totals[at] = scale * sum as f32;
                at += 1;
            }
        }
    }
}

/// Bits of the largest magnitude, NaN above all.
fn largest(values: &[f32]) -> u32 {
    values.iter().fold(0, |max, value| value.abs().to_bits().max(max))
}

/// `scale` and its inverse; a largest magnitude that is not finite gets to the scale.
fn fixed(scale: f32, max: u32) -> (f32, f32) {
    let max = f32::from_bits(max);
    if max.is_finite() { (scale, 1.0 / scale) } else { (max, 0.0) }
}

/// Fills the `k` lines of panel `panel` in f32: line `j` holds column `j` of its 16 outputs.
#[inline]
pub(crate) fn expand(w: &PackedBlocks, panel: usize, lines: &mut [LineF32]) {
    let (shape, levels) = (w.shape(), w.levels_f32());
    let packed = &w.codes[panel * w.panel_lines()..][..w.panel_lines()];
    let factors = &w.factors[panel * PANEL..][..PANEL];
    for (b, lines) in lines.chunks_mut(shape.block).enumerate() {
        let at = panel * shape.blocks() + b;
        let scales = w.scales[at].0.map(|half| f16::from_bits(half).to_f32());
        let minima = w
            .minima
            .get(at)
            .map_or([0.0; PANEL], |m| m.0.map(|half| f16::from_bits(half).to_f32()));
        let packed = &packed[b * w.block_lines()..][..w.block_lines()];
        for (c, line) in lines.iter_mut().enumerate() {
            for i in 0..PANEL {
                let level = if w.is_four() {
                    let byte = packed[c / (2 * LANE)].0[i * LANE + c % LANE];
                    levels[usize::from(byte >> (c / LANE % 2 * 4) & 15)]
                } else {
                    f32::from(packed[c / LANE].0[i * LANE + c % LANE]) - w.zero as f32
                };
                line.0[i] = level.mul_add(scales[i], minima[i]) * factors[i];
            }
        }
    }
}
