//! Collections as their users see them.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::path::Path;
use std::sync::Arc;

use kvant_db::{
    CatalogError, Change, Collection, Config, Database, Dense, Edit, Effort, Filter, Found, Metric,
    Only, OpenError, Optimizing, Payloads, Point, PointId, Scored, Search, SearchError, Selector,
    Tuning, Vector, Vectors, Wish, With, WriteError, limits,
};
use kvant_storage::MemDir;
use kvant_testkit::Random;
use serde_json::{Map, Value, json};

fn object(json: &Value) -> Map<String, Value> {
    json.as_object().unwrap().clone()
}

fn point(id: impl Into<String>, vector: &[f32], payload: &Value) -> Point {
    let vectors = Vectors::from([(String::new(), Vector::Dense(vector.to_vec()))]);
    Point { id: id.into().parse().unwrap(), vectors, payload: object(payload), ttl: None }
}

fn config(metric: Metric) -> Config {
    Config::single(Dense::new(2, metric))
}

fn inline() -> Tuning {
    Tuning { threads: 1, seal_points: 4, optimizer: Optimizing::Inline, ..Tuning::default() }
}

fn open(dir: &MemDir) -> (Database, Arc<Collection>) {
    let database = Database::open_in(Arc::new(dir.clone()), inline()).unwrap();
    let collection = match database.collection("c") {
        Err(CatalogError::Unknown { .. }) => database.create("c", &config(Metric::Euclid)).unwrap(),
        other => other.unwrap(),
    };
    (database, collection)
}

fn near(vector: &[f32], k: usize) -> Search {
    Search { limit: k, ..Search::nearest("", Vector::Dense(vector.to_vec())) }
}

/// Whole points.
fn all() -> With {
    With { payload: Payloads::All, vectors: Wish::All }
}

fn ids(scored: &[Scored]) -> Vec<String> {
    scored.iter().map(|scored| scored.found.id.to_string()).collect()
}

fn numbers(ids: impl IntoIterator<Item = u64>) -> Vec<PointId> {
    ids.into_iter().map(PointId::Number).collect()
}

fn one(c: &Collection, id: &str) -> Option<Found> {
    c.get(&[id.parse().unwrap()]).unwrap().pop()
}

#[test]
fn the_whole_life_on_disk() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("data");
    let database = Database::open(&path).unwrap();
    let notes = database.create("notes", &config(Metric::Cosine)).unwrap();
    notes
        .write(Change::upsert(vec![
            point("1", &[2.0, 0.0], &json!({"text": "east"})),
            point("north", &[0.0, 3.0], &json!({"text": "north"})),
        ]))
        .unwrap();
    let found = notes.search(&near(&[5.0, 0.1], 1), &all()).unwrap();
    assert_eq!(found[0].found.payload["text"], "east");
    assert!((found[0].score - 0.9998).abs() < 1e-4, "{found:?}");
    drop((notes, database));

    let database = Database::open_existing(&path).unwrap();
    let notes = database.collection("notes").unwrap();
    assert_eq!(one(&notes, "1").unwrap().vectors[""], Vector::Dense(vec![1.0, 0.0]));
    let (_, outcome) = notes.write(Change::delete(numbers([1, 9]))).unwrap();
    assert_eq!(outcome.points, 1);
    notes.flush().unwrap();
    drop((notes, database));
    let database = Database::open(&path).unwrap();
    let notes = database.collection("notes").unwrap();
    assert_eq!(ids(&notes.search(&near(&[1.0, 0.0], 9), &all()).unwrap()), ["north"]);
    let info = notes.info();
    assert_eq!((info.points, info.segments.len(), info.growing_points()), (1, 1, 0));
    assert_eq!(info.bytes_disk, size(&path.join("collection")), "info knows every byte");
    let shared = size(&path.join("log"));
    assert!(database.log_bytes() > 0 && database.log_bytes() <= shared, "{shared}");
}

fn size(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
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
    let first = Database::open(place.path()).unwrap();
    let second = Database::open(place.path()).unwrap_err();
    assert!(matches!(second, OpenError::Lock(_)), "{second}");
    let text = second.to_string();
    assert!(text.contains(place.path().to_str().unwrap()), "{text}");
    assert!(text.contains("close it there first"), "{text}");
    drop(first);
    Database::open(place.path()).unwrap();
}

#[test]
fn create_wants_nothing_there_and_open_wants_something() {
    let place = tempfile::tempdir().unwrap();
    let none = place.path().join("none");
    assert!(matches!(Database::open_existing(&none), Err(OpenError::Missing { .. })));
    assert!(!none.exists());
    assert!(matches!(Database::open_existing(place.path()), Err(OpenError::Missing { .. })));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "looking leaves no trace");
    std::fs::write(place.path().join("mine.txt"), b"").unwrap();
    let taken = Database::open(place.path()).unwrap_err();
    assert!(matches!(taken, OpenError::Exists { .. }), "{taken}");
    assert!(!place.path().join(".lock").exists(), "what is not ours is not touched");

    let (database, _) = open(&MemDir::default());
    let bad = Config::single(Dense::new(0, Metric::Dot));
    assert!(matches!(database.create("bad", &bad), Err(CatalogError::Config(_))));
    assert!(matches!(database.create("a/b", &bad), Err(CatalogError::Name { .. })));
    let again = database.create("c", &config(Metric::Dot)).unwrap_err();
    assert_eq!(again.to_string(), "collection \"c\" already exists");
}

#[test]
fn writing_again_replaces_and_a_bad_point_leaves_nothing_of_its_batch() {
    let dir = MemDir::default();
    let (database, c) = open(&dir);
    c.write(Change::upsert(vec![point("a", &[1.0, 1.0], &json!({"v": 1}))])).unwrap();
    c.write(Change::upsert(vec![point("a", &[2.0, 2.0], &json!({"v": 2}))])).unwrap();
    let bad = vec![point("b", &[0.0, 0.0], &json!({})), point("c", &[0.0, f32::NAN], &json!({}))];
    let error = c.write(Change::upsert(bad)).unwrap_err();
    assert_eq!(error.to_string(), "point c: vector \"\": component 1 is not a finite number");
    let check = |c: &Collection| {
        assert_eq!((c.len(), one(c, "b")), (1, None));
        let a = one(c, "a").unwrap();
        assert_eq!((&a.vectors[""], &a.payload["v"]), (&Vector::Dense(vec![2.0; 2]), &json!(2)));
    };
    check(&c);
    drop((c, database));
    check(&open(&dir).1);
}

#[test]
fn a_number_and_its_digits_are_one_point() {
    let (_database, c) = open(&MemDir::default());
    c.write(Change::upsert(vec![point("7", &[1.0, 1.0], &json!({}))])).unwrap();
    let text = |text: &str| PointId::Text(text.to_owned());
    assert_eq!(c.get(&[text("7")]).unwrap().len(), 1);
    let points =
        [PointId::Number(7), text("7")].map(|id| Point { id, ..point("8", &[2.0; 2], &json!({})) });
    c.write(Change::upsert(points.to_vec())).unwrap();
    assert_eq!(c.len(), 1, "of one name in a batch the last counts");
    let delete = vec![text("7"), PointId::Number(7)];
    assert_eq!(c.write(Change::delete(delete)).unwrap().1.points, 1);
    assert!(c.is_empty() && c.get(&[text("")]).unwrap().is_empty());
    assert!(matches!(c.write(Change::delete(vec![text("")])), Err(WriteError::Id(_))));
}

#[test]
fn filters_see_every_segment_and_never_return_too_few() {
    let (_database, c) = open(&MemDir::default());
    for i in 0..23u8 {
        let payload = json!({"even": i % 2 == 0, "tags": [i, "all"]});
        let points = vec![point(i.to_string(), &[f32::from(i), 0.0], &payload)];
        c.write(Change::upsert(points)).unwrap();
    }
    let info = c.info();
    assert!(info.segments.len() >= 4 && info.growing_points() > 0, "{info:?}");
    let search = |text: &str, k| {
        let filter = Some(Filter::of(text.parse().unwrap()));
        ids(&c.search(&Search { filter, ..near(&[20.2, 0.0], k) }, &all()).unwrap())
    };
    for round in 0..2 {
        assert_eq!(search("even=true", 4), ["20", "22", "18", "16"]);
        assert_eq!(search("tags=3", 4), ["3"]);
        assert_eq!(search("tags=all", 100).len(), 23);
        assert!(search("even=maybe", 4).is_empty());
        if round == 0 {
            c.compact().unwrap();
            assert_eq!(c.info().segments.len(), 1);
        }
    }
    let even = Selector::Filter(Filter::of("even=true".parse().unwrap()));
    assert_eq!(c.write(Change::Edit(Edit::Delete(even))).unwrap().1.points, 12);
    assert_eq!(search("tags=all", 100).len(), 11);
}

#[test]
fn compaction_gives_space_back_and_changes_no_answer() {
    let (_database, c) = open(&MemDir::default());
    for i in 0..40u8 {
        let text = json!({"t": "x".repeat(500)});
        c.write(Change::upsert(vec![point(i.to_string(), &[f32::from(i), 1.0], &text)])).unwrap();
    }
    assert_eq!(c.write(Change::delete(numbers(0..30))).unwrap().1.points, 30);
    let before = (c.search(&near(&[35.3, 0.0], 20), &all()).unwrap(), c.info());
    c.compact().unwrap();
    let after = (c.search(&near(&[35.3, 0.0], 20), &all()).unwrap(), c.info());
    assert_eq!(before.0, after.0);
    assert_eq!((after.1.dead_rows(), after.1.segments.len(), after.1.points), (0, 1, 10));
    assert!(after.1.bytes_disk * 2 < before.1.bytes_disk, "{before:?}");
    c.compact().unwrap();
    let info = c.info();
    assert_eq!(
        (info.segments, info.bytes_disk),
        (after.1.segments, after.1.bytes_disk),
        "nothing more to do"
    );
    assert_eq!(c.write(Change::delete(numbers(30..40))).unwrap().1.points, 10);
    c.compact().unwrap();
    assert_eq!((c.info().segments.len(), c.len()), (0, 0));
    assert!(c.search(&near(&[0.0, 0.0], 3), &all()).unwrap().is_empty());
}

#[test]
fn small_segments_are_merged() {
    let (_database, c) = open(&MemDir::default());
    for i in 0..50u8 {
        let points = vec![point(i.to_string(), &[f32::from(i), 0.0], &json!({}))];
        c.write(Change::upsert(points)).unwrap();
        c.flush().unwrap();
        while c.optimize().unwrap() {}
        assert!(c.info().segments.len() < 20, "{:?}", c.info());
    }
    assert_eq!(c.len(), 50);
}

#[test]
fn queries_beyond_their_limits_are_refused() {
    let (_database, c) = open(&MemDir::default());
    let short = c.search(&near(&[1.0], 1), &all()).unwrap_err().to_string();
    assert_eq!(short, "query: vector \"\": dimension 1, expected 2");
    let nan = c.search(&near(&[1.0, f32::NAN], 1), &all()).unwrap_err().to_string();
    assert_eq!(nan, "query: component 1 is not a finite number");
    assert!(c.search(&near(&[1.0, 0.0], limits::K_MAX), &all()).unwrap().is_empty());
    let many = c.search(&near(&[1.0, 0.0], limits::K_MAX + 1), &all()).unwrap_err();
    assert!(matches!(many, SearchError::Limit { .. }), "{many}");
    let other = Search { using: "image".to_owned(), ..near(&[1.0, 0.0], 1) };
    let other = c.search(&other, &all()).unwrap_err().to_string();
    assert_eq!(other, "query: no vector \"image\" here: the collection has \"\"");
    let many = Change::delete(numbers(0..=limits::BATCH_POINTS_MAX as u64));
    assert!(matches!(c.write(many), Err(WriteError::Batch { unit: "points", .. })));
}

/// What cannot be sealed is refused before it is there: once such a collection took points that no
/// segment could hold.
#[test]
fn indexes_that_cannot_be_built_are_refused() {
    let (database, _) = open(&MemDir::default());
    let spec = |metric, index: &str| {
        let dense = Dense { index: Some(index.to_owned()), ..Dense::new(8, metric) };
        database.create("bad", &Config::single(dense)).map_err(|error| error.to_string())
    };
    for (metric, index, says) in [
        (Metric::Cosine, "hnsw3", "4 to 128"),
        (Metric::Cosine, "hnsw200", "4 to 128"),
        (Metric::Cosine, "tree", "tree"),
        (Metric::Cosine, "hnsw,pq4", "keeps no vectors"),
        (Metric::Manhattan, "flat,rq4,rerank32", "manhattan"),
        (Metric::Cosine, "flat,pq9,rerank32", "9 parts"),
    ] {
        let error = spec(metric, index).unwrap_err();
        assert!(error.contains(says), "{index}: {error}");
    }
    let c = spec(Metric::Manhattan, "hnsw8").unwrap();
    let wider = Dense { index: Some("flat,rq4,rerank32".into()), ..Dense::new(8, Metric::Dot) };
    let alter = kvant_db::Alteration::Dense(String::new(), Some(Box::new(wider)));
    let error = c.write(Change::Edit(Edit::Alter(vec![alter]))).unwrap_err();
    assert!(error.to_string().contains("manhattan"), "{error}");
}

#[test]
fn the_widest_vectors_are_sealed() {
    let (database, _) = open(&MemDir::default());
    let dim = limits::DIM_MAX;
    let wide = database.create("wide", &Config::single(Dense::new(dim, Metric::Dot))).unwrap();
    let points = (0..3).map(|id| point(id.to_string(), &vec![id as f32; dim], &json!({})));
    wide.write(Change::upsert(points.collect())).unwrap();
    wide.flush().unwrap();
    let found = wide.search(&near(&vec![1.0; dim], 1), &all()).unwrap();
    assert_eq!((ids(&found), wide.info().growing_points()), (vec!["2".to_owned()], 0));
}

#[test]
fn graphs_find_what_scans_do() {
    let mut random = Random::new(3);
    let dir = MemDir::default();
    let tuning = || Tuning { threads: 2, optimizer: Optimizing::Inline, ..Tuning::default() };
    let database = Database::open_in(Arc::new(dir.clone()), tuning()).unwrap();
    let mut config = Config::single(Dense::new(16, Metric::Cosine));
    config.graph.scan_kib = 64;
    let c = database.create("c", &config).unwrap();
    for from in [0, 1500, 3000, 4000] {
        let one = |id: u64| point(id.to_string(), &random.normals(16), &json!({"id": id}));
        c.write(Change::upsert((from..from + 1500).map(one).collect())).unwrap();
        if from == 3000 {
            c.flush().unwrap();
        }
    }
    drop((c, database));
    let database = Database::open_in(Arc::new(dir), tuning()).unwrap();
    let c = database.collection("c").unwrap();
    assert_eq!(c.len(), 5500);
    let index = &c.info().segments[0].vectors[0].1;
    assert!(index.starts_with("hnsw,int8"), "{index}");
    let (mut same, mut wanted) = (0, 0);
    for _ in 0..50 {
        let near = near(&random.normals(16), 10);
        let exact = Search { effort: Effort::Exact, ..near.clone() };
        let (near, exact) =
            (ids(&c.search(&near, &all()).unwrap()), ids(&c.search(&exact, &all()).unwrap()));
        assert_eq!(near.len(), 10);
        same += near.iter().filter(|id| exact.contains(id)).count();
        wanted += 10;
    }
    assert!(same * 100 >= wanted * 95, "recall {same} of {wanted}");
}

#[test]
fn names_of_collections_change_all_at_once() {
    let dir = MemDir::default();
    let (database, c) = open(&dir);
    let other = database.create("other", &config(Metric::Dot)).unwrap();
    c.write(Change::upsert(vec![point("1", &[1.0, 1.0], &json!({}))])).unwrap();
    other.write(Change::upsert(vec![point("2", &[1.0, 1.0], &json!({}))])).unwrap();
    let named = |alias: &str, of: &str| (alias.to_owned(), Some(of.to_owned()));
    database.set_aliases(&[named("now", "c"), named("next", "other")]).unwrap();
    let switch = [named("now", "other"), ("next".to_owned(), None)];
    database.set_aliases(&switch).unwrap();
    let refused = database.set_aliases(&[("now".to_owned(), None), named("x", "nobody")]);
    assert!(matches!(refused, Err(CatalogError::Unknown { .. })));
    assert!(matches!(
        database.set_aliases(&[named("c", "other")]),
        Err(CatalogError::Exists { .. })
    ));
    assert!(matches!(
        database.create("now", &config(Metric::Dot)),
        Err(CatalogError::Exists { .. })
    ));
    drop((c, other, database));
    let (database, _) = open(&dir);
    let now = database.collection("now").unwrap();
    assert_eq!(now.get(&numbers([1, 2])).unwrap().len(), 1);
    assert!(one(&now, "2").is_some() && database.collection("next").is_err());
    assert!(
        database.drop_collection("other").unwrap() && !database.drop_collection("other").unwrap()
    );
    assert!(database.collection("now").is_err(), "names of what is gone are gone");
    let files = dir.files();
    assert!(!files.iter().any(|(name, _)| name.as_str().starts_with("collection/2/")), "{files:?}");
    // A name that comes back is another collection.
    let again = database.create("other", &config(Metric::Dot)).unwrap();
    assert!(again.is_empty());
}

#[test]
fn points_expire_by_the_time_of_the_log() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let dir = MemDir::default();
    let now = Arc::new(AtomicU64::new(1_000_000));
    let clock = Arc::clone(&now);
    let tuning = Tuning { clock: Arc::new(move || clock.load(Ordering::Relaxed)), ..inline() };
    let database = Database::open_in(Arc::new(dir), tuning).unwrap();
    let c = database.create("c", &Config { ttl: Some(10), ..config(Metric::Dot) }).unwrap();
    let lasting = Point { ttl: Some(100), ..point("2", &[1.0, 1.0], &json!({})) };
    c.write(Change::upsert(vec![point("1", &[1.0, 1.0], &json!({})), lasting])).unwrap();
    c.flush().unwrap();
    let expire = || c.write(Change::Edit(Edit::Expire)).unwrap().1.points;
    now.store(10_999_999, Ordering::Relaxed);
    assert_eq!(expire(), 0);
    now.store(11_000_000, Ordering::Relaxed);
    assert_eq!((expire(), c.len(), one(&c, "1")), (1, 1, None));
    // Times of a log never fall.
    now.store(0, Ordering::Relaxed);
    assert_eq!(expire(), 0);
    now.store(200_000_000, Ordering::Relaxed);
    assert_eq!((expire(), c.len()), (1, 0));
}

#[test]
fn conditional_writes_leave_the_others() {
    let (_database, c) = open(&MemDir::default());
    let points = |v: u64, ids: [&str; 2]| {
        ids.map(|id| point(id, &[v as f32, 0.0], &json!({"v": v}))).to_vec()
    };
    let write =
        |points, only| c.write(Change::Upsert { points, only, condition: None }).unwrap().1.points;
    assert_eq!(write(points(1, ["a", "b"]), Only::New), 2);
    assert_eq!(write(points(2, ["b", "c"]), Only::New), 1);
    assert_eq!(write(points(3, ["c", "d"]), Only::Old), 1);
    let v = |id: &str| one(&c, id).map(|found| found.payload["v"].clone());
    assert_eq!(
        [v("a"), v("b"), v("c"), v("d")],
        [Some(json!(1)), Some(json!(1)), Some(json!(3)), None]
    );
    let vectors = Vectors::from([(String::new(), Vector::Dense(vec![9.0, 9.0]))]);
    let sets = ["a", "d"].map(|id| (id.parse().unwrap(), vectors.clone())).to_vec();
    let set = Change::SetVectors { points: sets, condition: None };
    assert_eq!(c.write(set).unwrap().1.points, 1);
    let a = one(&c, "a").unwrap();
    assert_eq!((&a.vectors, &a.payload["v"], c.len()), (&vectors, &json!(1), 3));
    let of = Selector::Ids(vec!["a".parse().unwrap()]);
    let edit = Edit::DeleteVectors { names: vec![String::new()], of: of.clone() };
    c.write(Change::Edit(edit)).unwrap();
    assert!(one(&c, "a").unwrap().vectors.is_empty());
    assert!(!ids(&c.search(&near(&[9.0, 9.0], 9), &all()).unwrap()).contains(&"a".to_owned()));
    c.write(Change::Edit(Edit::ClearPayload(of))).unwrap();
    assert!(one(&c, "a").unwrap().payload.is_empty());
}

/// A collection that nobody writes to any more once kept the files of the log of all others.
#[test]
fn an_idle_collection_does_not_hold_the_log() {
    let dir = MemDir::default();
    let tuning = Tuning { seal_records: 20, optimizer: Optimizing::Background, ..inline() };
    let database = Database::open_in(Arc::new(dir), tuning).unwrap();
    let idle = database.create("idle", &config(Metric::Dot)).unwrap();
    let busy = database.create("busy", &config(Metric::Dot)).unwrap();
    idle.write(Change::upsert(vec![point("1", &[1.0, 1.0], &json!({}))])).unwrap();
    for i in 0..50u8 {
        busy.write(Change::upsert(vec![point("1", &[f32::from(i), 1.0], &json!({}))])).unwrap();
    }
    let start = std::time::Instant::now();
    while idle.info().growing_points() > 0 {
        assert!(start.elapsed().as_secs() < 20, "{:?}", idle.info());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(idle.len(), 1);
}

/// What was dropped stays dropped when a vector of that name comes back.
#[test]
fn a_dropped_vector_does_not_come_back() {
    let dir = MemDir::default();
    let (database, c) = open(&dir);
    let alter = |to: Option<Dense>| {
        let alteration = kvant_db::Alteration::Dense("image".to_owned(), to.map(Box::new));
        c.write(Change::Edit(Edit::Alter(vec![alteration]))).unwrap();
    };
    alter(Some(Dense::new(3, Metric::Dot)));
    let mut with = point("1", &[1.0, 1.0], &json!({}));
    with.vectors.insert("image".to_owned(), Vector::Dense(vec![1.0; 3]));
    c.write(Change::upsert(vec![with.clone()])).unwrap();
    c.flush().unwrap();
    with.id = PointId::Number(2);
    c.write(Change::upsert(vec![with])).unwrap();
    alter(None);
    let check = |c: &Collection| {
        for id in ["1", "2"] {
            assert_eq!(one(c, id).unwrap().vectors.len(), 1, "{id}");
        }
    };
    check(&c);
    alter(Some(Dense::new(4, Metric::Euclid)));
    check(&c);
    let image = Search { using: "image".to_owned(), ..near(&[1.0; 4], 5) };
    assert!(c.search(&image, &all()).unwrap().is_empty());
    drop((c, database));
    let (_database, c) = open(&dir);
    check(&c);
    c.compact().unwrap();
    check(&c);
    assert!(c.search(&image, &all()).unwrap().is_empty());
}

/// A data directory that lost its catalog or the head of its log still has its points: going on
/// over it would delete them.
#[test]
fn what_is_there_is_not_written_over() {
    for lost in ["catalog", "head"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let database = Database::open(&path).unwrap();
        let c = database.create("c", &config(Metric::Euclid)).unwrap();
        c.write(Change::upsert(vec![point("1", &[1.0, 2.0], &json!({}))])).unwrap();
        drop((c, database));
        std::fs::remove_dir_all(path.join(lost)).unwrap();
        let refused = Database::open(&path).unwrap_err();
        assert!(refused.to_string().contains(lost), "{refused}");
        assert_eq!(std::fs::read_dir(path.join("log")).unwrap().count(), 1, "the log is there");

        // The folder above it is no place for a data directory, and nothing in it is touched.
        std::fs::write(folder.path().join("notes"), "mine").unwrap();
        let refused = Database::open(folder.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Exists { .. }), "{refused}");
    }
}
