//! Recall and speed of an index over the probes of its lists or the candidates of its graph.
//!
//! `cargo bench -p kvant-index --bench lists -- BASE.npy QUERIES.npy l2|cos SPEC[;SPEC…]
//! [threads 0] [queries 1000] [efforts…]`. Threads of a batch; 0 for one query per call. `held` for
//! QUERIES so many rows are taken out of the base and asked for, so that nothing is tuned on the
//! queries of a benchmark.

mod npy;

use std::time::Instant;

use kvant_index::{
    BuildOptions, Effort, FloatRows, Index, IndexSpec, Metric, Row, SearchOptions, Spec,
};
use npy::floats;

const K: usize = 10;
/// Of so many runs the fastest counts.
const RUNS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [base, queries, metric, spec, rest @ ..] = &args[..] else { return Ok(()) };
    let metric = if metric == "cos" { Metric::Cosine } else { Metric::Euclid };
    let threads: usize = rest.first().and_then(|arg| arg.parse().ok()).unwrap_or(0);
    let most: usize = rest.get(1).and_then(|arg| arg.parse().ok()).unwrap_or(1000);
    let (mut base, dim) = floats(base)?;
    let mut queries = if queries == "held" {
        let every = (base.len() / dim / most).max(1);
        let (held, kept): (Vec<_>, Vec<_>) =
            base.chunks_exact(dim).enumerate().partition(|(at, _)| at % every == 0);
        let join = |rows: Vec<(usize, &[f32])>| -> Vec<f32> {
            rows.into_iter().flat_map(|(_, row)| row).copied().collect()
        };
        let (held, kept) = (join(held), join(kept));
        base = kept;
        held
    } else {
        floats(queries)?.0
    };
    queries.truncate(most * dim);
    base.chunks_exact_mut(dim).chain(queries.chunks_exact_mut(dim)).for_each(|v| metric.prepare(v));
    let rows = || FloatRows::new(&base, dim, metric);
    let truth = Index::build(&"flat,bound4".parse()?, rows(), &BuildOptions::default())?;
    let options = SearchOptions { k: K, ..SearchOptions::default() };
    let truth = found(&truth, &queries, &options, 2)?;
    let efforts: Vec<usize> = rest.iter().skip(2).filter_map(|arg| arg.parse().ok()).collect();
    for spec in spec.split(';') {
        sweep(&spec.parse()?, rows(), (&queries, &truth, threads), &efforts)?;
    }
    Ok(())
}

/// Builds one index and searches it with every effort.
fn sweep(
    spec: &IndexSpec,
    rows: FloatRows<'_>,
    (queries, truth, threads): (&[f32], &[Vec<Row>], usize),
    efforts: &[usize],
) -> Result<(), Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let building = BuildOptions { threads: 2, ..BuildOptions::default() };
    let index = Index::build(spec, rows, &building)?;
    let bytes: usize = index.shape().to_bytes().len()
        + index.rows().sections().0.map_or(0, <[u8]>::len)
        + index.rows().sections().1.map_or(0, <[u8]>::len);
    println!(
        "{spec}: built in {:.2} s by 2 threads, {:.1} bytes a row",
        begin.elapsed().as_secs_f64(),
        bytes as f64 / index.len() as f64
    );
    let usual = [0, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];
    for &effort in if efforts.is_empty() { &usual } else { efforts } {
        let effort = match (effort, spec.shape) {
            (0, _) => Effort::Default,
            (n, Spec::Ivf { .. }) => Effort::Probes(n),
            (n, _) => Effort::Ef(n),
        };
        let options = SearchOptions { k: K, effort, ..SearchOptions::default() };
        let mut seconds = f64::INFINITY;
        let mut got = Vec::new();
        for _ in 0..RUNS {
            let begin = Instant::now();
            got = found(&index, queries, &options, threads)?;
            seconds = seconds.min(begin.elapsed().as_secs_f64());
        }
        let pairs = got.iter().zip(truth);
        let hits: usize = pairs.map(|(g, t)| g.iter().filter(|row| t.contains(row)).count()).sum();
        let recall = hits as f64 / (truth.len() * K) as f64;
        println!("{effort:?}: recall {recall:.4}, {:.0} queries/s", truth.len() as f64 / seconds);
    }
    Ok(())
}

/// One query per call, or all on some threads.
fn found(
    index: &Index<'_>,
    queries: &[f32],
    options: &SearchOptions<'_>,
    threads: usize,
) -> Result<Vec<Vec<Row>>, Box<dyn std::error::Error>> {
    let rows = |hits: Vec<kvant_index::Hit>| hits.iter().map(|hit| hit.row).collect::<Vec<_>>();
    if threads > 0 {
        let all = index.search_batch(queries, options, threads)?;
        return Ok(all.into_iter().map(|found| rows(found.hits)).collect());
    }
    let each = queries.chunks_exact(index.dim()).map(|query| index.search(query, options));
    Ok(each.map(|found| found.map(|found| rows(found.hits))).collect::<Result<_, _>>()?)
}
