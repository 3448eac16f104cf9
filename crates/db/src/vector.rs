//! What a point carries to be found by: one or several named vectors.

use std::collections::BTreeMap;

use kvant_index::Sparse;

use crate::limits::{DIM_MAX, MULTI_ROWS_MAX, SPARSE_VALUES_MAX};

/// The vectors of a point by name; the one without a name is called `""`.
pub type Vectors = BTreeMap<String, Vector>;

/// One vector.
#[derive(Clone, Debug, PartialEq)]
pub enum Vector {
    /// As many finite components as the collection says.
    Dense(Vec<f32>),
    /// Values at some of 2^32 indices; the others are zero.
    Sparse(Sparse),
    /// Several dense vectors, of which the closest counts for each of a query.
    Multi(Multi),
}

/// Several vectors of one dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Multi {
    dim: usize,
    data: Vec<f32>,
}

/// Why a vector is not taken, whatever the collection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VectorError {
    /// NaN or infinite.
    #[error("component {position} is not a finite number")]
    NotFinite {
        /// The component, from 0.
        position: usize,
    },
    /// No components, or more than are allowed.
    #[error("{got} components, expected 1 to {max}")]
    Length {
        /// Components.
        got: usize,
        /// Most that are allowed.
        max: usize,
    },
    /// Rows of a multi-vector that differ in length.
    #[error("row {row} has {got} components, the first row has {expected}")]
    Ragged {
        /// The row, from 0.
        row: usize,
        /// Its components.
        got: usize,
        /// Those of the first.
        expected: usize,
    },
    /// An index of a sparse vector that is there twice, or values for other indices.
    #[error("{indices} indices for {values} values, each index once: expected as many of both")]
    Sparse {
        /// Different indices.
        indices: usize,
        /// Values.
        values: usize,
    },
    /// Another kind of vector than the collection has there.
    #[error("a {got} vector, expected a {expected} one")]
    Kind {
        /// The kind wanted.
        expected: &'static str,
        /// The kind there is.
        got: &'static str,
    },
    /// Another dimension than the collection has there.
    #[error("dimension {got}, expected {expected}")]
    Dim {
        /// The dimension wanted.
        expected: usize,
        /// The dimension there is.
        got: usize,
    },
}

impl Multi {
    /// Rows of one length, at least one of at least one component.
    ///
    /// # Errors
    /// [`VectorError::Length`], [`VectorError::Ragged`].
    pub fn new(rows: &[Vec<f32>]) -> Result<Self, VectorError> {
        let dim = rows.first().map_or(0, Vec::len);
        if rows.is_empty() || rows.len() > MULTI_ROWS_MAX {
            return Err(VectorError::Length { got: rows.len(), max: MULTI_ROWS_MAX });
        }
        for (row, values) in rows.iter().enumerate() {
            if values.len() != dim {
                return Err(VectorError::Ragged { row, got: values.len(), expected: dim });
            }
        }
        Self::of(dim, rows.concat()).ok_or(VectorError::Length { got: dim, max: DIM_MAX })
    }

    /// `data` is row-major; `None` unless it is whole rows, at least one.
    pub(crate) fn of(dim: usize, data: Vec<f32>) -> Option<Self> {
        let whole =
            (1..=DIM_MAX).contains(&dim) && !data.is_empty() && data.len().is_multiple_of(dim);
        whole.then_some(Self { dim, data })
    }

    /// Components of each.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The vectors one after the other.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Each of them.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.data.chunks_exact(self.dim)
    }

    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.data.chunks_exact_mut(self.dim)
    }
}

impl Vector {
    /// Its kind, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dense(_) => "dense",
            Self::Sparse(_) => "sparse",
            Self::Multi(_) => "multi-vector",
        }
    }

    /// Indices and values of a sparse vector, in any order.
    ///
    /// # Errors
    /// [`VectorError`].
    pub fn sparse(indices: &[u32], values: &[f32]) -> Result<Self, VectorError> {
        let wrong = || VectorError::Sparse { indices: indices.len(), values: values.len() };
        if indices.len() != values.len() {
            return Err(wrong());
        }
        if indices.len() > SPARSE_VALUES_MAX {
            return Err(VectorError::Length { got: indices.len(), max: SPARSE_VALUES_MAX });
        }
        finite(values)?;
        let pairs = indices.iter().copied().zip(values.iter().copied()).collect();
        Sparse::new(pairs).map(Self::Sparse).ok_or_else(wrong)
    }

    /// Whether every component is finite.
    ///
    /// # Errors
    /// [`VectorError::NotFinite`] with the first that is not.
    pub fn check(&self) -> Result<(), VectorError> {
        match self {
            Self::Dense(values) => finite(values),
            Self::Sparse(sparse) => finite(sparse.values()),
            Self::Multi(multi) => finite(&multi.data),
        }
    }
}

fn finite(values: &[f32]) -> Result<(), VectorError> {
    match values.iter().position(|x| !x.is_finite()) {
        Some(position) => Err(VectorError::NotFinite { position }),
        None => Ok(()),
    }
}
