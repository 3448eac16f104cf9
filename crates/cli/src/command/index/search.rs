//! `kvant index search FILE --queries FILE`.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kvant_db::source::{Format, npy};
use kvant_index::{
    Budget, Certainty, Effort, Hit, Metric, SearchError, SearchOptions, SearchResult,
};
use serde::Serialize;

use super::Vectors;
use crate::args::IndexSearch;
use crate::progress::Audience;
use crate::{place, print};

/// What `--json` prints.
#[derive(Serialize)]
struct Found<'a> {
    file: &'a Path,
    index: String,
    /// How to read the scores.
    metric: String,
    queries: usize,
    k: usize,
    threads: usize,
    /// Time of the search alone, all queries in one call.
    seconds: f64,
    queries_per_s: f64,
    /// Queries that were ended early.
    truncated: usize,
    /// Where the rows went, if anywhere.
    out: Option<&'a Path>,
    /// For each query in order; none where they went to a file.
    results: Option<Vec<Answer>>,
}

/// What was found for one query, closest first.
#[derive(Serialize)]
struct Answer {
    certainty: &'static str,
    rows: Vec<u32>,
    scores: Vec<f32>,
}

pub(super) fn run(args: &IndexSearch) -> anyhow::Result<()> {
    if let Some(out) = &args.out {
        place::new_file(out)?;
        if Format::of(out) != Some(Format::Npy) {
            bail!("{}: rows are written as .npy", out.display());
        }
    }
    let stored = super::open(&args.file, args.verify)?;
    let index = stored.index()?;
    let queries = Vectors::read(&args.queries, "test", Audience::of(args.json))?;
    queries.hold_to(stored.dim(), &args.queries)?;
    let allowed =
        args.filter_mask.as_deref().map(|path| super::mask(path, stored.len())).transpose()?;
    let effort = super::effort(args.effort, &stored.spec());
    let effort = effort.with_context(|| args.file.display().to_string())?;
    let began = Instant::now();
    let deadline = args.timeout.and_then(|ms| began.checked_add(Duration::from_millis(ms)));
    let options = SearchOptions {
        k: args.k,
        effort: if args.exact { Effort::Exact } else { effort },
        allowed: allowed.as_ref(),
        budget: Budget { distances: args.max_distances, deadline, cancel: None },
    };
    let found = index.search_batch(&queries.data, &options, args.threads.get());
    let found = match found {
        // It names the file.
        Err(error @ SearchError::Damaged { .. }) => return Err(error.into()),
        found => found.with_context(|| args.file.display().to_string())?,
    };
    let seconds = began.elapsed().as_secs_f64();
    if let Some(out) = &args.out {
        let ids = ids(found.iter().map(|result| &result.hits[..]), args.k);
        kvant_storage::write_new_file(out, &npy::encode_whole(&ids, args.k))?;
    }
    let metric = stored.metric();
    let cut = |result: &&SearchResult| result.certainty == Certainty::Truncated;
    let told = Found {
        file: &args.file,
        index: stored.spec().to_string(),
        metric: metric.to_string(),
        queries: found.len(),
        k: args.k,
        threads: args.threads.get(),
        seconds,
        queries_per_s: found.len() as f64 / seconds,
        truncated: found.iter().filter(cut).count(),
        out: args.out.as_deref(),
        results: match args.out {
            Some(_) => None,
            None => Some(found.iter().map(|result| answer(result, metric)).collect()),
        },
    };
    if args.json { print::json(&told) } else { print::all(&text(&told)?) }
}

/// Rows found, `k` for each query, −1 where there are fewer.
pub(in crate::command) fn ids<'a>(found: impl Iterator<Item = &'a [Hit]>, k: usize) -> Vec<i32> {
    let mut ids = Vec::new();
    for hits in found {
        ids.extend(hits.iter().take(k).map(|hit| hit.row.0 as i32));
        ids.resize(ids.len().next_multiple_of(k), -1);
        if hits.is_empty() {
            ids.resize(ids.len() + k, -1);
        }
    }
    ids
}

fn answer(result: &SearchResult, metric: Metric) -> Answer {
    let certainty = match result.certainty {
        Certainty::Exact => "exact",
        Certainty::Bounded => "bounded",
        Certainty::Truncated => "truncated",
    };
    let rows = result.hits.iter().map(|hit| hit.row.0).collect();
    let scores = result.hits.iter().map(|hit| metric.score(hit.distance)).collect();
    Answer { certainty, rows, scores }
}

/// A line for each query, or one for all that went to a file.
fn text(told: &Found<'_>) -> anyhow::Result<String> {
    let mut lines = String::new();
    let Found { queries, seconds, queries_per_s, truncated, .. } = told;
    for (query, answer) in told.results.iter().flatten().enumerate() {
        write!(lines, "{query}:")?;
        for (row, score) in answer.rows.iter().zip(&answer.scores) {
            write!(lines, "  {row} ({score:.4})")?;
        }
        writeln!(lines, "{}", if answer.certainty == "truncated" { "  …" } else { "" })?;
    }
    if let Some(out) = told.out {
        let cut = if *truncated > 0 { format!(", {truncated} ended early") } else { String::new() };
        let out = out.display();
        writeln!(lines, "{out}: {queries} queries, {seconds:.3} s, {queries_per_s:.0} /s{cut}")?;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use kvant_index::Row;

    use super::*;

    #[test]
    fn rows_are_filled_up_to_k() {
        let hits = |rows: &[u32]| -> Vec<Hit> {
            rows.iter().map(|&row| Hit { row: Row(row), distance: 0.0 }).collect()
        };
        let found = [hits(&[3, 1]), hits(&[]), hits(&[7])];
        assert_eq!(ids(found.iter().map(Vec::as_slice), 2), [3, 1, -1, -1, 7, -1]);
        assert_eq!(ids(found.iter().map(Vec::as_slice), 1), [3, -1, 7]);
    }
}
