//! The name of a shape and its parameters: `flat`, `hnsw`, `hnsw32`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::{M_MAX, M_MIN};

/// Links per node of a plain `hnsw`.
const M_DEFAULT: usize = 16;

/// Which shape to build. `Display` and `FromStr` are inverse to one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spec {
    /// Every search measures every row.
    Flat,
    /// A graph; `m` links per node and level, twice that on level 0.
    Hnsw {
        /// [`M_MIN`]..=[`M_MAX`].
        m: usize,
    },
}

impl Default for Spec {
    /// `hnsw` with 16 links per node.
    fn default() -> Self {
        Self::Hnsw { m: M_DEFAULT }
    }
}

/// A text that names no shape.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpecError {
    /// No shape of this name.
    #[error("unknown index '{0}': use flat, hnsw or hnsw with links per node, as hnsw32")]
    Unknown(String),
    /// A number of links that is not supported.
    #[error("index '{0}': links per node must be {M_MIN} to {M_MAX}")]
    Links(String),
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flat => f.write_str("flat"),
            Self::Hnsw { m: M_DEFAULT } => f.write_str("hnsw"),
            Self::Hnsw { m } => write!(f, "hnsw{m}"),
        }
    }
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let shown = || text.chars().take(32).collect();
        if text == "flat" {
            return Ok(Self::Flat);
        }
        let links = text.strip_prefix("hnsw").ok_or_else(|| SpecError::Unknown(shown()))?;
        if links.is_empty() {
            return Ok(Self::default());
        }
        if !links.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SpecError::Unknown(shown()));
        }
        let m = links.parse().ok().filter(|m| (M_MIN..=M_MAX).contains(m));
        m.map(|m| Self::Hnsw { m }).ok_or_else(|| SpecError::Links(shown()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for text in ["flat", "hnsw", "hnsw4", "hnsw32", "hnsw128"] {
            assert_eq!(text.parse::<Spec>().unwrap().to_string(), text);
        }
        assert_eq!("hnsw16".parse(), Ok(Spec::default()));
    }

    #[test]
    fn refusals_say_what_exists() {
        for text in ["", "Flat", "ivf", "hnsw-8", "hnsw+8", "hnsw16,flat"] {
            assert!(matches!(text.parse::<Spec>(), Err(SpecError::Unknown(_))), "{text}");
        }
        for text in ["hnsw0", "hnsw3", "hnsw129", "hnsw99999999999999999999999"] {
            let error = text.parse::<Spec>().unwrap_err();
            assert!(error.to_string().contains("4 to 128"), "{error}");
        }
    }
}
