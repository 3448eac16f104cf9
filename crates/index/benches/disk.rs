//! Searching an index that is larger than the memory it may use: a graph and the rows measured
//! again on the disk, codes in memory.
//!
//! `cargo bench -p kvant-index --bench disk -- FILE ROWS DIM SPEC EF LIMIT`: makes the index of
//! ROWS generated vectors of DIM values, if FILE is not there, and else searches it with EF
//! candidates. Whenever more than LIMIT MB of the file are resident, all of it is let go, from this
//! process and from the memory of the system (`dd` with `nocache`, Linux). Said are queries a
//! second without the time for that, what was read from the disk for a query, and what was resident
//! at most; with pages asked for at first touch only, and always.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use kvant_index::{
    BuildOptions, Check, Effort, FloatRows, Index, Metric, ReadAhead, ScrubOptions, SearchOptions,
    Stored,
};
use kvant_storage::Bytes;
use kvant_testkit::{Random, clustered};

type Done<T> = Result<T, Box<dyn std::error::Error>>;

const QUERIES: usize = 2000;
/// Queries between two looks at what is resident.
const STEP: usize = 20;
/// Queries of which the true neighbours are computed.
const KNOWN: usize = 200;
const MB: u64 = 1 << 20;

fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [path, rows, dim, spec, ef, limit] = &args[..] else {
        return Err("say FILE ROWS DIM SPEC EF LIMIT".into());
    };
    let (path, dim): (&Path, usize) = (path.as_ref(), dim.parse()?);
    let rows: usize = rows.parse()?;
    if !path.exists() {
        return make(path, (rows, dim), spec);
    }
    let bytes = kvant_storage::read_file(path)?;
    let before = memory()?.anonymous;
    let began = Instant::now();
    let mut stored = Stored::open(bytes.clone(), path, Check::Opened)?;
    println!("opened in {:.0} us", began.elapsed().as_secs_f64() * 1e6);
    stored.load()?;
    let held = memory()?.anonymous - before;
    println!("{} MB on disk, {} MB in memory", bytes.len() as u64 / MB, held / MB);
    let queries = vectors(rows + QUERIES, dim).split_off(rows * dim);
    let options = SearchOptions { effort: Effort::Ef(ef.parse()?), ..SearchOptions::default() };
    known(&stored, &queries[..KNOWN * dim], &options)?;
    for whole in [false, true] {
        if whole {
            stored.scrub(&ScrubOptions::default());
        }
        for ahead in [ReadAhead::First, ReadAhead::Always] {
            stored.read_ahead(ahead);
            println!("{ahead:?}, every block verified before: {whole}");
            run(&stored, (&bytes, path), &queries, (&options, limit.parse::<u64>()? * MB))?;
        }
    }
    Ok(())
}

fn vectors(count: usize, dim: usize) -> Vec<f32> {
    clustered(count, dim, 9)
}

fn make(path: &Path, (rows, dim): (usize, usize), spec: &str) -> Done<()> {
    let mut data = vectors(rows + QUERIES, dim);
    data.truncate(rows * dim);
    let began = Instant::now();
    let options = BuildOptions { threads: 2, ..BuildOptions::default() };
    let index = Index::build(&spec.parse()?, FloatRows::new(&data, dim, Metric::Euclid), &options)?;
    println!("built in {:.0} s", began.elapsed().as_secs_f64());
    let mut sink = kvant_storage::stream_passing_file(path)?;
    index.write(&mut *sink)?;
    sink.publish()?;
    Ok(())
}

/// Says how many of the true neighbours are found.
fn known(stored: &Stored, queries: &[f32], options: &SearchOptions<'_>) -> Done<()> {
    let index = stored.index()?;
    let every = SearchOptions { effort: Effort::Exact, ..*options };
    let truth = index.search_batch(queries, &every, 2)?;
    let found = index.search_batch(queries, options, 2)?;
    let hits: usize = found
        .iter()
        .zip(&truth)
        .map(|(found, truth)| {
            found.hits.iter().filter(|hit| truth.hits.iter().any(|t| t.row == hit.row)).count()
        })
        .sum();
    println!("recall {:.4}", hits as f64 / (truth.len() * options.k) as f64);
    Ok(())
}

fn run(
    stored: &Stored,
    (bytes, path): (&Bytes, &Path),
    queries: &[f32],
    (options, limit): (&SearchOptions<'_>, u64),
) -> Done<()> {
    let index = stored.index()?;
    let (mut seconds, mut most, mut drops) = (0.0, 0, 0);
    release(bytes, path)?;
    let mut order: Vec<usize> = (0..QUERIES).collect();
    let mut random = Random::new(3);
    (1..QUERIES).rev().for_each(|at| order.swap(at, random.below(at + 1)));
    let read = read()?;
    for part in order.chunks(STEP) {
        let began = Instant::now();
        for &at in part {
            std::hint::black_box(
                index.search(&queries[at * index.dim()..][..index.dim()], options)?,
            );
        }
        seconds += began.elapsed().as_secs_f64();
        let Memory { mapped, .. } = memory()?;
        most = most.max(mapped);
        if mapped > limit {
            release(bytes, path)?;
            drops += 1;
        }
    }
    let each = (self::read()? - read) as f64 / 1024.0 / QUERIES as f64;
    let (speed, most) = (QUERIES as f64 / seconds, most / MB);
    println!("  {speed:.0}/s, {each:.0} KiB read from the disk a query");
    println!("  {most} MB resident at most, let go {drops} times");
    Ok(())
}

/// Lets all of the file go.
fn release(bytes: &Bytes, path: &Path) -> Done<()> {
    bytes.release();
    let from = format!("if={}", path.display());
    let done =
        Command::new("dd").args([&from, "iflag=nocache", "count=0", "status=none"]).status()?;
    if done.success() { Ok(()) } else { Err("dd failed".into()) }
}

/// Bytes that this process holds.
struct Memory {
    anonymous: u64,
    mapped: u64,
}

fn memory() -> Done<Memory> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
    };
    let rss = field("Rss:").ok_or("no Rss")? * 1024;
    let anonymous = field("Anonymous:").ok_or("no Anonymous")? * 1024;
    Ok(Memory { anonymous, mapped: rss - anonymous })
}

/// Bytes that this process had read from the disk.
fn read() -> Done<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    Ok(line.ok_or("no read_bytes")?.parse()?)
}
