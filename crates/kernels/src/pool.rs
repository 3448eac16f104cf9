//! Threads that wait for short pieces of work: they spin for a while, then sleep.
//!
//! A product of one token takes microseconds, so the threads that share it must not be started or
//! woken for each. The state of a run is one number: its count, how many workers are inside, and
//! whether it is open. A worker enters an open run by raising the number, takes jobs until there
//! are none, and leaves; the caller works too, closes the run and waits for those inside. A worker
//! that wakes late finds the run closed and goes back to waiting: nobody waits for it.

mod affinity;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pub use affinity::{Cores, CoresError, PinError};
use sync::{
    Arc, AtomicBool, AtomicU64, AtomicUsize, JoinHandle, Mutex, Ordering, Thread, UnsafeCell,
};

/// Rounds a worker spins for the next run before it sleeps: about 50 µs.
#[cfg(not(loom))]
const SPIN: u32 = 2000;
#[cfg(loom)]
const SPIN: u32 = 1;

/// The run takes workers in.
const OPEN: u64 = 1;
/// The pool ends.
const QUIT: u64 = 2;
/// One worker inside; up to 2¹⁴ of them.
const INSIDE: u64 = 4;
const INSIDE_MASK: u64 = 0xFFFC;
/// The count of runs, above the rest.
const RUN: u64 = 1 << 16;

/// Threads that a pool may have on any machine; more only where as many run at once.
const THREADS_ANYWHERE: usize = 8;

/// A number of threads that run jobs together, the caller's among them.
///
/// Workers keep a core busy for about 50 µs after a run and then sleep. Dropping the pool ends
/// them.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    /// Held during a run; others do their jobs alone meanwhile.
    turn: Mutex<()>,
}

struct Worker {
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

struct Shared {
    state: AtomicU64,
    /// The next job of the run.
    next: AtomicUsize,
    /// What the run is; written only while it is closed and nobody is inside.
    task: UnsafeCell<Task>,
    /// One for each worker: it sleeps, or is about to.
    asleep: Vec<AtomicBool>,
    panicked: AtomicBool,
}

/// A job of the caller's, its lifetime left out.
#[derive(Clone, Copy)]
struct Task {
    job: *const (dyn Fn(usize, usize) + Sync),
    jobs: usize,
}

// SAFETY: `task` is read only inside a run, and written only by the holder of `turn` while the
// state says that nobody is inside; what it points to is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as before; the pointer is followed only during the call that set it.
unsafe impl Send for Shared {}

fn nothing(_: usize, _: usize) {}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

impl Default for Pool {
    /// The caller alone.
    fn default() -> Self {
        Self::new(1)
    }
}

impl Pool {
    /// A pool of `threads` threads, the caller's included: 0 counts as 1, and more than this
    /// machine runs at once (or 8, if that is more) as so many. Where the system gives fewer, the
    /// pool has fewer.
    pub fn new(threads: usize) -> Self {
        let count = threads.clamp(1, sync::at_once().max(THREADS_ANYWHERE)) - 1;
        Self::start(count, |_| true)
    }

    /// A pool with a thread on each of `cores`, in their order: the calling thread, which is the
    /// first and the one that is to use the pool, is bound to the first core. Fewer threads where
    /// the system gives fewer.
    ///
    /// # Errors
    /// [`PinError`] naming a core that is not there; the calling thread then stays where it was.
    pub fn pinned(cores: &Cores) -> Result<Self, PinError> {
        let before = Cores::held()?;
        cores.hold()?;
        let (first, others) = (cores.numbers()[0], &cores.numbers()[1..]);
        // A thread begins where the one that starts it is.
        let mut held = Ok(());
        let pool = Self::start(others.len(), |index| {
            held = affinity::hold_one(others[index]);
            held.is_ok()
        });
        match held.and_then(|()| affinity::hold_one(first)) {
            Ok(()) => Ok(pool),
            Err(error) => before.hold().and(Err(error)),
        }
    }

    /// The caller and `count` workers, as many as `ready` allows and the system gives.
    fn start(count: usize, mut ready: impl FnMut(usize) -> bool) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            task: UnsafeCell::new(Task { job: &nothing, jobs: 0 }),
            asleep: (0..count).map(|_| AtomicBool::new(false)).collect(),
            panicked: AtomicBool::new(false),
        });
        let workers = (0..count).map_while(|index| {
            if !ready(index) {
                return None;
            }
            let shared = Arc::clone(&shared);
            let handle = sync::spawn(move || shared.wait(index))?;
            Some(Worker { thread: handle.thread().clone(), handle: Some(handle) })
        });
        let workers = workers.collect();
        Self { shared, workers, turn: Mutex::new(()) }
    }

    /// Threads of a run, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `job` with every number below `jobs`, once each, from the threads of the pool; returns
    /// when all are done. The first argument is the number of the thread, below
    /// [`Pool::threads`], the second the job. Jobs are handed out in rising order. While another
    /// caller uses the pool, or inside a job, the caller does them all itself, as thread 0.
    ///
    /// # Panics
    /// If a job does.
    pub fn run(&self, jobs: usize, job: &(dyn Fn(usize, usize) + Sync)) {
        let turn =
            if jobs > 1 && !self.workers.is_empty() { sync::try_lock(&self.turn) } else { None };
        let Some(turn) = turn else {
            (0..jobs).for_each(|index| job(0, index));
            return;
        };
        self.open(jobs, job);
        let own = catch_unwind(AssertUnwindSafe(|| self.shared.work(0, job, jobs)));
        if own.is_err() {
            // Nothing more is handed out.
            self.shared.next.store(jobs, Ordering::Relaxed);
        }
        self.close();
        let panicked = self.shared.panicked.swap(false, Ordering::Relaxed);
        drop(turn);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!panicked, "a job of the pool panicked");
    }

    fn open(&self, jobs: usize, job: &(dyn Fn(usize, usize) + Sync)) {
        // SAFETY: only the lifetime is changed. Nobody follows the pointer once `close` has
        // returned, which it does before the borrow of `job` ends, in a panic too.
        let job: &'static (dyn Fn(usize, usize) + Sync) = unsafe { std::mem::transmute(job) };
        let task = Task { job, jobs };
        // SAFETY: this thread holds `turn`, and the last `close` waited until nobody was inside.
        sync::set(&self.shared.task, |slot| unsafe { *slot = task });
        self.shared.next.store(0, Ordering::Relaxed);
        // Workers that see the run open see the task: this releases, their entry acquires.
        self.shared.state.fetch_add(RUN | OPEN, Ordering::SeqCst);
        for (worker, asleep) in self.workers.iter().zip(&self.shared.asleep) {
            if asleep.swap(false, Ordering::SeqCst) {
                worker.thread.unpark();
            }
        }
    }

    /// Lets nobody in any more and waits for those inside.
    fn close(&self) {
        let mut state = self.shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut rounds = 0;
        while state & INSIDE_MASK != 0 {
            rounds += 1;
            sync::pause(rounds);
            state = self.shared.state.load(Ordering::Acquire);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state.fetch_or(QUIT, Ordering::SeqCst);
        for worker in &mut self.workers {
            worker.thread.unpark();
            if let Some(handle) = worker.handle.take() {
                // A worker catches the panics of its jobs.
                let _ = handle.join();
            }
        }
    }
}

impl Shared {
    /// The life of worker `index`.
    fn wait(&self, index: usize) {
        let mut last = 0;
        loop {
            let state = self.next_run(last, index);
            if state & QUIT != 0 {
                return;
            }
            last = state / RUN;
            if self.enter(last) {
                // SAFETY: inside a run the task is not written.
                let task = sync::get(&self.task, |task| unsafe { *task });
                // SAFETY: the caller of this run waits in `close` until this worker has left.
                let job = unsafe { &*task.job };
                if catch_unwind(AssertUnwindSafe(|| self.work(index + 1, job, task.jobs))).is_err()
                {
                    self.next.store(task.jobs, Ordering::Relaxed);
                    self.panicked.store(true, Ordering::Relaxed);
                }
                self.state.fetch_sub(INSIDE, Ordering::Release);
            }
        }
    }

    /// The state once there is a run after `last`, or the pool ends.
    fn next_run(&self, last: u64, index: usize) -> u64 {
        loop {
            for _ in 0..SPIN {
                let state = self.state.load(Ordering::Acquire);
                if state & QUIT != 0 || state / RUN != last {
                    return state;
                }
                sync::spin();
            }
            self.asleep[index].store(true, Ordering::SeqCst);
            // A run opened before the line above is seen here; one opened after it sees that line.
            let state = self.state.load(Ordering::SeqCst);
            if state & QUIT == 0 && state / RUN == last {
                sync::park();
            }
            self.asleep[index].store(false, Ordering::SeqCst);
        }
    }

    /// Enters run `run` if it is still open.
    fn enter(&self, run: u64) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if state / RUN != run || state & OPEN == 0 {
                return false;
            }
            let more = state + INSIDE;
            match self.state.compare_exchange_weak(
                state,
                more,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
    }

    fn work(&self, thread: usize, job: &(dyn Fn(usize, usize) + Sync), jobs: usize) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= jobs {
                return;
            }
            job(thread, index);
        }
    }
}

/// The standard library's threads.
#[cfg(not(loom))]
mod sync {
    pub(super) use std::cell::UnsafeCell;
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub(super) use std::sync::{Arc, Mutex};
    pub(super) use std::thread::{JoinHandle, Thread, park};

    pub(super) fn at_once() -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }

    pub(super) fn spawn(work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
        std::thread::Builder::new().name("kvant-pool".to_owned()).spawn(work).ok()
    }

    pub(super) fn try_lock(mutex: &Mutex<()>) -> Option<std::sync::MutexGuard<'_, ()>> {
        match mutex.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }

    pub(super) fn spin() {
        std::hint::spin_loop();
    }

    /// Waits for workers that finish their last jobs; gives the core away where that takes long.
    pub(super) fn pause(rounds: u32) {
        if rounds.is_multiple_of(1 << 10) {
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }

    pub(super) fn set<T>(cell: &UnsafeCell<T>, set: impl FnOnce(*mut T)) {
        set(cell.get());
    }

    pub(super) fn get<T, R>(cell: &UnsafeCell<T>, get: impl FnOnce(*const T) -> R) -> R {
        get(cell.get())
    }
}

/// Loom's, which tries every order of events.
#[cfg(loom)]
mod sync {
    pub(super) use loom::cell::UnsafeCell;
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub(super) use loom::sync::{Arc, Mutex};
    pub(super) use loom::thread::{JoinHandle, Thread, park};

    pub(super) fn at_once() -> usize {
        4
    }

    pub(super) fn spawn(work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
        Some(loom::thread::spawn(work))
    }

    pub(super) fn try_lock(mutex: &Mutex<()>) -> Option<loom::sync::MutexGuard<'_, ()>> {
        mutex.try_lock().ok()
    }

    pub(super) fn spin() {
        loom::thread::yield_now();
    }

    pub(super) fn pause(_: u32) {
        loom::thread::yield_now();
    }

    pub(super) fn set<T>(cell: &UnsafeCell<T>, set: impl FnOnce(*mut T)) {
        cell.with_mut(set);
    }

    pub(super) fn get<T, R>(cell: &UnsafeCell<T>, get: impl FnOnce(*const T) -> R) -> R {
        cell.with(get)
    }
}

#[cfg(test)]
mod tests;
