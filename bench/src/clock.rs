//! What a run took: seconds of the wall and of the processor, bytes of memory.

use std::fs;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// Seconds since it was started, by the wall and by the process's own processor time.
pub(crate) struct Clock {
    began: Instant,
    worked: f64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), worked: worked() }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Of all threads together.
    pub(crate) fn worked(&self) -> f64 {
        worked() - self.worked
    }
}

fn worked() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The most memory that the process held so far, in MiB; 0 where the system does not say.
pub(crate) fn peak_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// Least, middle and greatest of `values`.
pub(crate) fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    (at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}

/// `value` with `digits` digits behind the point.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}
