//! Blocks of 5-bit codes: nibbles, and the fifth bits of all weights in one word.

use super::{BLOCK, number};

const HALF: usize = BLOCK / 2;

pub(super) fn decode_q5_0(block: &[u8], out: &mut [f32; BLOCK]) {
    let d = number(block, 0);
    decode(&block[2..], out, |code| d * f32::from(code as i8 - 16));
}

pub(super) fn decode_q5_1(block: &[u8], out: &mut [f32; BLOCK]) {
    let (d, m) = (number(block, 0), number(block, 1));
    decode(&block[4..], out, |code| d * f32::from(code) + m);
}

fn decode(bytes: &[u8], out: &mut [f32; BLOCK], value: impl Fn(u8) -> f32) {
    let fifth = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    for (j, &byte) in bytes[4..].iter().enumerate() {
        out[j] = value(byte & 15 | ((fifth >> j & 1) as u8) << 4);
        out[j + HALF] = value(byte >> 4 | ((fifth >> (j + HALF) & 1) as u8) << 4);
    }
}
