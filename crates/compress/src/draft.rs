//! A model between its source and its saved copy.

use std::collections::BTreeMap;

use kvant_model::{Checkpoint, Dense, LoadError, SavedTensor, TensorInfo};
use kvant_quant::{Coded, ErrorStats};

use crate::Reason;

/// A model being compressed: the untouched source, and what passes put in place of its tensors.
#[derive(Debug)]
pub struct Draft {
    source: Checkpoint,
    /// All tensors, by name, as they are before any is encoded.
    tensors: Vec<TensorInfo>,
    /// The values of those that a transform has rewritten.
    rewritten: BTreeMap<String, Dense>,
    /// What is stored beside weights: input scales and corrections, by their own names.
    parts: BTreeMap<String, Dense>,
    changes: BTreeMap<String, Change>,
}

/// What became of one tensor.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Encoded, with the error against the source, and that of the layer's outputs relative to
    /// them where second moments are known.
    Coded(Coded, ErrorStats, Option<f64>),
    /// Left as it is, and why.
    Kept(Reason),
}

impl Draft {
    /// An unchanged draft.
    pub fn new(source: Checkpoint) -> Self {
        let tensors = source.tensors().to_vec();
        let (rewritten, parts, changes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { source, tensors, rewritten, parts, changes }
    }

    /// The model as it was.
    pub fn source(&self) -> &Checkpoint {
        &self.source
    }

    /// Every tensor by name, encoded or not: those of the source in the form that transforms gave
    /// them, and those that transforms added.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The description of one tensor.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.place(name).ok().map(|at| &self.tensors[at])
    }

    /// The values to encode of tensor `name`: those a transform left, else those of the source.
    ///
    /// # Errors
    /// As [`Checkpoint::dense`].
    pub fn dense(&self, name: &str) -> Result<Dense, LoadError> {
        match self.rewritten.get(name) {
            Some(dense) => Ok(dense.clone()),
            None => self.source.dense(name),
        }
    }

    /// Gives tensor `name`, which need not exist yet, new full-precision values. What became of
    /// the old ones is forgotten.
    pub fn rewrite(&mut self, name: String, dense: Dense) {
        self.changes.remove(&name);
        let info = TensorInfo {
            name: name.clone(),
            shape: dense.shape().to_vec(),
            format: "F32".to_owned(),
            bits_per_weight: if dense.values().is_empty() { 0.0 } else { 32.0 },
            size_bytes: dense.values().len() as u64 * 4,
        };
        match self.place(&name) {
            Ok(at) => self.tensors[at] = info,
            Err(at) => self.tensors.insert(at, info),
        }
        self.rewritten.insert(name, dense);
    }

    /// Stores `part` beside the weight it belongs to: `X.weight_smooth` (f32), `X.weight_lowrank_a`
    /// or `X.weight_lowrank_b` (f16).
    pub fn attach(&mut self, name: String, part: Dense) {
        self.parts.insert(name, part);
    }

    /// What was attached to tensors, by name.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&String, &Dense)> {
        self.parts.iter()
    }

    /// Bytes of what was attached to tensor `name`.
    pub(crate) fn attached_bytes(&self, name: &str) -> u64 {
        let parts = self.parts.iter().filter_map(|(part, dense)| {
            let width = match part.strip_prefix(name)? {
                "_smooth" => 4,
                "_lowrank_a" | "_lowrank_b" => 2,
                _ => return None,
            };
            Some(dense.values().len() as u64 * width)
        });
        parts.sum()
    }

    /// Whether a transform has rewritten or added tensor `name`.
    pub(crate) fn is_rewritten(&self, name: &str) -> bool {
        self.rewritten.contains_key(name)
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name))
    }

    /// Puts `coded` in place of tensor `name`; `error` is its distance from [`Draft::dense`].
    pub fn replace(&mut self, name: String, coded: Coded, error: ErrorStats) {
        self.set(name, Change::Coded(coded, error, None));
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

    /// The model as it was, and all tensors as they are to be saved.
    pub fn into_saved(mut self) -> (Checkpoint, Vec<(String, SavedTensor)>) {
        let saved = self.tensors.into_iter().map(|TensorInfo { name, .. }| {
            let saved = match (self.changes.remove(&name), self.rewritten.remove(&name)) {
                (Some(Change::Coded(coded, ..)), _) => SavedTensor::Coded(coded),
                (Some(Change::Kept(_)) | None, Some(dense)) => SavedTensor::Dense(dense),
                (Some(Change::Kept(_)) | None, None) => SavedTensor::Kept,
            };
            (name, saved)
        });
        let parts = self.parts.into_iter();
        let parts = parts.map(|(name, part)| (name, SavedTensor::Dense(part)));
        let saved = saved.chain(parts).collect();
        (self.source, saved)
    }
}
