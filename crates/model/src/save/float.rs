//! Floating-point formats a tensor can be written in.

use std::fmt;
use std::str::FromStr;

use kvant_storage::bytes_of_f32;

use super::SaveError;
use crate::checkpoint::{Format, printable};

/// A floating-point format of both containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatFormat {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16: 11 bits of precision, up to 65504.
    F16,
    /// The upper half of a binary32: 8 bits of precision, the range of f32.
    Bf16,
}

impl FloatFormat {
    /// The format as the containers describe it.
    pub(crate) fn format(self) -> &'static Format {
        match self {
            Self::F32 => &Format::F32,
            Self::F16 => &Format::F16,
            Self::Bf16 => &Format::BF16,
        }
    }

    /// The little-endian bytes of `values`, rounded to nearest, ties to even.
    pub(super) fn encode(self, name: &str, values: &[f32]) -> Result<Vec<u8>, SaveError> {
        let bytes: Vec<u8> = match self {
            Self::F32 => return Ok(bytes_of_f32(values).to_vec()),
            Self::F16 => {
                values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect()
            }
            Self::Bf16 => {
                values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect()
            }
        };
        let exponent = if self == Self::F16 { 0x7C00 } else { 0x7F80 };
        let special = |pair: &[u8; 2]| u16::from_le_bytes(*pair) & exponent == exponent;
        let lost = bytes.as_chunks().0.iter().zip(values);
        let lost = lost.filter(|(pair, value)| special(pair) && value.is_finite());
        match lost.map(|(_, value)| value).next() {
            None => Ok(bytes),
            Some(value) => {
                let name = printable(name);
                let why = format!("holds {value}, which {self} cannot express: use f32 or bf16");
                Err(SaveError::Unfit { name, why })
            }
        }
    }
}

impl fmt::Display for FloatFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for FloatFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::F32, Self::F16, Self::Bf16];
        let found = all.into_iter().find(|format| format.to_string() == text);
        found.ok_or_else(|| format!("'{}' is none of f32, f16, bf16", printable(text)))
    }
}
