//! Time, taken in turns: all models do a little, then all again in the opposite order, so that a
//! machine that grows slower or faster does so for each of them alike.

use std::hint::black_box;
use std::time::Instant;

use crate::metric::{median, percentile};
use crate::report::{Latency, Throughput};
use crate::{Embed, Failure};

/// Calls at the start of a turn that are not counted: caches still hold the other model.
const WARM: usize = 2;

/// How time is taken.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// Threads of one call.
    pub(crate) threads: usize,
    /// Counted turns of each model.
    pub(crate) rounds: usize,
    /// The least number of counted single-text calls of each model, over all turns.
    pub(crate) calls: usize,
    /// Told after each turn of a model.
    pub(crate) turned: &'a dyn Fn(),
}

/// What went wrong for the model of this number.
pub(crate) type Fault = (usize, Failure);

/// The latency of single-text calls of each model, on the same `texts` in the same order.
pub(crate) fn latencies(
    models: &[&dyn Embed],
    texts: &[&str],
    plan: &Plan<'_>,
) -> Result<Vec<Option<Latency>>, Fault> {
    let per_turn = plan.calls.div_ceil(plan.rounds.max(1));
    let mut samples = vec![Vec::new(); models.len()];
    if texts.is_empty() || per_turn == 0 {
        return Ok(samples.into_iter().map(latency).collect());
    }
    for round in 0..plan.rounds {
        for model in order(models.len(), round) {
            let once = |call: usize| {
                let text = [texts[(round * per_turn + call) % texts.len()]];
                let start = Instant::now();
                let vector = models[model].embed(&text, plan.threads);
                let elapsed = start.elapsed();
                black_box(vector.map_err(|cause| (model, cause))?);
                Ok::<f64, Fault>(elapsed.as_secs_f64() * 1e3)
            };
            for call in 0..WARM {
                once(call)?;
            }
            for call in 0..per_turn {
                samples[model].push(once(call)?);
            }
            (plan.turned)();
        }
    }
    Ok(samples.into_iter().map(latency).collect())
}

/// The throughput of each model on the whole of `texts`, after one turn that does not count.
pub(crate) fn throughputs(
    models: &[&dyn Embed],
    texts: &[&str],
    plan: &Plan<'_>,
) -> Result<Vec<Option<Throughput>>, Fault> {
    let mut runs = vec![Vec::new(); models.len()];
    if texts.is_empty() || plan.rounds == 0 {
        return Ok(runs.into_iter().map(throughput).collect());
    }
    for round in 0..=plan.rounds {
        for model in order(models.len(), round) {
            let start = Instant::now();
            let vectors = models[model].embed(texts, plan.threads);
            let elapsed = start.elapsed().as_secs_f64();
            black_box(vectors.map_err(|cause| (model, cause))?);
            if round > 0 {
                // No clock is finer than a nanosecond, and no division by zero.
                runs[model].push(texts.len() as f64 / elapsed.max(1e-9));
                (plan.turned)();
            }
        }
    }
    Ok(runs.into_iter().map(throughput).collect())
}

/// All models in order, or backwards in odd rounds.
fn order(models: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..models).map(move |i| if round.is_multiple_of(2) { i } else { models - 1 - i })
}

fn latency(mut samples_ms: Vec<f64>) -> Option<Latency> {
    samples_ms.sort_by(f64::total_cmp);
    let p50_ms = percentile(&samples_ms, 50.0).ok()?;
    let p99_ms = percentile(&samples_ms, 99.0).ok()?;
    Some(Latency { p50_ms, p99_ms, samples_ms })
}

fn throughput(runs: Vec<f64>) -> Option<Throughput> {
    Some(Throughput { texts_per_s: median(&runs).ok()?, runs })
}
