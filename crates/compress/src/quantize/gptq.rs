//! GPTQ on any grid: columns are rounded one after the other, and the error of each is carried
//! to those that are still to come.

use kvant_kernels::{Matrix, MatrixMut, kernels};
use kvant_quant::Grid;

use super::factor::{BLOCK, Factor};
use super::stripe::{RowLevels, each};

/// Chooses a code for every weight of `w` (`rows × dim` of `factor`), row-major.
///
/// The scales of `grid` stay ("static groups"), so columns may be taken in any order: most
/// important first. `O(rows · dim²/2)`; the same codes for any number of threads.
pub(crate) fn choose(w: Matrix<'_, f32>, grid: &Grid, factor: &Factor, threads: usize) -> Vec<u8> {
    let mut codes = vec![0; w.rows() * w.cols()];
    each(&mut codes, w.cols(), threads, |first, codes| stripe(w, grid, factor, (first, codes)));
    codes
}

fn stripe(w: Matrix<'_, f32>, grid: &Grid, factor: &Factor, (first, codes): (usize, &mut [u8])) {
    let dim = w.cols();
    let rows = codes.len() / dim;
    let levels: Vec<_> = (first..first + rows).map(|row| RowLevels::new(grid, row)).collect();
    // In the order of positions, as `factor` has them.
    let mut errors = vec![0.0; rows * dim];
    let mut feedback = Vec::new();
    for (index, below) in factor.below.iter().enumerate().rev() {
        let start = index * BLOCK;
        let end = (start + BLOCK).min(dim);
        feedback.clear();
        feedback.resize(rows * (end - start), 0.0);
        if end < dim {
            let x = Matrix::strided(&errors[end..], rows, dim - end, dim);
            let out = MatrixMut::new(&mut feedback, rows, end - start);
            kernels().gemm_f32(x, below, None, out);
        }
        for (row, feedback) in feedback.chunks_exact_mut(end - start).enumerate() {
            let (values, levels) = (w.row(first + row), &levels[row]);
            let codes = &mut codes[row * dim..][..dim];
            let errors = &mut errors[row * dim..][..dim];
            for at in (start..end).rev() {
                let col = factor.order[at];
                let group = levels.at(col);
                let code = group.nearest(values[col] + feedback[at - start]);
                codes[col] = code;
                let error = values[col] - group.restore(code);
                errors[at] = error;
                let carried = &factor.lower[at * dim + start..at * dim + at];
                for (target, &part) in feedback.iter_mut().zip(carried) {
                    *target += error * part;
                }
            }
        }
    }
}
