//! Llama: pre-norm transformer decoder (Touvron et al., 2023), and Qwen2 with its biases.

mod load;
mod shape;

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Mutex;

use kvant_kernels::{Kernels, Matrix, MatrixMut};

use crate::layer::causal::{Causal, CausalScratch};
use crate::layer::linear::Linear;
use crate::layer::resize;
use crate::layer::rms::RmsNorm;
use crate::layer::rope::Rotation;
use crate::layer::rounded::Rounded;
use crate::worker::{self, lock};
use crate::{Tap, Weight};

pub(crate) use shape::Shape;

/// Tokens a thread takes at a time. Sums over the past run to the end of the block, so this is
/// part of what the results are.
const BLOCK: usize = 64;
/// Tokens a thread takes at a time through the head, whose weight is large.
const HEAD_BLOCK: usize = 128;

/// The network of a language model.
#[derive(Debug)]
pub(crate) struct Llama {
    shape: Shape,
    attention: Causal,
    words: Weight,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
}

#[derive(Debug)]
struct Layer {
    attention_norm: RmsNorm,
    qkv: Linear,
    output: Linear,
    norm: RmsNorm,
    /// Gate and up projection side by side.
    inner: Linear,
    outer: Linear,
}

/// How a sequence is run.
pub(crate) struct Pass<'a> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) threads: usize,
    pub(crate) tap: Option<&'a mut dyn Tap>,
}

/// The states of a sequence on its way through the layers.
struct States {
    /// `tokens × hidden`.
    hidden: Vec<f32>,
    /// The same normalised: what the projections read.
    normed: Vec<f32>,
    /// Queries, keys and values, `tokens × projected`.
    qkv: Vec<f32>,
    /// Attended values, `tokens × queries`.
    context: Vec<f32>,
    /// Inner states of the feed-forward block, `tokens × inner`.
    middle: Vec<f32>,
}

/// Memory of one thread.
#[derive(Default)]
struct Scratch {
    attention: CausalScratch,
    update: Vec<f32>,
    gates: Vec<f32>,
    codes: Rounded,
}

impl Llama {
    /// Entries of the word table.
    pub(crate) fn vocabulary(&self) -> usize {
        self.shape.vocabulary
    }

    /// Tokens of the longest sequence the network was trained on.
    pub(crate) fn context(&self) -> usize {
        self.shape.context
    }

    /// Bytes of all weights as held for running.
    pub(crate) fn size_bytes(&self) -> usize {
        let layers = self.layers.iter().map(Layer::size_bytes).sum::<usize>();
        self.words.size_bytes() + layers + self.norm.gain.len() * 4 + self.head.size_bytes()
    }

    /// The states before the head, normalised, of the tokens from `from` on: `(tokens − from) ×
    /// hidden`. A token's state depends on the tokens up to it and not on the threads, bit for
    /// bit. Costs `O(tokens)` in the linears, `O(tokens²)` in the attention.
    pub(crate) fn states(&self, tokens: &[u32], from: usize, pass: &mut Pass<'_>) -> Vec<f32> {
        let Shape { hidden, inner, .. } = self.shape;
        let count = tokens.len();
        let mut states = States {
            hidden: vec![0.0; count * hidden],
            normed: vec![0.0; count * hidden],
            qkv: vec![0.0; count * self.attention.projected()],
            context: vec![0.0; count * self.attention.queries()],
            middle: vec![0.0; count * inner],
        };
        for (row, &token) in states.hidden.chunks_exact_mut(hidden).zip(tokens) {
            self.words.decode_row(token as usize, row);
        }
        let rotation = Rotation::new(&self.shape.frequencies, self.shape.pairing, count);
        for layer in &self.layers {
            self.project(layer, &rotation, &mut states, pass);
            layer.qkv.show(pass.tap.as_deref_mut(), &states.normed);
            self.mix(layer, &mut states, pass);
            layer.output.show(pass.tap.as_deref_mut(), &states.context);
            layer.inner.show(pass.tap.as_deref_mut(), &states.normed);
            layer.outer.show(pass.tap.as_deref_mut(), &states.middle);
        }
        let last = &states.hidden[from * hidden..];
        let mut out = vec![0.0; last.len()];
        self.norm.forward(pass.kernels, last, &mut out);
        self.head.show(pass.tap.as_deref_mut(), &out);
        out
    }

    /// The logits of every row of `states`, `rows × vocabulary`.
    pub(crate) fn head(&self, kernels: &Kernels, threads: usize, states: &[f32]) -> Vec<f32> {
        let Shape { hidden, vocabulary, .. } = self.shape;
        let mut logits = vec![0.0; states.len() / hidden * vocabulary];
        let rows = states.chunks(HEAD_BLOCK * hidden);
        let jobs: Vec<_> = rows.zip(logits.chunks_mut(HEAD_BLOCK * vocabulary)).collect();
        each(threads, jobs, |(rows, out), scratch| {
            run(kernels, &self.head, rows, &mut scratch.codes, out);
        });
        logits
    }

    /// Normalises and projects the states to queries, keys and values.
    fn project(&self, layer: &Layer, rotation: &Rotation, states: &mut States, pass: &Pass<'_>) {
        let (hidden, projected) = (self.shape.hidden, self.attention.projected());
        let turned = projected - self.attention.groups * self.attention.width;
        let kernels = pass.kernels;
        let inputs = states.hidden.chunks(BLOCK * hidden);
        let outputs = states.normed.chunks_mut(BLOCK * hidden);
        let outputs = outputs.zip(states.qkv.chunks_mut(BLOCK * projected));
        let jobs: Vec<_> = inputs.zip(outputs).enumerate().collect();
        each(pass.threads, jobs, |(block, (input, (normed, qkv))), scratch| {
            layer.attention_norm.forward(kernels, input, normed);
            run(kernels, &layer.qkv, normed, &mut scratch.codes, qkv);
            for (at, row) in qkv.chunks_exact_mut(projected).enumerate() {
                rotation.turn(&mut row[..turned], block * BLOCK + at);
            }
        });
    }

    /// Attention, feed-forward block, and both residual sums.
    fn mix(&self, layer: &Layer, states: &mut States, pass: &Pass<'_>) {
        let Shape { hidden, inner, .. } = self.shape;
        let (queries, kernels) = (self.attention.queries(), pass.kernels);
        let qkv = &states.qkv;
        let blocks = states.hidden.chunks_mut(BLOCK * hidden);
        let blocks = blocks.zip(states.normed.chunks_mut(BLOCK * hidden));
        let blocks = blocks.zip(states.context.chunks_mut(BLOCK * queries));
        let blocks = blocks.zip(states.middle.chunks_mut(BLOCK * inner));
        let jobs: Vec<_> = blocks.enumerate().collect();
        each(pass.threads, jobs, |(block, (((states, normed), context), middle)), scratch| {
            let rows = span(block, states.len() / hidden);
            let Scratch { attention, update, gates, codes } = scratch;
            self.attention.forward(kernels, qkv, rows, attention, context);
            let update = resize(update, states.len());
            run(kernels, &layer.output, context, codes, update);
            kernels.add(states, update);
            layer.norm.forward(kernels, states, normed);
            let gates = resize(gates, 2 * middle.len());
            run(kernels, &layer.inner, normed, codes, gates);
            gate(gates, middle, inner);
            run(kernels, &layer.outer, middle, codes, update);
            kernels.add(states, update);
        });
    }
}

impl Layer {
    fn size_bytes(&self) -> usize {
        let linears = [&self.qkv, &self.output, &self.inner, &self.outer];
        let norms = (self.attention_norm.gain.len() + self.norm.gain.len()) * 4;
        linears.iter().map(|linear| linear.size_bytes()).sum::<usize>() + norms
    }
}

fn run(kernels: &Kernels, linear: &Linear, x: &[f32], codes: &mut Rounded, out: &mut [f32]) {
    let rows = x.len() / linear.cols();
    let x = Matrix::new(x, rows, linear.cols());
    linear.forward(kernels, x, codes, MatrixMut::new(out, rows, linear.rows()));
}

fn span(block: usize, rows: usize) -> Range<usize> {
    block * BLOCK..block * BLOCK + rows
}

/// `SiLU(gate) · up` (Shazeer, 2020); each row of `gates` holds the gates, then the ups.
fn gate(gates: &[f32], out: &mut [f32], inner: usize) {
    for (row, out) in gates.chunks_exact(2 * inner).zip(out.chunks_exact_mut(inner)) {
        let (gates, ups) = row.split_at(inner);
        for ((out, gate), up) in out.iter_mut().zip(gates).zip(ups) {
            *out = gate / (1.0 + (-gate).exp()) * up;
        }
    }
}

/// Does every job once, on any thread.
fn each<T: Send>(threads: usize, jobs: Vec<T>, work: impl Fn(T, &mut Scratch) + Sync) {
    let jobs: Vec<_> = jobs.into_iter().map(|job| Mutex::new(Some(job))).collect();
    let run = |scratch: &mut Scratch, index: usize| {
        if let Some(job) = lock(&jobs[index]).take() {
            work(job, scratch);
        }
        Ok::<(), Infallible>(())
    };
    let Ok(()) = worker::run(threads, jobs.len(), Scratch::default, run);
}
