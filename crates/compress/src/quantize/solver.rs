//! Codes for a weight by any method, from what is known of its input.

use kvant_kernels::Matrix;
use kvant_quant::{Coded, EncodeError, Observer, Scheme};

use super::descent::Descent;
use super::factor::Factor;
use super::{Data, encode, gptq};
use crate::{Method, Moment};

/// Passes of coordinate descent behind GPTQ.
const SWEEPS: usize = 4;

/// Times that scales are fitted to the codes and the codes then improved again.
const REFITS: usize = 3;

/// How a weight is to be encoded.
#[derive(Clone, Copy, Debug)]
pub struct Solve {
    /// The format.
    pub scheme: Scheme,
    /// How codes are chosen.
    pub method: Method,
    /// How ranges are chosen; `None`: from minimum to maximum for `rtn`, else with the least
    /// squared error.
    pub observer: Option<Observer>,
    /// Threads to work on; 0 counts as 1. The codes do not depend on it.
    pub threads: usize,
}

/// Why a weight was not encoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SolveError {
    /// The format cannot hold it.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The statistics hold a number that is none.
    #[error("the calibration holds {value} for input {col}; calibrate again")]
    NotFinite {
        /// Column of the number.
        col: usize,
        /// The number.
        value: f32,
    },
    /// The statistics are those of another weight.
    #[error("the calibration has {got} inputs, the weight {expected}; calibrate this model")]
    Dim {
        /// Columns of the weight.
        expected: usize,
        /// Columns of the statistics.
        got: usize,
    },
    /// The method works from data.
    #[error("{method} needs the second moments of a calibration; give --calibrate, or @search")]
    NoData {
        /// The method.
        method: Method,
    },
}

/// What is known of an input, prepared once for all weights that read it.
#[derive(Debug)]
pub struct Solver<'a> {
    moment: Option<&'a Moment>,
    factor: Option<Factor>,
    descent: Option<Descent>,
}

impl<'a> Solver<'a> {
    /// Prepares `moment`, if there is one. Factors its matrix, `O(dim³/6)`, if `method` asks.
    ///
    /// # Errors
    /// [`SolveError::NotFinite`], and [`SolveError::NoData`] if `method` cannot do without.
    pub fn new(moment: Option<&'a Moment>, method: Method) -> Result<Self, SolveError> {
        let matrix = moment.and_then(Moment::matrix);
        if let Some(moment) = moment {
            for values in
                moment.mean_square.chunks(moment.dim).chain(moment.hessian.chunks(moment.dim))
            {
                if let Some(col) = values.iter().position(|value| !value.is_finite()) {
                    return Err(SolveError::NotFinite { col, value: values[col] });
                }
            }
        }
        if method == Method::Gptq && matrix.is_none() {
            return Err(SolveError::NoData { method });
        }
        let factor = matrix.filter(|_| method == Method::Gptq).and_then(Factor::new);
        Ok(Self { moment, factor, descent: matrix.map(Descent::new) })
    }

    /// Encodes `w`, a row per output.
    ///
    /// # Errors
    /// [`SolveError`].
    pub fn encode(&self, w: Matrix<'_, f32>, solve: &Solve) -> Result<Coded, SolveError> {
        if let Some(moment) = self.moment.filter(|moment| moment.dim != w.cols()) {
            return Err(SolveError::Dim { expected: w.cols(), got: moment.dim });
        }
        let seen = |moment: &&Moment| moment.mean_square.iter().any(|&square| square > 0.0);
        let data = Data { moment: self.moment.filter(seen), observer: solve.observer };
        let mut coded = encode(w, solve.scheme, solve.method, &data)?;
        if let (Method::Gptq, Some(factor), Some(descent)) =
            (solve.method, &self.factor, &self.descent)
        {
            let grid = coded.grid();
            let mut codes = gptq::choose(w, &grid, factor, solve.threads);
            descent.improve(w, &grid, &mut codes, (SWEEPS, solve.threads));
            coded.set_codes(&codes);
            for _ in 0..REFITS {
                if !descent.refit(w, &mut coded) {
                    break;
                }
                descent.improve(w, &coded.grid(), &mut codes, (SWEEPS, solve.threads));
                coded.set_codes(&codes);
            }
        }
        Ok(coded)
    }

    /// `√(tr(ΔW·H·ΔWᵀ) / tr(W·H·Wᵀ))` for `restored` in place of `w`: the error of the layer's
    /// outputs, relative to them. `None` without second moments; 0 where the outputs are zero.
    pub fn error(&self, w: Matrix<'_, f32>, restored: &[f32]) -> Option<f64> {
        let descent = self.descent.as_ref()?;
        let mut delta = Vec::with_capacity(restored.len());
        for (row, restored) in restored.chunks_exact(w.cols().max(1)).enumerate() {
            delta.extend(w.row(row).iter().zip(restored).map(|(a, b)| a - b));
        }
        let lost = descent.loss(Matrix::new(&delta, w.rows(), w.cols()));
        let whole = descent.loss(w);
        Some(if whole > 0.0 { (lost / whole).sqrt() } else { 0.0 })
    }
}
