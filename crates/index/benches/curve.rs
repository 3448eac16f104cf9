//! Recall against speed of whole indexes, one query a call on one thread.
//!
//! `cargo bench -p kvant-index --bench curve -- FOLDER METRIC SPEC…`, where FOLDER holds `base.npy`
//! in f32. Every sixtieth row is taken out of the base and is a query, so that nothing is tuned on
//! the queries of a benchmark; with `KVANT_QUERIES=own` they are the first thousand of its
//! `queries.npy`. From the environment too: `KVANT_THREADS` of building (2), `KVANT_EF` of
//! building, `KVANT_ALLOWED`, a share in percent of the rows that may be found, drawn at random;
//! with `KVANT_NEAR` those nearest to the first query, with `KVANT_FAR` the farthest.

mod npy;

use std::time::Instant;

use kvant_index::{
    Bitmap, BuildOptions, Effort, FloatRows, Index, Metric, Row, SearchOptions, Spec,
};
use kvant_testkit::Random;
use npy::floats;

const QUERIES: usize = 1000;
const K: usize = 10;
const REPEATS: usize = 3;
const EFS: [usize; 12] = [10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 512];
/// Lists looked into, where there are any.
const PROBES: [usize; 14] = [8, 16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096];
const LEVELS: [f64; 4] = [0.9, 0.95, 0.99, 0.999];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let folder = args.next().ok_or("say which folder holds base.npy")?;
    let metric: Metric = args.next().ok_or("say which metric")?.parse()?;
    let (base, queries, dim) = vectors(&folder, metric)?;
    println!("{} x {dim} {metric}, {} queries", base.len() / dim, queries.len() / dim);
    let exact = Index::build(
        &"flat".parse()?,
        FloatRows::new(&base, dim, metric),
        &BuildOptions::default(),
    )?;
    let allowed = allowed(&exact, &queries[..dim])?;
    let options = SearchOptions {
        k: K,
        effort: Effort::Exact,
        allowed: allowed.as_ref(),
        ..SearchOptions::default()
    };
    let truth: Vec<Vec<u32>> = exact
        .search_batch(&queries, &options, 2)?
        .iter()
        .map(|found| found.hits.iter().map(|hit| hit.row.0).collect())
        .collect();
    for spec in args {
        let threads = variable("KVANT_THREADS").unwrap_or(2);
        let build = BuildOptions::default();
        let ef_construction = variable("KVANT_EF").unwrap_or(build.ef_construction);
        let build = BuildOptions { threads, ef_construction, ..build };
        let start = Instant::now();
        let index = Index::build(&spec.parse()?, FloatRows::new(&base, dim, metric), &build)?;
        let wall = start.elapsed().as_secs_f64();
        println!("\n{spec}: built in {wall:.1} s on {threads} threads");
        let walked = matches!(index.spec().shape, Spec::Hnsw { .. } | Spec::Qg { .. });
        let efforts: Vec<Effort> =
            if walked { EFS.map(Effort::Ef).into() } else { PROBES.map(Effort::Probes).into() };
        let curve: Vec<(f64, f64)> = efforts
            .into_iter()
            .map(|effort| {
                let options = SearchOptions { effort, ..options };
                let found = measure(&index, &queries, &truth, &options);
                println!("    {effort:?} {:.4} {:>9.0}/s", found.0, found.1);
                found
            })
            .collect();
        for level in LEVELS {
            let speed = at_level(&curve, level);
            println!("  at {level}: {}", speed.map_or("-".into(), |speed| format!("{speed:.0}/s")));
        }
    }
    Ok(())
}

/// Recall and queries a second, best of several runs.
fn measure(
    index: &Index<'_>,
    queries: &[f32],
    truth: &[Vec<u32>],
    options: &SearchOptions<'_>,
) -> (f64, f64) {
    let (mut hits, mut best) = (0, f64::INFINITY);
    for _ in 0..REPEATS {
        hits = 0;
        let mut seconds = 0.0;
        for (query, truth) in queries.chunks_exact(index.dim()).zip(truth) {
            let start = Instant::now();
            let found = index.search(query, options);
            seconds += start.elapsed().as_secs_f64();
            let found = found.map(|found| found.hits).unwrap_or_default();
            hits += found.iter().filter(|hit| truth.contains(&hit.row.0)).count();
        }
        best = best.min(seconds);
    }
    (hits as f64 / (truth.len() * K) as f64, truth.len() as f64 / best)
}

/// Speed at a recall between two settings, on a straight line in logarithms of speed.
fn at_level(curve: &[(f64, f64)], level: f64) -> Option<f64> {
    if curve.first().is_some_and(|&(recall, _)| recall >= level) {
        return curve.first().map(|&(_, speed)| speed);
    }
    let pair = curve.windows(2).find(|pair| pair[0].0 < level && level <= pair[1].0)?;
    let share = (level - pair[0].0) / (pair[1].0 - pair[0].0);
    Some((pair[0].1.ln() * (1.0 - share) + pair[1].1.ln() * share).exp())
}

type Vectors = (Vec<f32>, Vec<f32>, usize);

fn vectors(folder: &str, metric: Metric) -> Result<Vectors, Box<dyn std::error::Error>> {
    let (all, dim) = floats(&format!("{folder}/base.npy"))?;
    let (mut base, mut queries) = (Vec::new(), Vec::new());
    if std::env::var("KVANT_QUERIES").is_ok_and(|what| what == "own") {
        (base, queries) = (all, floats(&format!("{folder}/queries.npy"))?.0);
        queries.truncate(QUERIES * dim);
    } else {
        let every = all.len() / dim / QUERIES;
        for (at, row) in all.chunks_exact(dim).enumerate() {
            let to = if at % every == 0 { &mut queries } else { &mut base };
            to.extend_from_slice(row);
        }
    }
    for vector in base.chunks_exact_mut(dim).chain(queries.chunks_exact_mut(dim)) {
        metric.prepare(vector);
    }
    Ok((base, queries, dim))
}

/// The rows that may be found, all where nothing is said.
fn allowed(exact: &Index<'_>, query: &[f32]) -> Result<Option<Bitmap>, Box<dyn std::error::Error>> {
    let Some(percent) = variable("KVANT_ALLOWED") else { return Ok(None) };
    let n = exact.len();
    let options = SearchOptions { k: n, effort: Effort::Exact, ..SearchOptions::default() };
    let mut rows: Vec<Row> =
        exact.search(query, &options)?.hits.iter().map(|hit| hit.row).collect();
    if std::env::var("KVANT_FAR").is_ok() {
        rows.reverse();
    } else if std::env::var("KVANT_NEAR").is_err() {
        let mut random = Random::new(2);
        (1..n).rev().for_each(|at| rows.swap(at, random.below(at + 1)));
    }
    let mut allowed = Bitmap::new(n);
    rows.iter().take(n * percent / 100).for_each(|&row| {
        allowed.insert(row);
    });
    println!("{} rows allowed", allowed.count());
    Ok(Some(allowed))
}

fn variable(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}
