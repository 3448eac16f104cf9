//! Scans of every row: speed and recall of each code, exact search by proof, batches.
//!
//! `cargo bench -p kvant-index --bench exact -- FOLDER [metric] [queries 200]`, where FOLDER holds
//! `base.npy` and `queries.npy` in f32. One thread; figures are of the bench's own processor time
//! where the system tells it, the best of several runs, so that what else runs counts little.

mod npy;

use std::time::Instant;

use kvant_index::{BuildOptions, FloatRows, Index, Metric, SearchOptions};
use npy::floats;

const SPECS: [&str; 16] = [
    "flat",
    "flat,bound4",
    "flat,bound2",
    "flat,f16",
    "flat,bf16",
    "flat,int8",
    "flat,rq8",
    "flat,rq4",
    "flat,rq2",
    "flat,rq1",
    "flat,sign",
    "flat,rq4,rerank8",
    "flat,rq2,rerank8",
    "flat,rq1,rerank32x10",
    "flat,sign,rerank32",
    "flat,rq1,rerank8x5",
];
const REPEATS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let folder = args.next().ok_or("say which folder holds base.npy and queries.npy")?;
    let metric: Metric = args.next().map_or(Ok(Metric::Euclid), |arg| arg.parse())?;
    let count = args.next().map_or(Ok(200), |arg| arg.parse())?;
    let (data, dim) = floats(&format!("{folder}/base.npy"))?;
    let (mut queries, _) = floats(&format!("{folder}/queries.npy"))?;
    queries.truncate(count * dim);
    println!("{} x {dim} {metric}, {count} queries", data.len() / dim);
    println!(
        "{:<22} {:>9} {:>8} {:>8} {:>9} {:>9}",
        "index", "build s", "B/row", "@10", "one/s", "batch/s"
    );
    let mut truth: Option<Vec<Vec<u32>>> = None;
    for spec in SPECS {
        let start = thread_seconds();
        let rows = FloatRows::new(&data, dim, metric);
        let index = match Index::build(&spec.parse()?, rows, &BuildOptions::default()) {
            Ok(index) => index,
            Err(error) => {
                println!("{spec:<22} {error}");
                continue;
            }
        };
        let built = thread_seconds() - start;
        let (code, again) = index.rows().sections();
        let size = code.map_or(0, <[u8]>::len) + again.map_or(0, <[u8]>::len);
        let options = SearchOptions::default();
        let (mut one, mut batch) = (f64::INFINITY, f64::INFINITY);
        let mut found = Vec::new();
        for _ in 0..REPEATS {
            let start = thread_seconds();
            found = queries
                .chunks_exact(dim)
                .map(|q| index.search(q, &options))
                .collect::<Result<Vec<_>, _>>()?;
            one = one.min(thread_seconds() - start);
            let start = thread_seconds();
            index.search_batch(&queries, &options, 1)?;
            batch = batch.min(thread_seconds() - start);
        }
        let rows = found.iter().map(|f| f.hits.iter().map(|hit| hit.row.0).collect()).collect();
        let truth = truth.get_or_insert_with(|| Vec::clone(&rows));
        let same =
            rows.iter().zip(truth).map(|(f, t)| f.iter().filter(|row| t.contains(row)).count());
        let recall = same.sum::<usize>() as f64 / (10 * count) as f64;
        let (n, per) = (data.len() / dim, |seconds: f64| count as f64 / seconds);
        println!(
            "{spec:<22} {built:>9.2} {:>8} {recall:>8.4} {:>9.0} {:>9.0}",
            size / n,
            per(one),
            per(batch)
        );
    }
    Ok(())
}

/// Seconds this thread has run; of the clock where the system does not tell.
fn thread_seconds() -> f64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    // The kernel brings its account up to date when a thread offers to pause.
    std::thread::yield_now();
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = account.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    ns.map_or_else(|| START.elapsed().as_secs_f64(), |ns| ns * 1e-9)
}
