//! Scales fitted once more, now to the codes that were chosen.

use kvant_kernels::{Matrix, MatrixMut, kernels};
use kvant_quant::{Coded, Cut, Grid};

use super::descent::{BLOCK, Descent};
use super::stripe::{ROWS, errors};

/// Longest group whose own part of the second moment is multiplied directly.
const GROUP_MAX: usize = 128;

impl Descent {
    /// Moves the scale (and offset) of every group to where `tr(ΔW·H·ΔWᵀ)` is least while the
    /// codes and all other groups stay: one linear equation, or two. `false` where the format
    /// has no scales of its own for groups of this size. `O(rows · dim²)`.
    pub(crate) fn refit(&self, w: Matrix<'_, f32>, coded: &mut Coded) -> bool {
        let mut grid = coded.grid();
        let Cut::Rows(len) = grid.cut else { return false };
        let dim = self.dim;
        let fits = len >= dim || len.is_multiple_of(BLOCK) && len <= GROUP_MAX;
        if !fits || dim == 0 {
            return false;
        }
        let (len, codes) = (len.min(dim), coded.codes());
        for first in (0..w.rows()).step_by(ROWS) {
            let rows = ROWS.min(w.rows() - first);
            let codes = &codes[first * dim..(first + rows) * dim];
            let mut errors = errors(w, &grid, first, codes);
            for start in (0..dim).step_by(len) {
                let cols = start..(start + len).min(dim);
                self.group(&mut grid, (first, cols), codes, &mut errors);
            }
        }
        coded.set_scales(&grid.scales, &grid.offsets)
    }

    /// One group of each row of a stripe.
    fn group(
        &self,
        grid: &mut Grid,
        (first, cols): (usize, std::ops::Range<usize>),
        codes: &[u8],
        errors: &mut [f32],
    ) {
        let (dim, width, rows) = (self.dim, cols.len(), codes.len() / self.dim);
        let Cut::Rows(len) = grid.cut else { return };
        let groups = dim.div_ceil(len);
        let index = |row: usize| (first + row) * groups + cols.start / len;
        let mut levels = vec![0.0f32; rows * width];
        for (row, levels) in levels.chunks_exact_mut(width).enumerate() {
            let (group, index) = (grid.at(first + row, cols.start), index(row));
            let offset = grid.offsets.get(index).copied().unwrap_or(0.0);
            let inverse = if grid.scales[index] == 0.0 { 0.0 } else { 1.0 / grid.scales[index] };
            let codes = &codes[row * dim..][cols.clone()];
            for (level, &code) in levels.iter_mut().zip(codes) {
                *level = (group.restore(code) - offset) * inverse;
            }
        }
        let gradient = self.times(Matrix::new(errors, rows, dim), &cols);
        let curved = self.own(&levels, &cols);
        let ones = self.own(&vec![1.0; width], &cols);
        for row in 0..rows {
            let part = |values: &[f32]| values[row * width..][..width].to_vec();
            let (levels, gradient, curved) = (part(&levels), part(&gradient), part(&curved));
            let index = index(row);
            let (scale, offset) = (grid.scales[index], grid.offsets.get(index).copied());
            let step = step(&levels, &gradient, &curved, offset.map(|_| &ones[..]));
            let Some((by, shift)) = step.filter(|_| scale != 0.0) else { continue };
            // A scale that turns round or doubles is no refinement.
            if !(-0.5..1.0).contains(&(by / scale)) || !shift.is_finite() {
                continue;
            }
            grid.scales[index] = scale + by;
            if let Some(offset) = offset {
                grid.offsets[index] = offset + shift;
            }
            let errors = &mut errors[row * dim..][cols.clone()];
            errors.iter_mut().zip(&levels).for_each(|(e, level)| *e -= by * level + shift);
        }
    }

    /// The columns `cols` of `x · H`.
    fn times(&self, x: Matrix<'_, f32>, cols: &std::ops::Range<usize>) -> Vec<f32> {
        let (rows, width) = (x.rows(), cols.len());
        let mut product = vec![0.0; rows * width];
        for (index, block) in self.blocks.iter().enumerate() {
            let start = index * BLOCK;
            if cols.contains(&start) {
                let from = &mut product[start - cols.start..];
                let out = MatrixMut::strided(from, rows, block.n(), width);
                kernels().gemm_f32(x, block, None, out);
            }
        }
        product
    }

    /// `levels · H` over the rows and columns `cols` of `H` alone.
    fn own(&self, levels: &[f32], cols: &std::ops::Range<usize>) -> Vec<f32> {
        let width = cols.len();
        if width == self.dim {
            return self.times(Matrix::new(levels, levels.len() / width, width), cols);
        }
        let mut product = vec![0.0f32; levels.len()];
        for (product, levels) in product.chunks_exact_mut(width).zip(levels.chunks_exact(width)) {
            for (&level, row) in levels.iter().zip(cols.clone()) {
                let hessian = &self.hessian[row * self.dim..][cols.clone()];
                product.iter_mut().zip(hessian).for_each(|(sum, part)| *sum += level * part);
            }
        }
        product
    }
}

/// By how much scale and offset are to move. `ones` is `1·H`, given if there is an offset.
fn step(
    levels: &[f32],
    gradient: &[f32],
    curved: &[f32],
    ones: Option<&[f32]>,
) -> Option<(f32, f32)> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    let (slope, bend) = (dot(levels, gradient), dot(levels, curved));
    let sum = |values: &[f32]| values.iter().map(|&value| f64::from(value)).sum::<f64>();
    let Some(ones) = ones else {
        return (bend > 0.0).then(|| ((slope / bend) as f32, 0.0));
    };
    let (tilt, flat, mixed) = (sum(gradient), sum(ones), sum(curved));
    let determinant = bend * flat - mixed * mixed;
    // Codes that are all alike say nothing of the scale.
    (determinant > 1e-6 * bend * flat).then(|| {
        let by = (slope * flat - tilt * mixed) / determinant;
        let shift = (bend * tilt - mixed * slope) / determinant;
        (by as f32, shift as f32)
    })
}
