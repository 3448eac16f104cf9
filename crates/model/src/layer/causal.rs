//! Causal self-attention with shared keys and values (Ainslie et al., 2023).

use std::ops::Range;

use kvant_kernels::{Kernels, Matrix, MatrixMut, PackedF32};

use super::resize;

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

/// Memory of one thread.
#[derive(Debug, Default)]
pub(crate) struct CausalScratch {
    keys: PackedF32,
    values: PackedF32,
    scores: Vec<f32>,
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

    /// The attended values of the tokens `rows` of one sequence, `rows × queries`. `qkv` holds
    /// the projections of the sequence, queries scaled by `1/√width` beforehand; a token sees
    /// itself and those before it.
    pub(crate) fn forward(
        &self,
        kernels: &Kernels,
        qkv: &[f32],
        rows: Range<usize>,
        scratch: &mut CausalScratch,
        out: &mut [f32],
    ) {
        let (width, stride) = (self.width, self.projected());
        let part = |from: usize, rows: Range<usize>| {
            let from = rows.start * stride + from * width;
            Matrix::strided(&qkv[from..], rows.len(), width, stride)
        };
        let CausalScratch { keys, values, scores } = scratch;
        let seen = rows.end;
        let scores = resize(scores, rows.len() * seen);
        let share = self.heads / self.groups;
        for group in 0..self.groups {
            kernels.pack_f32(part(self.heads + group, 0..seen), keys);
            values.pack_transposed(part(self.heads + self.groups + group, 0..seen));
            for head in group * share..(group + 1) * share {
                let queries = part(head, rows.clone());
                kernels.gemm_f32(queries, keys, None, MatrixMut::new(scores, rows.len(), seen));
                for (row, position) in scores.chunks_exact_mut(seen).zip(rows.clone()) {
                    let (past, future) = row.split_at_mut(position + 1);
                    kernels.softmax(past);
                    future.fill(0.0);
                }
                let from = head * width;
                let out = MatrixMut::strided(&mut out[from..], rows.len(), width, self.queries());
                kernels.gemm_f32(Matrix::new(scores, rows.len(), seen), values, None, out);
            }
        }
    }
}
