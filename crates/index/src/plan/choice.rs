//! Choosing among what was tried, and the account of it.

use std::cmp::Ordering;

use super::candidate::Ground;
use super::contest::{effort_among, recalls};
use super::sample::Sample;
use super::trial::{Trial, effort};
use super::{Plan, PlanError, PlanOptions, Reason, Step, Tried};
use crate::ivf::lists_of;
use crate::{IndexSpec, Spec, Tuning};

/// What the recalls count.
const WEIGHTS: [f64; 3] = [0.5, 0.25, 0.25];
/// Faster by no more than this is worth no more bytes.
const TENTH: f64 = 1.1;
/// A scan is taken where nothing is so much faster.
const TWICE: f64 = 2.0;
/// A quarter of a sample says how efforts grow.
const QUARTER: usize = 4;

/// Which of the trials.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    at: usize,
    /// The fastest other, and how many times as fast this is.
    next: Option<(usize, f64)>,
    is_scan: bool,
}

/// The mean logarithm of the queries a second; as many as a scan answers where one is not reached.
fn score(trial: &Trial<'_>, recalls: &[f64; 3], scan: f64) -> f64 {
    let speed = |&recall: &f64| trial.at(recall).map_or(scan, |reached| 1.0 / reached.seconds);
    recalls.iter().map(speed).zip(WEIGHTS).map(|(qps, weight)| weight * qps.ln()).sum()
}

/// Queries a second of a scan of the rows.
fn scan_speed(trials: &[Trial<'_>]) -> Option<f64> {
    let scans = trials.iter().filter(|trial| trial.spec.shape == Spec::Flat);
    let mut speeds = scans.filter_map(|trial| Some(1.0 / trial.reached.first()?.seconds));
    speeds.next()
}

/// The one to build.
pub(super) fn choose(
    trials: &[Trial<'_>],
    (ground, rows): (&Ground, usize),
    (sample, options): (&Sample, &PlanOptions<'_>),
) -> Result<Chosen, PlanError> {
    let recalls = recalls(options.recall);
    let slowest = trials.iter().flat_map(|trial| &trial.reached);
    let slowest = slowest.fold(f64::INFINITY, |least, reached| least.min(1.0 / reached.seconds));
    let scan = scan_speed(trials).unwrap_or(slowest);
    let scores: Vec<f64> = trials.iter().map(|trial| score(trial, &recalls, scan)).collect();
    let enough = |at: &usize| trials[*at].at(recalls[0]).is_some();
    let is_scan = |at: &usize| trials[*at].spec.shape == Spec::Flat;
    let by_score = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]).then(b.cmp(a));
    let all = || (0..trials.len()).filter(enough);
    let fastest = all().filter(|at| !is_scan(at)).max_by(by_score);
    let proof = all().find(is_scan);
    let whole = sample.len() + sample.asked() >= rows;
    let at = match (fastest, proof) {
        (None, Some(proof)) => return Ok(Chosen { at: proof, next: None, is_scan: true }),
        (None, None) => return Err(unreached(trials, ground, options)),
        (Some(fastest), Some(proof)) if whole && scores[fastest] - scores[proof] < TWICE.ln() => {
            let times = (scores[proof] - scores[fastest]).exp();
            return Ok(Chosen { at: proof, next: Some((fastest, times)), is_scan: true });
        }
        (Some(fastest), _) => {
            let near = all().filter(|at| !is_scan(at));
            let near = near.filter(|&at| scores[fastest] - scores[at] < TENTH.ln());
            near.min_by(|&a, &b| by_size(&trials[a], &trials[b])).unwrap_or(fastest)
        }
    };
    let next = all().filter(|&other| other != at && !is_scan(&other)).max_by(by_score);
    let times = next.map(|next| (next, (scores[at] - scores[next]).exp()));
    Ok(Chosen { at, next: times, is_scan: false })
}

fn by_size(a: &Trial<'_>, b: &Trial<'_>) -> Ordering {
    a.bytes().total_cmp(&b.bytes())
}

fn unreached(trials: &[Trial<'_>], ground: &Ground, options: &PlanOptions<'_>) -> PlanError {
    let best = trials.iter().max_by(|a, b| a.ceiling.recall.total_cmp(&b.ceiling.recall));
    let (spec, best) =
        best.map_or((IndexSpec::default(), 0.0), |trial| (trial.spec, trial.ceiling.recall));
    let given = ground.budget.unwrap_or(f64::INFINITY);
    PlanError::Unreached { given, recall: options.recall, spec, best }
}

/// The plan and the account of it.
pub(super) fn told(
    trials: &[Trial<'_>],
    chosen: Chosen,
    (ground, sample): (&Ground, &Sample),
    options: &PlanOptions<'_>,
) -> Result<Plan, PlanError> {
    let (trial, rows) = (&trials[chosen.at], ground.rows);
    let queries = sample.asked();
    let mut reasons =
        vec![Reason::Tried { indexes: trials.len(), rows: sample.len(), of: rows, queries }];
    reasons.extend(ground.budget.map(|bytes| Reason::Budget { bytes }));
    let tried = trials.iter().map(Trial::told).collect();
    if chosen.is_scan {
        let qps = |at: usize| trials[at].reached.first().map_or(0.0, |first| 1.0 / first.seconds);
        reasons.push(match chosen.next {
            Some((next, _)) => Reason::Close { qps: qps(chosen.at), fastest: qps(next) },
            None => Reason::Alone { recall: options.recall },
        });
        return Ok(Plan { spec: trial.spec, tuning: None, tried, reasons });
    }
    let named = |at: usize| settled(trials[at].spec, sample.len());
    let speed = |step: &Step| (step.recall, step.qps);
    reasons.push(Reason::Fastest {
        spec: named(chosen.at),
        speeds: trial.told().steps.iter().map(speed).collect(),
        next: chosen.next.map(|(next, times)| (named(next), times)),
    });
    if let Some((next, _)) = chosen.next.filter(|(_, times)| *times < 1.0) {
        let (than, bytes) = (named(next), (trial.bytes(), trials[next].bytes()));
        reasons.push(Reason::Leaner { than, bytes });
    }
    let Some(reached) = trial.at(options.recall) else {
        return Err(unreached(trials, ground, options));
    };
    let (found, error) = (reached.share.recall, reached.share.error);
    let (spec, effort_of) = (trial.spec, |count| effort(&trial.spec, count));
    let recall = options.recall;
    reasons.push(Reason::Tuned { effort: effort_of(reached.count), found, error, recall });
    let mut count = reached.count;
    if rows > sample.len() + queries {
        let few = (sample.len() / QUARTER).max(1);
        if let Some(less) = effort_among(&spec, (sample, few), options)? {
            let steps = grown([(few, less), (sample.len(), count)], rows);
            count = steps[2].1;
            reasons.push(Reason::Extrapolated { steps });
        }
    }
    let tuning = Tuning { k: options.k, effort: effort_of(count) };
    Ok(Plan { spec: settled(spec, rows), tuning: Some(tuning), tried, reasons })
}

/// The effort for `rows`, along the power of the rows that goes through both; no less than the
/// second, and at most in proportion.
fn grown([few, more]: [(usize, usize); 2], rows: usize) -> [(usize, usize); 3] {
    let ratio = |a: usize, b: usize| (a as f64 / b.max(1) as f64).max(1.0);
    let power = ratio(more.1, few.1).ln() / ratio(more.0, few.0).ln().max(f64::MIN_POSITIVE);
    let count = more.1 as f64 * ratio(rows, more.0).powf(power.clamp(0.0, 1.0));
    [few, more, (rows, count.ceil() as usize)]
}

/// The same with the number of lists.
fn settled(spec: IndexSpec, rows: usize) -> IndexSpec {
    match spec.shape {
        Spec::Ivf { lists: 0, spill } => {
            IndexSpec { shape: Spec::Ivf { lists: lists_of(rows), spill }, ..spec }
        }
        Spec::Flat
        | Spec::Hnsw { .. }
        | Spec::Ivf { .. }
        | Spec::Forest { .. }
        | Spec::Lsh { .. }
        | Spec::Qg { .. } => spec,
    }
}

impl Trial<'_> {
    fn told(&self) -> Tried {
        let steps = self.reached.iter().map(|reached| Step {
            recall: reached.wanted,
            effort: effort(&self.spec, reached.count),
            found: reached.share.recall,
            qps: 1.0 / reached.seconds,
        });
        Tried {
            spec: settled(self.spec, self.len()),
            bytes: self.bytes(),
            build_s: self.build_s,
            ceiling: self.ceiling.recall,
            steps: steps.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efforts_grow_along_a_power() {
        assert_eq!(grown([(100, 10), (400, 20)], 1600)[2], (1600, 40));
        assert_eq!(grown([(100, 20), (400, 20)], 100_000)[2], (100_000, 20));
        assert_eq!(grown([(100, 30), (400, 20)], 1600)[2], (1600, 20), "never less");
        assert_eq!(grown([(100, 1), (400, 16)], 800)[2], (800, 32), "at most in proportion");
    }

    #[test]
    fn lists_are_counted() {
        let counted = |text: &str| settled(text.parse().unwrap(), 10_000).to_string();
        assert_eq!(counted("ivf,pq,rerank16"), "ivf100,pq,rerank16");
        assert_eq!(counted("ivf7,pq"), "ivf7,pq");
        assert_eq!(counted("hnsw,int8"), "hnsw,int8");
    }
}
