//! The memory of a forward pass, kept from one to the next.

use std::fmt;
use std::sync::Mutex;

use kvant_kernels::Pool;

use super::{Shape, Step};
use crate::layer::causal::{Causal, CausalScratch};
use crate::layer::rope::Rotation;
use crate::layer::rounded::Rounded;
use crate::worker::lock;

/// Memory that running a language model needs beside the caches; reusable between calls of any
/// size, and between models.
#[derive(Default)]
pub struct Workspace {
    /// `tokens × hidden`.
    pub(super) hidden: Vec<f32>,
    /// The same normalised: what the projections read.
    pub(super) normed: Vec<f32>,
    /// Queries, keys and values, `tokens × projected`.
    pub(super) qkv: Vec<f32>,
    /// Attended values, `tokens × queries`.
    pub(super) context: Vec<f32>,
    /// Inner states of the feed-forward block, `tokens × inner`.
    pub(super) middle: Vec<f32>,
    /// States before the head, `wanted × hidden`.
    pub(crate) last: Vec<f32>,
    /// `wanted × vocabulary`.
    pub(crate) logits: Vec<f32>,
    pub(super) rotation: Rotation,
    pub(super) memories: Memories,
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("logits", &self.logits.len()).finish_non_exhaustive()
    }
}

impl Workspace {
    /// Makes room for `steps`; what is there stays, as far as there is room, and is of no interest
    /// but for the states.
    pub(super) fn begin(&mut self, shape: &Shape, attention: &Causal, steps: &[&mut Step<'_>]) {
        let rows = steps.iter().map(|step| step.tokens.len()).sum::<usize>();
        self.hidden.resize(rows * shape.hidden, 0.0);
        self.normed.resize(rows * shape.hidden, 0.0);
        self.qkv.resize(rows * attention.projected(), 0.0);
        self.context.resize(rows * attention.queries(), 0.0);
        self.middle.resize(rows * shape.inner, 0.0);
        let positions = steps.iter().flat_map(|step| {
            let from = step.cache.len();
            from..from + step.tokens.len()
        });
        self.rotation.set(&shape.frequencies, shape.pairing, positions);
    }
}

/// Memory of one thread.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) attention: CausalScratch,
    pub(super) update: Vec<f32>,
    pub(super) gates: Vec<f32>,
    pub(super) codes: Rounded,
}

/// The memories of the threads, between the jobs they do.
#[derive(Default)]
pub(super) struct Memories(Vec<Mutex<Memory>>);

impl Memories {
    /// Does every job once, on any thread of the pool. A single job has the pool for itself.
    pub(super) fn each<T: Send>(
        &mut self,
        pool: &Pool,
        jobs: impl Iterator<Item = T>,
        work: impl Fn(T, &mut Memory) + Sync,
    ) {
        self.0.resize_with(pool.threads().max(self.0.len()), Mutex::default);
        if pool.threads() == 1 {
            let memory = &mut *lock(&self.0[0]);
            jobs.for_each(|job| work(job, memory));
            return;
        }
        let jobs: Vec<_> = jobs.map(|job| Mutex::new(Some(job))).collect();
        pool.run(jobs.len(), &|thread, index| {
            if let Some(job) = lock(&jobs[index]).take() {
                work(job, &mut lock(&self.0[thread]));
            }
        });
    }
}
