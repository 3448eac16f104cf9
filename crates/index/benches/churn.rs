//! What changes cost: rows put and removed a second, searches meanwhile, and recall after half of
//! the rows were replaced, beside that of an index built anew.
//!
//! `cargo bench -p kvant-index --bench churn -- BASE.npy l2|cos SPEC [rows a put 1] [threads 1]
//! [ef 0]`. The first half of the base is put and compacted; then, tenth by tenth, rows of it are
//! removed and rows of the second half put, with a compaction whenever the index wants one. The
//! last 1000 rows of the base are the queries.

mod npy;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use kvant_index::{Effort, IndexSpec, Live, LiveOptions, LiveSearch, Metric};
use npy::floats;

const K: usize = 10;
const QUERIES: usize = 1000;
const ROUNDS: usize = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [base, metric, spec, rest @ ..] = &args[..] else { return Ok(()) };
    let metric = if metric == "cos" { Metric::Cosine } else { Metric::Euclid };
    let spec: IndexSpec = spec.parse()?;
    let number = |at: usize, other| rest.get(at).and_then(|arg| arg.parse().ok()).unwrap_or(other);
    let (each, threads, ef): (usize, usize, usize) = (number(0, 1), number(1, 1), number(2, 0));
    let (base, dim) = floats(base)?;
    let (base, queries) = base.split_at(base.len() - QUERIES * dim);
    let half = base.len() / dim / 2;
    let vectors = |from: usize, to: usize| &base[from * dim..to * dim];
    let ids = |from: usize, to: usize| (from as u64..to as u64).collect::<Vec<_>>();
    let effort = if ef == 0 { Effort::Default } else { Effort::Ef(ef) };
    let test = Test { queries, dim, effort };
    let options = LiveOptions { threads, ..LiveOptions::default() };
    let live = Live::new(spec, dim, metric, options);
    live.put(&ids(0, half), vectors(0, half))?;
    let begin = Instant::now();
    live.compact()?;
    println!("{half} rows built in {:.2} s by {threads} threads", begin.elapsed().as_secs_f64());
    test.say("first half", &live)?;
    let (mut putting, mut removing, mut compacting, mut compactions) = (0.0, 0.0, 0.0, 0);
    for round in 0..ROUNDS {
        let (from, to) = (half * round / ROUNDS, half * (round + 1) / ROUNDS);
        let begin = Instant::now();
        for gone in ids(from, to).chunks(each) {
            live.remove(gone);
        }
        removing += begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        for at in (half + from..half + to).step_by(each) {
            let last = (half + to).min(at + each);
            live.put(&ids(at, last), vectors(at, last))?;
        }
        putting += begin.elapsed().as_secs_f64();
        if round + 1 == ROUNDS / 2 {
            test.say("a quarter replaced", &live)?;
        }
        if live.wants_compaction() {
            let begin = Instant::now();
            live.compact()?;
            compacting += begin.elapsed().as_secs_f64();
            compactions += 1;
        }
    }
    let rate = |seconds: f64| half as f64 / seconds;
    println!("put {:.0} rows/s, removed {:.0} rows/s", rate(putting), rate(removing));
    test.say("all replaced", &live)?;
    let begin = Instant::now();
    live.compact()?;
    compacting += begin.elapsed().as_secs_f64();
    println!("{} compactions took {compacting:.2} s together", compactions + 1);
    test.say("and compacted", &live)?;
    let fresh = Live::new(spec, dim, metric, options);
    fresh.put(&ids(half, 2 * half), vectors(half, 2 * half))?;
    fresh.compact()?;
    test.say("built anew", &fresh)?;
    meanwhile(&test, &live, (vectors(0, half), each))
}

struct Test<'a> {
    queries: &'a [f32],
    dim: usize,
    effort: Effort,
}

impl Test<'_> {
    fn found(&self, live: &Live, effort: Effort) -> Vec<Vec<u64>> {
        let search = LiveSearch { k: K, effort, ..LiveSearch::default() };
        let queries = self.queries.chunks_exact(self.dim);
        let found = queries.filter_map(|query| live.search(query, &search).ok());
        found.map(|found| found.hits.iter().map(|hit| hit.id).collect()).collect()
    }

    fn say(&self, what: &str, live: &Live) -> Result<(), Box<dyn std::error::Error>> {
        let truth = self.found(live, Effort::Exact);
        let mut seconds = f64::INFINITY;
        let mut found = Vec::new();
        for _ in 0..3 {
            let begin = Instant::now();
            found = self.found(live, self.effort);
            seconds = seconds.min(begin.elapsed().as_secs_f64());
        }
        let pairs = found.iter().zip(&truth);
        let hits: usize = pairs.map(|(f, t)| f.iter().filter(|id| t.contains(id)).count()).sum();
        let (recall, now) = (hits as f64 / (truth.len() * K) as f64, live.snapshot());
        println!(
            "{what}: recall {recall:.4}, {:.0} queries/s; {} rows, {} dead, {} tails",
            truth.len() as f64 / seconds,
            now.rows(),
            now.dead(),
            now.tails()
        );
        if found.len() == truth.len() { Ok(()) } else { Err("a search was refused".into()) }
    }
}

/// Searches on one thread while another puts.
fn meanwhile(
    test: &Test<'_>,
    live: &Live,
    (vectors, each): (&[f32], usize),
) -> Result<(), Box<dyn std::error::Error>> {
    let (stop, done, put) = (AtomicBool::new(false), AtomicUsize::new(0), 4096);
    let begin = Instant::now();
    let slowest = std::thread::scope(|scope| {
        let searching = scope.spawn(|| {
            let search = LiveSearch { k: K, effort: test.effort, ..LiveSearch::default() };
            let mut slowest = 0f64;
            for query in test.queries.chunks_exact(test.dim).cycle() {
                let begin = Instant::now();
                let _ = live.search(query, &search);
                slowest = slowest.max(begin.elapsed().as_secs_f64());
                done.fetch_add(1, Ordering::Relaxed);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            slowest
        });
        for (at, part) in vectors[..put * test.dim].chunks(each * test.dim).enumerate() {
            let first = (1 << 32) + (at * each) as u64;
            let ids: Vec<u64> = (first..).take(part.len() / test.dim).collect();
            live.put(&ids, part)?;
        }
        stop.store(true, Ordering::Relaxed);
        let slowest = searching.join().map_err(|_| "a search panicked")?;
        Ok::<f64, Box<dyn std::error::Error>>(slowest)
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "together: {:.0} rows/s put, {:.0} queries/s, the slowest search {:.2} ms",
        put as f64 / seconds,
        done.load(Ordering::Relaxed) as f64 / seconds,
        1e3 * slowest
    );
    Ok(())
}
