//! A layer whose linears all read inputs coded token by token, in int8 or bf16: a few tokens at a
//! time, so that states are coded while they are in the cache and inner states hardly leave it.

use kvant_kernels::Kernels;

use super::{Bert, Layer};
use crate::config::Config;
use crate::layer::codes::Codes;
use crate::layer::linear::Coded;
use crate::layer::{Scratch, resize};

/// Tokens at a time: two tiles of the product, 150 kB of inner states of a width of 1536, so that
/// they share the second cache with the weights of a linear layer.
const TOKENS: usize = 24;

impl Layer {
    /// Whether all its linears multiply inputs coded token by token.
    pub(super) fn reads_codes(&self) -> bool {
        [&self.qkv, &self.output, &self.inner, &self.outer]
            .iter()
            .all(|l| l.reads_codes().is_some())
    }
}

impl Bert {
    /// What `step` does; the same but for the rounding of a smoothed input.
    pub(super) fn coded_step(
        &self,
        kernels: &Kernels,
        layer: &Layer,
        lengths: &[usize],
        scratch: &mut Scratch,
    ) {
        let Config { hidden, .. } = self.config;
        let tokens: usize = lengths.iter().sum();
        let qkv = resize(&mut scratch.qkv, tokens * 3 * hidden);
        let states = &scratch.hidden[..tokens * hidden];
        let blocks = states.chunks(TOKENS * hidden).zip(qkv.chunks_mut(TOKENS * 3 * hidden));
        for (states, qkv) in blocks {
            layer.qkv.code_all(kernels, states, &mut scratch.coded);
            layer.qkv.forward_codes(kernels, &scratch.coded.rows, qkv);
        }
        self.attention.forward(kernels, lengths, scratch);
        self.coded_inner(kernels, layer, tokens, scratch);
        let Scratch { hidden: states, update, coded, .. } = scratch;
        let states = states[..tokens * hidden].chunks_mut(TOKENS * hidden);
        for (states, codes) in states.zip(&coded.waiting) {
            let update = resize(update, states.len());
            layer.outer.forward_codes(kernels, codes, update);
            layer.norm.forward_sum(kernels, states, update);
        }
    }

    /// From the attended values to the codes of the inner states, in `scratch.coded.waiting`.
    fn coded_inner(&self, kernels: &Kernels, layer: &Layer, tokens: usize, scratch: &mut Scratch) {
        let Config { hidden, inner, .. } = self.config;
        let Scratch { hidden: states, context, update, middle, coded, .. } = scratch;
        let blocks = tokens.div_ceil(TOKENS);
        let mut waiting = std::mem::take(&mut coded.waiting);
        if waiting.len() < blocks {
            waiting.resize_with(blocks, Codes::default);
        }
        let states = states[..tokens * hidden].chunks_mut(TOKENS * hidden);
        let context = context[..tokens * hidden].chunks(TOKENS * hidden);
        for ((states, context), codes) in states.zip(context).zip(&mut waiting) {
            let update = resize(update, states.len());
            layer.output.code_all(kernels, context, coded);
            layer.output.forward_codes(kernels, &coded.rows, update);
            layer.attention_norm.forward_sum(kernels, states, update);
            layer.inner.code_all(kernels, states, coded);
            let middle = resize(middle, states.len() / hidden * inner);
            let Coded { rows, token, .. } = &mut *coded;
            layer.inner.forward_codes(kernels, rows, middle);
            layer.outer.reset(codes, rows.rows());
            for (m, row) in middle.chunks_exact_mut(inner).enumerate() {
                kernels.gelu(row);
                layer.outer.code(kernels, row, (m, codes), token);
            }
        }
        coded.waiting = waiting;
    }
}
