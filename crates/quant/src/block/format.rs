//! The block layouts and their names.

use std::fmt;
use std::str::FromStr;

use crate::SchemeError;

/// Weights in a block of the simple formats.
pub const BLOCK: usize = 32;

/// Layout of a block of weights, as in GGUF files. Numbers are little endian; in the nibbles
/// of byte `j` the low one belongs to weight `j`, the high one to weight `j + 16`.
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
}

/// The levels of [`BlockFormat::IQ4_NL`], denser around zero, where most weights are.
pub(super) const NONLINEAR: [i16; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

const KNOWN: &str = "q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl";

impl BlockFormat {
    /// Every format.
    pub const ALL: [Self; 6] =
        [Self::Q4_0, Self::Q4_1, Self::Q5_0, Self::Q5_1, Self::Q8_0, Self::IQ4_NL];

    /// Weights of one block; rows are whole blocks.
    pub const fn weights_per_block(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::IQ4_NL => BLOCK,
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
        }
    }

    /// Neighbouring weights that share a scale.
    pub(super) const fn weights_per_scale(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::IQ4_NL => BLOCK,
        }
    }

    /// The f16 numbers of a block: their names, and where they stand.
    pub(super) const fn numbers(self) -> &'static [(&'static str, usize)] {
        match self {
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 | Self::IQ4_NL => &[("scale", 0)],
            Self::Q4_1 | Self::Q5_1 => &[("scale", 0), ("minimum", 2)],
        }
    }

    /// The levels that codes stand for.
    pub(super) const fn ladder(self) -> Ladder {
        match self {
            Self::Q4_0 => Ladder::Whole { count: 16, zero: 8 },
            Self::Q4_1 => Ladder::Whole { count: 16, zero: 0 },
            Self::Q5_0 => Ladder::Whole { count: 32, zero: 16 },
            Self::Q5_1 => Ladder::Whole { count: 32, zero: 0 },
            Self::Q8_0 => Ladder::Whole { count: 256, zero: 128 },
            Self::IQ4_NL => Ladder::Table(&NONLINEAR),
        }
    }

    /// Largest magnitude whose scale is an f16.
    pub(super) const fn limit(self) -> f32 {
        let reach = match self {
            Self::Q4_1 | Self::Q5_1 => 1.0,
            Self::Q4_0 => 8.0,
            Self::Q5_0 => 16.0,
            Self::Q8_0 | Self::IQ4_NL => 127.0,
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
