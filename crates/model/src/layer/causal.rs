//! Causal self-attention with shared keys and values (Ainslie et al., 2023) over a cache.

use std::ops::Range;

use kvant_kernels::{Kernels, Matrix, MatrixMut, PackedF32};

use super::resize;
use crate::cache::page::{PAGE, Page, Part};
use crate::cache::rotate::rotate;

/// The shape of the attention; the projections are linear layers of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Causal {
    /// Query heads.
    pub(crate) heads: usize,
    /// Key and value heads, each shared by `heads / groups` query heads.
    pub(crate) groups: usize,
    /// Values of a head.
    pub(crate) width: usize,
}

/// The keys and values of one layer that some tokens see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past<'a> {
    pub(crate) pages: &'a [Page],
    /// Whether keys are stored rotated, so that queries must be too.
    pub(crate) rotated: bool,
}

/// Memory of one thread.
#[derive(Debug, Default)]
pub(crate) struct CausalScratch {
    memory: PackedF32,
    queries: Vec<f32>,
    scores: Vec<f32>,
    sums: Vec<f32>,
    part: Vec<f32>,
}

impl Causal {
    /// Values of the queries of a token.
    pub(crate) fn queries(&self) -> usize {
        self.heads * self.width
    }

    /// Values of the queries, keys and values of a token, side by side in this order.
    pub(crate) fn projected(&self) -> usize {
        (self.heads + 2 * self.groups) * self.width
    }

    /// The attended values of some tokens that follow one another, the first at position `first`,
    /// `rows × queries`; of the query heads in `heads` only, which may be shared out among threads:
    /// `out` then has `rows × queries of these`. `qkv` holds their projections, queries scaled by
    /// `1/√width` beforehand; `past` the keys and values of all tokens up to them, their own
    /// included. A token sees itself and those before it.
    ///
    /// Values are summed page by page, so a row has the same bits however the tokens of a sequence
    /// are divided over calls, and the heads over threads. Costs `4 · rows · positions · width`
    /// operations a head, and reading each key and value head once.
    pub(crate) fn forward(
        &self,
        kernels: &Kernels,
        past: Past<'_>,
        (heads, first, qkv): (Range<usize>, usize, &[f32]),
        scratch: &mut CausalScratch,
        out: &mut [f32],
    ) {
        let (width, stride) = (self.width, self.projected());
        let share = self.heads / self.groups;
        let tokens = qkv.len() / stride;
        let mut next = heads.start;
        while next < heads.end {
            let group = next / share;
            let own = next..heads.end.min((group + 1) * share);
            next = own.end;
            let queries = resize(&mut scratch.queries, own.len() * tokens * width);
            for (index, query) in queries.chunks_exact_mut(width).enumerate() {
                let (head, token) = (own.start + index / tokens, index % tokens);
                query.copy_from_slice(&qkv[token * stride + head * width..][..width]);
                if past.rotated {
                    rotate(query);
                }
            }
            let rows = own.len() * tokens;
            self.group(kernels, past, (group, first, (rows, tokens)), scratch);
            for (index, sums) in scratch.sums.chunks_exact(width).take(rows).enumerate() {
                let (head, token) = (own.start + index / tokens - heads.start, index % tokens);
                let at = (token * heads.len() + head) * width;
                out[at..at + width].copy_from_slice(sums);
            }
        }
    }

    /// The attended values of the queries in `scratch.queries`, one head behind the other, which
    /// share the keys and values of `group`; they go to `scratch.sums`.
    fn group(
        &self,
        kernels: &Kernels,
        past: Past<'_>,
        (group, first, (rows, tokens)): (usize, usize, (usize, usize)),
        scratch: &mut CausalScratch,
    ) {
        let width = self.width;
        let seen = first + tokens;
        let CausalScratch { memory, queries, scores, sums, part } = scratch;
        let queries = Matrix::new(&queries[..rows * width], rows, width);
        let pages = || past.pages.iter().take(seen.div_ceil(PAGE)).enumerate();
        let stride = seen.next_multiple_of(PAGE);
        let scores = resize(scores, rows * stride);
        for (index, page) in pages() {
            let scores = MatrixMut::strided(&mut scores[index * PAGE..], rows, PAGE, stride);
            page.multiply(kernels, (Part::Keys, group), queries, memory, scores);
        }
        for (index, row) in scores.chunks_exact_mut(stride).enumerate() {
            let (past, future) = row.split_at_mut(first + index % tokens + 1);
            kernels.softmax(past);
            future.fill(0.0);
        }
        let sums = resize(sums, rows * width);
        let part = resize(part, rows * width);
        for (index, page) in pages() {
            let weights = Matrix::strided(&scores[index * PAGE..], rows, PAGE, stride);
            let to = if index == 0 { &mut *sums } else { &mut *part };
            let to = MatrixMut::new(to, rows, width);
            page.multiply(kernels, (Part::Values, group), weights, memory, to);
            if index > 0 {
                kernels.add(sums, part);
            }
        }
    }
}
