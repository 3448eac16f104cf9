//! How codes are chosen.

use std::fmt;
use std::str::FromStr;

use crate::NameError;

/// A way to choose scales and codes; works on every format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `rtn`: ranges from minimum to maximum, every weight to the nearest level. Needs no data.
    Rtn,
    /// `search`: the range with the least squared error, weighted by the activations where a
    /// calibration is given; every weight to the nearest level.
    Search,
    /// `gptq`: searched ranges, then codes one column after the other, the error of each column
    /// carried to those that follow (Frantar et al., 2022). Needs a calibration.
    Gptq,
    /// `awq`: input channels scaled by the size of their activations before a search (Lin et al.,
    /// 2023). Needs a calibration.
    Awq,
    /// `hqq`: offsets by half-quadratic splitting (Badri and Shaji, 2023). Needs no data.
    Hqq,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 5] = [Self::Rtn, Self::Search, Self::Gptq, Self::Awq, Self::Hqq];

    /// Whether it does nothing without a calibration.
    pub fn needs_data(self) -> bool {
        matches!(self, Self::Gptq | Self::Awq)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rtn => "rtn",
            Self::Search => "search",
            Self::Gptq => "gptq",
            Self::Awq => "awq",
            Self::Hqq => "hqq",
        })
    }
}

impl FromStr for Method {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let found = Self::ALL.into_iter().find(|method| method.to_string() == text);
        found.ok_or_else(|| NameError {
            what: "method",
            name: text.to_owned(),
            known: "rtn, search, gptq, awq, hqq",
        })
    }
}
