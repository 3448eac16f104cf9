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

/// See [`crate::Kernels::quantize_blocks`]. Written so that compilers turn it into vectors.
#[inline]
pub(crate) fn quantize_blocks(
    x: Matrix<'_, f32>,
    scaling: Scaling,
    block: usize,
    out: &mut BlocksI8,
) {
    out.reset(x.rows(), x.cols(), block);
    let (stride, blocks) = (out.stride(), out.blocks());
    for m in 0..x.rows() {
        let row = x.row(m);
        let whole = match scaling {
            Scaling::Block => None,
            Scaling::Row => Some(row_scale(largest(row))),
            Scaling::Fixed(scale) => Some(fixed(scale, row)),
        };
        let codes = &mut out.codes[m * stride..][..stride];
        let scales = &mut out.scales[m * blocks..][..blocks];
        for (g, (values, codes)) in row.chunks(SCALED).zip(codes.chunks_mut(SCALED)).enumerate() {
            let (scale, inverse) = whole.unwrap_or_else(|| row_scale(largest(values)));
            let (head, padding) = codes.split_at_mut(values.len());
            for (code, value) in head.iter_mut().zip(values) {
                *code = (value * inverse).round_ties_even().clamp(-TOP, TOP) as i8;
            }
            padding.fill(0);
            let per = SCALED / block;
            let end = blocks.min((g + 1) * per);
            scales[g * per..end].fill(scale);
        }
        let sums = &mut out.sums[m * blocks..][..blocks];
        for (sum, codes) in sums.iter_mut().zip(codes.chunks(block)) {
            *sum = codes.iter().map(|&code| i32::from(code)).sum();
        }
        let totals = &mut out.totals[m * blocks..][..blocks];
        for ((total, &scale), &sum) in totals.iter_mut().zip(&*scales).zip(&*sums) {
            *total = scale * sum as f32;
        }
    }
}

/// Bits of the largest magnitude, NaN above all.
#[inline]
fn largest(values: &[f32]) -> u32 {
    values.iter().fold(0, |max, value| value.abs().to_bits().max(max))
}

/// `scale` and its inverse; what is not finite in `row` gets to the scale.
#[inline]
fn fixed(scale: f32, row: &[f32]) -> (f32, f32) {
    let max = f32::from_bits(largest(row));
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
