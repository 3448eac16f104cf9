//! A model between its source and its saved copy.

use std::collections::BTreeMap;

use kvant_model::{Checkpoint, SavedTensor};
use kvant_quant::{Coded, ErrorStats};

use crate::Reason;

/// A model being compressed: the untouched source, and what passes put in place of its tensors.
#[derive(Debug)]
pub struct Draft {
    source: Checkpoint,
    changes: BTreeMap<String, Change>,
}

/// What became of one tensor.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Encoded, with the error against the source.
    Coded(Coded, ErrorStats),
    /// Left as it is, and why.
    Kept(Reason),
}

impl Draft {
    /// An unchanged draft.
    pub fn new(source: Checkpoint) -> Self {
        Self { source, changes: BTreeMap::new() }
    }

    /// The model as it was.
    pub fn source(&self) -> &Checkpoint {
        &self.source
    }

    /// Puts `coded` in place of tensor `name`; `error` is its distance from the source.
    pub fn replace(&mut self, name: String, coded: Coded, error: ErrorStats) {
        self.set(name, Change::Coded(coded, error));
    }

    /// Leaves tensor `name` as it is and says why.
    pub fn keep(&mut self, name: String, reason: Reason) {
        self.set(name, Change::Kept(reason));
    }

    pub(crate) fn set(&mut self, name: String, change: Change) {
        self.changes.insert(name, change);
    }

    /// What became of tensor `name`; `None` if no pass looked at it.
    pub(crate) fn change(&self, name: &str) -> Option<&Change> {
        self.changes.get(name)
    }

    /// All tensors as they are to be saved.
    pub(crate) fn into_saved(mut self) -> Vec<(String, SavedTensor)> {
        let saved = self.source.tensors().iter().map(|tensor| {
            let saved = match self.changes.remove(&tensor.name) {
                Some(Change::Coded(coded, _)) => SavedTensor::Coded(coded),
                Some(Change::Kept(_)) | None => SavedTensor::Kept,
            };
            (tensor.name.clone(), saved)
        });
        saved.collect()
    }
}
