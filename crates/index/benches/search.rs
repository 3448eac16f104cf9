//! Build time, recall and queries per second on synthetic clusters.
//!
//! `cargo bench -p kvant-index -- [rows 100000] [dim 384] [threads of building 2] [spec hnsw]`

use std::time::Instant;

use kvant_index::{AnyShape, Bitmap, BuildOptions, Effort, FloatRows, Metric, Row, SearchOptions};
use kvant_testkit::{Random, clustered};

const QUERIES: usize = 1000;
const K: usize = 10;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let mut number = |or: usize| args.next().and_then(|arg| arg.parse().ok()).unwrap_or(or);
    let (n, dim, threads) = (number(100_000), number(384), number(2));
    let spec = args.next().and_then(|arg| arg.parse().ok()).unwrap_or_default();
    let metric: Metric = args.next().and_then(|arg| arg.parse().ok()).unwrap_or(Metric::Cosine);
    let mut data = clustered(n + QUERIES, dim, 1);
    data.chunks_exact_mut(dim).for_each(|vector| metric.prepare(vector));
    let (data, queries) = data.split_at(n * dim);
    let rows = FloatRows::new(data, dim, metric);
    let options = BuildOptions { threads, ..BuildOptions::default() };
    let start = Instant::now();
    let shape = AnyShape::build(&spec, &rows, &options);
    let seconds = start.elapsed().as_secs_f64();
    println!("{n} x {dim} {metric}, {spec}: built in {seconds:.1} s on {threads} threads");
    println!("{:>8} {:>10} {:>10} {:>12}", "allowed", "effort", "recall@10", "queries/s");
    for percent in [100, 50, 20, 10, 5, 1] {
        let allowed = (percent < 100).then(|| share(n, percent));
        let run = |effort| {
            let options = SearchOptions { k: K, effort, allowed: allowed.as_ref() };
            search(&shape, &rows, queries, &options)
        };
        let (truth, exact) = run(Effort::Exact);
        for ef in [0, 16, 32, 64, 128, 256] {
            let effort = if ef == 0 { Effort::Default } else { Effort::Ef(ef) };
            let (found, speed) = run(effort);
            let hits = found.iter().zip(&truth);
            let hits: usize =
                hits.map(|(f, t)| f.iter().filter(|row| t.contains(row)).count()).sum();
            let recall = hits as f64 / (QUERIES * K) as f64;
            println!("{percent:>7}% {:>10} {recall:>10.4} {speed:>12.0}", format!("{effort:?}"));
        }
        println!("{percent:>7}% {:>10} {:>10.4} {exact:>12.0}", "Exact", 1.0);
    }
}

fn share(n: usize, percent: usize) -> Bitmap {
    let mut random = Random::new(2);
    let mut allowed = Bitmap::new(n);
    for row in 0..n as u32 {
        if random.below(100) < percent {
            allowed.insert(Row(row));
        }
    }
    allowed
}

/// The rows found for each query, and queries per second.
fn search(
    shape: &AnyShape,
    rows: &FloatRows<'_>,
    queries: &[f32],
    options: &SearchOptions<'_>,
) -> (Vec<Vec<Row>>, f64) {
    let start = Instant::now();
    let found = queries.chunks_exact(rows.dim()).map(|query| {
        shape.search(rows, query, options).iter().map(|hit| hit.row).collect::<Vec<_>>()
    });
    let found: Vec<_> = found.collect();
    let speed = found.len() as f64 / start.elapsed().as_secs_f64();
    (found, speed)
}
