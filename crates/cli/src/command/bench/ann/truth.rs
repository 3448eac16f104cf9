//! The true neighbours: read from a file, or measured one and all.

use std::path::Path;

use anyhow::ensure;
use kvant_db::source::npy::Whole;
use kvant_index::{
    Bitmap, BuildOptions, Effort, FloatRows, Hit, Index, IndexSpec, SearchOptions, Spec,
};

use super::super::super::index::{Vectors, ids};
use crate::args::BenchAnn;

/// `k` rows for each query, −1 where there are fewer.
pub(super) fn of(
    args: &BenchAnn,
    base: &Vectors,
    queries: &Vectors,
    allowed: Option<&Bitmap>,
) -> anyhow::Result<Vec<i32>> {
    if let Some(path) = &args.ground_truth {
        return read(path, (queries.rows(), args.k), base.rows());
    }
    let spec = IndexSpec { shape: Spec::Flat, ..IndexSpec::default() };
    let rows = FloatRows::new(&base.data, base.dim, args.of.metric);
    let flat = Index::build(&spec, rows, &BuildOptions::default())?;
    let effort = Effort::Exact;
    let options = SearchOptions { k: args.k, effort, allowed, ..SearchOptions::default() };
    let threads = args.build_threads.unwrap_or(args.threads);
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
