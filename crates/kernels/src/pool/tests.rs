//! Every job runs once, in every order of events that loom finds.

use super::Pool;

#[cfg(loom)]
mod model {
    use super::Pool;
    use loom::sync::atomic::{AtomicUsize, Ordering};

    /// Runs `check` in every order of events with at most three changes of thread by force.
    fn model(check: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(check);
    }

    #[test]
    fn every_job_of_two_runs_is_done_once_before_the_run_returns() {
        model(|| {
            let pool = Pool::new(2);
            for _ in 0..2 {
                let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
                pool.run(2, &|_, index| {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        });
    }

    #[test]
    fn a_pool_that_never_ran_ends() {
        model(|| drop(Pool::new(3)));
    }

    struct Cells([loom::cell::UnsafeCell<usize>; 2]);

    // SAFETY: each job of the test touches its own cell.
    unsafe impl Sync for Cells {}

    impl Cells {
        fn get(&self, index: usize) -> &loom::cell::UnsafeCell<usize> {
            &self.0[index]
        }
    }

    #[test]
    fn what_a_job_wrote_is_seen_after_the_run() {
        model(|| {
            let pool = Pool::new(2);
            let cells = Cells([loom::cell::UnsafeCell::new(0), loom::cell::UnsafeCell::new(0)]);
            let cells = &cells;
            // SAFETY: each job touches its own cell.
            pool.run(2, &|_, index| cells.get(index).with_mut(|cell| unsafe { *cell = index + 1 }));
            for (index, cell) in cells.0.iter().enumerate() {
                // SAFETY: the run is over.
                assert_eq!(cell.with(|cell| unsafe { *cell }), index + 1);
            }
        });
    }
}

#[cfg(not(loom))]
mod real {
    use super::Pool;
    use crate::{Cores, CoresError, PinError};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn every_job_is_done_once_whatever_the_threads() {
        for threads in [0, 1, 2, 5] {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads.max(1));
            for round in 0..2000 {
                let jobs = round % 9;
                let counts: Vec<_> = (0..jobs).map(|_| AtomicUsize::new(0)).collect();
                pool.run(jobs, &|_, index| {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn absurd_numbers_of_threads_are_cut() {
        let pool = Pool::new(10_000);
        let most = std::thread::available_parallelism().unwrap().get().max(8);
        assert!((1..=most).contains(&pool.threads()));
        let done = AtomicUsize::new(0);
        pool.run(100, &|_, _| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 100);
    }

    #[test]
    fn a_thread_has_a_number_of_its_own() {
        let pool = Pool::new(4);
        let busy: Vec<_> = (0..pool.threads()).map(|_| std::sync::Mutex::new(())).collect();
        for _ in 0..200 {
            pool.run(16, &|thread, _| drop(busy[thread].try_lock().unwrap()));
        }
    }

    #[test]
    fn sleeping_workers_do_not_hold_up_a_run() {
        let pool = Pool::new(3);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(2));
            let sum = AtomicUsize::new(0);
            pool.run(50, &|_, index| {
                sum.fetch_add(index, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 49 * 50 / 2);
        }
    }

    #[test]
    fn a_run_inside_a_job_and_runs_of_several_callers_finish() {
        let pool = Pool::new(3);
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        pool.run(3, &|_, _| {
                            pool.run(2, &|_, _| {
                                sum.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 100 * 3 * 2);
    }

    #[test]
    fn a_panic_in_a_job_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(3);
        for bad in [0, 1, 7, 19] {
            let run = || pool.run(20, &|_, index| assert_ne!(index, bad, "meant"));
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
            let done = AtomicUsize::new(0);
            pool.run(20, &|_, _| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 20);
        }
    }

    #[test]
    fn cores_are_read_as_numbers_and_ranges() {
        let read = |text: &str| text.parse::<Cores>().map(|cores| cores.numbers().to_vec());
        assert_eq!(read("3"), Ok(vec![3]));
        assert_eq!(read("2,0-1, 7-7"), Ok(vec![2, 0, 1, 7]));
        assert_eq!(read("0-1023").map(|cores| cores.len()), Ok(1024));
        assert_eq!(read("0,2,1-3"), Err(CoresError::Twice(2)));
        for text in ["", ",", "1,", "a", "-1", "2-1", "0-", "1024", "0-99999999999999999999"] {
            let error = read(text).unwrap_err();
            assert_eq!(error, CoresError::Form(text.to_owned()));
            assert!(error.to_string().contains("as 0,1 or 0-3"), "{error}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn every_thread_is_bound_to_its_core() {
        let here = Cores::held().unwrap().numbers().to_vec();
        for count in 1..=here.len().min(4) {
            let asked: Vec<_> = here.iter().rev().take(count).copied().collect();
            let text = asked.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
            let pool = Pool::pinned(&text.parse().unwrap()).unwrap();
            assert_eq!(pool.threads(), count);
            // A job each: none ends before all have begun.
            let all = std::sync::Barrier::new(count);
            let found = std::sync::Mutex::new(vec![Vec::new(); count]);
            pool.run(count, &|thread, _| {
                all.wait();
                let cores = Cores::held().unwrap().numbers().to_vec();
                found.lock().unwrap()[thread] = cores;
            });
            let expected: Vec<_> = asked.iter().map(|&core| vec![core]).collect();
            assert_eq!(found.into_inner().unwrap(), expected);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_core_that_is_not_there_is_named_and_nothing_changes() {
        let before = Cores::held();
        let (first, absent) = (before.as_ref().unwrap().numbers()[0], 1023);
        let cores: Cores = format!("{first},{absent}").parse().unwrap();
        assert_eq!(Pool::pinned(&cores).map(|_| ()).unwrap_err(), PinError::Absent(absent));
        assert_eq!(cores.hold(), Err(PinError::Absent(absent)));
        assert_eq!(Cores::held(), before);
        assert!(PinError::Absent(absent).to_string().contains("no core 1023"));
    }

    #[cfg(not(target_os = "linux"))]
    #[test]
    fn other_systems_say_that_they_do_not_bind_threads() {
        let cores: Cores = "0".parse().unwrap();
        assert_eq!(Pool::pinned(&cores).map(|_| ()).unwrap_err(), PinError::Unsupported);
    }
}
