//! What the arithmetic of this machine gives at most: the product of the kernels on operands that
//! stay in the second cache.

use std::fmt;
use std::time::{Duration, Instant};

use kvant_kernels::{Matrix, MatrixMut, PackedF32, PackedI8, RowsI8, kernels};

/// Rows, outputs and inputs of the product: 150 to 590 kB of weights.
const SHAPE: (usize, usize, usize) = (48, 384, 384);
/// Time of a measurement.
const TIME: Duration = Duration::from_millis(60);
/// Products that are timed together.
const RUN: u32 = 8;

/// What linear layers multiply in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arithmetic {
    Float32,
    Int8,
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "f32",
            Self::Int8 => "int8",
        })
    }
}

impl Arithmetic {
    /// What the limit is, in words.
    pub(super) fn probe(self) -> &'static str {
        match self {
            Self::Float32 => "the best f32 product of 48 x 384 x 384",
            Self::Int8 => "the best int8 product of 48 x 384 x 384",
        }
    }
}

/// The operands of the product.
#[derive(Debug)]
pub(super) struct Probe {
    arithmetic: Arithmetic,
    values: Vec<f32>,
    float: PackedF32,
    int8: PackedI8,
}

impl Probe {
    pub(super) fn new(arithmetic: Arithmetic) -> Self {
        let (m, n, k) = SHAPE;
        let values: Vec<f32> = (0..m * k).map(|at| ((at * 37) % 101) as f32 - 50.0).collect();
        let weights: Vec<f32> = (0..n * k).map(|at| ((at * 53) % 103) as f32 - 51.0).collect();
        let codes: Vec<i8> = weights.iter().map(|&value| value as i8).collect();
        let int8 = PackedI8::new(Matrix::new(&codes, n, k), &vec![0.01; n]);
        Self { arithmetic, values, float: PackedF32::new(Matrix::new(&weights, n, k)), int8 }
    }

    /// Billions of operations a second, two for each multiply-add, of `threads` threads together.
    pub(super) fn gop_s(&self, threads: usize) -> f64 {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.one())).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
        })
    }

    /// Those of one thread, from the fastest run.
    fn one(&self) -> f64 {
        let ((m, n, k), kernels) = (SHAPE, kernels());
        let (x, mut codes) = (Matrix::new(&self.values, m, k), RowsI8::default());
        kernels.quantize_rows(x, &mut codes);
        let mut out = vec![0.0; m * n];
        let (began, mut best) = (Instant::now(), f64::INFINITY);
        while began.elapsed() < TIME {
            let run = Instant::now();
            for _ in 0..RUN {
                let out = MatrixMut::new(&mut out, m, n);
                match self.arithmetic {
                    Arithmetic::Float32 => kernels.gemm_f32(x, &self.float, None, out),
                    Arithmetic::Int8 => kernels.gemm_i8(&codes, &self.int8, None, out),
                }
            }
            best = best.min(run.elapsed().as_secs_f64() / f64::from(RUN));
        }
        std::hint::black_box(&out);
        2.0 * (m * n * k) as f64 / best / 1e9
    }
}
