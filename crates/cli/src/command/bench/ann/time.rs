//! How long searches take, one a call and all in one call.

use std::time::{Duration, Instant};

use kvant_index::{Hit, Index, SearchOptions};
use kvant_model::Cores;

use super::super::super::index::ids;
use super::super::median;
use super::{Batch, Predicate, Task};

/// Queries before anything is measured.
const WARM: usize = 50;
/// Time that single queries of one repetition take, about, and the fewest of them.
const TIME: Duration = Duration::from_millis(500);
const LEAST: usize = 50;

/// What one setting gave.
pub(super) struct Timed {
    pub(super) ids: Vec<i32>,
    pub(super) qps_one: f64,
    pub(super) batches: Vec<Batch>,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// Times both kinds of call, `args.reps` times each.
pub(super) fn measure<B: AsRef<[u8]> + Sync>(
    task: &Task<'_>,
    index: &Index<'_, B>,
    (options, predicate): (&SearchOptions<'_>, Option<&Predicate>),
) -> anyhow::Result<Timed> {
    let (args, queries) = (task.args, task.queries);
    let warm = WARM.min(queries.rows()) * queries.dim;
    let (mut batches, mut found) = (Vec::new(), Vec::new());
    for &threads in &args.threads {
        hold(args.cores.as_ref(), threads)?;
        index.search_batch(&queries.data[..warm], options, threads)?;
        let mut seconds = Vec::new();
        for _ in 0..args.reps {
            let began = Instant::now();
            let own = predicate.map(Predicate::allowed);
            let options = SearchOptions { allowed: own.as_ref().or(options.allowed), ..*options };
            found = index.search_batch(&queries.data, &options, threads)?;
            seconds.push(began.elapsed().as_secs_f64());
        }
        batches.push(Batch { threads, qps: queries.rows() as f64 / median(&mut seconds) });
    }
    let hits: Vec<&[Hit]> = found.iter().map(|result| &result.hits[..]).collect();
    let ids = ids(hits.into_iter(), args.k);
    hold(args.cores.as_ref(), 1)?;
    let (qps_one, mut calls) = one_by_one(task, index, (options, predicate))?;
    let p50_ms = median(&mut calls);
    let p99_ms = calls[(calls.len() * 99).div_ceil(100) - 1];
    Ok(Timed { ids, qps_one, batches, p50_ms, p99_ms })
}

/// Queries a second of single calls, and the milliseconds of each.
fn one_by_one<B: AsRef<[u8]> + Sync>(
    task: &Task<'_>,
    index: &Index<'_, B>,
    (options, predicate): (&SearchOptions<'_>, Option<&Predicate>),
) -> anyhow::Result<(f64, Vec<f64>)> {
    let queries = task.queries;
    let each = || queries.data.chunks_exact(queries.dim);
    let began = Instant::now();
    let tried = each().take(3).map(|query| index.search(query, options).map(drop));
    let tried: usize = tried.collect::<Result<Vec<()>, _>>()?.len();
    let single = began.elapsed().as_secs_f64() / tried.max(1) as f64;
    let count = ((TIME.as_secs_f64() / single) as usize).max(LEAST).min(queries.rows());
    let (mut seconds, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..task.args.reps {
        let round = Instant::now();
        for query in each().take(count) {
            let call = Instant::now();
            let own = predicate.map(Predicate::allowed);
            let options = SearchOptions { allowed: own.as_ref().or(options.allowed), ..*options };
            std::hint::black_box(index.search(query, &options)?);
            calls.push(call.elapsed().as_secs_f64() * 1e3);
        }
        seconds.push(round.elapsed().as_secs_f64());
    }
    Ok((count as f64 / median(&mut seconds), calls))
}

/// Binds this thread, and those it starts, to the first `threads` of the cores, if there are any.
fn hold(cores: Option<&Cores>, threads: usize) -> anyhow::Result<()> {
    let Some(cores) = cores else { return Ok(()) };
    let numbers: Vec<String> =
        cores.numbers().iter().take(threads).map(ToString::to_string).collect();
    let first: Cores = numbers.join(",").parse()?;
    Ok(first.hold()?)
}
