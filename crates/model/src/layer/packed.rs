//! Weights in the forms that products read.

use std::mem::discriminant;
use std::sync::Mutex;

use kvant_kernels::{
    Kernels, Matrix, MatrixMut, Outputs, PackedBF16, PackedBlocks, PackedF32, PackedI8, Pool,
};
use kvant_quant::Coded;

use crate::Weight;
use crate::activation::{Input, Rounding};
use crate::layer::blocks::{self, Source};
use crate::layer::codes::{CodeForm, Codes};
use crate::layer::linear::Part;
use crate::layer::rounded::Rounded;
use crate::worker::lock;

/// Rounds in which threads share the outputs of a weight.
const ROUNDS: usize = 4;
/// Outputs that are shared are multiples of this.
const SHARE: usize = 2 * Outputs::<PackedF32>::STEP;

/// A weight in the form the products read.
#[derive(Debug)]
pub(crate) enum Packed {
    /// Full precision, and the formats that are decoded at load.
    Float(PackedF32),
    /// bf16, for inputs in bf16.
    Brain(PackedBF16),
    /// int8 codes, for inputs in int8 with a scale per row.
    Int8(PackedI8),
    /// Codes of 4 or 8 bits with a scale for every 16 or 32 columns.
    Blocks(PackedBlocks),
}

/// Which of them a weight takes.
#[derive(Debug)]
enum Form<'a> {
    Float,
    Brain,
    Int8,
    Blocks(Box<Source<'a>>),
}

impl<'a> Form<'a> {
    fn of(part: &'a Part) -> Self {
        if let Weight::Coded(Coded::Int8(_)) = &part.weight
            && part.input.rounding == Rounding::Token
        {
            return Self::Int8;
        }
        let brain = part.input.rounding == Rounding::Brain;
        // A number of 16 bits for a code of 8 costs little room and is multiplied twice as fast.
        let source = match &part.weight {
            Weight::Coded(Coded::Int8(_)) if brain => None,
            Weight::Dense(_) | Weight::Coded(_) => Source::of(part),
        };
        match source {
            Some(source) => Self::Blocks(Box::new(source)),
            None if brain => Self::Brain,
            None => Self::Float,
        }
    }

    fn source(&self) -> Option<&Source<'a>> {
        match self {
            Self::Float | Self::Brain | Self::Int8 => None,
            Self::Blocks(source) => Some(source.as_ref()),
        }
    }

    /// Whether the two can lie side by side in one weight.
    fn joins(&self, other: &Self) -> bool {
        let kind = |form: &Self| form.source().map(|source| source.kind);
        discriminant(self) == discriminant(other) && kind(self) == kind(other)
    }
}

impl Packed {
    /// Packs `parts`, outputs one behind the other; neighbours of one form become one weight.
    pub(crate) fn pack(parts: &[Part]) -> Vec<Self> {
        let forms: Vec<Form<'_>> = parts.iter().map(Form::of).collect();
        let mut packed = Vec::new();
        let mut from = 0;
        for run in forms.chunk_by(Form::joins) {
            let parts = &parts[from..from + run.len()];
            from += run.len();
            packed.push(match run[0] {
                Form::Float => Self::Float(float(parts, PackedF32::new)),
                Form::Brain => Self::Brain(float(parts, PackedBF16::new)),
                Form::Int8 => Self::Int8(int8(parts)),
                Form::Blocks(_) => {
                    let sources: Vec<_> = run.iter().filter_map(Form::source).collect();
                    Self::Blocks(blocks::pack(&sources))
                }
            });
        }
        packed
    }

    /// Outputs of a token.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Float(weight) => weight.n(),
            Self::Brain(weight) => weight.n(),
            Self::Int8(weight) => weight.n(),
            Self::Blocks(weight) => weight.n(),
        }
    }

    /// Inputs of a token.
    pub(crate) fn cols(&self) -> usize {
        match self {
            Self::Float(weight) => weight.k(),
            Self::Brain(weight) => weight.k(),
            Self::Int8(weight) => weight.k(),
            Self::Blocks(weight) => weight.k(),
        }
    }

    /// Bytes held.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::Float(weight) => weight.size_bytes(),
            Self::Brain(weight) => weight.size_bytes(),
            Self::Int8(weight) => weight.size_bytes(),
            Self::Blocks(weight) => weight.size_bytes(),
        }
    }

    /// The form of the inputs that are coded token by token, if it reads such.
    pub(crate) fn codes(&self) -> Option<CodeForm> {
        match self {
            Self::Brain(_) => Some(CodeForm::Brain),
            Self::Int8(_) => Some(CodeForm::Int8),
            Self::Float(_) | Self::Blocks(_) => None,
        }
    }

    /// Writes `out = x · Wᵀ + bias` from the codes of `x`.
    ///
    /// # Panics
    /// If it does not read such.
    pub(crate) fn forward_codes(
        &self,
        kernels: &Kernels,
        x: &Codes,
        bias: &[f32],
        out: MatrixMut<'_, f32>,
    ) {
        assert!(self.codes().is_some(), "a weight that reads codes");
        match self {
            Self::Int8(weight) => kernels.gemm_i8(x.int8(), weight, Some(bias), out),
            Self::Brain(weight) => kernels.gemm_bf16(x.brain(), weight, Some(bias), out),
            Self::Float(_) | Self::Blocks(_) => {}
        }
    }

    /// Writes `out = x · Wᵀ + bias`, `x` read as `input` says; the threads of `pool` share the
    /// outputs.
    pub(crate) fn forward(
        &self,
        (kernels, pool): (&Kernels, &Pool),
        (x, input): (Matrix<'_, f32>, &Input),
        bias: &[f32],
        memory: &mut Rounded,
        mut out: MatrixMut<'_, f32>,
    ) {
        let (bias, step) = (Some(bias), step(pool, self.rows()));
        match self {
            Self::Float(weight) => {
                let x = memory.values(x, input);
                out.share_columns(pool, step, &|_, of, out| {
                    kernels.gemm_f32(x, Outputs::new(weight, of), bias, out);
                });
            }
            Self::Brain(weight) => {
                let x = memory.brain(kernels, x, input);
                out.share_columns(pool, step, &|_, of, out| {
                    kernels.gemm_bf16(x, Outputs::new(weight, of), bias, out);
                });
            }
            Self::Int8(weight) => {
                let codes = memory.codes(kernels, x, input);
                out.share_columns(pool, step, &|_, of, out| {
                    kernels.gemm_i8(codes, Outputs::new(weight, of), bias, out);
                });
            }
            Self::Blocks(weight) => {
                if let Some(scaling) = input.rounding.scaling() {
                    let codes = memory.blocks(kernels, x, input, (scaling, weight.shape().block));
                    out.share_columns(pool, step, &|_, of, out| {
                        kernels.gemm_blocks(codes, Outputs::new(weight, of), bias, out);
                    });
                    return;
                }
                let mut expanded = std::mem::take(&mut memory.expanded);
                expanded.resize_with(pool.threads().max(expanded.len()), Mutex::default);
                let x = memory.values(x, input);
                out.share_columns(pool, step, &|thread, of, out| {
                    let memory = &mut *lock(&expanded[thread]);
                    kernels.gemm_blocks_f32(x, Outputs::new(weight, of), bias, memory, out);
                });
                memory.expanded = expanded;
            }
        }
    }
}

/// Outputs that a thread takes at a time: a few rounds for each, so that none waits for long.
fn step(pool: &Pool, outputs: usize) -> usize {
    match pool.threads() {
        1 => outputs,
        threads => (outputs / (threads * ROUNDS)).next_multiple_of(SHARE),
    }
}

fn int8(parts: &[Part]) -> PackedI8 {
    let (mut codes, mut scales, mut cols) = (Vec::new(), Vec::new(), 0);
    for part in parts {
        let Weight::Coded(Coded::Int8(matrix)) = &part.weight else { continue };
        cols = matrix.cols();
        codes.extend_from_slice(matrix.codes());
        scales.extend(matrix.scales().iter().map(|scale| scale * part.scale));
    }
    PackedI8::new(Matrix::new(&codes, scales.len(), cols), &scales)
}

/// The decoded weights, packed by `pack`.
fn float<T>(parts: &[Part], pack: impl Fn(Matrix<'_, f32>) -> T) -> T {
    if let [Part { weight: Weight::Dense(dense), scale: 1.0, .. }] = parts {
        return pack(dense.matrix());
    }
    let rows = parts.iter().map(|part| part.weight.rows()).sum();
    let cols = parts.first().map_or(0, |part| part.weight.cols());
    let mut values = vec![0.0; rows * cols];
    let mut rest = values.as_mut_slice();
    for part in parts {
        for row in 0..part.weight.rows() {
            let (out, tail) = rest.split_at_mut(cols);
            part.weight.decode_row(row, out);
            for value in out.iter_mut() {
                *value *= part.scale;
            }
            rest = tail;
        }
    }
    pack(Matrix::new(&values, rows, cols))
}
