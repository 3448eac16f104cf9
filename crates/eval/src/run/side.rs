//! Who takes part, and how it is measured.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::Embed;
use crate::report::{Memory, Size, TensorError};

/// A model that takes part, with what is known of it beforehand.
#[derive(Clone)]
pub struct Side<'a> {
    /// Short name, unlike those of the others.
    pub label: String,
    /// Where it is, for the report.
    pub path: Option<PathBuf>,
    /// The model.
    pub model: &'a dyn Embed,
    /// Its bytes on disk, see [`crate::cost::weigh`]; `loaded_bytes` is filled in if absent.
    pub size: Size,
    /// Its memory, see [`crate::cost::in_child`].
    pub memory: Option<Memory>,
    /// The errors of its tensors, see [`crate::cost::tensor_errors`].
    pub tensors: Vec<TensorError>,
}

impl<'a> Side<'a> {
    /// A model of which nothing but its name is known.
    pub fn new(label: impl Into<String>, model: &'a dyn Embed) -> Self {
        Self {
            label: label.into(),
            path: None,
            model,
            size: Size::default(),
            memory: None,
            tensors: Vec::new(),
        }
    }
}

/// How to evaluate.
#[derive(Clone)]
pub struct Options<'a> {
    /// The task's name in the report: its file, and the second one of a pair.
    pub data: (String, Option<String>),
    /// Threads of one call.
    pub threads: usize,
    /// Turns of each model when time is taken; 0 takes no time at all.
    pub rounds: usize,
    /// Texts of one throughput call.
    pub batch_texts: usize,
    /// Single-text calls of each model.
    pub calls: usize,
    /// Resamples of the bootstrap; 0 leaves the interval out.
    pub resamples: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Questions put to each model over the documents of a retrieval task.
    pub questions: Vec<String>,
    /// The time the report bears.
    pub now: SystemTime,
    /// Told what is done, now and then.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl Default for Options<'_> {
    /// One thread, 5 rounds, batches of 256 texts, 300 calls, 1000 resamples from seed 1, now.
    fn default() -> Self {
        Self {
            data: (String::new(), None),
            threads: 1,
            rounds: 5,
            batch_texts: 256,
            calls: 300,
            resamples: 1000,
            seed: 1,
            questions: Vec::new(),
            now: SystemTime::now(),
            progress: None,
        }
    }
}

/// How far an evaluation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Texts of the task embedded, over all models.
    Embed {
        /// So many.
        done: usize,
        /// Of so many.
        total: usize,
    },
    /// Turns in which time was taken, over all models.
    Time {
        /// So many.
        done: usize,
        /// Of so many.
        total: usize,
    },
}
