//! A format and the method that chooses its codes.

use std::fmt;
use std::str::FromStr;

use kvant_quant::{Scheme, SchemeError};

use crate::{Method, NameError};

/// `FORMAT[:SPAN][@METHOD]`, as `iq4_nl@gptq` or `linear4:g64`.
///
/// ```
/// use kvant_compress::{Method, Quantizer};
///
/// let quantizer: Quantizer = "linear4:g64@search".parse()?;
/// assert_eq!(quantizer.method, Some(Method::Search));
/// assert_eq!(quantizer.to_string(), "linear4:g64@search");
/// assert_eq!("int8".parse::<Quantizer>()?.method, None);
/// assert!("int8@best".parse::<Quantizer>().is_err());
/// # Ok::<(), kvant_compress::QuantizerError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quantizer {
    /// What codes and scales look like.
    pub scheme: Scheme,
    /// How they are chosen; `None`: the best that the given data allow.
    pub method: Option<Method>,
}

/// Why a text is no [`Quantizer`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantizerError {
    /// The part before `@`.
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    /// The part behind it.
    #[error(transparent)]
    Method(#[from] NameError),
}

impl Quantizer {
    /// Whether it does nothing without a calibration.
    pub fn needs_data(&self) -> bool {
        self.method.is_some_and(Method::needs_data)
    }

    /// The method to use: the one asked for, else `gptq` with a calibration and `search` without.
    pub fn resolve(&self, calibrated: bool) -> Method {
        self.method.unwrap_or(if calibrated { Method::Gptq } else { Method::Search })
    }
}

impl From<Scheme> for Quantizer {
    fn from(scheme: Scheme) -> Self {
        Self { scheme, method: None }
    }
}

impl fmt::Display for Quantizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method {
            Some(method) => f.pad(&format!("{}@{method}", self.scheme)),
            None => self.scheme.fmt(f),
        }
    }
}

impl FromStr for Quantizer {
    type Err = QuantizerError;

    fn from_str(text: &str) -> Result<Self, QuantizerError> {
        let (scheme, method) = match text.split_once('@') {
            Some((scheme, method)) => (scheme, Some(method.parse()?)),
            None => (text, None),
        };
        Ok(Self { scheme: scheme.parse()?, method })
    }
}
