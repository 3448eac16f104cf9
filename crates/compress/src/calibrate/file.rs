//! The file of a calibration: a safetensors file whose metadata says what it is.
//!
//! Per input `i` the tensors `i.mean_square`, and where known `i.hessian`, `i.mean`, `i.mean_abs`
//! and `i.max_abs`, all F32; the metadata hold `kvant.calibration`, the version, and
//! `kvant.inputs`, a JSON list of what each input is.

use std::collections::BTreeMap;
use std::path::Path;

use kvant_model::{Checkpoint, LoadError};
use kvant_storage::{bytes_of_f32, read_file, write_file_atomic};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{CalibrateError, Calibration, Moment};

/// Version of the layout.
const VERSION: &str = "1";

/// What the metadata say of an input.
#[derive(Deserialize, Serialize)]
struct Entry {
    weights: Vec<String>,
    dim: usize,
    count: u64,
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: BTreeMap<String, String>,
}

impl Calibration {
    /// Writes the file at `path`, replacing what was there.
    ///
    /// # Errors
    /// [`CalibrateError::Write`].
    pub fn save(&self, path: &Path) -> Result<(), CalibrateError> {
        Ok(write_file_atomic(path, &self.encode())?)
    }

    /// Whether the file at `path` looks like a safetensors file: a length, then a brace.
    pub fn is_one(path: &Path) -> bool {
        read_file(path).is_ok_and(|bytes| bytes.get(7..9) == Some(b"\0{".as_slice()))
    }

    /// Reads the file that [`Calibration::save`] wrote.
    ///
    /// # Errors
    /// [`CalibrateError`] when it is missing, something else, or damaged.
    pub fn load(path: &Path) -> Result<Self, CalibrateError> {
        let fail = |why: String| CalibrateError::File { path: path.to_owned(), why };
        let entries = entries(path)?;
        // The header has been checked against the file by the time tensors are asked for.
        let file = Checkpoint::open(path)?;
        let mut inputs = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let part =
                |name: &str, rows: usize| part(&file, &format!("{index}.{name}"), rows, entry.dim);
            let moment = Moment {
                hessian: part("hessian", entry.dim)?,
                mean_square: part("mean_square", 1)?,
                mean: part("mean", 1)?,
                mean_abs: part("mean_abs", 1)?,
                max_abs: part("max_abs", 1)?,
                weights: entry.weights,
                dim: entry.dim,
                count: entry.count,
            };
            moment.check().map_err(|why| fail(format!("input {index}: {why}")))?;
            inputs.push(moment);
        }
        Ok(Self { inputs })
    }

    fn encode(&self) -> Vec<u8> {
        let entry = |input: &Moment| Entry {
            weights: input.weights.clone(),
            dim: input.dim,
            count: input.count,
        };
        let entries: Vec<_> = self.inputs.iter().map(entry).collect();
        let metadata = json!({
            "kvant.calibration": VERSION, "kvant.inputs": json!(entries).to_string(),
        });
        let mut header = Map::new();
        header.insert("__metadata__".into(), metadata);
        let mut data: Vec<&[u8]> = Vec::new();
        let mut at = 0;
        for (index, input) in self.inputs.iter().enumerate() {
            for (name, shape, values) in input.parts() {
                let bytes = bytes_of_f32(values);
                let place = [at, at + bytes.len()];
                let tensor = json!({ "dtype": "F32", "shape": shape, "data_offsets": place });
                header.insert(format!("{index}.{name}"), tensor);
                data.push(bytes);
                at += bytes.len();
            }
        }
        let mut header = Value::Object(header).to_string();
        let padded = (8 + header.len()).next_multiple_of(64) - 8;
        header.extend(std::iter::repeat_n(' ', padded - header.len()));
        let mut file = Vec::with_capacity(8 + header.len() + at);
        file.extend_from_slice(&(header.len() as u64).to_le_bytes());
        file.extend_from_slice(header.as_bytes());
        for bytes in data {
            file.extend_from_slice(bytes);
        }
        file
    }
}

impl Moment {
    /// What is known, under its name in the file.
    fn parts(&self) -> impl Iterator<Item = (&'static str, Vec<usize>, &[f32])> {
        let parts = [
            ("hessian", vec![self.dim, self.dim], &self.hessian[..]),
            ("mean_square", vec![self.dim], &self.mean_square[..]),
            ("mean", vec![self.dim], &self.mean[..]),
            ("mean_abs", vec![self.dim], &self.mean_abs[..]),
            ("max_abs", vec![self.dim], &self.max_abs[..]),
        ];
        parts.into_iter().filter(|(_, _, values)| !values.is_empty())
    }

    /// What is wrong with it, if something is.
    fn check(&self) -> Result<(), String> {
        if self.mean_square.len() != self.dim {
            return Err("no mean squares".into());
        }
        for (name, _, values) in self.parts() {
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(format!("{name} holds {value}"));
            }
        }
        match self.mean_square.iter().find(|&&value| value < 0.0) {
            Some(value) => Err(format!("a mean square is {value}")),
            None => Ok(()),
        }
    }
}

/// What the header says the inputs are.
fn entries(path: &Path) -> Result<Vec<Entry>, CalibrateError> {
    let fail = |why: String| CalibrateError::File { path: path.to_owned(), why };
    let bytes = read_file(path)?;
    let header = bytes
        .split_first_chunk::<8>()
        .and_then(|(length, rest)| rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?));
    let header = header.ok_or_else(|| fail("it ends inside its header".into()))?;
    let header: Header =
        serde_json::from_slice(header).map_err(|_| fail("it is no safetensors file".into()))?;
    match header.metadata.get("kvant.calibration").map(String::as_str) {
        Some(VERSION) => {}
        Some(version) => return Err(fail(format!("its version is {version:?}, not {VERSION}"))),
        None => return Err(fail("it holds something else".into())),
    }
    let inputs = header.metadata.get("kvant.inputs").map_or("", String::as_str);
    serde_json::from_str(inputs).map_err(|error| fail(format!("its list of inputs: {error}")))
}

/// The values of a tensor of `rows × dim`; none if it is not there.
fn part(
    file: &Checkpoint,
    name: &str,
    rows: usize,
    dim: usize,
) -> Result<Vec<f32>, CalibrateError> {
    if file.tensor(name).is_none() {
        return Ok(Vec::new());
    }
    let dense = file.dense(name)?;
    if (dense.rows(), dense.cols()) == (rows, dim) {
        return Ok(dense.values().to_vec());
    }
    let why = format!("is {} x {}, expected {rows} x {dim}", dense.rows(), dense.cols());
    let path = file.path().to_owned();
    Err(LoadError::Tensor { path, name: name.to_owned(), why }.into())
}
