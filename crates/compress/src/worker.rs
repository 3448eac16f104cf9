//! Work on several threads with results in the order of the work.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// `job` of every item, in their order.
pub(crate) fn each<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    job: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        let mut at = next.fetch_add(1, Ordering::Relaxed);
        while let Some(item) = items.get(at) {
            done.push((at, job(item)));
            at = next.fetch_add(1, Ordering::Relaxed);
        }
        done
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let count = threads.clamp(1, items.len().max(1));
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
