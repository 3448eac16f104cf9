//! The layers networks are built from.

pub(crate) mod attention;
pub(crate) mod blocks;
pub(crate) mod causal;
pub(crate) mod codes;
pub(crate) mod embedding;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod packed;
pub(crate) mod rms;
pub(crate) mod rope;
pub(crate) mod rounded;

use kvant_kernels::{AttentionScratch, Pool};

use linear::Coded;
use rounded::Rounded;

/// A batch of token sequences, one behind the other without padding.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// All tokens.
    pub(crate) tokens: Vec<u32>,
    /// The type of every token.
    pub(crate) types: Vec<u8>,
    /// Tokens of each sequence.
    pub(crate) lengths: Vec<usize>,
}

impl Batch {
    /// Takes out all sequences.
    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
        self.types.clear();
        self.lengths.clear();
    }

    /// Adds a sequence; without `types` all its tokens are of type 0.
    pub(crate) fn push(&mut self, tokens: &[u32], types: &[u8]) {
        assert!(types.is_empty() || types.len() == tokens.len(), "one type for each token");
        self.tokens.extend_from_slice(tokens);
        self.types.extend_from_slice(types);
        self.types.resize(self.tokens.len(), 0);
        self.lengths.push(tokens.len());
    }
}

/// The memory of a forward pass, kept from one batch to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Token states, `tokens × hidden`.
    pub(crate) hidden: Vec<f32>,
    /// Queries, keys and values side by side, `tokens × 3 · hidden`.
    pub(crate) qkv: Vec<f32>,
    /// Attention output, and output of each block before it joins the states.
    pub(crate) context: Vec<f32>,
    pub(crate) update: Vec<f32>,
    /// Inner states of the feed-forward block.
    pub(crate) middle: Vec<f32>,
    /// What one head needs.
    pub(crate) head: AttentionScratch,
    /// Inputs in fewer bits.
    pub(crate) codes: Rounded,
    /// Batches are shared out among threads, not what is inside them.
    pub(crate) alone: Pool,
    /// Inputs of linear layers coded token by token, where all of them read such.
    pub(crate) coded: Coded,
}

/// Makes `buffer` exactly `len` long; what it held is of no interest.
pub(crate) fn resize(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
