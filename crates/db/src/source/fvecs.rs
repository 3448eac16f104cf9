//! `.fvecs` (TEXMEX): every row is a little-endian `i32` dimension and that many `f32`.

use kvant_storage::Bytes;

use super::{HeaderProblem, RecordProblem, limits};

/// Walks the rows.
#[derive(Debug)]
pub(super) struct Reader {
    bytes: Bytes,
    dim: usize,
    rows: usize,
    row: usize,
}

impl Reader {
    /// Reads the first row's dimension; every row must have the same.
    pub(super) fn new(bytes: Bytes) -> Result<Self, HeaderProblem> {
        if bytes.is_empty() {
            return Ok(Self { bytes, dim: 1, rows: 0, row: 0 });
        }
        let claim = bytes.first_chunk().map_or(0, |four| i32::from_le_bytes(*four));
        let dim = usize::try_from(claim).unwrap_or(0);
        if dim == 0 || dim > limits::DIM_MAX {
            return Err(HeaderProblem::Shape { got: format!("dim {claim}") });
        }
        let stride = 4 + 4 * dim;
        let rows = bytes.len() / stride;
        if !bytes.len().is_multiple_of(stride) {
            let expected = (rows as u64 + 1) * stride as u64;
            return Err(HeaderProblem::Truncated { expected, got: bytes.len() as u64 });
        }
        Ok(Self { bytes, dim, rows, row: 0 })
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
        let stride = 4 + 4 * self.dim;
        let start = self.row * stride;
        self.row += 1;
        let (head, body) = self.bytes.get(start..start + stride)?.split_first_chunk()?;
        let claim = i32::from_le_bytes(*head);
        if usize::try_from(claim) != Ok(self.dim) {
            return Some(Err(RecordProblem::RowDim { expected: self.dim, got: claim.into() }));
        }
        let (numbers, _) = body.as_chunks::<4>();
        Some(Ok(numbers.iter().map(|four| f32::from_le_bytes(*four)).collect()))
    }
}
