//! Framed files: round trips, every bit flip, every cut.

use super::*;
use crate::MemDir;
use proptest::prelude::*;

const KIND: Kind = Kind { magic: *b"KVTEST\r\n", version: 3, features: 0b11 };

fn open(data: &[u8]) -> Result<Frame, FrameError> {
    Frame::open(Bytes::copy_of(data), Path::new("dir/file"), &KIND)
}

fn sample() -> Vec<u8> {
    let rows: Vec<u8> = (0..200).collect();
    let sections = [
        Section { name: "rows", data: &rows },
        Section { name: "empty", data: &[] },
        Section { name: "sixteen-bytes-xy", data: b"x" },
    ];
    to_bytes(&KIND, 1, &sections)
}

#[test]
fn streamed_and_built_files_are_the_same_bytes() {
    let dir = MemDir::default();
    let name = Name::new("a/b").unwrap();
    let sections = [Section { name: "one", data: &[7; 100] }, Section { name: "two", data: b"t" }];
    let identity = save(&dir, &name, &KIND, 0, &sections).unwrap();
    let bytes = dir.read(&name).unwrap();
    assert_eq!(&*bytes, &to_bytes(&KIND, 0, &sections));
    let frame = Frame::open(bytes, Path::new("f"), &KIND).unwrap();
    assert_eq!(frame.identity(), identity);
    assert_eq!(&*frame.section("one").unwrap(), &[7; 100]);
    assert_eq!(frame.section("two").unwrap().as_ptr() as usize % 64, 0);
    assert!(frame.section("three").unwrap_err().to_string().contains("no section \"three\""));
}

#[test]
fn pieces_make_the_file_that_their_whole_makes() {
    let dir = MemDir::default();
    let name = Name::new("a/b").unwrap();
    let sections = [
        Pieces { name: "one", data: vec![&[7; 60], &[], &[8; 40]] },
        Pieces { name: "none", data: Vec::new() },
        Pieces { name: "two", data: vec![b"t"] },
    ];
    let mut sink = dir.create(&name).unwrap();
    write(sink.as_mut(), &KIND, 1, &sections).unwrap();
    sink.publish().unwrap();
    let whole = [&[7; 60][..], &[8; 40]].concat();
    let sections = [
        Section { name: "one", data: &whole },
        Section { name: "none", data: &[] },
        Section { name: "two", data: b"t" },
    ];
    assert_eq!(&*dir.read(&name).unwrap(), &to_bytes(&KIND, 1, &sections));
}

#[test]
fn every_single_bit_flip_is_harmless_or_an_error() {
    let data = sample();
    for bit in 0..data.len() * 8 {
        let mut bad = data.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let Ok(frame) = open(&bad) else { continue };
        let sections = ["rows", "empty", "sixteen-bytes-xy"].map(|name| frame.section(name));
        if sections.iter().all(Result::is_ok) {
            let header = FIXED + 3 * ENTRY + 4;
            let rows = header.next_multiple_of(ALIGN);
            let padding =
                (header..rows).contains(&(bit / 8)) || (rows + 200..).contains(&(bit / 8));
            assert!(padding, "bit {bit} went unseen");
            assert_eq!(sections[0].as_ref().unwrap().len(), 200);
        } else {
            let error = sections.into_iter().find_map(Result::err).unwrap().to_string();
            assert!(error.starts_with("dir/file: section"), "{error}");
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_an_error() {
    let data = sample();
    for len in 0..data.len() {
        assert!(open(&data[..len]).is_err(), "cut to {len}");
    }
    let mut long = data.clone();
    long.push(0);
    assert!(open(&long).unwrap_err().to_string().contains("expected"));
}

#[test]
fn newer_versions_and_unknown_features_say_so() {
    let newer = Kind { version: 4, features: 0b111, ..KIND };
    let error = open(&to_bytes(&newer, 0, &[])).unwrap_err().to_string();
    assert_eq!(error, "dir/file: format version 4, this program reads up to 3; use a newer kvant");
    let same = Kind { version: 3, ..newer };
    let error = open(&to_bytes(&same, 0b101, &[])).unwrap_err().to_string();
    assert_eq!(error, "dir/file: needs unknown features 0x4; use a newer kvant");
    let other = Kind { magic: *b"KVOTHER\n", ..KIND };
    assert!(matches!(open(&to_bytes(&other, 0, &[])), Err(FrameError::Magic { .. })));
    assert_eq!(open(&sample()).unwrap().version(), 3);
}

#[test]
fn hostile_tables_are_refused_without_allocating() {
    let fix = |mut data: Vec<u8>, count: usize| {
        let end = FIXED + ENTRY * count;
        let crc = crc32c(&data[..end]);
        data[end..end + 4].copy_from_slice(&crc.to_le_bytes());
        data
    };
    let mut count = sample();
    count[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(open(&count).is_err());
    for (at, value) in [(16, u64::MAX), (16, 0), (24, u64::MAX), (24, 1 << 40), (24, 1)] {
        let mut data = sample();
        data[FIXED + at..FIXED + at + 8].copy_from_slice(&value.to_le_bytes());
        let error = open(&fix(data, 3)).unwrap_err();
        assert!(error.to_string().contains("section table"), "{error}");
    }
    let mut twice = sample();
    twice.copy_within(FIXED..FIXED + 16, FIXED + ENTRY);
    assert!(open(&fix(twice, 3)).is_err(), "a name twice");
}

proptest! {
    #[test]
    fn any_sections_come_back(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..10),
    ) {
        let names: Vec<String> = (0..parts.len()).map(|i| format!("s{i}")).collect();
        let sections: Vec<Section<'_>> =
            names.iter().zip(&parts).map(|(name, data)| Section { name, data }).collect();
        let frame = open(&to_bytes(&KIND, 2, &sections)).unwrap();
        prop_assert_eq!(frame.features(), 2);
        for section in &sections {
            prop_assert_eq!(&*frame.section(section.name).unwrap(), section.data);
        }
    }

    #[test]
    fn any_bytes_are_parsed_without_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut data = data;
        let _ = open(&data);
        let magic = KIND.magic.len().min(data.len());
        data[..magic].copy_from_slice(&KIND.magic[..magic]);
        let _ = open(&data);
    }
}
