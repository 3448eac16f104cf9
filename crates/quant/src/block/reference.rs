//! Ranges from the smallest to the largest weight, as ggml's reference quantizers take them.

use super::group::Effort;
use super::range::ends;
use super::search::{Alphabet, Table};
use super::{BLOCK, BLOCK_MAX, BlockFormat, NONLINEAR, set_number};

/// Writes one block of weights.
type Encode = fn(&[f32; BLOCK], &mut [u8]);

impl BlockFormat {
    /// Writes scales and codes of a block, each weight to its nearest level.
    pub(super) fn encode(self, weights: &[f32], block: &mut [u8]) {
        let encode: Encode = match self {
            Self::Q4_0 => |w, block| signed(Self::Q4_0, w, 8.0, block),
            Self::Q4_1 => |w, block| ranged(Self::Q4_1, w, 15.0, block),
            Self::Q5_0 => |w, block| signed(Self::Q5_0, w, 16.0, block),
            Self::Q5_1 => |w, block| ranged(Self::Q5_1, w, 31.0, block),
            Self::Q8_0 => whole_bytes,
            Self::IQ4_NL => nonlinear,
            Self::Q2_K | Self::Q3_K | Self::Q4_K | Self::Q5_K | Self::Q6_K | Self::IQ4_XS => {
                for weights in weights.as_chunks().0 {
                    self.write_groups(weights, &[1.0; BLOCK_MAX], Effort::Range, block);
                }
                return;
            }
            Self::MXFP4 => return,
        };
        for weights in weights.as_chunks::<BLOCK>().0 {
            encode(weights, block);
        }
    }
}

/// The (first) weight of largest magnitude, with its sign; 0 where all are.
pub(super) fn largest(weights: &[f32]) -> f32 {
    weights.iter().fold(0.0, |largest: f32, &w| if w.abs() > largest.abs() { w } else { largest })
}

/// `d = w* / −half` for `w*` the largest weight: the whole range of codes is used.
/// `q = ⌊w / d + half + 0.5⌋`, at most `2·half − 1`: to nearest, halves upwards.
fn signed(format: BlockFormat, weights: &[f32; BLOCK], half: f32, block: &mut [u8]) {
    let d = largest(weights) / -half;
    let inverse = inverse(d);
    set_number(block, 0, d);
    let code = |w: f32| (w * inverse + (half + 0.5)).clamp(0.0, half + half - 1.0) as u8;
    format.pack(&mut weights.map(code), block);
}

/// `d = (max − min) / top`, `m = min`, `q = ⌊(w − min) / d + 0.5⌋`.
fn ranged(format: BlockFormat, weights: &[f32; BLOCK], top: f32, block: &mut [u8]) {
    let (min, max) = ends(weights);
    let d = (max - min) / top;
    let inverse = inverse(d);
    set_number(block, 0, d);
    set_number(block, 2, min);
    format.pack(&mut weights.map(|w| ((w - min) * inverse + 0.5).clamp(0.0, top) as u8), block);
}

/// `d = max|w| / 127`, `q = round(w / d)` to nearest, halves away from zero.
fn whole_bytes(weights: &[f32; BLOCK], block: &mut [u8]) {
    let d = largest(weights).abs() / 127.0;
    let inverse = inverse(d);
    set_number(block, 0, d);
    let code = |w: f32| ((w * inverse).round() as i8).cast_unsigned() ^ 0x80;
    BlockFormat::Q8_0.pack(&mut weights.map(code), block);
}

/// `d = w* / −127`, rounded to f16; then the nearest level.
fn nonlinear(weights: &[f32; BLOCK], block: &mut [u8]) {
    let d = set_number(block, 0, largest(weights) / f32::from(NONLINEAR[0]));
    BlockFormat::IQ4_NL.pack(&mut weights.map(|w| Table.code(w, d)), block);
}

/// `1 / d`, or 0 where that overflows: such a `d` is 0 in f16, and so are all weights.
fn inverse(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}
