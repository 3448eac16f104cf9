//! Axes to cut along (OPQ: Ge et al., "Optimized Product Quantization", 2013, §4.1, without
//! parameters).
//!
//! With `x` the rows and `y` what the codes of `R·x` stand for, `Σ ‖R·x − y‖²` is lowered in turns:
//! by the centroids, with `R` as it is, then by `R`, with `y` as it is. The orthogonal `R` that
//! lowers it most is the orthogonal factor of `G = Σ y·xᵀ` (Procrustes), which the iteration of
//! Newton and Schulz finds by products alone (Higham, Functions of Matrices, §8.3): `X ← X·(3 −
//! XᵀX)/2`. `R` begins as a permutation. Where rows do not vary `G` says nothing: a little of the
//! `R` before is added to it.

use kvant_kernels::{Kernels, Matrix, MatrixMut, PackedF32, kernels};

use super::train::{Column, learn, settle, values};
use super::{PqOptions, range};
use crate::seed::{Draw, mix};
use crate::spread::spread;
use crate::{FloatRows, Row, Rows};

/// Rows that axes are learnt from, at most.
const SAMPLE: usize = 1 << 14;
/// More turns change little.
const TURNS: usize = 12;
/// Times that rows move between centroids for each turn of the axes.
const MOVES: usize = 2;
/// What is added of the axes before, as a share of the mean singular value.
const KEPT: f64 = 0.01;
/// Steps towards the orthogonal factor: each multiplies what is small by 1.5.
const STEPS: usize = 80;
/// How far from orthogonal the columns may be in the mean.
const NEAR: f64 = 1e-6;
/// Rows of a product: the same on any number of threads.
const BLOCK: usize = 64;

/// The axes for `rows` in `parts` parts, row by row.
pub(super) fn axes(rows: &FloatRows<'_>, parts: usize, options: &PqOptions) -> Vec<f32> {
    let dim = rows.dim();
    let most = options.training.clamp(1, SAMPLE);
    let sample = Draw::new(options.seed).some(most, rows.len());
    let data: Vec<f32> = sample.iter().flat_map(|&row| rows.vector(Row(row))).copied().collect();
    let learning = Learning::new(&data, dim, (parts, options));
    let orders: [Vec<usize>; 2] = [(0..dim).collect(), learning.balanced()];
    let [own, spread] = orders.map(|order| learning.order(&order));
    if data.is_empty() {
        return own;
    }
    let [own, spread] = [own, spread].map(|axes| State::new(&learning, axes));
    learning.turn(if own.loss <= spread.loss { own } else { spread })
}

/// Axes, the sample along them by dimensions, centroids, and what those lose.
struct State {
    axes: Vec<f32>,
    turned: Vec<f32>,
    books: Vec<Vec<Column>>,
    loss: f64,
}

impl State {
    fn new(learning: &Learning<'_>, axes: Vec<f32>) -> Self {
        let turned = learning.product(&axes, &learning.rows);
        let books = learning.books(&turned);
        let meant = learning.meant(&turned, &books);
        let loss = turned.iter().zip(&meant).map(|(&x, y)| f64::from(x - y).powi(2)).sum();
        Self { axes, turned, books, loss }
    }
}

/// The sample, packed for products from either side.
struct Learning<'a> {
    data: &'a [f32],
    dim: usize,
    count: usize,
    parts: usize,
    options: &'a PqOptions,
    /// For `R·Xᵀ`.
    rows: PackedF32,
    /// For `Yᵀ·X`.
    columns: PackedF32,
}

impl<'a> Learning<'a> {
    fn new(data: &'a [f32], dim: usize, (parts, options): (usize, &'a PqOptions)) -> Self {
        let count = data.len() / dim;
        let all = Matrix::new(data, count, dim);
        let rows = PackedF32::new(all);
        let mut columns = PackedF32::default();
        columns.pack_transposed(all);
        Self { data, dim, count, parts, options, rows, columns }
    }

    /// `left · weightᵀ` by blocks of rows.
    fn product(&self, left: &[f32], weight: &PackedF32) -> Vec<f32> {
        product(left, weight, self.options.threads)
    }

    /// The axes as they are, in another order.
    fn order(&self, order: &[usize]) -> Vec<f32> {
        let mut axes = vec![0.0; self.dim * self.dim];
        for (to, &from) in order.iter().enumerate() {
            axes[to * self.dim + from] = 1.0;
        }
        axes
    }

    /// The dimensions, those of the largest variance spread over parts, so that the product of
    /// variances is about the same in each.
    fn balanced(&self) -> Vec<usize> {
        let mut means = vec![[0.0f64; 2]; self.dim];
        for row in self.data.chunks_exact(self.dim) {
            for ([sum, square], &x) in means.iter_mut().zip(row) {
                *sum += f64::from(x);
                *square += f64::from(x) * f64::from(x);
            }
        }
        let count = self.count.max(1) as f64;
        let variance: Vec<f64> =
            means.into_iter().map(|[sum, square]| square / count - (sum / count).powi(2)).collect();
        let mut order: Vec<usize> = (0..self.dim).collect();
        order.sort_by(|&a, &b| variance[b].total_cmp(&variance[a]).then(a.cmp(&b)));
        let mut parts = vec![(0.0f64, Vec::new()); self.parts];
        let least = variance.iter().fold(0.0f64, |most, v| most.max(*v)) * 1e-9;
        for at in order {
            let room =
                |part: &usize| parts[*part].1.len() < range(*part, self.parts, self.dim).len();
            let next = (0..self.parts)
                .filter(room)
                .min_by(|&a, &b| parts[a].0.total_cmp(&parts[b].0).then(a.cmp(&b)));
            if let Some(part) = next {
                // The larger come first: what was given is less than what there is to give.
                parts[part].0 += (variance[at] / least.max(f64::MIN_POSITIVE)).max(1.0).ln();
                parts[part].1.push(at);
            }
        }
        parts.into_iter().flat_map(|(_, members)| members).collect()
    }

    /// Centroids from nothing.
    fn books(&self, turned: &[f32]) -> Vec<Vec<Column>> {
        self.each_part(
            |part, columns, dim| {
                learn(columns, dim, &mut Draw::new(self.options.seed ^ mix(part as u64 + 1)))
            },
            turned,
        )
    }

    fn each_part<T: Send>(
        &self,
        work: impl Fn(usize, &[f32], usize) -> T + Sync,
        turned: &[f32],
    ) -> Vec<T> {
        let threads = &mut vec![(); self.options.threads.max(1)];
        spread(threads, self.parts, |(), part| {
            let range = range(part, self.parts, self.dim);
            work(part, &turned[range.start * self.count..range.end * self.count], range.len())
        })
    }

    /// What the codes of the sample stand for, by dimensions.
    fn meant(&self, turned: &[f32], books: &[Vec<Column>]) -> Vec<f32> {
        self.each_part(|part, columns, _| values(columns, &books[part]), turned).concat()
    }

    /// Axes and centroids in turns.
    fn turn(&self, start: State) -> Vec<f32> {
        let State { mut axes, mut turned, mut books, .. } = start;
        for _ in 0..TURNS {
            let meant = self.meant(&turned, &books);
            let mut both = self.product(&meant, &self.columns);
            let pairs = || both.iter().zip(&axes).map(|(&g, &r)| f64::from(g) * f64::from(r));
            let mean = pairs().sum::<f64>() / self.dim as f64;
            let kept = (KEPT * mean.abs()).max(f64::MIN_POSITIVE) as f32;
            both.iter_mut().zip(&axes).for_each(|(g, &r)| *g += kept * r);
            let Some(next) = orthogonal(both, self.dim, self.options.threads) else { break };
            axes = next;
            turned = self.product(&axes, &self.rows);
            books = self.each_part(
                |part, columns, _| {
                    let mut book = books[part].clone();
                    settle(columns, &mut book, MOVES);
                    book
                },
                &turned,
            );
        }
        axes
    }
}

/// `left · weightᵀ`, by blocks of rows.
pub(super) fn product(left: &[f32], weight: &PackedF32, threads: usize) -> Vec<f32> {
    let (k, n) = (weight.k(), weight.n());
    let blocks: Vec<&[f32]> = left.chunks(BLOCK * k.max(1)).collect();
    let kernels: &Kernels = kernels();
    let found = spread(&mut vec![(); threads.max(1)], blocks.len(), |(), at| {
        let rows = blocks[at].len() / k;
        let mut out = vec![0.0; rows * n];
        let left = Matrix::new(blocks[at], rows, k);
        kernels.gemm_f32(left, weight, None, MatrixMut::new(&mut out, rows, n));
        out
    });
    found.concat()
}

/// The orthogonal factor of a square matrix; `None` if it has none that is near.
fn orthogonal(mut matrix: Vec<f32>, dim: usize, threads: usize) -> Option<Vec<f32>> {
    // A bound of the largest singular value: that of rows and columns by magnitude.
    let (mut rows, mut columns) = (vec![0.0f64; dim], vec![0.0f64; dim]);
    for (at, &x) in matrix.iter().enumerate() {
        rows[at / dim] += f64::from(x.abs());
        columns[at % dim] += f64::from(x.abs());
    }
    let largest = |sums: &[f64]| sums.iter().fold(0.0f64, |most, sum| most.max(*sum));
    let size = (largest(&rows) * largest(&columns)).sqrt();
    if !(size > 0.0 && size.is_finite()) {
        return None;
    }
    for x in &mut matrix {
        *x = (f64::from(*x) / size) as f32;
    }
    let mut packed = PackedF32::default();
    for _ in 0..STEPS {
        let all = Matrix::new(&matrix, dim, dim);
        // XᵀX, whose rows are those of its transpose.
        let mut transposed = vec![0.0; dim * dim];
        for (at, &x) in matrix.iter().enumerate() {
            transposed[at % dim * dim + at / dim] = x;
        }
        packed.pack_transposed(all);
        let mut square = product(&transposed, &packed, threads);
        let mut apart = 0.0;
        for (at, x) in square.iter_mut().enumerate() {
            let one = if at / dim == at % dim { 1.0 } else { 0.0 };
            apart += f64::from(*x - one).powi(2);
            *x = 1.5 * one - 0.5 * *x;
        }
        // Symmetric: as it is and as it is stored by columns.
        packed.pack(Matrix::new(&square, dim, dim));
        matrix = product(&matrix, &packed, threads);
        if (apart / dim as f64).sqrt() < NEAR {
            return Some(matrix);
        }
    }
    // It is as near as sums in f32 come, or far.
    let lengths = matrix.chunks_exact(dim).map(|row| row.iter().map(|x| x * x).sum::<f32>());
    let whole = lengths.fold(0.0f32, |most, length| most.max((length - 1.0).abs())) < 1e-3;
    whole.then_some(matrix)
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;

    use super::*;

    /// `|RᵀR − 1|` at most.
    fn apart(matrix: &[f32], dim: usize) -> f64 {
        let mut most = 0.0f64;
        for i in 0..dim {
            for j in 0..dim {
                let pairs = (0..dim).map(|k| (matrix[k * dim + i], matrix[k * dim + j]));
                let sum: f64 = pairs.map(|(a, b)| f64::from(a) * f64::from(b)).sum();
                most = most.max((sum - if i == j { 1.0 } else { 0.0 }).abs());
            }
        }
        most
    }

    #[test]
    fn factors_are_orthogonal_and_near() {
        let mut random = Random::new(41);
        for dim in [1, 2, 3, 17, 64, 130] {
            // Singular values over four orders of magnitude.
            let scale = |at: usize| 10.0f32.powf(-4.0 * (at % dim) as f32 / dim as f32);
            let matrix: Vec<f32> =
                random.normals(dim * dim).iter().enumerate().map(|(at, x)| x * scale(at)).collect();
            let found = orthogonal(matrix.clone(), dim, 2).unwrap();
            assert!(apart(&found, dim) < 1e-5, "{dim}: {}", apart(&found, dim));
            assert_eq!(orthogonal(matrix.clone(), dim, 1).unwrap(), found);
            // With H = RᵀG symmetric and positive it is the nearest.
            let h = |i: usize, j: usize| -> f64 {
                (0..dim)
                    .map(|k| f64::from(found[k * dim + i]) * f64::from(matrix[k * dim + j]))
                    .sum()
            };
            let size = (0..dim).map(|i| h(i, i).abs()).fold(0.0, f64::max);
            for i in 0..dim {
                assert!(h(i, i) > 0.0, "{dim}");
                for j in 0..i {
                    assert!((h(i, j) - h(j, i)).abs() < 1e-4 * size, "{dim} {i} {j}");
                }
            }
        }
        assert_eq!(orthogonal(vec![0.0; 9], 3, 1), None);
    }
}
