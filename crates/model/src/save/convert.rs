//! From one container to another.

use std::path::Path;

use super::{FloatFormat, SaveError, SaveOptions, SavedTensor, gguf, write};
use crate::Checkpoint;

/// How [`convert`] treats the tensors.
#[derive(Clone, Copy, Default)]
pub struct ConvertOptions<'a> {
    /// Decode and store every tensor in this format; without it tensors stay as they are coded.
    /// Vectors of GGUF files are f32 in any case.
    pub float: Option<FloatFormat>,
    /// Told the weights of every tensor that was written, and all weights there are.
    pub progress: Option<&'a dyn Fn(u64, u64)>,
}

impl std::fmt::Debug for ConvertOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConvertOptions").field("float", &self.float).finish_non_exhaustive()
    }
}

/// Writes the model at `source` to `out`: a GGUF file if the name ends in `.gguf`, else a
/// directory of safetensors; tokenizer and configuration included, as [`crate::save`] and
/// [`crate::save_gguf`] do it.
///
/// # Errors
/// [`SaveError`]; `out` does not exist then, unless it did before.
pub fn convert(source: &Path, out: &Path, options: &ConvertOptions<'_>) -> Result<(), SaveError> {
    let source = Checkpoint::open(source)?;
    let total: u64 = source.tensors().iter().map(crate::TensorInfo::elements).sum();
    let saved = |tensor: &crate::TensorInfo| {
        let indices = crate::summary::holds_parameters(tensor);
        match options.float {
            Some(format) if indices => SavedTensor::Float(format),
            Some(_) | None => SavedTensor::Kept,
        }
    };
    let tensors = source.tensors().iter().map(|tensor| (tensor.name.clone(), saved(tensor)));
    let tensors: Vec<_> = tensors.collect();
    let progress = |weights: u64| {
        if let Some(told) = options.progress {
            told(weights, total);
        }
    };
    if out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
        gguf::write(out, &source, &tensors, &progress)
    } else {
        write(out, &source, &tensors, (&SaveOptions::default(), &progress))
    }
}
