//! Time and inertia of k-means over a file of vectors (`.npy` of f32).
//!
//! `cargo bench -p kvant-index --bench kmeans -- FILE K [iterations 25] [threads 1] [batch 0]`

mod npy;

use std::time::Instant;

use kvant_index::{FloatRows, KmeansOptions, Metric, Precision, Start, kmeans};
use npy::floats;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let Some(path) = args.next() else { return Ok(()) };
    let mut number = |or: usize| args.next().and_then(|arg| arg.parse().ok()).unwrap_or(or);
    let (k, iterations, threads, batch) = (number(256), number(25), number(1), number(0));
    let (values, dim) = floats(&path)?;
    let rows = FloatRows::new(&values, dim, Metric::Euclid);
    for start in [Start::Random, Start::PlusPlus] {
        for precision in [Precision::Bytes, Precision::Floats] {
            let batch = (batch > 0).then_some(batch);
            let options = KmeansOptions {
                iterations,
                threads,
                batch,
                start,
                precision,
                ..KmeansOptions::default()
            };
            let begin = Instant::now();
            let clusters = kmeans(&rows, k, &options)?;
            let seconds = begin.elapsed().as_secs_f64();
            let largest = clusters.sizes.iter().max().copied().unwrap_or(0);
            println!(
                "{start:?} {precision:?}: {seconds:.2} s, inertia {:.6e}, {} iterations, largest \
                 {largest}",
                clusters.inertia,
                clusters.history.len()
            );
        }
    }
    Ok(())
}
