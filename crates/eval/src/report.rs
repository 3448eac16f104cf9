//! The result of an evaluation: plain data, a table for the terminal, a page for the browser.

mod curve;
mod figure;
mod html;
mod markup;
mod plot;
mod table;

pub use curve::curves;
pub use html::html;
pub use table::table;

use serde::{Deserialize, Serialize};

use crate::metric::Agreement;

/// The [`Report::schema`] this version writes.
pub const SCHEMA: u32 = 1;

/// What a baseline and one or more candidates cost and are worth, measured side by side.
///
/// The JSON form is stable: fields of a schema number keep name, unit and meaning; new fields may
/// be added. Suffixes are units (`_bytes`, `_ms`, `_s`); a figure that was not measured is `null`.
/// `models[0]` is the baseline, and every ratio is *value / value of the baseline*:
///
/// ```json
/// { "schema": 1,
///   "task": { "kind": "sts", "data": "stsb-dev.tsv", "test": null, "n": 1500, "texts": 3000,
///             "metric": "Spearman" },
///   "date": "2026-03-01T12:00:00Z",
///   "machine": { "cpu": "...", "cores": 2, "simd": "avx512", "os": "linux" },
///   "timing": { "threads": 1, "batch_texts": 256, "rounds": 5 },
///   "models": [ { "label": "f32", "path": "models/minilm",
///     "quality":  { "score": 0.867, "scores": [ { "name": "Pearson", "value": 0.87 } ],
///                   "kept": null, "difference": null, "agreement": null, "overlap": null },
///     "latency":  { "p50_ms": 4.1, "p99_ms": 6.0, "samples_ms": [ 3.9, 4.1 ] },
///     "throughput": { "texts_per_s": 510.0, "runs": [ 508.0, 510.0, 512.0 ] },
///     "compute":  { "tokens_per_text": 14.2, "macs_per_text": 160000000.0 },
///     "size":     { "weights_bytes": 90868376, "directory_bytes": 91655000,
///                   "loaded_bytes": 90800000, "parameters": 22713216, "bits_per_weight": 32.0 },
///     "memory":   { "start_bytes": 3000000, "loaded_bytes": 95000000, "peak_bytes": 110000000 },
///     "ratio":    null,
///     "tensors":  [] } ],
///   "examples": [] }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this layout, [`SCHEMA`].
    pub schema: u32,
    /// What was asked of the models.
    pub task: Subject,
    /// When, in UTC, as RFC 3339.
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// How time was taken.
    pub timing: Timing,
    /// The baseline, then the candidates.
    pub models: Vec<Entry>,
    /// Searches and their answers side by side; often empty.
    #[serde(default)]
    pub examples: Vec<Example>,
}

/// What the models were asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// `sts`, `retrieval` or `classify`.
    pub kind: String,
    /// The data file.
    pub data: String,
    /// The second file of a train/test pair.
    pub test: Option<String>,
    /// Pairs, queries or test texts scored.
    pub n: usize,
    /// Texts embedded for the score.
    pub texts: usize,
    /// Name of the figure in [`Quality::score`], such as `Spearman`; higher is better.
    pub metric: String,
}

/// The machine the figures are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the CPU.
    pub cpu: String,
    /// Logical cores this process may use.
    pub cores: usize,
    /// Instruction-set level of the kernels: `scalar`, `avx2`, `avxvnni`, `avx512`.
    pub simd: String,
    /// Operating system.
    pub os: String,
}

/// How time was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Threads of one call.
    pub threads: usize,
    /// Texts of one throughput call.
    pub batch_texts: usize,
    /// Turns each model had, interleaved with the others.
    pub rounds: usize,
}

/// The figures of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Short name, as in the plots.
    pub label: String,
    /// Where the model is, as the caller named it.
    pub path: Option<String>,
    /// Axis one: how well it does the task.
    pub quality: Quality,
    /// Axis two: time of one text.
    pub latency: Option<Latency>,
    /// Axis two: texts in a given time.
    pub throughput: Option<Throughput>,
    /// Axis two: arithmetic of one text.
    pub compute: Option<Compute>,
    /// Axis three: bytes on disk.
    pub size: Size,
    /// Axis four: bytes in memory.
    pub memory: Option<Memory>,
    /// Against the baseline; `None` for the baseline itself.
    pub ratio: Option<Ratio>,
    /// Error of each compressed tensor; empty where the model does not say.
    #[serde(default)]
    pub tensors: Vec<TensorError>,
}

/// How well a model does the task, and how closely it follows the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The task's figure, named by [`Subject::metric`].
    pub score: f64,
    /// Further figures of the task.
    pub scores: Vec<Score>,
    /// `score / baseline's score`; `None` for the baseline, or where that is not positive.
    pub kept: Option<f64>,
    /// `score − baseline's score` with its uncertainty; `None` for the baseline.
    pub difference: Option<Interval>,
    /// Cosine of this model's vector with the baseline's, over all texts.
    pub agreement: Option<Agreement>,
    /// Mean share of the ten nearest neighbours both models agree on, in 0..=1.
    pub overlap: Option<f64>,
}

/// A named figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Its name, such as `MRR@10`.
    pub name: String,
    /// Its value.
    pub value: f64,
}

/// A difference and where it lies with 95 % confidence (paired bootstrap).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The difference measured.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Time of single-text calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median (nearest rank), in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile (nearest rank), in milliseconds.
    pub p99_ms: f64,
    /// Every call, in rising order, in milliseconds.
    pub samples_ms: Vec<f64>,
}

/// Texts per second in batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Median of the runs.
    pub texts_per_s: f64,
    /// Each run, in the order they were made.
    pub runs: Vec<f64>,
}

/// Arithmetic of one text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compute {
    /// Mean tokens of a text.
    pub tokens_per_text: f64,
    /// Mean multiply-accumulate operations of a text.
    pub macs_per_text: f64,
}

/// Bytes at rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// Files that hold weights.
    pub weights_bytes: Option<u64>,
    /// Everything in the model's directory.
    pub directory_bytes: Option<u64>,
    /// Weights as they lie in memory when loaded.
    pub loaded_bytes: Option<u64>,
    /// Numbers the model consists of.
    pub parameters: Option<u64>,
    /// Mean bits of one of them.
    pub bits_per_weight: Option<f64>,
}

/// Resident memory of a process that loads one model and embeds with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Before loading.
    pub start_bytes: u64,
    /// After loading.
    pub loaded_bytes: u64,
    /// The most there ever was, embedding included.
    pub peak_bytes: u64,
}

/// *Value / value of the baseline*, where both were measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Of [`Latency::p50_ms`]; below 1 is faster.
    pub latency_p50: Option<f64>,
    /// Of [`Latency::p99_ms`]; below 1 is faster.
    pub latency_p99: Option<f64>,
    /// Of [`Throughput::texts_per_s`]; above 1 is faster.
    pub throughput: Option<f64>,
    /// Of [`Size::weights_bytes`]; below 1 is smaller.
    pub weights: Option<f64>,
    /// Of [`Size::directory_bytes`].
    pub directory: Option<f64>,
    /// Of [`Memory::peak_bytes`].
    pub peak_memory: Option<f64>,
    /// Of [`Compute::macs_per_text`].
    pub macs: Option<f64>,
}

impl Ratio {
    /// The figures of `entry` over those of `baseline`.
    pub fn of(entry: &Entry, baseline: &Entry) -> Self {
        let over = |value: Option<f64>, base: Option<f64>| {
            let ratio = value? / base?;
            ratio.is_finite().then_some(ratio)
        };
        let ratio = |get: &dyn Fn(&Entry) -> Option<f64>| over(get(entry), get(baseline));
        Self {
            latency_p50: ratio(&|entry| Some(entry.latency.as_ref()?.p50_ms)),
            latency_p99: ratio(&|entry| Some(entry.latency.as_ref()?.p99_ms)),
            throughput: ratio(&|entry| Some(entry.throughput.as_ref()?.texts_per_s)),
            weights: ratio(&|entry| Some(entry.size.weights_bytes? as f64)),
            directory: ratio(&|entry| Some(entry.size.directory_bytes? as f64)),
            peak_memory: ratio(&|entry| Some(entry.memory?.peak_bytes as f64)),
            macs: ratio(&|entry| Some(entry.compute?.macs_per_text)),
        }
    }
}

/// How far one compressed tensor is from the original.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorError {
    /// Its name in the file.
    pub name: String,
    /// Its format, such as `int8` or `q4_0`.
    pub format: String,
    /// Frobenius norm of the error over that of the original.
    pub relative: f64,
    /// Mean bits of a weight.
    pub bits_per_weight: Option<f64>,
    /// Mean magnitude of the error.
    pub mean_abs: Option<f64>,
    /// Largest magnitude of the error.
    pub max_abs: Option<f64>,
}

/// One search and what each model answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// What was searched for.
    pub query: String,
    /// Per model, best first.
    pub answers: Vec<Answers>,
}

/// What one model answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// The model's label.
    pub label: String,
    /// What it found, best first.
    pub found: Vec<Answer>,
}

/// One document found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The document's id; the same document has the same id for every model.
    pub id: String,
    /// Its score, higher is closer.
    pub score: f64,
    /// Its text, or the beginning of it.
    pub text: String,
}

#[cfg(test)]
mod tests;
