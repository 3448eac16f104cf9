//! Our curve beside those of other engines.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;
use kvant_eval::ann::{Calls, Curves, Engine, LEVELS, engines, speed_at};
use kvant_eval::cost;
use kvant_index::Bitmap;

use super::super::super::index::Vectors;
use super::Task;
use crate::print::{Lean, Table};

/// Bytes of a file of results.
const RESULT_BYTES_MAX: u64 = 64 << 20;

/// The engines of other runs.
pub(super) fn overlays(paths: &[PathBuf]) -> anyhow::Result<Vec<Engine>> {
    let mut all = Vec::new();
    for path in paths {
        let bytes = kvant_storage::read_file(path)?;
        let shown = || path.display().to_string();
        anyhow::ensure!(bytes.len() as u64 <= RESULT_BYTES_MAX, "{}: too long", shown());
        let text = std::str::from_utf8(&bytes).with_context(shown)?;
        all.extend(engines(text, &stem(path)).with_context(shown)?);
    }
    Ok(all)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// All engines, ours first, as our lines say it.
pub(super) fn curves(
    task: &Task<'_>,
    base: &Vectors,
    lines: &str,
    overlays: Vec<Engine>,
) -> anyhow::Result<Curves> {
    let args = task.args;
    let mut all = engines(lines, "kvant")?;
    all.extend(overlays);
    Ok(Curves {
        data: args.of.base.display().to_string(),
        shape: (base.rows(), base.dim),
        metric: args.of.metric.to_string(),
        queries: task.queries.rows(),
        k: args.k,
        threads: args.threads.first().copied().unwrap_or(1),
        allowed: match &task.cells[..] {
            [cell] => cell.allowed.as_ref().map(Bitmap::count),
            _ => None,
        },
        date: cost::utc(SystemTime::now()),
        machine: cost::machine(),
        engines: all,
    })
}

/// Queries a second of every engine at the usual recalls, one query a call.
pub(super) fn levels(curves: &Curves) -> String {
    let names: Vec<String> = LEVELS.iter().map(|level| format!("@{level}")).collect();
    let mut head = vec![("one query a call", Lean::Left)];
    head.extend(names.iter().map(|name| (name.as_str(), Lean::Right)));
    let mut table = Table::new(&head);
    for engine in &curves.engines {
        let speed = |level| speed_at(engine, Calls::One, level);
        let shown = |level| speed(level).map_or_else(|| "–".to_owned(), |qps| format!("{qps:.0}"));
        table.row([engine.name.clone()].into_iter().chain(LEVELS.map(shown)).collect());
    }
    format!("\n{table}")
}
