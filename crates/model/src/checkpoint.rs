//! A model at rest: the tensors of a safetensors directory or of a GGUF file, mapped.

mod coded;
mod correct;
mod foreign;
mod format;
pub(crate) mod gguf;
mod header;
mod onnx;
mod open;
mod pickle;
pub(crate) mod safetensors;
#[cfg(test)]
mod tests;
mod torch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvant_kernels::Shared;
use kvant_quant::BlockMatrix;
use kvant_quant::Coded;
use kvant_storage::Bytes;
use serde_json::Value;

pub(crate) use coded::{RANKED, Record, VERSION, records};
pub(crate) use correct::{CORRECTION, owned, owner};
pub(crate) use foreign::AWQ_ORDER;
pub(crate) use format::{Content, Format};
pub use header::HeaderError;
pub(crate) use header::printable;
pub(crate) use open::lfs_pointer;

use crate::store::SourceFile;
use crate::{Compute, Dense, LoadError, PackedStore, View, Weight};

/// One tensor of a checkpoint, as `inspect` lists it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TensorInfo {
    /// Its name in the file.
    pub name: String,
    /// Dimensions, slowest first; for coded tensors those of the weights, not of the codes.
    pub shape: Vec<usize>,
    /// The output axis of a coded tensor that is not simply a matrix by its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub axis: Option<usize>,
    /// How it is stored: `F32`, `F16`, `Q4_1`, `int8`, `linear4` …
    pub format: String,
    /// Bits per element, scales included; 0 for an empty tensor.
    pub bits_per_weight: f64,
    /// Bytes in the file, scales included.
    pub size_bytes: u64,
}

impl TensorInfo {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product()
    }

    /// The matrix that codes of the tensor stand for, by `axis`; `None` if it has no such axis.
    pub fn view(&self, axis: usize) -> Option<View> {
        View::new(&self.shape, axis)
    }
}

/// A tensor as the container describes it.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) format: &'static Format,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Bytes,
}

/// A safetensors directory (or single file) or a GGUF file, mapped and checked, nothing decoded.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    raw: BTreeMap<String, Raw>,
    records: BTreeMap<String, Record>,
    tensors: Vec<TensorInfo>,
    config: Option<Value>,
    /// Tensors that stand in for those of the container.
    replaced: BTreeMap<String, Weight>,
    /// What networks loaded from here compute in.
    pub(crate) compute: Compute,
    /// Where the packed weights of such networks are kept.
    pub(crate) packed: Option<PackedStore>,
    files: Vec<SourceFile>,
    gguf: Option<gguf::Header>,
    foreign: foreign::Foreign,
}

impl Checkpoint {
    /// Opens the directory (`model.safetensors`, or shards named by
    /// `model.safetensors.index.json`, or `pytorch_model.bin`) or the file at `path`:
    /// `.safetensors`, `.gguf`, `.pth`, `.pt`, `.bin` or `.ckpt` of `PyTorch`, or the initialisers
    /// of an `.onnx` graph.
    ///
    /// Reads the header only; the weights stay mapped until asked for (those that lie out of
    /// order in a file of `PyTorch` are copied). Nothing in a pickle is executed.
    ///
    /// # Errors
    /// [`LoadError`] when files are missing, are of another kind, or describe themselves wrongly.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let opened = open::open(path)?;
        let config = if path.is_dir() {
            crate::file::json_if_there(&path.join("config.json"))?
        } else {
            None
        };
        let records = match &config {
            Some(config) => records(&path.join("config.json"), config)?,
            None => BTreeMap::new(),
        };
        let mut checkpoint = Self {
            path: path.to_path_buf(),
            raw: opened.tensors,
            records,
            tensors: Vec::new(),
            config,
            replaced: BTreeMap::new(),
            compute: Compute::default(),
            packed: None,
            files: opened.files,
            gguf: opened.gguf,
            foreign: foreign::Foreign::default(),
        };
        checkpoint.foreign = checkpoint.foreign_tensors()?;
        checkpoint.tensors = checkpoint.list()?;
        Ok(checkpoint)
    }

    /// The place it was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every tensor, by name; the scales of coded tensors are counted with them.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The description of one tensor.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let at = self.tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()?;
        self.tensors.get(at)
    }

    /// The tensor in f32, decoded if it is coded, with corrections added and smoothing undone;
    /// f32 tensors stay mapped.
    ///
    /// # Errors
    /// [`LoadError::Tensor`] if it is missing, damaged, or in a format that is only listed.
    pub fn dense(&self, name: &str) -> Result<Dense, LoadError> {
        let dense = match self.weight(name)? {
            Weight::Dense(dense) => dense,
            Weight::Coded(coded) => {
                let matrix = (coded.rows(), coded.cols());
                let known = self.tensor(name).map(|tensor| &tensor.shape);
                let known = known.filter(|shape| crate::weight::matrix_shape(shape) == matrix);
                let shape = known.cloned().unwrap_or_else(|| vec![matrix.0, matrix.1]);
                Dense::owned(shape, coded.decode())
            }
        };
        self.unsmoothed(name, dense)
    }

    /// The tensor in the form it is stored in; one that is stored by another output axis than its
    /// first comes decoded, in the order of its own axes.
    ///
    /// # Errors
    /// As [`Checkpoint::dense`].
    pub fn weight(&self, name: &str) -> Result<Weight, LoadError> {
        if let Some(weight) = self.replaced.get(name) {
            return Ok(weight.clone());
        }
        if let Some(tensor) = self.foreign.get(name) {
            return self.foreign_weight(name, tensor);
        }
        let raw = self.raw(name)?;
        if let Some(record) = self.record(name, raw) {
            return self.corrected(name, &record.view, self.assemble(name, &record)?);
        }
        let dense = |values| Ok(Weight::Dense(Dense::owned(raw.shape.clone(), values)));
        match raw.format.content {
            Content::Float32 => Ok(Weight::Dense(Dense::mapped(raw.shape.clone(), &raw.bytes))),
            Content::Float64 | Content::Half | Content::Brain => {
                dense(decode(raw.format.content, &raw.bytes))
            }
            Content::Block(format) => {
                let (rows, cols) = crate::weight::matrix_shape(&raw.shape);
                let blocks = Shared::lent(Arc::new(raw.bytes.clone()));
                // Bytes are on every boundary.
                let blocks = blocks.unwrap_or_else(|| raw.bytes.to_vec().into());
                BlockMatrix::from_parts(format, rows, cols, blocks)
                    .map(|matrix| Weight::Coded(Coded::Block(matrix)))
                    .map_err(|error| self.fail(name, error.to_string()))
            }
            Content::Int8 | Content::Bytes | Content::Opaque => {
                let why = format!("values of type {} are not weights Kvant reads", raw.format.name);
                Err(self.fail(name, why))
            }
        }
    }

    /// Whether another program's container holds the tensor as codes.
    pub(crate) fn is_foreign(&self, name: &str) -> bool {
        self.foreign.get(name).is_some()
    }

    /// Whether the container has a tensor of this name, in its own right or as a part of another.
    pub(crate) fn tensor_or_part(&self, name: &str) -> bool {
        self.replaced.contains_key(name)
            || self.raw.contains_key(name)
            || self.foreign.get(name).is_some()
    }

    /// Puts `weight` in place of the tensor `name`, or beside the others where there is none of
    /// that name, for networks that are loaded from here from now on. What
    /// [`Checkpoint::tensors`] lists stays that of the file.
    pub fn replace(&mut self, name: String, weight: Weight) {
        self.replaced.insert(name, weight);
    }

    /// Keeps the packed weights of networks that are loaded from here in `store`, and takes them
    /// from there where they are kept already. A network computes the same either way, bit for bit.
    /// Where a weight was [replaced](Checkpoint::replace) nothing is kept or taken.
    #[must_use]
    pub fn with_packed(mut self, store: PackedStore) -> Self {
        self.packed = Some(store);
        self
    }

    /// Whether any weight was replaced.
    pub(crate) fn has_replaced(&self) -> bool {
        !self.replaced.is_empty()
    }

    /// The files that the tensors are in.
    pub(crate) fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Lets go of the memory that the pages of a tensor take; they are read again when needed.
    pub(crate) fn release(&self, name: &str) {
        if let Some(raw) = self.raw.get(name) {
            raw.bytes.release();
        }
    }

    /// Whether [`Checkpoint::replace`] has put a weight in the place of tensor `name`.
    pub(crate) fn is_replaced(&self, name: &str) -> bool {
        self.replaced.contains_key(name)
    }

    /// The stored bytes of a tensor of the container (not of its scales).
    pub(crate) fn raw(&self, name: &str) -> Result<&Raw, LoadError> {
        self.raw.get(name).ok_or_else(|| self.fail(name, "is missing".into()))
    }

    /// `config.json`, if this is a directory that has one.
    pub(crate) fn config(&self) -> Option<&Value> {
        self.config.as_ref()
    }

    /// The metadata, if this is a GGUF file.
    pub(crate) fn gguf(&self) -> Option<&gguf::Header> {
        self.gguf.as_ref()
    }

    /// A [`LoadError::Tensor`] about `name`.
    pub(crate) fn fail(&self, name: &str, why: String) -> LoadError {
        LoadError::Tensor { path: self.path.clone(), name: header::printable(name), why }
    }

    fn list(&self) -> Result<Vec<TensorInfo>, LoadError> {
        let mut tensors = Vec::with_capacity(self.raw.len());
        for (name, raw) in &self.raw {
            if self.is_part(name) {
                continue;
            }
            tensors.push(match self.record(name, raw) {
                Some(Record { scheme, view }) => {
                    let size = self.recorded_bytes(name, scheme)?;
                    let axis = (!view.is_plain()).then(|| view.axis());
                    let listed = info(name, view.shape().to_vec(), scheme.to_string(), size);
                    TensorInfo { axis, ..listed }
                }
                None => info(name, raw.shape.clone(), raw.format.name.to_owned(), raw.bytes.len()),
            });
        }
        tensors.extend(self.foreign.iter().map(|(name, tensor)| {
            let size = self.foreign_bytes(tensor);
            info(name, tensor.shape.to_vec(), tensor.format.clone(), size)
        }));
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tensors)
    }
}

fn info(name: &str, shape: Vec<usize>, format: String, size: usize) -> TensorInfo {
    let elements: usize = shape.iter().product();
    let bits_per_weight = if elements == 0 { 0.0 } else { size as f64 * 8.0 / elements as f64 };
    TensorInfo {
        name: name.to_owned(),
        shape,
        axis: None,
        format,
        bits_per_weight,
        size_bytes: size as u64,
    }
}

/// Little-endian floating-point values as f32.
pub(crate) fn decode(content: Content, bytes: &[u8]) -> Vec<f32> {
    let half = |bits: &[u8; 2]| half::f16::from_le_bytes(*bits).to_f32();
    let brain = |bits: &[u8; 2]| half::bf16::from_le_bytes(*bits).to_f32();
    match content {
        Content::Float64 => {
            bytes.as_chunks().0.iter().map(|bits| f64::from_le_bytes(*bits) as f32).collect()
        }
        Content::Float32 => {
            bytes.as_chunks().0.iter().map(|bits| f32::from_le_bytes(*bits)).collect()
        }
        Content::Half => bytes.as_chunks().0.iter().map(half).collect(),
        Content::Brain => bytes.as_chunks().0.iter().map(brain).collect(),
        Content::Block(_) | Content::Int8 | Content::Bytes | Content::Opaque => Vec::new(),
    }
}
