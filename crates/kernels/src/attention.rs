//! One attention head over strided projections, built from the kernels of a table.

use crate::{Kernels, Matrix, MatrixMut, PackedBF16, PackedF32, RowsBF16};

/// Rows of scores made at a time: they stay in L1 or L2 until they are used.
const ROWS: usize = 48;

/// As [`ROWS`], in bf16: two tiles of the product.
const ROWS_BF16: usize = 24;

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

impl Head<'_> {
    fn check(&self, out: &MatrixMut<'_, f32>) {
        assert_eq!(self.value.rows(), self.key.rows(), "a value for each key");
        assert_eq!(out.rows(), self.query.rows(), "a row for each query");
    }
}

/// Memory that [`Kernels::attention`] and [`Kernels::attention_bf16`] need; reusable between calls
/// of any size.
#[derive(Clone, Debug, Default)]
pub struct AttentionScratch {
    keys: PackedF32,
    values: PackedF32,
    brain: Brain,
    scores: Scores,
}

/// What is rounded to bf16.
#[derive(Clone, Debug, Default)]
struct Brain {
    keys: PackedBF16,
    values: PackedBF16,
    queries: RowsBF16,
    shares: RowsBF16,
}

/// Scores of some queries, and what they add up to.
#[derive(Clone, Debug, Default)]
struct Scores {
    values: Vec<f32>,
    sums: Vec<f32>,
}

impl Scores {
    /// Room for the scores of `rows` queries. Rows begin on cache lines, `stride` floats apart: a
    /// store at the end of one never holds up a load of the next.
    fn room(&mut self, rows: usize, stride: usize) -> (&mut [f32], &mut Vec<f32>) {
        let size = rows * stride;
        if self.values.len() < size + LINE {
            self.values.resize(size + LINE, 0.0);
        }
        let aligned = self.values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        self.sums.clear();
        (&mut self.values[aligned..aligned + size], &mut self.sums)
    }
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
        head.check(&out);
        let (rows, keys) = (head.query.rows(), head.key.rows());
        let AttentionScratch { keys: packed_keys, values: packed_values, scores, .. } = scratch;
        self.pack_f32(head.key, packed_keys);
        packed_values.pack_transposed(head.value);
        let stride = keys.next_multiple_of(LINE);
        for from in (0..rows).step_by(ROWS) {
            let range = from..rows.min(from + ROWS);
            let (scores, sums) = scores.room(range.len(), stride);
            let block = MatrixMut::strided(scores, range.len(), keys, stride);
            self.gemm_f32(head.query.slice(range.clone()), &*packed_keys, None, block);
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

    /// As [`Kernels::attention`] with queries, keys, values and their shares rounded to bf16 before
    /// they are multiplied, about twice as fast where the CPU multiplies such.
    ///
    /// With `δ = scale·((d + 2)·u + 0.004)·max Σ|q·k|` `out` is off by at most
    /// `(e^(2·δ) − 1 + 0.0045 + 2·(t + 2)·u)·max|value|`.
    pub fn attention_bf16(
        &self,
        head: &Head<'_>,
        scratch: &mut AttentionScratch,
        mut out: MatrixMut<'_, f32>,
    ) {
        head.check(&out);
        let (rows, keys) = (head.query.rows(), head.key.rows());
        let AttentionScratch { brain, scores, .. } = scratch;
        let Brain { keys: packed_keys, values: packed_values, queries, shares } = brain;
        self.pack_bf16(head.key, packed_keys);
        self.pack_bf16_transposed(head.value, packed_values);
        let stride = keys.next_multiple_of(LINE);
        for from in (0..rows).step_by(ROWS_BF16) {
            let range = from..rows.min(from + ROWS_BF16);
            queries.reset(range.len(), head.query.cols());
            for (m, row) in range.clone().enumerate() {
                self.round_row(head.query.row(row), m, queries);
            }
            let (scores, sums) = scores.room(range.len(), stride);
            let block = MatrixMut::strided(scores, range.len(), keys, stride);
            self.gemm_bf16(queries, &*packed_keys, None, block);
            shares.reset(range.len(), keys);
            for (m, shares) in shares.rows_mut().enumerate() {
                let scores = &mut scores[m * stride..][..keys];
                sums.push((self.shares_bf16)(scores, head.scale, shares));
            }
            self.gemm_bf16(shares, &*packed_values, None, out.slice_mut(range.clone()));
            for (row, sum) in range.zip(&*sums) {
                (self.scale)(out.row_mut(row), 1.0 / sum);
            }
        }
    }
}
