//! Why there is no calibration.

use std::path::PathBuf;

use kvant_model::{LoadError, ObserveError};
use kvant_storage::{CreateError, ReadError};

/// Why a calibration could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The model, or the file of a calibration, did not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model did not run over the text.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] CreateError),
    /// The text holds too few tokens to say anything.
    #[error("the calibration text has {got} tokens; give at least {min}, better {wished}")]
    Short {
        /// Tokens there were.
        got: u64,
        /// Fewest accepted.
        min: u64,
        /// Tokens asked for.
        wished: u64,
    },
    /// The file is no calibration, or a damaged one.
    #[error("{} is no calibration file: {why}; make one with kvant calibrate", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The calibration was made for another model.
    #[error(
        "the calibration is not one of {}: '{tensor}' {got}; calibrate this model",
        path.display()
    )]
    Model {
        /// The model.
        path: PathBuf,
        /// A tensor that does not fit.
        tensor: String,
        /// What it is instead.
        got: String,
    },
}
