//! From token states to one vector: pooling and normalisation, as the model directory says.

use std::fmt;
use std::path::Path;

use serde_json::Value;

use crate::checkpoint::gguf::Header;
use crate::save::gguf::NORMALIZED;
use crate::{LoadError, file};

/// How the states of a sequence become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Mean,
    First,
    Max,
}

/// The modules behind the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pooling {
    mode: Mode,
    /// Whether vectors are scaled to length 1.
    normalized: bool,
    /// Whether the model says so, or nothing does.
    stated: bool,
}

const SUPPORTED: &str = "mean, cls and max pooling, followed by Normalize";

impl Pooling {
    /// Reads `modules.json` and the pooling configuration it names.
    ///
    /// Without `modules.json` it is mean pooling (or what `1_Pooling/config.json` says) without
    /// normalisation, as sentence-transformers does for a bare network.
    pub(crate) fn read(dir: &Path) -> Result<Self, LoadError> {
        let path = dir.join("modules.json");
        let Some(modules) = file::json_if_there(&path)? else {
            return Ok(Self::of(mode(&dir.join("1_Pooling/config.json"))?));
        };
        let fail = |why: String| LoadError::Config { path: path.clone(), why };
        let modules = modules.as_array().ok_or_else(|| fail("not a list of modules".into()))?;
        let mut pooling = Self::of(None);
        for module in modules {
            let kind = module.get("type").and_then(Value::as_str).unwrap_or_default();
            match kind.rsplit('.').next().unwrap_or_default() {
                "Transformer" => {}
                "Pooling" => {
                    let folder = module.get("path").and_then(Value::as_str).unwrap_or_default();
                    if !is_plain(folder) {
                        let folder = crate::checkpoint::printable(folder);
                        return Err(fail(format!("module path '{folder}' is no plain name")));
                    }
                    let mode = mode(&dir.join(folder).join("config.json"))?;
                    pooling = Self { normalized: pooling.normalized, ..Self::of(mode) };
                }
                "Normalize" => pooling.normalized = true,
                other => {
                    let what = format!("module '{}'", crate::checkpoint::printable(other));
                    return Err(unsupported(&path, what));
                }
            }
        }
        Ok(pooling)
    }

    /// The mean where no mode is stated; not normalised.
    fn of(stated: Option<Mode>) -> Self {
        let mode = stated.unwrap_or(Mode::Mean);
        Self { mode, normalized: false, stated: stated.is_some() }
    }

    /// Whether the model says how, and it is not the mean for want of a better.
    pub(crate) fn is_stated(self) -> bool {
        self.stated
    }

    /// How the states become one vector.
    pub(crate) fn mode(self) -> Mode {
        self.mode
    }

    /// Whether vectors are scaled to length 1.
    pub(crate) fn is_normalized(self) -> bool {
        self.normalized
    }

    /// Reads `bert.pooling_type`. Only files that Kvant wrote say whether vectors are scaled to
    /// length 1; those of others are, as the programs that use such files do it.
    pub(crate) fn gguf(path: &Path, header: &Header) -> Result<Self, LoadError> {
        let mode = match header.size("bert.pooling_type") {
            None | Some(0 | 1) => Mode::Mean,
            Some(2) => Mode::First,
            Some(other) => return Err(unsupported(path, format!("pooling of type {other}"))),
        };
        let normalized = header.flag(NORMALIZED).unwrap_or(true);
        Ok(Self { mode, normalized, stated: true })
    }

    /// Writes the vector of a sequence from its states (`tokens × width`).
    pub(crate) fn forward(self, states: &[f32], out: &mut [f32]) {
        let mut rows = states.chunks_exact(out.len());
        out.fill(0.0);
        if let Some(first) = rows.next() {
            out.copy_from_slice(first);
        }
        match self.mode {
            Mode::First => {}
            Mode::Mean => {
                let count = states.len() / out.len();
                for row in rows {
                    out.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
                scale_by(out, 1.0 / count.max(1) as f32);
            }
            Mode::Max => {
                for row in rows {
                    out.iter_mut().zip(row).for_each(|(max, value)| *max = max.max(*value));
                }
            }
        }
        if self.normalized {
            let norm = out.iter().map(|value| value * value).sum::<f32>().sqrt();
            scale_by(out, 1.0 / norm.max(1e-12));
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.mode {
            Mode::Mean => "mean",
            Mode::First => "cls",
            Mode::Max => "max",
        })?;
        if self.normalized { f.write_str(", normalized") } else { Ok(()) }
    }
}

fn scale_by(values: &mut [f32], scale: f32) {
    for value in values {
        *value *= scale;
    }
}

fn is_plain(folder: &str) -> bool {
    !folder.starts_with('.')
        && folder.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn unsupported(path: &Path, what: String) -> LoadError {
    LoadError::Unsupported { path: path.to_path_buf(), what, supported: SUPPORTED }
}

/// The one mode that a pooling configuration switches on, if there is one.
fn mode(path: &Path) -> Result<Option<Mode>, LoadError> {
    let Some(config) = file::json_if_there(path)? else { return Ok(None) };
    let named = config.get("pooling_mode").and_then(Value::as_str);
    let flags = config.as_object().into_iter().flatten();
    let flags = flags.filter(|(_, value)| **value == Value::Bool(true));
    let flags = flags.filter_map(|(key, _)| key.strip_prefix("pooling_mode_"));
    let names: Vec<&str> = named.into_iter().chain(flags).collect();
    match names[..] {
        ["mean_tokens" | "mean"] => Ok(Some(Mode::Mean)),
        ["cls_token" | "cls"] => Ok(Some(Mode::First)),
        ["max_tokens" | "max"] => Ok(Some(Mode::Max)),
        [] => Err(unsupported(path, "no pooling mode".into())),
        _ => {
            let names = crate::checkpoint::printable(&names.join(" + "));
            Err(unsupported(path, format!("pooling '{names}'")))
        }
    }
}
