//! Inputs of linear layers in fewer bits.

use std::sync::Mutex;

use kvant_kernels::{BlocksI8, Kernels, Matrix, PackedF32, RowsBF16, RowsI8, Scaling};

use crate::activation::{Input, Rounding};
use crate::layer::resize;

/// Memory for inputs on their way into a linear layer.
#[derive(Debug, Default)]
pub(crate) struct Rounded {
    /// Activations in int8, for int8 weights.
    pub(crate) codes: RowsI8,
    /// Activations in bf16, for weights in bf16.
    brain: RowsBF16,
    /// Activations in int8 for weights in blocks.
    blocks: BlocksI8,
    /// Weights in blocks, decoded a few at a time, for each thread.
    pub(crate) expanded: Vec<Mutex<PackedF32>>,
    values: Vec<f32>,
}

/// Weights of a row that share a scale in [`Rounding::Block`].
const BLOCK: usize = 32;
/// Largest code of 8 bits.
const TOP: f32 = 127.0;
/// Steps between the codes of a token.
const STEPS: f32 = 255.0;

impl Rounded {
    /// The codes of `x`, smoothed, with a scale per row.
    pub(crate) fn codes(
        &mut self,
        kernels: &Kernels,
        x: Matrix<'_, f32>,
        input: &Input,
    ) -> &RowsI8 {
        if input.smooth.is_empty() {
            kernels.quantize_rows(x, &mut self.codes);
        } else {
            let (rows, cols) = (x.rows(), x.cols());
            let values = smoothed(&mut self.values, x, &input.smooth);
            kernels.quantize_rows(Matrix::new(values, rows, cols), &mut self.codes);
        }
        &self.codes
    }

    /// `x`, smoothed, in bf16.
    pub(crate) fn brain(
        &mut self,
        kernels: &Kernels,
        x: Matrix<'_, f32>,
        input: &Input,
    ) -> &RowsBF16 {
        self.brain.reset(x.rows(), x.cols());
        let x = if input.smooth.is_empty() {
            x
        } else {
            Matrix::new(smoothed(&mut self.values, x, &input.smooth), x.rows(), x.cols())
        };
        (0..x.rows()).for_each(|m| kernels.round_row(x.row(m), m, &mut self.brain));
        &self.brain
    }

    /// The codes of `x`, smoothed, for weights in blocks of so many columns.
    pub(crate) fn blocks(
        &mut self,
        kernels: &Kernels,
        x: Matrix<'_, f32>,
        input: &Input,
        (scaling, block): (Scaling, usize),
    ) -> &BlocksI8 {
        if input.smooth.is_empty() {
            kernels.quantize_blocks(x, scaling, block, &mut self.blocks);
        } else {
            let (rows, cols) = (x.rows(), x.cols());
            let values = smoothed(&mut self.values, x, &input.smooth);
            let x = Matrix::new(values, rows, cols);
            kernels.quantize_blocks(x, scaling, block, &mut self.blocks);
        }
        &self.blocks
    }

    /// `x` as the weights are to see it: smoothed and rounded, in f32.
    pub(crate) fn values<'a>(&'a mut self, x: Matrix<'a, f32>, input: &Input) -> Matrix<'a, f32> {
        let plain = matches!(input.rounding, Rounding::None | Rounding::Format);
        if plain && input.smooth.is_empty() {
            return x;
        }
        let (rows, cols) = (x.rows(), x.cols());
        let values = smoothed(&mut self.values, x, &input.smooth);
        match input.rounding {
            Rounding::None | Rounding::Format => {}
            Rounding::Brain => {
                for value in values.iter_mut() {
                    *value = half::bf16::from_f32(*value).to_f32();
                }
            }
            Rounding::Token => values.chunks_mut(cols.max(1)).for_each(to_range),
            Rounding::Block => {
                let rows = values.chunks_mut(cols.max(1));
                rows.flat_map(|row| row.chunks_mut(BLOCK)).for_each(to_eight_bits);
            }
            Rounding::Static(scale) => {
                for value in values.iter_mut() {
                    *value = snap(*value, scale);
                }
            }
        }
        Matrix::new(values, rows, cols)
    }
}

/// A copy of `x`, each column divided by its factor.
fn smoothed<'a>(memory: &'a mut Vec<f32>, x: Matrix<'_, f32>, smooth: &[f32]) -> &'a mut [f32] {
    let cols = x.cols();
    let values = resize(memory, x.rows() * cols);
    for (row, values) in values.chunks_mut(cols.max(1)).enumerate() {
        values.copy_from_slice(x.row(row));
        values.iter_mut().zip(smooth).for_each(|(value, factor)| *value /= factor);
    }
    values
}

/// Rounds to 8 bits at the scale of the largest magnitude.
fn to_eight_bits(values: &mut [f32]) {
    let max = values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
    let scale = max / TOP;
    if scale > 0.0 {
        for value in values {
            *value = snap(*value, scale);
        }
    }
}

/// Rounds to 256 steps over the range of the values and 0.
fn to_range(values: &mut [f32]) {
    let low = values.iter().fold(0.0f32, |low, v| low.min(*v));
    let high = values.iter().fold(0.0f32, |high, v| high.max(*v));
    let scale = high / STEPS - low / STEPS;
    if scale > 0.0 {
        let zero = (-low / scale).round_ties_even();
        for value in values {
            *value = (((*value / scale).round_ties_even() + zero).clamp(0.0, STEPS) - zero) * scale;
        }
    }
}

fn snap(value: f32, scale: f32) -> f32 {
    (value / scale).round_ties_even().clamp(-TOP, TOP) * scale
}

#[cfg(test)]
mod tests;
