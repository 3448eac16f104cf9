//! What durable writing, sealing, opening and searching cost on this machine's disk.
//!
//! `cargo bench -p kvant-db --bench write -- [POINTS] [DIM] [DIRECTORY]`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use kvant_db::{
    Change, Collection, Config, Database, Dense, Effort, Metric, Payloads, Point, PointId, Search,
    Vector, Vectors, Wish, With,
};
use kvant_testkit::Random;
use serde_json::json;

const BATCH: u64 = 256;

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
            vectors: Vectors::from([(String::new(), Vector::Dense(vector(id)))]),
            payload: payload(id).as_object().unwrap().clone(),
            ttl: None,
        })
        .collect()
}

fn batches(count: u64, dim: usize) -> Vec<Change> {
    let starts = (0..count).step_by(BATCH as usize);
    starts.map(|from| Change::upsert(points(from, BATCH.min(count - from), dim))).collect()
}

/// Wait of one writer for single batches.
fn commits(c: &Collection, dim: usize, batch: u64) {
    let mut times: Vec<Duration> = (0..200)
        .map(|at| {
            let change = Change::upsert(points(at * batch, batch, dim));
            let start = Instant::now();
            c.write(change).unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    let at = |share: usize| times[times.len() * share / 100];
    println!("durable batch of {batch} points: p50 {:.2?}, p99 {:.2?}", at(50), at(99));
}

fn told(what: &str, count: u64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{what}: {count} points in {seconds:.2} s, {:.0} points/s", count as f64 / seconds);
}

/// So many writers, each batch durable before the writer's next one.
fn write(c: &Collection, batches: Vec<Change>, (writers, count): (usize, u64)) {
    let batches = Mutex::new(batches.into_iter());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                loop {
                    let Some(batch) = batches.lock().unwrap().next() else { return };
                    c.write(batch).unwrap();
                }
            });
        }
    });
    told(&format!("batches of {BATCH}, each durable, {writers} writers"), count, start);
}

/// One wait for the disk at the end.
fn stream(c: &Collection, batches: Vec<Change>, count: u64) {
    let start = Instant::now();
    let mut last = None;
    for batch in batches {
        last = Some(c.submit(batch).unwrap());
    }
    c.settle(last.unwrap()).unwrap();
    told(&format!("batches of {BATCH}, one wait at the end"), count, start);
    assert_eq!(c.len() as u64, count);
}

fn seal(c: &Collection) {
    let start = Instant::now();
    c.flush().unwrap();
    while c.optimize().unwrap() {}
    let info = c.info();
    println!(
        "sealed and merged {:.2?} after that: {} segments, {} MB",
        start.elapsed(),
        info.segments.len(),
        info.bytes_disk / 1_000_000
    );
}

/// Whole points.
fn all() -> With {
    With { payload: Payloads::All, vectors: Wish::All }
}

fn search(c: &Collection, (count, dim): (u64, usize)) {
    let queries = points(count, 200, dim).into_iter().filter_map(|mut p| p.vectors.remove(""));
    let queries: Vec<Vector> = queries.collect();
    let run = |effort| {
        let start = Instant::now();
        let ids = queries.iter().map(|vector| {
            let near = Search { effort, ..Search::nearest("", vector.clone()) };
            c.search(&near, &all()).unwrap().into_iter().map(|s| s.found.id).collect::<Vec<_>>()
        });
        let ids: Vec<Vec<PointId>> = ids.collect();
        (start.elapsed() / ids.len() as u32, ids)
    };
    let (near, got) = run(Effort::Default);
    let (exact, expected) = run(Effort::Exact);
    let same = got.iter().zip(&expected).flat_map(|(a, b)| a.iter().filter(|id| b.contains(id)));
    let recall = same.count() as f64 / (10 * got.len()) as f64;
    println!("search {near:.2?}, exact {exact:.2?}, recall@10 {recall:.3}");
}

fn run(path: &Path, count: u64, dim: usize) {
    let database = Database::open(path).unwrap();
    let config = Config::single(Dense::new(dim, Metric::Cosine));
    let create = |name: &str| database.create(name, &config).unwrap();
    for batch in [1, 10, 100, 1000] {
        commits(&create(&format!("commit {batch}")), dim, batch);
    }
    for writers in [1, 8] {
        let c = create(&format!("writers {writers}"));
        write(&c, batches(count, dim), (writers, count));
        seal(&c);
        database.drop_collection(&format!("writers {writers}")).unwrap();
    }
    let c = create("stream");
    stream(&c, batches(count, dim), count);
    seal(&c);
    database.flush().unwrap();
    search(&c, (count, dim));
    drop((c, database));
    let start = Instant::now();
    let database = Database::open(path).unwrap();
    let c = database.collection("stream").unwrap();
    let opened = start.elapsed();
    search(&c, (count, dim));
    println!("opened in {opened:.2?}, {} MB of log", database.log_bytes() / 1_000_000);
}

fn main() {
    let args: Vec<String> = std::env::args().filter(|arg| arg != "--bench").collect();
    let number = |at: usize, default| args.get(at).map_or(default, |arg| arg.parse().unwrap());
    let (count, dim) = (number(1, 100_000), number(2, 384) as usize);
    let place = match args.get(3) {
        Some(path) => tempfile::tempdir_in(path),
        None => tempfile::tempdir(),
    };
    run(place.unwrap().path(), count, dim);
}
