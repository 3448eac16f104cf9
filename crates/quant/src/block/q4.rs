//! Blocks of 4-bit codes.

use half::f16;

use super::{BLOCK, number};

const HALF: usize = BLOCK / 2;

/// `d = w* / −8` for `w*` the (first) weight of largest magnitude, with its sign: the whole range
/// −8..=7 is used. `q = ⌊w / d + 8.5⌋`, at most 15: to nearest, halves upwards.
pub(super) fn encode_q4_0(weights: &[f32; BLOCK], out: &mut [u8]) {
    let mut largest = 0.0f32;
    for &w in weights {
        if w.abs() > largest.abs() {
            largest = w;
        }
    }
    let d = largest / -8.0;
    let inverse = inverse(d);
    let code = |w: f32| (w * inverse + 8.5).clamp(0.0, 15.0) as u8;
    out[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    for (j, byte) in out[2..].iter_mut().enumerate() {
        *byte = code(weights[j]) | code(weights[j + HALF]) << 4;
    }
}

/// `d = (max − min) / 15`, `m = min`, `q = ⌊(w − min) / d + 0.5⌋`.
pub(super) fn encode_q4_1(weights: &[f32; BLOCK], out: &mut [u8]) {
    let codes = encode_range(weights, 15.0, out);
    pack(&codes, &mut out[4..]);
}

/// Writes scale and minimum of the block and gives its codes, 0 to `levels`.
pub(super) fn encode_range(weights: &[f32; BLOCK], levels: f32, out: &mut [u8]) -> [u8; BLOCK] {
    let min = weights.iter().fold(f32::INFINITY, |min, &w| min.min(w));
    let max = weights.iter().fold(f32::NEG_INFINITY, |max, &w| max.max(w));
    let d = (max - min) / levels;
    let inverse = inverse(d);
    out[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    out[2..4].copy_from_slice(&f16::from_f32(min).to_le_bytes());
    weights.map(|w| ((w - min) * inverse + 0.5).clamp(0.0, levels) as u8)
}

/// `1 / d`, or 0 where that overflows: such a `d` is 0 in f16, and so are all weights.
pub(super) fn inverse(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The low nibble of byte `j` is code `j`, the high one code `j + 16`.
pub(super) fn unpack(bytes: &[u8], codes: &mut [u8; BLOCK]) {
    for (j, &byte) in bytes[..HALF].iter().enumerate() {
        codes[j] = byte & 15;
        codes[j + HALF] = byte >> 4;
    }
}

pub(super) fn pack(codes: &[u8; BLOCK], bytes: &mut [u8]) {
    for (j, byte) in bytes[..HALF].iter_mut().enumerate() {
        *byte = codes[j] & 15 | codes[j + HALF] << 4;
    }
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
