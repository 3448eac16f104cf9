//! A weight as it is held in memory: full precision or coded.

use kvant_kernels::Matrix;
use kvant_quant::Coded;
use kvant_storage::Bytes;

use crate::checkpoint::{Content, decode};

/// A tensor in f32, mapped from its file where the file allows it.
#[derive(Clone, Debug)]
pub struct Dense {
    shape: Vec<usize>,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    Mapped(Bytes),
    Owned(Vec<f32>),
}

impl Dense {
    /// A tensor of the given shape (slowest dimension first).
    ///
    /// # Panics
    /// If `values` does not hold exactly the product of `shape`.
    pub fn owned(shape: Vec<usize>, values: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "values do not fill the shape");
        Self { shape, values: Values::Owned(values) }
    }

    /// A tensor over little-endian f32 bytes; copied only if they are not aligned.
    pub(crate) fn mapped(shape: Vec<usize>, bytes: &Bytes) -> Self {
        assert_eq!(shape.iter().product::<usize>() * 4, bytes.len(), "bytes do not fill the shape");
        let values = if bytes.as_f32().is_some() {
            Values::Mapped(bytes.clone())
        } else {
            Values::Owned(decode(Content::Float32, bytes))
        };
        Self { shape, values }
    }

    /// Dimensions, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The first dimension; 1 for vectors and scalars.
    pub fn rows(&self) -> usize {
        matrix_shape(&self.shape).0
    }

    /// The product of all dimensions but the first; the length of a vector.
    pub fn cols(&self) -> usize {
        matrix_shape(&self.shape).1
    }

    /// All values, row-major.
    pub fn values(&self) -> &[f32] {
        match &self.values {
            Values::Mapped(bytes) => bytes.as_f32().unwrap_or_default(),
            Values::Owned(values) => values,
        }
    }

    /// The values as `rows × cols`.
    pub fn matrix(&self) -> Matrix<'_, f32> {
        Matrix::new(self.values(), self.rows(), self.cols())
    }

    /// Row `row`, `cols` values.
    pub fn row(&self, row: usize) -> &[f32] {
        let cols = self.cols();
        &self.values()[row * cols..(row + 1) * cols]
    }
}

/// Rows and columns of a tensor seen as a matrix.
pub(crate) fn matrix_shape(shape: &[usize]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        [n] => (1, *n),
        [rows, rest @ ..] => (*rows, rest.iter().product()),
    }
}

/// A weight in the form the file holds it.
#[derive(Clone, Debug)]
pub enum Weight {
    /// Full precision.
    Dense(Dense),
    /// Codes and scales.
    Coded(Coded),
}

impl Weight {
    /// Outputs of a linear layer, or entries of a table.
    pub fn rows(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.rows(),
            Self::Coded(coded) => coded.rows(),
        }
    }

    /// Inputs of a linear layer, or length of an entry.
    pub fn cols(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.cols(),
            Self::Coded(coded) => coded.cols(),
        }
    }

    /// Bytes of the values and their scales.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.values().len() * 4,
            Self::Coded(coded) => coded.size_bytes(),
        }
    }

    /// Writes row `row` in f32.
    ///
    /// # Panics
    /// If `row` is out of range or `out` is not `cols` long.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        match self {
            Self::Dense(dense) => out.copy_from_slice(dense.row(row)),
            Self::Coded(coded) => coded.decode_row(row, out),
        }
    }
}
