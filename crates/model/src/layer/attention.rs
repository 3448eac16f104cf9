//! Multi-head self-attention over sequences that lie one behind the other.

use kvant_kernels::{Head, Kernels, Matrix, MatrixMut};

use super::{Scratch, resize};

/// The shape of the attention; the projections are linear layers of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention {
    pub(crate) heads: usize,
    pub(crate) width: usize,
    pub(crate) precision: Precision,
}

/// What queries, keys and values are multiplied in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    Float,
    Brain,
}

impl Attention {
    /// From queries (scaled by 1/√width beforehand), keys and values in `scratch.qkv`, writes
    /// the attended values to `scratch.context`. Every sequence sees itself only.
    pub(crate) fn forward(&self, kernels: &Kernels, lengths: &[usize], scratch: &mut Scratch) {
        let tokens: usize = lengths.iter().sum();
        resize(&mut scratch.context, tokens * self.heads * self.width);
        let mut start = 0;
        for &length in lengths {
            for head in 0..self.heads {
                self.head(kernels, scratch, (start, length), head);
            }
            start += length;
        }
    }

    fn head(
        &self,
        kernels: &Kernels,
        scratch: &mut Scratch,
        (start, length): (usize, usize),
        head: usize,
    ) {
        if length == 0 {
            return;
        }
        let (width, hidden) = (self.width, self.heads * self.width);
        let Scratch { qkv, context, head: memory, .. } = scratch;
        let part = |which: usize| {
            let from = start * 3 * hidden + which * hidden + head * width;
            Matrix::strided(&qkv[from..], length, width, 3 * hidden)
        };
        let from = start * hidden + head * width;
        let out = MatrixMut::strided(&mut context[from..], length, width, hidden);
        let head = Head { query: part(0), key: part(1), value: part(2), scale: 1.0 };
        match self.precision {
            Precision::Float => kernels.attention(&head, memory, out),
            Precision::Brain => kernels.attention_bf16(&head, memory, out),
        }
    }
}
