//! How the parts of a network hang together, for whoever changes weights without running them.

use crate::arch::llama::Shape;
use crate::checkpoint::printable;
use crate::config::Config;
use crate::{Checkpoint, LoadError};

/// The family of a network: which tensors there are, and what lies between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Post-norm encoder with layer normalisation and GELU (BERT).
    Bert,
    /// Pre-norm decoder with RMS normalisation and a gated block (Llama, Mistral, Qwen2).
    Llama,
}

/// The family and the sizes of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// What kind of network.
    pub family: Family,
    /// Whether tensors have the names of GGUF files, else those of Hugging Face.
    pub container: Naming,
    /// Transformer layers.
    pub layers: usize,
    /// Width of the states between layers.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads, a divisor of `heads`.
    pub groups: usize,
    /// Values per head.
    pub width: usize,
    /// Whether the word table is the head of a decoder too, by what the model says or holds.
    pub tied: bool,
}

/// Whose tensor names a model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `model.layers.0.self_attn.q_proj.weight`.
    Safetensors,
    /// `blk.0.attn_q.weight`.
    Gguf,
}

impl Outline {
    /// Of the model in `checkpoint`.
    ///
    /// # Errors
    /// [`LoadError`] when the configuration is missing, out of bounds or of another family.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let path = checkpoint.path();
        let (container, kind) = match (checkpoint.gguf(), checkpoint.config()) {
            (Some(header), _) => (Naming::Gguf, header.text("general.architecture")),
            (None, Some(config)) => {
                let kind = config.get("model_type").and_then(serde_json::Value::as_str);
                (Naming::Safetensors, kind)
            }
            (None, None) => {
                let (what, remedy) = ("config.json", "copy it from the model's source");
                return Err(LoadError::Missing { path: path.to_path_buf(), what, remedy });
            }
        };
        match (kind, checkpoint.config()) {
            (Some("llama" | "mistral" | "qwen2"), _) => {
                let shape = Shape::of(checkpoint)?;
                let Shape { layers, hidden, heads, groups, width, .. } = shape;
                let held = |name| checkpoint.tensor(name).is_some();
                let tied = !held("lm_head.weight") && !held("output.weight");
                let (family, tied) = (Family::Llama, shape.tied.unwrap_or(tied));
                Ok(Self { family, container, layers, hidden, heads, groups, width, tied })
            }
            (Some("bert") | None, Some(config)) => {
                let Config { layers, hidden, heads, .. } =
                    Config::parse(&path.join("config.json"), config)?;
                Ok(Self::bert(container, layers, hidden, heads))
            }
            (Some("bert"), None) => {
                let size = |key: &str| {
                    let size = checkpoint.gguf().and_then(|header| header.size(key));
                    size.filter(|&size| size > 0).ok_or_else(|| LoadError::Config {
                        path: path.to_path_buf(),
                        why: format!("{key} must be a number above 0"),
                    })
                };
                let (layers, hidden) = (size("bert.block_count")?, size("bert.embedding_length")?);
                Ok(Self::bert(container, layers, hidden, size("bert.attention.head_count")?))
            }
            (other, _) => Err(LoadError::Unsupported {
                path: path.to_path_buf(),
                what: format!("architecture '{}'", printable(other.unwrap_or("none"))),
                supported: "encoders of type bert, decoders of type llama, mistral and qwen2",
            }),
        }
    }

    fn bert(container: Naming, layers: usize, hidden: usize, heads: usize) -> Self {
        let width = hidden / heads;
        let (family, groups) = (Family::Bert, heads);
        Self { family, container, layers, hidden, heads, groups, width, tied: false }
    }
}
