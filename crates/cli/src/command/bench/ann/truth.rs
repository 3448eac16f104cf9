//! The true neighbours: read from a file, or measured one and all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::ensure;
use kvant_db::source::npy::Whole;
use kvant_index::{
    Bitmap, BuildOptions, Effort, FloatRows, Hit, Index, IndexSpec, SearchOptions, Spec,
};

use super::super::super::index::{Vectors, ids, mask};
use super::{Cell, Predicate, Task};

/// A cell for each mask, or one with all rows.
pub(super) fn cells(task: &Task<'_>, base: &Vectors) -> anyhow::Result<Vec<Cell>> {
    let args = task.args;
    if let Some(path) = &args.filter_column {
        return columns(task, base, path);
    }
    if args.masks.is_empty() {
        let truth = truth(task, base, None)?;
        return Ok(vec![Cell { mask: None, allowed: None, predicate: None, truth }]);
    }
    ensure!(
        args.ground_truth.is_none() || args.masks.len() == 1,
        "--ground-truth is that of one --filter-mask: give one mask, or leave it to be computed"
    );
    let cell = |path: &PathBuf| {
        let allowed = mask(path, base.rows())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let truth = truth(task, base, Some(&allowed))?;
        Ok(Cell { mask: Some(name), allowed: Some(allowed), predicate: None, truth })
    };
    args.masks.iter().map(cell).collect()
}

/// A cell for each bound on the numbers of a column.
fn columns(task: &Task<'_>, base: &Vectors, path: &Path) -> anyhow::Result<Vec<Cell>> {
    let bounds = &task.args.filter_below;
    ensure!(
        task.args.ground_truth.is_none() || bounds.len() == 1,
        "--ground-truth is that of one --filter-below: give one, or leave it to be computed"
    );
    let column = Arc::new(Whole::read(path)?.values);
    let (got, rows) = (column.len(), base.rows());
    ensure!(got == rows, "{}: {got} values, the index has {rows} rows", path.display());
    let cell = |&below: &i64| {
        let predicate = Predicate { column: Arc::clone(&column), below };
        let allowed = predicate.allowed();
        let truth = truth(task, base, Some(&allowed))?;
        let (mask, allowed) = (Some(format!("below {below}")), Some(allowed));
        Ok(Cell { mask, allowed, predicate: Some(predicate), truth })
    };
    bounds.iter().map(cell).collect()
}

/// `k` rows for each query, −1 where there are fewer.
fn truth(task: &Task<'_>, base: &Vectors, allowed: Option<&Bitmap>) -> anyhow::Result<Vec<i32>> {
    let (args, queries) = (task.args, task.queries);
    if let Some(path) = &args.ground_truth {
        return read(path, (queries.rows(), args.k), base.rows());
    }
    let spec = IndexSpec { shape: Spec::Flat, ..IndexSpec::default() };
    let rows = FloatRows::new(&base.data, base.dim, args.of.metric);
    let flat = Index::build(&spec, rows, &BuildOptions::default())?;
    let effort = Effort::Exact;
    let options = SearchOptions { k: args.k, effort, allowed, ..SearchOptions::default() };
    let threads = args.build_threads.unwrap_or_else(|| task.threads_most());
    let found = flat.search_batch(&queries.data, &options, threads)?;
    let hits: Vec<&[Hit]> = found.iter().map(|result| &result.hits[..]).collect();
    Ok(ids(hits.into_iter(), args.k))
}

/// The first `k` columns of the first `queries` rows of a file.
fn read(path: &Path, (queries, k): (usize, usize), rows: usize) -> anyhow::Result<Vec<i32>> {
    let shown = path.display();
    let whole = Whole::read(path)?;
    let (got, cols) = (whole.rows(), whole.cols);
    ensure!(
        got >= queries && cols >= k,
        "{shown}: neighbours of shape ({got}, {cols}), needed are at least ({queries}, {k})"
    );
    let mut truth = Vec::with_capacity(queries * k);
    for neighbours in whole.values.chunks_exact(cols).take(queries) {
        for &row in &neighbours[..k] {
            ensure!((-1..rows as i64).contains(&row), "{shown}: row {row} of {rows}");
            truth.push(row as i32);
        }
    }
    Ok(truth)
}
