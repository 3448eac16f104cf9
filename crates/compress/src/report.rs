//! What compressing a model did and cost.

use kvant_model::TensorInfo;
use serde::Serialize;

use crate::draft::Change;
use crate::{Draft, Settled};

/// The name under which a [`Report`] lies in the new directory.
pub const REPORT_FILE: &str = "compression.json";

/// What [`compress`](crate::compress) did. Serialized, it is [`REPORT_FILE`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The scheme of the encoded tensors.
    pub scheme: String,
    /// The passes that ran, in order.
    pub passes: Vec<String>,
    /// Weights of the written model, encoded or not; indices are not counted.
    pub parameters: u64,
    /// Stored bits per weight over all of them, before.
    pub bits_per_weight_before: f64,
    /// Stored bits per weight over all of them, scales included.
    pub bits_per_weight: f64,
    /// Bytes of all tensors of the source.
    pub size_bytes_before: u64,
    /// Bytes of all tensors written, scales included.
    pub size_bytes: u64,
    /// How many times smaller the tensors became.
    pub ratio: f64,
    /// Wall-clock time of reading, encoding and measuring, without writing.
    pub seconds: f64,
    /// Budgets, and what was chosen for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<Settled>,
    /// Every tensor, by name.
    pub tensors: Vec<TensorReport>,
}

/// What became of one tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorReport {
    /// Its name.
    pub name: String,
    /// Dimensions, slowest first.
    pub shape: Vec<usize>,
    /// The output axis, if it is stored as codes and is not simply a matrix by its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub axis: Option<usize>,
    /// How it is stored now: `int8`, `linear4`, … or, unchanged, `F32`, …
    pub format: String,
    /// Stored bits per weight, scales included.
    pub bits_per_weight: f64,
    /// Stored bytes, scales included.
    pub size_bytes: u64,
    /// Mean of `|w − w'|` against the source.
    pub mean_abs: f64,
    /// Largest `|w − w'|`.
    pub max_abs: f64,
    /// `‖w − w'‖ / ‖w‖` (Frobenius).
    pub relative: f64,
    /// `√(tr(ΔW·H·ΔWᵀ) / tr(W·H·Wᵀ))`, the error of the layer's outputs relative to them, over
    /// the calibration text; only with a calibration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_under_h: Option<f64>,
    /// Why it stayed as it was, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

impl Report {
    /// Describes what `passes` made of a draft in `seconds`.
    pub(crate) fn of(draft: &Draft, scheme: String, passes: Vec<String>) -> Self {
        let source = draft.source().tensors();
        let now = draft.tensors();
        let tensors: Vec<_> = now.iter().map(|tensor| line(draft, tensor)).collect();
        let weights = |tensor: &&TensorInfo| crate::select::holds_weights(tensor);
        let parameters: u64 = now.iter().filter(weights).map(TensorInfo::elements).sum();
        let before: u64 = source.iter().filter(weights).map(|tensor| tensor.size_bytes).sum();
        let held = now.iter().zip(&tensors).filter(|(tensor, _)| weights(tensor));
        let after: u64 = held.map(|(_, line)| line.size_bytes).sum();
        let size_bytes_before = source.iter().map(|tensor| tensor.size_bytes).sum();
        let size_bytes = tensors.iter().map(|line| line.size_bytes).sum();
        let weights_before: u64 = source.iter().filter(weights).map(TensorInfo::elements).sum();
        let per_weight = |bytes: u64, weights: u64| bytes as f64 * 8.0 / weights.max(1) as f64;
        Self {
            scheme,
            passes,
            parameters,
            bits_per_weight_before: per_weight(before, weights_before),
            bits_per_weight: per_weight(after, parameters),
            size_bytes_before,
            size_bytes,
            ratio: size_bytes_before as f64 / size_bytes.max(1) as f64,
            seconds: 0.0,
            settled: Vec::new(),
            tensors,
        }
    }

    /// The report as the bytes of [`REPORT_FILE`].
    pub(crate) fn to_json(&self) -> Vec<u8> {
        // Only strings and numbers: serialization cannot fail.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

fn line(draft: &Draft, tensor: &TensorInfo) -> TensorReport {
    let same = TensorReport {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        axis: None,
        format: tensor.format.clone(),
        bits_per_weight: tensor.bits_per_weight,
        size_bytes: tensor.size_bytes,
        mean_abs: 0.0,
        max_abs: 0.0,
        relative: 0.0,
        error_under_h: None,
        kept: None,
    };
    let (beside, elements) = (draft.attached_bytes(&tensor.name), tensor.elements().max(1) as f64);
    match draft.change(&tensor.name) {
        None => same,
        Some(Change::Kept(reason)) => TensorReport { kept: Some(reason.to_string()), ..same },
        Some(Change::Coded(coded, error, under_h)) => TensorReport {
            axis: draft.view(&tensor.name).filter(|v| !v.is_plain()).map(|view| view.axis()),
            format: coded.format(),
            bits_per_weight: coded.bits_per_weight() + beside as f64 * 8.0 / elements,
            size_bytes: coded.size_bytes() as u64 + beside,
            mean_abs: error.mean_abs,
            max_abs: error.max_abs,
            relative: error.relative,
            error_under_h: *under_h,
            ..same
        },
    }
}
