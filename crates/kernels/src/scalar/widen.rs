//! Stored keys and values to the lines of an f32 operand.

use half::f16;

use crate::pack::{LineF32, PANEL};

pub(crate) fn widen_f16(halves: &[u16], lines: &mut [LineF32]) {
    for (line, halves) in lines.iter_mut().zip(halves.chunks_exact(PANEL)) {
        for (value, &half) in line.0.iter_mut().zip(halves) {
            *value = f16::from_bits(half).to_f32();
        }
    }
}

/// Every line times the scales of its panel's 16 outputs; `k` lines to a panel.
#[inline]
pub(crate) fn widen_i8_outputs(codes: &[i8], scales: &[f32], k: usize, lines: &mut [LineF32]) {
    let panels = lines.chunks_mut(k).zip(codes.chunks(k * PANEL));
    for ((lines, codes), scales) in panels.zip(scales.chunks_exact(PANEL)) {
        for (line, codes) in lines.iter_mut().zip(codes.chunks_exact(PANEL)) {
            for ((value, &code), scale) in line.0.iter_mut().zip(codes).zip(scales) {
                *value = f32::from(code) * scale;
            }
        }
    }
}

/// Line `j` of every panel times scale `j`.
#[inline]
pub(crate) fn widen_i8_inputs(codes: &[i8], scales: &[f32], lines: &mut [LineF32]) {
    let panels = lines.chunks_mut(scales.len()).zip(codes.chunks(scales.len() * PANEL));
    for (lines, codes) in panels {
        for ((line, codes), scale) in lines.iter_mut().zip(codes.chunks_exact(PANEL)).zip(scales) {
            for (value, &code) in line.0.iter_mut().zip(codes) {
                *value = f32::from(code) * scale;
            }
        }
    }
}
