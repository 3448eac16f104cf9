//! Speed of products over blocks: `cargo bench -p kvant-kernels --bench blocks [-- avx512]`.
//!
//! One thread. A row alone reads a weight far larger than any cache (GB/s); many rows multiply
//! the layers of a small language model (GOP/s).

mod time;

use std::hint::black_box;

use kvant_kernels::{
    BlockRow, BlockShape, BlocksI8, CodeLevels, Kernels, Level, Matrix, MatrixMut, Minima,
    PackedBlocks, PackedF32, Scaling,
};
use kvant_testkit::Random;
use time::best;

/// Outputs and inputs of the layers of a model of 135 M weights.
const LAYERS: [(usize, usize); 3] = [(960, 576), (3072, 576), (576, 1536)];
/// Outputs of a weight that no cache holds.
const HUGE: usize = 400_000;

fn weight(n: usize, k: usize, levels: CodeLevels, minima: Minima) -> PackedBlocks {
    let mut random = Random::new(7);
    let top = if matches!(levels, CodeLevels::Eight(_)) { 256 } else { 16 };
    let shape = BlockShape { n, k, block: 32 };
    PackedBlocks::new(shape, levels, minima, |row, BlockRow { codes, scales, minima }| {
        codes.iter_mut().enumerate().for_each(|(at, c)| *c = ((row * 7 + at * 5) % top) as u8);
        scales.fill_with(|| 0.01 + 0.001 * random.unit());
        minima.fill(-0.07);
    })
}

fn product(kernels: &Kernels, w: &PackedBlocks, m: usize) -> f64 {
    let x = Random::new(2).normals(m * w.k());
    let mut codes = BlocksI8::default();
    kernels.quantize_blocks(Matrix::new(&x, m, w.k()), Scaling::Block, 32, &mut codes);
    let mut out = vec![0.0; m * w.n()];
    best(|| kernels.gemm_blocks(&codes, w, None, MatrixMut::new(black_box(&mut out), m, w.n())))
}

fn product_f32(kernels: &Kernels, w: &PackedBlocks, m: usize) -> f64 {
    let x = Random::new(2).normals(m * w.k());
    let (mut out, mut memory) = (vec![0.0; m * w.n()], PackedF32::default());
    best(|| {
        let out = MatrixMut::new(black_box(&mut out), m, w.n());
        kernels.gemm_blocks_f32(Matrix::new(&x, m, w.k()), w, None, &mut memory, out);
    })
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let formats = [
        ("4 bits", CodeLevels::Four(8), Minima::None),
        ("4 bits + min", CodeLevels::Four(0), Minima::Some),
        ("8 bits", CodeLevels::Eight(128), Minima::None),
    ];
    for level in Level::ALL.into_iter().rev() {
        if !asked.is_empty() && !asked.iter().any(|name| name == level.name()) {
            continue;
        }
        let Some(kernels) = Kernels::at(level) else { continue };
        println!("\n== {level}");
        for (name, levels, minima) in formats {
            let huge = weight(HUGE, 576, levels, minima);
            let bytes = huge.size_bytes() as f64;
            for m in [1, 2, 4, 8] {
                let seconds = product(kernels, &huge, m);
                println!("{name:>14} {m:>4} rows {:>8.1} GB/s", bytes * 1e-9 / seconds);
            }
            let seconds = product_f32(kernels, &huge, 1);
            println!("{name:>14} f32 x row {:>6.1} GB/s", bytes * 1e-9 / seconds);
            for (n, k) in LAYERS {
                let w = weight(n, k, levels, minima);
                for m in [1, 6, 64, 512] {
                    let work = 2e-9 * (m * n * k) as f64;
                    let [int, float] = [product(kernels, &w, m), product_f32(kernels, &w, m)];
                    print!("{name:>14} {m:>4} x {n:>4} x {k:>4} {:>8.1} GOP/s", work / int);
                    println!(" {:>8.1} GFLOP/s in f32", work / float);
                }
            }
        }
    }
}
