//! How large a model may become, or how much it may lose.

use std::fmt;
use std::str::FromStr;

/// A limit that a model is compressed to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Stored bits per weight over all weights of the model, scales included: `4.5bpw`.
    Bits(f64),
    /// Bytes of the weight files: `16MB` (10⁶ bytes), `900kB`, `1.2GB`.
    Bytes(u64),
    /// The mean cosine to the vectors of the uncompressed model that must be kept:
    /// `cosine=0.99`.
    Cosine(f64),
    /// The mean KL divergence from the uncompressed model's next-token distribution that may be
    /// reached, in nats: `kld=0.05`.
    Divergence(f64),
}

/// Why a text is no [`Budget`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no budget: write bits per weight as 4.5bpw, bytes of the weight files as 16MB, \
     kept quality as cosine=0.99 (encoders) or kld=0.05 (language models)"
)]
pub struct BudgetError {
    text: String,
}

impl Budget {
    /// Whether it limits the loss, not the size.
    pub fn is_quality(&self) -> bool {
        matches!(self, Self::Cosine(_) | Self::Divergence(_))
    }
}

impl FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, BudgetError> {
        parse(text.trim()).ok_or_else(|| BudgetError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Budget> {
    let number = |text: &str| {
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        text.parse::<f64>().ok().filter(|n| plain && n.is_finite() && *n > 0.0)
    };
    if let Some(cosine) = text.strip_prefix("cosine=") {
        return number(cosine).filter(|c| *c < 1.0).map(Budget::Cosine);
    }
    if let Some(kld) = text.strip_prefix("kld=") {
        return number(kld).map(Budget::Divergence);
    }
    if let Some(bits) = text.strip_suffix("bpw") {
        return number(bits.trim_end()).filter(|bits| *bits <= 32.0).map(Budget::Bits);
    }
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)];
    let (digits, unit) =
        units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    let bytes = number(digits.trim_end())? * unit;
    (bytes < 1e15).then_some(Budget::Bytes(bytes as u64))
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bits(bits) => write!(f, "{bits}bpw"),
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
            Self::Cosine(cosine) => write!(f, "cosine={cosine}"),
            Self::Divergence(kld) => write!(f, "kld={kld}"),
        }
    }
}
