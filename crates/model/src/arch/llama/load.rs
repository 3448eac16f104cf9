//! The weights of a decoder by their names in safetensors and GGUF files.

use super::{Layer, Llama, Shape};
use crate::layer::causal::Causal;
use crate::layer::linear::{Linear, Part, Size};
use crate::layer::rms::RmsNorm;
use crate::store::Loader;
use crate::{Checkpoint, LoadError, Weight};

/// What the weights of a decoder are called.
struct Names {
    words: &'static str,
    norm: &'static str,
    head: &'static str,
    /// What stands before the number of a layer.
    layer: &'static str,
    attention_norm: &'static str,
    qkv: [&'static str; 3],
    output: &'static str,
    inner_norm: &'static str,
    inner: [&'static str; 2],
    outer: &'static str,
}

const SAFETENSORS: Names = Names {
    words: "embed_tokens",
    norm: "norm",
    head: "lm_head",
    layer: "layers",
    attention_norm: "input_layernorm",
    qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    output: "self_attn.o_proj",
    inner_norm: "post_attention_layernorm",
    inner: ["mlp.gate_proj", "mlp.up_proj"],
    outer: "mlp.down_proj",
};

const GGUF: Names = Names {
    words: "token_embd",
    norm: "output_norm",
    head: "output",
    layer: "blk",
    attention_norm: "attn_norm",
    qkv: ["attn_q", "attn_k", "attn_v"],
    output: "attn_output",
    inner_norm: "ffn_norm",
    inner: ["ffn_gate", "ffn_up"],
    outer: "ffn_down",
};

impl Llama {
    /// Takes the weights out of `checkpoint`, whose names may start with `model.`; the
    /// word table stays as stored beside its copy in the head.
    pub(crate) fn load(checkpoint: &Checkpoint, shape: Shape) -> Result<Self, LoadError> {
        let names = if checkpoint.gguf().is_some() { &GGUF } else { &SAFETENSORS };
        let prefix = match checkpoint.tensor("model.embed_tokens.weight") {
            Some(_) => "model.",
            None => "",
        };
        let source = Source { checkpoint, loader: Loader::new(checkpoint), names, prefix };
        let Shape { heads, groups, width, .. } = shape;
        let attention = Causal { heads, groups, width };
        let layers = (0..shape.layers).map(|index| source.layer(&shape, &attention, index));
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        let norm = source.norm(&format!("{prefix}{}", names.norm), &shape)?;
        let (words, head) = source.ends(&shape)?;
        let network = Self { shape, attention, words, layers, norm, head };
        source.loader.keep(network.linears());
        Ok(network)
    }
}

struct Source<'a> {
    checkpoint: &'a Checkpoint,
    loader: Loader<'a>,
    names: &'static Names,
    prefix: &'static str,
}

impl Source<'_> {
    /// The word table and the head, which may be one tensor.
    fn ends(&self, shape: &Shape) -> Result<(Weight, Linear), LoadError> {
        let Shape { hidden, vocabulary, tied, .. } = *shape;
        let words = format!("{}{}.weight", self.prefix, self.names.words);
        let head = format!("{}.weight", self.names.head);
        let untied = match tied {
            // A head put beside the table ends the tie that the file speaks of.
            _ if self.checkpoint.is_replaced(&head) => true,
            Some(tied) => !tied,
            None => self.checkpoint.tensor(&head).is_some(),
        };
        let table = self.loader.weight(&words, vocabulary, hidden)?;
        let name = if untied { head } else { words };
        let input = self.checkpoint.input(&name, hidden)?;
        let weight = Size { rows: vocabulary, cols: hidden };
        let part = Part { name, weight, bias: vec![0.0; vocabulary], scale: 1.0, input };
        Ok((table, self.loader.linear(vec![part])?))
    }

    fn layer(&self, shape: &Shape, attention: &Causal, index: usize) -> Result<Layer, LoadError> {
        let Shape { hidden, inner, width, .. } = *shape;
        let at = |name: &str| format!("{}{}.{index}.{name}", self.prefix, self.names.layer);
        let reader = |wanted: &[(&str, usize, f32)], cols: usize| {
            let parts = wanted.iter().map(|&(name, rows, scale)| {
                let part = self.part(&at(name), rows, cols)?;
                Ok(Part { scale, ..part })
            });
            let parts = parts.collect::<Result<Vec<_>, LoadError>>()?;
            self.loader.linear(parts)
        };
        let (queries, keys) = (attention.queries(), attention.groups * width);
        let [q, k, v] = self.names.qkv;
        let [gate, up] = self.names.inner;
        // Scaling the queries once saves scaling every score.
        let scale = 1.0 / (width as f32).sqrt();
        Ok(Layer {
            attention_norm: self.norm(&at(self.names.attention_norm), shape)?,
            qkv: reader(&[(q, queries, scale), (k, keys, 1.0), (v, keys, 1.0)], hidden)?,
            output: reader(&[(self.names.output, hidden, 1.0)], queries)?,
            norm: self.norm(&at(self.names.inner_norm), shape)?,
            inner: reader(&[(gate, inner, 1.0), (up, inner, 1.0)], hidden)?,
            outer: reader(&[(self.names.outer, hidden, 1.0)], inner)?,
        })
    }

    /// The size of a weight, and its bias, if it has one.
    fn part(&self, name: &str, rows: usize, cols: usize) -> Result<Part<Size>, LoadError> {
        let (bias, name) = (format!("{name}.bias"), format!("{name}.weight"));
        let weight = Size { rows, cols };
        let bias = match self.checkpoint.tensor(&bias) {
            Some(_) => self.vector(&bias, rows)?,
            None => vec![0.0; rows],
        };
        let input = self.checkpoint.input(&name, cols)?;
        Ok(Part { name, weight, bias, scale: 1.0, input })
    }

    fn norm(&self, name: &str, shape: &Shape) -> Result<RmsNorm, LoadError> {
        let gain = self.vector(&format!("{name}.weight"), shape.hidden)?;
        Ok(RmsNorm { gain, eps: shape.eps })
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let dense = self.checkpoint.dense(name)?;
        if dense.values().len() == len {
            return Ok(dense.values().to_vec());
        }
        let got = dense.values().len();
        Err(self.checkpoint.fail(name, format!("has {got} values, expected {len}")))
    }
}
