//! Verifying what searches have not read, a little at a time.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Stored;
use crate::guard::Large;

/// How a file is scrubbed.
#[derive(Clone, Copy, Default)]
pub struct ScrubOptions<'a> {
    /// Bytes a second at most; as fast as they come where `None`.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Ends it once this is `true`, between two blocks.
    pub cancel: Option<&'a AtomicBool>,
    /// Told the bytes of each block that was looked at.
    pub progress: Option<&'a dyn Fn(u64)>,
}

impl fmt::Debug for ScrubOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrubOptions")
            .field("bytes_per_second", &self.bytes_per_second)
            .finish_non_exhaustive()
    }
}

/// A block that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The section it is in.
    pub section: &'static str,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its bytes.
    pub len: u64,
}

/// What a scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Bytes looked at: those that no search and no scrub had looked at before, and what was found
    /// damaged then.
    pub bytes: u64,
    /// Blocks that are damaged, in the order of the file.
    pub damaged: Vec<Damage>,
    /// Whether the end of the file was reached.
    pub finished: bool,
}

impl Stored {
    /// Verifies the blocks that were not read yet, on this thread, at the pace that `options`
    /// allow; searches go on meanwhile, and what was found whole costs them nothing anymore. Damage
    /// is reported and stops nothing: a search fails only where it reads it. O(bytes), once.
    pub fn scrub(&self, options: &ScrubOptions<'_>) -> Scrubbed {
        scrub(self.sections(), options)
    }

    /// Bytes that a scrub would look at now.
    pub fn unverified_bytes(&self) -> u64 {
        unverified(self.sections())
    }
}

/// Verifies what of `sections` was not read yet.
pub(crate) fn scrub(sections: &[Large], options: &ScrubOptions<'_>) -> Scrubbed {
    let (began, mut found) = (Instant::now(), Scrubbed::default());
    for (section, start, blocks) in sections {
        let mut from = 0;
        while let Some(range) = blocks.unknown(from) {
            if options.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                return found;
            }
            from = range.end;
            let len = range.len() as u64;
            if blocks.check(&range).is_some() {
                let offset = start + range.start as u64;
                found.damaged.push(Damage { section, offset, len });
            }
            found.bytes += len;
            options.progress.iter().for_each(|progress| progress(len));
            if let Some(rate) = options.bytes_per_second {
                let due = found.bytes as f64 / rate.get() as f64;
                let due = Duration::try_from_secs_f64(due).unwrap_or(Duration::MAX);
                sleep(due.saturating_sub(began.elapsed()));
            }
        }
    }
    found.finished = true;
    found
}

/// Bytes of `sections` that were not read yet.
pub(crate) fn unverified(sections: &[Large]) -> u64 {
    let left = sections.iter().map(|(_, _, blocks)| {
        let mut next = blocks.unknown(0);
        let mut sum = 0;
        while let Some(range) = next {
            sum += range.len() as u64;
            next = blocks.unknown(range.end);
        }
        sum
    });
    left.sum()
}
