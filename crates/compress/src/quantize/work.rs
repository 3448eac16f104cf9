//! Quantizing the tensors of a model, each by its own format and method.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use kvant_quant::{EncodeError, Observer, measure};

use super::encode::{Data, encode};
use crate::draft::Change;
use crate::{Calibration, Draft, Method, Pass, PassError, Quantizer, Reason, Run, Step};

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
/// Threads take whole tensors, the largest first; each holds the tensor and its restored copy in
/// f32 while it measures the error.
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
        let mut work = Vec::with_capacity(self.tasks.len());
        for task in &self.tasks {
            let elements = draft.tensor(&task.name).map_or(0, kvant_model::TensorInfo::elements);
            work.push((task, elements));
        }
        if self.requantize == Requantize::Refuse {
            refuse_coded(draft, &self.tasks)?;
        }
        work.sort_by_key(|(task, elements)| (std::cmp::Reverse(*elements), &task.name));
        for (name, change) in self.encode_all(draft, &work, run)? {
            draft.set(name, change);
        }
        Ok(())
    }
}

impl Quantize {
    fn encode_all(
        &self,
        draft: &Draft,
        work: &[(&Task, u64)],
        run: &Run<'_>,
    ) -> Result<Vec<(String, Change)>, PassError> {
        let total = work.iter().map(|(_, elements)| elements).sum();
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        let mut results = thread::scope(|scope| {
            for _ in 0..run.threads.clamp(1, work.len().max(1)) {
                let (sender, next, failed) = (sender.clone(), &next, &failed);
                scope.spawn(move || {
                    while !failed.load(Ordering::Relaxed) {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some((task, _)) = work.get(index) else { break };
                        let result = self.encode(draft, task);
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
                let (task, elements) = work[result.0];
                done += elements;
                (run.progress)(Step::Encoded { name: task.name.clone(), done, total });
            };
            receiver.into_iter().inspect(report).collect::<Vec<_>>()
        });
        // Work is taken in order, so the first failure of the list is always among the results.
        results.sort_by_key(|(index, _)| *index);
        let named = |(index, result): (usize, Result<_, _>)| {
            result.map(|change| (work[index].0.name.clone(), change))
        };
        results.into_iter().map(named).collect()
    }

    fn encode(&self, draft: &Draft, task: &Task) -> Result<Change, PassError> {
        let dense = draft.dense(&task.name)?;
        let moment = self.calibration.as_ref().and_then(|seen| seen.of(&task.name));
        let method = match task.quantizer.resolve(moment.is_some()) {
            // A table of words has no inputs to weigh its columns by.
            Method::Gptq | Method::Awq if moment.is_none() => Method::Search,
            method => method,
        };
        let data = Data { moment, observer: task.observer };
        match encode(dense.matrix(), task.quantizer.scheme, method, &data) {
            Ok(coded) => {
                let error = measure(dense.values(), &coded.decode());
                Ok(Change::Coded(coded, error))
            }
            Err(error @ (EncodeError::BlockCols { .. } | EncodeError::Range { .. })) => {
                Ok(Change::Kept(Reason::Scheme(error)))
            }
            Err(error) => Err(PassError::Encode { tensor: task.name.clone(), source: error }),
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
