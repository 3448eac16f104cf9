//! Which centroid is nearest to each row: one product of matrices.

use kvant_kernels::{Matrix, MatrixMut, Outputs, PackedF32, PackedI8, RowsI8, kernels};

use super::{KmeansOptions, Precision, Start};
use crate::spread::spread;
use crate::{FloatRows, Metric};

/// Rows of a product: with [`COLUMNS`] of its results, 256 kB of L2.
const BLOCK: usize = 128;
/// Centroids of a product.
const COLUMNS: usize = 512;

/// The nearest centroid of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nearest {
    pub(super) cluster: u32,
    /// `‖c‖²/2 − ⟨x, c⟩`, or `−⟨x, c⟩` for cosine, with half the penalty of the cluster.
    pub(super) score: f32,
}

/// Rows in the form products take.
pub(super) struct Points<'a> {
    pub(super) data: &'a [f32],
    pub(super) dim: usize,
    pub(super) metric: Metric,
    pub(super) threads: usize,
    pub(super) start: Start,
    /// By blocks, where products are of bytes.
    codes: Vec<RowsI8>,
    /// `‖x‖²`.
    pub(super) squares: Vec<f32>,
}

/// Centroids in the form products take, negated.
enum Packed {
    Bytes(PackedI8),
    Floats(PackedF32),
}

impl<'a> Points<'a> {
    pub(super) fn new(rows: &'a FloatRows<'_>, options: &KmeansOptions<'_>) -> Self {
        let (data, dim, threads) = (rows.data(), rows.dim(), options.threads.max(1));
        let states = &mut vec![(); threads];
        let blocks: Vec<&[f32]> = data.chunks(BLOCK * dim).collect();
        let codes = match options.precision {
            Precision::Floats => Vec::new(),
            Precision::Bytes => spread(states, blocks.len(), |(), at| {
                let mut codes = RowsI8::default();
                let rows = blocks[at].len() / dim;
                kernels().quantize_rows(Matrix::new(blocks[at], rows, dim), &mut codes);
                codes
            }),
        };
        let square = |row: &[f32]| kernels().dot_f32(row, row);
        let squares = spread(states, blocks.len(), |(), at| {
            blocks[at].chunks_exact(dim).map(square).collect::<Vec<f32>>()
        });
        let squares = squares.concat();
        Self { data, dim, metric: rows.metric(), threads, start: options.start, codes, squares }
    }

    pub(super) fn len(&self) -> usize {
        self.squares.len()
    }

    /// Whether products are of bytes.
    pub(super) fn is_bytes(&self) -> bool {
        !self.codes.is_empty()
    }

    pub(super) fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.dim..][..self.dim]
    }

    /// The centroid with the least score for each row, of equal ones the first.
    pub(super) fn nearest(&self, centroids: &[f32], penalties: &[f32]) -> Vec<Nearest> {
        let product = self.product(centroids, penalties);
        let blocks = self.len().div_ceil(BLOCK);
        let found = spread(&mut vec![Vec::new(); self.threads], blocks, |out, at| {
            let rows = BLOCK.min(self.len() - at * BLOCK);
            let mut best = vec![Nearest { cluster: 0, score: f32::INFINITY }; rows];
            for from in (0..product.bias.len()).step_by(COLUMNS) {
                let columns = from..product.bias.len().min(from + COLUMNS);
                let width = columns.len();
                out.resize(rows * width, 0.0);
                product.scores(self, at, (columns, out));
                for (best, scores) in best.iter_mut().zip(out.chunks_exact(width)) {
                    if let Some((place, score)) = kernels().least(scores)
                        && score < best.score
                    {
                        *best = Nearest { cluster: from as u32 + place, score };
                    }
                }
            }
            best
        });
        found.concat()
    }

    /// The scores of the rows `rows` with every centroid, row by row.
    pub(super) fn scores(&self, rows: &[u32], centroids: &[f32]) -> Vec<f32> {
        let zeros = vec![0.0; centroids.len() / self.dim];
        let product = self.product(centroids, &zeros);
        let data: Vec<f32> = rows.iter().flat_map(|&row| self.row(row as usize)).copied().collect();
        let mut out = vec![0.0; rows.len() * zeros.len()];
        let x = Matrix::new(&data, rows.len(), self.dim);
        let to = MatrixMut::new(&mut out, rows.len(), zeros.len());
        match &product.packed {
            Packed::Floats(packed) => kernels().gemm_f32(x, packed, Some(&product.bias), to),
            Packed::Bytes(packed) => {
                let mut codes = RowsI8::default();
                kernels().quantize_rows(x, &mut codes);
                kernels().gemm_i8(&codes, packed, Some(&product.bias), to);
            }
        }
        out
    }

    fn product(&self, centroids: &[f32], penalties: &[f32]) -> Product {
        let (dim, k) = (self.dim, centroids.len() / self.dim);
        let half = |square: f64| if self.metric == Metric::Cosine { 0.0 } else { square / 2.0 };
        let square = |row: &[f32]| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        let (packed, squares) = if self.is_bytes() {
            let (packed, squares) = packed(centroids, dim);
            (Packed::Bytes(packed), squares)
        } else {
            let negated: Vec<f32> = centroids.iter().map(|x| -x).collect();
            let squares = centroids.chunks_exact(dim).map(square).collect();
            (Packed::Floats(PackedF32::new(Matrix::new(&negated, k, dim))), squares)
        };
        let bias = |(square, penalty): (&f64, &f32)| (half(*square) as f32) + penalty / 2.0;
        Product { packed, bias: squares.iter().zip(penalties).map(bias).collect() }
    }

    /// The distance of a row to its nearest centroid, as far as the score tells it.
    pub(super) fn distance(&self, row: usize, nearest: Nearest) -> f64 {
        let distance = match self.metric {
            Metric::Cosine => 1.0 + f64::from(nearest.score),
            Metric::Euclid | Metric::Dot | Metric::Manhattan => {
                f64::from(self.squares[row]) + 2.0 * f64::from(nearest.score)
            }
        };
        distance.max(0.0)
    }

    /// The sum of distances, as far as scores tell it.
    pub(super) fn inertia(&self, nearest: &[Nearest]) -> f64 {
        nearest.iter().enumerate().map(|(row, &nearest)| self.distance(row, nearest)).sum()
    }
}

/// Rows in bytes, negated, as one side of a product; and `‖x‖²` of what the bytes stand for, so
/// that the nearest of those is found.
pub(crate) fn packed(rows: &[f32], dim: usize) -> (PackedI8, Vec<f64>) {
    let mut codes = Vec::with_capacity(rows.len());
    let (mut scales, mut squares) = (Vec::new(), Vec::new());
    for row in rows.chunks_exact(dim) {
        let largest = row.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let from = codes.len();
        codes.extend(row.iter().map(|x| (-x / scale).round().clamp(-127.0, 127.0) as i8));
        let whole: i64 = codes[from..].iter().map(|&c| i64::from(c) * i64::from(c)).sum();
        squares.push(f64::from(scale).powi(2) * whole as f64);
        scales.push(scale);
    }
    (PackedI8::new(Matrix::new(&codes, scales.len(), dim), &scales), squares)
}

/// One side of a product.
struct Product {
    packed: Packed,
    bias: Vec<f32>,
}

impl Product {
    /// Writes the scores of the rows of a block with some centroids.
    fn scores(
        &self,
        points: &Points<'_>,
        block: usize,
        (columns, out): (std::ops::Range<usize>, &mut [f32]),
    ) {
        let rows = BLOCK.min(points.len() - block * BLOCK);
        let to = MatrixMut::new(out, rows, columns.len());
        match &self.packed {
            Packed::Bytes(packed) => {
                let part = Outputs::new(packed, columns);
                kernels().gemm_i8(&points.codes[block], part, Some(&self.bias), to);
            }
            Packed::Floats(packed) => {
                let data = &points.data[block * BLOCK * points.dim..][..rows * points.dim];
                let part = Outputs::new(packed, columns);
                let x = Matrix::new(data, rows, points.dim);
                kernels().gemm_f32(x, part, Some(&self.bias), to);
            }
        }
    }
}
