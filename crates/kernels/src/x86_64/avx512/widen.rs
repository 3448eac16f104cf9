//! Stored keys and values to the lines of an f32 operand.

use crate::pack::LineF32;
use crate::scalar;
use crate::x86_64::load::{f16x16, put_f32x16};

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
