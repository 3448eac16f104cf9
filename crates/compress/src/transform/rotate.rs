//! Rotation of the residual stream and of the values of each head, folded into the weights.

use std::path::Path;

use kvant_model::{
    Checkpoint, Dense, Family, FloatFormat, SaveOptions, SavedTensor, save, save_gguf,
};

use super::orthogonal::Orthogonal;
use super::random::Random;
use super::unfit;
use crate::site::{Layer, Parts, bias};
use crate::{CompressError, Draft, Pass, PassError, Run};

/// Rotates a Llama-like network so that no channel stands out, and leaves what it computes
/// unchanged up to rounding (`QuaRot`, Ashkboos et al., 2024, rotations R1 and R2).
///
/// The gains of the norms go into the weights that read them (gains become 1), the head gets a
/// weight of its own if it was the word table, the states between layers are multiplied by a
/// random orthogonal matrix and the values of every layer's heads by another. Everything is
/// folded: the result is an ordinary model with other weights, in f32. It costs one pass over
/// the weights and `O(log size)` operations each, in f64.
///
/// What a calibration saw of the model before does not hold for the model after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotate {
    /// What the matrices are drawn from: the same seed gives the same weights.
    pub seed: u64,
}

impl Pass for Rotate {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn apply(&self, draft: &mut Draft, _run: &Run<'_>) -> Result<(), PassError> {
        let parts = Parts::of(draft.source())?;
        if parts.outline.family != Family::Llama {
            return Err(unfit(draft, "only networks with RMS norms before their layers rotate"));
        }
        let mut random = Random::new(self.seed);
        let states = Orthogonal::new(parts.outline.hidden, random.bits());
        let mut work = Work { draft, states };
        for layer in &parts.layers {
            work.layer(layer, &Orthogonal::new(parts.outline.width, random.bits()))?;
        }
        work.ends(&parts)
    }
}

/// Writes the model at `source`, rotated by [`Rotate`] and everything in f32, to `out`: a GGUF
/// file if the name ends in `.gguf`, else a directory. Its head is a tensor of its own.
///
/// # Errors
/// [`CompressError`] when `source` is not Llama-like or does not load, or `out` exists or cannot
/// be written; `out` does not exist then, unless it did before.
pub fn rotate(source: &Path, out: &Path, seed: u64) -> Result<(), CompressError> {
    let mut draft = Draft::new(Checkpoint::open(source)?);
    Rotate { seed }.apply(&mut draft, &Run { threads: 1, progress: &|_| {} })?;
    let indices: Vec<bool> =
        draft.tensors().iter().map(|tensor| !crate::select::holds_weights(tensor)).collect();
    let (checkpoint, mut tensors) = draft.into_saved();
    for ((_, tensor), indices) in tensors.iter_mut().zip(indices) {
        if matches!(tensor, SavedTensor::Kept) && !indices {
            *tensor = SavedTensor::Float(FloatFormat::F32);
        }
    }
    let gguf = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    if gguf {
        save_gguf(out, &checkpoint, &tensors)?;
    } else {
        save(out, source, &tensors, &SaveOptions::default())?;
    }
    Ok(())
}

struct Work<'a> {
    draft: &'a mut Draft,
    /// The rotation of the states between layers.
    states: Orthogonal,
}

/// What happens to a weight: columns times `gain`, then `input` on every row (in blocks of its
/// size), then `output` on every column.
#[derive(Clone, Copy, Default)]
struct Change<'a> {
    gain: Option<&'a [f32]>,
    input: Option<&'a Orthogonal>,
    output: Option<&'a Orthogonal>,
}

impl Work<'_> {
    fn layer(&mut self, layer: &Layer, values: &Orthogonal) -> Result<(), PassError> {
        let states = self.states.clone();
        let [q, k, v] = &layer.qkv;
        let gain = self.take_gain(&layer.attention_norm)?;
        let reader = Change { gain: Some(&gain), input: Some(&states), output: None };
        self.change(q, q, reader)?;
        self.change(k, k, reader)?;
        self.change(v, v, Change { output: Some(values), ..reader })?;
        let output = Some(&states);
        self.change(&layer.o, &layer.o, Change { gain: None, input: Some(values), output })?;
        let gain = self.take_gain(&layer.inner_norm)?;
        for name in &layer.inner {
            self.change(name, name, Change { gain: Some(&gain), ..reader })?;
        }
        self.change(&layer.down, &layer.down, Change { gain: None, input: None, output })
    }

    /// The word table and the head.
    fn ends(&mut self, parts: &Parts) -> Result<(), PassError> {
        let states = self.states.clone();
        let gain = self.take_gain(&parts.norm)?;
        let head = if parts.untied(self.draft) { &parts.head } else { &parts.words };
        let input = Some(&states);
        self.change(head, &parts.head, Change { gain: Some(&gain), input, output: None })?;
        self.change(&parts.words, &parts.words, Change { input, ..Change::default() })
    }

    /// Replaces a gain by ones.
    fn take_gain(&mut self, name: &str) -> Result<Vec<f32>, PassError> {
        let gain = self.draft.dense(name)?;
        let ones = Dense::owned(gain.shape().to_vec(), vec![1.0; gain.values().len()]);
        self.draft.rewrite(name.to_owned(), ones);
        Ok(gain.values().to_vec())
    }

    /// Writes the changed weight `from` as `to`, and its bias with it.
    fn change(&mut self, from: &str, to: &str, change: Change<'_>) -> Result<(), PassError> {
        let dense = self.draft.dense(from)?;
        let changed = match change.output {
            Some(output) => turned(&dense, change, output),
            None => read(&dense, change),
        };
        self.draft.rewrite(to.to_owned(), Dense::owned(dense.shape().to_vec(), changed));
        let name = bias(from).filter(|name| self.draft.tensor(name).is_some());
        if let (Some(output), Some(name)) = (change.output, name) {
            let bias = self.draft.dense(&name)?;
            let turned = turn_blocks(output, bias.values(), None, &mut Vec::new());
            let values = turned.into_iter().map(|value| value as f32).collect();
            self.draft.rewrite(name, Dense::owned(bias.shape().to_vec(), values));
        }
        Ok(())
    }
}

/// The rows of a weight after the change of its inputs.
fn read(dense: &Dense, change: Change<'_>) -> Vec<f32> {
    let mut work = Vec::new();
    let mut values = Vec::with_capacity(dense.values().len());
    for row in 0..dense.rows() {
        let row = changed_row(dense.row(row), change, &mut work);
        values.extend(row.into_iter().map(|value| value as f32));
    }
    values
}

/// The weight after the change of its inputs and its outputs, rounded to f32 once.
fn turned(dense: &Dense, change: Change<'_>, output: &Orthogonal) -> Vec<f32> {
    let (rows, cols) = (dense.rows(), dense.cols());
    let mut work = Vec::new();
    // Column-major: a column is what an output rotation works on.
    let mut columns = vec![0.0f64; rows * cols];
    for row in 0..rows {
        for (col, value) in changed_row(dense.row(row), change, &mut work).into_iter().enumerate() {
            columns[col * rows + row] = value;
        }
    }
    let mut values = vec![0.0f32; rows * cols];
    for (col, column) in columns.chunks_exact_mut(rows).enumerate() {
        for block in column.chunks_exact_mut(output.size()) {
            output.turn(block, &mut work);
        }
        for (row, value) in column.iter().enumerate() {
            values[row * cols + col] = *value as f32;
        }
    }
    values
}

fn changed_row(row: &[f32], change: Change<'_>, work: &mut Vec<f64>) -> Vec<f64> {
    match change.input {
        Some(input) => turn_blocks(input, row, change.gain, work),
        None => row.iter().map(|&value| f64::from(value)).collect(),
    }
}

/// `values` times `gain`, rotated block by block.
fn turn_blocks(
    rotation: &Orthogonal,
    values: &[f32],
    gain: Option<&[f32]>,
    work: &mut Vec<f64>,
) -> Vec<f64> {
    let mut out: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    for (value, gain) in out.iter_mut().zip(gain.unwrap_or_default()) {
        *value *= f64::from(*gain);
    }
    for block in out.chunks_exact_mut(rotation.size()) {
        rotation.turn(block, work);
    }
    out
}
