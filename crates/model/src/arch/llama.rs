//! Llama: pre-norm transformer decoder (Touvron et al., 2023), and Qwen2 with its biases.

mod load;
mod room;
mod shape;

use kvant_kernels::{Kernels, Matrix, MatrixMut, Pool};

use crate::layer::causal::Causal;
use crate::layer::linear::Linear;
use crate::layer::resize;
use crate::layer::rms::RmsNorm;
use crate::layer::rounded::Rounded;
use crate::{Cache, CacheFormat, Cancel, Tap, Weight};

use room::Memory;
pub use room::Workspace;
pub(crate) use shape::Shape;

/// Tokens a thread takes at a time.
const BLOCK: usize = 64;
/// Tokens a thread takes at a time through the head, whose weight is large.
const HEAD_BLOCK: usize = 128;
/// Positions from which on threads share the attention of a single token: what a run of the pool
/// costs is then a small part.
const SHARED_PAST: usize = 128;

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

/// New tokens of one sequence.
#[derive(Debug)]
pub struct Step<'a> {
    /// What was read of the sequence; it takes in the tokens.
    pub cache: &'a mut Cache,
    /// What follows, at least one token: part of a prompt, or the token chosen last.
    pub tokens: &'a [u32],
    /// The first of `tokens` whose logits are wanted; `tokens.len()` for none.
    pub from: usize,
    /// Gives the step up where it is set before the last layer is done.
    pub cancel: Option<&'a Cancel>,
}

/// How sequences are run.
pub(crate) struct Pass<'a, 't> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) pool: &'a Pool,
    pub(crate) tap: Option<&'t mut dyn Tap>,
    pub(crate) flags: Flags<'a>,
}

/// The flags of the steps if all have one.
pub(crate) struct Flags<'a>(pub(crate) Option<Vec<&'a Cancel>>);

impl Flags<'_> {
    /// Whether nobody wants the results any more.
    fn all_set(&self) -> bool {
        self.0.as_ref().is_some_and(|flags| flags.iter().all(|flag| flag.is_cancelled()))
    }
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
        self.words.size_bytes() + self.read_bytes()
    }

    /// Bytes of the weights that every step reads: all but the word table.
    pub(crate) fn read_bytes(&self) -> usize {
        let layers = self.layers.iter().map(Layer::size_bytes).sum::<usize>();
        layers + self.norm.gain.len() * 4 + self.head.size_bytes()
    }

    /// All linear layers, the head last.
    fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter().flat_map(Layer::linears).chain([&self.head])
    }

    /// Multiply-adds of reading `tokens` tokens at once, with the logits of the last.
    pub(crate) fn macs(&self, tokens: usize) -> u64 {
        let of = |linear: &Linear| (linear.rows() * linear.cols()) as u64;
        let linears = self.layers.iter().flat_map(Layer::linears).map(of).sum::<u64>();
        let tokens = tokens as u64;
        let seen = tokens * (tokens + 1) / 2 * self.layers.len() as u64;
        let attention = 2 * seen * self.attention.queries() as u64;
        tokens * linears + attention + of(&self.head)
    }

    /// An empty cache for sequences of at most `capacity` tokens.
    pub(crate) fn cache(&self, format: CacheFormat, capacity: usize) -> Cache {
        Cache::new(format, self.attention, self.layers.len(), capacity)
    }

    /// Whether `cache` was made for a network of this shape.
    pub(crate) fn fits(&self, cache: &Cache) -> bool {
        cache.fits(&self.attention, self.layers.len())
    }

    /// Runs every step and takes its tokens into its cache. The states before the head,
    /// normalised, of the tokens from [`Step::from`] on are in [`Workspace::last`], steps one
    /// behind the other. A step whose flag is set is left out from the next layer on; its cache
    /// stays as it was.
    ///
    /// A token's state depends on the tokens up to it and on the format of the cache; not on the
    /// threads, nor on what else runs, nor on how its sequence is divided over calls, bit for bit.
    /// Costs `O(tokens)` in the linears and `O(tokens · positions)` in the attention.
    pub(crate) fn states(
        &self,
        steps: &mut [Step<'_>],
        room: &mut Workspace,
        pass: &mut Pass<'_, '_>,
    ) {
        let steps = &mut steps.iter_mut().collect::<Vec<_>>();
        room.begin(&self.shape, &self.attention, steps);
        let tokens = steps.iter().flat_map(|step| step.tokens);
        for (row, &token) in room.hidden.chunks_exact_mut(self.shape.hidden).zip(tokens) {
            self.words.decode_row(token as usize, row);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            if self.leave_out(steps, room) == 0 {
                break;
            }
            self.project(layer, room, pass);
            layer.qkv.show(pass.tap.as_deref_mut(), &room.normed);
            self.attend(index, steps, room, pass);
            layer.output.show(pass.tap.as_deref_mut(), &room.context);
            self.mix(layer, room, pass);
            layer.inner.show(pass.tap.as_deref_mut(), &room.normed);
            layer.outer.show(pass.tap.as_deref_mut(), &room.middle);
        }
        self.leave_out(steps, room);
        for step in steps.iter_mut() {
            step.cache.extend(step.tokens);
        }
        self.finish(steps, room, pass);
    }

    /// Takes out the steps whose flag is set, with their states; the number of those left.
    fn leave_out(&self, steps: &mut Vec<&mut Step<'_>>, room: &mut Workspace) -> usize {
        let (before, mut from, mut to) = (steps.len(), 0, 0);
        steps.retain_mut(|step| {
            let values = step.tokens.len() * self.shape.hidden;
            let stays = !step.cancel.is_some_and(Cancel::is_cancelled);
            if stays {
                if from > to {
                    room.hidden.copy_within(from..from + values, to);
                }
                to += values;
            } else {
                // What some layers hold of the tokens is forgotten.
                step.cache.truncate(step.cache.len());
            }
            from += values;
            stays
        });
        if steps.len() < before {
            room.begin(&self.shape, &self.attention, steps);
        }
        steps.len()
    }

    /// Normalises the states of the tokens whose logits are wanted.
    fn finish(&self, steps: &[&mut Step<'_>], room: &mut Workspace, pass: &mut Pass<'_, '_>) {
        let hidden = self.shape.hidden;
        let wanted = steps.iter().map(|step| step.tokens.len() - step.from).sum::<usize>();
        room.last.resize(wanted * hidden, 0.0);
        let (mut row, mut rest) = (0, room.last.as_mut_slice());
        for step in steps {
            let rows = row + step.from..row + step.tokens.len();
            let (out, tail) = rest.split_at_mut(rows.len() * hidden);
            let states = &room.hidden[rows.start * hidden..rows.end * hidden];
            self.norm.forward(pass.kernels, states, out);
            (row, rest) = (rows.end, tail);
        }
        if !steps.is_empty() {
            self.head.show(pass.tap.as_deref_mut(), &room.last);
        }
    }

    /// The logits of every row of [`Workspace::last`], `rows × vocabulary`, to
    /// [`Workspace::logits`].
    pub(crate) fn head(&self, room: &mut Workspace, (kernels, pool): (&Kernels, &Pool)) {
        let Shape { hidden, vocabulary, .. } = self.shape;
        let Workspace { last, logits, memories, .. } = room;
        logits.resize(last.len() / hidden * vocabulary, 0.0);
        let rows = last.chunks(HEAD_BLOCK * hidden);
        let jobs = rows.zip(logits.chunks_mut(HEAD_BLOCK * vocabulary));
        memories.each(pool, jobs, |(rows, out), memory| {
            run((kernels, pool), &self.head, rows, &mut memory.codes, out);
        });
    }

    /// Normalises and projects the states to queries, keys and values.
    fn project(&self, layer: &Layer, room: &mut Workspace, pass: &Pass<'_, '_>) {
        let (hidden, projected) = (self.shape.hidden, self.attention.projected());
        let turned = projected - self.attention.groups * self.attention.width;
        let (kernels, flags) = (pass.kernels, &pass.flags);
        let Workspace { rotation, memories, .. } = room;
        let inputs = room.hidden.chunks(BLOCK * hidden);
        let outputs = room.normed.chunks_mut(BLOCK * hidden);
        let outputs = outputs.zip(room.qkv.chunks_mut(BLOCK * projected));
        let jobs = inputs.zip(outputs).enumerate();
        memories.each(pass.pool, jobs, |(block, (input, (normed, qkv))), memory| {
            if flags.all_set() {
                return;
            }
            layer.attention_norm.forward(kernels, input, normed);
            run((kernels, pass.pool), &layer.qkv, normed, &mut memory.codes, qkv);
            for (at, row) in qkv.chunks_exact_mut(projected).enumerate() {
                rotation.turn(&mut row[..turned], block * BLOCK + at);
            }
        });
    }

    /// Attention of every step over its own cache. A thread takes a block of tokens, or, of a
    /// single token with a long past, one head of keys and values.
    fn attend(
        &self,
        layer: usize,
        steps: &mut [&mut Step<'_>],
        room: &mut Workspace,
        pass: &Pass<'_, '_>,
    ) {
        let (projected, queries) = (self.attention.projected(), self.attention.queries());
        let (heads, threads) = (self.attention.heads, pass.pool.threads());
        let shared = if threads > 1 { SHARED_PAST } else { usize::MAX };
        let Workspace { qkv, context, memories, .. } = room;
        let (mut projections, mut outputs) = (qkv.as_slice(), context.as_mut_slice());
        for step in steps.iter_mut() {
            let (own, rest) = projections.split_at(step.tokens.len() * projected);
            step.cache.write(layer, own);
            projections = rest;
        }
        projections = qkv;
        let steps: &[&mut Step<'_>] = steps;
        let jobs = steps.iter().flat_map(|step| {
            let count = step.tokens.len();
            let (own, rest) = projections.split_at(count * projected);
            projections = rest;
            let (out, rest) = std::mem::take(&mut outputs).split_at_mut(count * queries);
            outputs = rest;
            let blocks = own.chunks(BLOCK * projected).zip(out.chunks_mut(BLOCK * queries));
            blocks.enumerate().flat_map(move |(block, (own, out))| {
                let (past, first) = (step.cache.past(layer), step.cache.len() + block * BLOCK);
                let single = own.len() == projected && first + 1 >= shared;
                let each = if single { heads.div_ceil(threads) } else { heads };
                let parts = out.chunks_mut(out.len() / heads * each).enumerate();
                parts.map(move |(part, out)| {
                    let from = part * each;
                    (past, (from..heads.min(from + each), first, own), out)
                })
            })
        });
        let flags = &pass.flags;
        memories.each(pass.pool, jobs, |(past, block, out), memory| {
            if flags.all_set() {
                return;
            }
            self.attention.forward(pass.kernels, past, block, &mut memory.attention, out);
        });
    }

    /// Output projection, feed-forward block, and both residual sums.
    fn mix(&self, layer: &Layer, room: &mut Workspace, pass: &Pass<'_, '_>) {
        let Shape { hidden, inner, .. } = self.shape;
        let (queries, kernels, flags) = (self.attention.queries(), pass.kernels, &pass.flags);
        let blocks = room.hidden.chunks_mut(BLOCK * hidden);
        let blocks = blocks.zip(room.normed.chunks_mut(BLOCK * hidden));
        let blocks = blocks.zip(room.context.chunks(BLOCK * queries));
        let blocks = blocks.zip(room.middle.chunks_mut(BLOCK * inner));
        let memories = &mut room.memories;
        memories.each(pass.pool, blocks, |(((states, normed), context), middle), memory| {
            if flags.all_set() {
                return;
            }
            let Memory { update, gates, codes, .. } = memory;
            let update = resize(update, states.len());
            run((kernels, pass.pool), &layer.output, context, codes, update);
            kernels.add(states, update);
            layer.norm.forward(kernels, states, normed);
            let gates = resize(gates, 2 * middle.len());
            run((kernels, pass.pool), &layer.inner, normed, codes, gates);
            gate(kernels, gates, middle, inner);
            run((kernels, pass.pool), &layer.outer, middle, codes, update);
            kernels.add(states, update);
        });
    }
}

impl Layer {
    fn size_bytes(&self) -> usize {
        let norms = (self.attention_norm.gain.len() + self.norm.gain.len()) * 4;
        self.linears().iter().map(|linear| linear.size_bytes()).sum::<usize>() + norms
    }

    fn linears(&self) -> [&Linear; 4] {
        [&self.qkv, &self.output, &self.inner, &self.outer]
    }
}

fn run(on: (&Kernels, &Pool), linear: &Linear, x: &[f32], codes: &mut Rounded, out: &mut [f32]) {
    let rows = x.len() / linear.cols();
    let x = Matrix::new(x, rows, linear.cols());
    linear.forward(on, x, codes, MatrixMut::new(out, rows, linear.rows()));
}

/// `SiLU(gate) · up` (Shazeer, 2020); each row of `gates` holds the gates, then the ups.
fn gate(kernels: &Kernels, gates: &[f32], out: &mut [f32], inner: usize) {
    for (row, out) in gates.chunks_exact(2 * inner).zip(out.chunks_exact_mut(inner)) {
        let (gates, ups) = row.split_at(inner);
        kernels.swiglu(gates, ups, out);
    }
}
