//! Jobs handed to threads that live for one call.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs jobs `0..jobs` on `threads` threads (the caller's own if one), each with a `state` of
/// its own. Jobs are handed out in order; of several errors the one of the first job is
/// returned, whatever the number of threads.
pub(crate) fn run<S, E: Send>(
    threads: usize,
    jobs: usize,
    state: impl Fn() -> S + Sync,
    job: impl Fn(&mut S, usize) -> Result<(), E> + Sync,
) -> Result<(), E> {
    if threads.min(jobs) <= 1 {
        let mut state = state();
        return (0..jobs).try_for_each(|index| job(&mut state, index));
    }
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<(usize, E)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs) {
            scope.spawn(|| {
                let mut state = state();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= jobs {
                        return;
                    }
                    if let Err(error) = job(&mut state, index) {
                        // Later jobs are pointless; earlier ones are already with someone.
                        next.store(jobs, Ordering::Relaxed);
                        let mut failed = lock(&failed);
                        if failed.as_ref().is_none_or(|(first, _)| index < *first) {
                            *failed = Some((index, error));
                        }
                        return;
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

/// The guarded value; a thread that panicked ends the process of the call anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_runs_once() {
        for threads in [0, 1, 2, 5] {
            let counts: Vec<AtomicUsize> = (0..97).map(|_| AtomicUsize::new(0)).collect();
            let done = run(
                threads,
                counts.len(),
                || (),
                |(), index| {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                    Ok::<(), ()>(())
                },
            );
            assert_eq!(done, Ok(()));
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn the_error_of_the_first_job_is_returned() {
        for threads in [1, 2, 4] {
            for _ in 0..50 {
                let fails = |(): &mut (), index| if index % 7 == 5 { Err(index) } else { Ok(()) };
                assert_eq!(run(threads, 60, || (), fails), Err(5));
            }
        }
    }
}
