//! The block layouts and their names.

use std::fmt;
use std::str::FromStr;

use super::{q4, q5};
use crate::SchemeError;

/// Weights per block.
pub const BLOCK: usize = 32;

/// Layout of a block of 32 weights, as in GGUF files. Numbers are little endian; in the nibbles
/// of byte `j` the low one belongs to weight `j`, the high one to weight `j + 16`.
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
}

const KNOWN: &str = "q4_0, q4_1, q5_0, q5_1, q8_0";

impl BlockFormat {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Q4_0, Self::Q4_1, Self::Q5_0, Self::Q5_1, Self::Q8_0];

    /// Bytes of one block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
        }
    }

    /// Names of the f16 numbers at the start of a block.
    pub(super) const fn numbers(self) -> &'static [&'static str] {
        match self {
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 => &["scale"],
            Self::Q4_1 | Self::Q5_1 => &["scale", "minimum"],
        }
    }

    /// How many levels there are, and which of them is 0.
    pub(super) const fn levels(self) -> (u16, f32) {
        match self {
            Self::Q4_0 => (16, 8.0),
            Self::Q4_1 => (16, 0.0),
            Self::Q5_0 => (32, 16.0),
            Self::Q5_1 => (32, 0.0),
            Self::Q8_0 => (256, 128.0),
        }
    }

    /// Reads the codes of a block as numbers of levels.
    pub(super) fn unpack(self, block: &[u8], codes: &mut [u8; BLOCK]) {
        let bytes = &block[2 * self.numbers().len()..];
        match self {
            Self::Q4_0 | Self::Q4_1 => q4::unpack(bytes, codes),
            Self::Q5_0 | Self::Q5_1 => q5::unpack(bytes, codes),
            Self::Q8_0 => codes.iter_mut().zip(bytes).for_each(|(code, byte)| *code = byte ^ 0x80),
        }
    }

    /// Writes the codes of a block, given as numbers of levels.
    pub(super) fn pack(self, codes: &[u8; BLOCK], block: &mut [u8]) {
        let bytes = &mut block[2 * self.numbers().len()..];
        match self {
            Self::Q4_0 | Self::Q4_1 => q4::pack(codes, bytes),
            Self::Q5_0 | Self::Q5_1 => q5::pack(codes, bytes),
            Self::Q8_0 => bytes.iter_mut().zip(codes).for_each(|(byte, code)| *byte = code ^ 0x80),
        }
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
            Self::Q8_0 => "q8_0",
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
        assert!("q6_k".parse::<BlockFormat>().is_err());
    }
}
