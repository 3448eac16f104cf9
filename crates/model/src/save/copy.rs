//! Copying what belongs to a model beside its weights: tokenizer, vocabulary, pooling, modules.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use kvant_storage::{Dir, FsDir, Name, read_file};

use super::{SaveError, io};
use crate::LoadError;
use crate::limit::COMPANION_BYTES;

/// Kinds of files that are copied; weights of any format are none of them.
const EXTENSIONS: [&str; 5] = ["json", "txt", "model", "md", "jinja"];
/// Files that are written anew, or that would describe files which are not copied.
const REPLACED: [&str; 3] = ["config.json", "model.safetensors.index.json", "quantize_config.json"];

/// Copies the companions of `source`, and those of module folders such as `1_Pooling`.
pub(super) fn companions(source: &Path, out: &FsDir) -> Result<(), SaveError> {
    for entry in entries(source)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            if is_module(&name) {
                for inner in entries(&confined(source, &entry.path())?)? {
                    let inner_name = inner.file_name().to_string_lossy().into_owned();
                    copy(source, &inner.path(), &format!("{name}/{inner_name}"), out)?;
                }
            }
        } else if !REPLACED.contains(&name.as_str()) {
            copy(source, &entry.path(), &name, out)?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>, SaveError> {
    let listed = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = listed.map_err(|error| io(folder, error))?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

/// Folders of sentence-transformers modules: a number, an underscore, a word.
fn is_module(name: &str) -> bool {
    name.split_once('_').is_some_and(|(number, word)| {
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && !word.is_empty()
    })
}

fn copy(source: &Path, from: &Path, to: &str, out: &FsDir) -> Result<(), SaveError> {
    let extension = from.extension().map(|extension| extension.to_string_lossy().into_owned());
    let Ok(to) = Name::new(to) else { return Ok(()) };
    if !extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str())) {
        return Ok(());
    }
    let from = confined(source, from)?;
    let meta = std::fs::metadata(&from).map_err(|error| io(&from, error))?;
    if meta.is_file() && meta.len() <= COMPANION_BYTES {
        out.create_new(&to, &read_file(&from).map_err(LoadError::from)?)?;
    }
    Ok(())
}

/// `path` with links followed, if that stays in the model directory or, for a download cache
/// that links its snapshots to `../../blobs`, in there.
fn confined(source: &Path, path: &Path) -> Result<PathBuf, SaveError> {
    let meta = std::fs::symlink_metadata(path).map_err(|error| io(path, error))?;
    if !meta.is_symlink() {
        return Ok(path.to_path_buf());
    }
    let real = |path: &Path| path.canonicalize().map_err(|error| io(path, error));
    let (root, target) = (real(source)?, real(path)?);
    let blobs = root.parent().and_then(Path::parent).map(|repository| repository.join("blobs"));
    if target.starts_with(&root) || blobs.is_some_and(|blobs| target.starts_with(blobs)) {
        Ok(target)
    } else {
        Err(SaveError::Outside { path: path.to_path_buf() })
    }
}
