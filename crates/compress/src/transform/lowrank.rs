//! Low-rank correction of what encoding a weight lost.

use kvant_kernels::{Kernels, Matrix, MatrixMut, PackedF32, kernels};

use super::eigen::eigen;
use super::random::Random;

/// Directions followed beside those wanted, which they help to converge.
const SPARE: usize = 8;
/// Rounds of subspace iteration.
const ROUNDS: usize = 6;

/// The product `B·A` to add to an encoded weight, its factors rounded to f16.
#[derive(Clone, Debug, PartialEq)]
pub struct LowRank {
    /// The rank: rows of `a`, columns of `b`. At most what was asked for and both dimensions.
    pub rank: usize,
    /// `rank × cols`, row-major.
    pub a: Vec<f32>,
    /// `rows × rank`, row-major.
    pub b: Vec<f32>,
}

impl LowRank {
    /// The matrix of at most `rank` that leaves least of `error` (`W − Ŵ`) where it matters: it
    /// minimises `tr((E − BA)·H·(E − BA)ᵀ)` with `H = hessian` (`cols × cols`, symmetric, none
    /// of its eigenvalues below 0), or the plain squared error without one.
    ///
    /// That is the singular value decomposition of `E·H^½` of `LQER` (Zhang et al., 2024, §3.2)
    /// without the root and its inverse: the best `B` are the leading eigenvectors of `E·H·Eᵀ`,
    /// here by subspace iteration (Halko et al., 2011, alg. 4.4), and `A = Bᵀ·E`, so a singular
    /// `H` does no harm. Deterministic. Costs 6 products of `rank + 8` rows with `E` twice and
    /// with `H`.
    ///
    /// # Panics
    /// If `hessian` is not `cols × cols`.
    pub fn of(error: Matrix<'_, f32>, hessian: Option<Matrix<'_, f32>>, rank: usize) -> Self {
        let (rows, cols) = (error.rows(), error.cols());
        let rank = rank.min(rows).min(cols);
        let wide = (rank + SPARE).min(rows).min(cols);
        let products = Products::new(error, hessian);
        let mut random = Random::new(0);
        let mut basis: Vec<f32> = (0..wide * rows).map(|_| random.normal() as f32).collect();
        for _ in 0..ROUNDS {
            orthonormalize(&mut basis, rows);
            basis = products.rows(&products.weighted(&products.cols(&basis)));
        }
        orthonormalize(&mut basis, rows);
        // What the directions keep of the error, in the best coordinates among them.
        let seen = products.cols(&basis);
        let weighted = products.weighted(&seen);
        let mut gram = vec![0.0; wide * wide];
        for (at, gram) in gram.iter_mut().enumerate() {
            let row = |values: &[f32], row: usize| -> Vec<f64> {
                values[row * cols..][..cols].iter().map(|&value| f64::from(value)).collect()
            };
            let (a, b) = (row(&seen, at / wide), row(&weighted, at % wide));
            *gram = a.iter().zip(b).map(|(a, b)| a * b).sum();
        }
        let vectors = eigen(&mut gram, wide);
        let mix = |values: &[f32], width: usize| -> Vec<f32> {
            let mut out = Vec::with_capacity(rank * width);
            for vector in vectors.chunks_exact(wide.max(1)).take(rank) {
                out.extend((0..width).map(|col| {
                    let terms = vector.iter().enumerate();
                    let sum = terms.map(|(k, v)| v * f64::from(values[k * width + col]));
                    sum.sum::<f64>() as f32
                }));
            }
            out
        };
        Self::balanced(rank, mix(&seen, cols), &mix(&basis, rows))
    }

    /// Gives both factors the same range, so that neither leaves that of f16, and rounds them.
    fn balanced(rank: usize, mut a: Vec<f32>, transposed: &[f32]) -> Self {
        let (cols, rows) = match rank {
            0 => (0, 0),
            rank => (a.len() / rank, transposed.len() / rank),
        };
        let mut b = vec![0.0; rows * rank];
        for at in 0..rank {
            let (right, left) = (&mut a[at * cols..][..cols], &transposed[at * rows..][..rows]);
            let max =
                |values: &[f32]| values.iter().fold(0.0f32, |max, value| max.max(value.abs()));
            let (right_max, left_max) = (max(right), max(left));
            let by = (right_max / left_max).sqrt();
            let by = if by.is_finite() && by > 0.0 { by } else { 1.0 };
            for value in right {
                *value = half(*value / by);
            }
            for (row, value) in left.iter().enumerate() {
                b[row * rank + at] = half(value * by);
            }
        }
        Self { rank, a, b }
    }

    /// Adds `B·A` to `values`, `rows × cols`.
    pub fn add_to(&self, values: &mut [f32]) {
        if self.rank == 0 {
            return;
        }
        let cols = self.a.len() / self.rank;
        for (row, left) in values.chunks_exact_mut(cols).zip(self.b.chunks_exact(self.rank)) {
            for (factor, right) in left.iter().zip(self.a.chunks_exact(cols)) {
                for (value, right) in row.iter_mut().zip(right) {
                    *value += factor * right;
                }
            }
        }
    }
}

/// The nearest f16.
fn half(value: f32) -> f32 {
    half::f16::from_f32(value).to_f32()
}

/// Products with the error and with the matrix that says where it matters.
struct Products {
    kernels: &'static Kernels,
    error: PackedF32,
    transposed: PackedF32,
    hessian: Option<PackedF32>,
    shape: (usize, usize),
}

impl Products {
    fn new(error: Matrix<'_, f32>, hessian: Option<Matrix<'_, f32>>) -> Self {
        let (rows, cols) = (error.rows(), error.cols());
        if let Some(hessian) = hessian {
            assert_eq!((hessian.rows(), hessian.cols()), (cols, cols), "one row per column");
        }
        let mut transposed = vec![0.0; rows * cols];
        for row in 0..rows {
            for (col, value) in error.row(row).iter().enumerate() {
                transposed[col * rows + row] = *value;
            }
        }
        Self {
            kernels: kernels(),
            error: PackedF32::new(error),
            transposed: PackedF32::new(Matrix::new(&transposed, cols, rows)),
            hessian: hessian.map(PackedF32::new),
            shape: (rows, cols),
        }
    }

    /// `X·E` of directions `X` (`… × rows`).
    fn cols(&self, x: &[f32]) -> Vec<f32> {
        self.product(x, self.shape.0, &self.transposed, self.shape.1)
    }

    /// `Y·Eᵀ` of rows `Y` (`… × cols`).
    fn rows(&self, y: &[f32]) -> Vec<f32> {
        self.product(y, self.shape.1, &self.error, self.shape.0)
    }

    /// `Y·H`.
    fn weighted(&self, y: &[f32]) -> Vec<f32> {
        match &self.hessian {
            Some(hessian) => self.product(y, self.shape.1, hessian, self.shape.1),
            None => y.to_vec(),
        }
    }

    fn product(&self, x: &[f32], from: usize, w: &PackedF32, to: usize) -> Vec<f32> {
        let count = x.len().checked_div(from).unwrap_or(0);
        let mut out = vec![0.0; count * to];
        let x = Matrix::new(x, count, from);
        self.kernels.gemm_f32(x, w, None, MatrixMut::new(&mut out, count, to));
        out
    }
}

/// Makes the rows of `basis`, `len` values each, orthonormal; rows that depend on those before
/// become 0.
fn orthonormalize(basis: &mut [f32], len: usize) {
    if len == 0 {
        return;
    }
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(basis.len() / len);
    for row in basis.chunks_exact_mut(len) {
        let mut new: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
        let size = norm(&new);
        for _ in 0..2 {
            for other in &rows {
                let along: f64 = other.iter().zip(&new).map(|(a, b)| a * b).sum();
                new.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
            }
        }
        let left = norm(&new);
        // What f32 products leave of a dependent row is noise.
        let factor = if left > 1e-6 * size { 1.0 / left } else { 0.0 };
        for (value, new) in row.iter_mut().zip(&mut new) {
            *new *= factor;
            *value = *new as f32;
        }
        rows.push(new);
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normals(seed: u64, count: usize) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..count).map(|_| random.normal() as f32).collect()
    }

    /// `tr(E·H·Eᵀ)`.
    fn loss(error: &[f32], hessian: &[f64], cols: usize) -> f64 {
        let row = |row: &[f32]| {
            let pairs = (0..cols * cols)
                .map(|at| f64::from(row[at / cols]) * hessian[at] * f64::from(row[at % cols]));
            pairs.sum::<f64>()
        };
        error.chunks_exact(cols).map(row).sum()
    }

    /// A Gram matrix of `count` random vectors, some channels much larger than others.
    fn hessian(cols: usize, count: usize) -> Vec<f64> {
        let x = normals(3, count * cols);
        let size = |col: usize| if col.is_multiple_of(5) { 8.0 } else { 1.0 };
        let mut hessian = vec![0.0; cols * cols];
        for x in x.chunks_exact(cols) {
            for (at, h) in hessian.iter_mut().enumerate() {
                let (i, j) = (at / cols, at % cols);
                *h += f64::from(x[i]) * size(i) * f64::from(x[j]) * size(j) / count as f64;
            }
        }
        hessian
    }

    /// The best possible loss is the sum of the eigenvalues of `E·H·Eᵀ` that are left out.
    #[test]
    fn corrections_are_the_best_of_their_rank() {
        let (rows, cols) = (24, 20);
        let error = normals(1, rows * cols);
        // A singular H as well as a full one.
        for count in [7, 200] {
            let h = hessian(cols, count);
            let mut gram = vec![0.0; rows * rows];
            for (at, gram) in gram.iter_mut().enumerate() {
                let (a, b) =
                    (&error[at / rows * cols..][..cols], &error[at % rows * cols..][..cols]);
                let pair = |k: usize| f64::from(a[k / cols]) * h[k] * f64::from(b[k % cols]);
                *gram = (0..cols * cols).map(pair).sum();
            }
            eigen(&mut gram, rows);
            let values: Vec<f64> = (0..rows).map(|at| gram[at * rows + at]).collect();
            let narrow: Vec<f32> = h.iter().map(|&value| value as f32).collect();
            for rank in [1, 4, 20] {
                let matrix = Some(Matrix::new(&narrow, cols, cols));
                let found = LowRank::of(Matrix::new(&error, rows, cols), matrix, rank);
                let mut kept = vec![0.0; rows * cols];
                found.add_to(&mut kept);
                let rest: Vec<f32> = error.iter().zip(&kept).map(|(e, k)| e - k).collect();
                let best: f64 = values.iter().skip(rank).sum();
                let all: f64 = values.iter().sum();
                let got = loss(&rest, &h, cols);
                // Six rounds and factors in f16 cost a little.
                assert!(
                    got <= best * 1.01 + all * 1e-5,
                    "rank {rank}: {got}, best {best} of {all}"
                );
            }
        }
    }

    #[test]
    fn nothing_lost_needs_no_correction() {
        for (rows, cols, rank) in [(6, 5, 3), (1, 4, 2), (3, 1, 9), (2, 2, 0)] {
            let error = vec![0.0; rows * cols];
            let found = LowRank::of(Matrix::new(&error, rows, cols), None, rank);
            assert_eq!(found.rank, rank.min(rows).min(cols));
            assert!(found.a.iter().chain(&found.b).all(|value| value.is_finite()));
            let mut values = vec![1.5; rows * cols];
            found.add_to(&mut values);
            assert!(values.iter().all(|&value| value == 1.5));
        }
    }
}
