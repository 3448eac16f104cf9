//! Writing a compressed copy of a model that loads the same way.

mod container;
mod copy;
mod quantization;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use kvant_quant::Coded;
use kvant_storage::{Cause, CreateError, Dir, FsDir, Name, NameError, WriteError};
use serde_json::Value;

use crate::{Checkpoint, Dense, LoadError, Weight, file};

/// What becomes of one tensor of the source.
#[derive(Clone, Debug)]
pub enum SavedTensor {
    /// Stored as the source stores it.
    Kept,
    /// Stored in f32.
    Dense(Dense),
    /// Stored as codes.
    Coded(Coded),
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
    /// A file name of the source that cannot be written.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Writes the model `source` to the new directory `out` with its tensors as `tensors` says.
///
/// `model.safetensors` holds the listed tensors and no others; `config.json` gains a
/// `quantization_config` from which [`Checkpoint`] knows each scheme again (all-int8 models in
/// the layout `int-quantized` of compressed-tensors). Tokenizer, vocabulary, pooling and module
/// files are copied. Everything goes to a temporary sibling first, renamed at the end; an
/// existing `out` is refused. Costs one pass over the tensors.
///
/// # Errors
/// [`SaveError`]; `out` does not exist then.
pub fn save(out: &Path, source: &Path, tensors: &[(String, SavedTensor)]) -> Result<(), SaveError> {
    let exists = || SaveError::Exists { path: out.to_path_buf() };
    if out.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let checkpoint = Checkpoint::open(source)?;
    let path = source.join("config.json");
    let Some(config) = checkpoint.config() else {
        let (what, remedy) = ("config.json", "give the directory of a model to compress");
        return Err(LoadError::Missing { path: source.to_path_buf(), what, remedy }.into());
    };
    let staging = Staging::new(out)?;
    let dir = FsDir::create(&staging.path)?;
    let stored = stored(&checkpoint, tensors)?;
    container::write(&dir, &stored)?;
    let config = quantization::describe(&path, config, &stored)?;
    dir.create_new(&Name::new("config.json")?, pretty(&config).as_bytes())?;
    copy::companions(source, &dir)?;
    kvant_storage::sync_folder(&staging.path)?;
    if out.symlink_metadata().is_ok() {
        return Err(exists());
    }
    staging.publish(out)
}

/// A tensor and the bytes it will have.
enum Stored<'a> {
    /// Bytes of the source under a safetensors dtype.
    Raw(&'a crate::checkpoint::Raw),
    Dense(&'a Dense),
    Coded(std::borrow::Cow<'a, Coded>),
}

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
        let shape = match tensor {
            SavedTensor::Kept => described.shape.clone(),
            SavedTensor::Dense(dense) => dense.shape().to_vec(),
            SavedTensor::Coded(coded) => vec![coded.rows(), coded.cols()],
        };
        if shape != described.shape {
            let why = format!("its shape is {:?}, the new one {shape:?}", described.shape);
            return Err(checkpoint.fail(name, why).into());
        }
        let entry = match tensor {
            SavedTensor::Dense(dense) => Stored::Dense(dense),
            SavedTensor::Coded(coded) => Stored::Coded(std::borrow::Cow::Borrowed(coded)),
            SavedTensor::Kept if checkpoint.is_coded(name) => match checkpoint.weight(name)? {
                Weight::Coded(coded) => Stored::Coded(std::borrow::Cow::Owned(coded)),
                Weight::Dense(_) => Stored::Raw(checkpoint.raw(name)?),
            },
            SavedTensor::Kept => Stored::Raw(checkpoint.raw(name)?),
        };
        stored.push((name.as_str(), entry));
    }
    stored.sort_by_key(|(name, _)| *name);
    if let Some(pair) = stored.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(checkpoint.fail(pair[0].0, "is listed twice".into()).into());
    }
    Ok(stored)
}

/// A tensor that the source does not have: the head of a decoder whose source had none of its own.
fn added<'a>(
    checkpoint: &Checkpoint,
    name: &str,
    tensor: &'a SavedTensor,
) -> Result<Stored<'a>, SaveError> {
    let head = HEADS.contains(&name);
    match tensor {
        SavedTensor::Dense(dense) if head => Ok(Stored::Dense(dense)),
        SavedTensor::Coded(coded) if head => Ok(Stored::Coded(std::borrow::Cow::Borrowed(coded))),
        SavedTensor::Kept | SavedTensor::Dense(_) | SavedTensor::Coded(_) => {
            Err(checkpoint.fail(name, "is missing".into()).into())
        }
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
