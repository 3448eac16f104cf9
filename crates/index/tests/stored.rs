//! Indexes as files: they come back as they were, and damage is told.

#![expect(clippy::expect_used, reason = "helpers of a test")]

use std::path::Path;

use kvant_index::{
    AnyRows, BuildOptions, Check, CodeSpec, Effort, Family, FloatRows, Index, IndexSpec, Metric,
    RerankSpec, SearchOptions, Spec, Spill, Stored, StoredError, Tuning,
};
use kvant_storage::frame::{self, Kind, Section};
use kvant_storage::{Bytes, Dir, FsDir, MemDir, Name};
use kvant_testkit::clustered;

const DIM: usize = 20;
const N: usize = 150;
/// Of the version before, which has no table of blocks.
const FIRST: Kind = Kind { magic: *b"KVANTIDX", version: 1, features: 0 };
const KIND: Kind = Kind { magic: *b"KVANTIDX", version: 2, features: 0 };

fn build<'a>(spec: &IndexSpec, rows: &'a [f32], metric: Metric) -> Index<'a> {
    let rows = FloatRows::new(rows, DIM, metric);
    Index::build(spec, rows, &BuildOptions::default()).expect("a code that holds them")
}

fn open(bytes: Vec<u8>, check: Check) -> Result<Stored, StoredError> {
    Stored::open(Bytes::from(bytes), Path::new("dir/near.kvant"), check)
}

fn specs() -> Vec<IndexSpec> {
    let reranks = [None].into_iter().chain(RerankSpec::ALL.map(|rerank| Some((rerank, 3))));
    let ivf = |spill| Spec::Ivf { lists: 7, spill };
    let lsh = |family| Spec::Lsh { family, tables: 3, bits: 5 };
    let shapes = [Spec::Flat, Spec::Hnsw { m: 4 }, ivf(Spill::One), ivf(Spill::Two)];
    let cut = [Spec::Forest { trees: 3 }, lsh(Family::Planes), lsh(Family::Polytopes)];
    let cut = cut.into_iter().chain([Spec::Qg { links: 32 }]);
    let shapes: Vec<Spec> = shapes.into_iter().chain(cut).collect();
    let all = reranks.flat_map(|rerank| {
        let codes = AnyRows::CODES.into_iter();
        let shapes = shapes.clone();
        codes.flat_map(move |code| {
            let of = move |shape| IndexSpec { shape, code, rerank };
            shapes.clone().into_iter().map(of)
        })
    });
    all.collect()
}

#[test]
fn what_is_opened_answers_as_what_was_saved() {
    for n in [0, 1, N] {
        let data = clustered(n + 3, DIM, 5);
        let (rows, queries) = data.split_at(n * DIM);
        for spec in specs() {
            let index = build(&spec, rows, Metric::Euclid);
            let dir = MemDir::default();
            let name = Name::new("near").expect("a name");
            let mut sink = dir.create(&name).expect("room");
            index.write(&mut *sink).expect("room");
            sink.publish().expect("room");
            let bytes = dir.read(&name).expect("there");
            assert_eq!(&*bytes, &index.to_bytes(), "{spec}");
            let mut stored =
                Stored::open(bytes, Path::new("near"), Check::Everything).expect("whole");
            assert_eq!((stored.spec(), stored.metric()), (spec, Metric::Euclid));
            assert_eq!((stored.dim(), stored.len(), stored.is_empty()), (DIM, n, n == 0));
            assert_eq!(stored.sizes(), index.sizes(), "{spec}");
            for loaded in [false, true] {
                if loaded {
                    stored.load().expect("whole");
                }
                let again = stored.index().expect("whole");
                for query in queries.chunks_exact(DIM) {
                    let options = SearchOptions::default();
                    assert_eq!(again.search(query, &options), index.search(query, &options));
                }
                assert_eq!(again.to_bytes(), index.to_bytes(), "{spec}");
            }
        }
    }
}

/// Rows are in a file only where something is measured by them, and sizes say which part is hot.
#[test]
fn files_hold_rows_only_where_they_are_needed() {
    let rows = clustered(N, DIM, 6);
    let raw = (N * DIM * 4) as u64;
    for spec in specs() {
        let index = build(&spec, &rows, Metric::Euclid);
        let sizes = index.sizes();
        let floats = matches!(spec.code, CodeSpec::Float | CodeSpec::Bound(_));
        let again = matches!(spec.rerank, Some((RerankSpec::Float, _)));
        // Rows that lie in two lists have two codes.
        let twice = matches!(spec.shape, Spec::Ivf { spill: Spill::Two, .. });
        assert!(twice || (sizes.code >= raw) == floats, "{spec}");
        assert_eq!(sizes.rerank >= raw, again && !floats, "{spec}");
        let all = sizes.shape + sizes.code + sizes.rerank;
        let size = index.to_bytes().len() as u64;
        assert!((all..all + 1024).contains(&size), "{spec}: {size} of {all}");
        let hot = sizes.hot_per_row(N);
        assert!((hot * N as f64 - (sizes.shape + sizes.code) as f64).abs() < 1e-6);
    }
}

#[test]
fn a_mapped_file_is_opened_without_its_codes_being_read() {
    let rows = clustered(N, DIM, 7);
    let spec = "hnsw4,rq4,rerank32".parse().expect("a name");
    let mut bytes = build(&spec, &rows, Metric::Cosine).to_bytes();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let folder = std::env::temp_dir().join(format!("kvant-stored-{}", std::process::id()));
    let dir = FsDir::create(&folder).expect("a folder");
    let name = Name::new("near").expect("a name");
    dir.create_new(&name, &bytes).expect("written");
    let mapped = dir.read(&name).expect("there");
    let path = folder.join("near");
    let mut stored = Stored::open(mapped.clone(), &path, Check::Opened).expect("a whole header");
    stored.load().expect("whole codes");
    let index = stored.index().expect("a whole head");
    let error = index.search(&rows[..DIM], &SearchOptions::default()).expect_err("damaged");
    let error = error.to_string();
    assert!(error.contains("near: section \"rows\": the block at byte "), "{error}");
    let error = Stored::open(mapped, &path, Check::Everything).expect_err("damaged").to_string();
    assert!(error.contains("near: section \"rows\"") && error.contains("restore"), "{error}");
    std::fs::remove_dir_all(folder).expect("removed");
}

/// Every bit of a small file: an error naming the file, or an index that answers.
#[test]
fn every_changed_bit_and_every_cut_is_told_or_harmless() {
    let rows = clustered(12, DIM, 8);
    for name in ["flat", "hnsw4,int8,rerank32", "flat,bound2,rerank16"] {
        let bytes = build(&name.parse().expect("a name"), &rows, Metric::Euclid).to_bytes();
        for cut in 0..bytes.len() {
            let error = open(bytes[..cut].to_vec(), Check::Opened).expect_err("cut").to_string();
            assert!(error.starts_with("dir/near.kvant: "), "{error}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(stored) = open(changed.clone(), Check::Opened)
                && let Ok(index) = stored.index()
            {
                match index.search(&rows[..DIM], &SearchOptions::default()) {
                    Ok(found) => assert_eq!(found.hits.len(), 10, "{name} {bit}"),
                    Err(error) => assert!(error.to_string().contains("restore"), "{error}"),
                }
            }
            let whole = open(changed, Check::Everything);
            let padding = || bit / 8 > 64 && bytes[bit / 8] == 0;
            assert!(whole.is_err() || padding(), "{name}: bit {bit} went unseen");
        }
    }
}

/// Sections whose checksums are right and whose content is not.
#[test]
fn sections_that_do_not_fit_are_refused_by_name() {
    let rows = clustered(N, DIM, 9);
    let spec = "hnsw4,int8,rerank32".parse().expect("a name");
    let bytes = build(&spec, &rows, Metric::Euclid).to_bytes();
    let frame = frame::Frame::open(Bytes::from(bytes), Path::new("f"), &KIND).expect("whole");
    let names = ["head", "shape", "code", "rows"];
    let parts = names.map(|name| frame.section(name).expect("there").to_vec());
    let refused = |change: &dyn Fn(&mut [Vec<u8>; 4]), without: Option<&str>, text: &str| {
        let mut parts = parts.clone();
        change(&mut parts);
        let sections = names.iter().zip(&parts).map(|(name, data)| Section { name, data });
        let sections: Vec<_> = sections.filter(|part| Some(part.name) != without).collect();
        let file = open(frame::to_bytes(&FIRST, 0, &sections), Check::Everything);
        let error = match file {
            Err(error) => error,
            Ok(stored) => stored.index().map(drop).expect_err(text),
        };
        let error = error.to_string();
        assert!(error.starts_with("dir/near.kvant: ") && error.contains(text), "{text}: {error}");
    };
    refused(&|_| (), Some("head"), "no section \"head\"");
    refused(&|_| (), Some("shape"), "no section \"shape\"");
    refused(&|_| (), Some("code"), "section \"code\": index of 0 bytes");
    refused(&|_| (), Some("rows"), "build the index again");
    refused(&|parts| parts[0][0] ^= 1, None, "section \"rows\"");
    refused(&|parts| parts[0][7] = 1, None, "section \"head\": index header: number of rows");
    refused(&|parts| parts[0][8..12].fill(0), None, "section \"head\": index header: dimension");
    refused(&|parts| parts[0][12] = 9, None, "section \"head\": index header: metric");
    refused(&|parts| parts[0][13] = 1, None, "section \"head\": index header: reserved byte");
    refused(&|parts| parts[0][15] = 255, None, "section \"head\": index header: length");
    refused(&|parts| parts[0].push(b'x'), None, "section \"head\": index of");
    refused(&|parts| parts[0][16] = b'x', None, "use a newer kvant");
    refused(&|parts| parts[0][20] = b'8', None, "section \"shape\": index header: shape");
    refused(&|parts| parts[1].truncate(40), None, "section \"shape\": index of");
    refused(&|parts| parts[2].truncate(100), None, "section \"code\": index of");
    refused(&|parts| parts[3].truncate(400), None, "section \"rows\": index of 400 bytes");
    refused(&|parts| parts[0][12] = 1, None, "section \"code\": index header: metric");
}

#[test]
fn a_tuned_effort_comes_back() {
    let data = clustered(N, DIM, 5);
    let spec: IndexSpec = "ivf9,int8".parse().expect("a name");
    let plain = build(&spec, &data, Metric::Euclid);
    assert_eq!(open(plain.to_bytes(), Check::Everything).expect("whole").tuning().ok(), Some(None));
    let tuning = Tuning { k: 4, effort: Effort::Probes(2) };
    let other = Tuning { k: 4, effort: Effort::Ef(2) };
    assert_eq!(build(&spec, &data, Metric::Euclid).tuned(other).tuning(), None, "of graphs");
    let tuned = plain.tuned(tuning);
    let bytes = tuned.to_bytes();
    let stored = open(bytes.clone(), Check::Everything).expect("whole");
    assert_eq!(stored.tuning().ok(), Some(Some(tuning)));
    let index = stored.index().expect("whole");
    assert_eq!(index.tuning(), Some(tuning));
    let search = |effort| {
        let options = SearchOptions { k: 4, effort, ..SearchOptions::default() };
        index.search(&data[..DIM], &options).expect("a query that fits").hits
    };
    assert_eq!(search(Effort::Default), search(Effort::Probes(2)));
    // What is no tuning of lists is told, by name.
    let frame = frame::Frame::open(Bytes::from(bytes), Path::new("near"), &KIND).expect("whole");
    let names = ["head", "shape", "code"];
    let kept = names.map(|name| frame.section(name).expect("whole"));
    let bad = [1, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0];
    let sections = names.iter().zip(&kept).map(|(&name, data)| Section { name, data });
    let sections: Vec<Section<'_>> =
        sections.chain([Section { name: "tuning", data: &bad }]).collect();
    let stored = open(frame::to_bytes(&FIRST, 0, &sections), Check::Everything).expect("a frame");
    let error = stored.index().expect_err("no tuning of lists").to_string();
    assert!(error.contains("section \"tuning\"") && error.contains("build"), "{error}");
}
