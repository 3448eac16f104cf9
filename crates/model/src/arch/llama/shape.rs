//! The shape of a decoder, from `config.json` or from GGUF metadata, within limits.

use std::f64::consts::TAU;
use std::path::Path;

use serde_json::Value;

use crate::checkpoint::{gguf, printable};
use crate::layer::rope::Pairing;
use crate::limit::{CONTEXT, HIDDEN, LAYERS, VOCABULARY};
use crate::{Checkpoint, LoadError};

/// The shape of a Llama-like network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) groups: usize,
    pub(crate) width: usize,
    pub(crate) inner: usize,
    pub(crate) vocabulary: usize,
    pub(crate) context: usize,
    pub(crate) eps: f32,
    /// Radians a position of each pair of a head.
    pub(crate) frequencies: Vec<f64>,
    pub(crate) pairing: Pairing,
    /// Whether the word table is the head too, if anything says so.
    pub(crate) tied: Option<bool>,
}

/// Where a shape is read from.
struct Source<'a> {
    path: &'a Path,
}

impl Source<'_> {
    fn fail(&self, why: String) -> LoadError {
        LoadError::Config { path: self.path.to_path_buf(), why }
    }

    fn refuse<T>(&self, what: String, supported: &'static str) -> Result<T, LoadError> {
        Err(LoadError::Unsupported { path: self.path.to_path_buf(), what, supported })
    }

    fn size(&self, key: &str, value: Option<usize>, limit: usize) -> Result<usize, LoadError> {
        let fits = value.filter(|value| (1..=limit).contains(value));
        fits.ok_or_else(|| self.fail(format!("{key} must be a number from 1 to {limit}")))
    }
}

impl Shape {
    /// Reads the shape of the model in `checkpoint`.
    pub(crate) fn of(checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let shape = match (checkpoint.gguf(), checkpoint.config()) {
            (Some(header), _) => Self::gguf(checkpoint, header)?,
            (None, Some(config)) => Self::config(&checkpoint.path().join("config.json"), config)?,
            (None, None) => {
                let (what, remedy) = ("config.json", "copy it from the model's source");
                let path = checkpoint.path().to_path_buf();
                return Err(LoadError::Missing { path, what, remedy });
            }
        };
        shape.check(&Source { path: checkpoint.path() })?;
        Ok(shape)
    }

    fn check(&self, source: &Source<'_>) -> Result<(), LoadError> {
        let Self { heads, groups, width, .. } = *self;
        if !heads.is_multiple_of(groups) {
            return Err(source.fail(format!("{heads} heads do not share {groups} key heads")));
        }
        if !width.is_multiple_of(2) {
            return Err(source.fail(format!("heads of {width} values cannot be rotated")));
        }
        if !(0.0..1.0).contains(&self.eps) {
            return Err(source.fail(format!("the epsilon {} is not in 0..1", self.eps)));
        }
        if !self.frequencies.iter().all(|f| f.is_finite()) {
            return Err(source.fail("the base of the rotary embedding is no usable number".into()));
        }
        Ok(())
    }

    fn config(path: &Path, config: &Value) -> Result<Self, LoadError> {
        let source = Source { path };
        known(&source, config)?;
        let number = |key: &str| config.get(key).and_then(Value::as_u64).map(|n| n as usize);
        let size = |key: &str, limit: usize| source.size(key, number(key), limit);
        let (hidden, heads) = (size("hidden_size", HIDDEN)?, size("num_attention_heads", HIDDEN)?);
        let groups = number("num_key_value_heads").or(Some(heads));
        let width = number("head_dim").or(Some(hidden / heads));
        let width = source.size("head_dim", width, HIDDEN)?;
        let eps = config.get("rms_norm_eps").and_then(Value::as_f64).unwrap_or(1e-6);
        Ok(Self {
            hidden,
            layers: size("num_hidden_layers", LAYERS)?,
            heads,
            groups: source.size("num_key_value_heads", groups, heads)?,
            width,
            inner: size("intermediate_size", 8 * HIDDEN)?,
            vocabulary: size("vocab_size", VOCABULARY)?,
            context: size("max_position_embeddings", CONTEXT)?,
            eps: eps as f32,
            frequencies: frequencies(&source, config, width)?,
            pairing: Pairing::Halves,
            tied: config.get("tie_word_embeddings").and_then(Value::as_bool),
        })
    }

    fn gguf(checkpoint: &Checkpoint, header: &gguf::Header) -> Result<Self, LoadError> {
        let source = Source { path: checkpoint.path() };
        let architecture = header.text("general.architecture").unwrap_or("none");
        let pairing = match architecture {
            "llama" => Pairing::Neighbours,
            "qwen2" => Pairing::Halves,
            other => return source.refuse(format!("architecture '{}'", printable(other)), KNOWN),
        };
        let key = |name: &str| format!("{architecture}.{name}");
        let number = |name: &str| header.size(&key(name));
        let size = |name: &str, limit: usize| source.size(&key(name), number(name), limit);
        let hidden = size("embedding_length", HIDDEN)?;
        let heads = size("attention.head_count", HIDDEN)?;
        let groups = number("attention.head_count_kv").or(Some(heads));
        let width = number("attention.key_length").or(Some(hidden / heads));
        let width = source.size("attention.key_length", width, HIDDEN)?;
        plain(&source, header, architecture, width)?;
        let words = checkpoint.tensor("token_embd.weight").map(|tensor| tensor.shape[0]);
        let theta = header.number(&key("rope.freq_base")).unwrap_or(10_000.0);
        let mut frequencies = powers(theta, width);
        if checkpoint.tensor("rope_freqs.weight").is_some() {
            let factors = checkpoint.dense("rope_freqs.weight")?;
            for (frequency, factor) in frequencies.iter_mut().zip(factors.values()) {
                *frequency /= f64::from(*factor);
            }
        }
        let scaling = header.text(&key("rope.scaling.type")).unwrap_or("none");
        if scaling == "linear" {
            let factor = header.number(&key("rope.scaling.factor")).unwrap_or(1.0);
            for frequency in &mut frequencies {
                *frequency /= factor;
            }
        }
        let eps = header.number(&key("attention.layer_norm_rms_epsilon")).unwrap_or(1e-5);
        Ok(Self {
            hidden,
            layers: size("block_count", LAYERS)?,
            heads,
            groups: source.size("attention.head_count_kv", groups, heads)?,
            width,
            inner: size("feed_forward_length", 8 * HIDDEN)?,
            vocabulary: source.size("the number of rows of token_embd", words, VOCABULARY)?,
            context: size("context_length", CONTEXT)?,
            eps: eps as f32,
            frequencies,
            pairing,
            tied: None,
        })
    }
}

const KNOWN: &str = "decoders of type llama, mistral and qwen2";

/// Refuses what a GGUF file may ask for and the network here does not compute.
fn plain(
    source: &Source<'_>,
    header: &gguf::Header,
    architecture: &str,
    width: usize,
) -> Result<(), LoadError> {
    let size = |name: &str| header.size(&format!("{architecture}.{name}"));
    if size("expert_count").unwrap_or(0) > 0 {
        return source.refuse("a mixture of experts".into(), "dense feed-forward blocks");
    }
    let other = |name: &str| size(name).filter(|&got| got != width);
    if let Some(got) = other("rope.dimension_count").or(other("attention.value_length")) {
        let what = format!("{got} rotary or value dimensions in heads of {width}");
        return source.refuse(what, "heads that are rotated whole");
    }
    let scaling = header.text(&format!("{architecture}.rope.scaling.type")).unwrap_or("none");
    if !["none", "linear"].contains(&scaling) {
        let what = format!("rotary scaling '{}'", printable(scaling));
        return source.refuse(what, "none, linear, and tables of factors");
    }
    Ok(())
}

/// Refuses what a `config.json` may ask for and the network here does not compute.
fn known(source: &Source<'_>, config: &Value) -> Result<(), LoadError> {
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let kind = text("model_type").unwrap_or("none");
    if !["llama", "mistral", "qwen2"].contains(&kind) {
        return source.refuse(format!("model_type '{}'", printable(kind)), KNOWN);
    }
    let activation = text("hidden_act").unwrap_or("silu");
    if activation != "silu" {
        return source.refuse(format!("hidden_act '{}'", printable(activation)), "silu");
    }
    // Mistral has a window wherever it gives one, Qwen2 only where it switches it on.
    let window = config.get("sliding_window").is_some_and(|window| !window.is_null());
    let used = config.get("use_sliding_window").and_then(Value::as_bool);
    if used.unwrap_or(window && kind == "mistral") {
        return source.refuse("a sliding window".into(), "attention to the whole past");
    }
    Ok(())
}

/// `theta^(−2i/width)`.
fn powers(theta: f64, width: usize) -> Vec<f64> {
    (0..width / 2).map(|i| theta.powf(-2.0 * i as f64 / width as f64)).collect()
}

/// The frequencies a `config.json` asks for, scaled if it says so.
fn frequencies(source: &Source<'_>, config: &Value, width: usize) -> Result<Vec<f64>, LoadError> {
    let field = |of: Option<&Value>, key: &str| of.and_then(|value| value.get(key)).cloned();
    let newer = config.get("rope_parameters").filter(|value| !value.is_null());
    let scaling = newer.or(config.get("rope_scaling")).filter(|value| !value.is_null());
    let number = |key: &str| field(scaling, key).and_then(|value| value.as_f64());
    let theta = number("rope_theta").or(config.get("rope_theta").and_then(Value::as_f64));
    let mut frequencies = powers(theta.unwrap_or(10_000.0), width);
    let kind = field(scaling, "rope_type").or(field(scaling, "type"));
    let kind = kind.as_ref().and_then(Value::as_str).unwrap_or("default");
    let factor = number("factor").unwrap_or(1.0);
    match kind {
        "default" => {}
        "linear" => frequencies.iter_mut().for_each(|frequency| *frequency /= factor),
        "llama3" => {
            let low = number("low_freq_factor").unwrap_or(1.0);
            let high = number("high_freq_factor").unwrap_or(4.0);
            let trained = number("original_max_position_embeddings").unwrap_or(8192.0);
            for frequency in &mut frequencies {
                // Turns over the trained context: many stay, few are stretched, between mixes.
                let turns = trained * *frequency / TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                *frequency *= kept + (1.0 - kept) / factor;
            }
        }
        other => {
            let what = format!("rotary scaling '{}'", printable(other));
            return source.refuse(what, "default, linear, llama3");
        }
    }
    Ok(frequencies)
}
