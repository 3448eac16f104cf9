//! `kvant index build --base FILE --metric M --index SPEC --out FILE`.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use kvant_index::{BuildOptions, FloatRows, Index, Stages};
use serde::Serialize;

use super::Vectors;
use super::part::{Kept, Parts};
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
    /// Whether it went on from what an ended build had kept.
    resumed: bool,
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
    let parts = args.checkpoint.0.map(|after| Parts::new(&args.out, after));
    let Made { index, account, seconds: seconds_build } =
        build(of, &base, (args.threads.get(), args.k), (audience, parts.as_ref()))?;
    let mut sink = kvant_storage::stream_new_file(&args.out)?;
    index.write(&mut *sink)?;
    sink.publish()?;
    let resumed = parts.as_ref().is_some_and(Parts::were_found);
    if let Some(parts) = &parts {
        parts.clear();
    }
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
        resumed,
        plan: account,
        seconds: began.elapsed().as_secs_f64(),
    };
    if args.json {
        return print::json(&built);
    }
    if let Some(account) = &built.plan {
        print::all(&account.text()?)?;
    }
    let gone_on = if resumed { ", going on from what an ended build had kept" } else { "" };
    print::line(&format!(
        "{}: {} over {rows} rows, {:.1} bytes each ({:.1} searched), built in {seconds_build:.1} \
         s, {:.1} s in all{gone_on}",
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
/// that is wanted; `parts` of it are kept, if there is a place for them.
pub(in crate::command) fn build<'a>(
    of: &Indexing,
    base: &'a Vectors,
    (threads, k): (usize, usize),
    (audience, parts): (Audience, Option<&Parts>),
) -> anyhow::Result<Made<'a>> {
    let options = BuildOptions { seed: of.seed, threads, ..BuildOptions::default() };
    let ef_construction = of.ef_construction.unwrap_or(options.ef_construction);
    let options = BuildOptions { ef_construction, ..options };
    let rows = FloatRows::new(&base.data, base.dim, of.metric);
    let Planned { spec, account, kept } = {
        let bar = Progress::new("trying", None, Unit::Items, audience);
        let told = |count: usize| bar.advance(count as u64);
        plan(of, (&rows, parts), k, &BuildOptions { progress: Some(&told), ..options })?
    };
    let build = parts.map(|parts| parts.of(options.identity(&spec, &rows)));
    if let Some((parts, build)) = parts.zip(build.as_ref()) {
        let plan = kept.as_ref().map(Kept::identity);
        parts.sweep(&[&[build.identity()][..], plan.as_slice()].concat());
    }
    let stages = build.as_ref().map(|build| build as &dyn Stages);
    let bar = Progress::new("indexing", Some(base.rows() as u64), Unit::Items, audience);
    let told = |count: usize| bar.advance(count as u64);
    let options = BuildOptions { progress: Some(&told), stages, ..options };
    let began = Instant::now();
    let index = Index::build(&spec, rows, &options);
    let index = index.with_context(|| of.base.display().to_string())?;
    let index = match account.as_ref().and_then(Account::tuning) {
        Some(tuning) => index.tuned(tuning),
        None => index,
    };
    Ok(Made { index, account, seconds: began.elapsed().as_secs_f64() })
}
