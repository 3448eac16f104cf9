//! The hyperparameters both containers state, each in its own words.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::gguf::Metadata;
use crate::LoadError;
use crate::checkpoint::{gguf, printable};
use crate::limit::{HIDDEN, LAYERS};
use crate::name::{FAMILIES, Family, Heads};

/// The shape of a network and the constants of its arithmetic.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hyper {
    pub(super) family: Family,
    pub(super) layers: usize,
    pub(super) hidden: usize,
    inner: usize,
    heads: usize,
    kv_heads: usize,
    /// Width of one head, which need not be `hidden / heads`.
    width: usize,
    positions: usize,
    eps: f32,
    rope_base: f32,
    /// Whether the output layer is the word table.
    pub(super) tied: bool,
    /// Whether the attention has biases.
    biased: bool,
}

const SUPPORTED_ROPE: &str = "plain rotary positions (rope_theta)";

impl Hyper {
    /// From the `config.json` at `path`.
    pub(super) fn from_config(path: &Path, config: &Value) -> Result<Self, LoadError> {
        let refuse = |what: String, supported| {
            Err(LoadError::Unsupported { path: path.to_path_buf(), what, supported })
        };
        let kind = config.get("model_type").and_then(Value::as_str).unwrap_or("none");
        let Some(family) = Family::named(kind) else {
            return refuse(format!("model_type '{}' in GGUF", printable(kind)), FAMILIES);
        };
        let given = |key: &str| config.get(key).filter(|value| !value.is_null());
        let rope = given("rope_scaling").or(given("rope_parameters"));
        let rope_kind = rope.and_then(|rope| rope.get("rope_type").or(rope.get("type")));
        let rope_kind = rope_kind.and_then(Value::as_str).unwrap_or("default");
        if family != Family::Bert && rope_kind != "default" {
            return refuse(format!("rotary scaling '{}'", printable(rope_kind)), SUPPORTED_ROPE);
        }
        if given("use_sliding_window") == Some(&Value::Bool(true)) {
            return refuse("use_sliding_window".into(), "attention to the whole text");
        }
        let size = |key: &str| given(key).and_then(Value::as_u64).map(|n| n as usize);
        let number = |key: &str| given(key).and_then(Value::as_f64).map(|n| n as f32);
        let base = rope.and_then(|rope| rope.get("rope_theta")).and_then(Value::as_f64);
        let base = number("rope_theta").or(base.map(|base| base as f32));
        let eps = if family == Family::Bert { "layer_norm_eps" } else { "rms_norm_eps" };
        let tied = given("tie_word_embeddings").and_then(Value::as_bool);
        let heads = size("num_attention_heads").unwrap_or(0);
        let hidden = size("hidden_size").unwrap_or(0);
        let hyper = Self {
            family,
            layers: size("num_hidden_layers").unwrap_or(0),
            hidden,
            inner: size("intermediate_size").unwrap_or(0),
            heads,
            kv_heads: size("num_key_value_heads").unwrap_or(heads),
            width: size("head_dim").or(hidden.checked_div(heads)).unwrap_or(0),
            positions: size("max_position_embeddings").unwrap_or(0),
            eps: number(eps).unwrap_or(if family == Family::Bert { 1e-12 } else { 1e-6 }),
            rope_base: base.unwrap_or(10_000.0),
            tied: tied.unwrap_or(false),
            biased: given("attention_bias") == Some(&Value::Bool(true)),
        };
        hyper.check(path)
    }

    /// From the metadata of the GGUF file at `path`.
    pub(super) fn from_gguf(path: &Path, header: &gguf::Header) -> Result<Self, LoadError> {
        let refuse = |what: String, supported| {
            Err(LoadError::Unsupported { path: path.to_path_buf(), what, supported })
        };
        let kind = header.text("general.architecture").unwrap_or("none");
        let Some(family) = Family::named(kind) else {
            let what = format!("architecture '{}' as a directory", printable(kind));
            return refuse(what, FAMILIES);
        };
        let size = |key: &str| header.size(&format!("{kind}.{key}"));
        let number = |key: &str| header.number(&format!("{kind}.{key}")).map(|n| n as f32);
        let scaling = header.text(&format!("{kind}.rope.scaling.type")).unwrap_or("none");
        let factors = header.entries.iter().any(|entry| entry.name.starts_with("rope_"));
        if scaling != "none" || factors {
            return refuse("scaled rotary positions".into(), SUPPORTED_ROPE);
        }
        let eps = match family {
            Family::Bert => number("attention.layer_norm_epsilon"),
            Family::Llama | Family::Qwen2 => number("attention.layer_norm_rms_epsilon"),
        };
        let heads = size("attention.head_count").unwrap_or(0);
        let hidden = size("embedding_length").unwrap_or(0);
        let width = size("attention.key_length").or(hidden.checked_div(heads)).unwrap_or(0);
        let turned = size("rope.dimension_count").unwrap_or(width);
        if family != Family::Bert && turned != width {
            return refuse(
                format!("{turned} rotated of {width} dimensions"),
                "all of them rotated",
            );
        }
        let holds = |name: &str| header.entries.iter().any(|entry| entry.name == name);
        let hyper = Self {
            family,
            layers: size("block_count").unwrap_or(0),
            hidden,
            inner: size("feed_forward_length").unwrap_or(0),
            heads,
            kv_heads: size("attention.head_count_kv").unwrap_or(heads),
            width,
            positions: size("context_length").unwrap_or(0),
            eps: eps.unwrap_or(1e-6),
            rope_base: number("rope.freq_base").unwrap_or(10_000.0),
            tied: !holds("output.weight"),
            biased: holds("blk.0.attn_q.bias"),
        };
        hyper.check(path)
    }

    fn check(self, path: &Path) -> Result<Self, LoadError> {
        let sizes = [
            ("the number of layers", self.layers, LAYERS),
            ("the width", self.hidden, HIDDEN),
            ("the inner width", self.inner, 8 * HIDDEN),
            ("the number of heads", self.heads, HIDDEN),
            ("the number of key heads", self.kv_heads, HIDDEN),
            ("the width of a head", self.width, HIDDEN),
            ("the number of positions", self.positions, u32::MAX as usize),
        ];
        match sizes.into_iter().find(|(_, size, limit)| !(1..=*limit).contains(size)) {
            None => Ok(self),
            Some((what, size, limit)) => {
                let why = format!("{what} is {size}, expected 1 to {limit}");
                Err(LoadError::Config { path: path.to_path_buf(), why })
            }
        }
    }

    /// Tokens of the longest text.
    pub(super) fn positions(&self) -> usize {
        self.positions
    }

    /// How many heads the interleaved rows of a tensor belong to.
    pub(super) fn heads(&self, heads: Heads) -> usize {
        match heads {
            Heads::Query => self.heads,
            Heads::Key => self.kv_heads,
        }
    }

    /// Adds the entries `{architecture}.*`; `vocabulary` is the number of words.
    pub(super) fn describe(&self, metadata: &mut Metadata, vocabulary: usize) {
        let name = self.family.name();
        let mut put = |key: &str, value: usize| {
            metadata.u32(&format!("{name}.{key}"), u32::try_from(value).unwrap_or(u32::MAX));
        };
        put("block_count", self.layers);
        put("context_length", self.positions);
        put("embedding_length", self.hidden);
        put("feed_forward_length", self.inner);
        put("attention.head_count", self.heads);
        put("vocab_size", vocabulary);
        if self.family == Family::Bert {
            metadata.f32("bert.attention.layer_norm_epsilon", self.eps);
            metadata.flag("bert.attention.causal", false);
            return;
        }
        put("attention.head_count_kv", self.kv_heads);
        put("rope.dimension_count", self.width);
        if self.width * self.heads != self.hidden {
            put("attention.key_length", self.width);
            put("attention.value_length", self.width);
        }
        metadata.f32(&format!("{name}.rope.freq_base"), self.rope_base);
        metadata.f32(&format!("{name}.attention.layer_norm_rms_epsilon"), self.eps);
    }

    /// The `config.json` of the same network.
    pub(super) fn config(&self, vocabulary: usize, types: usize) -> Map<String, Value> {
        let (class, eps) = match self.family {
            Family::Llama => ("LlamaForCausalLM", "rms_norm_eps"),
            Family::Qwen2 => ("Qwen2ForCausalLM", "rms_norm_eps"),
            Family::Bert => ("BertModel", "layer_norm_eps"),
        };
        let common = json!({
            "architectures": [class],
            "model_type": self.family.name(),
            "vocab_size": vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "max_position_embeddings": self.positions,
            eps: shortest(self.eps),
        });
        let own = match self.family {
            Family::Bert => json!({
                "hidden_act": "gelu",
                "position_embedding_type": "absolute",
                "type_vocab_size": types,
            }),
            Family::Llama | Family::Qwen2 => json!({
                "hidden_act": "silu",
                "num_key_value_heads": self.kv_heads,
                "head_dim": self.width,
                "rope_theta": shortest(self.rope_base),
                "rope_scaling": null,
                "tie_word_embeddings": self.tied,
                "attention_bias": self.biased,
                "mlp_bias": false,
                "use_cache": true,
            }),
        };
        let objects = [common, own].into_iter();
        objects.filter_map(|value| value.as_object().cloned()).flatten().collect()
    }
}

/// The shortest decimal number that is this f32, as people write it: 1e-5, not 9.9999997e-6.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
