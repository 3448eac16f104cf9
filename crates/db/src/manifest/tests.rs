//! Manifests: round trips, flips, and which one is the state.

use kvant_index::Metric;
use kvant_storage::MemDir;
use proptest::prelude::*;

use super::*;
use crate::Dense;
use crate::segment::strip::FileRef;

fn listed(len: usize, deleted: &[u32]) -> Listed {
    let mut live = Bitmap::full(len);
    for row in deleted {
        live.remove(Row(*row));
    }
    let table = FileRef { name: "0123456789abcdef".to_owned(), size: 99, identity: 7 };
    let files = Files { rows: len, table, vectors: BTreeMap::new(), fields: Vec::new() };
    Listed { files, live, hidden: vec!["gone".to_owned()] }
}

fn manifest(number: u64, segments: Vec<Listed>) -> Manifest {
    Manifest {
        number,
        config: Config::single(Dense::new(8, Metric::Cosine)),
        collection: 7,
        fields: BTreeMap::new(),
        seq: 17,
        time: 4,
        segments,
    }
}

#[test]
fn the_highest_number_is_the_state() {
    let dir = MemDir::default();
    assert!(Manifest::newest(&dir, 7).unwrap().is_none());
    dir.create_new(&Name::new("collection/7/manifest/notes.txt").unwrap(), b"mine").unwrap();
    for number in [9, 10, 2] {
        manifest(number, vec![listed(100, &[3, 99])]).publish(&dir).unwrap();
    }
    let newest = Manifest::newest(&dir, 7).unwrap().unwrap();
    assert_eq!((newest.number, newest.collection), (10, 7));
    assert_eq!((newest.seq, newest.time), (17, 4));
    assert_eq!(newest.segments[0].live, listed(100, &[3, 99]).live);
    assert_eq!(newest.segments[0].files, listed(100, &[]).files);
    assert_eq!(newest.segments[0].hidden, ["gone"]);
    assert_eq!(newest.config, manifest(1, vec![]).config);
    let of_another = dir.read(&numbered(&folder(7), 10).unwrap()).unwrap();
    dir.put(&numbered(&folder(8), 1).unwrap(), of_another.to_vec());
    let error = Manifest::newest(&dir, 8).unwrap_err().to_string();
    assert!(error.contains("another collection"), "{error}");
}

#[test]
fn a_damaged_newest_is_an_error_and_no_older_one_replaces_it() {
    let dir = MemDir::default();
    manifest(1, vec![]).publish(&dir).unwrap();
    manifest(2, vec![listed(40, &[0]), listed(0, &[])]).publish(&dir).unwrap();
    let name = numbered(&folder(7), 2).unwrap();
    let whole = dir.read(&name).unwrap();
    let mut harmless = 0;
    for bit in 0..whole.len() * 8 {
        let mut bad = whole.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        dir.put(&name, bad);
        match Manifest::newest(&dir, 7) {
            Ok(state) => {
                let state = state.unwrap();
                assert_eq!((state.number, state.segments.len()), (2, 2));
                harmless += 1;
            }
            Err(error) => assert!(error.to_string().contains("manifest/0000000002"), "{error}"),
        }
    }
    assert!(harmless < whole.len() * 4, "only the zeros between sections are not covered");
    for len in 0..whole.len() {
        dir.put(&name, whole[..len].to_vec());
        assert!(Manifest::newest(&dir, 7).is_err(), "cut to {len}");
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
        let expected = listed(live.len(), &dead).live;
        let mut out = Vec::new();
        put_rows(&mut out, &expected);
        let mut reader = Reader::new(&out);
        prop_assert_eq!(rows_of(&mut reader, live.len() as u32), Some(expected));
        prop_assert_eq!(reader.left(), 0);
    }
}
