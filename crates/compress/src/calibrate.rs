//! What the layers of a model get to see: the statistics that calibrated methods work from.

mod collect;
mod error;
mod file;
mod gather;
mod imatrix;

use kvant_model::Checkpoint;

pub use collect::{CalibrateOptions, TOKENS_MIN};
pub use error::CalibrateError;

/// What one pass over calibration text saw at the inputs of a model's linear layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// One for every input that is read by at least one weight.
    pub inputs: Vec<Moment>,
}

/// Statistics of one input vector `x` over all tokens of the calibration text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moment {
    /// Names of the tensors that are multiplied with this input.
    pub weights: Vec<String>,
    /// Length of `x`: the columns of those tensors.
    pub dim: usize,
    /// Token vectors seen.
    pub count: u64,
    /// Mean of `x·xᵀ`, `dim × dim`, symmetric; empty where only the diagonal is known (an
    /// imatrix).
    pub hessian: Vec<f32>,
    /// Mean of `x²`, the diagonal of the above: how much an error in each column matters.
    pub mean_square: Vec<f32>,
    /// Mean of `x` per column; empty where unknown.
    pub mean: Vec<f32>,
    /// Mean of `|x|` per column; empty where unknown.
    pub mean_abs: Vec<f32>,
    /// Largest `|x|` per column; empty where unknown.
    pub max_abs: Vec<f32>,
}

impl Calibration {
    /// The statistics of the input that tensor `weight` reads.
    pub fn of(&self, weight: &str) -> Option<&Moment> {
        self.inputs.iter().find(|input| input.weights.iter().any(|name| name == weight))
    }

    /// Whether this was made for a model like `model`: every tensor is there and reads vectors
    /// of the same length.
    ///
    /// # Errors
    /// [`CalibrateError::Model`] naming the first tensor that does not fit.
    pub fn check(&self, model: &Checkpoint) -> Result<(), CalibrateError> {
        for input in &self.inputs {
            for name in &input.weights {
                let shape = model.tensor(name).map(|tensor| &tensor.shape[..]);
                let cols = shape.map(|shape| shape.iter().skip(1).product::<usize>());
                if cols != Some(input.dim) {
                    let got = cols.map_or_else(
                        || "is not in it".to_owned(),
                        |cols| format!("reads {cols} values there, {} here", input.dim),
                    );
                    let (path, tensor) = (model.path().to_owned(), name.clone());
                    return Err(CalibrateError::Model { path, tensor, got });
                }
            }
        }
        Ok(())
    }
}

impl Moment {
    /// The same statistics of `x − mean(x)`: what an error in a weight costs where the bias takes
    /// up what it does to the mean. `None` where the mean or the matrix is unknown.
    pub fn centered(&self) -> Option<Self> {
        if self.mean.is_empty() || self.hessian.is_empty() {
            return None;
        }
        let mut centered = self.clone();
        for (row, mean) in centered.hessian.chunks_exact_mut(self.dim).zip(&self.mean) {
            row.iter_mut().zip(&self.mean).for_each(|(value, other)| *value -= mean * other);
        }
        for (at, square) in centered.mean_square.iter_mut().enumerate() {
            // Rounding may leave a channel that never moves a little below 0.
            *square = centered.hessian[at * self.dim + at].max(0.0);
            centered.hessian[at * self.dim + at] = *square;
        }
        Some(centered)
    }

    /// `hessian` as `dim × dim`, if more than the diagonal is known.
    pub fn matrix(&self) -> Option<kvant_kernels::Matrix<'_, f32>> {
        let whole = !self.hessian.is_empty();
        whole.then(|| kvant_kernels::Matrix::new(&self.hessian, self.dim, self.dim))
    }
}

#[cfg(test)]
mod tests;
