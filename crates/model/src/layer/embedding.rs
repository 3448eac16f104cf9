//! Token states before the first layer: word plus position plus type.

use kvant_kernels::Kernels;

use super::Batch;
use super::norm::Norm;
use crate::Weight;

/// The tables of a BERT-like network. The word table keeps its stored form; rows are decoded
/// when looked up.
#[derive(Debug)]
pub(crate) struct Embedding {
    /// `vocabulary × hidden`.
    pub(crate) words: Weight,
    /// For each token type `positions × hidden`, the state of the type already added.
    pub(crate) positions: Vec<Vec<f32>>,
    pub(crate) norm: Norm,
}

impl Embedding {
    /// Writes the states of every token of `batch`; positions start anew with each sequence.
    ///
    /// # Panics
    /// If a token, a type or a length is outside the tables.
    pub(crate) fn forward(&self, kernels: &Kernels, batch: &Batch, states: &mut [f32]) {
        let width = self.words.cols();
        let positions = batch.lengths.iter().flat_map(|&length| 0..length);
        let tokens = batch.tokens.iter().zip(&batch.types);
        let rows = states.chunks_exact_mut(width).zip(tokens).zip(positions);
        for ((row, (&token, &kind)), position) in rows {
            self.words.decode_row(token as usize, row);
            let place = &self.positions[usize::from(kind)][position * width..][..width];
            for (state, value) in row.iter_mut().zip(place) {
                *state += value;
            }
        }
        self.norm.forward(kernels, states);
    }

    /// Bytes held.
    pub(crate) fn size_bytes(&self) -> usize {
        let positions: usize = self.positions.iter().map(Vec::len).sum();
        self.words.size_bytes() + positions * 4 + self.norm.size_bytes()
    }
}
