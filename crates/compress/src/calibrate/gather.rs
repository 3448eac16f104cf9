//! Sums over the inputs of linear layers.

use std::collections::BTreeMap;

use kvant_kernels::{Matrix, MatrixMut, PackedF32, kernels};
use kvant_model::Tap;

use super::Moment;

/// Token vectors that are multiplied together.
const BLOCK: usize = 512;
/// Rows of the second moment that a thread computes at a time.
const STRIPE: usize = 96;

/// Sums up what passes the tap.
pub(super) struct Gather {
    threads: usize,
    /// By the first of the weights that read the input.
    inputs: BTreeMap<String, Sum>,
    /// The names in the order in which they first came.
    order: Vec<String>,
}

struct Sum {
    weights: Vec<String>,
    dim: usize,
    count: u64,
    /// Whole on and above the diagonal.
    square: Vec<f32>,
    total: Vec<f64>,
    abs: Vec<f64>,
    max_abs: Vec<f32>,
    /// Vectors not yet multiplied.
    held: Vec<f32>,
}

impl Gather {
    pub(super) fn new(threads: usize) -> Self {
        Self { threads, inputs: BTreeMap::new(), order: Vec::new() }
    }

    /// Token vectors seen at the input that saw most.
    pub(super) fn tokens(&self) -> u64 {
        self.inputs.values().map(|sum| sum.count).max().unwrap_or(0)
    }

    /// The means, in the order in which the network reads its inputs.
    pub(super) fn finish(mut self) -> Vec<Moment> {
        let threads = self.threads;
        let sums = self.order.iter().filter_map(|name| self.inputs.remove(name));
        sums.map(|sum| sum.finish(threads)).collect()
    }
}

impl Tap for Gather {
    fn input(&mut self, weights: &[&str], x: Matrix<'_, f32>) {
        let Some(&first) = weights.first() else { return };
        if !self.inputs.contains_key(first) {
            self.inputs.insert(first.to_owned(), Sum::new(weights, x.cols()));
            self.order.push(first.to_owned());
        }
        if let Some(sum) = self.inputs.get_mut(first) {
            sum.add(x, self.threads);
        }
    }
}

impl Sum {
    fn new(weights: &[&str], dim: usize) -> Self {
        Self {
            weights: weights.iter().map(|&name| name.to_owned()).collect(),
            dim,
            count: 0,
            square: vec![0.0; dim * dim],
            total: vec![0.0; dim],
            abs: vec![0.0; dim],
            max_abs: vec![0.0; dim],
            held: Vec::new(),
        }
    }

    fn add(&mut self, x: Matrix<'_, f32>, threads: usize) {
        assert!(x.cols() == self.dim, "an input keeps its length");
        self.count += x.rows() as u64;
        for row in 0..x.rows() {
            let values = x.row(row);
            let sums = self.total.iter_mut().zip(&mut self.abs).zip(&mut self.max_abs);
            for (((sum, abs), max), &value) in sums.zip(values) {
                *sum += f64::from(value);
                *abs += f64::from(value.abs());
                *max = max.max(value.abs());
            }
            self.held.extend_from_slice(values);
            if self.held.len() == BLOCK * self.dim {
                self.multiply(threads);
            }
        }
    }

    /// Adds the products of the vectors held. Blocks are cut by their number alone, and an
    /// element of the sum is computed the same way on any thread.
    fn multiply(&mut self, threads: usize) {
        let (dim, rows) = (self.dim, self.held.len() / self.dim.max(1));
        if rows == 0 {
            return;
        }
        let mut transposed = vec![0.0; rows * dim];
        for (row, values) in self.held.chunks_exact(dim).enumerate() {
            for (col, &value) in values.iter().enumerate() {
                transposed[col * rows + row] = value;
            }
        }
        let x = Matrix::new(&transposed, dim, rows);
        let stripes = std::sync::Mutex::new(self.square.chunks_mut(STRIPE * dim).enumerate());
        let next = || stripes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
        let work = || {
            let mut product = Vec::new();
            while let Some((index, square)) = next() {
                let first = index * STRIPE;
                let (height, width) = (square.len() / dim, dim - first);
                // What lies left of the stripe's own columns is the mirror of an earlier one.
                let right = PackedF32::new(x.slice(first..dim));
                product.resize(height * width, 0.0);
                let out = MatrixMut::new(&mut product, height, width);
                kernels().gemm_f32(x.slice(first..first + height), &right, None, out);
                let rows = square.chunks_exact_mut(dim).zip(product.chunks_exact(width));
                for (sums, products) in rows {
                    let sums = sums[first..].iter_mut().zip(products);
                    sums.for_each(|(sum, product)| *sum += product);
                }
            }
        };
        if threads <= 1 {
            work();
        } else {
            std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        }
        self.held.clear();
    }

    fn finish(mut self, threads: usize) -> Moment {
        self.multiply(threads);
        let (dim, share) = (self.dim, 1.0 / self.count.max(1) as f64);
        let mean = |sum: f32| (f64::from(sum) * share) as f32;
        let mut hessian: Vec<f32> = self.square.iter().map(|&sum| mean(sum)).collect();
        // Only what lies on and above the diagonal is whole.
        for row in 0..dim {
            for col in 0..row {
                hessian[row * dim + col] = hessian[col * dim + row];
            }
        }
        Moment {
            weights: self.weights,
            dim,
            count: self.count,
            mean_square: (0..dim).map(|i| hessian[i * dim + i]).collect(),
            hessian,
            mean: self.total.iter().map(|&sum| (sum * share) as f32).collect(),
            mean_abs: self.abs.iter().map(|&sum| (sum * share) as f32).collect(),
            max_abs: self.max_abs,
        }
    }
}
