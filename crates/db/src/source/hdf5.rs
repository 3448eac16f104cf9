//! `.hdf5`: one dataset of vectors, as ann-benchmarks stores its `train`.

use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions, SliceInfo, SliceInfoElem};
use kvant_storage::Bytes;

use super::{Fields, HeaderProblem, RecordProblem, limits};

/// Where ann-benchmarks keeps its vectors.
const USUAL: &str = "train";
/// Bytes of vectors read together.
const BLOCK_BYTES: usize = 1 << 20;

/// Walks the rows, reading them in blocks.
#[derive(Debug)]
pub(super) struct Reader {
    dataset: Rows,
    dim: usize,
    rows: usize,
    row: usize,
    /// Rows from `begins` on, read but not given yet.
    block: Vec<f32>,
    begins: usize,
}

/// The dataset and how its numbers are stored.
struct Rows {
    dataset: Dataset,
    double: bool,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("double", &self.double).finish_non_exhaustive()
    }
}

fn unreadable(said: &dyn std::fmt::Display) -> HeaderProblem {
    HeaderProblem::unreadable("HDF5", said)
}

impl Reader {
    /// Opens the dataset named as the vector field, else `train`.
    pub(super) fn new(bytes: Bytes, fields: &Fields) -> Result<Self, HeaderProblem> {
        let size = bytes.len() as u64;
        let options = OpenOptions::default()
            .with_max_chunk_bytes(limits::HDF5_READ_BYTES_MAX)
            .with_max_read_bytes(limits::HDF5_READ_BYTES_MAX);
        let file = Hdf5File::from_owner(bytes, options).map_err(|error| unreadable(&error))?;
        let dataset = file.dataset(&fields.vector).or_else(|_| file.dataset(USUAL));
        let dataset = dataset.map_err(|error| unreadable(&error))?;
        let double = if let Datatype::FloatingPoint { size: size @ (4 | 8), .. } = dataset.dtype() {
            *size == 8
        } else {
            let got = super::error::quote(&format!("{:?}", dataset.dtype()));
            return Err(HeaderProblem::Dtype { got });
        };
        let shape = || HeaderProblem::Shape { got: format!("{:?}", dataset.shape()) };
        let &[rows, dim] = dataset.shape() else { return Err(shape()) };
        let dim = usize::try_from(dim).ok().filter(|dim| (1..=limits::DIM_MAX).contains(dim));
        let (dim, count) = (dim.ok_or_else(shape)?, usize::try_from(rows).map_err(|_| shape())?);
        // Rows never written cost the file nothing and would stream as zeros without end.
        let row_bytes = dim as u64 * if double { 8 } else { 4 };
        let whole = rows.saturating_mul(row_bytes);
        if whole / limits::RATIO_MAX > size {
            return Err(HeaderProblem::Truncated {
                expected: whole / limits::RATIO_MAX,
                got: size,
            });
        }
        let dataset = Rows { dataset, double };
        Ok(Self { dataset, dim, rows: count, row: 0, block: Vec::new(), begins: 0 })
    }

    /// The row that [`Self::read`] gives next, from 0.
    pub(super) fn row(&self) -> u64 {
        self.row as u64
    }

    pub(super) fn rows_left(&self) -> usize {
        self.rows - self.row
    }

    pub(super) fn skip(&mut self, count: usize) -> usize {
        let passed = count.min(self.rows_left());
        self.row += passed;
        passed
    }

    pub(super) fn read(&mut self) -> Option<Result<Vec<f32>, RecordProblem>> {
        if self.row == self.rows {
            return None;
        }
        if self.row * self.dim >= self.begins * self.dim + self.block.len() {
            let count = (BLOCK_BYTES / 4 / self.dim).clamp(1, self.rows_left());
            match self.dataset.read(self.row..self.row + count, self.dim) {
                Ok(block) => self.block = block,
                Err(problem) => return Some(Err(problem)),
            }
            self.begins = self.row;
        }
        let start = (self.row - self.begins) * self.dim;
        self.row += 1;
        Some(Ok(self.block.get(start..start + self.dim)?.to_vec()))
    }
}

fn broken(said: &dyn std::fmt::Display) -> RecordProblem {
    RecordProblem::unreadable("broken data", said)
}

impl Rows {
    fn read(&self, rows: std::ops::Range<usize>, dim: usize) -> Result<Vec<f32>, RecordProblem> {
        let slice = |start: usize, end: usize| SliceInfoElem::Slice {
            start: start as u64,
            end: end as u64,
            step: 1,
        };
        let expected = rows.len() * dim;
        let selection = SliceInfo { selections: vec![slice(rows.start, rows.end), slice(0, dim)] };
        let block: Vec<f32> = if self.double {
            let array =
                self.dataset.read_slice::<f64>(&selection).map_err(|error| broken(&error))?;
            array.iter().map(|value| *value as f32).collect()
        } else {
            let array = self.dataset.read_slice::<f32>(&selection);
            array.map_err(|error| broken(&error))?.iter().copied().collect()
        };
        if block.len() != expected {
            let said = format!("expected {expected} numbers, got {}", block.len());
            return Err(broken(&said));
        }
        Ok(block)
    }
}
