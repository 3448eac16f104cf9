//! Blocks of 4-bit codes.

use half::f16;

use super::{BLOCK, number};

const HALF: usize = BLOCK / 2;

/// `d = w* / −8`.
pub(super) const SCALE_DIVISOR: f32 = 8.0;

/// `d = w* / −8` for `w*` the (first) weight of largest magnitude, with its sign: the whole range
/// −8..=7 is used. `q = ⌊w / d + 8.5⌋`, at most 15: to nearest, halves upwards.
pub(super) fn encode_q4_0(weights: &[f32; BLOCK], out: &mut [u8]) {
    let mut largest = 0.0f32;
    for &w in weights {
        if w.abs() > largest.abs() {
            largest = w;
        }
    }
    let d = largest / -SCALE_DIVISOR;
    let inverse = inverse(d);
    let code = |w: f32| (w * inverse + 8.5).clamp(0.0, 15.0) as u8;
    out[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    for (j, byte) in out[2..].iter_mut().enumerate() {
        *byte = code(weights[j]) | code(weights[j + HALF]) << 4;
    }
}

/// `1 / d`, or 0 where that overflows: such a `d` is 0 in f16, and so are all weights.
pub(super) fn inverse(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}

pub(super) fn decode_q4_0(block: &[u8], out: &mut [f32; BLOCK]) {
    let d = number(block, 0);
    for (j, &byte) in block[2..].iter().enumerate() {
        out[j] = d * f32::from((byte & 15) as i8 - 8);
        out[j + HALF] = d * f32::from((byte >> 4) as i8 - 8);
    }
}

pub(super) fn decode_q4_1(block: &[u8], out: &mut [f32; BLOCK]) {
    let (d, m) = (number(block, 0), number(block, 1));
    for (j, &byte) in block[4..].iter().enumerate() {
        out[j] = d * f32::from(byte & 15) + m;
        out[j + HALF] = d * f32::from(byte >> 4) + m;
    }
}
