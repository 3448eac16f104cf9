//! A process with several writers is killed at random moments: nothing it acknowledged is lost.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvant_db::{
    Change, Collection, Config, Database, Dense, Metric, OpenError, Point, PointId, Tuning, Vector,
    Vectors,
};
use kvant_storage::FsDir;
use kvant_testkit::Random;
use serde_json::json;

/// Tells this test binary, run again, to be the process that is killed.
const PLACE: &str = "KVANT_KILL_PLACE";
/// It waits so long when it is done: the one who kills it is done by then, or gone.
const PATIENCE: Duration = Duration::from_mins(1);
/// Two of them share a collection.
const WRITERS: u64 = 4;
const COLLECTIONS: [&str; 2] = ["a", "b"];

/// How much is done.
struct Scale {
    dim: usize,
    batch: u64,
    /// Of each writer.
    batches: u64,
    kills: u64,
    seal_points: usize,
}

fn scale() -> Scale {
    if std::env::var_os("KVANT_FULL").is_some() {
        return Scale { dim: 64, batch: 100, batches: 250, kills: 40, seal_points: 4000 };
    }
    Scale { dim: 16, batch: 40, batches: 60, kills: 8, seal_points: 700 }
}

fn name(writer: u64) -> &'static str {
    COLLECTIONS[writer as usize % COLLECTIONS.len()]
}

/// Every byte of a point follows from its number.
fn point(id: PointId, seed: u64, batch: u64, dim: usize) -> Point {
    let payload = json!({ "batch": batch, "text": format!("point {seed}") });
    let vector = Vector::Dense(Random::new(seed).normals(dim));
    let vectors = Vectors::from([(String::new(), vector)]);
    Point { id, vectors, payload: payload.as_object().unwrap().clone(), ttl: None }
}

fn number(writer: u64, at: u64) -> u64 {
    writer * 1_000_000 + at
}

/// A batch: its own points, and one that every batch of the writer replaces.
fn batch(writer: u64, at: u64, scale: &Scale) -> Vec<Point> {
    let ids = (at * scale.batch..(at + 1) * scale.batch).map(|of| number(writer, of));
    let mut points: Vec<Point> =
        ids.map(|id| point(PointId::Number(id), id, at, scale.dim)).collect();
    points.push(point(latest(writer), writer, at, scale.dim));
    points
}

fn latest(writer: u64) -> PointId {
    format!("latest of {writer}").parse().unwrap()
}

/// How many batches of a writer are there.
fn present(c: &Collection, writer: u64) -> u64 {
    let found = c.get(&[latest(writer)]).unwrap();
    found.first().map_or(0, |found| found.payload["batch"].as_u64().unwrap() + 1)
}

fn write_batches(path: &Path, scale: &Scale) {
    let dir = Arc::new(FsDir::open(path).unwrap());
    let tuning = Tuning { threads: 1, seal_points: scale.seal_points, ..Tuning::default() };
    let database = Database::open_in(dir, tuning).unwrap();
    // However fast the machine is, one process does not do it all.
    let most = (scale.batches * 2).div_ceil(scale.kills);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let c = database.collection(name(writer)).unwrap();
            scope.spawn(move || {
                let begin = present(&c, writer);
                for at in begin..scale.batches.min(begin + most) {
                    c.write(Change::upsert(batch(writer, at, scale))).unwrap();
                    // One call, so that lines stay whole.
                    let line = format!("\nacked {writer} {at}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                    if at % 40 == 39 {
                        c.compact().unwrap();
                    }
                }
            });
        }
    });
    std::io::stdout().write_all(b"\ndone\n").unwrap();
    std::thread::sleep(PATIENCE);
}

/// When the process is killed.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// After so many acknowledged batches of this run,
    batches: usize,
    /// and so much time, which may end inside a seal or a merge.
    then: Duration,
}

/// What the process said until it was killed.
#[derive(Debug, Default)]
struct Said {
    /// How many batches of each writer were acknowledged.
    acked: BTreeMap<u64, u64>,
    done: bool,
}

impl Said {
    fn hear(&mut self, line: &str) -> bool {
        self.done |= line == "done";
        let numbers = line.strip_prefix("acked ").and_then(|rest| rest.split_once(' '));
        if let Some((writer, at)) = numbers {
            self.acked.insert(writer.parse().unwrap(), at.parse::<u64>().unwrap() + 1);
        }
        numbers.is_some()
    }
}

fn run(path: &Path, Moment { batches, then }: Moment) -> Said {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["nothing_acknowledged_is_lost", "--exact", "--nocapture"])
        .env(PLACE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let (mut said, mut heard) = (Said::default(), 0);
    while heard < batches && !said.done {
        let Some(line) = lines.next() else { break };
        heard += usize::from(said.hear(&line));
    }
    std::thread::sleep(then);
    child.kill().unwrap();
    // What was acknowledged up to the kill is still in the pipe.
    for line in lines {
        said.hear(&line);
    }
    child.wait().unwrap();
    said
}

/// Opens what the killed one left and looks at every point.
fn check(path: &Path, acked: &BTreeMap<u64, u64>, scale: &Scale) -> BTreeMap<u64, u64> {
    let database = Database::open(path).unwrap();
    let mut there = BTreeMap::new();
    let mut points: BTreeMap<&str, u64> = BTreeMap::new();
    for writer in 0..WRITERS {
        let c = database.collection(name(writer)).unwrap();
        let (count, least) = (present(&c, writer), acked.get(&writer).copied().unwrap_or(0));
        assert!(count == least || count == least + 1, "{least} acknowledged, {count} there");
        for at in 0..count {
            let expected = batch(writer, at, scale);
            let ids: Vec<PointId> = expected.iter().map(|point| point.id.clone()).collect();
            let found = c.get(&ids).unwrap();
            assert_eq!(found.len(), ids.len(), "batch {at} of writer {writer}");
            for (found, expected) in found.iter().zip(&expected[..scale.batch as usize]) {
                assert_eq!((&found.id, &found.vectors), (&expected.id, &expected.vectors));
                assert_eq!(*found.payload, expected.payload);
            }
        }
        *points.entry(name(writer)).or_default() += count * scale.batch + u64::from(count > 0);
        there.insert(writer, count);
    }
    for (name, points) in points {
        let c = database.collection(name).unwrap();
        assert_eq!(c.len() as u64, points, "a part of a batch, or a point twice");
    }
    there
}

#[test]
fn nothing_acknowledged_is_lost() {
    let scale = scale();
    if let Some(path) = std::env::var_os(PLACE) {
        return write_batches(Path::new(&path), &scale);
    }
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("data");
    let database = Database::open(&path).unwrap();
    let mut config = Config::single(Dense::new(scale.dim, Metric::Euclid));
    config.graph.scan_kib = 64;
    for name in COLLECTIONS {
        database.create(name, &config).unwrap();
    }
    drop(database);
    let seed = Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id());
    let mut random = Random::new(seed);
    let (mut there, mut kills) = (BTreeMap::new(), 0);
    let start = Instant::now();
    let quota = (WRITERS * scale.batches / scale.kills) as usize;
    loop {
        let longest_ms = [2, 40, 400][random.below(3)];
        let then = Duration::from_micros(random.below(longest_ms * 1000) as u64);
        let moment = Moment { batches: 1 + random.below(quota), then };
        let said = run(&path, moment);
        let mut acked = there.clone();
        acked.extend(said.acked);
        there = check(&path, &acked, &scale);
        kills += 1;
        eprintln!("seed {seed}: kill {kills} at {moment:?}, acknowledged {acked:?}");
        if there.values().all(|count| *count == scale.batches) {
            break;
        }
    }
    assert!(kills >= scale.kills / 2, "{kills} kills");
    let points = WRITERS * scale.batches * scale.batch;
    eprintln!("{kills} kills, {points} points, nothing lost, {:?}", start.elapsed());
}

#[test]
fn a_second_process_is_refused() {
    if let Some(path) = std::env::var_os(PLACE) {
        let error = Database::open(Path::new(&path)).unwrap_err();
        assert!(matches!(error, OpenError::Lock(_)), "{error}");
        let mut out = std::io::stdout();
        return writeln!(out, "\nrefused: {error}").unwrap();
    }
    let place = tempfile::tempdir().unwrap();
    let held = Database::open(place.path()).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["a_second_process_is_refused", "--exact", "--nocapture"])
        .env(PLACE, place.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let holder = format!("already open in process {};", std::process::id());
    assert!(output.status.success() && text.contains(&holder), "{text}");
    assert!(text.contains(place.path().to_str().unwrap()), "{text}");
    drop(held);
    Database::open(place.path()).unwrap();
}
