//! `kvant index info FILE`.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::plan::Told;
use crate::args::IndexInfo;
use crate::print;

/// What `--json` prints.
#[derive(Serialize)]
struct Info<'a> {
    file: &'a Path,
    index: String,
    metric: String,
    rows: usize,
    dim: usize,
    /// How hard searches try that say nothing of it, where that was found by trying, and for how
    /// many rows.
    effort: Option<Told>,
    k: Option<usize>,
    bytes_disk: u64,
    /// Of links and the like.
    bytes_shape: u64,
    /// Of what is searched.
    bytes_code: u64,
    /// Of what measures again.
    bytes_rerank: u64,
    bytes_per_vector: f64,
    bytes_per_vector_hot: f64,
    /// Whether all of it was held against its checksums.
    verified: bool,
}

pub(super) fn run(args: &IndexInfo) -> anyhow::Result<()> {
    let bytes_disk = kvant_storage::read_file(&args.file)?.len() as u64;
    let stored = super::open(&args.file, args.verify)?;
    let (sizes, rows) = (stored.sizes(), stored.len());
    let tuning = stored.tuning()?;
    let info = Info {
        file: &args.file,
        index: stored.spec().to_string(),
        metric: stored.metric().to_string(),
        rows,
        dim: stored.dim(),
        effort: tuning.and_then(|tuning| Told::of(tuning.effort)),
        k: tuning.map(|tuning| tuning.k),
        bytes_disk,
        bytes_shape: sizes.shape,
        bytes_code: sizes.code,
        bytes_rerank: sizes.rerank,
        bytes_per_vector: bytes_disk as f64 / rows.max(1) as f64,
        bytes_per_vector_hot: sizes.hot_per_row(rows),
        verified: args.verify,
    };
    if args.json {
        return print::json(&info);
    }
    let each = |bytes: u64| {
        format!("{}, {:.1} bytes a row", print::size(bytes), bytes as f64 / rows.max(1) as f64)
    };
    let mut text = String::new();
    for (name, value) in [
        ("index", info.index),
        ("metric", info.metric),
        ("rows", rows.to_string()),
        ("dim", info.dim.to_string()),
        ("shape", each(sizes.shape)),
        ("searched", each(sizes.code)),
        ("reranked", each(sizes.rerank)),
        ("on disk", each(bytes_disk)),
    ] {
        writeln!(text, "{name:<11} {value}")?;
    }
    if let (Some(effort), Some(k)) = (info.effort, info.k) {
        let (Told::Ef(count) | Told::Probes(count)) = effort;
        let what = if matches!(effort, Told::Ef(_)) { "candidates" } else { "lists" };
        writeln!(text, "{:<11} {count} {what} for {k} rows", "effort")?;
    }
    if args.verify {
        writeln!(text, "{:<11} all checksums hold", "verified")?;
    }
    print::all(&text)
}
