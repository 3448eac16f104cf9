//! What `config.json` says of a BERT-like network, within limits.

use std::path::Path;

use serde_json::Value;

use crate::checkpoint::gguf::Header;
use crate::limit::{HIDDEN, LAYERS, POSITIONS, VOCABULARY};
use crate::{Checkpoint, LoadError};

/// The shape of a BERT-like network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) inner: usize,
    pub(crate) vocabulary: usize,
    pub(crate) positions: usize,
    pub(crate) types: usize,
    pub(crate) eps: f32,
}

impl Config {
    /// Reads and checks `config`, the content of the file at `path`.
    pub(crate) fn parse(path: &Path, config: &Value) -> Result<Self, LoadError> {
        known(path, config)?;
        let fail = |why: String| LoadError::Config { path: path.to_path_buf(), why };
        let size = |key: &str, limit: usize| {
            let value = config.get(key).and_then(Value::as_u64).unwrap_or(0);
            let fits = (1..=limit as u64).contains(&value).then_some(value as usize);
            fits.ok_or_else(|| fail(format!("{key} must be a number from 1 to {limit}")))
        };
        let config = Self {
            hidden: size("hidden_size", HIDDEN)?,
            layers: size("num_hidden_layers", LAYERS)?,
            heads: size("num_attention_heads", HIDDEN)?,
            inner: size("intermediate_size", 8 * HIDDEN)?,
            vocabulary: size("vocab_size", VOCABULARY)?,
            positions: size("max_position_embeddings", POSITIONS)?,
            types: size("type_vocab_size", 1024)?,
            eps: config.get("layer_norm_eps").and_then(Value::as_f64).unwrap_or(1e-12) as f32,
        };
        config.checked(path)
    }

    /// Reads the metadata of the GGUF file in `checkpoint`; the tables tell their own lengths.
    pub(crate) fn gguf(checkpoint: &Checkpoint, header: &Header) -> Result<Self, LoadError> {
        let path = checkpoint.path();
        let size = |what: &str, value: Option<usize>, limit: usize| {
            let fits = value.filter(|value| (1..=limit).contains(value));
            let why = || format!("{what} must be a number from 1 to {limit}");
            fits.ok_or_else(|| LoadError::Config { path: path.to_path_buf(), why: why() })
        };
        let number = |name: &str, limit: usize| size(name, header.size(name), limit);
        let rows = |name: &str, limit: usize| {
            let rows = checkpoint.tensor(name).and_then(|tensor| tensor.shape.first().copied());
            size(&format!("the number of rows of {name}"), rows, limit)
        };
        let eps = header.number("bert.attention.layer_norm_epsilon").unwrap_or(1e-12);
        let config = Self {
            hidden: number("bert.embedding_length", HIDDEN)?,
            layers: number("bert.block_count", LAYERS)?,
            heads: number("bert.attention.head_count", HIDDEN)?,
            inner: number("bert.feed_forward_length", 8 * HIDDEN)?,
            vocabulary: rows("token_embd.weight", VOCABULARY)?,
            positions: rows("position_embd.weight", POSITIONS)?,
            types: rows("token_types.weight", 1024)?,
            eps: eps as f32,
        };
        config.checked(path)
    }

    fn checked(self, path: &Path) -> Result<Self, LoadError> {
        let fail = |why: String| Err(LoadError::Config { path: path.to_path_buf(), why });
        let Self { hidden, heads, eps, .. } = self;
        if !hidden.is_multiple_of(heads) {
            return fail(format!("hidden_size {hidden} is no multiple of {heads} heads"));
        }
        if !(0.0..1.0).contains(&eps) {
            return fail(format!("layer_norm_eps {eps} is not in 0..1"));
        }
        Ok(self)
    }
}

/// Refuses what the network here does not compute.
fn known(path: &Path, config: &Value) -> Result<(), LoadError> {
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let refuse = |what: String, supported| {
        Err(LoadError::Unsupported { path: path.to_path_buf(), what, supported })
    };
    let named = config.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
    let architecture = named.or(text("model_type")).unwrap_or("none");
    if text("model_type").unwrap_or("bert") != "bert"
        || !architecture.to_lowercase().starts_with("bert")
    {
        let what = format!("architecture {}", quoted(architecture));
        return refuse(what, "BertModel (sentence encoders such as all-MiniLM-L6-v2)");
    }
    let activation = text("hidden_act").unwrap_or("gelu");
    if activation != "gelu" {
        return refuse(format!("hidden_act {}", quoted(activation)), "gelu");
    }
    let positions = text("position_embedding_type").unwrap_or("absolute");
    if positions != "absolute" {
        return refuse(format!("position_embedding_type {}", quoted(positions)), "absolute");
    }
    let Some(quantization) = config.get("quantization_config") else { return Ok(()) };
    let field = |key: &str| quantization.get(key).and_then(Value::as_str).unwrap_or("none");
    match (field("quant_method"), field("format")) {
        ("kvant" | "gptq" | "awq" | "bitsandbytes", _)
        | ("compressed-tensors", "int-quantized" | "pack-quantized" | "mixed-precision") => Ok(()),
        (method, format) => refuse(
            format!("quantization {} with format {}", quoted(method), quoted(format)),
            "what kvant compress writes, compressed-tensors in integers, GPTQ, AWQ, bitsandbytes",
        ),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", crate::checkpoint::printable(text))
}
