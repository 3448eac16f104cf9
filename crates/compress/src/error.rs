//! Why a model was not compressed.

use std::path::PathBuf;

use kvant_model::{LoadError, SaveError};
use kvant_quant::{EncodeError, Scheme};

use crate::CalibrateError;

/// A name that stands for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {what} is called {name:?}; there are {known}")]
pub struct NameError {
    /// What the name should stand for.
    pub what: &'static str,
    /// The name.
    pub name: String,
    /// The names that exist.
    pub known: &'static str,
}

/// Why a pass gave up.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// A tensor of the source did not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A tensor holds values that no scheme encodes.
    #[error("tensor '{tensor}': {source}")]
    Encode {
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        source: EncodeError,
    },
    /// The model has been compressed before.
    #[error(
        "tensor '{tensor}' of {} is {format} already: compress the full-precision model, or take \
         what the codes restore with --requantize",
        path.display()
    )]
    Coded {
        /// The model.
        path: PathBuf,
        /// A tensor that is encoded.
        tensor: String,
        /// Its format.
        format: String,
    },
    /// The calibration does not serve for a tensor.
    #[error("tensor '{tensor}': {source}")]
    Calibration {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        source: crate::SolveError,
    },
    /// The model is not of a kind that a transform works on.
    #[error("{}: {why}", path.display())]
    Unfit {
        /// The model.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
}

/// Why the rules of a recipe do not fit a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// A pattern names nothing.
    #[error("no tensor is called {pattern:?}; the largest is '{example}', * stands for any run")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// A tensor that is there.
        example: String,
    },
    /// A rule names an output axis that a tensor does not have.
    #[error(
        "tensor '{tensor}' has no axis {axis}: it has {rank}, counted from 0; let targets leave \
         it out or name another axis"
    )]
    Axis {
        /// The tensor.
        tensor: String,
        /// The axis named.
        axis: usize,
        /// The number of its axes.
        rank: usize,
    },
    /// Rows that are no whole blocks.
    #[error(
        "tensor '{tensor}' has {cols} columns, {scheme} takes blocks of {block}: --fallback puts \
         a format with blocks of 32 in its place"
    )]
    Block {
        /// The tensor.
        tensor: String,
        /// The format.
        scheme: Scheme,
        /// Columns of the tensor.
        cols: usize,
        /// Weights of a block.
        block: usize,
    },
}

/// Why a plan cannot be carried out on a model.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The budget is below the smallest formats on offer.
    #[error(
        "{budget} cannot be met: the smallest of the formats come to {bytes} bytes ({bits:.2} bits \
         per weight); offer smaller ones with --scheme A,B,C or raise the budget"
    )]
    Budget {
        /// The budget.
        budget: String,
        /// Bytes of the smallest choice.
        bytes: u64,
        /// The same per weight.
        bits: f64,
    },
    /// The quality is above what the best formats on offer keep.
    #[error(
        "{budget} cannot be kept: the best of the formats lose {least:.5}; offer better ones with \
         --scheme A,B,C"
    )]
    Quality {
        /// The quality asked for.
        budget: String,
        /// Predicted loss of the best choice.
        least: f64,
    },
    /// The calibration is one of the model before a rotation.
    #[error(
        "a rotation changes what layers see: give --calibrate the text itself, not what was \
         calibrated before"
    )]
    Rotated,
    /// A pass needs data that were not given.
    #[error("{pass} needs to see text: give some with --calibrate FILE")]
    Data {
        /// The pass.
        pass: String,
    },
    /// The source is a single file of a kind that is not compressed by itself.
    #[error(
        "{} is a file: compressing needs a model directory (model.safetensors, config.json, \
         tokenizer.json) or a file .gguf, .onnx, .pth, .pt, .bin or .ckpt",
        path.display()
    )]
    File {
        /// The source.
        path: PathBuf,
    },
    /// The scheme could not encode a single tensor.
    #[error("no tensor of {} can be encoded as {scheme}: {why}", path.display())]
    Nothing {
        /// The source.
        path: PathBuf,
        /// The scheme.
        scheme: String,
        /// Why the largest tensor stays.
        why: String,
    },
    /// The container has no place for a format.
    #[error(
        "{container} cannot hold {scheme}: kvant compress --scheme help says what each container \
         holds"
    )]
    Scheme {
        /// The format.
        scheme: Scheme,
        /// What was asked to hold it.
        container: String,
    },
    /// A GGUF file has no place for something asked for.
    #[error(
        "{flag} is for directories, and {} is a GGUF file: leave it out or name a directory",
        out.display()
    )]
    Gguf {
        /// What was asked for.
        flag: String,
        /// The output.
        out: PathBuf,
    },
}

/// Why [`compress`](crate::compress) wrote nothing.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// The source did not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A pass gave up.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The rules do not fit the model.
    #[error(transparent)]
    Assign(#[from] AssignError),
    /// The calibration is one of another model.
    #[error(transparent)]
    Calibration(#[from] CalibrateError),
    /// The plan cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The network could not be measured.
    #[error(transparent)]
    Probe(#[from] crate::ProbeError),
    /// The new directory exists already or could not be written.
    #[error(transparent)]
    Save(#[from] SaveError),
}
