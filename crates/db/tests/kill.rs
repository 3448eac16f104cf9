//! A writing process is killed at random moments: nothing it acknowledged is lost.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use kvant_db::{Collection, OpenError, Point, PointId, Settings, Tuning};
use kvant_index::{Metric, Spec};
use kvant_storage::FsDir;
use kvant_testkit::Random;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Tells this test binary, run again, to be the process that is killed.
const PLACE: &str = "KVANT_KILL_PLACE";
/// The batch before which that process stops and waits, so that a quick one is killed as often.
const UNTIL: &str = "KVANT_KILL_UNTIL";
/// It waits so long: the one who kills it is done by then, or gone.
const PATIENCE: Duration = Duration::from_mins(1);

/// How much is done.
struct Scale {
    dim: usize,
    batch: u64,
    batches: u64,
    kills: u64,
    seal_points: usize,
}

fn scale() -> Scale {
    if std::env::var_os("KVANT_FULL").is_some() {
        return Scale { dim: 64, batch: 200, batches: 500, kills: 40, seal_points: 4000 };
    }
    Scale { dim: 16, batch: 120, batches: 120, kills: 8, seal_points: 1000 }
}

fn tuning(scale: &Scale) -> Tuning {
    Tuning { threads: 1, seal_points: scale.seal_points, ..Tuning::default() }
}

/// Every byte of a point follows from its number.
fn point(id: u64, batch: u64, dim: usize) -> Point {
    let payload = json!({ "batch": batch, "text": format!("point {id}") });
    let payload = payload.as_object().unwrap().clone();
    Point { id: PointId::Number(id), vector: Random::new(id).normals(dim), payload }
}

/// A batch: its own points, and one that every batch replaces.
fn batch(number: u64, scale: &Scale) -> Vec<Point> {
    let ids = number * scale.batch..(number + 1) * scale.batch;
    let mut points: Vec<Point> = ids.map(|id| point(id, number, scale.dim)).collect();
    points.push(Point { id: "latest".parse().unwrap(), ..point(u64::MAX, number, scale.dim) });
    points
}

fn write_batches(path: &Path, scale: &Scale, until: u64) {
    let mut c = Collection::open_in(Box::new(FsDir::open(path).unwrap()), tuning(scale)).unwrap();
    let first = (c.len().saturating_sub(1)) as u64 / scale.batch;
    let mut out = std::io::stdout();
    for number in first..until {
        c.upsert(batch(number, scale)).unwrap();
        writeln!(out, "\nacked {number}").unwrap();
        out.flush().unwrap();
        if number % 50 == 49 {
            c.compact().unwrap();
        }
    }
    if until < scale.batches {
        std::thread::sleep(PATIENCE);
    }
    c.close().unwrap();
}

/// When the writer is killed.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// After so many acknowledged batches of this run,
    batches: usize,
    /// and so much time, which may end inside a seal or a merge.
    then: Duration,
}

/// Runs the writer up to batch `until` or to `kill`; the number of the last batch it acknowledged,
/// plus 1.
fn run(path: &Path, until: u64, kill: Option<Moment>) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["nothing_acknowledged_is_lost", "--exact", "--nocapture"])
        .env(PLACE, path)
        .env(UNTIL, until.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut numbers = lines.filter_map(|line| line.strip_prefix("acked ")?.parse::<u64>().ok());
    let mut acked = 0;
    if let Some(Moment { batches, then }) = kill {
        acked = numbers.by_ref().take(batches).last().map_or(0, |last| last + 1);
        std::thread::sleep(then);
        child.kill().unwrap();
    }
    // What was acknowledged up to the kill is still in the pipe.
    acked = numbers.last().map_or(acked, |last| last + 1);
    let status = child.wait().unwrap();
    assert!(kill.is_some() || status.success(), "{status}");
    acked
}

/// Opens what the killed one left and looks at every point; the number of batches there.
fn check(path: &Path, acked: u64, scale: &Scale) -> u64 {
    let c = Collection::open(path).unwrap();
    let count = c.len().saturating_sub(1) as u64 / scale.batch;
    assert!(count == acked || count == acked + 1, "{acked} acknowledged, {count} there");
    if count == 0 {
        assert!(c.is_empty());
        return 0;
    }
    assert_eq!(c.len() as u64, count * scale.batch + 1, "a part of a batch");
    for number in 0..count {
        for id in number * scale.batch..(number + 1) * scale.batch {
            let expected = point(id, number, scale.dim);
            assert_eq!(c.get(&expected.id).unwrap(), Some(expected));
        }
    }
    let latest = c.get(&"latest".parse().unwrap()).unwrap().unwrap();
    assert_eq!(latest.payload["batch"], json!(count - 1));
    count
}

#[test]
fn nothing_acknowledged_is_lost() {
    let scale = scale();
    if let Some(path) = std::env::var_os(PLACE) {
        let until = std::env::var(UNTIL).unwrap().parse().unwrap();
        return write_batches(Path::new(&path), &scale, until);
    }
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("c");
    let settings = Settings::new(Metric::Euclid, scale.dim, Spec::Hnsw { m: 8 });
    drop(Collection::create(&path, settings).unwrap());
    let seed = Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id());
    let mut random = Random::new(seed);
    let (mut present, mut kills) = (0, 0);
    let start = Instant::now();
    let quota = scale.batches / scale.kills;
    while kills < scale.kills {
        let until = scale.batches.min(present + quota);
        let batches = random.below((until - present) as usize);
        let longest_ms = [2, 40, 400][random.below(3)];
        let then = Duration::from_micros(random.below(longest_ms * 1000) as u64);
        let moment = Moment { batches, then };
        let acked = run(&path, until, Some(moment)).max(present);
        present = check(&path, acked, &scale);
        kills += 1;
        eprintln!("seed {seed}: kill {kills} at {moment:?}, {acked} batches acknowledged");
    }
    let acked = run(&path, scale.batches, None).max(present);
    assert_eq!((acked, check(&path, acked, &scale)), (scale.batches, scale.batches));
    let points = scale.batches * scale.batch;
    eprintln!("{kills} kills, {points} points, nothing lost, {:?}", start.elapsed());
}

#[test]
fn a_second_process_is_refused() {
    if let Some(path) = std::env::var_os(PLACE) {
        let error = Collection::open(Path::new(&path)).unwrap_err();
        assert!(matches!(error, OpenError::Lock(_)), "{error}");
        let mut out = std::io::stdout();
        return writeln!(out, "\nrefused: {error}").unwrap();
    }
    let place = tempfile::tempdir().unwrap();
    let settings = Settings::new(Metric::Dot, 2, Spec::Flat);
    let held = Collection::create(place.path(), settings).unwrap();
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
    Collection::open(place.path()).unwrap();
}
