//! A matrix to codes without carrying errors, and what it loses.

use kvant_kernels::{Matrix, MatrixMut, PackedF32, kernels};
use kvant_quant::{Coded, EncodeError, Fit, Observer, Scheme};

use super::hqq;
use crate::{Method, Moment};

/// What a method may go by beside the weights.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Data<'a> {
    /// What the matrix gets to see.
    pub(crate) moment: Option<&'a Moment>,
    /// How ranges are chosen; `None`: as the method does.
    pub(crate) observer: Option<Observer>,
}

/// Encodes `w` (one row per output) as `scheme`, every weight to the nearest level of ranges
/// that `method` starts from.
///
/// # Errors
/// As [`Scheme::fit`].
///
/// # Panics
/// If the moment is one of vectors of another length than the rows.
pub(crate) fn encode(
    w: Matrix<'_, f32>,
    scheme: Scheme,
    method: Method,
    data: &Data<'_>,
) -> Result<Coded, EncodeError> {
    let importance = data.moment.map(|moment| &moment.mean_square[..]);
    match (method, data.observer) {
        (Method::Rtn, None | Some(Observer::MinMax)) => scheme.encode(w),
        (_, observer) => {
            let fit = Fit { observer: observer.unwrap_or(Observer::Mse), importance };
            let mut coded = scheme.fit(w, &fit)?;
            if method == Method::Hqq {
                hqq::refine(w, &mut coded);
            }
            Ok(coded)
        }
    }
}

/// What a restored matrix loses on its inputs: `tr(ΔW·H·ΔWᵀ)` with `H` the mean of `x·xᵀ`, its
/// diagonal where no more is known, or 1.
pub(crate) fn loss(w: Matrix<'_, f32>, restored: &[f32], moment: Option<&Moment>) -> f64 {
    let (rows, cols) = (w.rows(), w.cols());
    let mut delta = Vec::with_capacity(rows * cols);
    for (row, restored) in restored.chunks_exact(cols.max(1)).enumerate() {
        delta.extend(w.row(row).iter().zip(restored).map(|(w, back)| w - back));
    }
    let product = |a: f32, b: f32| f64::from(a) * f64::from(b);
    match moment {
        Some(moment) if !moment.hessian.is_empty() => {
            let hessian = PackedF32::new(Matrix::new(&moment.hessian, cols, cols));
            let mut seen = vec![0.0; rows * cols];
            let out = MatrixMut::new(&mut seen, rows, cols);
            kernels().gemm_f32(Matrix::new(&delta, rows, cols), &hessian, None, out);
            delta.iter().zip(&seen).map(|(a, b)| product(*a, *b)).sum()
        }
        Some(moment) => {
            let rows = delta.chunks_exact(cols.max(1));
            let weigh = |row: &[f32]| -> f64 {
                row.iter().zip(&moment.mean_square).map(|(d, m)| product(d * d, *m)).sum()
            };
            rows.map(weigh).sum()
        }
        None => delta.iter().map(|d| product(*d, *d)).sum(),
    }
}
