//! What memory an index takes and how fast it answers with the rerank copy left in the file.
//!
//! `cargo bench -p kvant-index --bench lean -- build BASE.npy METRIC SPEC FILE.kvant` makes a file
//! as `kvant index build` does; `… --bench lean -- FILE.kvant QUERIES.npy TRUTH.npy [searches
//! 10000] [efforts…]`: maps a file so made, copies the codes to memory, and searches
//! one query a call, round and round. TRUTH is the ids of the nearest, `<i4` or `<i8`. Memory is
//! what `/proc/self/status` calls anonymous or locked, less what it is after an empty index of the
//! same name was searched. With `MALLOC_MMAP_THRESHOLD_=131072` in the environment glibc gives back
//! what it no longer needs, else that counts as there for the index.
//! Searches that are timed come after those that warm what stays mapped.

mod npy;

use std::path::Path;
use std::time::Instant;

use kvant_index::{
    BuildOptions, Check, Effort, FloatRows, Index, Metric, SearchOptions, Spec, Stored,
};
use kvant_storage::{Bytes, Dir, FsDir, Name};

const K: usize = 10;
const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [verb, base, metric, spec, file] = &args[..]
        && verb == "build"
    {
        return build(base, metric.parse()?, (spec, file));
    }
    let [file, queries, truth, rest @ ..] = &args[..] else { return Ok(()) };
    let ((mut queries, dim), truth) = (npy::floats(queries)?, ids(truth)?);
    let count = queries.len() / dim;
    let mut numbers = rest.iter().filter_map(|arg| arg.parse::<usize>().ok());
    let searches = numbers.next().unwrap_or(10_000);
    let file = Path::new(file);
    let mut stored = Stored::open(mapped(file)?, file, Check::Opened)?;
    let before = empty(&stored, &queries[..dim])?;
    stored.load()?;
    queries.chunks_exact_mut(dim).for_each(|query| stored.metric().prepare(query));
    let index = stored.index()?;
    println!("{}, {} rows: {:?}", stored.spec(), stored.len(), stored.sizes());
    for effort in [0].into_iter().chain(numbers) {
        let effort = match (effort, stored.spec().shape) {
            (0, _) => Effort::Default,
            (n, Spec::Ivf { .. }) => Effort::Probes(n),
            (n, _) => Effort::Ef(n),
        };
        let options = SearchOptions { k: K, effort, ..SearchOptions::default() };
        let mut best = f64::INFINITY;
        for _ in 0..=ROUNDS {
            let begin = Instant::now();
            for query in queries.chunks_exact(dim).cycle().take(searches) {
                std::hint::black_box(index.search(query, &options)?);
            }
            best = best.min(begin.elapsed().as_secs_f64());
        }
        let recall = recall(&index, (&queries, &truth), &options)? / count as f64;
        let bytes = (held()? - before) as f64 / stored.len() as f64;
        let rate = searches as f64 / best;
        println!(
            "{effort:?}: recall {recall:.4}, {rate:.0} queries/s, {bytes:.1} bytes a row held"
        );
    }
    Ok(())
}

/// What is held with an index of the same kind over nothing.
fn empty(stored: &Stored, query: &[f32]) -> Result<u64, Box<dyn std::error::Error>> {
    let rows = FloatRows::new(&[], stored.dim(), stored.metric());
    let bytes = Index::build(&stored.spec(), rows, &BuildOptions::default())?.to_bytes();
    let empty = Stored::open(bytes.into(), Path::new("empty"), Check::Everything)?;
    let index = empty.index()?;
    for _ in 0..100 {
        index.search(query, &SearchOptions::default())?;
    }
    held()
}

/// Makes the file.
fn build(
    base: &str,
    metric: Metric,
    (spec, file): (&str, &str),
) -> Result<(), Box<dyn std::error::Error>> {
    let (mut base, dim) = npy::floats(base)?;
    base.chunks_exact_mut(dim).for_each(|row| metric.prepare(row));
    let begin = Instant::now();
    let options = BuildOptions { threads: 2, ..BuildOptions::default() };
    let index = Index::build(&spec.parse()?, FloatRows::new(&base, dim, metric), &options)?;
    println!("{spec}: built in {:.1} s by 2 threads", begin.elapsed().as_secs_f64());
    Ok(std::fs::write(file, index.to_bytes())?)
}

/// The mean share of the nearest that are found, summed over queries.
fn recall(
    index: &Index<'_, Bytes>,
    (queries, (ids, width)): (&[f32], &(Vec<u32>, usize)),
    options: &SearchOptions<'_>,
) -> Result<f64, Box<dyn std::error::Error>> {
    let mut sum = 0.0;
    for (query, truth) in queries.chunks_exact(index.dim()).zip(ids.chunks_exact(*width)) {
        let hits = index.search(query, options)?.hits;
        let found = hits.iter().filter(|hit| truth[..K].contains(&hit.row.0)).count();
        sum += found as f64 / K as f64;
    }
    Ok(sum)
}

fn mapped(file: &Path) -> Result<Bytes, Box<dyn std::error::Error>> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let name = file.file_name().and_then(|name| name.to_str()).ok_or("a file with a name")?;
    Ok(FsDir::open(folder.unwrap_or(Path::new(".")))?.read(&Name::new(name)?)?)
}

/// Bytes of this process that are anonymous or locked.
fn held() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let lines = status.lines().filter_map(|line| {
        let rest = line.strip_prefix("RssAnon:").or_else(|| line.strip_prefix("VmLck:"))?;
        rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    Ok(lines.sum::<u64>() * 1024)
}

/// The numbers of an array of ids, and how many a row has.
fn ids(path: &str) -> Result<(Vec<u32>, usize), Box<dyn std::error::Error>> {
    let bytes = std::fs::read(path)?;
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..header]).into_owned();
    let shape = text.split_once("'shape': (").map_or("", |(_, rest)| rest);
    let width = shape.split([',', ')']).nth(1).map_or("", str::trim).parse()?;
    let step = if text.contains("'<i8'") { 8 } else { 4 };
    let number = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    Ok((bytes[header..].chunks_exact(step).map(number).collect(), width))
}
