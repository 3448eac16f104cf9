//! A matrix to codes, by any method in any format.

use kvant_kernels::Matrix;
use kvant_quant::{Coded, EncodeError, Fit, Observer, Scheme};

use crate::{Method, Moment};

/// What a method may go by beside the weights.
#[derive(Clone, Copy, Debug, Default)]
pub struct Data<'a> {
    /// What the matrix gets to see.
    pub moment: Option<&'a Moment>,
    /// How ranges are chosen; `None`: as the method does.
    pub observer: Option<Observer>,
}

/// Encodes `w` (one row per output) as `scheme`, its codes chosen by `method`.
///
/// # Errors
/// As [`Scheme::fit`].
///
/// # Panics
/// If the moment is one of vectors of another length than the rows.
pub fn encode(
    w: Matrix<'_, f32>,
    scheme: Scheme,
    method: Method,
    data: &Data<'_>,
) -> Result<Coded, EncodeError> {
    let importance = data.moment.map(|moment| &moment.mean_square[..]);
    match (method, data.observer) {
        (Method::Rtn, None | Some(Observer::MinMax)) => scheme.encode(w),
        (_, observer) => {
            scheme.fit(w, &Fit { observer: observer.unwrap_or(Observer::Mse), importance })
        }
    }
}
