//! Importance matrices of llama.cpp: the sums of squares that its quantizers weigh columns by.
//!
//! The file is a GGUF file with `NAME.in_sum2` (sums of `x²`, one per column) and `NAME.counts`
//! (vectors summed up) for every weight; the older one a plain list (`i32` entries; each a name,
//! calls, and sums divided by vectors and multiplied by calls). Names are those of GGUF models.

use std::collections::BTreeMap;
use std::path::Path;

use kvant_model::Checkpoint;
use kvant_storage::{bytes_of_f32, read_file, write_file_atomic};

use super::{CalibrateError, Calibration, Moment};

/// Largest entries of the older layout: names, columns.
const LIMITS: (usize, usize) = (1024, 1 << 20);
/// Alignment of the data of a GGUF file.
const ALIGNMENT: usize = 32;

/// A tensor of f32 on its way into a file.
struct Part {
    name: String,
    dims: [u64; 2],
    values: Vec<f32>,
}

impl Calibration {
    /// Writes what llama.cpp reads as `--imatrix`: every weight of `model` that was seen.
    ///
    /// # Errors
    /// [`CalibrateError::Write`], and [`CalibrateError::File`] if no weight has a name in GGUF
    /// files.
    pub fn write_imatrix(&self, path: &Path, model: &Checkpoint) -> Result<(), CalibrateError> {
        let mut parts = Vec::new();
        for input in &self.inputs {
            let names = input.weights.iter().filter_map(|name| model.gguf_name(name));
            for name in names {
                let count = input.count as f32;
                let sums = input.mean_square.iter().map(|square| square * count).collect();
                let dims = [input.dim as u64, 1];
                parts.push(Part { name: format!("{name}.in_sum2"), dims, values: sums });
                let (name, values) = (format!("{name}.counts"), vec![count]);
                parts.push(Part { name, dims: [1, 1], values });
            }
        }
        if parts.is_empty() {
            let why = "no weight of this model has a name in GGUF files".to_owned();
            return Err(CalibrateError::File { path: path.to_owned(), why });
        }
        Ok(write_file_atomic(path, &encode(&parts))?)
    }

    /// Reads either layout for the weights of `model`: moments of which only the diagonal is
    /// known.
    ///
    /// # Errors
    /// [`CalibrateError`] when the file is neither, damaged, or names no weight of `model`.
    pub fn read_imatrix(path: &Path, model: &Checkpoint) -> Result<Self, CalibrateError> {
        let bytes = read_file(path)?;
        let means = if bytes.starts_with(b"GGUF") { current(path)? } else { older(path, &bytes)? };
        let mut inputs = Vec::new();
        for tensor in model.tensors() {
            let Some(name) = model.gguf_name(&tensor.name) else { continue };
            let Some((count, mean_square)) = means.get(&name) else { continue };
            inputs.push(Moment {
                weights: vec![tensor.name.clone()],
                dim: mean_square.len(),
                count: *count,
                mean_square: mean_square.clone(),
                ..Moment::default()
            });
        }
        if inputs.is_empty() {
            return Err(fail(path, "it names no weight of the model"));
        }
        let calibration = Self { inputs };
        calibration.check(model)?;
        Ok(calibration)
    }
}

/// Vectors and mean squares by name.
type Means = BTreeMap<String, (u64, Vec<f32>)>;

fn fail(path: &Path, why: &str) -> CalibrateError {
    CalibrateError::File { path: path.to_owned(), why: why.to_owned() }
}

fn current(path: &Path) -> Result<Means, CalibrateError> {
    let file = Checkpoint::open(path)?;
    let mut means = Means::new();
    for tensor in file.tensors() {
        let Some(name) = tensor.name.strip_suffix(".in_sum2") else { continue };
        let counts = file.dense(&format!("{name}.counts"))?;
        let sums = file.dense(&tensor.name)?;
        // Several counts are those of experts, which no model here has.
        let &[count] = counts.values() else { continue };
        if !(count >= 1.0 && count.is_finite()) {
            continue;
        }
        let mean: Vec<f32> = sums.values().iter().map(|sum| sum / count).collect();
        means.insert(name.to_owned(), (count as u64, sound(path, mean)?));
    }
    Ok(means)
}

fn older(path: &Path, bytes: &[u8]) -> Result<Means, CalibrateError> {
    let mut rest = bytes;
    let mut take = |count: usize| -> Result<&[u8], CalibrateError> {
        let (head, tail) =
            rest.split_at_checked(count).ok_or_else(|| fail(path, "it ends too early"))?;
        rest = tail;
        Ok(head)
    };
    let number = |bytes: &[u8], limit: usize| -> Result<usize, CalibrateError> {
        let value = bytes.first_chunk().map_or(-1, |bytes| i32::from_le_bytes(*bytes));
        let value = usize::try_from(value).ok().filter(|&value| value <= limit);
        value.ok_or_else(|| fail(path, "a number in it is out of range"))
    };
    let entries = number(take(4)?, 1 << 16)?;
    let mut means = Means::new();
    for _ in 0..entries {
        let length = number(take(4)?, LIMITS.0)?;
        let name = String::from_utf8_lossy(take(length)?).into_owned();
        let calls = number(take(4)?, i32::MAX as usize)?;
        let columns = number(take(4)?, LIMITS.1)?;
        let values = take(columns * 4)?.chunks_exact(4);
        let share = 1.0 / calls.max(1) as f32;
        let mean = values.filter_map(|b| b.first_chunk()).map(|b| f32::from_le_bytes(*b) * share);
        means.insert(name, (calls as u64, sound(path, mean.collect())?));
    }
    Ok(means)
}

/// Mean squares as they must be.
fn sound(path: &Path, mean: Vec<f32>) -> Result<Vec<f32>, CalibrateError> {
    let sound = mean.iter().all(|&value| value.is_finite() && value >= 0.0);
    sound.then_some(mean).ok_or_else(|| fail(path, "a mean square in it is no number from 0"))
}

/// The GGUF file.
fn encode(parts: &[Part]) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    };
    out.extend(3u32.to_le_bytes());
    out.extend((parts.len() as u64).to_le_bytes());
    out.extend(4u64.to_le_bytes());
    // Types: 8 is a string, 9 an array, 4 a u32.
    text(&mut out, "general.type");
    out.extend(8u32.to_le_bytes());
    text(&mut out, "imatrix");
    text(&mut out, "imatrix.datasets");
    out.extend(9u32.to_le_bytes());
    out.extend(8u32.to_le_bytes());
    out.extend(1u64.to_le_bytes());
    text(&mut out, "calibration text");
    for (name, value) in [("imatrix.chunk_count", 1u32), ("imatrix.chunk_size", 512)] {
        text(&mut out, name);
        out.extend(4u32.to_le_bytes());
        out.extend(value.to_le_bytes());
    }
    let mut at = 0usize;
    for part in parts {
        text(&mut out, &part.name);
        out.extend(2u32.to_le_bytes());
        part.dims.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
        out.extend(0u32.to_le_bytes());
        out.extend((at as u64).to_le_bytes());
        at += (part.values.len() * 4).next_multiple_of(ALIGNMENT);
    }
    for part in parts {
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out.extend(bytes_of_f32(&part.values));
    }
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    out
}
