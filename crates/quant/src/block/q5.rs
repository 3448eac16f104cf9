//! Blocks of 5-bit codes: nibbles, and the fifth bits of all weights in one word.

use half::f16;

use super::{BLOCK, number, q4};

/// `d = w* / −16` for `w*` the (first) weight of largest magnitude, with its sign;
/// `q = ⌊w / d + 16.5⌋`, at most 31.
pub(super) fn encode_q5_0(weights: &[f32; BLOCK], out: &mut [u8]) {
    let first = |largest: f32, &w: &f32| if w.abs() > largest.abs() { w } else { largest };
    let d = weights.iter().fold(0.0, first) / -16.0;
    let inverse = q4::inverse(d);
    out[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    pack(&weights.map(|w| (w * inverse + 16.5).clamp(0.0, 31.0) as u8), &mut out[2..]);
}

/// `d = (max − min) / 31`, `m = min`, `q = ⌊(w − min) / d + 0.5⌋`.
pub(super) fn encode_q5_1(weights: &[f32; BLOCK], out: &mut [u8]) {
    let codes = q4::encode_range(weights, 31.0, out);
    pack(&codes, &mut out[4..]);
}

pub(super) fn decode_q5_0(block: &[u8], out: &mut [f32; BLOCK]) {
    let d = number(block, 0);
    decode(&block[2..], out, |code| d * f32::from(code as i8 - 16));
}

pub(super) fn decode_q5_1(block: &[u8], out: &mut [f32; BLOCK]) {
    let (d, m) = (number(block, 0), number(block, 1));
    decode(&block[4..], out, |code| d * f32::from(code) + m);
}

fn decode(bytes: &[u8], out: &mut [f32; BLOCK], value: impl Fn(u8) -> f32) {
    let mut codes = [0; BLOCK];
    unpack(bytes, &mut codes);
    for (out, code) in out.iter_mut().zip(codes) {
        *out = value(code);
    }
}

pub(super) fn unpack(bytes: &[u8], codes: &mut [u8; BLOCK]) {
    let fifth = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    q4::unpack(&bytes[4..], codes);
    for (j, code) in codes.iter_mut().enumerate() {
        *code |= ((fifth >> j & 1) as u8) << 4;
    }
}

pub(super) fn pack(codes: &[u8; BLOCK], bytes: &mut [u8]) {
    let fifth =
        codes.iter().enumerate().map(|(j, code)| u32::from(code >> 4 & 1) << j).sum::<u32>();
    bytes[..4].copy_from_slice(&fifth.to_le_bytes());
    q4::pack(&codes.map(|code| code & 15), &mut bytes[4..]);
}
