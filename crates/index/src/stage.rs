//! Parts of a build that are kept, so that a build that was ended goes on where it was.

use kvant_kernels::kernels;
use kvant_storage::{Bytes, bytes_of_f32, crc32c};

use crate::number::put;
use crate::{BuildOptions, FloatRows, IndexSpec, Rows};

/// Raised where the same build comes to other bytes, or to other parts, than it did before.
const GENERATION: u32 = 1;

/// Where a build keeps parts of its work. Files and the clock are the caller's, who gives a build
/// the parts of one of the same [`identity`](BuildOptions::identity) and of no other: it then goes
/// on from them and comes to the same bytes as one that was never ended.
///
/// Called from the thread that builds, between pieces of work of a second or so.
pub trait Stages: Sync {
    /// What was saved last under `name`, whole; `None` where nothing was, or nothing whole.
    fn load(&self, name: &str) -> Option<Bytes>;

    /// Whether what was done since the last save is worth another one. A build that is never told
    /// so saves nothing.
    fn is_due(&self) -> bool;

    /// Keeps `pieces`, one behind the other, under `name`, in the place of what had that name. What
    /// goes wrong here is the caller's to tell: the build goes on, and what was not kept is made
    /// again by the next one.
    fn save(&self, name: &str, pieces: &[&[u8]]);
}

impl BuildOptions<'_> {
    /// What the bytes of an index of `spec` over `rows` depend on, as a line: the rows (their
    /// CRC-32C), the options, the instructions, the release. O(n·dim).
    pub fn identity(&self, spec: &IndexSpec, rows: &FloatRows<'_>) -> String {
        let Self { seed, ef_construction, training, balance, .. } = self;
        let (len, dim, metric, level) = (rows.len(), rows.dim(), rows.metric(), kernels().level());
        let sum = crc32c(bytes_of_f32(rows.data()));
        let balance = balance.map_or_else(|| "none".to_owned(), |most| most.to_string());
        let release = env!("CARGO_PKG_VERSION");
        format!(
            "{spec} over {len} x {dim} by {metric}, crc {sum:08x}, seed {seed}, ef \
             {ef_construction}, training {training}, balance {balance}, {level}, kvant {release}, \
             generation {GENERATION}"
        )
    }

    /// What an earlier build kept under `name`, as far as `read` makes sense of it.
    pub(crate) fn kept<T>(&self, name: &str, read: impl FnOnce(Bytes) -> Option<T>) -> Option<T> {
        self.stages.and_then(|stages| stages.load(name)).and_then(read)
    }

    /// Keeps `bytes` under `name`, if it is time.
    pub(crate) fn keep(&self, name: &str, bytes: impl FnOnce() -> Vec<u8>) {
        if let Some(stages) = self.stages.filter(|stages| stages.is_due()) {
            stages.save(name, &[&bytes()]);
        }
    }

    /// What an earlier build kept under `name`; else what `make` makes, kept if it is time.
    pub(crate) fn part<T, E>(
        &self,
        name: &str,
        read: impl FnOnce(Bytes) -> Option<T>,
        make: impl FnOnce() -> Result<T, E>,
        bytes: impl FnOnce(&T) -> Vec<u8>,
    ) -> Result<T, E> {
        if let Some(kept) = self.kept(name, read) {
            return Ok(kept);
        }
        let made = make()?;
        self.keep(name, || bytes(&made));
        Ok(made)
    }
}

/// Numbers as bytes.
pub(crate) fn bytes_of(numbers: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 * numbers.len());
    put(&mut bytes, numbers);
    bytes
}

/// Numbers below `end`, `count` of them, as [`bytes_of`] gave them.
pub(crate) fn numbers_below(bytes: &[u8], count: usize, end: usize) -> Option<Vec<u32>> {
    let fits = bytes.len() == count.checked_mul(4)?;
    let numbers = if fits { crate::number::numbers_of(bytes) } else { return None };
    numbers.iter().all(|&number| (number as usize) < end).then_some(numbers)
}
