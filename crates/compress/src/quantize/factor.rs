//! The triangular factor of a second moment, in the order in which columns are rounded.

use kvant_kernels::{Kernels, Matrix, MatrixMut, PackedF32, kernels};

/// Columns whose errors are fed back one by one; those before them come as one product.
pub(crate) const BLOCK: usize = 128;
/// Columns factored together.
const PANEL: usize = 32;
/// Part of the mean of the diagonal that is added to it, and what is tried when that fails.
const DAMPING: [f32; 3] = [0.01, 0.1, 1.0];

/// `H + damping = L·D·Lᵀ` with the columns of `H` in ascending order of their diagonal.
///
/// Rounding goes from the last position to the first: the error of position `j` moves the target
/// of every `k < j` by `L[j, k]` times itself. That is GPTQ with activation order (Frantar et
/// al., 2022, §3.3), written as the feedback of `QuIP` (Chee et al., 2023, §3), which needs no
/// inverse.
#[derive(Debug)]
pub(crate) struct Factor {
    /// The column at each position.
    pub(crate) order: Vec<usize>,
    /// `L`, row-major, ones on the diagonal, zeros above.
    pub(crate) lower: Vec<f32>,
    /// The rows of `L` below each block of [`BLOCK`] columns, packed for products.
    pub(crate) below: Vec<PackedF32>,
}

impl Factor {
    /// Factors `hessian` (`dim × dim`, finite); `None` if even heavy damping does not make it
    /// positive definite. `O(dim³/6)`.
    pub(crate) fn new(hessian: Matrix<'_, f32>) -> Option<Self> {
        let dim = hessian.rows();
        let diagonal: Vec<f32> = (0..dim).map(|i| hessian.row(i)[i]).collect();
        let mut order: Vec<usize> = (0..dim).collect();
        order.sort_by(|&a, &b| diagonal[a].total_cmp(&diagonal[b]).then(b.cmp(&a)));
        let mean = mean(&diagonal);
        let lower = DAMPING.iter().find_map(|damping| {
            let mut lower = permuted(hessian, &order, damping * mean);
            factor(&mut lower, dim).then_some(lower)
        })?;
        let below = (0..dim).step_by(BLOCK).map(|start| {
            let end = (start + BLOCK).min(dim);
            let mut packed = PackedF32::default();
            let from = (end * dim + start).min(lower.len());
            let rows = Matrix::strided(&lower[from..], dim - end, end - start, dim);
            packed.pack_transposed(rows);
            packed
        });
        let below = below.collect();
        Some(Self { order, lower, below })
    }
}

/// The mean of the diagonal; 1 for one of zeros, which damps to the identity.
pub(crate) fn mean(diagonal: &[f32]) -> f32 {
    let sum: f64 = diagonal.iter().map(|&value| f64::from(value)).sum();
    let mean = (sum / diagonal.len().max(1) as f64) as f32;
    if mean > 0.0 { mean } else { 1.0 / DAMPING[0] }
}

/// `hessian` with rows and columns in `order`, and `damping` on its diagonal. An input that is
/// always zero gets a one there, so that its weights are rounded for themselves.
fn permuted(hessian: Matrix<'_, f32>, order: &[usize], damping: f32) -> Vec<f32> {
    let dim = order.len();
    let mut out = vec![0.0; dim * dim];
    for (at, (row, &from)) in out.chunks_exact_mut(dim.max(1)).zip(order).enumerate() {
        let source = hessian.row(from);
        row.iter_mut().zip(order).for_each(|(value, &col)| *value = source[col]);
        row[at] += if row[at] == 0.0 { 1.0 } else { damping };
    }
    out
}

/// Factors in place into `L` with ones on its diagonal; `false` if a pivot is not positive.
///
/// Panels come as products over what is done, in f32; inside a panel sums are f64.
fn factor(a: &mut [f32], dim: usize) -> bool {
    let kernels = kernels();
    let mut diagonal = vec![0.0f32; dim];
    let (mut packed, mut product) = (PackedF32::default(), Vec::new());
    for start in (0..dim).step_by(PANEL) {
        let end = (start + PANEL).min(dim);
        subtract(kernels, a, dim, (start, end), &mut packed, &mut product);
        for row in start..dim {
            let (above, rest) = a.split_at_mut(row * dim);
            let this = &mut rest[..dim];
            for col in start..end.min(row) {
                let other = &above[col * dim + start..col * dim + col];
                let sum = f64::from(this[col]) - dot(&this[start..col], other);
                this[col] = (sum / f64::from(diagonal[col])) as f32;
            }
            if row < end {
                let own = &this[start..row];
                let pivot = f64::from(this[row]) - dot(own, own);
                // Also refuses NaN.
                if pivot.is_nan() || pivot <= f64::from(f32::EPSILON) * f64::from(this[row].abs()) {
                    return false;
                }
                diagonal[row] = pivot.sqrt() as f32;
                this[row] = diagonal[row];
            }
        }
    }
    for (row, values) in a.chunks_exact_mut(dim.max(1)).enumerate() {
        values[..=row].iter_mut().zip(&diagonal).for_each(|(value, pivot)| *value /= pivot);
        values[row + 1..].fill(0.0);
    }
    true
}

/// Takes from the columns `start..end` what the columns before them contribute.
fn subtract(
    kernels: &Kernels,
    a: &mut [f32],
    dim: usize,
    (start, end): (usize, usize),
    packed: &mut PackedF32,
    product: &mut Vec<f32>,
) {
    if start == 0 {
        return;
    }
    let (rows, cols) = (dim - start, end - start);
    packed.pack(Matrix::strided(&a[start * dim..], cols, start, dim));
    product.resize(rows * cols, 0.0);
    let x = Matrix::strided(&a[start * dim..], rows, start, dim);
    kernels.gemm_f32(x, packed, None, MatrixMut::new(product, rows, cols));
    for (row, product) in product.chunks_exact(cols).enumerate() {
        let target = &mut a[(start + row) * dim + start..][..cols];
        target.iter_mut().zip(product).for_each(|(value, product)| *value -= product);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
