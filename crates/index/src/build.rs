//! What building a shape takes.

use std::fmt;

use crate::Stages;

/// Options of building. The result is a function of the rows, the seed and `ef_construction`.
///
/// A graph of `n` rows with `m` links that is built by leaves holds at most `n·(c + 768 + 13·m)`
/// bytes beside the rows, and about 1 kB for each of up to 65,536 rows; by walks `n·(c + 13·m)`;
/// `c` are the bytes of its codes, and `dim + 10` where none of them are of 8 bits.
#[derive(Clone, Copy)]
pub struct BuildOptions<'a> {
    /// Seed of the levels and of the order of insertion.
    pub seed: u64,
    /// Threads to build with; 0 counts as 1. Changes only the time taken.
    pub threads: usize,
    /// Candidates kept while looking for the neighbours of a new row.
    pub ef_construction: usize,
    /// Rows that codes with centroids are learnt from, at most.
    pub training: usize,
    /// Most rows of a list, as a multiple (1 or more) of the mean; any number where `None`.
    pub balance: Option<f64>,
    /// Called now and then from the calling thread with the rows finished since the last call.
    pub progress: Option<&'a (dyn Fn(usize) + Sync)>,
    /// Where parts of a long build are kept, and those an ended build of the same
    /// [`identity`](Self::identity) kept are found. Changes only the time taken.
    pub stages: Option<&'a dyn Stages>,
}

impl Default for BuildOptions<'_> {
    fn default() -> Self {
        Self {
            seed: 0,
            threads: 1,
            ef_construction: 128,
            training: 1 << 15,
            balance: None,
            progress: None,
            stages: None,
        }
    }
}

impl fmt::Debug for BuildOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildOptions")
            .field("seed", &self.seed)
            .field("threads", &self.threads)
            .field("ef_construction", &self.ef_construction)
            .field("training", &self.training)
            .field("balance", &self.balance)
            .field("progress", &self.progress.is_some())
            .field("stages", &self.stages.is_some())
            .finish()
    }
}
