//! Coordinate descent on codes: what GPTQ decided early is decided again, knowing the rest.

use std::ops::Range;

use kvant_kernels::{Matrix, MatrixMut, PackedF32, kernels};
use kvant_quant::Grid;

use super::factor::mean;
use super::stripe::{RowLevels, each, errors};

/// Columns whose gradient is computed together.
pub(super) const BLOCK: usize = 32;
/// Part of the mean of the diagonal added to it: keeps the codes from fitting the noise of a
/// short calibration.
const DAMPING: f32 = 0.01;
/// Rounds over the columns of a block before the next block's turn.
const ROUNDS: usize = 4;

/// A damped second moment, packed by blocks of columns.
#[derive(Debug)]
pub(crate) struct Descent {
    pub(super) dim: usize,
    damping: f32,
    pub(super) hessian: Vec<f32>,
    pub(super) blocks: Vec<PackedF32>,
}

impl Descent {
    /// Prepares `hessian` (`dim × dim`).
    pub(crate) fn new(hessian: Matrix<'_, f32>) -> Self {
        let dim = hessian.rows();
        let mut damped = Vec::with_capacity(dim * dim);
        (0..dim).for_each(|row| damped.extend_from_slice(hessian.row(row)));
        let diagonal: Vec<f32> = (0..dim).map(|i| damped[i * dim + i]).collect();
        let damping = DAMPING * mean(&diagonal);
        (0..dim).for_each(|i| damped[i * dim + i] += damping);
        let blocks = damped.chunks((BLOCK * dim).max(1));
        let blocks = blocks.map(|rows| PackedF32::new(Matrix::new(rows, rows.len() / dim, dim)));
        let blocks = blocks.collect();
        Self { dim, damping, hessian: damped, blocks }
    }

    /// Moves single codes as long as `tr(ΔW·H·ΔWᵀ)` falls, `sweeps` times over all columns.
    /// `O(sweeps · rows · dim²)` in products.
    pub(crate) fn improve(
        &self,
        w: Matrix<'_, f32>,
        grid: &Grid,
        codes: &mut [u8],
        (sweeps, threads): (usize, usize),
    ) {
        each(codes, self.dim, threads, |first, codes| {
            let mut errors = errors(w, grid, first, codes);
            let rows = codes.len() / self.dim;
            let levels: Vec<_> =
                (first..first + rows).map(|row| RowLevels::new(grid, row)).collect();
            for _ in 0..sweeps {
                if self.sweep(&levels, codes, &mut errors) == 0 {
                    break;
                }
            }
        });
    }

    /// One pass over all columns; the number of codes that moved.
    fn sweep(&self, levels: &[RowLevels<'_>], codes: &mut [u8], errors: &mut [f32]) -> usize {
        let (dim, rows) = (self.dim, levels.len());
        let (mut gradient, mut moved) = (Vec::new(), 0);
        for (index, block) in self.blocks.iter().enumerate() {
            let cols = index * BLOCK..index * BLOCK + block.n();
            gradient.resize(rows * cols.len(), 0.0);
            let out = MatrixMut::new(&mut gradient, rows, cols.len());
            kernels().gemm_f32(Matrix::new(errors, rows, dim), block, None, out);
            for (row, gradient) in gradient.chunks_exact_mut(cols.len()).enumerate() {
                let codes = &mut codes[row * dim..][cols.clone()];
                let errors = &mut errors[row * dim..][cols.clone()];
                for _ in 0..ROUNDS {
                    let now = self.round(&levels[row], &cols, gradient, (codes, errors));
                    moved += now;
                    if now == 0 {
                        break;
                    }
                }
            }
        }
        moved
    }

    /// Offers every weight of a block the level nearest to its best value while all else stays.
    fn round(
        &self,
        levels: &RowLevels<'_>,
        cols: &Range<usize>,
        gradient: &mut [f32],
        (codes, errors): (&mut [u8], &mut [f32]),
    ) -> usize {
        let mut moved = 0;
        for (at, col) in cols.clone().enumerate() {
            let group = levels.at(col);
            let row = &self.hessian[col * self.dim..][cols.clone()];
            let now = group.restore(codes[at]);
            let code = group.nearest(now + gradient[at] / row[at]);
            let step = group.restore(code) - now;
            // Down by more than rounding can feign.
            let gain = step * (2.0 * gradient[at] - step * row[at]);
            if code == codes[at] || gain <= 1e-6 * step * step * row[at] {
                continue;
            }
            codes[at] = code;
            errors[at] -= step;
            gradient.iter_mut().zip(row).for_each(|(value, part)| *value -= step * part);
            moved += 1;
        }
        moved
    }

    /// `tr(ΔW·H·ΔWᵀ)` without the damping, for `ΔW` of `rows × dim`.
    pub(crate) fn loss(&self, delta: Matrix<'_, f32>) -> f64 {
        let (dim, mut total) = (self.dim, 0.0);
        let mut product = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            product.resize(delta.rows() * block.n(), 0.0);
            let out = MatrixMut::new(&mut product, delta.rows(), block.n());
            kernels().gemm_f32(delta, block, None, out);
            for (row, product) in product.chunks_exact(block.n()).enumerate() {
                let values = &delta.row(row)[index * BLOCK..][..block.n()];
                let pairs = values.iter().zip(product);
                total += pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
                let squares = values.iter().map(|&a| f64::from(a) * f64::from(a)).sum::<f64>();
                total -= f64::from(self.damping) * squares;
            }
        }
        debug_assert!(dim == delta.cols(), "as many columns as the moment");
        total.max(0.0)
    }
}
