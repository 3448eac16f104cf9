//! Parquet and HDF5 as other programs write them (`testdata/golden/source`), whole and broken.

use std::path::{Path, PathBuf};

use kvant_db::PointId;
use kvant_db::source::{Fields, Format, Record, Source};
use kvant_testkit::Random;
use serde_json::{Value, json};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/source").join(name)
}

fn records(name: &str, fields: &Fields) -> Result<Vec<Record>, String> {
    let source = Source::open(&golden(name), fields);
    source.and_then(Iterator::collect).map_err(|error| error.to_string())
}

/// What `make.py` wrote.
fn vector(row: usize) -> Vec<f32> {
    (0..3).map(|i| ((row * 3 + i) as f32 - 4.0) / 8.0).collect()
}

#[test]
fn parquet_in_every_compression() {
    for name in ["none.parquet", "snappy.parquet", "zstd.parquet"] {
        let records = records(name, &Fields::default()).expect(name);
        assert_eq!(records.len(), 8);
        for (row, record) in records.iter().enumerate() {
            assert_eq!(record.id, Some(PointId::Number(10 + row as u64)));
            assert_eq!(record.vector, Some(vector(row)));
            assert_eq!(record.text, Some(format!("text {row}")));
        }
        let expected = json!({
            "text": "text 0", "lang": "en", "tags": ["a", "b"], "open": true, "share": 0.5,
            "by": {"name": "Ada", "year": 1843}, "day": "2020-01-01",
        });
        assert_eq!(Value::Object(records[0].payload.clone()), expected);
        assert!(!records[1].payload.contains_key("lang"), "a missing value is no key");
        assert_eq!(records[1].payload["tags"], json!([]));
        assert_eq!(records[7].payload["share"], Value::Null);
    }
}

#[test]
fn parquet_with_other_names_and_lists_of_one_length() {
    let fields = Fields { id: "key".into(), vector: "emb".into(), ..Fields::default() };
    let records = records("fixed.parquet", &fields).expect("good");
    assert_eq!(records[7].id, Some(PointId::Text("k7".into())));
    assert_eq!(records[7].vector, Some(vector(7)));
    assert!(records[7].payload.is_empty() && records[7].text.is_none());
}

#[test]
fn hdf5_as_ann_benchmarks_and_packed() {
    for name in ["plain.hdf5", "packed.hdf5"] {
        let records = records(name, &Fields::default()).expect(name);
        let vectors: Vec<_> = records.into_iter().filter_map(|record| record.vector).collect();
        assert_eq!(vectors, (0..8).map(vector).collect::<Vec<_>>(), "{name}");
    }
    let fields = Fields { vector: "test".into(), ..Fields::default() };
    let tests = records("plain.hdf5", &fields).expect("good");
    assert_eq!(tests[1].vector, Some(vector(1).iter().map(|v| v * 2.0).collect()));
}

#[test]
fn rows_are_counted_and_skipped() {
    for name in ["snappy.parquet", "plain.hdf5", "packed.hdf5"] {
        let mut source = Source::open(&golden(name), &Fields::default()).expect(name);
        assert_eq!(source.len_hint(), Some(8));
        assert_eq!(source.skip_records(5), 5);
        assert_eq!(source.len_hint(), Some(3));
        let sixth = source.next().expect("the sixth").expect("good");
        assert_eq!(sixth.vector, Some(vector(5)), "{name}");
        assert_eq!(source.place().to_string(), "row 5");
        assert_eq!(source.skip_records(9), 2);
        assert!(source.next().is_none());
    }
}

#[test]
fn errors_name_the_file_and_the_row() {
    let says = |name: &str, fields: &Fields, expected: &str| {
        let error = records(name, fields).expect_err(name);
        assert!(error.contains(name) && error.contains(expected), "{error}");
        assert!(!error.contains('\n') && error.len() < 400, "{error}");
    };
    says("nan.parquet", &Fields::default(), "row 1: component 1 of the vector is not a finite");
    says("empty.hdf5", &Fields::default(), "the file is cut short");
    let fields = Fields { vector: "neighbors".into(), ..Fields::default() };
    says("plain.hdf5", &fields, "are not read; store float32");
    let fields = Fields { text: "open".into(), ..Fields::default() };
    says("snappy.parquet", &fields, "row 0: field \"open\" must be a string, got true");
    let fields = Fields { vector: "tags".into(), ..Fields::default() };
    says("snappy.parquet", &fields, "field \"tags\" must be a list of numbers");
    let fields = Fields { id: "share".into(), ..Fields::default() };
    says("snappy.parquet", &fields, "row 0: field \"id\"".replace("id", "share").as_str());
}

/// Reads bytes to their end or first error.
fn drain(format: Format, bytes: Vec<u8>) {
    let name = Path::new("hostile");
    if let Ok(source) = Source::from_bytes(name, format, bytes.into(), &Fields::default()) {
        // A broken file may claim many rows, but each costs some of its bytes.
        assert!(source.take(100_000).count() < 100_000);
    }
}

fn rounds() -> usize {
    let asked = std::env::var("KVANT_TEST_ROUNDS").ok();
    asked.and_then(|rounds| rounds.parse().ok()).unwrap_or(300)
}

#[test]
fn broken_files_are_errors_and_nothing_worse() {
    let mut random = Random::new(5);
    for name in ["none.parquet", "snappy.parquet", "zstd.parquet", "plain.hdf5", "packed.hdf5"] {
        let format = Format::of(Path::new(name)).expect("known");
        let whole = std::fs::read(golden(name)).expect("there");
        for _ in 0..rounds() {
            let mut bytes = whole.clone();
            match random.below(4) {
                0 => bytes.truncate(random.below(whole.len())),
                1 => {
                    let start = random.below(whole.len());
                    let end = (start + random.below(64)).min(whole.len());
                    bytes[start..end].fill(random.bits() as u8);
                }
                _ => {
                    for _ in 0..=random.below(3) {
                        let at = random.below(whole.len());
                        bytes[at] = random.bits() as u8;
                    }
                }
            }
            drain(format, bytes);
        }
    }
    for format in [Format::Parquet, Format::Hdf5] {
        drain(format, Vec::new());
        drain(format, b"PAR1".repeat(3));
        drain(format, b"\x89HDF\r\n\x1a\n".repeat(30));
    }
}
