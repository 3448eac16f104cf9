//! An encoded matrix in any of the formats.

use std::fmt;

use crate::{
    BlockMatrix, CodebookMatrix, Float4Matrix, Grid, Int8Matrix, LinearMatrix, ScaledMatrix, Scheme,
};

/// An encoded weight matrix: one row per output, as the f32 matrix it came from.
#[derive(Clone, Debug, PartialEq)]
pub enum Coded {
    /// Symmetric int8, one scale per row.
    Int8(Int8Matrix),
    /// Minimum and step per group.
    Linear(LinearMatrix),
    /// Integer codes with a scale, and for some a zero point, per span.
    Scaled(ScaledMatrix),
    /// Four-bit tables over blocks of the flattened matrix.
    Float4(Float4Matrix),
    /// Levels fitted to the weights.
    Codebook(CodebookMatrix),
    /// Blocks of 32 or 256 weights as ggml stores them.
    Block(BlockMatrix),
}

impl Coded {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Int8(m) => m.rows(),
            Self::Linear(m) => m.shape().rows,
            Self::Scaled(m) => m.shape().rows,
            Self::Float4(m) => m.shape().rows,
            Self::Codebook(m) => m.shape().rows,
            Self::Block(m) => m.rows(),
        }
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        match self {
            Self::Int8(m) => m.cols(),
            Self::Linear(m) => m.shape().cols,
            Self::Scaled(m) => m.shape().cols,
            Self::Float4(m) => m.shape().cols,
            Self::Codebook(m) => m.shape().cols,
            Self::Block(m) => m.cols(),
        }
    }

    /// The scheme of this format.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Int8(_) => Scheme::Int8,
            Self::Linear(m) => m.scheme(),
            Self::Scaled(m) => m.scheme(),
            Self::Float4(m) => m.scheme(),
            Self::Codebook(m) => m.shape().scheme(),
            Self::Block(m) => Scheme::Block(m.format()),
        }
    }

    /// The name of the format: `int8`, `linear4`, `q4_1`, …
    pub fn format(&self) -> String {
        self.scheme().to_string()
    }

    /// Bytes of the codes and of everything needed to decode them, as stored.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Int8(m) => m.size_bytes(),
            Self::Linear(m) => m.size_bytes(),
            Self::Scaled(m) => m.size_bytes(),
            Self::Float4(m) => m.size_bytes(),
            Self::Codebook(m) => m.size_bytes(),
            Self::Block(m) => m.size_bytes(),
        }
    }

    /// Stored bits per weight, scales included; 0 for an empty matrix.
    pub fn bits_per_weight(&self) -> f64 {
        let weights = self.rows() as f64 * self.cols() as f64;
        if weights == 0.0 { 0.0 } else { self.size_bytes() as f64 * 8.0 / weights }
    }

    /// Restores row `row` into `out`.
    ///
    /// # Panics
    /// If there is no such row, or `out` does not hold exactly [`Coded::cols`] values.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        match self {
            Self::Int8(m) => m.decode_row(row, out),
            Self::Linear(m) => m.decode_row(row, out),
            Self::Scaled(m) => m.decode_row(row, out),
            Self::Float4(m) => m.decode_row(row, out),
            Self::Codebook(m) => m.decode_row(row, out),
            Self::Block(m) => m.decode_row(row, out),
        }
    }

    /// The rows `order[0]`, `order[1]`, … as a matrix of their own, codes and scales unchanged.
    ///
    /// # Panics
    /// If a row is not there.
    #[must_use]
    pub fn select_rows(&self, order: &[usize]) -> Self {
        match self {
            Self::Int8(m) => Self::Int8(m.select_rows(order)),
            Self::Linear(m) => Self::Linear(m.select_rows(order)),
            Self::Scaled(m) => Self::Scaled(m.select_rows(order)),
            Self::Float4(m) => Self::Float4(m.select_rows(order)),
            Self::Codebook(m) => Self::Codebook(m.select_rows(order)),
            Self::Block(m) => Self::Block(m.select_rows(order)),
        }
    }

    /// The levels among which each weight was chosen: exactly the values that
    /// [`Coded::decode_row`] restores.
    pub fn grid(&self) -> Grid {
        match self {
            Self::Int8(m) => m.grid(),
            Self::Linear(m) => m.grid(),
            Self::Scaled(m) => m.grid(),
            Self::Float4(m) => m.grid(),
            Self::Codebook(m) => m.grid(),
            Self::Block(m) => m.grid(),
        }
    }

    /// The codes as indices into the levels of [`Coded::grid`], row-major.
    pub fn codes(&self) -> Vec<u8> {
        match self {
            Self::Int8(m) => m.grid_codes(),
            Self::Linear(m) => m.grid_codes(),
            Self::Scaled(m) => m.grid_codes(),
            Self::Float4(m) => m.grid_codes(),
            Self::Codebook(m) => m.grid_codes(),
            Self::Block(m) => m.grid_codes(),
        }
    }

    /// Replaces the codes; scales stay.
    ///
    /// # Panics
    /// If there is not one code per weight, row-major, each below [`Grid::count`].
    pub fn set_codes(&mut self, codes: &[u8]) {
        assert_eq!(codes.len(), self.rows() * self.cols(), "one code per weight");
        match self {
            Self::Int8(m) => m.set_grid_codes(codes),
            Self::Linear(m) => m.set_grid_codes(codes),
            Self::Scaled(m) => m.set_grid_codes(codes),
            Self::Float4(m) => m.set_grid_codes(codes),
            Self::Codebook(m) => m.set_grid_codes(codes),
            Self::Block(m) => m.set_grid_codes(codes),
        }
    }

    /// Restores all rows, row-major. Allocates `rows · cols` floats.
    pub fn decode(&self) -> Vec<f32> {
        let (rows, cols) = (self.rows(), self.cols());
        let mut out = vec![0.0; rows * cols];
        if cols > 0 {
            for (row, values) in out.chunks_exact_mut(cols).enumerate() {
                self.decode_row(row, values);
            }
        }
        out
    }
}

/// The rows `order` of a row-major table whose rows are `width` long.
pub(crate) fn gather<T: Copy>(table: &[T], width: usize, order: &[usize]) -> Vec<T> {
    let rows = order.iter().flat_map(|&row| &table[row * width..(row + 1) * width]);
    rows.copied().collect()
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} x {}", self.format(), self.rows(), self.cols())
    }
}
