//! One attention head over strided projections, built from the kernels of a table.

use crate::{Kernels, Matrix, MatrixMut, PackedF32};

/// Rows of scores made at a time: they stay in L1 or L2 until they are used.
const ROWS: usize = 48;

/// Floats of a cache line.
const LINE: usize = 16;

/// One head of scaled dot-product attention (Vaswani et al., 2017, §3.2.1).
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Queries, `s × d`.
    pub query: Matrix<'a, f32>,
    /// Keys, `t × d`.
    pub key: Matrix<'a, f32>,
    /// Values, `t × e`.
    pub value: Matrix<'a, f32>,
    /// What scores are multiplied by before the softmax, usually `1/√d`; positive.
    pub scale: f32,
}

/// Memory that [`Kernels::attention`] needs; reusable between calls of any size.
#[derive(Clone, Debug, Default)]
pub struct AttentionScratch {
    keys: PackedF32,
    values: PackedF32,
    scores: Vec<f32>,
    sums: Vec<f32>,
}

impl Kernels {
    /// `out = softmax(scale · query · keyᵀ) · value`, `s × e`.
    ///
    /// Every query sees every key. A row of `out` depends on its query and on all keys and values
    /// only, bit for bit. With `δ = scale·(d + 2)·u·max Σ|q·k|`, the error of a scaled score, `out`
    /// is off by at most `(2·δ + 1e-5 + 2·(t + 2)·u)·max|value|`. Costs `2·s·t·(d + e)` operations
    /// and `s·t` exponentials. Without keys `out` is NaN.
    pub fn attention(
        &self,
        head: &Head<'_>,
        scratch: &mut AttentionScratch,
        mut out: MatrixMut<'_, f32>,
    ) {
        let (rows, keys) = (head.query.rows(), head.key.rows());
        assert_eq!(head.value.rows(), keys, "a value for each key");
        assert_eq!(out.rows(), rows, "a row for each query");
        let AttentionScratch { keys: packed_keys, values: packed_values, scores, sums } = scratch;
        self.pack_f32(head.key, packed_keys);
        packed_values.pack_transposed(head.value);
        // Rows begin on cache lines: a store at the end of one never holds up a load of the next.
        let stride = keys.next_multiple_of(LINE);
        let size = ROWS.min(rows) * stride;
        scores.resize(size + LINE, 0.0);
        let aligned = scores.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        let scores = &mut scores[aligned..aligned + size];
        for from in (0..rows).step_by(ROWS) {
            let range = from..rows.min(from + ROWS);
            let block = MatrixMut::strided(scores, range.len(), keys, stride);
            self.gemm_f32(head.query.slice(range.clone()), &*packed_keys, None, block);
            sums.clear();
            sums.extend(
                (0..range.len())
                    .map(|i| (self.exponentials)(&mut scores[i * stride..][..keys], head.scale)),
            );
            let block = Matrix::strided(scores, range.len(), keys, stride);
            self.gemm_f32(block, &*packed_values, None, out.slice_mut(range.clone()));
            for (row, sum) in range.zip(&*sums) {
                (self.scale)(out.row_mut(row), 1.0 / sum);
            }
        }
    }
}
