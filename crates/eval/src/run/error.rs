//! Why an evaluation fails.

use crate::Failure;
use crate::metric::MetricError;
use crate::task::TaskError;

/// Why an evaluation has no result.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// No model at all.
    #[error("there is no model to evaluate")]
    NoModel,
    /// Two models of one name.
    #[error("two models are called '{label}'; give them names that differ")]
    Label {
        /// The name.
        label: String,
    },
    /// A model cannot embed.
    #[error("{label}: {cause}")]
    Embed {
        /// The model.
        label: String,
        /// Why.
        cause: Failure,
    },
    /// A model returned something other than one vector per text.
    #[error("{label}: expected {expected} numbers for the vectors, got {got}")]
    Shape {
        /// The model.
        label: String,
        /// Texts times dimension.
        expected: usize,
        /// Numbers returned.
        got: usize,
    },
    /// A model returned NaN or an infinity.
    #[error("{label}: the vector of '{text}' is not finite; the model is damaged")]
    NotFinite {
        /// The model.
        label: String,
        /// The text, or the beginning of it.
        text: String,
    },
    /// The task has no figure for a model.
    #[error("{label}: {cause}")]
    Task {
        /// The model.
        label: String,
        /// Why.
        cause: TaskError,
    },
    /// Two models cannot be compared.
    #[error("{label}: cannot be compared with the baseline: {cause}")]
    Compare {
        /// The model.
        label: String,
        /// Why.
        cause: MetricError,
    },
}
