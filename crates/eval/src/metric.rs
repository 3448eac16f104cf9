//! Pure formulas of quality and cost, in f64, with their edge cases typed.

mod agreement;
mod bootstrap;
mod correlation;
mod percentile;
mod ranking;

pub use agreement::{Agreement, cosine, overlap, paired_cosines};
pub use bootstrap::paired_bootstrap;
pub use correlation::{average_ranks, pearson, spearman};
pub use percentile::{mean, median, percentile};
pub use ranking::{accuracy, ndcg, recall, reciprocal_rank};

/// Why a formula has no value for these arguments.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// Fewer values than the formula needs.
    #[error("needs at least {needed} values, got {got}")]
    TooFew {
        /// The least number of values with a defined result.
        needed: usize,
        /// How many there were.
        got: usize,
    },
    /// Two lists that go together differ in length.
    #[error("lists differ in length: {left} and {right}")]
    Lengths {
        /// Length of the first list.
        left: usize,
        /// Length of the second list.
        right: usize,
    },
    /// A value is NaN or infinite.
    #[error("value {index} is not a finite number")]
    NotFinite {
        /// Position of the first such value.
        index: usize,
    },
    /// All values of one list are equal, so a correlation is undefined.
    #[error("all values are equal, so there is no correlation")]
    Constant,
    /// A percentage outside 0..=100.
    #[error("percentile {got} is not in 0..=100")]
    Percent {
        /// The percentage asked for.
        got: f64,
    },
    /// A cut-off or dimension of zero.
    #[error("the cut-off must be at least 1")]
    ZeroCut,
    /// Nothing is relevant, or less than was found.
    #[error("{hits} hits but {relevant} relevant documents")]
    Relevant {
        /// Relevant documents found.
        hits: usize,
        /// Relevant documents there are.
        relevant: usize,
    },
}

/// The first value that is not finite, as an error.
pub(crate) fn check_finite(values: &[f64]) -> Result<(), MetricError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(MetricError::NotFinite { index }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
