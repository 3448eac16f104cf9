//! Where activations enter the linear layers of a network, and what could scale them.

use kvant_kernels::Matrix;
use kvant_model::{Checkpoint, Dense, Family, Naming, Outline};

use crate::{Draft, PassError};

/// An input of linear layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// What the input is.
    pub origin: Origin,
    /// The weights that are multiplied with it, by name.
    pub readers: Vec<String>,
    /// What comes just before and could multiply its channels for free; none where the channels
    /// are also read by something that cannot undo a scale (the states of post-norm networks,
    /// which the residual sum reads) or come out of a nonlinearity.
    pub absorber: Option<Absorber>,
}

/// What an input of linear layers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The states of tokens, as a norm leaves them.
    States,
    /// Values that attention has mixed.
    Values,
    /// What a nonlinearity gives.
    Inner,
}

/// What can take a scale for the channels of a [`Site`]: its slots are multiplied, and with them
/// the channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absorber {
    /// The gain of a norm (a slot is a value) or the weight of a linear layer (a slot is a row).
    pub weight: String,
    /// Its bias, one value a slot.
    pub bias: Option<String>,
    /// How many channels there are for every slot.
    pub share: Share,
}

/// Which channels of a site belong to one slot of its absorber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Every channel has a slot of its own.
    None,
    /// Heads of `width` channels; `heads` neighbours read the same value head.
    Heads {
        /// Query heads of a value head.
        heads: usize,
        /// Channels of a head.
        width: usize,
    },
}

impl Share {
    /// The slot of a channel.
    pub fn slot(self, channel: usize) -> usize {
        match self {
            Self::None => channel,
            Self::Heads { heads, width } => channel / (heads * width) * width + channel % width,
        }
    }

    /// The number of slots for `channels`.
    pub fn slots(self, channels: usize) -> usize {
        match self {
            Self::None => channels,
            Self::Heads { heads, .. } => channels / heads,
        }
    }
}

/// What the tensors of a family are called in a container.
struct Names {
    layer: &'static str,
    q: &'static str,
    k: &'static str,
    v: &'static str,
    o: &'static str,
    gate: Option<&'static str>,
    up: &'static str,
    down: &'static str,
    attention_norm: &'static str,
    inner_norm: &'static str,
    words: &'static str,
    norm: &'static str,
    head: &'static str,
}

const LLAMA: Names = Names {
    layer: "layers.",
    q: "self_attn.q_proj",
    k: "self_attn.k_proj",
    v: "self_attn.v_proj",
    o: "self_attn.o_proj",
    gate: Some("mlp.gate_proj"),
    up: "mlp.up_proj",
    down: "mlp.down_proj",
    attention_norm: "input_layernorm",
    inner_norm: "post_attention_layernorm",
    words: "embed_tokens.weight",
    norm: "norm.weight",
    head: "lm_head.weight",
};

const GGUF: Names = Names {
    layer: "blk.",
    q: "attn_q",
    k: "attn_k",
    v: "attn_v",
    o: "attn_output",
    gate: Some("ffn_gate"),
    up: "ffn_up",
    down: "ffn_down",
    attention_norm: "attn_norm",
    inner_norm: "ffn_norm",
    words: "token_embd.weight",
    norm: "output_norm.weight",
    head: "output.weight",
};

const BERT: Names = Names {
    layer: "encoder.layer.",
    q: "attention.self.query",
    k: "attention.self.key",
    v: "attention.self.value",
    o: "attention.output.dense",
    gate: None,
    up: "intermediate.dense",
    down: "output.dense",
    attention_norm: "attention.output.LayerNorm",
    inner_norm: "output.LayerNorm",
    words: "embeddings.word_embeddings.weight",
    norm: "embeddings.LayerNorm.weight",
    head: "",
};

/// The parts of a network by the names of a model's tensors.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) outline: Outline,
    pub(crate) layers: Vec<Layer>,
    /// The word table.
    pub(crate) words: String,
    /// The gain of the last norm of a decoder.
    pub(crate) norm: String,
    /// The head of a decoder; a tensor that exists only if it is not the word table.
    pub(crate) head: String,
}

/// The linear layers and norms of one layer; biases are `.bias` where a weight is `.weight`.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) qkv: [String; 3],
    pub(crate) o: String,
    /// Gate (of gated blocks) and up.
    pub(crate) inner: Vec<String>,
    pub(crate) down: String,
    pub(crate) attention_norm: String,
    pub(crate) inner_norm: String,
}

impl Layer {
    pub(crate) fn value(&self) -> &str {
        &self.qkv[2]
    }

    fn up(&self) -> Option<&String> {
        self.inner.last()
    }
}

impl Parts {
    /// Of the model in `checkpoint`.
    pub(crate) fn of(checkpoint: &Checkpoint) -> Result<Self, PassError> {
        let outline = Outline::of(checkpoint)?;
        let (names, prefix) = match (outline.container, outline.family) {
            (Naming::Gguf, Family::Bert) => (&Names { gate: None, ..GGUF }, ""),
            (Naming::Gguf, Family::Llama) => (&GGUF, ""),
            (Naming::Safetensors, Family::Bert) => (&BERT, "bert."),
            (Naming::Safetensors, Family::Llama) => (&LLAMA, "model."),
        };
        let prefix = match checkpoint.tensor(&format!("{prefix}{}", names.words)) {
            Some(_) => prefix,
            None => "",
        };
        let layer = |index: usize| {
            let at = |name: &str| format!("{prefix}{}{index}.{name}.weight", names.layer);
            Layer {
                qkv: [at(names.q), at(names.k), at(names.v)],
                o: at(names.o),
                inner: names.gate.into_iter().chain([names.up]).map(at).collect(),
                down: at(names.down),
                attention_norm: at(names.attention_norm),
                inner_norm: at(names.inner_norm),
            }
        };
        let parts = Self {
            outline,
            layers: (0..outline.layers).map(layer).collect(),
            words: format!("{prefix}{}", names.words),
            norm: format!("{prefix}{}", names.norm),
            head: names.head.to_owned(),
        };
        parts.check(checkpoint)?;
        Ok(parts)
    }

    /// Refuses tensors whose shapes do not fit one another.
    fn check(&self, checkpoint: &Checkpoint) -> Result<(), PassError> {
        let Outline { hidden, heads, groups, width, .. } = self.outline;
        let (queries, values) = (heads * width, groups * width);
        let mut expected = vec![(&self.words, None, hidden)];
        for layer in &self.layers {
            let [q, k, v] = &layer.qkv;
            let inner = checkpoint.tensor(&layer.down).and_then(|down| down.shape.get(1).copied());
            expected.extend([(q, Some(queries), hidden), (k, Some(values), hidden)]);
            expected.extend([(v, Some(values), hidden), (&layer.o, Some(hidden), queries)]);
            expected.extend(layer.inner.iter().map(|name| (name, inner, hidden)));
            expected.push((&layer.down, Some(hidden), inner.unwrap_or(0)));
        }
        for (name, rows, cols) in expected {
            let shape = checkpoint.tensor(name).map(|tensor| &tensor.shape[..]);
            match shape {
                Some(&[r, c]) if rows.unwrap_or(r) == r && c == cols => {}
                _ => return Err(misfit(checkpoint, name, &[rows, Some(cols)])),
            }
            let bias = bias(name).and_then(|bias| checkpoint.tensor(&bias));
            if let (Some(bias), Some(&[rows, _])) = (bias, shape)
                && bias.shape != [rows]
            {
                return Err(misfit(checkpoint, &bias.name, &[Some(rows)]));
            }
        }
        if self.outline.family == Family::Bert {
            // Nothing is folded into its norms, which may carry older names.
            return Ok(());
        }
        let norms = self.layers.iter().flat_map(|l| [&l.attention_norm, &l.inner_norm]);
        for name in norms.chain([&self.norm]) {
            if checkpoint.tensor(name).is_none_or(|tensor| tensor.shape != [hidden]) {
                return Err(misfit(checkpoint, name, &[Some(hidden)]));
            }
        }
        Ok(())
    }

    /// The sites of the network with the tensors that `draft` has.
    pub(crate) fn sites(&self, draft: &Draft) -> Vec<Site> {
        let mut sites = Vec::with_capacity(4 * self.layers.len() + 1);
        for layer in &self.layers {
            self.layer(draft, layer, &mut sites);
        }
        if self.outline.family == Family::Llama {
            let untied = self.untied(draft);
            let reader = if untied { &self.head } else { &self.words };
            let absorber = untied.then(|| absorber(draft, &self.norm, Share::None));
            let origin = Origin::States;
            sites.push(Site { origin, readers: vec![reader.clone()], absorber });
        }
        sites
    }

    /// Whether the head of a decoder is a tensor of its own.
    pub(crate) fn untied(&self, draft: &Draft) -> bool {
        // A model may say that it is tied and hold a copy.
        draft.is_rewritten(&self.head) || !self.outline.tied && draft.tensor(&self.head).is_some()
    }

    fn layer(&self, draft: &Draft, layer: &Layer, sites: &mut Vec<Site>) {
        let Outline { family, heads, groups, width, .. } = self.outline;
        let gated = family == Family::Llama;
        let norm = |name: &str| gated.then(|| absorber(draft, name, Share::None));
        let share = match heads / groups {
            1 => Share::None,
            heads => Share::Heads { heads, width },
        };
        let up = layer.up().filter(|_| gated);
        let one = |name: &String| vec![name.clone()];
        sites.extend([
            Site {
                origin: Origin::States,
                readers: layer.qkv.to_vec(),
                absorber: norm(&layer.attention_norm),
            },
            Site {
                origin: Origin::Values,
                readers: one(&layer.o),
                absorber: Some(absorber(draft, layer.value(), share)),
            },
            Site {
                origin: Origin::States,
                readers: layer.inner.clone(),
                absorber: norm(&layer.inner_norm),
            },
            Site {
                origin: Origin::Inner,
                readers: one(&layer.down),
                absorber: up.map(|up| absorber(draft, up, Share::None)),
            },
        ]);
    }
}

fn misfit(checkpoint: &Checkpoint, name: &str, expected: &[Option<usize>]) -> PassError {
    let dims: Vec<String> =
        expected.iter().map(|dim| dim.map_or("any".to_owned(), |dim| dim.to_string())).collect();
    let got = checkpoint
        .tensor(name)
        .map_or("is missing".to_owned(), |tensor| format!("has the shape {:?}", tensor.shape));
    let why = format!("tensor '{name}' {got}, the other tensors need {}", dims.join(" x "));
    PassError::Unfit { path: checkpoint.path().to_owned(), why }
}

fn absorber(draft: &Draft, weight: &str, share: Share) -> Absorber {
    let bias = bias(weight).filter(|bias| draft.tensor(bias).is_some());
    Absorber { weight: weight.to_owned(), bias, share }
}

/// The name of the bias beside a weight.
pub(crate) fn bias(weight: &str) -> Option<String> {
    weight.strip_suffix(".weight").map(|module| format!("{module}.bias"))
}

/// Every input of linear layers of a BERT or Llama network, in the order of the layers.
///
/// # Errors
/// [`PassError::Load`] if the model is of no known family.
pub fn sites(draft: &Draft) -> Result<Vec<Site>, PassError> {
    Ok(Parts::of(draft.source())?.sites(draft))
}

impl Site {
    /// Multiplies the columns of the readers by `scale`, one number > 0 for every channel, and
    /// stores it beside them, for the layer to divide its input by. Returns it.
    ///
    /// # Errors
    /// [`PassError`] if a tensor does not load.
    pub fn store(&self, draft: &mut Draft, scale: Vec<f32>) -> Result<Vec<f32>, PassError> {
        for name in &self.readers {
            let dense = draft.dense(name)?;
            let scaled = columns(dense.matrix(), &scale);
            draft.rewrite(name.clone(), Dense::owned(dense.shape().to_vec(), scaled));
            let beside = Dense::owned(vec![scale.len()], scale.clone());
            draft.attach(format!("{name}_smooth"), beside);
        }
        Ok(scale)
    }

    /// Divides the input by `scale`, one number > 0 for every slot of the absorber: its slots are
    /// divided, the columns of the readers multiplied. The network stays the same up to rounding.
    /// Returns the scale of every channel.
    ///
    /// # Errors
    /// [`PassError`] if a tensor does not load, or if there is no absorber to take the scale.
    pub fn scale(&self, draft: &mut Draft, scale: &[f32]) -> Result<Vec<f32>, PassError> {
        let Some(absorber) = &self.absorber else {
            return Err(super::transform::unfit(draft, "nothing before this input takes a scale"));
        };
        let inverse: Vec<f32> = scale.iter().map(|s| 1.0 / s).collect();
        for name in [Some(&absorber.weight), absorber.bias.as_ref()].into_iter().flatten() {
            let dense = draft.dense(name)?;
            if dense.values().len() % scale.len() != 0 {
                return Err(super::transform::unfit(draft, "tensors do not fit one another"));
            }
            let width = dense.values().len() / scale.len();
            let slots = dense.values().chunks_exact(width).zip(&inverse);
            let values = slots.flat_map(|(slot, factor)| slot.iter().map(move |v| v * factor));
            let scaled = Dense::owned(dense.shape().to_vec(), values.collect());
            draft.rewrite(name.clone(), scaled);
        }
        let mut channels = Vec::new();
        for name in &self.readers {
            let dense = draft.dense(name)?;
            channels = (0..dense.cols()).map(|at| scale[absorber.share.slot(at)]).collect();
            let scaled = columns(dense.matrix(), &channels);
            draft.rewrite(name.clone(), Dense::owned(dense.shape().to_vec(), scaled));
        }
        Ok(channels)
    }
}

/// `w` with each column multiplied by its factor.
pub(crate) fn columns(w: Matrix<'_, f32>, factors: &[f32]) -> Vec<f32> {
    let mut values = Vec::with_capacity(w.rows() * w.cols());
    for row in 0..w.rows() {
        values.extend(w.row(row).iter().zip(factors).map(|(value, factor)| value * factor));
    }
    values
}
