//! The log of a directory: order, sharing of waits, files begun and given back, crashes.

use std::sync::atomic::{AtomicU64, Ordering};

use kvant_storage::{Fault, FaultDir, MemDir};

use super::*;

fn clock() -> Clock {
    let time = AtomicU64::new(1000);
    Arc::new(move || time.fetch_add(1, Ordering::Relaxed))
}

fn open(dir: &MemDir) -> (FileJournal, Vec<Record>) {
    FileJournal::open(Arc::new(dir.clone()), clock()).unwrap()
}

fn texts(records: &[Record]) -> Vec<(u64, u64, Vec<u8>)> {
    records.iter().map(|r| (r.stamp.seq, r.collection, r.change.to_vec())).collect()
}

#[test]
fn records_come_back_in_order_and_go_on() {
    let dir = MemDir::default();
    for round in 0..4u64 {
        let (journal, records) = open(&dir);
        assert_eq!(records.len() as u64, round * 3);
        assert!(
            texts(&records)
                .iter()
                .all(|(seq, of, body)| { *of == seq % 2 && *body == seq.to_le_bytes() })
        );
        assert!(records.windows(2).all(|pair| pair[0].stamp.time <= pair[1].stamp.time));
        for _ in 0..3 {
            let seq = journal.durable() + 1;
            let stamp = journal.enqueue(seq % 2, seq.to_le_bytes().to_vec()).unwrap();
            assert_eq!(stamp.seq, seq);
            journal.wait(seq).unwrap();
        }
    }
}

#[test]
fn many_writers_share_waits_and_keep_their_order() {
    let dir = MemDir::default();
    let (journal, _) = open(&dir);
    std::thread::scope(|scope| {
        for of in 0..8u64 {
            let journal = &journal;
            scope.spawn(move || {
                let mut before = 0;
                for n in 0..50u64 {
                    let stamp = journal.enqueue(of, n.to_le_bytes().to_vec()).unwrap();
                    journal.wait(stamp.seq).unwrap();
                    assert!(stamp.seq > before && journal.durable() >= stamp.seq);
                    before = stamp.seq;
                }
            });
        }
    });
    drop(journal);
    let (_, records) = open(&dir);
    assert!(records.iter().map(|record| record.stamp.seq).eq(1..=400));
    for of in 0..8 {
        let own = records.iter().filter(|record| record.collection == of);
        assert!(own.map(|r| r.change.to_vec()).eq((0..50u64).map(|n| n.to_le_bytes().to_vec())));
    }
}

#[test]
fn files_are_given_back_once_all_are_covered() {
    let dir = MemDir::default();
    for round in 0..3u64 {
        let (journal, _) = open(&dir);
        for of in [1, 2] {
            let stamp = journal.enqueue(of, vec![round as u8; 10]).unwrap();
            journal.wait(stamp.seq).unwrap();
        }
    }
    let logs = || dir.list(frame::FOLDER).unwrap().len();
    assert_eq!(logs(), 3);
    let (journal, records) = open(&dir);
    assert_eq!(records.len(), 6);
    // Records 1 and 2 are covered, 4 is not.
    journal.trim(&|of| if of == 1 { 5 } else { 2 }).unwrap();
    assert_eq!(logs(), 2);
    drop(journal);
    let (journal, records) = open(&dir);
    assert!(records.iter().map(|record| record.stamp.seq).eq(3..=6));
    journal.trim(&|_| 6).unwrap();
    drop(journal);
    let (journal, records) = open(&dir);
    assert!(records.is_empty() && logs() == 0);
    // Numbers go on behind what manifests know of.
    journal.skip_to(6, 5000);
    let stamp = journal.enqueue(1, vec![1]).unwrap();
    assert_eq!(stamp, Stamp { seq: 7, time: 5000 });
    journal.wait(7).unwrap();
    drop(journal);
    assert_eq!(open(&dir).1.len(), 1);
}

#[test]
fn what_was_acknowledged_survives_power_cuts_and_errors_at_every_call() {
    for fault in [Fault::PowerCut, Fault::Fail] {
        for at in 0..40 {
            let dir = FaultDir::new(MemDir::default(), at);
            dir.arm(fault, at);
            let (mut acked, mut tried) = (0u64, 0u64);
            let mut doubt = 0u64;
            for _ in 0..3 {
                let opened = FileJournal::open(Arc::new(dir.clone()), clock());
                let Ok((journal, records)) = opened else { continue };
                let got = records.len() as u64;
                assert!(got == acked || got == acked + doubt, "{fault:?} {at}: {got}, {acked}");
                (acked, doubt) = (got, 0);
                for _ in 0..4 {
                    tried += 1;
                    let Ok(stamp) = journal.enqueue(1, tried.to_le_bytes().to_vec()) else { break };
                    if journal.wait(stamp.seq).is_err() {
                        doubt = 1;
                        break;
                    }
                    acked += 1;
                }
            }
            let after = dir.after_power_cut(at * 7 + 1);
            let (_, records) = FileJournal::open(Arc::new(after), clock()).unwrap();
            let got = records.len() as u64;
            assert!(got == acked || got == acked + doubt, "{fault:?} {at}: {got} of {acked}");
        }
    }
}
