//! The errors a compression left behind, from the record it wrote.

use std::path::Path;

use kvant_compress::REPORT_FILE;
use kvant_storage::{ReadError, read_file};
use serde::Deserialize;

use super::DiskError;
use crate::limits;
use crate::report::TensorError;

#[derive(Deserialize)]
struct Record {
    tensors: Vec<Tensor>,
}

#[derive(Deserialize)]
struct Tensor {
    name: String,
    #[serde(default)]
    format: String,
    relative: Option<f64>,
    bits_per_weight: Option<f64>,
    mean_abs: Option<f64>,
    max_abs: Option<f64>,
    kept: Option<String>,
}

/// The error of each tensor that `compression.json` in `folder` says was changed, in file order;
/// none where there is no such file.
///
/// # Errors
/// [`DiskError`] where the file is there but cannot be used.
pub fn tensor_errors(folder: &Path) -> Result<Vec<TensorError>, DiskError> {
    let path = folder.join(REPORT_FILE);
    let bytes = match read_file(&path) {
        Ok(bytes) => bytes,
        Err(ReadError::Missing { .. }) => return Ok(Vec::new()),
        // The model is a single file, and nothing lies below a file.
        Err(_) if folder.is_file() => return Ok(Vec::new()),
        Err(error) => return Err(DiskError::Read(error)),
    };
    if bytes.len() > limits::SIDECAR_BYTES {
        let what = format!("{} bytes, limit {}", bytes.len(), limits::SIDECAR_BYTES);
        return Err(DiskError::Record { path, what });
    }
    let record: Record = serde_json::from_slice(&bytes)
        .map_err(|error| DiskError::Record { path, what: error.to_string() })?;
    let stated = record.tensors.into_iter().filter(|t| t.kept.is_none()).filter_map(|tensor| {
        Some(TensorError {
            relative: tensor.relative.filter(|relative| *relative >= 0.0)?,
            name: tensor.name,
            format: tensor.format,
            bits_per_weight: tensor.bits_per_weight,
            mean_abs: tensor.mean_abs,
            max_abs: tensor.max_abs,
        })
    });
    Ok(stated.collect())
}
