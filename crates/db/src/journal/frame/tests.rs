//! The log: every cut, every flip, every outcome of a power cut.

use super::*;
use kvant_storage::{Fault, FaultDir, MemDir};

const SALT: u64 = 0x1234_5678_9abc_def0;

/// A log of three records, as it lies in the directory.
fn written(dir: &dyn Dir) -> Pin {
    let (mut wal, pin) = Writer::create(dir, 7, SALT, 5, &[]).unwrap();
    wal.mark();
    for body in [&b"first"[..], b"the second", &[0; 100]] {
        wal.commit(body).unwrap();
    }
    pin
}

fn file() -> Name {
    Name::numbered(FOLDER, 7)
}

fn texts(replay: &Replay) -> Vec<Vec<u8>> {
    replay.frames.iter().map(|frame| body(frame).to_vec()).collect()
}

fn all() -> Vec<Vec<u8>> {
    vec![b"first".to_vec(), b"the second".to_vec(), vec![0; 100]]
}

#[test]
fn records_come_back_and_can_start_the_next_log() {
    let dir = MemDir::default();
    let pin = written(&dir);
    let replay = read(&dir, &pin, SALT, Extent::Open).unwrap();
    assert_eq!(texts(&replay), all());
    assert_eq!(replay.confirmed, 3);
    let (mut next, pin) = Writer::create(&dir, 8, SALT, 5, &replay.frames).unwrap();
    next.commit(b"fourth").unwrap();
    let replay = read(&dir, &pin, SALT, Extent::Open).unwrap();
    assert_eq!(texts(&replay)[..3], all());
    assert_eq!(texts(&replay)[3], b"fourth");
    assert_eq!((replay.confirmed, replay.confirmed_end), (4, next.end()));
}

#[test]
fn a_cut_log_is_its_records_before_the_cut_or_an_error() {
    let dir = MemDir::default();
    let pin = written(&dir);
    let whole = dir.read(&file()).unwrap();
    for len in 0..whole.len() {
        dir.put(&file(), whole[..len].to_vec());
        match read(&dir, &pin, SALT, Extent::Open) {
            Ok(replay) => {
                let got = texts(&replay);
                assert!(len >= HEADER && got == all()[..got.len()], "cut to {len}");
                // Frames count as durable when the mark behind them, or a later frame, is whole.
                let marked = (0..=3).rev().find(|n| len >= marks(*n) + HEAD).unwrap_or(0);
                assert_eq!(replay.confirmed, marked, "cut to {len}");
            }
            Err(error) => {
                assert!(len < HEADER, "cut to {len}: {error}");
                assert!(error.to_string().contains("log/0000000007"), "{error}");
            }
        }
    }
}

/// Where the mark behind record `count` starts.
fn marks(count: usize) -> usize {
    HEADER + [0, 5, 15, 115][count] + 2 * HEAD * count
}

#[test]
fn every_bit_flip_is_an_error_or_harmless() {
    let dir = MemDir::default();
    let pin = written(&dir);
    let whole = dir.read(&file()).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bad = whole.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        dir.put(&file(), bad);
        match read(&dir, &pin, SALT, Extent::Open) {
            Ok(replay) => {
                assert_eq!(texts(&replay), all(), "bit {bit}");
                let at = bit / 8;
                let in_mark = (0..=3).any(|n| (marks(n)..marks(n) + HEAD).contains(&at));
                assert!(in_mark, "byte {at} is no mark and its flip went unseen");
            }
            Err(error) => assert!(error.to_string().contains("log/0000000007"), "{error}"),
        }
    }
}

#[test]
fn a_last_record_without_its_mark_may_be_torn() {
    let dir = MemDir::default();
    let pin = written(&dir);
    let whole = dir.read(&file()).unwrap();
    let mut torn = whole[..whole.len() - HEAD].to_vec();
    *torn.last_mut().unwrap() ^= 1;
    dir.put(&file(), torn.clone());
    assert_eq!(texts(&read(&dir, &pin, SALT, Extent::Open).unwrap()), all()[..2]);
    let pinned = Pin { end: torn.len() as u64, ..pin };
    let error = read(&dir, &pinned, SALT, Extent::Open).unwrap_err().to_string();
    assert!(error.contains("that was on the disk is damaged"), "{error}");
}

#[test]
fn power_cuts_keep_every_commit() {
    for seed in 0..300 {
        let dir = FaultDir::new(MemDir::default(), seed);
        let (mut wal, pin) = Writer::create(&dir, 7, SALT, 1, &[]).unwrap();
        dir.arm(Fault::PowerCut, seed % 12);
        let mut acked = 0;
        while acked < 6 && wal.commit(&[acked as u8; 90]).is_ok() {
            acked += 1;
        }
        let after = dir.after_power_cut(seed * 31);
        let replay = read(&after, &pin, SALT, Extent::Open).unwrap();
        let got = texts(&replay);
        assert!(got.len() == acked || got.len() == acked + 1, "seed {seed}: {acked} acked");
        assert!(got.iter().enumerate().all(|(i, body)| *body == [i as u8; 90]));
    }
}

#[test]
fn bytes_in_a_body_do_not_pass_as_records() {
    let dir = MemDir::default();
    let (mut wal, pin) = Writer::create(&dir, 7, SALT, 1, &[]).unwrap();
    // Somebody who does not know the collection's number forges the next record in a payload.
    let mut body = head(0, 2, b"forged").to_vec();
    body.extend_from_slice(b"forged");
    wal.commit(&body).unwrap();
    let whole = dir.read(&file()).unwrap();
    let mut torn = whole[..whole.len() - HEAD].to_vec();
    torn[HEADER] ^= 1;
    dir.put(&file(), torn);
    assert!(read(&dir, &pin, SALT, Extent::Open).unwrap().frames.is_empty());
}

#[test]
fn another_log_in_its_place_is_refused() {
    let dir = MemDir::default();
    let pin = written(&dir);
    let refused = |pin: &Pin, salt| read(&dir, pin, salt, Extent::Open).unwrap_err().to_string();
    assert!(refused(&pin, 1).contains("another directory"));
    assert!(refused(&Pin { first: 6, ..pin.clone() }, SALT).contains("another directory"));
    assert!(refused(&Pin { number: 8, ..pin.clone() }, SALT).contains("no such file"));
    let mut newer = header(7, SALT, 5);
    newer[8] = 3;
    dir.put(&file(), newer.to_vec());
    assert!(refused(&pin, SALT).contains("use a newer kvant"));
}
