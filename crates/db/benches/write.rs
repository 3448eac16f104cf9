//! What durable writing, opening and searching cost on this machine's disk.
//!
//! `cargo bench -p kvant-db -- [POINTS] [DIM] [DIRECTORY]`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

use kvant_db::{Collection, Filter, Point, PointId, Query, Settings};
use kvant_index::{Effort, Metric, Spec};
use kvant_testkit::Random;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

fn points(from: u64, count: u64, dim: usize) -> Vec<Point> {
    let mut random = Random::new(from);
    // A hundred clusters: text embeddings are not uniform either.
    let mut vector = |id: u64| {
        let centre = Random::new(id % 100).normals(dim);
        let noise = random.normals(dim);
        centre.iter().zip(noise).map(|(c, n)| c + 0.5 * n).collect()
    };
    let payload = |id| json!({"text": "a sentence of about sixty characters ".repeat(2), "n": id});
    (from..from + count)
        .map(|id| Point {
            id: PointId::Number(id),
            vector: vector(id),
            payload: payload(id).as_object().unwrap().clone(),
        })
        .collect()
}

fn commits(path: &Path, dim: usize, batch: u64) {
    let settings = Settings::new(Metric::Cosine, dim, Spec::Flat);
    let mut c = Collection::create(&path.join(format!("commit{batch}")), settings).unwrap();
    let mut times: Vec<Duration> = (0..200)
        .map(|at| {
            let points = points(at * batch, batch, dim);
            let start = Instant::now();
            c.upsert(points).unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    let at = |share: usize| times[times.len() * share / 100];
    println!("commit of {batch} points: p50 {:.2?}, p99 {:.2?}", at(50), at(99));
}

fn import(path: &Path, count: u64, dim: usize, spec: Spec) {
    let path = path.join(spec.to_string());
    let settings = Settings::new(Metric::Cosine, dim, spec);
    let batches: Vec<Vec<Point>> = (0..count / 1000).map(|b| points(b * 1000, 1000, dim)).collect();
    let start = Instant::now();
    let mut c = Collection::create(&path, settings).unwrap();
    for batch in batches {
        c.upsert(batch).unwrap();
    }
    let written = start.elapsed();
    c.flush().unwrap();
    println!("{spec}: {count} x {dim} durable in {written:.2?}, sealed in {:.2?}", start.elapsed());
    let start = Instant::now();
    c.compact().unwrap();
    println!("{spec}: compacted in {:.2?}", start.elapsed());
    drop(c);
    let start = Instant::now();
    let c = Collection::open(&path).unwrap();
    let info = c.info();
    println!("{spec}: opened in {:.2?}, {} MB", start.elapsed(), info.bytes_disk / 1_000_000);
    let queries: Vec<Vec<f32>> =
        points(count, 200, dim).into_iter().map(|point| point.vector).collect();
    let run = |filter: &Filter, effort| {
        let start = Instant::now();
        let ids = queries.iter().take(if filter.is_empty() { 200 } else { 5 }).map(|vector| {
            let vector = vector.clone();
            let query = Query { vector, k: 10, filter: filter.clone(), effort };
            c.search(&query).unwrap().into_iter().map(|found| found.id).collect::<Vec<_>>()
        });
        let ids: Vec<Vec<PointId>> = ids.collect();
        (start.elapsed() / ids.len() as u32, ids)
    };
    let (near, got) = run(&Filter::default(), Effort::Default);
    let (exact, expected) = run(&Filter::default(), Effort::Exact);
    let same = got.iter().zip(&expected).flat_map(|(a, b)| a.iter().filter(|id| b.contains(id)));
    let recall = same.count() as f64 / (10 * got.len()) as f64;
    let (filtered, _) = run(&Filter { must: vec!["n=77".parse().unwrap()] }, Effort::Default);
    println!("{spec}: search {near:.2?}, exact {exact:.2?}, recall@10 {recall:.3}");
    println!("{spec}: filtered by payload {filtered:.2?}");
}

fn main() {
    let args: Vec<String> = std::env::args().filter(|arg| arg != "--bench").collect();
    let number = |at: usize, default| args.get(at).map_or(default, |arg| arg.parse().unwrap());
    let (count, dim) = (number(1, 100_000), number(2, 384) as usize);
    let place = match args.get(3) {
        Some(path) => tempfile::tempdir_in(path),
        None => tempfile::tempdir(),
    };
    let place = place.unwrap();
    for batch in [1, 10, 100, 1000] {
        commits(place.path(), dim, batch);
    }
    for spec in [Spec::Flat, Spec::default()] {
        import(place.path(), count, dim, spec);
    }
}
