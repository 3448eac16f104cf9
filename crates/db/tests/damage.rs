//! Damaged, cut, missing and foreign files: the right answer or an error naming the file.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use kvant_db::{Collection, OpenError, Point, PointId, Settings, Tuning};
use kvant_index::{Metric, Spec};
use kvant_storage::{Dir, MemDir, Name};
use kvant_testkit::Random;
use serde_json::json;
use std::collections::BTreeMap;

const DIM: usize = 4;

type Contents = BTreeMap<PointId, Point>;

fn point(id: u64, random: &mut Random) -> Point {
    let payload = json!({ "n": id, "text": format!("point {id}") });
    let payload = payload.as_object().unwrap().clone();
    Point { id: PointId::Number(id), vector: random.normals(DIM), payload }
}

/// Two segments (one with a graph), deletions in the manifest and in the log, and points in the
/// log. `batches` gets the contents after each batch of the log.
fn build(seed: u64, batches: &mut Vec<Contents>) -> MemDir {
    let mut random = Random::new(seed);
    let dir = MemDir::default();
    let settings = Settings::new(Metric::Cosine, DIM, Spec::default());
    let tuning = Tuning { threads: 1, ..Tuning::default() };
    let mut c = Collection::create_in(Box::new(dir.clone()), settings, tuning).unwrap();
    c.upsert((0..2100).map(|id| point(id, &mut random)).collect()).unwrap();
    c.flush().unwrap();
    c.upsert((2000..2200).map(|id| point(id, &mut random)).collect()).unwrap();
    c.flush().unwrap();
    batches.push(contents(&c));
    c.delete(&[PointId::Number(5), PointId::Number(2150)]).unwrap();
    batches.push(contents(&c));
    for id in [7, 9000, 9001] {
        c.upsert(vec![point(id, &mut random)]).unwrap();
        batches.push(contents(&c));
    }
    drop(c);
    dir
}

fn contents(c: &Collection) -> Contents {
    c.ids().map(|id| (id.clone(), c.get(id).unwrap().unwrap())).collect()
}

fn copy(of: &MemDir) -> MemDir {
    let dir = MemDir::default();
    for (name, data) in of.files() {
        dir.put(&name, data);
    }
    dir
}

fn open(dir: &MemDir) -> Result<Collection, OpenError> {
    Collection::open_in(Box::new(dir.clone()), Tuning { threads: 1, ..Tuning::default() })
}

/// Opens with `name` changed to `data`: the contents, or the error, which must name the file.
fn with(dir: &MemDir, name: &Name, data: Vec<u8>) -> Option<Contents> {
    let dir = copy(dir);
    dir.put(name, data);
    match open(&dir) {
        Ok(c) => Some(contents(&c)),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(name.as_str()), "{name}: {text}");
            assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
            None
        }
    }
}

#[test]
fn a_flipped_bit_in_any_file_is_harmless_or_named() {
    let mut batches = Vec::new();
    let dir = build(1, &mut batches);
    let right = batches.pop().unwrap();
    let mut random = Random::new(77);
    let files = dir.files();
    assert_eq!(files.len(), 4, "manifest, two segments and a log");
    let (mut named, mut harmless) = (0, 0);
    for (name, data) in files {
        let starts = (0..200).chain((0..100).map(|_| random.below(data.len())));
        let spots: Vec<usize> = starts.filter(|at| *at < data.len()).collect();
        for at in spots {
            let mut bad = data.clone();
            bad[at] ^= 1 << random.below(8);
            match with(&dir, &name, bad) {
                Some(got) => {
                    assert!(got == right, "{name}: a flip in byte {at} changed the contents");
                    harmless += 1;
                }
                None => named += 1,
            }
        }
    }
    assert!(named > 1000 && harmless < named / 4, "{named} named, {harmless} harmless");
}

#[test]
fn a_zeroed_block_in_any_file_is_harmless_or_named() {
    let mut batches = Vec::new();
    let dir = build(2, &mut batches);
    let right = batches.last().unwrap().clone();
    for (name, data) in dir.files() {
        for start in (0..data.len()).step_by(data.len() / 12 + 1) {
            let mut bad = data.clone();
            let end = (start + 4096).min(bad.len());
            bad[start..end].fill(0);
            let changed = bad != data;
            let got = with(&dir, &name, bad);
            let Some(got) = got else { continue };
            // A log that ends in zeros is what a power cut may leave.
            let is_torn = name.folder() == "wal" && end == data.len() && batches.contains(&got);
            assert!(got == right || is_torn, "{name} at {start}");
            assert!(!changed || is_torn || data.len() - start < 64, "{name} at {start}");
        }
    }
}

#[test]
fn a_cut_file_is_named_and_a_cut_log_is_its_whole_batches_at_most() {
    let mut batches = Vec::new();
    let dir = build(3, &mut batches);
    let mut random = Random::new(5);
    for (name, data) in dir.files() {
        let is_log = name.folder() == "wal";
        let count = if is_log { data.len() } else { 60 };
        for at in 0..count {
            let len = if is_log { at } else { random.below(data.len()) };
            match with(&dir, &name, data[..len].to_vec()) {
                Some(got) => {
                    assert!(is_log, "{name} cut to {len} of {}", data.len());
                    assert!(batches.contains(&got), "a part of a batch: {name} cut to {len}");
                }
                None => assert!(!is_log || len < 64, "{name} cut to {len}"),
            }
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let dir = build(4, &mut Vec::new());
    for (name, _) in dir.files() {
        let dir = copy(&dir);
        dir.remove(&name).unwrap();
        let text = open(&dir).unwrap_err().to_string();
        let expected = if name.folder() == "manifest" { "no collection" } else { name.as_str() };
        assert!(text.contains(expected), "{name}: {text}");
    }
}

#[test]
fn files_of_another_collection_or_swapped_ones_are_named() {
    let (dir, other) = (build(5, &mut Vec::new()), build(6, &mut Vec::new()));
    let foreign: BTreeMap<Name, Vec<u8>> = other.files().into_iter().collect();
    for (name, _) in dir.files().into_iter().filter(|(name, _)| name.folder() != "manifest") {
        assert!(with(&dir, &name, foreign[&name].clone()).is_none(), "{name}");
    }
    let mut segments = dir.files();
    segments.retain(|(name, _)| name.folder() == "segment");
    let swapped = copy(&dir);
    swapped.put(&segments[0].0, segments[1].1.clone());
    swapped.put(&segments[1].0, segments[0].1.clone());
    let text = open(&swapped).unwrap_err().to_string();
    assert!(text.contains("not the one the manifest lists"), "{text}");
}

#[test]
fn files_of_others_are_left_alone() {
    let mut batches = Vec::new();
    let dir = build(7, &mut batches);
    let strange = ["segment/notes.txt", "wal/1", "manifest/99", "manifest/x", "readme"];
    for name in strange {
        dir.put(&Name::new(name).unwrap(), b"mine".to_vec());
    }
    let unused = ["segment/0000000900", "wal/0000000901"].map(|n| Name::new(n).unwrap());
    for name in &unused {
        dir.put(name, b"left by a crash".to_vec());
    }
    let mut c = open(&dir).unwrap();
    assert_eq!(contents(&c), batches.pop().unwrap());
    c.flush().unwrap();
    for name in strange {
        assert_eq!(&*dir.read(&Name::new(name).unwrap()).unwrap(), b"mine");
    }
    assert!(unused.iter().all(|name| dir.read(name).is_err()));
}
