//! The block layouts and their names.

use std::fmt;
use std::str::FromStr;

use super::BLOCK_MAX;
use crate::SchemeError;

/// Weights in a block of the simple formats.
pub const BLOCK: usize = 32;

/// Layout of a block of weights, as in GGUF files. Numbers are little endian; in the nibbles
/// of byte `j` the low one belongs to weight `j`, the high one to weight `j + 16`. The formats of
/// 256 weights have whole-number factors `a` (and `b`) for each group of 16 or 32 weights.
#[expect(non_camel_case_types, reason = "the names of ggml")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockFormat {
    /// 18 bytes: f16 `d`, 16 bytes of nibbles `q`; `w = d·(q − 8)`.
    Q4_0,
    /// 20 bytes: f16 `d`, f16 `m`, 16 bytes of nibbles `q`; `w = d·q + m`.
    Q4_1,
    /// 22 bytes: f16 `d`, u32 of fifth bits (bit `i` for weight `i`), 16 bytes of nibbles;
    /// `w = d·(q − 16)`.
    Q5_0,
    /// 24 bytes: f16 `d`, f16 `m`, u32 of fifth bits, 16 bytes of nibbles; `w = d·q + m`.
    Q5_1,
    /// 34 bytes: f16 `d`, 32 codes i8 `q`; `w = d·q`.
    Q8_0,
    /// 18 bytes: f16 `d`, 16 bytes of nibbles `q`; `w = d·level[q]` with the levels −127, −104,
    /// −83, −65, −49, −35, −22, −10, 1, 13, 25, 38, 53, 69, 89, 113.
    IQ4_NL,
    /// 84 bytes for 256 weights: 16 bytes of factors (4 bits `a` below 4 bits `b`), 64 bytes of
    /// 2-bit codes, f16 `d`, f16 `m`; `w = (d·a)·q − m·b`, groups of 16.
    Q2_K,
    /// 110 bytes for 256 weights: 32 bytes of third bits, 64 bytes of pairs of bits, 12 bytes of
    /// factors (6 bits, less 32), f16 `d`; `w = (d·a)·(q − 4)`, groups of 16.
    Q3_K,
    /// 144 bytes for 256 weights: f16 `d`, f16 `m`, 12 bytes of factors (6 bits each), 128 bytes
    /// of nibbles; `w = (d·a)·q − m·b`, groups of 32.
    Q4_K,
    /// 176 bytes for 256 weights: as [`Self::Q4_K`] with 32 bytes of fifth bits before the
    /// nibbles.
    Q5_K,
    /// 210 bytes for 256 weights: 128 bytes of nibbles, 64 bytes of the pairs of bits above them,
    /// 16 factors i8, f16 `d`; `w = (d·a)·(q − 32)`, groups of 16.
    Q6_K,
    /// 136 bytes for 256 weights: f16 `d`, 6 bytes of factors (6 bits, less 32), 128 bytes of
    /// nibbles; `w = (d·a)·level[q]` with the levels of [`Self::IQ4_NL`], groups of 32.
    IQ4_XS,
    /// 17 bytes: the exponent `e` of a power of two, 16 bytes of nibbles; `w = 2^(e−128)·level`
    /// with the levels 0, 1, 2, 3, 4, 6, 8, 12 and, for codes 8 to 15, their negatives. Read, not
    /// written.
    MXFP4,
}

/// The levels of [`BlockFormat::IQ4_NL`], denser around zero, where most weights are.
pub(super) const NONLINEAR: [i16; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The levels of [`BlockFormat::MXFP4`], twice those of the 4-bit floats (E2M1).
const FLOAT4: [i16; 16] = [-12, -8, -6, -4, -3, -2, -1, 0, 0, 1, 2, 3, 4, 6, 8, 12];

/// The largest of them.
pub(super) const FLOAT4_MAX: f32 = 12.0;

const KNOWN: &str = "q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_xs, \
                     mxfp4";

impl BlockFormat {
    /// Every format.
    pub const ALL: [Self; 13] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::IQ4_NL,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
        Self::IQ4_XS,
        Self::MXFP4,
    ];

    /// Weights of one block, 32 or 256; rows are whole blocks.
    pub const fn weights_per_block(self) -> usize {
        match self {
            Self::Q2_K | Self::Q3_K | Self::Q4_K | Self::Q5_K | Self::Q6_K | Self::IQ4_XS => {
                BLOCK_MAX
            }
            Self::Q4_0
            | Self::Q4_1
            | Self::Q5_0
            | Self::Q5_1
            | Self::Q8_0
            | Self::IQ4_NL
            | Self::MXFP4 => BLOCK,
        }
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Q4_0 | Self::IQ4_NL => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2_K => 84,
            Self::Q3_K => 110,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
            Self::IQ4_XS => 136,
            Self::MXFP4 => 17,
        }
    }

    /// Whether matrices are encoded in this format; all are read.
    pub const fn is_written(self) -> bool {
        !matches!(self, Self::MXFP4)
    }

    /// Neighbouring weights that share a scale.
    pub(super) const fn weights_per_scale(self) -> usize {
        if matches!(self, Self::Q2_K | Self::Q3_K | Self::Q6_K) { 16 } else { BLOCK }
    }

    /// The f16 numbers of a block: their names, and where they stand.
    pub(super) const fn numbers(self) -> &'static [(&'static str, usize)] {
        match self {
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 | Self::IQ4_NL | Self::IQ4_XS => &[("scale", 0)],
            Self::Q4_1 | Self::Q5_1 | Self::Q4_K | Self::Q5_K => &[("scale", 0), ("minimum", 2)],
            Self::Q2_K => &[("scale", 80), ("minimum", 82)],
            Self::Q3_K => &[("scale", 108)],
            Self::Q6_K => &[("scale", 208)],
            Self::MXFP4 => &[],
        }
    }

    /// Whether groups have an offset.
    pub(super) const fn has_offsets(self) -> bool {
        self.numbers().len() == 2
    }

    /// The levels that codes stand for.
    pub(super) const fn ladder(self) -> Ladder {
        match self {
            Self::Q4_0 => Ladder::Whole { count: 16, zero: 8 },
            Self::Q4_1 | Self::Q4_K => Ladder::Whole { count: 16, zero: 0 },
            Self::Q5_0 => Ladder::Whole { count: 32, zero: 16 },
            Self::Q5_1 | Self::Q5_K => Ladder::Whole { count: 32, zero: 0 },
            Self::Q8_0 => Ladder::Whole { count: 256, zero: 128 },
            Self::Q2_K => Ladder::Whole { count: 4, zero: 0 },
            Self::Q3_K => Ladder::Whole { count: 8, zero: 4 },
            Self::Q6_K => Ladder::Whole { count: 64, zero: 32 },
            Self::IQ4_NL | Self::IQ4_XS => Ladder::Table(&NONLINEAR),
            Self::MXFP4 => Ladder::Table(&FLOAT4),
        }
    }

    /// Largest magnitude whose scale is an f16.
    pub(super) const fn limit(self) -> f32 {
        let reach = match self {
            Self::Q4_1 | Self::Q5_1 | Self::MXFP4 => 1.0,
            Self::Q4_0 => 8.0,
            Self::Q2_K => 15.0,
            Self::Q5_0 => 16.0,
            Self::Q4_K | Self::Q5_K => 63.0,
            Self::Q8_0 | Self::IQ4_NL => 127.0,
            Self::Q3_K => 4.0 * 32.0,
            Self::Q6_K => 32.0 * 128.0,
            Self::IQ4_XS => 127.0 * 32.0,
        };
        65504.0 * reach
    }
}

/// The levels of a format before scaling, in ascending order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ladder {
    /// `count` whole numbers, `zero` of them below 0.
    Whole { count: u16, zero: u16 },
    /// These.
    Table(&'static [i16; 16]),
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
            Self::Q8_0 => "q8_0",
            Self::IQ4_NL => "iq4_nl",
            Self::Q2_K => "q2_k",
            Self::Q3_K => "q3_k",
            Self::Q4_K => "q4_k",
            Self::Q5_K => "q5_k",
            Self::Q6_K => "q6_k",
            Self::IQ4_XS => "iq4_xs",
            Self::MXFP4 => "mxfp4",
        })
    }
}

impl FromStr for BlockFormat {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        Self::ALL
            .into_iter()
            .find(|format| format.to_string() == text)
            .ok_or_else(|| SchemeError { name: text.to_owned(), known: KNOWN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        let names: Vec<String> = BlockFormat::ALL.iter().map(BlockFormat::to_string).collect();
        assert_eq!(names.join(", "), KNOWN);
        for (format, name) in BlockFormat::ALL.iter().zip(&names) {
            assert_eq!(name.parse::<BlockFormat>(), Ok(*format));
        }
        assert!("q9_k".parse::<BlockFormat>().is_err());
    }
}
