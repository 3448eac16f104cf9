//! The names of the ways to encode a matrix.

use std::fmt;
use std::str::FromStr;

use kvant_kernels::Matrix;

use crate::{BlockFormat, BlockMatrix, Coded, EncodeError, Int8Matrix, LinearMatrix, SchemeError};

/// A way to encode a weight matrix. `Display` and `FromStr` are inverse of one another.
///
/// ```
/// use kvant_quant::Scheme;
///
/// assert_eq!("linear4".parse(), Ok(Scheme::Linear { bits: 4 }));
/// assert_eq!(Scheme::Q8_0.to_string(), "q8_0");
/// assert!("int3".parse::<Scheme>().unwrap_err().to_string().contains("q4_0"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `int8`: symmetric, one f32 scale per row ([`Int8Matrix`]).
    Int8,
    /// `linear2` to `linear8`: minimum and step per group of 64, at 8 bits per row
    /// ([`LinearMatrix`]).
    Linear {
        /// Bits per code, 2 to 8.
        bits: u8,
    },
    /// `q4_0`: ggml blocks of 32 codes of 4 bits and one f16 scale.
    Q4_0,
    /// `q8_0`: ggml blocks of 32 codes of 8 bits and one f16 scale.
    Q8_0,
}

const KNOWN: &str =
    "int8, linear2, linear3, linear4, linear5, linear6, linear7, linear8, q4_0, q8_0";

impl Scheme {
    /// Every scheme, in the order of the list that [`SchemeError`] prints.
    pub const ALL: [Self; 10] = [
        Self::Int8,
        Self::Linear { bits: 2 },
        Self::Linear { bits: 3 },
        Self::Linear { bits: 4 },
        Self::Linear { bits: 5 },
        Self::Linear { bits: 6 },
        Self::Linear { bits: 7 },
        Self::Linear { bits: 8 },
        Self::Q4_0,
        Self::Q8_0,
    ];

    /// Encodes `w` (one row per output), to nearest. One pass over the weights, `O(rows · cols)`.
    ///
    /// # Errors
    /// [`EncodeError`] when a value is NaN or infinite, when the rows are no whole blocks
    /// (`q4_0`, `q8_0`), or when a number is past what the scheme's scales express.
    pub fn encode(&self, w: Matrix<'_, f32>) -> Result<Coded, EncodeError> {
        refuse_not_finite(w)?;
        Ok(match *self {
            Self::Int8 => Coded::Int8(Int8Matrix::encode(w)?),
            Self::Linear { bits } => Coded::Linear(LinearMatrix::encode(w, bits)?),
            Self::Q4_0 => Coded::Block(BlockMatrix::encode_q4_0(w)?),
            Self::Q8_0 => Coded::Block(BlockMatrix::encode_q8_0(w)?),
        })
    }

    /// The scheme that writes blocks of `format`, if there is one.
    pub fn of_block(format: BlockFormat) -> Option<Self> {
        match format {
            BlockFormat::Q4_0 => Some(Self::Q4_0),
            BlockFormat::Q8_0 => Some(Self::Q8_0),
            BlockFormat::Q4_1 | BlockFormat::Q5_0 | BlockFormat::Q5_1 => None,
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
        match self {
            Self::Int8 => f.pad("int8"),
            Self::Linear { bits } => f.pad(&format!("linear{bits}")),
            Self::Q4_0 => f.pad("q4_0"),
            Self::Q8_0 => f.pad("q8_0"),
        }
    }
}

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.to_string() == text)
            .ok_or_else(|| SchemeError { name: text.to_owned(), known: KNOWN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_and_is_listed() {
        let names: Vec<String> = Scheme::ALL.iter().map(Scheme::to_string).collect();
        assert_eq!(names.join(", "), KNOWN);
        for (scheme, name) in Scheme::ALL.iter().zip(&names) {
            assert_eq!(name.parse::<Scheme>(), Ok(*scheme));
        }
    }

    #[test]
    fn other_names_are_refused_with_the_list() {
        for name in ["", "INT8", "linear", "linear1", "linear9", "linear04", "q4_1", " int8"] {
            let error = name.parse::<Scheme>().unwrap_err();
            assert_eq!((error.name.as_str(), error.known), (name, KNOWN));
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused_by_every_scheme() {
        for scheme in Scheme::ALL {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut w = vec![0.5f32; 3 * 64];
                w[64 + 7] = bad;
                let error = scheme.encode(Matrix::new(&w, 3, 64)).unwrap_err();
                assert!(matches!(error, EncodeError::NotFinite { row: 1, col: 7, .. }), "{error}");
            }
        }
    }

    #[test]
    fn bits_outside_two_to_eight_are_refused() {
        for bits in [0, 1, 9, 255] {
            let error = Scheme::Linear { bits }.encode(Matrix::new(&[1.0], 1, 1)).unwrap_err();
            assert_eq!(error, EncodeError::Bits { bits });
        }
    }
}
