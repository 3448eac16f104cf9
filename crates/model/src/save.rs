//! Writing a compressed copy of a model that loads the same way.

mod container;
mod convert;
mod copy;
mod float;
mod foreign;
pub(crate) mod gguf;
mod hugging;
mod hyper;
mod quantization;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

pub use convert::{ConvertOptions, convert};
pub use float::FloatFormat;
pub use foreign::{Container, ContainerError};
pub use gguf::save_gguf;

use kvant_quant::Coded;
use kvant_storage::{Cause, CreateError, Dir, FsDir, Name, NameError, WriteError};
use serde_json::Value;

use crate::checkpoint::{CORRECTION, Raw, decode, owner, printable};
use crate::{Activations, Checkpoint, Dense, LoadError, View, Weight, file};

/// What becomes of one tensor of the source.
#[derive(Clone, Debug)]
pub enum SavedTensor {
    /// Stored as the source stores it.
    Kept,
    /// Stored in f32.
    Dense(Dense),
    /// Stored in floating point, decoded from the source only while it is written.
    Float(FloatFormat),
    /// A matrix, stored as codes.
    Coded(Coded),
    /// A tensor of any rank, stored as the codes of its [`View`].
    Viewed(Coded, View),
}

/// Why a model was not written. Nothing stays behind.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The source could not be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The output is there already.
    #[error("{} exists already: remove it or choose another name", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// A file could not be created.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// A file could not be written to its end.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A directory could not be read, made or renamed.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: Cause,
    },
    /// A file of the source is a link to a place outside it.
    #[error("{} links outside the model directory: replace it by a copy", path.display())]
    Outside {
        /// The link.
        path: PathBuf,
    },
    /// A tensor that the output cannot hold as it is.
    #[error("tensor '{name}' {why}")]
    Unfit {
        /// The tensor.
        name: String,
        /// What is in the way, and the remedy.
        why: String,
    },
    /// A file name of the source that cannot be written.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Writes the model `source` to the new directory `out` with its tensors as `tensors` says.
///
/// `model.safetensors` holds the listed tensors and no others; `config.json` gains a
/// `quantization_config` from which [`Checkpoint`] knows each scheme again (all-int8 models in
/// the layout `int-quantized` of compressed-tensors). Tokenizer, vocabulary, pooling and module
/// files are copied. Of a GGUF file (llama, qwen2, bert) tensors get their Hugging Face names and
/// row order, and `config.json` and the tokenizer are made from its metadata. Where `options`
/// name another [`Container`], coded tensors are laid out for the programs that read that.
/// Everything goes to a temporary sibling first, renamed at the end; an existing `out` is
/// refused. Costs one pass over the tensors.
///
/// # Errors
/// [`SaveError`]; `out` does not exist then.
pub fn save(
    out: &Path,
    source: &Path,
    tensors: &[(String, SavedTensor)],
    options: &SaveOptions,
) -> Result<(), SaveError> {
    write(out, &Checkpoint::open(source)?, tensors, (options, &|_| {}))
}

/// What a saved model says of itself beside its tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// How coded weights are laid out.
    pub container: Container,
    /// How its activations are to be quantized when it runs; `None`: not at all.
    pub activations: Option<Activations>,
}

/// As [`save`]; `progress` is told the weights of every tensor that is written.
fn write(
    out: &Path,
    checkpoint: &Checkpoint,
    tensors: &[(String, SavedTensor)],
    (options, progress): (&SaveOptions, &dyn Fn(u64)),
) -> Result<(), SaveError> {
    let exists = || SaveError::Exists { path: out.to_path_buf() };
    if out.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let source = checkpoint.path();
    let stored = stored(checkpoint, tensors)?;
    let staging = Staging::new(out)?;
    let dir = FsDir::create(&staging.path)?;
    if let Some(header) = checkpoint.gguf() {
        hugging::write(&dir, checkpoint, header, stored, (options, progress))?;
    } else {
        let path = source.join("config.json");
        let config = match checkpoint.config() {
            Some(config) => Cow::Borrowed(config),
            // A bare file of PyTorch or ONNX has no configuration to lose.
            None if source.is_file() && source.extension().is_none_or(|e| e != "safetensors") => {
                Cow::Owned(Value::Object(serde_json::Map::new()))
            }
            None => {
                let (what, remedy) = ("config.json", "give the directory of a model");
                return Err(LoadError::Missing { path: source.to_path_buf(), what, remedy }.into());
            }
        };
        let config = quantization::describe(&path, &config, &stored, *options)?;
        container::write(&dir, &stored, (options.container, progress))?;
        dir.create_new(&Name::new("config.json")?, pretty(&config).as_bytes())?;
        if source.is_dir() {
            copy::companions(source, &dir)?;
        }
    }
    kvant_storage::sync_folder(&staging.path)?;
    if out.symlink_metadata().is_ok() {
        return Err(exists());
    }
    staging.publish(out)
}

/// A tensor and the bytes it will have.
enum Stored<'a> {
    /// Bytes of the source in its format.
    Raw(Cow<'a, Raw>),
    Dense(Cow<'a, Dense>),
    Coded(Cow<'a, Coded>),
    /// Codes of something else than a matrix by its rows.
    Viewed(Cow<'a, Coded>, Cow<'a, View>),
    Cast(Cast<'a>),
}

/// A tensor of the source that is decoded and rounded when its bytes are asked for.
struct Cast<'a> {
    source: &'a Checkpoint,
    name: &'a str,
    shape: Vec<usize>,
    /// The rows in the order wanted, if not in that of the source.
    order: Option<Vec<usize>>,
    format: FloatFormat,
}

impl Cast<'_> {
    fn values(&self) -> Result<Vec<f32>, SaveError> {
        let dense = self.source.dense(self.name)?;
        Ok(match &self.order {
            None => dense.values().to_vec(),
            Some(order) => order.iter().flat_map(|&row| dense.row(row)).copied().collect(),
        })
    }

    fn bytes(&self) -> Result<Vec<u8>, SaveError> {
        self.format.encode(self.name, &self.values()?)
    }
}

impl<'a> Stored<'a> {
    /// Codes, and what they stand for.
    fn viewed(coded: Cow<'a, Coded>, view: Cow<'a, View>) -> Self {
        if view.is_plain() { Self::Coded(coded) } else { Self::Viewed(coded, view) }
    }

    /// Refuses codes that `reader` would take for those of a matrix by its rows.
    fn refuse_viewed(&self, name: &str, reader: &dyn fmt::Display) -> Result<(), SaveError> {
        let Self::Viewed(_, view) = self else { return Ok(()) };
        let (shape, axis) = (view.shape(), view.axis());
        let why = format!(
            "has the shape {shape:?}, coded by axis {axis}, and {reader} holds codes of matrices \
             only: keep it by a recipe, or write a directory of Kvant"
        );
        Err(SaveError::Unfit { name: printable(name), why })
    }
}

impl Stored<'_> {
    fn shape(&self) -> Vec<usize> {
        match self {
            Self::Raw(raw) => raw.shape.clone(),
            Self::Dense(dense) => dense.shape().to_vec(),
            Self::Coded(coded) => vec![coded.rows(), coded.cols()],
            Self::Viewed(_, view) => view.shape().to_vec(),
            Self::Cast(cast) => cast.shape.clone(),
        }
    }

    /// The values in f32; none for what is only carried along.
    fn values(&self) -> Result<Cow<'_, [f32]>, SaveError> {
        Ok(match self {
            Self::Raw(raw) => decode(raw.format.content, &raw.bytes).into(),
            Self::Dense(dense) => dense.values().into(),
            Self::Coded(coded) => coded.decode().into(),
            Self::Viewed(coded, view) => view.fold(coded.decode()).into(),
            Self::Cast(cast) => cast.values()?.into(),
        })
    }

    /// The same with its rows in another order, which must name rows that are there.
    fn select_rows(self, order: Vec<usize>) -> Self {
        match self {
            Self::Raw(raw) => {
                let width = raw.bytes.len().checked_div(order.len()).unwrap_or(0);
                let rows = order.iter().map(|&row| &raw.bytes[row * width..(row + 1) * width]);
                let bytes = rows.collect::<Vec<_>>().concat().into();
                Self::Raw(Cow::Owned(Raw { shape: raw.shape.clone(), bytes, ..*raw }))
            }
            Self::Dense(dense) => {
                let values = order.iter().flat_map(|&row| dense.row(row)).copied().collect();
                Self::Dense(Cow::Owned(Dense::owned(dense.shape().to_vec(), values)))
            }
            Self::Coded(coded) => Self::Coded(Cow::Owned(coded.select_rows(&order))),
            Self::Viewed(coded, view) => {
                assert_eq!(view.axis(), 0, "only rows of codes can be reordered");
                Self::Viewed(Cow::Owned(coded.select_rows(&order)), view)
            }
            Self::Cast(cast) => Self::Cast(Cast { order: Some(order), ..cast }),
        }
    }
}

/// Every tensor to write, by name, with what the source knows of it.
fn stored<'a>(
    checkpoint: &'a Checkpoint,
    tensors: &'a [(String, SavedTensor)],
) -> Result<Vec<(&'a str, Stored<'a>)>, SaveError> {
    let mut stored = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let Some(described) = checkpoint.tensor(name) else {
            stored.push((name.as_str(), added(checkpoint, name, tensor)?));
            continue;
        };
        let entry = match tensor {
            SavedTensor::Dense(dense) => Stored::Dense(Cow::Borrowed(dense)),
            SavedTensor::Coded(coded) => Stored::Coded(Cow::Borrowed(coded)),
            SavedTensor::Viewed(coded, view) => {
                let matrix = (coded.rows(), coded.cols());
                if matrix != (view.rows(), view.cols()) {
                    let shape = view.shape();
                    let why = format!("codes of {matrix:?} do not fill its shape {shape:?}");
                    return Err(checkpoint.fail(name, why).into());
                }
                Stored::viewed(Cow::Borrowed(coded), Cow::Borrowed(view))
            }
            SavedTensor::Float(format) => Stored::Cast(Cast {
                source: checkpoint,
                name,
                shape: described.shape.clone(),
                order: None,
                format: *format,
            }),
            SavedTensor::Kept if checkpoint.is_foreign(name) => match checkpoint.weight(name)? {
                Weight::Coded(coded) => Stored::Coded(Cow::Owned(coded)),
                Weight::Dense(dense) => Stored::Dense(Cow::Owned(dense)),
            },
            SavedTensor::Kept => match checkpoint.codes(name)? {
                Some((coded, view)) => {
                    let beside = checkpoint.beside(name);
                    stored
                        .extend(beside.map(|(name, raw)| (name, Stored::Raw(Cow::Borrowed(raw)))));
                    Stored::viewed(Cow::Owned(coded), Cow::Owned(view))
                }
                None => Stored::Raw(Cow::Borrowed(checkpoint.raw(name)?)),
            },
        };
        let shape = entry.shape();
        if shape != described.shape {
            let why = format!("its shape is {:?}, the new one {shape:?}", described.shape);
            return Err(checkpoint.fail(name, why).into());
        }
        stored.push((name.as_str(), entry));
    }
    stored.sort_by_key(|(name, _)| *name);
    if let Some(pair) = stored.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(checkpoint.fail(pair[0].0, "is listed twice".into()).into());
    }
    Ok(stored)
}

/// A tensor that the source does not have: the head of a decoder whose source had none of its own,
/// or what belongs to a weight beside its codes.
fn added<'a>(
    checkpoint: &Checkpoint,
    name: &str,
    tensor: &'a SavedTensor,
) -> Result<Stored<'a>, SaveError> {
    let known = |name: &str| HEADS.contains(&name) || checkpoint.tensor(name).is_some();
    let part = owner(name).filter(|(weight, _)| known(weight));
    match (tensor, part) {
        (SavedTensor::Dense(dense), Some((_, suffix))) if CORRECTION.contains(&suffix) => {
            let bytes = FloatFormat::F16.encode(name, dense.values())?.into();
            let (format, shape) = (FloatFormat::F16.format(), dense.shape().to_vec());
            Ok(Stored::Raw(Cow::Owned(Raw { format, shape, bytes })))
        }
        (SavedTensor::Dense(dense), part) if part.is_some() || HEADS.contains(&name) => {
            Ok(Stored::Dense(Cow::Borrowed(dense)))
        }
        (SavedTensor::Coded(coded), None) if HEADS.contains(&name) => {
            Ok(Stored::Coded(Cow::Borrowed(coded)))
        }
        _ => Err(checkpoint.fail(name, "is missing".into()).into()),
    }
}

/// What the head of a decoder is called in safetensors and GGUF files.
const HEADS: [&str; 2] = ["lm_head.weight", "output.weight"];

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The directory being filled; removed with all it holds unless published.
struct Staging {
    path: PathBuf,
    published: bool,
}

impl Staging {
    fn new(out: &Path) -> Result<Self, SaveError> {
        let name = out.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_else(|| "model".into());
        let parent = file::parent(out);
        let path = parent.join(format!(".tmp-{}-{name}", std::process::id()));
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(|error| io(&path, error))?;
        }
        Ok(Self { path, published: false })
    }

    fn publish(mut self, out: &Path) -> Result<(), SaveError> {
        std::fs::rename(&self.path, out).map_err(|error| io(out, error))?;
        self.published = true;
        Ok(kvant_storage::sync_folder(file::parent(out))?)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            // The error that brought us here matters more than a failed clean-up.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn io(path: &Path, error: std::io::Error) -> SaveError {
    SaveError::Io { path: path.to_path_buf(), cause: error.into() }
}
