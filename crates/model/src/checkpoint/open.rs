//! Which files make up a model, and whether they are what their names say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kvant_storage::Bytes;
use serde_json::Value;

use super::safetensors::Entry;
use super::{HeaderError, Raw, gguf, onnx, safetensors, torch};
use crate::LoadError;
use crate::file;
use crate::limit::{SHARDS, TOKENIZER_BYTES};
use crate::store::SourceFile;

const WEIGHTS: &str = "model.safetensors";
const PICKLED: &str = "pytorch_model.bin";
const INDEX: &str = "model.safetensors.index.json";

/// The tensors of all files of a model.
pub(super) struct Opened {
    pub(super) tensors: BTreeMap<String, Raw>,
    pub(super) gguf: Option<gguf::Header>,
    pub(super) files: Vec<SourceFile>,
}

/// The files that were opened so far.
#[derive(Default)]
struct Files(Vec<SourceFile>);

impl Files {
    fn read(&mut self, path: &Path) -> Result<Bytes, LoadError> {
        let (bytes, stamp) = kvant_storage::read_stamped_file(path)?;
        self.0.push(SourceFile { path: path.to_path_buf(), bytes: bytes.clone(), stamp });
        Ok(bytes)
    }
}

pub(super) fn open(path: &Path) -> Result<Opened, LoadError> {
    let mut files = Files::default();
    if path.is_dir() {
        let tensors = directory(path, &mut files)?;
        return Ok(Opened { tensors, gguf: None, files: files.0 });
    }
    if !path.exists() {
        let (what, remedy) = ("the model", "give a model directory or a .gguf file that exists");
        return Err(LoadError::Missing { path: path.to_path_buf(), what, remedy });
    }
    let bytes = files.read(path)?;
    if bytes.starts_with(gguf::MAGIC) {
        let header = gguf::parse(&bytes).map_err(|source| damaged(path, source))?;
        let mut tensors = BTreeMap::new();
        add(&mut tensors, &bytes, header.entries.clone());
        return Ok(Opened { tensors, gguf: Some(header), files: files.0 });
    }
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let tensors = match extension.as_str() {
        "onnx" => onnx::parse(path, &bytes)?,
        "pth" | "pt" | "bin" | "ckpt" => read_torch(path, &bytes)?,
        _ => {
            let mut tensors = BTreeMap::new();
            read_safetensors(path, &bytes, &mut tensors)?;
            tensors
        }
    };
    Ok(Opened { tensors, gguf: None, files: files.0 })
}

fn read_torch(path: &Path, bytes: &Bytes) -> Result<BTreeMap<String, Raw>, LoadError> {
    if !torch::looks_right(bytes) {
        let found = foreign(bytes).unwrap_or("no file of PyTorch");
        let remedy = "give a file that torch.save wrote";
        return Err(LoadError::Foreign { path: path.to_path_buf(), found, remedy });
    }
    torch::parse(bytes).map_err(|source| damaged(path, source))
}

fn directory(path: &Path, files: &mut Files) -> Result<BTreeMap<String, Raw>, LoadError> {
    let mut tensors = BTreeMap::new();
    let single = path.join(WEIGHTS);
    if single.exists() {
        read_safetensors(&single, &files.read(&single)?, &mut tensors)?;
    } else if path.join(INDEX).exists() {
        for name in shards(&path.join(INDEX))? {
            let shard = path.join(name);
            read_safetensors(&shard, &files.read(&shard)?, &mut tensors)?;
        }
    } else {
        let pickled = path.join(PICKLED);
        if pickled.exists() {
            return read_torch(&pickled, &files.read(&pickled)?);
        }
        let remedy = "put model.safetensors there, or give the path of a .gguf file";
        return Err(LoadError::Missing { path: path.to_path_buf(), what: WEIGHTS, remedy });
    }
    Ok(tensors)
}

/// The shard names of an index, each confined to the directory of the index.
fn shards(index: &Path) -> Result<BTreeSet<String>, LoadError> {
    let fail = |why: String| LoadError::Config { path: index.to_path_buf(), why };
    let value = file::json(index, TOKENIZER_BYTES)?;
    let map = value
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| fail("weight_map is not an object".into()))?;
    let mut names = BTreeSet::new();
    for name in map.values() {
        let name = name.as_str().unwrap_or_default();
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !plain || name.starts_with('.') || !name.ends_with(".safetensors") {
            let name = super::header::printable(name);
            return Err(fail(format!("shard '{name}' is not a plain .safetensors file name")));
        }
        names.insert(name.to_owned());
        if names.len() > SHARDS {
            return Err(fail(format!("more than {SHARDS} shards")));
        }
    }
    Ok(names)
}

fn read_safetensors(
    path: &Path,
    bytes: &Bytes,
    tensors: &mut BTreeMap<String, Raw>,
) -> Result<(), LoadError> {
    if !safetensors::looks_right(bytes)
        && let Some(found) = foreign(bytes)
    {
        let remedy = remedy(found);
        return Err(LoadError::Foreign { path: path.to_path_buf(), found, remedy });
    }
    let entries = safetensors::parse(bytes).map_err(|source| damaged(path, source))?;
    for entry in &entries {
        if tensors.contains_key(&entry.name) {
            let source = HeaderError::tensor(&entry.name, "is in two shards");
            return Err(damaged(path, source));
        }
    }
    add(tensors, bytes, entries);
    Ok(())
}

fn add(tensors: &mut BTreeMap<String, Raw>, bytes: &Bytes, entries: Vec<Entry>) {
    for Entry { name, format, shape, range } in entries {
        tensors.insert(name, Raw { format, shape, bytes: bytes.slice(range) });
    }
}

fn damaged(path: &Path, source: HeaderError) -> LoadError {
    LoadError::Damaged { path: path.to_path_buf(), source }
}

/// The error for a file that is only a git-lfs pointer.
pub(crate) fn lfs_pointer(path: &Path) -> LoadError {
    let found = "a git-lfs pointer";
    LoadError::Foreign { path: path.to_path_buf(), found, remedy: remedy(found) }
}

fn remedy(found: &'static str) -> &'static str {
    if found.contains("git-lfs") {
        "fetch the real file with `git lfs pull`"
    } else if found.contains("web page") {
        "download the model again"
    } else if found.contains("GGUF") {
        "give it the extension .gguf and pass the file itself"
    } else {
        "give a file of PyTorch the extension .pth, else convert it to safetensors"
    }
}

/// What a file that is not safetensors looks like, by its first bytes.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    let starts = |prefix: &[u8]| bytes.starts_with(prefix);
    if starts(b"version https://git-lfs") {
        Some("a git-lfs pointer")
    } else if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") {
        Some("a zip archive (PyTorch files are zipped pickles), not safetensors")
    } else if bytes.first() == Some(&0x80) && bytes.get(1).is_some_and(|v| (2..=5).contains(v)) {
        Some("a Python pickle, not safetensors")
    } else if starts(b"\x89HDF") {
        Some("an HDF5 file, not safetensors")
    } else if starts(gguf::MAGIC) {
        Some("a GGUF file, not safetensors")
    } else if starts(b"<") {
        Some("a web page, not safetensors")
    } else if bytes.is_empty() {
        Some("an empty file, not safetensors")
    } else {
        None
    }
}
