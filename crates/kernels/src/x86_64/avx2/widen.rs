//! Stored keys and values to the lines of an f32 operand.

use crate::pack::LineF32;
use crate::scalar;
use crate::x86_64::load::{f16x8, put_f32x8};

#[target_feature(enable = "avx2,f16c")]
pub(super) fn widen_f16(halves: &[u16], lines: &mut [LineF32]) {
    for (line, halves) in lines.iter_mut().zip(halves.chunks_exact(16)) {
        let eights = line.0.as_chunks_mut().0.iter_mut().zip(halves.as_chunks().0);
        eights.for_each(|(out, halves)| put_f32x8(out, f16x8(halves)));
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn widen_i8_outputs(codes: &[i8], scales: &[f32], k: usize, lines: &mut [LineF32]) {
    scalar::widen::widen_i8_outputs(codes, scales, k, lines);
}

#[target_feature(enable = "avx2")]
pub(super) fn widen_i8_inputs(codes: &[i8], scales: &[f32], lines: &mut [LineF32]) {
    scalar::widen::widen_i8_inputs(codes, scales, lines);
}
