//! `kvant index build --base FILE --metric M --index SPEC --out FILE`.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use kvant_index::{BuildOptions, FloatRows, Index};
use serde::Serialize;

use super::Vectors;
use super::plan::{Account, Planned, plan};
use crate::args::{IndexBuild, Indexing};
use crate::progress::{Audience, Progress, Unit};
use crate::{place, print};

/// What `--json` prints.
#[derive(Serialize)]
struct Built<'a> {
    /// The new file.
    out: &'a Path,
    index: String,
    metric: String,
    rows: usize,
    dim: usize,
    /// Bytes of the file.
    bytes_disk: u64,
    /// The same over the rows.
    bytes_per_vector: f64,
    /// Bytes a row that searches go through: without what measures again.
    bytes_per_vector_hot: f64,
    /// Time of the build alone.
    seconds_build: f64,
    /// How the index was chosen, if it was.
    plan: Option<Account>,
    /// Time of it all, reading and writing included.
    seconds: f64,
}

pub(super) fn run(args: &IndexBuild) -> anyhow::Result<()> {
    let began = Instant::now();
    let (of, audience) = (&args.of, Audience::of(args.json));
    place::new_file(&args.out)?;
    let base = base(of, audience)?;
    let Made { index, account, seconds: seconds_build } =
        build(of, &base, (args.threads.get(), args.k), audience)?;
    let mut sink = kvant_storage::stream_new_file(&args.out)?;
    index.write(&mut *sink)?;
    sink.publish()?;
    let bytes_disk = std::fs::metadata(&args.out)
        .with_context(|| format!("{}: cannot read", args.out.display()))?
        .len();
    let rows = base.rows();
    let built = Built {
        out: &args.out,
        index: index.spec().to_string(),
        metric: of.metric.to_string(),
        rows,
        dim: base.dim,
        bytes_disk,
        bytes_per_vector: bytes_disk as f64 / rows as f64,
        bytes_per_vector_hot: index.sizes().hot_per_row(rows),
        seconds_build,
        plan: account,
        seconds: began.elapsed().as_secs_f64(),
    };
    if args.json {
        return print::json(&built);
    }
    if let Some(account) = &built.plan {
        print::all(&account.text()?)?;
    }
    print::line(&format!(
        "{}: {} over {rows} rows, {:.1} bytes each ({:.1} searched), built in {seconds_build:.1} \
         s, {:.1} s in all",
        args.out.display(),
        built.index,
        built.bytes_per_vector,
        built.bytes_per_vector_hot,
        built.seconds
    ))
}

/// The rows to index, as the metric wants them.
pub(in crate::command) fn base(of: &Indexing, audience: Audience) -> anyhow::Result<Vectors> {
    let mut base = Vectors::read(&of.base, "train", audience)?;
    base.prepare(of.metric);
    Ok(base)
}

/// An index, and how it came about.
#[derive(Debug)]
pub(in crate::command) struct Made<'a> {
    pub(in crate::command) index: Index<'a>,
    pub(in crate::command) account: Option<Account>,
    /// Seconds that its build took, the choice apart.
    pub(in crate::command) seconds: f64,
}

/// The index over `base`, built on `threads` threads, and chosen for searches of `k` rows where
/// that is wanted.
pub(in crate::command) fn build<'a>(
    of: &Indexing,
    base: &'a Vectors,
    (threads, k): (usize, usize),
    audience: Audience,
) -> anyhow::Result<Made<'a>> {
    let options = BuildOptions { seed: of.seed, threads, ..BuildOptions::default() };
    let ef_construction = of.ef_construction.unwrap_or(options.ef_construction);
    let options = BuildOptions { ef_construction, ..options };
    let Planned { spec, account } = {
        let bar = Progress::new("trying", None, Unit::Items, audience);
        let told = |count: usize| bar.advance(count as u64);
        plan(of, base, k, &BuildOptions { progress: Some(&told), ..options })?
    };
    let bar = Progress::new("indexing", Some(base.rows() as u64), Unit::Items, audience);
    let told = |count: usize| bar.advance(count as u64);
    let options = BuildOptions { progress: Some(&told), ..options };
    let began = Instant::now();
    let rows = FloatRows::new(&base.data, base.dim, of.metric);
    let index = Index::build(&spec, rows, &options);
    let index = index.with_context(|| of.base.display().to_string())?;
    let index = match account.as_ref().and_then(|account| account.tuning) {
        Some(tuning) => index.tuned(tuning),
        None => index,
    };
    Ok(Made { index, account, seconds: began.elapsed().as_secs_f64() })
}
