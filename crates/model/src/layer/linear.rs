//! `y = x · Wᵀ + b` with a weight in any format.

use kvant_kernels::{Kernels, Matrix, MatrixMut, PackedF32, PackedI8};
use kvant_quant::Coded;

use crate::activation::{Input, Rounding};
use crate::layer::rounded::Rounded;
use crate::{Tap, Weight};

/// A weight in the form the products read.
#[derive(Debug)]
enum Packed {
    /// Full precision, and the formats that are decoded at load.
    Float(PackedF32),
    /// int8 codes, for inputs in int8 with a scale per row.
    Int8(PackedI8),
}

/// A linear layer, or several that share their input, side by side.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Packed,
    bias: Vec<f32>,
    input: Input,
    /// What the weights are called in the checkpoint.
    names: Vec<String>,
}

/// One weight and bias of a [`Linear`], both to be multiplied by `scale`.
pub(crate) struct Part {
    /// What the weight is called in the checkpoint.
    pub(crate) name: String,
    pub(crate) weight: Weight,
    pub(crate) bias: Vec<f32>,
    pub(crate) scale: f32,
    /// How its input is read; parts that lie side by side read the same.
    pub(crate) input: Input,
}

impl Linear {
    /// Packs the parts, outputs one behind the other.
    ///
    /// int8 parts stay int8 if all are and the input is read in int8 per token; any other format
    /// is decoded to f32.
    ///
    /// # Panics
    /// If the parts differ in columns or in how they read them, or a bias does not fit its
    /// weight.
    pub(crate) fn prepare(parts: &[Part]) -> Self {
        let (rows, cols) = (outputs(parts), inputs(parts));
        let mut input = parts.first().map_or(Input::PLAIN, |part| part.input.clone());
        assert!(parts.iter().all(|part| part.input == input), "parts read one input alike");
        let packed = match int8(parts, rows, cols) {
            Some(packed) if input.rounding == Rounding::Token => Packed::Int8(packed),
            _ => Packed::Float(float(parts, rows, cols)),
        };
        if input.rounding == Rounding::None {
            // Undone in the weights.
            input.smooth = Vec::new();
        }
        let mut bias = Vec::with_capacity(outputs(parts));
        for part in parts {
            assert!(part.bias.len() == part.weight.rows(), "one bias per output");
            bias.extend(part.bias.iter().map(|value| value * part.scale));
        }
        let names = parts.iter().map(|part| part.name.clone()).collect();
        Self { weight: packed, bias, input, names }
    }

    /// Hands `x` (`tokens × inputs`), which this layer reads, to `tap`.
    pub(crate) fn show(&self, tap: Option<&mut (dyn Tap + '_)>, x: &[f32]) {
        let Some(tap) = tap else { return };
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        tap.input(&names, Matrix::new(x, x.len() / self.cols(), self.cols()));
    }

    /// Outputs of a token.
    pub(crate) fn rows(&self) -> usize {
        self.bias.len()
    }

    /// Inputs of a token.
    pub(crate) fn cols(&self) -> usize {
        match &self.weight {
            Packed::Float(weight) => weight.k(),
            Packed::Int8(weight) => weight.k(),
        }
    }

    /// Writes `out = x · Wᵀ + b`; `memory` is for inputs in fewer bits.
    pub(crate) fn forward(
        &self,
        kernels: &Kernels,
        x: Matrix<'_, f32>,
        memory: &mut Rounded,
        out: MatrixMut<'_, f32>,
    ) {
        match &self.weight {
            Packed::Float(weight) => {
                let x = memory.values(x, &self.input);
                kernels.gemm_f32(x, weight, Some(&self.bias), out);
            }
            Packed::Int8(weight) => {
                let codes = memory.codes(kernels, x, &self.input);
                kernels.gemm_i8(codes, weight, Some(&self.bias), out);
            }
        }
    }

    /// Bytes held.
    pub(crate) fn size_bytes(&self) -> usize {
        let weight = match &self.weight {
            Packed::Float(weight) => weight.size_bytes(),
            Packed::Int8(weight) => weight.size_bytes(),
        };
        weight + self.bias.len() * 4
    }
}

fn outputs(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.weight.rows()).sum()
}

fn inputs(parts: &[Part]) -> usize {
    let cols = parts.first().map_or(0, |part| part.weight.cols());
    assert!(parts.iter().all(|part| part.weight.cols() == cols), "parts share their input");
    cols
}

fn int8(parts: &[Part], rows: usize, cols: usize) -> Option<PackedI8> {
    let mut codes = Vec::with_capacity(rows * cols);
    let mut scales = Vec::with_capacity(rows);
    for part in parts {
        let Weight::Coded(Coded::Int8(matrix)) = &part.weight else { return None };
        codes.extend_from_slice(matrix.codes());
        scales.extend(matrix.scales().iter().map(|scale| scale * part.scale));
    }
    Some(PackedI8::new(Matrix::new(&codes, rows, cols), &scales))
}

fn float(parts: &[Part], rows: usize, cols: usize) -> PackedF32 {
    if let [Part { weight: Weight::Dense(dense), scale: 1.0, input, .. }] = parts
        && input.smooth.is_empty()
    {
        return PackedF32::new(dense.matrix());
    }
    let mut values = vec![0.0; rows * cols];
    let mut rest = values.as_mut_slice();
    for part in parts {
        for row in 0..part.weight.rows() {
            let (out, tail) = rest.split_at_mut(cols);
            part.weight.decode_row(row, out);
            for value in out.iter_mut() {
                *value *= part.scale;
            }
            if part.input.rounding == Rounding::None {
                out.iter_mut().zip(&part.input.smooth).for_each(|(value, by)| *value /= by);
            }
            rest = tail;
        }
    }
    PackedF32::new(Matrix::new(&values, rows, cols))
}
