//! Searches of points of several vectors: recall and time of candidates beside a full scan.
//!
//! `cargo bench -p kvant-index --bench multi -- FOLDER [points 10000] [spec hnsw]`, where FOLDER
//! holds `base.npy` in f32. A point is 30 vectors: a row, and mixtures of it with rows here and
//! there, of unit length, as the words of a text lie around what it is about; a query is 16 such of
//! a row that no point was made of. One thread, two to build.

mod npy;

use std::time::Instant;

use kvant_index::{BuildOptions, Effort, FloatRows, Metric, Multi, SearchOptions};
use npy::floats;

const VECTORS: usize = 30;
const ASKED: usize = 16;
const QUERIES: usize = 50;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let folder = args.next().ok_or("say which folder holds base.npy")?;
    let points = args.next().map_or(Ok(10_000), |arg| arg.parse())?;
    let spec = args.next().unwrap_or_else(|| "hnsw".to_owned());
    let (data, wide) = floats(&format!("{folder}/base.npy"))?;
    // Late interaction is of 128 values as a rule.
    let dim = wide.min(128);
    let rows: Vec<&[f32]> = data.chunks_exact(wide).map(|row| &row[..dim]).collect();
    let mut state = 1u64;
    let mut below = |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut near = |row: &[f32], count: usize| -> Vec<Vec<f32>> {
        let mut one = || {
            let (other, share) = (rows[below(rows.len())], below(100) as f32 / 100.0);
            let mut vector: Vec<f32> =
                row.iter().zip(other).map(|(a, b)| (1.0 - share) * a + share * b).collect();
            Metric::Cosine.prepare(&mut vector);
            vector
        };
        (0..count).map(|_| one()).collect()
    };
    let mut vectors = Vec::with_capacity(points * VECTORS * dim);
    for row in &rows[..points] {
        vectors.extend(near(row, VECTORS).concat());
    }
    let queries: Vec<Vec<Vec<f32>>> =
        rows[points..].iter().take(QUERIES).map(|row| near(row, ASKED)).collect();
    let start = Instant::now();
    let counts = vec![VECTORS as u32; points];
    let options = BuildOptions { threads: 2, ..BuildOptions::default() };
    let own = FloatRows::new(&vectors, dim, Metric::Cosine);
    let multi = Multi::build(&spec.parse()?, own, &counts, &options)?;
    println!(
        "{points} points x {VECTORS} x {dim}, {spec}: built in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let exact = SearchOptions { effort: Effort::Exact, ..SearchOptions::default() };
    let start = Instant::now();
    let truth = queries.iter().map(|q| multi.search(q, &exact)).collect::<Result<Vec<_>, _>>()?;
    let each = |start: Instant| start.elapsed().as_secs_f64() * 1e3 / queries.len() as f64;
    println!("every point: {:.2} ms a query", each(start));
    for effort in [Effort::Ef(32), Effort::Ef(64), Effort::Default, Effort::Ef(256)] {
        let options = SearchOptions { effort, ..SearchOptions::default() };
        let start = Instant::now();
        let found =
            queries.iter().map(|q| multi.search(q, &options)).collect::<Result<Vec<_>, _>>()?;
        let time = each(start);
        let same = found.iter().zip(&truth).map(|(found, truth)| {
            let rows: Vec<_> = truth.hits.iter().map(|hit| hit.row).collect();
            found.hits.iter().filter(|hit| rows.contains(&hit.row)).count()
        });
        let recall = same.sum::<usize>() as f64 / (10 * queries.len()) as f64;
        println!("{effort:?}: {time:.2} ms a query, recall@10 {recall:.3}");
    }
    Ok(())
}
