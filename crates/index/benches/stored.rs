//! What it costs to search a file where it lies, against the same index in memory: pairs of runs,
//! one query a call on one thread.
//!
//! `cargo bench -p kvant-index --bench stored -- FOLDER METRIC EFFORT SPEC…`, where FOLDER holds
//! `base.npy` in f32, of which every sixtieth row is a query; EFFORT are candidates of a graph or
//! lists looked into. The file goes to the folder of temporary files. Said are the median time of a
//! query and the median ratio to the run in memory before it: of a file that was searched before
//! and is not known to be whole, of one that was scrubbed, and of one loaded to memory.

mod npy;

use std::time::Instant;

use kvant_index::{
    BuildOptions, Check, Effort, FloatRows, Index, Metric, ScrubOptions, SearchOptions, Spec,
    Stored,
};
use npy::floats;

const EVERY: usize = 60;
const ROUNDS: usize = 21;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let folder = args.next().ok_or("say which folder holds base.npy")?;
    let metric: Metric = args.next().ok_or("say which metric")?.parse()?;
    let effort: usize = args.next().ok_or("say how many candidates or lists")?.parse()?;
    let (all, dim) = floats(&format!("{folder}/base.npy"))?;
    let (mut base, mut queries) = (Vec::new(), Vec::new());
    for (at, row) in all.chunks_exact(dim).enumerate() {
        let to = if at % EVERY == 0 { &mut queries } else { &mut base };
        to.extend_from_slice(row);
        let from = to.len() - dim;
        metric.prepare(&mut to[from..]);
    }
    for spec in args {
        let rows = FloatRows::new(&base, dim, metric);
        let built =
            Index::build(&spec.parse()?, rows, &BuildOptions { threads: 2, ..Default::default() })?;
        let path = std::env::temp_dir().join(format!("stored-{}.kvant", std::process::id()));
        std::fs::write(&path, built.to_bytes())?;
        let bytes = kvant_storage::read_file(&path)?;
        let open = || Stored::open(bytes.clone(), &path, Check::Opened);
        let began = Instant::now();
        let mapped = open()?;
        let index = mapped.index()?;
        println!("\n{spec}: opened in {:.0} us", began.elapsed().as_secs_f64() * 1e6);
        let scrubbed = open()?;
        let began = Instant::now();
        let found = scrubbed.scrub(&ScrubOptions::default());
        let gb_s = found.bytes as f64 / 1e9 / began.elapsed().as_secs_f64();
        println!("  scrubbed at {gb_s:.1} GB/s");
        let mut loaded = open()?;
        loaded.load()?;
        let files =
            [("mapped", index), ("scrubbed", scrubbed.index()?), ("loaded", loaded.index()?)];
        let effort = match built.spec().shape {
            Spec::Flat | Spec::Hnsw { .. } | Spec::Qg { .. } => Effort::Ef(effort),
            Spec::Ivf { .. } | Spec::Forest { .. } | Spec::Lsh { .. } => Effort::Probes(effort),
        };
        let options = SearchOptions { effort, ..SearchOptions::default() };
        let mut ratios = vec![Vec::new(); files.len()];
        let (mut own, mut theirs) = (Vec::new(), vec![Vec::new(); files.len()]);
        for round in 0..=ROUNDS {
            for (at, (_, file)) in files.iter().enumerate() {
                let pair =
                    (seconds(&built, &queries, &options)?, seconds(file, &queries, &options)?);
                // The first one warms.
                if round > 0 {
                    ratios[at].push(pair.1 / pair.0);
                    own.push(pair.0);
                    theirs[at].push(pair.1);
                }
            }
        }
        println!("  in memory {:.2} us a query", median(&mut own) * 1e6);
        for (at, (name, _)) in files.iter().enumerate() {
            let (each, ratio) = (median(&mut theirs[at]) * 1e6, median(&mut ratios[at]));
            println!("  {name} {each:.2} us, {ratio:.4} of it");
        }
        println!("  {} bytes not read by searches", mapped.unverified_bytes());
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// The time of a query on average.
fn seconds<B: AsRef<[u8]> + Sync>(
    index: &Index<'_, B>,
    queries: &[f32],
    options: &SearchOptions<'_>,
) -> Result<f64, Box<dyn std::error::Error>> {
    let began = Instant::now();
    for query in queries.chunks_exact(index.dim()) {
        std::hint::black_box(index.search(query, options)?);
    }
    Ok(began.elapsed().as_secs_f64() / (queries.len() / index.dim()) as f64)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
