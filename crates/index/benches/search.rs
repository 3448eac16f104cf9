//! Build time, recall and speed on synthetic clusters, or on vectors of a file.
//!
//! `cargo bench -p kvant-index -- [rows 100000] [dim 384] [threads of building 2] [spec] [metric]
//! [file of rows] [file of queries]`, files as little-endian f32. Searches run on one thread.
//! Figures are of the bench's own processor time where the system tells it, so that what else
//! runs does not count.

use std::time::Instant;

use kvant_index::{
    AnyShape, Bitmap, BuildOptions, Effort, FloatRows, Metric, Row, SearchOptions, Spec,
};
use kvant_testkit::{Random, clustered};

const QUERIES: usize = 1000;
const K: usize = 10;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let mut number = |or: usize| args.next().and_then(|arg| arg.parse().ok()).unwrap_or(or);
    let (n, dim, threads) = (number(100_000), number(384), number(2));
    let spec: Spec = args.next().and_then(|arg| arg.parse().ok()).unwrap_or_default();
    let metric: Metric = args.next().and_then(|arg| arg.parse().ok()).unwrap_or(Metric::Cosine);
    let mut data = match args.next() {
        Some(path) => floats(&path)?,
        None => clustered(n + QUERIES, dim, 1),
    };
    let rest = data.split_off((n * dim).min(data.len()));
    let mut queries = args.next().map_or(Ok(rest), |path| floats(&path))?;
    queries.truncate(QUERIES * dim);
    for vector in data.chunks_exact_mut(dim).chain(queries.chunks_exact_mut(dim)) {
        metric.prepare(vector);
    }
    let rows = FloatRows::new(&data, dim, metric);
    let options = BuildOptions { threads, ..BuildOptions::default() };
    let (wall, start) = (Instant::now(), process_seconds());
    let shape = AnyShape::build(&spec, &rows, &options);
    let (wall, cpu) = (wall.elapsed().as_secs_f64(), process_seconds() - start);
    println!("{} x {dim} {metric}, {spec}, {threads} threads:", shape.len());
    println!("built in {wall:.1} s, {cpu:.1} s of processor time");
    compare(&shape, &rows, &queries);
    Ok(())
}

fn compare(shape: &AnyShape, rows: &FloatRows<'_>, queries: &[f32]) {
    println!("{:>8} {:>10} {:>10} {:>12}", "allowed", "effort", "recall@10", "queries/s");
    for percent in [100, 90, 50, 20, 10, 5, 1] {
        let allowed = (percent < 100).then(|| share(shape.len(), percent));
        let run = |effort| {
            let options = SearchOptions {
                k: K,
                effort,
                allowed: allowed.as_ref(),
                ..SearchOptions::default()
            };
            search(shape, rows, queries, &options)
        };
        let (truth, exact) = run(Effort::Exact);
        for ef in [0, 16, 32, 64, 128, 256] {
            let effort = if ef == 0 { Effort::Default } else { Effort::Ef(ef) };
            let (found, speed) = run(effort);
            let hits = found.iter().zip(&truth);
            let hits: usize =
                hits.map(|(f, t)| f.iter().filter(|row| t.contains(row)).count()).sum();
            let recall = hits as f64 / truth.iter().map(Vec::len).sum::<usize>() as f64;
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
    let start = thread_seconds();
    let found = queries.chunks_exact(rows.dim()).map(|query| {
        shape.search(rows, query, options).iter().map(|hit| hit.row).collect::<Vec<_>>()
    });
    let found: Vec<_> = found.collect();
    let speed = found.len() as f64 / (thread_seconds() - start);
    (found, speed)
}

/// Seconds this process has run on processors; of the clock where the system does not tell.
fn process_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // User and system time, in hundredths of a second.
    let ticks = fields.skip(11).take(2).map(|field| field.parse::<f64>().ok()).sum::<Option<f64>>();
    ticks.filter(|_| !stat.is_empty()).map_or_else(clock_seconds, |ticks| ticks / 100.0)
}

/// Seconds this thread has run; of the clock where the system does not tell.
fn thread_seconds() -> f64 {
    // The kernel brings its account up to date when a thread offers to pause.
    std::thread::yield_now();
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = account.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    ns.map_or_else(clock_seconds, |ns| ns * 1e-9)
}

fn clock_seconds() -> f64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64()
}

fn floats(path: &str) -> std::io::Result<Vec<f32>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}
