//! One suite, every implementation of `Dir`.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use kvant_storage::{
    CreateError, Dir, Fault, FaultDir, FsDir, LockError, MemDir, Name, ReadError, WriteError,
};
use std::sync::atomic::{AtomicUsize, Ordering};

fn each(check: impl Fn(&dyn Dir)) {
    let place = tempfile::tempdir().unwrap();
    check(&FsDir::create(&place.path().join("some/where")).unwrap());
    check(&MemDir::default());
    check(&FaultDir::new(MemDir::default(), 1));
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn what_is_created_is_read_back_and_never_replaced() {
    each(|dir| {
        for (text, data) in [("a", &b"alpha"[..]), ("deep/er/est/b", b""), ("deep/c", &[9; 5000])] {
            dir.create_new(&name(text), data).unwrap();
            assert_eq!(&*dir.read(&name(text)).unwrap(), data);
        }
        let taken = dir.create_new(&name("a"), b"other").unwrap_err();
        assert!(matches!(taken, CreateError::AlreadyExists { .. }), "{taken}");
        assert!(matches!(dir.append(&name("a")), Err(CreateError::AlreadyExists { .. })));
        assert_eq!(&*dir.read(&name("a")).unwrap(), b"alpha");
        assert_eq!(dir.list("").unwrap(), [name("a")]);
        assert_eq!(dir.list("deep").unwrap(), [name("deep/c")]);
        assert!(dir.list("nowhere").unwrap().is_empty());
    });
}

#[test]
fn missing_files_and_bad_ranges_name_the_file() {
    each(|dir| {
        let missing = dir.read(&name("x/none")).unwrap_err();
        assert!(matches!(missing, ReadError::Missing { .. }), "{missing}");
        assert!(missing.to_string().contains("x/none"), "{missing}");
        dir.create_new(&name("ten"), b"0123456789").unwrap();
        assert_eq!(&*dir.read_range(&name("ten"), 3..7).unwrap(), b"3456");
        assert_eq!(&*dir.read_range(&name("ten"), 10..10).unwrap(), b"");
        #[expect(clippy::reversed_empty_ranges, reason = "a hostile range")]
        for range in [3..11, 11..11, 0..u64::MAX, 7..3] {
            let error = dir.read_range(&name("ten"), range).unwrap_err();
            assert!(matches!(error, ReadError::Range { len: 10, .. }), "{error}");
        }
        assert!(matches!(dir.read_range(&name("no"), 0..1), Err(ReadError::Missing { .. })));
    });
}

#[test]
fn a_sink_is_invisible_until_published() {
    each(|dir| {
        let mut sink = dir.create(&name("s/one")).unwrap();
        sink.write(b"first ").unwrap();
        assert!(dir.read(&name("s/one")).is_err());
        assert!(dir.list("s").unwrap().is_empty());
        sink.write(b"second").unwrap();
        sink.publish().unwrap();
        assert_eq!(&*dir.read(&name("s/one")).unwrap(), b"first second");

        let mut dropped = dir.create(&name("s/two")).unwrap();
        dropped.write(b"never").unwrap();
        drop(dropped);
        assert_eq!(dir.list("s").unwrap(), [name("s/one")]);

        let late = dir.create(&name("s/one"));
        let lost = late.and_then(kvant_storage::Sink::publish);
        assert!(matches!(lost, Err(CreateError::AlreadyExists { .. })));
    });
}

#[test]
fn a_log_grows_and_is_visible_at_once() {
    each(|dir| {
        let mut log = dir.append(&name("log/1")).unwrap();
        assert_eq!(dir.list("log").unwrap(), [name("log/1")]);
        for part in [&b"ab"[..], b"", b"cde"] {
            log.append(part).unwrap();
            log.sync().unwrap();
        }
        assert_eq!(&*dir.read(&name("log/1")).unwrap(), b"abcde");
    });
}

#[test]
fn removal_is_idempotent_and_frees_the_name() {
    each(|dir| {
        dir.create_new(&name("r"), b"1").unwrap();
        dir.remove(&name("r")).unwrap();
        dir.remove(&name("r")).unwrap();
        assert!(dir.list("").unwrap().is_empty());
        dir.create_new(&name("r"), b"2").unwrap();
        assert_eq!(&*dir.read(&name("r")).unwrap(), b"2");
    });
}

#[test]
fn one_holder_of_the_lock() {
    each(|dir| {
        let held = dir.lock().unwrap();
        let second = dir.lock().unwrap_err();
        assert!(matches!(second, LockError::Held { .. }), "{second}");
        assert!(second.to_string().contains("close it there first"), "{second}");
        drop(held);
        drop(dir.lock().unwrap());
        assert!(dir.list("").unwrap().is_empty(), "the lock file is no name");
    });
}

#[test]
fn of_many_racers_one_wins() {
    each(|dir| {
        for round in 0..20 {
            let (wins, losses) = (AtomicUsize::new(0), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for racer in 0..6u8 {
                    let (wins, losses) = (&wins, &losses);
                    scope.spawn(move || {
                        match dir.create_new(&name(&format!("race/{round}")), &[racer; 64]) {
                            Ok(()) => wins.fetch_add(1, Ordering::Relaxed),
                            Err(CreateError::AlreadyExists { .. }) => {
                                losses.fetch_add(1, Ordering::Relaxed)
                            }
                            Err(error) => panic!("{error}"),
                        };
                    });
                }
            });
            assert_eq!((wins.into_inner(), losses.into_inner()), (1, 5));
            let data = dir.read(&name(&format!("race/{round}"))).unwrap();
            assert!(data.len() == 64 && data.iter().all(|b| *b == data[0]));
        }
    });
}

#[test]
fn leftovers_of_killed_writers_are_hidden_and_cleared_by_the_next_holder() {
    let place = tempfile::tempdir().unwrap();
    let dir = FsDir::create(place.path()).unwrap();
    dir.create_new(&name("m/1"), b"kept").unwrap();
    let left = [place.path().join(".tmp-1-1"), place.path().join("m/.tmp-9-9")];
    for path in &left {
        std::fs::write(path, b"half").unwrap();
    }
    assert_eq!(dir.list("m").unwrap(), [name("m/1")]);
    let _held = dir.lock().unwrap();
    assert!(left.iter().all(|path| !path.exists()));
    assert_eq!(&*dir.read(&name("m/1")).unwrap(), b"kept");
}

#[test]
fn opening_needs_a_directory() {
    let place = tempfile::tempdir().unwrap();
    let missing = FsDir::open(&place.path().join("no")).unwrap_err().to_string();
    assert!(missing.contains("no such file"), "{missing}");
    let file = place.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert!(FsDir::open(&file).is_err());
    let error = FsDir::create(&file.join("below")).unwrap_err().to_string();
    assert!(error.contains("not a directory"), "{error}");
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_nothing_is_sure_beyond() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let dir = MemDir::default();
        dir.create_new(&name("whole"), b"whole").unwrap();
        let mut log = dir.append(&name("log")).unwrap();
        log.append(b"durable").unwrap();
        log.sync().unwrap();
        log.append(b"open").unwrap();
        dir.remove(&name("whole")).unwrap();
        let after = dir.after_power_cut(seed);
        let bytes = after.read(&name("log")).unwrap();
        assert!(bytes.starts_with(b"durable") && bytes.len() <= 11);
        let back = after.read(&name("whole")).ok();
        assert!(back.as_deref().is_none_or(|data| data == b"whole"));
        outcomes.insert((bytes.to_vec(), back.is_some()));
        drop(after.lock().unwrap());
    }
    assert!(outcomes.len() > 10, "the dice know only {} outcomes", outcomes.len());
}

#[test]
fn a_fault_strikes_once_and_a_power_cut_stays() {
    let dir = FaultDir::new(MemDir::default(), 7);
    dir.arm(Fault::Fail, 1);
    dir.create_new(&name("a"), b"a").unwrap();
    assert!(dir.read(&name("a")).is_err());
    assert_eq!(&*dir.read(&name("a")).unwrap(), b"a");
    assert_eq!(dir.calls(), 3);

    let mut log = dir.append(&name("log")).unwrap();
    dir.arm(Fault::Fail, 0);
    let full = log.append(b"12345").unwrap_err().to_string();
    assert!(full.contains("the disk is full; free some space"), "{full}");
    assert!(matches!(log.sync(), Err(WriteError::Poisoned { .. })));

    dir.arm(Fault::PowerCut, 0);
    assert!(dir.list("").is_err());
    for i in 0..20 {
        assert!(dir.create_new(&name(&format!("n{i}")), b"").is_err());
    }
    assert!(dir.memory().files().iter().all(|(n, _)| !n.as_str().starts_with('n')));
    assert_eq!(&*dir.after_power_cut(3).read(&name("a")).unwrap(), b"a");
}

#[test]
fn after_a_failed_sync_nothing_more_becomes_durable() {
    let dir = FaultDir::new(MemDir::default(), 11);
    let mut log = dir.append(&name("log")).unwrap();
    log.append(b"sure").unwrap();
    log.sync().unwrap();
    log.append(b"lost").unwrap();
    dir.arm(Fault::Fail, 0);
    assert!(log.sync().is_err());
    assert!(log.append(b"more").is_err());
    let shortest = (0..100).map(|s| dir.after_power_cut(s).read(&name("log")).unwrap().len()).min();
    assert_eq!(shortest, Some(4));
}
