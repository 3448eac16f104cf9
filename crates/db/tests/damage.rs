//! Damaged, cut, missing and foreign files: the right answer or an error naming the file.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use kvant_db::{
    Arity, Change, Collection, Config, Database, Dense, Effort, Found, Metric, Multi, Optimizing,
    Payloads, Point, PointId, Search, SparseField, Tuning, Vector, Vectors, Wish, With,
};
use kvant_storage::{Dir, MemDir, Name};
use kvant_testkit::Random;
use serde_json::json;

const DIM: usize = 4;
const ROWS: u64 = 300;

type Contents = BTreeMap<PointId, Found>;

/// All that a data directory says: points of each collection, and what is found near some vectors.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    contents: BTreeMap<String, Contents>,
    found: Vec<Vec<(PointId, u32)>>,
}

fn point(id: u64, random: &mut Random) -> Point {
    let payload = json!({ "n": id, "text": format!("point {id} {}", random.unit()) });
    let rows = [random.normals(2), random.normals(2)];
    let mut vectors = Vectors::from([
        (String::new(), Vector::Dense(random.normals(DIM))),
        ("many".to_owned(), Vector::Multi(Multi::new(&rows).unwrap())),
    ]);
    if id.is_multiple_of(3) {
        let indices = [id as u32 % 7, 7 + id as u32 % 5];
        let sparse = Vector::sparse(&indices, &random.normals(2)).unwrap();
        vectors.insert("sparse".to_owned(), sparse);
    }
    let payload = payload.as_object().unwrap().clone();
    Point { id: PointId::Number(id), vectors, payload, ttl: Some(1_000_000_000) }
}

fn tuning() -> Tuning {
    Tuning { threads: 1, optimizer: Optimizing::Inline, ..Tuning::default() }
}

fn config() -> Config {
    let mut config = Config::single(Dense::new(DIM, Metric::Cosine));
    let many = Dense { multi: Arity::Many, ..Dense::new(2, Metric::Dot) };
    config.dense.insert("many".to_owned(), many);
    config.sparse.insert("sparse".to_owned(), SparseField::default());
    config.graph.scan_kib = 0;
    config
}

/// Two segments with graphs, deletions in the manifest and in the log, points in the log, and
/// another collection. `batches` gets the answer after each batch of the log.
fn build(seed: u64, batches: &mut Vec<Answer>) -> MemDir {
    let mut random = Random::new(seed);
    let dir = MemDir::default();
    let database = Database::open_in(Arc::new(dir.clone()), tuning()).unwrap();
    let c = database.create("c", &config()).unwrap();
    let other = database.create("other", &config()).unwrap();
    let write = |c: &Collection, change| {
        c.write(change).unwrap();
    };
    let mut points = |from: u64, to: u64| (from..to).map(|id| point(id, &mut random)).collect();
    write(&other, Change::upsert(points(0, 20)));
    other.flush().unwrap();
    write(&c, Change::upsert(points(0, ROWS)));
    c.flush().unwrap();
    write(&c, Change::upsert(points(ROWS - 10, ROWS + 50)));
    c.flush().unwrap();
    batches.push(answer(&database).unwrap());
    write(&c, Change::delete(vec![PointId::Number(5), PointId::Number(ROWS + 20)]));
    batches.push(answer(&database).unwrap());
    for id in [7, 9000, 9001] {
        write(&c, Change::upsert(points(id, id + 1)));
        batches.push(answer(&database).unwrap());
    }
    drop((c, other, database));
    dir
}

fn answer(database: &Database) -> Result<Answer, Box<dyn Error>> {
    let mut told = Answer { contents: BTreeMap::new(), found: Vec::new() };
    for name in database.listing().collections.into_keys() {
        let c = database.collection(&name)?;
        let (found, _) = c.scroll(None, usize::MAX, None)?;
        assert_eq!(found.len(), c.len());
        let contents: Contents = found.into_iter().map(|f| (f.id.clone(), f)).collect();
        let ids: Vec<PointId> = contents.keys().cloned().collect();
        assert!(c.get(&ids)?.iter().eq(contents.values()), "{name}: found by name");
        told.contents.insert(name, contents);
        for (using, vector, effort) in [
            ("", Vector::Dense(vec![0.3, -1.0, 0.1, 0.7]), Effort::Default),
            ("", Vector::Dense(vec![-0.3, 1.0, 0.1, 0.2]), Effort::Exact),
            ("many", Vector::Multi(Multi::new(&[vec![0.5, 0.1]])?), Effort::Default),
            ("sparse", Vector::sparse(&[3, 8], &[1.0, 0.5])?, Effort::Default),
        ] {
            let near = Search { limit: 9, effort, ..Search::nearest(using, vector) };
            let scored = c.search(&near, &all())?;
            let pairs = scored.into_iter().map(|s| (s.found.id, s.score.to_bits()));
            told.found.push(pairs.collect());
        }
    }
    Ok(told)
}

/// Whole points.
fn all() -> With {
    With { payload: Payloads::All, vectors: Wish::All }
}

fn copy(of: &MemDir) -> MemDir {
    let dir = MemDir::default();
    for (name, data) in of.files() {
        dir.put(&name, data);
    }
    dir
}

fn ask(dir: &MemDir) -> Result<Answer, Box<dyn Error>> {
    answer(&Database::open_in(Arc::new(dir.clone()), tuning())?)
}

/// Asks with `name` changed to `data`: the answer, or the error, which must name the file.
fn with(dir: &MemDir, name: &Name, data: Vec<u8>) -> Option<Answer> {
    let dir = copy(dir);
    dir.put(name, data);
    match ask(&dir) {
        Ok(answer) => Some(answer),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(name.as_str()), "{name}: {text}");
            assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
            None
        }
    }
}

fn is_log(name: &Name) -> bool {
    name.folder() == "log"
}

/// What the first eight bytes of files are.
fn kinds(dir: &MemDir) -> Vec<String> {
    let magic = |(_, data): &(Name, Vec<u8>)| String::from_utf8_lossy(&data[..8]).into_owned();
    let mut kinds: Vec<String> = dir.files().iter().map(magic).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[test]
fn a_flipped_bit_in_any_file_is_harmless_or_named() {
    let mut batches = Vec::new();
    let dir = build(1, &mut batches);
    let right = batches.pop().unwrap();
    assert!(ask(&dir).unwrap() == right);
    let kind = |name| format!("KVANT{name}");
    let expected = ["CAT", "HED", "IDX", "INV", "MAN", "MUL", "PTS", "SLT", "WAL"].map(kind);
    assert_eq!(kinds(&dir), expected);
    let mut random = Random::new(77);
    let mut seen: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (name, data) in dir.files() {
        let kind = String::from_utf8_lossy(&data[..8]).into_owned();
        let (named, harmless) = seen.entry(kind).or_default();
        let starts = (0..100).chain((0..100).map(|_| random.below(data.len())));
        for at in starts.filter(|at| *at < data.len()).collect::<Vec<_>>() {
            let mut bad = data.clone();
            bad[at] ^= 1 << random.below(8);
            match with(&dir, &name, bad) {
                Some(got) => {
                    assert!(got == right, "{name}: a flip in byte {at} changed the answer");
                    *harmless += 1;
                }
                None => *named += 1,
            }
        }
    }
    // Gaps between sections, marks of the log and what nothing reads are harmless.
    for (kind, (named, harmless)) in &seen {
        assert!(named + harmless >= 200, "{seen:?}");
        assert!(*harmless * 2 < *named, "{kind}: {seen:?}");
    }
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
            let Some(got) = with(&dir, &name, bad) else { continue };
            // A log that ends in zeros is what a power cut may leave.
            let is_torn = is_log(&name) && end == data.len() && batches.contains(&got);
            assert!(got == right || is_torn, "{name} at {start}");
        }
    }
}

#[test]
fn a_cut_file_is_named_and_a_cut_log_is_its_whole_batches_at_most() {
    let mut batches = Vec::new();
    let dir = build(3, &mut batches);
    let mut random = Random::new(5);
    // What is in the segments is known without the log.
    let sealed = batches[0].clone();
    for (name, data) in dir.files() {
        let step = if is_log(&name) { (data.len() / 300).max(1) } else { data.len() / 20 + 1 };
        for at in (0..data.len()).step_by(step) {
            let len = if is_log(&name) { at } else { random.below(data.len()) };
            match with(&dir, &name, data[..len].to_vec()) {
                Some(got) => {
                    assert!(is_log(&name), "{name} cut to {len} of {}", data.len());
                    let is_whole = batches.contains(&got) || got == sealed;
                    assert!(is_whole, "a part of a batch: {name} cut to {len}");
                }
                None => assert!(!is_log(&name) || len < 64, "{name} cut to {len}"),
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
        let text = ask(&dir).unwrap_err().to_string();
        let alone = ["catalog", "head", "manifest"].iter().any(|one| name.folder().ends_with(one));
        let expected = if alone { name.folder() } else { name.as_str() };
        assert!(text.contains(expected), "{name}: {text}");
    }
}

#[test]
fn files_of_another_directory_or_swapped_ones_are_named() {
    let (dir, other) = (build(5, &mut Vec::new()), build(6, &mut Vec::new()));
    // Files of segments are called by what is in them: those of one place in another one.
    let place = |dir: &MemDir| -> Vec<(Name, Vec<u8>)> {
        let mut files = dir.files();
        files.retain(|(name, _)| name.folder().ends_with("segment"));
        files
            .sort_by_key(|(name, data)| (name.folder().to_owned(), data[..8].to_vec(), data.len()));
        files
    };
    let (ours, theirs) = (place(&dir), place(&other));
    assert!(ours.len() == theirs.len() && ours.len() >= 10, "{} files", ours.len());
    let mut same_size = 0;
    for ((name, our), (_, their)) in ours.iter().zip(&theirs).filter(|((_, a), (_, b))| a != b) {
        same_size += usize::from(our.len() == their.len());
        assert!(with(&dir, name, their.clone()).is_none(), "{name}");
    }
    assert!(same_size > 2, "told by more than their size");
    for (a, b) in ours.iter().zip(&ours[1..]) {
        let swapped = copy(&dir);
        swapped.put(&a.0, b.1.clone());
        swapped.put(&b.0, a.1.clone());
        let text = ask(&swapped).unwrap_err().to_string();
        assert!(text.contains(a.0.as_str()) || text.contains(b.0.as_str()), "{text}");
    }
    // The log and its head are of one directory, manifests of one collection.
    let foreign: BTreeMap<Name, Vec<u8>> = other.files().into_iter().collect();
    let log = dir.files().into_iter().find(|(name, _)| is_log(name)).unwrap().0;
    assert!(with(&dir, &log, foreign[&log].clone()).is_none(), "{log}");
    let mut manifests = dir.files();
    manifests.retain(|(name, _)| name.folder().ends_with("manifest"));
    let [(first, _), (_, second)] = &manifests[..] else { unreachable!("two collections") };
    assert!(with(&dir, first, second.clone()).is_none(), "{first}");
}

#[test]
fn files_of_others_are_left_alone() {
    let mut batches = Vec::new();
    let dir = build(7, &mut batches);
    let strange = [
        "collection/1/segment/notes",
        "log/1",
        "collection/1/manifest/99",
        "catalog/x",
        "head/notes",
        "readme",
        "collection/77/manifest/x",
    ];
    for name in strange {
        dir.put(&Name::new(name).unwrap(), b"mine".to_vec());
    }
    let unused = ["collection/1/segment/00ff", "log/0000000901"].map(|n| Name::new(n).unwrap());
    for name in &unused {
        dir.put(name, b"left by a crash".to_vec());
    }
    let database = Database::open_in(Arc::new(dir.clone()), tuning()).unwrap();
    assert!(answer(&database).unwrap() == batches.pop().unwrap());
    database.flush().unwrap();
    for name in strange {
        assert_eq!(&*dir.read(&Name::new(name).unwrap()).unwrap(), b"mine");
    }
    assert!(unused.iter().all(|name| dir.read(name).is_err()));
}

/// What is written after a log lost its end to damage once had numbers that the manifest covered,
/// and was passed over when it was opened again.
#[test]
fn what_is_written_after_the_log_was_cut_is_there() {
    let dir = build(8, &mut Vec::new());
    let (log, data) = dir.files().into_iter().find(|(name, _)| is_log(name)).unwrap();
    dir.put(&log, data[..64].to_vec());
    let id = PointId::Number(77_777);
    for round in 0..2 {
        let database = Database::open_in(Arc::new(dir.clone()), tuning()).unwrap();
        let c = database.collection("c").unwrap();
        if round == 0 {
            assert!(c.get(&[id.clone()]).unwrap().is_empty());
            c.write(Change::upsert(vec![point(77_777, &mut Random::new(1))])).unwrap();
        }
        assert_eq!(c.get(&[id.clone()]).unwrap().len(), 1, "round {round}");
    }
}
