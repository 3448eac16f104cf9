//! A collection as its users see it.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use kvant_db::{
    Batch, Collection, Condition, Filter, Found, OpenError, Point, PointId, Query, SearchError,
    Settings, Tuning, WriteError, limits,
};
use kvant_index::{Effort, Metric, Spec};
use kvant_storage::MemDir;
use serde_json::{Value, json};
use std::path::Path;

fn point(id: impl Into<String>, vector: &[f32], payload: &Value) -> Point {
    let payload = payload.as_object().unwrap().clone();
    Point { id: id.into().parse().unwrap(), vector: vector.to_vec(), payload }
}

fn settings(metric: Metric) -> Settings {
    Settings::new(metric, 2, Spec::default())
}

fn create(dir: &MemDir) -> Collection {
    let small = Tuning { threads: 1, seal_points: 4, ..Tuning::default() };
    Collection::create_in(Box::new(dir.clone()), settings(Metric::Euclid), small).unwrap()
}

fn open(dir: &MemDir) -> Collection {
    Collection::open_in(Box::new(dir.clone()), Tuning::default()).unwrap()
}

fn query(vector: &[f32], k: usize) -> Query {
    Query { vector: vector.to_vec(), k, ..Query::default() }
}

fn ids(found: &[Found]) -> Vec<String> {
    found.iter().map(|f| f.id.to_string()).collect()
}

#[test]
fn the_whole_life_on_disk() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("notes");
    let mut notes = Collection::create(&path, settings(Metric::Cosine)).unwrap();
    notes
        .upsert(vec![
            point("1", &[2.0, 0.0], &json!({"text": "east"})),
            point("north", &[0.0, 3.0], &json!({"text": "north"})),
        ])
        .unwrap();
    let found = notes.search(&query(&[5.0, 0.1], 1)).unwrap();
    assert_eq!(found[0].payload["text"], "east");
    assert!((found[0].score - 0.9998).abs() < 1e-4, "{found:?}");
    drop(notes);

    let mut notes = Collection::open(&path).unwrap();
    assert_eq!(notes.get(&PointId::Number(1)).unwrap().unwrap().vector, [1.0, 0.0]);
    assert_eq!(notes.delete(&[PointId::Number(1), PointId::Number(9)]).unwrap(), 1);
    notes.close().unwrap();
    let notes = Collection::open(&path).unwrap();
    assert_eq!(ids(&notes.search(&query(&[1.0, 0.0], 9)).unwrap()), ["north"]);
    let info = notes.info();
    assert_eq!((info.points, info.segments, info.growing_points), (1, 1, 0));
    assert_eq!(info.bytes_disk, size(&path), "info knows every byte");
}

fn size(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let entries = entries.filter(|e| e.file_name() != ".lock");
    entries
        .map(|e| match e.metadata().unwrap() {
            meta if meta.is_dir() => size(&e.path()),
            meta => meta.len(),
        })
        .sum()
}

#[test]
fn one_opener_at_a_time() {
    let place = tempfile::tempdir().unwrap();
    let first = Collection::create(place.path(), settings(Metric::Dot)).unwrap();
    let second = Collection::open(place.path()).unwrap_err();
    assert!(matches!(second, OpenError::Lock(_)), "{second}");
    let text = second.to_string();
    assert!(text.contains(place.path().to_str().unwrap()), "{text}");
    assert!(text.contains("close it there first"), "{text}");
    drop(first);
    Collection::open(place.path()).unwrap();
}

#[test]
fn create_wants_nothing_there_and_open_wants_something() {
    let place = tempfile::tempdir().unwrap();
    let none = place.path().join("none");
    assert!(matches!(Collection::open(&none), Err(OpenError::Missing { .. })));
    assert!(!none.exists());
    assert!(matches!(Collection::open(place.path()), Err(OpenError::Missing { .. })));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "looking leaves no trace");
    std::fs::write(place.path().join("mine.txt"), b"").unwrap();
    let taken = Collection::create(place.path(), settings(Metric::Dot)).unwrap_err();
    assert!(matches!(taken, OpenError::Exists { .. }), "{taken}");
    let bad = Settings { dim: 0, ..settings(Metric::Dot) };
    assert!(matches!(Collection::create(&none, bad), Err(OpenError::Settings(_))));
    assert!(!none.exists());
    drop(Collection::create(&none, settings(Metric::Dot)).unwrap());
    let again = Collection::create(&none, settings(Metric::Dot)).unwrap_err();
    assert!(again.to_string().contains("open it, or choose a new directory"), "{again}");
}

#[test]
fn writing_again_replaces_and_a_bad_point_leaves_nothing_of_its_batch() {
    let dir = MemDir::default();
    let mut c = create(&dir);
    c.upsert(vec![point("a", &[1.0, 1.0], &json!({"v": 1}))]).unwrap();
    c.upsert(vec![point("a", &[2.0, 2.0], &json!({"v": 2}))]).unwrap();
    let bad = vec![point("b", &[0.0, 0.0], &json!({})), point("c", &[0.0, f32::NAN], &json!({}))];
    let error = c.upsert(bad).unwrap_err();
    assert_eq!(error.to_string(), "point c: component 1 is NaN, every component must be finite");
    let check = |c: &Collection| {
        assert_eq!((c.len(), c.contains(&"b".parse().unwrap())), (1, false));
        let a = c.get(&"a".parse().unwrap()).unwrap().unwrap();
        assert_eq!((a.vector, &a.payload["v"]), (vec![2.0, 2.0], &json!(2)));
    };
    check(&c);
    drop(c);
    check(&open(&dir));
}

#[test]
fn a_number_and_its_digits_are_one_point() {
    let mut c = create(&MemDir::default());
    c.upsert(vec![point("7", &[1.0, 1.0], &json!({}))]).unwrap();
    assert!(c.contains(&PointId::Text("7".to_owned())));
    assert_eq!(c.delete(&[PointId::Text("7".to_owned())]).unwrap(), 1);
    assert!(c.is_empty());
    assert!(!c.contains(&PointId::Text(String::new())));
}

#[test]
fn batches_written_together_are_applied_in_order() {
    let dir = MemDir::default();
    let mut c = create(&dir);
    let count = c
        .write(vec![
            Batch::Upsert(vec![
                point("a", &[1.0, 0.0], &json!({})),
                point("b", &[2.0, 0.0], &json!({})),
            ]),
            Batch::Delete(vec!["a".parse().unwrap(), "x".parse().unwrap()]),
            Batch::Upsert(vec![]),
            Batch::Upsert(vec![point("c", &[3.0, 0.0], &json!({}))]),
        ])
        .unwrap();
    assert_eq!(count, 4);
    drop(c);
    assert_eq!(ids(&open(&dir).search(&query(&[0.0, 0.0], 9)).unwrap()), ["b", "c"]);
}

#[test]
fn filters_see_every_segment_and_never_return_too_few() {
    let dir = MemDir::default();
    let mut c = create(&dir);
    for i in 0..23u8 {
        let payload = json!({"even": i % 2 == 0, "tags": [i, "all"]});
        c.upsert(vec![point(i.to_string(), &[f32::from(i), 0.0], &payload)]).unwrap();
    }
    assert!(c.info().segments >= 4 && c.info().growing_points > 0, "{:?}", c.info());
    let search = |c: &Collection, text: &str, k| {
        let filter = Filter { must: vec![text.parse::<Condition>().unwrap()] };
        ids(&c.search(&Query { filter, ..query(&[20.2, 0.0], k) }).unwrap())
    };
    for round in 0..2 {
        assert_eq!(search(&c, "even=true", 4), ["20", "22", "18", "16"]);
        assert_eq!(search(&c, "tags=3", 4), ["3"]);
        assert_eq!(search(&c, "tags=all", 100).len(), 23);
        assert!(search(&c, "even=maybe", 4).is_empty());
        if round == 0 {
            c.compact().unwrap();
            assert_eq!(c.info().segments, 1);
        }
    }
}

#[test]
fn compaction_gives_space_back_and_changes_no_answer() {
    let dir = MemDir::default();
    let mut c = create(&dir);
    for i in 0..40u8 {
        let text = "x".repeat(500);
        c.upsert(vec![point(i.to_string(), &[f32::from(i), 1.0], &json!({"t": text}))]).unwrap();
    }
    let gone: Vec<PointId> = (0..30).map(PointId::Number).collect();
    assert_eq!(c.delete(&gone).unwrap(), 30);
    let before = (c.search(&query(&[35.3, 0.0], 20)).unwrap(), c.info());
    c.compact().unwrap();
    let after = (c.search(&query(&[35.3, 0.0], 20)).unwrap(), c.info());
    assert_eq!(before.0, after.0);
    assert_eq!((after.1.deleted_rows, after.1.segments, after.1.points), (0, 1, 10));
    assert!(after.1.bytes_disk * 2 < before.1.bytes_disk, "{before:?}");
    c.compact().unwrap();
    assert_eq!(c.info(), after.1, "nothing more to do");
    let gone: Vec<PointId> = c.ids().cloned().collect();
    assert_eq!(c.delete(&gone).unwrap(), 10);
    c.compact().unwrap();
    assert_eq!((c.info().segments, c.len()), (0, 0));
    assert!(c.search(&query(&[0.0, 0.0], 3)).unwrap().is_empty());
}

#[test]
fn small_segments_are_merged_by_flush() {
    let mut c = create(&MemDir::default());
    for i in 0..50u8 {
        c.upsert(vec![point(i.to_string(), &[f32::from(i), 0.0], &json!({}))]).unwrap();
        c.flush().unwrap();
        assert!(c.info().segments < 20, "{:?}", c.info());
    }
    assert_eq!(c.len(), 50);
}

#[test]
fn queries_beyond_their_limits_are_refused() {
    let c = create(&MemDir::default());
    assert!(matches!(c.search(&query(&[1.0], 1)), Err(SearchError::Dim { expected: 2, got: 1 })));
    let nan = c.search(&query(&[1.0, f32::NAN], 1)).unwrap_err().to_string();
    assert_eq!(nan, "query component 1 is NaN, every component must be finite");
    assert!(c.search(&query(&[1.0, 0.0], limits::K_MAX)).unwrap().is_empty());
    let many = c.search(&query(&[1.0, 0.0], limits::K_MAX + 1)).unwrap_err();
    assert!(matches!(many, SearchError::Limit { .. }), "{many}");
    let filter = Filter { must: vec!["a=1".parse().unwrap(); limits::CONDITIONS_MAX + 1] };
    let filtered = c.search(&Query { filter, ..query(&[1.0, 0.0], 1) });
    assert!(matches!(filtered, Err(SearchError::Filter(_))));
}

#[test]
fn a_batch_beyond_its_limits_is_refused_whole() {
    let dim = 40_000;
    let wide = Settings::new(Metric::Dot, dim, Spec::Flat);
    let dir = Box::new(MemDir::default());
    let mut c = Collection::create_in(dir, wide, Tuning::default()).unwrap();
    let one = point("0", &vec![1.0; dim], &json!({}));
    let batch = (0..1700).map(|i| Point { id: PointId::Number(i), ..one.clone() }).collect();
    let error = c.upsert(batch).unwrap_err();
    assert!(matches!(error, WriteError::Batch { unit: "bytes", .. }), "{error}");
    assert!(c.is_empty());
    c.upsert(vec![one]).unwrap();
}

#[test]
fn hnsw_segments_find_what_flat_ones_do() {
    let mut random = kvant_testkit::Random::new(3);
    let dir = MemDir::default();
    let settings = Settings::new(Metric::Cosine, 16, Spec::default());
    let tuning = Tuning { threads: 2, ..Tuning::default() };
    let mut c = Collection::create_in(Box::new(dir.clone()), settings, tuning).unwrap();
    let batch = |from: u64, random: &mut kvant_testkit::Random| {
        let one = |id| point(format!("{id}"), &random.normals(16), &json!({"id": id}));
        (from..from + 1500).map(one).collect::<Vec<_>>()
    };
    for from in [0, 1500, 3000] {
        c.upsert(batch(from, &mut random)).unwrap();
    }
    c.flush().unwrap();
    c.upsert(batch(4000, &mut random)).unwrap();
    drop(c);
    let c = open(&dir);
    assert_eq!(c.len(), 5500);
    let (mut same, mut all) = (0, 0);
    for _ in 0..50 {
        let near = Query { vector: random.normals(16), k: 10, ..Query::default() };
        let exact = Query { effort: Effort::Exact, ..near.clone() };
        let (near, exact) = (ids(&c.search(&near).unwrap()), ids(&c.search(&exact).unwrap()));
        assert_eq!(near.len(), 10);
        same += near.iter().filter(|id| exact.contains(id)).count();
        all += 10;
    }
    assert!(same * 100 >= all * 95, "recall {same} of {all}");
}

#[test]
fn readers_may_share_a_collection() {
    fn shared<T: Send + Sync>() {}
    shared::<Collection>();
    let mut c = create(&MemDir::default());
    c.upsert((0..9).map(|i| point(i.to_string(), &[i as f32, 0.0], &json!({}))).collect()).unwrap();
    std::thread::scope(|scope| {
        for i in 0..4u8 {
            let c = &c;
            scope.spawn(move || {
                let found = c.search(&query(&[f32::from(i), 0.0], 1)).unwrap();
                assert_eq!(ids(&found), [i.to_string()]);
            });
        }
    });
}

/// A graph of 200 links per node was once accepted, acknowledged and never opened again.
#[test]
fn settings_that_could_not_be_read_back_are_refused() {
    for m in [0, 3, 129, 200] {
        let settings = Settings::new(Metric::Cosine, 8, Spec::Hnsw { m });
        let dir = Box::new(MemDir::default());
        let refused = Collection::create_in(dir, settings, Tuning::default()).unwrap_err();
        assert!(refused.to_string().contains("4 to 128"), "{refused}");
    }
}

/// A collection that lost its manifests still has its points: creating over it would delete them.
#[test]
fn what_is_there_is_not_created_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let mut collection = Collection::create(&path, settings(Metric::Euclid)).unwrap();
    collection.upsert(vec![point("1", &[1.0, 2.0], &json!({}))]).unwrap();
    drop(collection);
    std::fs::remove_dir_all(path.join("manifest")).unwrap();
    let refused = Collection::create(&path, settings(Metric::Euclid)).unwrap_err();
    assert!(matches!(refused, OpenError::Exists { .. }), "{refused}");
    assert_eq!(std::fs::read_dir(path.join("wal")).unwrap().count(), 1, "the log is still there");

    // The folder above it is no place for a collection either, and nothing in it is touched.
    let foreign = path.join("wal/.tmp-1-1");
    std::fs::write(&foreign, "somebody is writing this").unwrap();
    let refused = Collection::create(folder.path(), settings(Metric::Euclid)).unwrap_err();
    assert!(matches!(refused, OpenError::Exists { .. }), "{refused}");
    assert!(foreign.is_file() && !folder.path().join(".lock").exists());
}
