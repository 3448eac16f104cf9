//! A model between its source and its saved copy.

use std::collections::{BTreeMap, BTreeSet};

use kvant_model::{Checkpoint, Dense, LoadError, SavedTensor, TensorInfo, View, Weight};
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
    /// Output axes other than the first.
    axes: BTreeMap<String, usize>,
    /// Biases that have taken up what coding did to the mean of the outputs.
    balanced: BTreeSet<String>,
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
        let (axes, balanced) = (BTreeMap::new(), BTreeSet::new());
        Self { source, tensors, rewritten, parts, changes, axes, balanced }
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

    /// Names the output axis of tensor `name`; without a name it is the first.
    pub fn turn(&mut self, name: String, axis: usize) {
        self.axes.insert(name, axis);
    }

    /// The matrix that tensor `name` is quantized as; `None` if there is no such tensor, or it has
    /// no such axis.
    pub fn view(&self, name: &str) -> Option<View> {
        self.tensor(name)?.view(self.axes.get(name).copied().unwrap_or(0))
    }

    /// Whether tensor `name` is quantized by another axis than its first.
    pub(crate) fn is_turned(&self, name: &str) -> bool {
        self.axes.get(name).is_some_and(|&axis| axis != 0)
    }

    /// The values of [`Draft::dense`] as a matrix with a row for every output.
    ///
    /// # Errors
    /// As [`Checkpoint::dense`].
    pub fn matrix(&self, name: &str) -> Result<Dense, LoadError> {
        let dense = self.dense(name)?;
        match self.view(name).filter(|view| view.axis() != 0) {
            None => Ok(dense),
            Some(view) => {
                let values = view.unfold(dense.values()).into_owned();
                Ok(Dense::owned(vec![view.rows(), view.cols()], values))
            }
        }
    }

    /// The codes of the matrix of tensor `name` as a network would read them.
    pub(crate) fn weight(&self, name: &str, coded: &Coded) -> Weight {
        match self.view(name).filter(|view| view.axis() != 0) {
            None => Weight::Coded(coded.clone()),
            Some(view) => {
                let values = view.fold(coded.decode());
                Weight::Dense(Dense::owned(view.shape().to_vec(), values))
            }
        }
    }

    /// Gives tensor `name`, which need not exist yet, new full-precision values. What became of
    /// the old ones is forgotten.
    pub fn rewrite(&mut self, name: String, dense: Dense) {
        self.changes.remove(&name);
        let info = TensorInfo {
            name: name.clone(),
            shape: dense.shape().to_vec(),
            axis: None,
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

    /// Gives a bias the values that take up what coding its weight did to the mean of the outputs.
    pub(crate) fn balance(&mut self, name: String, values: Dense) {
        self.balanced.insert(name.clone());
        self.rewrite(name, values);
    }

    /// Whether [`Draft::balance`] has changed tensor `name`.
    pub(crate) fn is_balanced(&self, name: &str) -> bool {
        self.balanced.contains(name)
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
        let saved = self.tensors.into_iter().map(|tensor| {
            let view = tensor.view(self.axes.remove(&tensor.name).unwrap_or(0));
            let name = tensor.name;
            let saved = match (self.changes.remove(&name), self.rewritten.remove(&name)) {
                (Some(Change::Coded(coded, ..)), _) => match view.filter(|view| !view.is_plain()) {
                    Some(view) => SavedTensor::Viewed(coded, view),
                    None => SavedTensor::Coded(coded),
                },
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
