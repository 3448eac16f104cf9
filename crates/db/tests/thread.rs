//! Readers and writers at once: no torn read, no lost update; and many collections in one process.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kvant_db::{
    Change, Collection, Config, Database, Dense, Edit, Effort, Metric, Only, Payloads, Point,
    PointId, Search, Selector, Tuning, Vector, Vectors, Wish, With,
};
use kvant_storage::FsDir;
use kvant_testkit::Random;
use serde_json::{Map, json};

const WRITERS: u64 = 4;
const READERS: u64 = 4;
/// Points of a writer, which it writes all at once.
const GROUP: u64 = 30;
const DIM: usize = 8;

fn length() -> Duration {
    let full = std::env::var_os("KVANT_FULL").is_some();
    Duration::from_secs(if full { 120 } else { 4 })
}

fn point(id: u64, round: u64) -> Point {
    let payload = json!({ "round": round, "group": id / GROUP, "text": "x".repeat(40) });
    // The direction says which point, the length which round.
    let vector = Random::new(id).normals(DIM).iter().map(|x| x * (round + 1) as f32).collect();
    let vectors = Vectors::from([(String::new(), Vector::Dense(vector))]);
    let payload = payload.as_object().unwrap().clone();
    Point { id: PointId::Number(id), vectors, payload, ttl: None }
}

fn group(writer: u64) -> std::ops::Range<u64> {
    writer * GROUP..(writer + 1) * GROUP
}

fn names(ids: std::ops::Range<u64>) -> Vec<PointId> {
    ids.map(PointId::Number).collect()
}

/// Writes a group over and over, deleting it now and then; how many rounds it was.
fn write(c: &Collection, writer: u64, stop: &AtomicBool, acked: &AtomicU64) -> u64 {
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let points = group(writer).map(|id| point(id, round)).collect();
        assert_eq!(c.write(Change::upsert(points)).unwrap().1.points as u64, GROUP);
        acked.store(round, Ordering::Release);
        // What was acknowledged is there for whoever asks then.
        let found = c.get(&names(group(writer))).unwrap();
        assert_eq!(found.len() as u64, GROUP);
        assert!(found.iter().all(|found| found.payload["round"] == round));
        let name = format!("{writer} {round}");
        let counted = Point { id: name.parse().unwrap(), ..point(writer, round) };
        let only_new = Change::Upsert { points: vec![counted], only: Only::New, condition: None };
        assert_eq!(c.write(only_new).unwrap().1.points, 1);
        // A point that all of them change.
        let payload = Map::from_iter([(writer.to_string(), json!(round))]);
        let of = Selector::Ids(vec![counter()]);
        c.write(Change::Edit(Edit::SetPayload { payload, at: None, of })).unwrap();
        if round % 7 == 0 {
            let gone = c.write(Change::delete(names(group(writer)))).unwrap().1.points;
            assert_eq!(gone as u64, GROUP);
            assert!(c.get(&names(group(writer))).unwrap().is_empty());
        }
    }
    round
}

/// Whole points.
fn all() -> With {
    With { payload: Payloads::All, vectors: Wish::All }
}

fn counter() -> PointId {
    "counter".parse().unwrap()
}

/// Reads what others write; how many reads it was.
fn read(c: &Collection, seed: u64, stop: &AtomicBool, acked: &[AtomicU64]) -> u64 {
    let mut random = Random::new(seed);
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        reads += 1;
        let writer = random.below(WRITERS as usize) as u64;
        let least = acked[writer as usize].load(Ordering::Acquire);
        if random.below(2) == 0 {
            let found = c.get(&names(group(writer))).unwrap();
            let first = found.first().map_or(0, |found| found.payload["round"].as_u64().unwrap());
            assert!(found.len() as u64 == GROUP || found.is_empty(), "{} of a batch", found.len());
            assert!(found.iter().all(|found| found.payload["round"] == first), "of two batches");
            assert!(found.is_empty() || first >= least, "{first} was read, {least} acknowledged");
            for found in found {
                let PointId::Number(id) = found.id else { continue };
                assert_eq!(found.vectors, point(id, first).vectors, "payload and vector of one");
            }
            continue;
        }
        // Every point of the group is closer to itself than to the others, whatever the round.
        let id = group(writer).start + random.below(GROUP as usize) as u64;
        let near = Search {
            limit: (WRITERS * GROUP) as usize,
            effort: Effort::Exact,
            ..Search::nearest("", Vector::Dense(Random::new(id).normals(DIM)))
        };
        let scored = c.search(&near, &all()).unwrap();
        let numbered = scored.iter().filter(|scored| matches!(scored.found.id, PointId::Number(_)));
        let mut counts = std::collections::BTreeMap::new();
        for scored in numbered {
            let payload = &scored.found.payload;
            let of = (payload["group"].as_u64(), payload["round"].as_u64());
            *counts.entry(of).or_insert(0) += 1;
        }
        let groups: Vec<_> = counts.keys().map(|(group, _)| group).collect();
        assert!(groups.is_sorted_by(|a, b| a < b), "a group in two rounds: {counts:?}");
    }
    reads
}

#[test]
fn readers_see_whole_batches_and_no_update_is_lost() {
    let place = tempfile::tempdir().unwrap();
    let dir = Arc::new(FsDir::create(place.path()).unwrap());
    let tuning = Tuning { threads: 1, seal_points: 300, ..Tuning::default() };
    let database = Database::open_in(Arc::clone(&dir) as _, tuning.clone()).unwrap();
    let mut config = Config::single(Dense::new(DIM, Metric::Dot));
    config.graph.scan_kib = 0;
    config.optimizer.vacuum_min = 50;
    let c = database.create("c", &config).unwrap();
    c.write(Change::upsert(vec![Point { id: counter(), ..point(0, 0) }])).unwrap();
    let (stop, acked) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; WRITERS as usize]);
    let (rounds, reads) = std::thread::scope(|scope| {
        let (c, stop, acked) = (&c, &stop, &acked);
        let writers: Vec<_> = (0..WRITERS)
            .map(|at| scope.spawn(move || write(c, at, stop, &acked[at as usize])))
            .collect();
        let readers: Vec<_> =
            (0..READERS).map(|at| scope.spawn(move || read(c, at, stop, acked))).collect();
        let compactor = scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                c.compact().unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        std::thread::sleep(length());
        stop.store(true, Ordering::Relaxed);
        compactor.join().unwrap();
        let reads: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        (writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>(), reads)
    });
    assert!(reads > 20 && rounds.iter().all(|rounds| *rounds > 3), "{reads} {rounds:?}");
    eprintln!("{rounds:?} rounds, {reads} reads, {:?}", c.info());
    let check = |c: &Collection| {
        let found = c.get(&[counter()]).unwrap().pop().unwrap();
        for (writer, rounds) in rounds.iter().enumerate() {
            assert_eq!(found.payload[&writer.to_string()], *rounds, "a lost update");
        }
        let counted: u64 = rounds.iter().sum();
        let whole = rounds.iter().filter(|rounds| *rounds % 7 > 0).count() as u64 * GROUP;
        assert_eq!(c.len() as u64, counted + whole + 1);
    };
    check(&c);
    drop((c, database));
    let database = Database::open_in(dir, tuning).unwrap();
    check(&database.collection("c").unwrap());
}

/// Bytes of memory of this process that are its own.
#[cfg(target_os = "linux")]
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[cfg(not(target_os = "linux"))]
fn memory() -> u64 {
    0
}

/// Collections are opened when they are asked for; all of them are few bytes each. With
/// `KVANT_FULL` there are 2,000 of them.
#[test]
fn many_small_collections_open_quickly_and_take_little() {
    let full = std::env::var_os("KVANT_FULL").is_some();
    let count: u64 = if full { 2000 } else { 150 };
    let place = tempfile::tempdir().unwrap();
    let database = Database::open(place.path()).unwrap();
    let start = Instant::now();
    for at in 0..count {
        let config = Config::single(Dense::new(DIM, Metric::Dot));
        let c = database.create(&format!("small {at}"), &config).unwrap();
        c.write(Change::upsert((0..20).map(|id| point(id, at)).collect())).unwrap();
        if at % 2 == 0 {
            c.flush().unwrap();
        }
        c.write(Change::upsert((20..25).map(|id| point(id, at)).collect())).unwrap();
    }
    let made = start.elapsed();
    drop(database);
    let start = Instant::now();
    let database = Database::open(place.path()).unwrap();
    let opened = start.elapsed();
    let some = database.collection("small 7").unwrap();
    assert_eq!(some.len(), 25);
    let all: Vec<Arc<Collection>> =
        (0..count).map(|at| database.collection(&format!("small {at}")).unwrap()).collect();
    let every = start.elapsed();
    assert!(all.iter().all(|c| c.len() == 25));
    // All of the process, which made them before.
    let bytes = memory();
    eprintln!(
        "{count} collections: made in {made:?}, opened in {opened:?}, each of them in {every:?}, \
         {bytes} bytes of memory"
    );
    assert!(every < Duration::from_secs(5), "{every:?}");
    assert!(bytes < 500_000_000, "{bytes} bytes");
}
