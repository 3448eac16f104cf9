//! A linear probe: multinomial logistic regression, fitted by L-BFGS from zero.

use std::collections::VecDeque;

use kvant_kernels::{Kernels, Matrix, MatrixMut, PackedF32, kernels};

use super::Vectors;

/// Pairs of steps and gradient changes L-BFGS remembers.
const MEMORY: usize = 10;
/// Halvings of a step before the search is over.
const HALVINGS: usize = 20;
/// Share of the promised decrease that makes a step good enough (Armijo).
const ARMIJO: f64 = 1e-4;

/// How a probe is fitted. There is no seed: it starts at zero and sees all texts in each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitOptions {
    /// Inverse strength of the penalty: the loss is `C · Σ cross-entropy + ½ |W|²`.
    pub c: f64,
    /// The most steps.
    pub steps: usize,
    /// Fitting ends where no component of the gradient of the mean loss exceeds this.
    pub tolerance: f64,
}

impl Default for FitOptions {
    /// `C` of 1, 100 steps, a tolerance of 1e-5.
    fn default() -> Self {
        Self { c: 1.0, steps: 100, tolerance: 1e-5 }
    }
}

/// Multinomial logistic regression over vectors: `softmax(W·x + b)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// `classes × dim`, then `classes` biases.
    weights: Vec<f64>,
    classes: usize,
}

impl Probe {
    /// Fits a probe to `vectors` with `labels` in `0..classes`.
    ///
    /// Minimises `mean cross-entropy + |W|² / (2·C·n)` by L-BFGS (Nocedal & Wright, 2006,
    /// algorithm 7.4) with backtracking; biases carry no penalty. The result is a function of the
    /// arguments alone on a given level of kernels. Cost `O(steps · n · dim · classes)`.
    ///
    /// # Panics
    /// If there is not one label per vector or a label is out of range.
    pub fn fit(vectors: Vectors<'_>, labels: &[u32], classes: usize, options: &FitOptions) -> Self {
        assert_eq!(vectors.len(), labels.len(), "one label per vector");
        assert!(labels.iter().all(|&label| (label as usize) < classes), "label out of range");
        let mut loss = Loss::new(vectors, labels, classes, options.c);
        let mut weights = vec![0.0; classes * (vectors.dim() + 1)];
        if labels.is_empty() {
            return Self { weights, classes };
        }
        let (mut value, mut gradient) = loss.at(&weights);
        let mut history = VecDeque::new();
        for _ in 0..options.steps {
            if gradient.iter().all(|slope| slope.abs() <= options.tolerance) {
                break;
            }
            let direction = downhill(&gradient, &history);
            let slope = dot(&direction, &gradient);
            let mut taken = None;
            let mut length = 1.0;
            for _ in 0..HALVINGS {
                let next: Vec<f64> =
                    weights.iter().zip(&direction).map(|(w, d)| w + length * d).collect();
                let (at, steepness) = loss.at(&next);
                if at <= value + ARMIJO * length * slope {
                    taken = Some((next, at, steepness));
                    break;
                }
                length /= 2.0;
            }
            // No step helps any more: what is left is the rounding of f32.
            let Some((next, at, steepness)) = taken else { break };
            let step = difference(&next, &weights);
            let change = difference(&steepness, &gradient);
            let curvature = dot(&step, &change);
            if curvature > 0.0 {
                history.push_back((step, change, curvature));
                if history.len() > MEMORY {
                    history.pop_front();
                }
            }
            (weights, value, gradient) = (next, at, steepness);
        }
        Self { weights, classes }
    }

    /// The weight of component `i` for `class`.
    ///
    /// # Panics
    /// If either is out of range.
    pub fn weight(&self, class: usize, i: usize) -> f64 {
        let dim = self.weights.len() / self.classes - 1;
        assert!(class < self.classes && i < dim, "weight {i} of class {class}");
        self.weights[class * dim + i]
    }

    /// The likeliest class of each vector; the lowest of equals.
    ///
    /// # Panics
    /// If the dimension is not that of the fit.
    pub fn predict(&self, vectors: Vectors<'_>) -> Vec<u32> {
        let mut logits = Logits::new(self.classes, vectors.dim());
        let logits = logits.of(&self.weights, vectors);
        let best = |row: &[f32]| {
            let mut best = 0;
            for (class, &logit) in row.iter().enumerate() {
                if logit > row[best] {
                    best = class;
                }
            }
            best as u32
        };
        logits.chunks_exact(self.classes).map(best).collect()
    }
}

/// `W·x + b` of many vectors at once.
struct Logits {
    kernels: &'static Kernels,
    classes: usize,
    dim: usize,
    packed: PackedF32,
    out: Vec<f32>,
}

impl Logits {
    fn new(classes: usize, dim: usize) -> Self {
        Self { kernels: kernels(), classes, dim, packed: PackedF32::default(), out: Vec::new() }
    }

    fn of(&mut self, weights: &[f64], vectors: Vectors<'_>) -> &mut [f32] {
        assert_eq!(weights.len(), self.classes * (vectors.dim() + 1), "dimension of the probe");
        let weights: Vec<f32> = weights.iter().map(|&w| w as f32).collect();
        let (matrix, bias) = weights.split_at(self.classes * self.dim);
        self.packed.pack(Matrix::new(matrix, self.classes, self.dim));
        self.out.resize(vectors.len() * self.classes, 0.0);
        let x = Matrix::new(vectors.data(), vectors.len(), self.dim);
        let out = MatrixMut::new(&mut self.out, vectors.len(), self.classes);
        self.kernels.gemm_f32(x, &self.packed, Some(bias), out);
        &mut self.out
    }
}

/// The penalised mean cross-entropy and its gradient.
struct Loss<'a> {
    vectors: Vectors<'a>,
    labels: &'a [u32],
    classes: usize,
    penalty: f64,
    logits: Logits,
    /// `Xᵀ`, so that the gradient `Rᵀ·X` is one product.
    columns: PackedF32,
}

impl<'a> Loss<'a> {
    fn new(vectors: Vectors<'a>, labels: &'a [u32], classes: usize, c: f64) -> Self {
        let mut columns = PackedF32::default();
        columns.pack_transposed(Matrix::new(vectors.data(), vectors.len(), vectors.dim()));
        let penalty = 1.0 / (c * labels.len().max(1) as f64);
        let logits = Logits::new(classes, vectors.dim());
        Self { vectors, labels, classes, penalty, logits, columns }
    }

    fn at(&mut self, weights: &[f64]) -> (f64, Vec<f64>) {
        let (n, dim, classes) = (self.labels.len(), self.vectors.dim(), self.classes);
        let logits = self.logits.of(weights, self.vectors);
        let mut entropy = 0.0;
        let mut residuals = vec![0.0f32; classes * n];
        let mut biases = vec![0.0f64; classes];
        let mut powers = vec![0.0f64; classes];
        for (i, (row, &label)) in logits.chunks_exact(classes).zip(self.labels).enumerate() {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for (power, &logit) in powers.iter_mut().zip(row) {
                *power = f64::from(logit - most).exp();
            }
            let total: f64 = powers.iter().sum();
            entropy += total.ln() - f64::from(row[label as usize] - most);
            for (class, power) in powers.iter().enumerate() {
                let target = f64::from(u8::from(class == label as usize));
                let residual = (power / total - target) / n as f64;
                residuals[class * n + i] = residual as f32;
                biases[class] += residual;
            }
        }
        let mut slopes = vec![0.0f32; classes * dim];
        let x = Matrix::new(&residuals, classes, n);
        let out = MatrixMut::new(&mut slopes, classes, dim);
        self.logits.kernels.gemm_f32(x, &self.columns, None, out);
        let matrix = &weights[..classes * dim];
        let value = entropy / n as f64 + 0.5 * self.penalty * dot(matrix, matrix);
        let mut gradient: Vec<f64> =
            slopes.iter().zip(matrix).map(|(&s, w)| f64::from(s) + self.penalty * w).collect();
        gradient.extend(biases);
        (value, gradient)
    }
}

/// The direction L-BFGS goes: minus the gradient, bent by the curvature met so far.
fn downhill(gradient: &[f64], history: &VecDeque<(Vec<f64>, Vec<f64>, f64)>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut shares = Vec::with_capacity(history.len());
    for (step, change, curvature) in history.iter().rev() {
        let share = dot(step, &direction) / curvature;
        shares.push(share);
        add(&mut direction, -share, change);
    }
    if let Some((_, change, curvature)) = history.back() {
        let scale = curvature / dot(change, change);
        for d in &mut direction {
            *d *= scale;
        }
    }
    for ((step, change, curvature), share) in history.iter().zip(shares.into_iter().rev()) {
        let other = dot(change, &direction) / curvature;
        add(&mut direction, share - other, step);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn add(to: &mut [f64], factor: f64, from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(x, y)| *x += factor * y);
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(x, y)| x - y).collect()
}
