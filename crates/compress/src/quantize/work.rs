//! Quantizing the tensors of a model, each by its own format and method.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use kvant_model::Dense;
use kvant_quant::{EncodeError, Observer, measure};

use super::{Solve, SolveError, Solver};
use crate::draft::Change;
use crate::site;
use crate::{Calibration, Draft, Method, Moment, Pass, PassError, Quantizer, Reason, Run, Step};

/// One tensor to quantize.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Format and method.
    pub quantizer: Quantizer,
    /// How ranges are chosen; `None`: as the method does.
    pub observer: Option<Observer>,
}

/// Quantizes tensors, each by itself.
///
/// Threads take the tensors that share an input together, so that its second moment is prepared
/// once, the most work first. Each holds one such moment, prepared (about three times its size),
/// and a tensor with its restored copy in f32.
#[derive(Clone, Debug, Default)]
pub struct Quantize {
    /// What to quantize, and how.
    pub tasks: Vec<Task>,
    /// What the layers get to see.
    pub calibration: Option<Arc<Calibration>>,
    /// Whether codes of the source may be decoded and taken as the original.
    pub requantize: Requantize,
}

/// What to do with a tensor that is coded already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Requantize {
    /// Say so and stop: the first loss would be hidden.
    #[default]
    Refuse,
    /// Decode it and take that as the original.
    Allow,
}

impl Pass for Quantize {
    fn name(&self) -> &'static str {
        "quantize"
    }

    fn apply(&self, draft: &mut Draft, run: &Run<'_>) -> Result<(), PassError> {
        if self.requantize == Requantize::Refuse {
            refuse_coded(draft, &self.tasks)?;
        }
        let units = self.units(draft);
        for outcome in Self::encode_all(draft, &units, run)? {
            if let Some((bias, values)) = outcome.bias {
                draft.balance(bias, values);
            }
            draft.set(outcome.name, outcome.change);
        }
        Ok(())
    }
}

/// Tensors that read the same input, and their numbers of weights.
struct Unit<'a> {
    moment: Option<&'a Moment>,
    tasks: Vec<(&'a Task, u64)>,
}

impl Unit<'_> {
    /// About the time it takes.
    fn cost(&self) -> u64 {
        let elements: u64 = self.tasks.iter().map(|(_, elements)| elements).sum();
        elements * self.moment.map_or(1, |moment| moment.dim as u64)
    }
}

/// What became of a tensor.
struct Outcome {
    name: String,
    change: Change,
    /// Its bias, if that takes up what the change does to the mean of the outputs.
    bias: Option<(String, Dense)>,
}

/// What became of the tensors of a unit.
type Done = Vec<Outcome>;

impl Quantize {
    /// The tasks by the input they share, the most work first.
    fn units(&self, draft: &Draft) -> Vec<Unit<'_>> {
        let mut tasks: Vec<&Task> = self.tasks.iter().collect();
        tasks.sort_by_key(|task| &task.name);
        let mut units: Vec<Unit<'_>> = Vec::new();
        for task in tasks {
            let elements = draft.tensor(&task.name).map_or(0, kvant_model::TensorInfo::elements);
            // By another axis the columns are not the inputs that were seen.
            let seen = self.calibration.as_ref().filter(|_| !draft.is_turned(&task.name));
            let moment = seen.and_then(|seen| seen.of(&task.name));
            let same = |unit: &&mut Unit<'_>| match (unit.moment, moment) {
                (Some(one), Some(other)) => std::ptr::eq(one, other),
                _ => false,
            };
            match units.iter_mut().find(same) {
                Some(unit) => unit.tasks.push((task, elements)),
                None => units.push(Unit { moment, tasks: vec![(task, elements)] }),
            }
        }
        units.sort_by_key(|unit| std::cmp::Reverse(unit.cost()));
        units
    }

    fn encode_all(draft: &Draft, work: &[Unit<'_>], run: &Run<'_>) -> Result<Done, PassError> {
        let total = work.iter().flat_map(|unit| &unit.tasks).map(|(_, elements)| elements).sum();
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        let mut results = thread::scope(|scope| {
            for _ in 0..run.threads.clamp(1, work.len().max(1)) {
                let (sender, next, failed) = (sender.clone(), &next, &failed);
                scope.spawn(move || {
                    while !failed.load(Ordering::Relaxed) {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(unit) = work.get(index) else { break };
                        let result = Self::encode(draft, unit);
                        failed.fetch_or(result.is_err(), Ordering::Relaxed);
                        if sender.send((index, result)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let mut done = 0;
            let report = |result: &(usize, _)| {
                for (task, elements) in &work[result.0].tasks {
                    done += elements;
                    (run.progress)(Step::Encoded { name: task.name.clone(), done, total });
                }
            };
            receiver.into_iter().inspect(report).collect::<Vec<_>>()
        });
        // Work is taken in order, so the first failure of the list is always among the results.
        results.sort_by_key(|(index, _)| *index);
        let changes: Result<Vec<Done>, _> = results.into_iter().map(|(_, done)| done).collect();
        Ok(changes?.into_iter().flatten().collect())
    }

    fn encode(draft: &Draft, unit: &Unit<'_>) -> Result<Done, PassError> {
        let method = |task: &Task| method(task, unit.moment);
        // One preparation serves all; only GPTQ wants the factor.
        let needed = unit.tasks.iter().map(|(task, _)| method(task));
        let needed = needed.reduce(|one, other| if other == Method::Gptq { other } else { one });
        let needed = needed.unwrap_or(Method::Rtn);
        let biased = |task: &Task| bias(draft, &task.name).is_some();
        let all = unit.tasks.iter().all(|(task, _)| biased(task) && method(task) != Method::Rtn);
        let centered = unit.moment.filter(|_| all).and_then(Moment::centered);
        let solver = Solver::new(centered.as_ref().or(unit.moment), needed);
        let solver = solver.map_err(|source| {
            let tensor = unit.tasks.first().map_or_else(String::new, |(task, _)| task.name.clone());
            PassError::Calibration { tensor, source }
        })?;
        let encode = |task: &Task| {
            let solve = Solve {
                scheme: task.quantizer.scheme,
                method: method(task),
                observer: task.observer,
                threads: 1,
            };
            let dense = draft.matrix(&task.name)?;
            let tensor = task.name.clone();
            match solver.encode(dense.matrix(), &solve) {
                Ok(coded) => {
                    let restored = coded.decode();
                    let error = measure(dense.values(), &restored);
                    let bias = match &centered {
                        Some(seen) => corrected(draft, &task.name, &dense, &restored, seen)?,
                        None => None,
                    };
                    let lost = solver.error(dense.matrix(), &restored);
                    Ok((Change::Coded(coded, error, lost), bias))
                }
                Err(SolveError::Encode(
                    error @ (EncodeError::BlockCols { .. } | EncodeError::Range { .. }),
                )) => Ok((Change::Kept(Reason::Scheme(error)), None)),
                Err(SolveError::Encode(source)) => Err(PassError::Encode { tensor, source }),
                Err(source) => Err(PassError::Calibration { tensor, source }),
            }
        };
        let outcome = |task: &Task| {
            let (change, bias) = encode(task)?;
            Ok(Outcome { name: task.name.clone(), change, bias })
        };
        unit.tasks.iter().map(|(task, _)| outcome(task)).collect()
    }
}

/// The name of the bias beside a weight, if there is one in full precision.
fn bias(draft: &Draft, weight: &str) -> Option<String> {
    let tensor = draft.tensor(&site::bias(weight)?)?;
    ["F32", "F16", "BF16"].contains(&&*tensor.format).then(|| tensor.name.clone())
}

/// The bias with what `restored` in place of `weight` takes from the mean of the outputs:
/// `b + (W − Ŵ)·mean(x)` (Nagel et al., 2019, §4.2).
fn corrected(
    draft: &Draft,
    name: &str,
    weight: &Dense,
    restored: &[f32],
    seen: &Moment,
) -> Result<Option<(String, Dense)>, PassError> {
    let Some(bias) = bias(draft, name) else { return Ok(None) };
    let before = draft.dense(&bias)?;
    if before.values().len() != weight.rows() {
        return Ok(None);
    }
    let rows = restored.chunks_exact(seen.dim).zip(before.values()).enumerate();
    let values = rows.map(|(row, (restored, bias))| {
        let terms = weight.row(row).iter().zip(restored).zip(&seen.mean);
        let lost: f64 = terms.map(|((w, back), x)| f64::from(w - back) * f64::from(*x)).sum();
        bias + lost as f32
    });
    let values = values.collect();
    Ok(Some((bias, Dense::owned(before.shape().to_vec(), values))))
}

/// The method for a task whose tensor sees `moment`.
fn method(task: &Task, moment: Option<&Moment>) -> Method {
    let whole = moment.is_some_and(|moment| moment.matrix().is_some());
    match task.quantizer.resolve(whole) {
        // A table of words has no inputs to weigh its columns by.
        Method::Gptq | Method::Awq if moment.is_none() => Method::Search,
        method @ (Method::Rtn | Method::Search | Method::Gptq | Method::Awq | Method::Hqq) => {
            method
        }
    }
}

/// Encoding codes again would hide the first loss: errors are measured against the source.
fn refuse_coded(draft: &Draft, tasks: &[Task]) -> Result<(), PassError> {
    for task in tasks {
        let Some(tensor) = draft.tensor(&task.name) else { continue };
        if !["F64", "F32", "F16", "BF16"].contains(&&*tensor.format) {
            return Err(PassError::Coded {
                path: draft.source().path().to_owned(),
                tensor: tensor.name.clone(),
                format: tensor.format.clone(),
            });
        }
    }
    Ok(())
}
