//! Layer normalisation, alone or joined with the residual sum before it.

use kvant_kernels::Kernels;

/// `(x − mean) / √(var + eps) · gain + bias` over the states of each token.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) gain: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) eps: f32,
}

impl Norm {
    /// Normalises each row of `states` in place.
    pub(crate) fn forward(&self, kernels: &Kernels, states: &mut [f32]) {
        for row in states.chunks_exact_mut(self.gain.len()) {
            kernels.layer_norm(row, &self.gain, &self.bias, self.eps);
        }
    }

    /// `states = norm(states + update)`, row by row while each is in the cache.
    pub(crate) fn forward_sum(&self, kernels: &Kernels, states: &mut [f32], update: &[f32]) {
        let width = self.gain.len();
        for (row, update) in states.chunks_exact_mut(width).zip(update.chunks_exact(width)) {
            kernels.add(row, update);
            kernels.layer_norm(row, &self.gain, &self.bias, self.eps);
        }
    }

    /// Bytes held.
    pub(crate) fn size_bytes(&self) -> usize {
        (self.gain.len() + self.bias.len()) * 4
    }
}
