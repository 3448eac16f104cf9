//! How many weights share a scale.

use std::fmt;
use std::str::FromStr;

use crate::SchemeError;

/// Longest group that is read.
const GROUP_MAX: usize = 1 << 20;

const KNOWN: &str = "tensor, channel, or g and the weights of a group, as g32";

/// The granularity of a scheme: which weights share a scale. `tensor`, `channel` or `g` and a
/// number, as `g64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// All of a matrix.
    Tensor,
    /// A row: all weights of one output.
    Channel,
    /// This many neighbouring weights of a row, at least 1; the last group may be shorter.
    Group(usize),
}

impl Span {
    /// Weights of a row of `cols` that share a scale, at least 1.
    pub fn weights(self, cols: usize) -> usize {
        match self {
            Self::Tensor | Self::Channel => cols.max(1),
            Self::Group(len) => len,
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor => f.write_str("tensor"),
            Self::Channel => f.write_str("channel"),
            Self::Group(len) => write!(f, "g{len}"),
        }
    }
}

impl FromStr for Span {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        let group = |digits: &str| {
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|len| plain && (1..=GROUP_MAX).contains(len))
        };
        let span = match text {
            "tensor" => Some(Self::Tensor),
            "channel" => Some(Self::Channel),
            _ => text.strip_prefix('g').and_then(group).map(Self::Group),
        };
        span.ok_or_else(|| SchemeError { name: text.to_owned(), known: KNOWN })
    }
}
