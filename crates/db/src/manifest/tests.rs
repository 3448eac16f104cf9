//! Manifests: round trips, flips, and which one is the state.

use super::*;
use kvant_index::{Metric, Spec};
use kvant_storage::MemDir;
use proptest::prelude::*;

fn listed(number: u64, len: usize, deleted: &[u32]) -> Listed {
    let mut live = Bitmap::full(len);
    for row in deleted {
        live.remove(Row(*row));
    }
    Listed { number, identity: number as u32 + 1, live }
}

fn manifest(number: u64, segments: Vec<Listed>) -> Manifest {
    Manifest {
        number,
        settings: Settings::new(Metric::Cosine, 8, Spec::default()),
        collection: u64::MAX - 3,
        wal: Pin { number: 4, first: 17, end: 64 },
        segments,
    }
}

#[test]
fn the_highest_number_is_the_state() {
    let dir = MemDir::default();
    assert!(Manifest::newest(&dir).unwrap().is_none());
    dir.create_new(&Name::new("manifest/notes.txt").unwrap(), b"mine").unwrap();
    for number in [9, 10, 2] {
        manifest(number, vec![listed(1, 100, &[3, 99])]).publish(&dir).unwrap();
    }
    let (newest, _) = Manifest::newest(&dir).unwrap().unwrap();
    assert_eq!((newest.number, newest.collection), (10, u64::MAX - 3));
    assert_eq!(newest.wal, Pin { number: 4, first: 17, end: 64 });
    assert_eq!(newest.segments[0].live, listed(1, 100, &[3, 99]).live);
    assert_eq!(newest.settings.spec, Spec::default());
}

#[test]
fn a_damaged_newest_is_an_error_and_no_older_one_replaces_it() {
    let dir = MemDir::default();
    manifest(1, vec![]).publish(&dir).unwrap();
    manifest(2, vec![listed(1, 40, &[0]), listed(2, 0, &[])]).publish(&dir).unwrap();
    let name = Name::numbered(FOLDER, 2);
    let whole = dir.read(&name).unwrap();
    let mut harmless = 0;
    for bit in 0..whole.len() * 8 {
        let mut bad = whole.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        dir.put(&name, bad);
        match Manifest::newest(&dir) {
            Ok(state) => {
                let (state, _) = state.unwrap();
                assert_eq!((state.number, state.segments.len()), (2, 2));
                harmless += 1;
            }
            Err(error) => assert!(error.to_string().contains("manifest/0000000002"), "{error}"),
        }
    }
    assert!(harmless < whole.len() * 4, "only the zeros between sections are not covered");
    for len in 0..whole.len() {
        dir.put(&name, whole[..len].to_vec());
        assert!(Manifest::newest(&dir).is_err(), "cut to {len}");
    }
}

#[test]
fn senseless_deleted_rows_are_refused() {
    let read = |bytes: &[u8], len| rows_of(&mut Reader::new(bytes), len);
    assert!(read(&[], 0).is_none());
    assert!(read(&[1, 0, 0, 0, 9, 0, 0, 0], 9).is_none(), "a row past the end");
    assert!(read(&[2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], 9).is_none(), "a row twice");
    assert!(read(&[254, 255, 255, 255], u32::MAX).is_none(), "more rows than bytes");
    assert!(read(&[255, 255, 255, 255, 0], u32::MAX).is_none(), "fewer bits than rows");
}

proptest! {
    #[test]
    fn deleted_rows_come_back(live in prop::collection::vec(prop::bool::weighted(0.9), 0..300)) {
        let dead = (0..live.len() as u32).filter(|row| !live[*row as usize]).collect::<Vec<_>>();
        let expected = listed(0, live.len(), &dead).live;
        let mut out = Vec::new();
        put_rows(&mut out, &expected);
        let mut reader = Reader::new(&out);
        prop_assert_eq!(rows_of(&mut reader, live.len() as u32), Some(expected));
        prop_assert_eq!(reader.left(), 0);
    }
}
