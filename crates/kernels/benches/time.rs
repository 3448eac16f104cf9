//! Processor time of short runs.

use std::sync::LazyLock;
use std::time::Instant;

/// A figure is the best of this many batches,
const BATCHES: u32 = 12;
/// each at least this long.
const BATCH_SECONDS: f64 = 0.005;

/// Seconds this thread has run. On Linux other load on the machine does not count.
fn seconds() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // The kernel brings its account up to date when a thread offers to pause.
    std::thread::yield_now();
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = account.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    ns.map_or_else(|| START.elapsed().as_secs_f64(), |ns| ns * 1e-9)
}

/// Seconds of one run, the best of many batches.
pub(crate) fn best(mut run: impl FnMut()) -> f64 {
    let mut batch = 1;
    loop {
        let start = seconds();
        (0..batch).for_each(|_| run());
        if seconds() - start > BATCH_SECONDS {
            break;
        }
        batch *= 2;
    }
    let one = |_| {
        let start = seconds();
        (0..batch).for_each(|_| run());
        (seconds() - start) / f64::from(batch)
    };
    (0..BATCHES).map(one).fold(f64::INFINITY, f64::min)
}
