//! Changes that leave what the network computes as it is and make it easier to quantize.

mod awq;
mod eigen;
mod lowrank;
mod orthogonal;
mod random;
mod rotate;
mod scale;
mod smooth;

use std::fmt;
use std::str::FromStr;

pub use awq::{AwqOptions, awq};
pub use lowrank::LowRank;
pub use rotate::{Rotate, rotate};
pub use scale::{Rest, Scaled};
pub use smooth::{SmoothOptions, smooth};

use crate::{Draft, NameError, PassError};

/// A change to the weights before they are quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transform {
    /// `smooth`: moves the size of activation channels into the weights (Xiao et al., 2022).
    Smooth,
    /// `rotate` or `rotate:SEED`: turns the residual stream by a random orthogonal matrix
    /// (Ashkboos et al., 2024).
    Rotate {
        /// Of the random matrix.
        seed: u64,
    },
    /// `lowrank:R`: stores the R largest directions of each error beside the codes.
    LowRank {
        /// R.
        rank: usize,
    },
}

/// Highest rank that is read.
const RANK_MAX: usize = 1024;

impl Transform {
    /// Whether it does nothing without a calibration.
    pub fn needs_data(&self) -> bool {
        matches!(self, Self::Smooth)
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smooth => f.write_str("smooth"),
            Self::Rotate { seed } => write!(f, "rotate:{seed}"),
            Self::LowRank { rank } => write!(f, "lowrank:{rank}"),
        }
    }
}

impl FromStr for Transform {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number.parse::<u64>().ok())),
            None => (text, None),
        };
        let found = match (name, number) {
            ("smooth", None) => Some(Self::Smooth),
            ("rotate", None) => Some(Self::Rotate { seed: 0 }),
            ("rotate", Some(Some(seed))) => Some(Self::Rotate { seed }),
            ("lowrank", Some(Some(rank))) => usize::try_from(rank)
                .ok()
                .filter(|rank| (1..=RANK_MAX).contains(rank))
                .map(|rank| Self::LowRank { rank }),
            _ => None,
        };
        found.ok_or_else(|| NameError {
            what: "transform",
            name: text.to_owned(),
            known: "smooth, rotate, rotate:SEED, lowrank:R (R from 1 to 1024)",
        })
    }
}

/// A [`PassError::Unfit`] about the model of `draft`.
pub(crate) fn unfit(draft: &Draft, why: &str) -> PassError {
    PassError::Unfit { path: draft.source().path().to_owned(), why: why.to_owned() }
}
