//! Blocks of 8-bit codes.

use half::f16;

use super::q4::inverse;
use super::{BLOCK, number};

/// `d = max|w| / 127`, `q = round(w / d)` to nearest, halves away from zero.
pub(super) fn encode_q8_0(weights: &[f32; BLOCK], out: &mut [u8]) {
    let max = weights.iter().fold(0.0f32, |max, w| max.max(w.abs()));
    let d = max / 127.0;
    let inverse = inverse(d);
    out[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    for (byte, &w) in out[2..].iter_mut().zip(weights) {
        *byte = ((w * inverse).round() as i8).cast_unsigned();
    }
}

pub(super) fn decode_q8_0(block: &[u8], out: &mut [f32; BLOCK]) {
    let d = number(block, 0);
    for (value, &byte) in out.iter_mut().zip(&block[2..]) {
        *value = d * f32::from(byte.cast_signed());
    }
}
