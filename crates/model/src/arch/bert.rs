//! BERT: post-norm transformer encoder (Devlin et al., 2018).

mod coded;
mod head;

pub(crate) use head::Head;

use kvant_kernels::{Kernels, Matrix, MatrixMut};

use crate::activation::Input;
use crate::config::Config;
use crate::layer::attention::{Attention, Precision};
use crate::layer::embedding::Embedding;
use crate::layer::linear::{Linear, Part, Size};
use crate::layer::norm::Norm;
use crate::layer::{Batch, Scratch, resize};
use crate::name::Family;
use crate::store::Loader;
use crate::{Checkpoint, LoadError, Tap, Weight};

/// The network of a sentence encoder.
#[derive(Debug)]
pub(crate) struct Bert {
    config: Config,
    embedding: Embedding,
    attention: Attention,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    qkv: Linear,
    output: Linear,
    attention_norm: Norm,
    inner: Linear,
    outer: Linear,
    norm: Norm,
}

impl Bert {
    /// Takes the weights out of `checkpoint`, whose names may start with `bert.`; of the token
    /// types the first `types`, or all if there are fewer.
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        config: Config,
        types: usize,
    ) -> Result<Self, LoadError> {
        let source = Source::of(checkpoint, Loader::new(checkpoint));
        let embedding = source.embedding(&config, types)?;
        let layers = (0..config.layers).map(|index| source.layer(&config, index));
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        // Where inputs of linear layers are rounded, so may be those of attention.
        let rounded = layers.iter().any(|layer| layer.qkv.rounds());
        let precision = if rounded { Precision::Brain } else { Precision::Float };
        let (heads, width) = (config.heads, config.hidden / config.heads);
        let attention = Attention { heads, width, precision };
        let network = Self { config, embedding, attention, layers };
        source.loader.keep(network.linears());
        Ok(network)
    }

    /// All linear layers.
    fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter().flat_map(|layer| {
            let Layer { qkv, output, inner, outer, .. } = layer;
            [qkv, output, inner, outer]
        })
    }

    /// Width of the states.
    pub(crate) fn hidden(&self) -> usize {
        self.config.hidden
    }

    /// Entries of the word table.
    pub(crate) fn vocabulary(&self) -> usize {
        self.config.vocabulary
    }

    /// Multiply-adds of a sequence of `tokens`: `O(tokens)` in the linears, `O(tokens²)` in the
    /// attention.
    pub(crate) fn macs(&self, tokens: usize) -> u64 {
        let Config { hidden, inner, layers, .. } = self.config;
        let linears = (4 * hidden * hidden + 2 * hidden * inner) as u64 * tokens as u64;
        let attention = 2 * hidden as u64 * (tokens as u64).pow(2);
        layers as u64 * (linears + attention)
    }

    /// Bytes of all weights as held for running.
    pub(crate) fn size_bytes(&self) -> usize {
        let layers = self.layers.iter().map(Layer::size_bytes).sum::<usize>();
        self.embedding.size_bytes() + layers
    }

    /// Computes the states of every token of `batch` into `scratch.hidden`
    /// (`tokens × hidden`). A token's state depends on its own sequence only, bit for bit.
    /// `tap` sees the inputs of the linear layers of the whole batch.
    pub(crate) fn forward(
        &self,
        kernels: &Kernels,
        batch: &Batch,
        scratch: &mut Scratch,
        mut tap: Option<&mut dyn Tap>,
    ) {
        let tokens = batch.tokens.len();
        let states = resize(&mut scratch.hidden, tokens * self.config.hidden);
        self.embedding.forward(kernels, batch, states);
        for layer in &self.layers {
            if tap.is_none() && layer.reads_codes() {
                self.coded_step(kernels, layer, &batch.lengths, scratch);
            } else {
                self.step(kernels, layer, &batch.lengths, scratch, tap.as_deref_mut());
            }
        }
    }

    fn step(
        &self,
        kernels: &Kernels,
        layer: &Layer,
        lengths: &[usize],
        scratch: &mut Scratch,
        mut tap: Option<&mut (dyn Tap + '_)>,
    ) {
        let Config { hidden, inner, .. } = self.config;
        let tokens: usize = lengths.iter().sum();
        let size = tokens * hidden;
        let x = Matrix::new(&scratch.hidden[..size], tokens, hidden);
        layer.qkv.show(tap.as_deref_mut(), x.data());
        let qkv = resize(&mut scratch.qkv, 3 * size);
        let on = (kernels, &scratch.alone);
        layer.qkv.forward(on, x, &mut scratch.codes, MatrixMut::new(qkv, tokens, 3 * hidden));
        self.attention.forward(kernels, lengths, scratch);
        let Scratch { hidden: states, context, update, middle, codes, alone, .. } = scratch;
        let on = (kernels, &*alone);
        let states = &mut states[..size];
        let update = resize(update, size);
        let x = Matrix::new(&context[..size], tokens, hidden);
        layer.output.show(tap.as_deref_mut(), x.data());
        layer.output.forward(on, x, codes, MatrixMut::new(update, tokens, hidden));
        layer.attention_norm.forward_sum(kernels, states, update);
        let middle = resize(middle, tokens * inner);
        let x = Matrix::new(states, tokens, hidden);
        layer.inner.show(tap.as_deref_mut(), x.data());
        layer.inner.forward(on, x, codes, MatrixMut::new(middle, tokens, inner));
        kernels.gelu(middle);
        let x = Matrix::new(middle, tokens, inner);
        layer.outer.show(tap, x.data());
        layer.outer.forward(on, x, codes, MatrixMut::new(update, tokens, hidden));
        layer.norm.forward_sum(kernels, states, update);
    }
}

impl Layer {
    fn size_bytes(&self) -> usize {
        let linears = [&self.qkv, &self.output, &self.inner, &self.outer];
        let norms = self.attention_norm.size_bytes() + self.norm.size_bytes();
        linears.iter().map(|linear| linear.size_bytes()).sum::<usize>() + norms
    }
}

/// The tensors of a checkpoint by their names in BERT.
struct Source<'a> {
    checkpoint: &'a Checkpoint,
    loader: Loader<'a>,
    prefix: &'static str,
}

impl<'a> Source<'a> {
    fn of(checkpoint: &'a Checkpoint, loader: Loader<'a>) -> Self {
        let prefix = match checkpoint.tensor("bert.embeddings.word_embeddings.weight") {
            Some(_) => "bert.",
            None => "",
        };
        Self { checkpoint, loader, prefix }
    }

    /// What the checkpoint calls `name`.
    fn named(&self, name: &str) -> String {
        let gguf = self.checkpoint.gguf().and_then(|_| Family::Bert.to_gguf(name));
        gguf.unwrap_or_else(|| format!("{}{name}", self.prefix))
    }

    /// A weight of exactly `rows × cols`.
    fn weight(&self, name: &str, rows: usize, cols: usize) -> Result<Weight, LoadError> {
        self.loader.weight(&self.named(name), rows, cols)
    }

    /// A vector of exactly `len` values; normalisations may carry the older of two names.
    fn vector(&self, names: [&str; 2], len: usize) -> Result<Vec<f32>, LoadError> {
        let older = self.checkpoint.tensor(&self.named(names[0])).is_none()
            && self.checkpoint.tensor(&self.named(names[1])).is_some();
        let name = self.named(names[usize::from(older)]);
        let dense = self.checkpoint.dense(&name)?;
        if dense.values().len() != len {
            let got = dense.values().len();
            return Err(self.checkpoint.fail(&name, format!("has {got} values, expected {len}")));
        }
        Ok(dense.values().to_vec())
    }

    fn norm(&self, name: &str, config: &Config) -> Result<Norm, LoadError> {
        let vector = |new: &str, old: &str| {
            let names = [format!("{name}.{new}"), format!("{name}.{old}")];
            self.vector([&names[0], &names[1]], config.hidden)
        };
        let (gain, bias) = (vector("weight", "gamma")?, vector("bias", "beta")?);
        Ok(Norm { gain, bias, eps: config.eps })
    }

    fn embedding(&self, config: &Config, types: usize) -> Result<Embedding, LoadError> {
        let hidden = config.hidden;
        let table = |name: &str, rows: usize| {
            self.weight(&format!("embeddings.{name}_embeddings.weight"), rows, hidden)
        };
        let words = table("word", config.vocabulary)?;
        let places = table("position", config.positions)?;
        let kinds = table("token_type", config.types)?;
        let mut state = vec![0.0; hidden];
        let folded = |kind: usize| {
            kinds.decode_row(kind, &mut state);
            let mut positions = vec![0.0; config.positions * hidden];
            for (index, row) in positions.chunks_exact_mut(hidden).enumerate() {
                places.decode_row(index, row);
                row.iter_mut().zip(&state).for_each(|(value, add)| *value += add);
            }
            positions
        };
        let positions = (0..types.min(config.types)).map(folded).collect();
        Ok(Embedding { words, positions, norm: self.norm("embeddings.LayerNorm", config)? })
    }

    /// A linear layer; `input` says how the input of the weight of a name is read.
    fn part(
        &self,
        name: &str,
        (rows, cols): (usize, usize),
        input: impl FnOnce(&str) -> Result<Input, LoadError>,
    ) -> Result<Part<Size>, LoadError> {
        let (bias, name) = (format!("{name}.bias"), format!("{name}.weight"));
        let bias = self.vector([&bias, &bias], rows)?;
        let name = self.named(&name);
        let input = input(&name)?;
        Ok(Part { name, weight: Size { rows, cols }, bias, scale: 1.0, input })
    }

    fn layer(&self, config: &Config, index: usize) -> Result<Layer, LoadError> {
        let Config { hidden, inner, heads, .. } = *config;
        let at = |name: &str| format!("encoder.layer.{index}.{name}");
        let part = |name: &str, rows: usize, cols: usize| {
            self.part(&at(name), (rows, cols), |name| self.checkpoint.input(name, cols))
        };
        let linear = |name: &str, rows: usize, cols: usize| {
            self.loader.linear(vec![part(name, rows, cols)?])
        };
        let project = |name: &str| part(&format!("attention.self.{name}"), hidden, hidden);
        // Scaling the queries once saves scaling every score.
        let scale = 1.0 / ((hidden / heads) as f32).sqrt();
        let queries = Part { scale, ..project("query")? };
        Ok(Layer {
            qkv: self.loader.linear(vec![queries, project("key")?, project("value")?])?,
            output: linear("attention.output.dense", hidden, hidden)?,
            attention_norm: self.norm(&at("attention.output.LayerNorm"), config)?,
            inner: linear("intermediate.dense", inner, hidden)?,
            outer: linear("output.dense", hidden, inner)?,
            norm: self.norm(&at("output.LayerNorm"), config)?,
        })
    }
}
