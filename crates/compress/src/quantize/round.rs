//! Round to nearest: every selected tensor alone, without data.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use kvant_model::TensorInfo;
use kvant_quant::{EncodeError, Scheme, measure};

use crate::draft::Change;
use crate::{Draft, Pass, PassError, Reason, Run, Select, Step};

/// Encodes the selected tensors in one scheme, every weight to the nearest code.
///
/// Threads take whole tensors, the largest first; each holds the tensor and its restored copy in
/// f32 while it measures the error.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// How to encode.
    pub scheme: Scheme,
    /// What to encode.
    pub select: Select,
}

impl Pass for Round {
    fn name(&self) -> &'static str {
        "round"
    }

    fn apply(&self, draft: &mut Draft, run: &Run<'_>) -> Result<(), PassError> {
        let mut selected = Vec::new();
        let mut changes = Vec::new();
        for tensor in draft.tensors() {
            match self.select.judge(tensor) {
                Ok(()) => selected.push(tensor),
                Err(reason) => changes.push((tensor.name.clone(), Change::Kept(reason))),
            }
        }
        refuse_coded(draft.source().path(), &selected)?;
        selected.sort_by_key(|tensor| (std::cmp::Reverse(tensor.elements()), &tensor.name));
        changes.extend(self.encode_all(draft, &selected, run)?);
        for (name, change) in changes {
            draft.set(name, change);
        }
        Ok(())
    }
}

impl Round {
    fn encode_all(
        &self,
        draft: &Draft,
        work: &[&TensorInfo],
        run: &Run<'_>,
    ) -> Result<Vec<(String, Change)>, PassError> {
        let total = work.iter().map(|tensor| tensor.elements()).sum();
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        let mut results = thread::scope(|scope| {
            for _ in 0..run.threads.clamp(1, work.len().max(1)) {
                let (sender, next, failed) = (sender.clone(), &next, &failed);
                scope.spawn(move || {
                    while !failed.load(Ordering::Relaxed) {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(tensor) = work.get(index) else { break };
                        let result = self.encode(draft, &tensor.name);
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
                let tensor = work[result.0];
                done += tensor.elements();
                (run.progress)(Step::Encoded { name: tensor.name.clone(), done, total });
            };
            receiver.into_iter().inspect(report).collect::<Vec<_>>()
        });
        // Work is taken in order, so the first failure of the list is always among the results.
        results.sort_by_key(|(index, _)| *index);
        let named = |(index, result): (usize, Result<_, _>)| {
            result.map(|change| (work[index].name.clone(), change))
        };
        results.into_iter().map(named).collect()
    }

    fn encode(&self, draft: &Draft, name: &str) -> Result<Change, PassError> {
        let dense = draft.dense(name)?;
        match self.scheme.encode(dense.matrix()) {
            Ok(coded) => {
                let error = measure(dense.values(), &coded.decode());
                Ok(Change::Coded(coded, error))
            }
            Err(error @ (EncodeError::BlockCols { .. } | EncodeError::Range { .. })) => {
                Ok(Change::Kept(Reason::Scheme(error)))
            }
            Err(error @ (EncodeError::NotFinite { .. } | EncodeError::Bits { .. })) => {
                Err(PassError::Encode { tensor: name.to_owned(), source: error })
            }
        }
    }
}

/// Encoding codes again would hide the first loss: errors are measured against the source.
fn refuse_coded(path: &Path, selected: &[&TensorInfo]) -> Result<(), PassError> {
    let float = |tensor: &TensorInfo| ["F64", "F32", "F16", "BF16"].contains(&&*tensor.format);
    match selected.iter().find(|tensor| !float(tensor)) {
        None => Ok(()),
        Some(tensor) => Err(PassError::Coded {
            path: path.to_owned(),
            tensor: tensor.name.clone(),
            format: tensor.format.clone(),
        }),
    }
}
