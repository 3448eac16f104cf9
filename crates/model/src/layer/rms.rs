//! Root-mean-square normalisation (Zhang and Sennrich, 2019).

use kvant_kernels::Kernels;

/// `x / √(mean x² + eps) · gain` over the states of each token.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    pub(crate) gain: Vec<f32>,
    pub(crate) eps: f32,
}

impl RmsNorm {
    /// Writes the normalised rows of `states` to `out`.
    pub(crate) fn forward(&self, kernels: &Kernels, states: &[f32], out: &mut [f32]) {
        let width = self.gain.len();
        for (row, out) in states.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let mean = kernels.dot_f32(row, row) / width as f32;
            let scale = 1.0 / (mean + self.eps).sqrt();
            for ((out, value), gain) in out.iter_mut().zip(row).zip(&self.gain) {
                *out = value * scale * gain;
            }
        }
    }
}
