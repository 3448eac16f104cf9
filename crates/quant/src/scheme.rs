//! The names of the ways to encode a matrix.

mod name;
mod span;

use kvant_kernels::Matrix;

pub use span::Span;

use crate::scaled::Zeros;
use crate::{
    BlockFormat, BlockMatrix, Books, CodeShape, CodebookMatrix, CodebookShape, Coded, EncodeError,
    Filling, Fit, Float4, Float4Matrix, Float4Shape, Int8Matrix, LinearMatrix, ScaledMatrix,
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
    /// `nf4`, `fp4`, and with doubly quantized scales `nf4dq`, `fp4dq`: the tables of
    /// bitsandbytes ([`Float4Matrix`]).
    Float4 {
        /// The table of levels.
        format: Float4,
        /// Weights that share a scale.
        block: usize,
        /// Whether the scales are quantized once more.
        double: bool,
    },
    /// `kmeans2` to `kmeans8`, `quantile2` to `quantile8`: levels fitted to the weights
    /// ([`CodebookMatrix`]).
    Codebook {
        /// How the levels are chosen.
        filling: Filling,
        /// Bits per code, 2 to 8.
        bits: u8,
        /// Which weights share a codebook.
        books: Books,
    },
    /// `q4_0`, `q8_0`, …: the blocks of ggml ([`BlockMatrix`]).
    Block(BlockFormat),
}

/// Weights per group where a name does not say.
const GROUP: Span = Span::Group(32);
/// The same for the tables of bitsandbytes.
const BLOCK4: usize = 64;
/// The same for codebooks.
const BOOKS: Books = Books::Scaled(32);

impl Scheme {
    /// One scheme of every family and number of bits, with the span of its family. Not among
    /// them: `mxfp4`, which is a name and is read, but not written.
    pub const ALL: [Self; 52] = [
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
        Self::Float4 { format: Float4::Nf4, block: BLOCK4, double: false },
        Self::Float4 { format: Float4::Nf4, block: BLOCK4, double: true },
        Self::Float4 { format: Float4::Fp4, block: BLOCK4, double: false },
        Self::Float4 { format: Float4::Fp4, block: BLOCK4, double: true },
        Self::Codebook { filling: Filling::Kmeans, bits: 2, books: BOOKS },
        Self::Codebook { filling: Filling::Kmeans, bits: 3, books: BOOKS },
        Self::Codebook { filling: Filling::Kmeans, bits: 4, books: BOOKS },
        Self::Codebook { filling: Filling::Kmeans, bits: 5, books: BOOKS },
        Self::Codebook { filling: Filling::Kmeans, bits: 6, books: BOOKS },
        Self::Codebook { filling: Filling::Kmeans, bits: 7, books: BOOKS },
        Self::Codebook { filling: Filling::Kmeans, bits: 8, books: BOOKS },
        Self::Codebook { filling: Filling::Quantile, bits: 2, books: BOOKS },
        Self::Codebook { filling: Filling::Quantile, bits: 3, books: BOOKS },
        Self::Codebook { filling: Filling::Quantile, bits: 4, books: BOOKS },
        Self::Codebook { filling: Filling::Quantile, bits: 5, books: BOOKS },
        Self::Codebook { filling: Filling::Quantile, bits: 6, books: BOOKS },
        Self::Codebook { filling: Filling::Quantile, bits: 7, books: BOOKS },
        Self::Codebook { filling: Filling::Quantile, bits: 8, books: BOOKS },
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
            Self::Int8
            | Self::Linear { .. }
            | Self::Sym { .. }
            | Self::Affine { .. }
            | Self::Float4 { .. }
            | Self::Codebook { .. } => 1,
        }
    }

    /// Encodes `w` (one row per output): ranges from minimum to maximum, every weight to the
    /// nearest level. One pass over the weights, `O(rows · cols)`.
    ///
    /// # Errors
    /// [`EncodeError`] when a value is NaN or infinite, when the rows are no whole blocks, or
    /// when a number is past what the scheme's scales express.
    pub fn encode(&self, w: Matrix<'_, f32>) -> Result<Coded, EncodeError> {
        self.fit(w, &Fit::default())
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
        refuse_not_finite(w)?;
        let shape = |bits, span| CodeShape { rows: w.rows(), cols: w.cols(), bits, span };
        Ok(match *self {
            Self::Int8 => Coded::Int8(Int8Matrix::encode(w, fit)?),
            Self::Linear { bits, span } => {
                Coded::Linear(LinearMatrix::encode(w, shape(bits, span), fit)?)
            }
            Self::Sym { bits, span } => {
                Coded::Scaled(ScaledMatrix::encode(w, shape(bits, span), Zeros::Middle, fit)?)
            }
            Self::Affine { bits, span } => {
                Coded::Scaled(ScaledMatrix::encode(w, shape(bits, span), Zeros::Fitted, fit)?)
            }
            Self::Float4 { format, block, double } => {
                let shape = Float4Shape { rows: w.rows(), cols: w.cols(), format, block };
                Coded::Float4(Float4Matrix::encode(w, shape, double, fit)?)
            }
            Self::Codebook { filling, bits, books } => {
                let CodeShape { rows, cols, .. } = shape(bits, books.span());
                let shape = CodebookShape { rows, cols, bits, filling, books };
                Coded::Codebook(CodebookMatrix::encode(w, shape, fit)?)
            }
            Self::Block(format) => Coded::Block(BlockMatrix::fit(w, format, fit)?),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

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
