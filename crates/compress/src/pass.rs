//! The seam between a change to a model and the model.

use crate::{Draft, PassError};

/// A change to a model. Passes run one after the other over the same [`Draft`].
pub trait Pass {
    /// What reports call it.
    fn name(&self) -> &'static str;

    /// Changes the draft and records what each change cost.
    ///
    /// # Errors
    /// [`PassError`]; the draft is then not to be saved.
    fn apply(&self, draft: &mut Draft, run: &Run<'_>) -> Result<(), PassError>;
}

/// How a pass is to work.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Threads to work on; 0 counts as 1.
    pub threads: usize,
    /// Called on the calling thread as work gets done.
    pub progress: &'a dyn Fn(Step),
}

/// How far [`compress`](crate::compress) has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// One more tensor has been encoded and measured (or could not be held and stays).
    Encoded {
        /// Its name.
        name: String,
        /// Weights worked through so far.
        done: u64,
        /// Weights to work through in all.
        total: u64,
    },
    /// The changed network is being run over the calibration text.
    Calibrating,
    /// What coding one more tensor costs the network has been measured.
    Measured {
        /// Tensors measured so far.
        done: u64,
        /// Tensors to measure in all.
        total: u64,
    },
    /// All tensors are encoded; the new directory is being written.
    Saving,
}
