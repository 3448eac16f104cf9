//! Token states before the first layer: word plus position.

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
    /// `positions × hidden`, the state of token type 0 already added.
    pub(crate) positions: Vec<f32>,
    pub(crate) norm: Norm,
}

impl Embedding {
    /// Writes the states of every token of `batch`; positions start anew with each sequence.
    ///
    /// # Panics
    /// If a token or a length is outside the tables.
    pub(crate) fn forward(&self, kernels: &Kernels, batch: &Batch, states: &mut [f32]) {
        let width = self.words.cols();
        let positions = batch.lengths.iter().flat_map(|&length| 0..length);
        let rows = states.chunks_exact_mut(width).zip(&batch.tokens).zip(positions);
        for ((row, &token), position) in rows {
            self.words.decode_row(token as usize, row);
            let place = &self.positions[position * width..][..width];
            for (state, value) in row.iter_mut().zip(place) {
                *state += value;
            }
        }
        self.norm.forward(kernels, states);
    }

    /// Bytes held.
    pub(crate) fn size_bytes(&self) -> usize {
        self.words.size_bytes() + self.positions.len() * 4 + self.norm.size_bytes()
    }
}
