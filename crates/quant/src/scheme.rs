//! The names of the ways to encode a matrix.

mod span;

use std::fmt;
use std::str::FromStr;

use kvant_kernels::Matrix;

pub use span::Span;

use crate::{
    BlockFormat, BlockMatrix, Coded, EncodeError, Fit, Int8Matrix, LinearMatrix, ScaledMatrix,
    SchemeError,
};

/// What codes and scales look like: the levels, their number, and how many weights share a scale.
/// How codes are *chosen* is not part of it. `Display` and `FromStr` are inverse of one another;
/// a name without a [`Span`] gets the one of its family.
///
/// ```
/// use kvant_quant::{BlockFormat, Scheme, Span};
///
/// assert_eq!("linear4".parse(), Ok(Scheme::Linear { bits: 4, span: Span::Group(32) }));
/// assert_eq!("linear4:g32".parse(), "linear4".parse::<Scheme>());
/// assert_eq!("linear8:channel".parse(), Ok(Scheme::Linear { bits: 8, span: Span::Channel }));
/// assert_eq!("int8:g64".parse(), "sym8:g64".parse::<Scheme>());
/// assert_eq!(Scheme::Block(BlockFormat::Q8_0).to_string(), "q8_0");
/// assert!("int3".parse::<Scheme>().unwrap_err().to_string().contains("q4_0"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `int8`: symmetric, one f32 scale per row ([`Int8Matrix`]).
    Int8,
    /// `linear2` to `linear8`: minimum and step per span ([`LinearMatrix`]).
    Linear {
        /// Bits per code, 2 to 8.
        bits: u8,
        /// Weights that share minimum and step.
        span: Span,
    },
    /// `sym2` to `sym8`: integers around zero, a scale per span ([`ScaledMatrix`]).
    Sym {
        /// Bits per code, 2 to 8.
        bits: u8,
        /// Weights that share a scale.
        span: Span,
    },
    /// `affine2` to `affine8`: integers with a scale and a zero point per span
    /// ([`ScaledMatrix`]).
    Affine {
        /// Bits per code, 2 to 8.
        bits: u8,
        /// Weights that share scale and zero point.
        span: Span,
    },
    /// `q4_0`, `q8_0`, …: the blocks of ggml ([`BlockMatrix`]).
    Block(BlockFormat),
}

/// Weights per group where a name does not say.
const GROUP: Span = Span::Group(32);

const KNOWN: &str = "int8, linear2 to linear8, sym2 to sym8, affine2 to affine8, q4_0, q4_1, \
                     q5_0, q5_1, q8_0, iq4_nl, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_xs; behind \
                     int8 and those that end in a number of bits may stand :tensor, :channel or \
                     :g and the weights of a group, as linear4:g64";

impl Scheme {
    /// One scheme of every family and number of bits, with the span of its family. Not among
    /// them: `mxfp4`, which is a name and is read, but not written.
    pub const ALL: [Self; 34] = [
        Self::Int8,
        Self::Linear { bits: 2, span: GROUP },
        Self::Linear { bits: 3, span: GROUP },
        Self::Linear { bits: 4, span: GROUP },
        Self::Linear { bits: 5, span: GROUP },
        Self::Linear { bits: 6, span: GROUP },
        Self::Linear { bits: 7, span: GROUP },
        Self::Linear { bits: 8, span: GROUP },
        Self::Sym { bits: 2, span: GROUP },
        Self::Sym { bits: 3, span: GROUP },
        Self::Sym { bits: 4, span: GROUP },
        Self::Sym { bits: 5, span: GROUP },
        Self::Sym { bits: 6, span: GROUP },
        Self::Sym { bits: 7, span: GROUP },
        Self::Sym { bits: 8, span: GROUP },
        Self::Affine { bits: 2, span: GROUP },
        Self::Affine { bits: 3, span: GROUP },
        Self::Affine { bits: 4, span: GROUP },
        Self::Affine { bits: 5, span: GROUP },
        Self::Affine { bits: 6, span: GROUP },
        Self::Affine { bits: 7, span: GROUP },
        Self::Affine { bits: 8, span: GROUP },
        Self::Block(BlockFormat::Q4_0),
        Self::Block(BlockFormat::Q4_1),
        Self::Block(BlockFormat::Q5_0),
        Self::Block(BlockFormat::Q5_1),
        Self::Block(BlockFormat::Q8_0),
        Self::Block(BlockFormat::IQ4_NL),
        Self::Block(BlockFormat::Q2_K),
        Self::Block(BlockFormat::Q3_K),
        Self::Block(BlockFormat::Q4_K),
        Self::Block(BlockFormat::Q5_K),
        Self::Block(BlockFormat::Q6_K),
        Self::Block(BlockFormat::IQ4_XS),
    ];

    /// Rows are a multiple of this many columns: 1, 32 or 256.
    pub const fn whole_cols(&self) -> usize {
        match self {
            Self::Block(format) => format.weights_per_block(),
            Self::Int8 | Self::Linear { .. } | Self::Sym { .. } | Self::Affine { .. } => 1,
        }
    }

    /// Encodes `w` (one row per output): ranges from minimum to maximum, every weight to the
    /// nearest level. One pass over the weights, `O(rows · cols)`.
    ///
    /// # Errors
    /// [`EncodeError`] when a value is NaN or infinite, when the rows are no whole blocks, or
    /// when a number is past what the scheme's scales express.
    pub fn encode(&self, w: Matrix<'_, f32>) -> Result<Coded, EncodeError> {
        refuse_not_finite(w)?;
        Ok(match *self {
            Self::Int8 => Coded::Int8(Int8Matrix::encode(w)?),
            Self::Linear { bits, span } => Coded::Linear(LinearMatrix::encode(w, bits, span)?),
            Self::Sym { .. } | Self::Affine { .. } => {
                Coded::Scaled(ScaledMatrix::encode(w, *self)?)
            }
            Self::Block(format) => Coded::Block(BlockMatrix::encode(w, format)?),
        })
    }

    /// Fits the scales to `w` and rounds every weight to the nearest level. To choose the codes
    /// otherwise, take the [`Coded::grid`] of the result and hand other codes to
    /// [`Coded::set_codes`].
    ///
    /// # Errors
    /// As [`Scheme::encode`].
    ///
    /// # Panics
    /// If there is not one importance per column.
    pub fn fit(&self, w: Matrix<'_, f32>, fit: &Fit<'_>) -> Result<Coded, EncodeError> {
        if let Some(importance) = fit.importance {
            assert_eq!(importance.len(), w.cols(), "one importance per column");
        }
        match *self {
            Self::Block(format) => {
                refuse_not_finite(w)?;
                BlockMatrix::fit(w, format, fit).map(Coded::Block)
            }
            Self::Int8 | Self::Linear { .. } | Self::Sym { .. } | Self::Affine { .. } => {
                self.encode(w)
            }
        }
    }
}

fn refuse_not_finite(w: Matrix<'_, f32>) -> Result<(), EncodeError> {
    for row in 0..w.rows() {
        if let Some(col) = w.row(row).iter().position(|v| !v.is_finite()) {
            return Err(EncodeError::NotFinite { row, col, value: w.row(row)[col] });
        }
    }
    Ok(())
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spanned = |name: &str, bits: u8, span: Span| match span {
            GROUP => format!("{name}{bits}"),
            Span::Tensor | Span::Channel | Span::Group(_) => format!("{name}{bits}:{span}"),
        };
        f.pad(&match *self {
            Self::Int8 => "int8".to_owned(),
            Self::Linear { bits, span } => spanned("linear", bits, span),
            Self::Sym { bits, span } => spanned("sym", bits, span),
            Self::Affine { bits, span } => spanned("affine", bits, span),
            Self::Block(format) => format.to_string(),
        })
    }
}

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        parse(text).ok_or_else(|| SchemeError { name: text.to_owned(), known: KNOWN })
    }
}

fn parse(text: &str) -> Option<Scheme> {
    let (name, span) = match text.split_once(':') {
        Some((name, span)) => (name, Some(span.parse::<Span>().ok()?)),
        None => (text, None),
    };
    match (name, span) {
        ("int8", None | Some(Span::Channel)) => return Some(Scheme::Int8),
        ("int8", Some(span)) => return Some(Scheme::Sym { bits: 8, span }),
        (_, None) => {
            if let Ok(format) = name.parse() {
                return Some(Scheme::Block(format));
            }
        }
        _ => {}
    }
    let span = span.unwrap_or(GROUP);
    let bits = |family| name.strip_prefix(family).and_then(digit);
    bits("linear")
        .map(|bits| Scheme::Linear { bits, span })
        .or_else(|| bits("sym").map(|bits| Scheme::Sym { bits, span }))
        .or_else(|| bits("affine").map(|bits| Scheme::Affine { bits, span }))
}

/// A number of bits, 2 to 8, as one digit.
fn digit(text: &str) -> Option<u8> {
    let &[digit @ b'2'..=b'8'] = text.as_bytes() else { return None };
    Some(digit - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for scheme in Scheme::ALL {
            assert_eq!(scheme.to_string().parse::<Scheme>(), Ok(scheme));
        }
        for bits in 2..=8 {
            for span in [Span::Tensor, Span::Channel, Span::Group(1), Span::Group(77)] {
                let schemes = [
                    Scheme::Linear { bits, span },
                    Scheme::Sym { bits, span },
                    Scheme::Affine { bits, span },
                ];
                for scheme in schemes {
                    assert_eq!(scheme.to_string().parse::<Scheme>(), Ok(scheme));
                }
            }
        }
        assert_eq!("int8:channel".parse(), Ok(Scheme::Int8));
    }

    #[test]
    fn other_names_are_refused_with_the_list() {
        let wrong = [
            "",
            "INT8",
            "linear",
            "linear1",
            "linear9",
            "linear04",
            " int8",
            "linear4:",
            "q4_0:g32",
            "linear4:g0",
            "linear4:g",
            "linear4:row",
            "linear4:g-1",
            "linear4:g99999999999999999999",
        ];
        for name in wrong {
            let error = name.parse::<Scheme>().unwrap_err();
            assert_eq!((error.name.as_str(), error.known), (name, KNOWN));
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused_by_every_scheme() {
        for scheme in Scheme::ALL {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut w = vec![0.5f32; 3 * 256];
                w[256 + 7] = bad;
                let error = scheme.encode(Matrix::new(&w, 3, 256)).unwrap_err();
                assert!(matches!(error, EncodeError::NotFinite { row: 1, col: 7, .. }), "{error}");
            }
        }
    }

    #[test]
    fn bits_outside_two_to_eight_are_refused() {
        for bits in [0, 1, 9, 255] {
            let scheme = Scheme::Linear { bits, span: GROUP };
            let error = scheme.encode(Matrix::new(&[1.0], 1, 1)).unwrap_err();
            assert_eq!(error, EncodeError::Bits { bits });
        }
    }
}
