//! Fewer bits, a bounded error: one weight matrix in every scheme, and what each one loses.
//!
//! Run it with `cargo run -p kvant-examples --example quantize`.
//!
//! A weight matrix of a network is a table of f32 numbers: 32 bits each. A *scheme* keeps a small
//! integer per weight and a few floating-point numbers per row or per group that say what the
//! integers mean. The question is always the same: how many bits are left, and how wrong is the
//! restored matrix? Kvant answers it for every tensor it compresses; this file does it for one.

use kvant_kernels::Matrix;
use kvant_quant::{Scheme, measure};

/// A matrix with the bell-shaped weights that trained layers have, and one outlier per row, which
/// is what makes quantization hard.
fn weights(rows: usize, cols: usize) -> Vec<f32> {
    let mut state = 7u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let mut data: Vec<f32> =
        (0..rows * cols).map(|_| 0.04 * (0..6).map(|_| uniform()).sum::<f32>()).collect();
    for row in 0..rows {
        data[row * cols + row % cols] = 0.5;
    }
    data
}

fn main() -> anyhow::Result<()> {
    let (rows, cols) = (384, 1536);
    let data = weights(rows, cols);

    println!("{:<8} {:>12} {:>10} {:>14}", "scheme", "bits/weight", "bytes", "relative error");
    for name in ["int8", "q8_0", "linear8", "linear6", "q4_0", "linear4", "linear3", "linear2"] {
        // A scheme is a value that can be parsed, printed and handed around.
        let scheme: Scheme = name.parse()?;

        // Encoding refuses NaN and infinities: a broken checkpoint shall not pass silently.
        let coded = scheme.encode(Matrix::new(&data, rows, cols))?;

        // The error is measured on what the decoder gives back, not predicted.
        let error = measure(&data, &coded.decode());
        println!(
            "{name:<8} {:>12.3} {:>10} {:>14.5}",
            coded.bits_per_weight(),
            coded.size_bytes(),
            error.relative,
        );
    }
    println!("\nOne outlier in a row spoils `int8`'s only scale; blocks of 32 confine the damage.");
    Ok(())
}
