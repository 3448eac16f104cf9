//! Centroids in bytes: which lists are near a query.

use kvant_kernels::{Matrix, MatrixMut, PackedI8, RowsI8, kernels};

use crate::code::int8::Int8Rows;
use crate::{CodeError, FloatRows, Metric, Row, Rows, Scorer};

/// Centroids to be measured by a query: in the order of distances, not by distances themselves.
#[derive(Debug)]
pub(super) enum Near {
    /// `‖ĉ‖²/2 − ⟨q̂, ĉ⟩`, or the product alone, both sides rounded to 8 bits.
    Products { packed: PackedI8, half_squares: Vec<f32> },
    /// Distances of bytes.
    Gaps(Int8Rows),
}

impl Near {
    /// Of `centroids`.
    ///
    /// # Errors
    /// If a value is not finite.
    pub(super) fn new(
        centroids: &[f32],
        (metric, dim): (Metric, usize),
    ) -> Result<Self, CodeError> {
        let rows = FloatRows::new(centroids, dim, metric);
        crate::code::check_rows(&rows)?;
        if metric == Metric::Manhattan {
            return Int8Rows::encode(&rows).map(Self::Gaps);
        }
        let (mut codes, mut scales) = (Vec::with_capacity(centroids.len()), Vec::new());
        let mut half_squares = Vec::new();
        for row in centroids.chunks_exact(dim) {
            let largest = row.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
            let from = codes.len();
            // Negated: the nearest has the least.
            codes.extend(row.iter().map(|x| (-x / scale).round().clamp(-127.0, 127.0) as i8));
            let whole: i64 = codes[from..].iter().map(|&c| i64::from(c) * i64::from(c)).sum();
            let square = f64::from(scale).powi(2) * whole as f64;
            half_squares.push(if metric == Metric::Euclid { (square / 2.0) as f32 } else { 0.0 });
            scales.push(scale);
        }
        let packed = PackedI8::new(Matrix::new(&codes, scales.len(), dim), &scales);
        Ok(Self::Products { packed, half_squares })
    }

    /// What orders the centroids for each query, one value for each centroid.
    pub(super) fn measure(&self, queries: &[&[f32]]) -> Vec<f32> {
        match self {
            Self::Products { packed, half_squares } => {
                let (rows, lists) = (queries.len(), half_squares.len());
                let mut codes = RowsI8::default();
                codes.reset(rows, packed.k());
                for (at, query) in queries.iter().enumerate() {
                    kernels().quantize_row(query, at, &mut codes);
                }
                let mut out = vec![0.0; rows * lists];
                let to = MatrixMut::new(&mut out, rows, lists);
                kernels().gemm_i8(&codes, packed, Some(half_squares), to);
                out
            }
            Self::Gaps(rows) => {
                let numbers: Vec<Row> = (0..rows.len() as u32).map(Row).collect();
                let mut out = vec![0.0; queries.len() * numbers.len()];
                for (query, out) in queries.iter().zip(out.chunks_exact_mut(numbers.len())) {
                    rows.scorer(query).score(&numbers, out);
                }
                out
            }
        }
    }
}
