//! `y = x · Wᵀ + b` with a weight in any format.

use kvant_kernels::{Kernels, Matrix, MatrixMut, Pool};

use crate::activation::{Input, Rounding};
use crate::layer::codes::{CodeForm, Codes};
use crate::layer::packed::Packed;
use crate::layer::resize;
use crate::layer::rounded::Rounded;
use crate::{Tap, Weight};

/// A linear layer, or several that share their input, side by side.
#[derive(Debug)]
pub(crate) struct Linear {
    /// Outputs one behind the other, not empty.
    weights: Vec<Packed>,
    bias: Vec<f32>,
    input: Input,
    /// One divided by each of `input.smooth`.
    factors: Vec<f32>,
    /// What the weights are called in the checkpoint.
    names: Vec<String>,
    key: String,
}

/// Inputs coded token by token, for layers that [read such](Linear::reads_codes).
#[derive(Debug, Default)]
pub(crate) struct Coded {
    /// Inputs of the layer at hand.
    pub(crate) rows: Codes,
    /// Inputs that wait for their layer, some tokens each.
    pub(crate) waiting: Vec<Codes>,
    /// One token, smoothed.
    pub(crate) token: Vec<f32>,
}

/// The size of a weight that is not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

/// One weight and bias of a [`Linear`], both to be multiplied by `scale`.
#[derive(Debug)]
pub(crate) struct Part<W = Weight> {
    /// What the weight is called in the checkpoint.
    pub(crate) name: String,
    pub(crate) weight: W,
    pub(crate) bias: Vec<f32>,
    pub(crate) scale: f32,
    /// How its input is read; parts that lie side by side read the same.
    pub(crate) input: Input,
}

impl<W> Part<W> {
    /// The same with its weight.
    pub(crate) fn with(self, weight: Weight) -> Part {
        let Self { name, bias, scale, input, .. } = self;
        Part { name, weight, bias, scale, input }
    }
}

impl Linear {
    /// Packs the parts, outputs one behind the other: formats of codes with a scale for 16 or more
    /// columns stay as they are, any other is decoded to f32.
    ///
    /// # Panics
    /// If there are no parts, they differ in columns or in how they read them, or a bias does not
    /// fit its weight.
    pub(crate) fn prepare(parts: &[Part]) -> Self {
        let cols = parts[0].weight.cols();
        assert!(parts.iter().all(|part| part.weight.cols() == cols), "parts share their input");
        let fits = |part: &Part| part.bias.len() == part.weight.rows();
        assert!(parts.iter().all(fits), "one bias per output");
        Self::of(Packed::pack(parts), parts)
    }

    /// The layer of `parts` whose weights are `weights`.
    ///
    /// # Panics
    /// If there are none, they differ in how they read their inputs, or there is not a bias for
    /// every output.
    pub(crate) fn of<W>(weights: Vec<Packed>, parts: &[Part<W>]) -> Self {
        let first = &parts[0].input;
        assert!(parts.iter().all(|part| part.input == *first), "parts read one input alike");
        let mut bias = Vec::new();
        for part in parts {
            bias.extend(part.bias.iter().map(|value| value * part.scale));
        }
        assert_eq!(weights.iter().map(Packed::rows).sum::<usize>(), bias.len(), "one bias each");
        let names = parts.iter().map(|part| part.name.clone()).collect();
        let factors = first.smooth.iter().map(|factor| 1.0 / factor).collect();
        Self { weights, bias, input: first.clone(), factors, names, key: Self::key_of(parts) }
    }

    /// What tells the packed weights of a layer of `parts` from those of others made from the same
    /// tensors: all that packing looks at besides these.
    pub(crate) fn key_of<W>(parts: &[Part<W>]) -> String {
        let part = |part: &Part<W>| {
            let Part { name, scale, input, .. } = part;
            format!("{name} {:08x} {:?}\n", scale.to_bits(), input.rounding)
        };
        parts.iter().map(part).collect()
    }

    /// The [key](Linear::key_of) of its parts.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Its packed weights.
    pub(crate) fn weights(&self) -> &[Packed] {
        &self.weights
    }

    /// The form of its inputs where it multiplies them coded token by token.
    pub(crate) fn reads_codes(&self) -> Option<CodeForm> {
        match &self.weights[..] {
            [weight] => weight.codes(),
            _ => None,
        }
    }

    /// Writes the codes of `x`, one token's inputs, to row `m` of `rows`; `token` is memory.
    pub(crate) fn code(
        &self,
        kernels: &Kernels,
        x: &[f32],
        (m, rows): (usize, &mut Codes),
        token: &mut Vec<f32>,
    ) {
        if self.factors.is_empty() {
            return rows.set(kernels, m, x);
        }
        let token = resize(token, x.len());
        kernels.multiply(x, &self.factors, token);
        rows.set(kernels, m, token);
    }

    /// Makes room for `tokens` of its inputs, which [`Linear::code`] writes.
    ///
    /// # Panics
    /// If it does not [read such](Linear::reads_codes).
    pub(crate) fn reset(&self, rows: &mut Codes, tokens: usize) {
        let form = self.reads_codes();
        assert!(form.is_some(), "a layer that reads codes");
        rows.reset(form.unwrap_or_default(), tokens, self.cols());
    }

    /// Writes the codes of `x` (`tokens × inputs`) to `coded.rows`.
    pub(crate) fn code_all(&self, kernels: &Kernels, x: &[f32], coded: &mut Coded) {
        let Coded { rows, token, .. } = coded;
        self.reset(rows, x.len() / self.cols());
        for (m, x) in x.chunks_exact(self.cols()).enumerate() {
            self.code(kernels, x, (m, rows), token);
        }
    }

    /// Writes `out = x · Wᵀ + b` from the codes of `x`.
    ///
    /// # Panics
    /// If it does not [read them](Linear::reads_codes).
    pub(crate) fn forward_codes(&self, kernels: &Kernels, x: &Codes, out: &mut [f32]) {
        assert!(self.weights.len() == 1, "one weight");
        let out = MatrixMut::new(out, x.rows(), self.rows());
        self.weights[0].forward_codes(kernels, x, &self.bias, out);
    }

    /// Hands `x` (`tokens × inputs`), which this layer reads, to `tap`.
    pub(crate) fn show(&self, tap: Option<&mut (dyn Tap + '_)>, x: &[f32]) {
        let Some(tap) = tap else { return };
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        tap.input(&names, Matrix::new(x, x.len() / self.cols(), self.cols()));
    }

    /// Whether its inputs lose precision before they are multiplied.
    pub(crate) fn rounds(&self) -> bool {
        match self.input.rounding {
            Rounding::None => false,
            Rounding::Format => self.weights.iter().any(|w| matches!(w, Packed::Blocks(_))),
            Rounding::Brain | Rounding::Token | Rounding::Block | Rounding::Static(_) => true,
        }
    }

    /// Outputs of a token.
    pub(crate) fn rows(&self) -> usize {
        self.bias.len()
    }

    /// Inputs of a token.
    pub(crate) fn cols(&self) -> usize {
        self.weights[0].cols()
    }

    /// Writes `out = x · Wᵀ + b`; `memory` is for inputs in fewer bits. The threads of `pool` share
    /// the outputs.
    pub(crate) fn forward(
        &self,
        (kernels, pool): (&Kernels, &Pool),
        x: Matrix<'_, f32>,
        memory: &mut Rounded,
        mut out: MatrixMut<'_, f32>,
    ) {
        let mut from = 0;
        for weight in &self.weights {
            let columns = from..from + weight.rows();
            from = columns.end;
            let part = out.columns_mut(columns.clone());
            let bias = &self.bias[columns];
            weight.forward((kernels, pool), (x, &self.input), bias, memory, part);
        }
    }

    /// Bytes held.
    pub(crate) fn size_bytes(&self) -> usize {
        self.weights.iter().map(Packed::size_bytes).sum::<usize>() + self.bias.len() * 4
    }
}
