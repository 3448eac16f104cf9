//! A model from disk with everything that is known of it before it runs.

use std::path::{Path, PathBuf};

use kvant_model::{Encoder, LoadError, Summary};

use crate::Side;
use crate::cost::{DiskError, tensor_errors, weigh};
use crate::report::{Memory, Size, TensorError};

/// An encoder and the facts of its files.
#[derive(Debug)]
pub struct Model {
    encoder: Encoder,
    path: PathBuf,
    size: Size,
    tensors: Vec<TensorError>,
}

/// Why a model cannot be opened for evaluation.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It does not load.
    #[error(transparent)]
    Load(LoadError),
    /// Its files cannot be measured.
    #[error(transparent)]
    Disk(DiskError),
}

impl Model {
    /// Loads the model directory at `path`, weighs it, and reads the record of its compression.
    ///
    /// # Errors
    /// [`OpenError`], naming the file.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let encoder = Encoder::load(path).map_err(OpenError::Load)?;
        let summary = Summary::of(path).map_err(OpenError::Load)?;
        let size = Size {
            parameters: Some(summary.parameters),
            bits_per_weight: Some(summary.bits_per_weight),
            ..weigh(path).map_err(OpenError::Disk)?
        };
        let tensors = tensor_errors(path).map_err(OpenError::Disk)?;
        Ok(Self { encoder, path: path.into(), size, tensors })
    }

    /// The model as a side of an evaluation, called `label`.
    pub fn side(&self, label: impl Into<String>, memory: Option<Memory>) -> Side<'_> {
        Side {
            path: Some(self.path.clone()),
            size: self.size,
            memory,
            tensors: self.tensors.clone(),
            ..Side::new(label, &self.encoder)
        }
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }
}
