//! Models of the Hugging Face hub or a mirror of it, in the cache layout every tool shares.
//!
//! `models--org--name/{blobs/<etag>, snapshots/<commit>/<file>, refs/<revision>}`: a blob gets its
//! name after its hash was checked, and the revision is written last, so a killed pull leaves
//! nothing that looks whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::{Environment, find};
use crate::progress::{Audience, Progress, Unit};
use crate::reference::is_part;

mod client;
mod store;

use client::{Client, Remote, Trouble};

/// Files of one model at most.
const FILES_MAX: usize = 2_000;

/// The cached model at `revision`; no network call.
pub(crate) fn cached(
    environment: &Environment,
    repository: &str,
    revision: &str,
) -> Option<PathBuf> {
    let folder = store::folder(&environment.hub_cache, repository);
    let commit = if is_commit(revision) {
        revision.to_owned()
    } else {
        fs::read_to_string(folder.join("refs").join(revision)).ok()?.trim().to_owned()
    };
    if !is_part(&commit) {
        return None;
    }
    let snapshot = folder.join("snapshots").join(commit);
    let model = find::model(&snapshot).ok()?;
    find::is_whole(&model).then_some(model)
}

/// Downloads what the model needs and gives its path.
///
/// # Errors
/// If the hub cannot be reached or refuses, or a file does not match its hash.
pub(crate) fn fetch(
    environment: &Environment,
    repository: &str,
    revision: &str,
    audience: Audience,
) -> anyhow::Result<PathBuf> {
    let shown = format!("hf:{repository}");
    if environment.hub_offline {
        bail!(
            "{shown}: not in the cache {} and HF_HUB_OFFLINE is set; unset it, or copy the model \
             there or give its path",
            environment.hub_cache.display()
        );
    }
    let client = Client::new(environment, repository);
    let info = client.info(revision).with_context(|| shown.clone())?;
    ensure!(is_part(&info.sha), "{shown}: the hub gave an odd commit");
    let names = needed(&info.files());
    ensure!(
        !names.is_empty(),
        "{shown}: has no safetensors or GGUF weights; name another model or convert it"
    );
    ensure!(names.len() <= FILES_MAX, "{shown}: has {} files to load", names.len());

    let mut remotes = Vec::new();
    for name in names {
        let remote = client.describe(&info.sha, &name);
        remotes.push(remote.with_context(|| format!("{shown}: {name}"))?);
    }
    let total = remotes.iter().fold(0_u64, |total, remote| total.saturating_add(remote.size));
    let progress = Progress::new("downloading", Some(total), Unit::Bytes, audience);
    let store = store::Store::new(&environment.hub_cache, repository, &info.sha);
    for remote in &remotes {
        progress.say(&remote.name);
        store
            .add(&client, remote, &progress)
            .with_context(|| format!("{shown}: {}", remote.name))?;
    }
    if !is_commit(revision) {
        store.name_revision(revision)?;
    }
    let model = find::model(&store.snapshot())?;
    Ok(model)
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Of all files of a repository those that loading needs: weights, configuration, tokenizer,
/// pooling modules. Other precisions and runtimes lie in folders of their own and stay there.
fn needed(files: &[&str]) -> Vec<String> {
    let extension = |name: &str| {
        Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default().to_owned()
    };
    let safe = |name: &&&str| name.split('/').all(is_part);
    let files: Vec<&str> = files.iter().filter(safe).copied().collect();
    let at_root = |name: &str| !name.contains('/');
    let wants = |weights: &str| files.iter().any(|n| at_root(n) && extension(n) == weights);
    let weights = match (wants("safetensors"), wants("gguf")) {
        (true, _) => "safetensors",
        (false, true) => "gguf",
        (false, false) => return Vec::new(),
    };
    let kept = files.iter().filter(|name| {
        let extension = extension(name);
        let side = matches!(extension.as_str(), "json" | "txt" | "model");
        (at_root(name) || in_module(name)) && (side || extension == weights)
    });
    kept.map(|name| (*name).to_owned()).collect()
}

/// `1_Pooling/config.json` and its like: a number, an underscore, one level.
fn in_module(name: &str) -> bool {
    let Some((folder, file)) = name.split_once('/') else { return false };
    let Some((number, _)) = folder.split_once('_') else { return false };
    !file.contains('/') && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_loading_needs_is_fetched() {
        let files = [
            "README.md",
            "config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "tokenizer.json",
            "vocab.txt",
            "1_Pooling/config.json",
            "2_Dense/model.safetensors",
            "onnx/model.onnx",
            "onnx/config.json",
            "openvino/model.safetensors",
            "../escape.json",
            "a/../b.json",
            "tf_model.h5",
            ".gitattributes",
            "model.gguf",
        ];
        assert_eq!(
            needed(&files),
            [
                "config.json",
                "model.safetensors",
                "tokenizer.json",
                "vocab.txt",
                "1_Pooling/config.json",
                "2_Dense/model.safetensors"
            ]
        );
        assert_eq!(needed(&["a.gguf", "README.md"]), ["a.gguf"]);
        assert!(needed(&["config.json", "pytorch_model.bin"]).is_empty());
    }
}
