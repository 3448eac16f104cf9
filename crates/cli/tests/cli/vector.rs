//! Collections of plain vectors from the first import to the last delete; no model needed.

use std::time::Duration;

use kvant_db::source::npy;
use kvant_testkit::Random;
use serde_json::json;

use crate::house::House;

fn ids(answer: &serde_json::Value) -> Vec<serde_json::Value> {
    let results = answer["results"].as_array().expect("results");
    results.iter().map(|result| result["id"].clone()).collect()
}

#[test]
fn import_search_delete() {
    let house = House::new();
    let lines = [
        r#"{"id": "a", "vector": [1, 0], "kind": "axis", "rank": 1}"#,
        r#"{"id": "b", "vector": [0, 1], "kind": "axis", "tags": ["up", "y"]}"#,
        r#"{"id": 3, "vector": [5, 5], "kind": "diagonal"}"#,
        r#"{"id": "c29b3e5c-2d0e-4b5e-9d3a-3f2f0c8a9a11", "vector": [-1, 0]}"#,
    ];
    house.write("v.jsonl", lines.join("\n"));
    let first = house.json(&["import", "db", "--from", "v.jsonl"]);
    assert_eq!(first["written"], 4);
    assert_eq!(
        (&first["skipped"], &first["points"], &first["records"]),
        (&json!(0), &json!(4), &json!(4))
    );
    let again = house.json(&["import", "db", "--from", "v.jsonl"]);
    assert_eq!((&again["written"], &again["skipped"]), (&json!(0), &json!(4)));

    let told = house.json(&["info", "db"]);
    let info = &told["collections"][0];
    assert_eq!((&info["name"], &info["points"]), (&json!("default"), &json!(4)));
    let vector = json!({"name": "", "kind": "dense", "dim": 2, "metric": "cosine", "index": null});
    assert_eq!(info["vectors"], json!([vector]));
    let segments = info["segments"].as_array().expect("a list");
    assert_eq!((segments.len(), &segments[0]["sealed"]), (1, &json!(true)));
    assert_eq!(segments[0]["indexes"], json!({"": "flat,int8,rerank32"}));
    assert!(info["bytes_disk"].as_u64() > Some(0) && told["bytes_log"].as_u64() > Some(0));

    let found = house.json(&["search", "db", "--vector", "[1,0.1]", "-k", "2"]);
    assert_eq!(ids(&found), [json!("a"), json!(3)]);
    assert_eq!(found["metric"], "cosine");
    assert_eq!(found["results"][0]["payload"], json!({"kind": "axis", "rank": 1}));
    let score = found["results"][0]["score"].as_f64().expect("a number");
    assert!((score - 1.0 / 1.01_f64.sqrt()).abs() < 1e-6, "{score}");

    let filtered = ["search", "db", "--vector", "[1,0]", "--filter", "kind=axis"];
    assert_eq!(ids(&house.json(&filtered)), [json!("a"), json!("b")]);
    let tagged = ["search", "db", "--vector", "[1,0]", "--filter", "tags=up", "--exact"];
    assert_eq!(ids(&house.json(&tagged)), [json!("b")]);
    let none = house.run("search db --vector [1,0] --filter kind=none");
    assert_eq!(none, "nothing found\n");
    let like = house.json(&["search", "db", "--like", "a", "-k", "1"]);
    assert_eq!(ids(&like), [json!(3)]);
    let table = house.run("search db --like a -k 3 --ef 50");
    assert_eq!(table.lines().count(), 4, "{table}");

    let deleted = house.json(&["delete", "db", "a", "nobody"]);
    assert_eq!(deleted, json!({"deleted": 1, "points": 3}));
    let deleted = house.json(&["delete", "db", "--filter", "kind=axis"]);
    assert_eq!(deleted, json!({"deleted": 1, "points": 2}));
    let info = house.json(&["info", "db"]);
    assert_eq!(
        (&info["collections"][0]["points"], &info["collections"][0]["dead_rows"]),
        (&json!(2), &json!(2))
    );
    let restored = house.json(&["import", "db", "--from", "v.jsonl"]);
    assert_eq!((&restored["written"], &restored["skipped"]), (&json!(2), &json!(2)));
}

#[test]
fn a_changed_record_is_written_again() {
    let house = House::new();
    house.write("v.jsonl", "{\"vector\": [1, 2], \"v\": 1}\n{\"vector\": [3, 4]}");
    house.run("import db --from v.jsonl --metric euclid");
    house.write("v.jsonl", "{\"vector\": [1, 2], \"v\": 2}\n{\"vector\": [3, 5]}");
    let again = house.json(&["import", "db", "--from", "v.jsonl"]);
    assert_eq!((&again["written"], &again["points"]), (&json!(2), &json!(2)));
    let found = house.json(&["search", "db", "--vector", "[3,5]"]);
    assert_eq!(found["results"][0], json!({"id": 1, "score": 0.0, "payload": {}}));
    assert_eq!(found["results"][1]["payload"], json!({"v": 2}));
}

#[test]
fn every_metric_and_index_finds_what_a_loop_finds() {
    let house = House::new();
    let (count, dim) = (400, 8);
    let data = Random::new(3).normals(count * dim);
    house.write("v.npy", npy::encode(&data, dim));
    let query = &data[..dim];
    let text = serde_json::to_string(query).expect("numbers");
    let distance = |metric: &str, row: &[f32]| -> f32 {
        let dot: f32 = row.iter().zip(query).map(|(a, b)| a * b).sum();
        let norm = row.iter().map(|a| a * a).sum::<f32>().sqrt();
        match metric {
            "dot" => -dot,
            "cosine" => -dot / norm,
            "euclid" => row.iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum(),
            _ => row.iter().zip(query).map(|(a, b)| (a - b).abs()).sum(),
        }
    };
    for metric in ["cosine", "dot", "euclid", "manhattan"] {
        let mut expected: Vec<usize> = (0..count).collect();
        let of = |row: usize| distance(metric, &data[row * dim..(row + 1) * dim]);
        expected.sort_by(|a, b| of(*a).total_cmp(&of(*b)));
        for index in ["flat", "hnsw", "hnsw8,f32"] {
            let name = format!("{metric} {index}");
            let search = ["search", "db", "--collection", &name, "--vector", &text];
            let import = ["import", "db", "--collection", &name, "--from", "v.npy"];
            house.succeed(&[&import[..], &["--metric", metric, "--index", index]].concat());
            let found = house.json(&[&search[..], &["--exact", "-k", "5"]].concat());
            let rows: Vec<u64> = ids(&found).iter().filter_map(serde_json::Value::as_u64).collect();
            let rows: Vec<usize> = rows.into_iter().map(|row| row as usize).collect();
            assert_eq!(rows, expected[..5], "{name}");
            let found = house.json(&[&search[..], &["--ef", "400", "-k", "1"]].concat());
            assert_eq!(ids(&found)[0].as_u64(), Some(expected[0] as u64), "{name}");
        }
    }
}

#[test]
fn fvecs_come_in_too() {
    let house = House::new();
    let row = |values: [f32; 2]| {
        let numbers = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
        [2_i32.to_le_bytes().to_vec(), numbers].concat()
    };
    house.write("v.fvecs", [row([1.0, 2.0]), row([3.0, 4.0])].concat());
    house.run("import db --from v.fvecs --metric euclid --index flat");
    let found = house.json(&["search", "db", "--vector", "[3,4]", "-k", "1"]);
    assert_eq!(found["results"], json!([{"id": 1, "score": 0.0, "payload": {}}]));
}

#[test]
fn a_second_process_is_told_that_the_directory_is_in_use() {
    let house = House::new();
    house.write("v.npy", npy::encode(&[1.0, 2.0], 1));
    house.run("import db --from v.npy");
    let held = kvant_db::Database::open(&house.path("db")).expect("opens");
    for args in [&["info", "db"][..], &["search", "db", "--vector", "[1]"], &["delete", "db", "0"]]
    {
        let line = house.fail(args);
        let holder = format!("already open in process {}", std::process::id());
        assert!(line.contains("db") && line.contains(&holder), "{line}");
    }
    drop(held);
    house.run("info db");
}

#[test]
fn several_collections_share_a_directory() {
    let house = House::new();
    house.write("a.npy", npy::encode(&[1.0, 2.0, 3.0, 4.0], 2));
    house.write("b.npy", npy::encode(&[1.0, 2.0, 3.0], 3));
    house.run("import shop --collection books --from a.npy --metric dot");
    assert!(house.run("info shop").starts_with("collection  books\n"));
    let only = house.json(&["search", "shop", "--vector", "[1,1]", "-k", "1"]);
    assert_eq!(ids(&only), [json!(1)]);
    house.run(
        "import shop --collection films --from b.npy --metric euclid --index hnsw8,int8,rerank32",
    );

    let line = house.fail(&["search", "shop", "--vector", "[1,1]"]);
    assert!(line.contains("shop: holds books, films; choose with --collection"), "{line}");
    let line = house.fail(&["delete", "shop", "--collection", "songs", "1"]);
    assert!(line.contains("shop: no collection \"songs\""), "{line}");
    let films = ["search", "shop", "--collection", "films", "--vector", "[1,2,3]"];
    assert_eq!(house.json(&films)["metric"], "euclid");

    let told = house.json(&["info", "shop"]);
    let names = |told: &serde_json::Value| -> Vec<String> {
        let all = told["collections"].as_array().expect("a list");
        all.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&told), ["books", "films"]);
    assert_eq!(told["collections"][1]["vectors"][0]["index"], "hnsw8,int8,rerank32");
    assert_eq!(names(&house.json(&["info", "shop", "--collection", "films"])), ["films"]);
    let table = house.run("info shop");
    assert_eq!(table.lines().count(), 4, "a head, two collections, the log: {table}");
}

/// What a release before the first compatible one wrote is not taken for an empty directory.
#[test]
fn a_collection_of_an_earlier_release_is_refused() {
    let house = House::new();
    house.write("old/manifest/0000000001", "KVANTMAN");
    house.write("v.npy", npy::encode(&[1.0, 2.0], 1));
    for args in [&["info", "old"][..], &["import", "old", "--from", "v.npy"]] {
        let line = house.fail(args);
        assert!(line.contains("old: a collection of an earlier release"), "{line}");
    }
}

/// Killed again and again, an import that is repeated ends with every row once.
#[test]
fn a_killed_import_resumes() {
    let house = House::new();
    let (count, dim) = (40_000, 16);
    house.write("v.npy", npy::encode(&Random::new(9).normals(count * dim), dim));
    let import = ["import", "db", "--from", "v.npy", "--batch", "32", "--index", "flat"];
    let mut random = Random::new(1);
    let mut killed = 0;
    for _ in 0..6 {
        let mut child = house.command(&import).spawn().expect("starts");
        std::thread::sleep(Duration::from_millis(random.below(60) as u64 + 5));
        killed += usize::from(child.try_wait().expect("asked").is_none());
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
    assert!(killed > 0, "every import was over before it could be killed");
    let last = house.json(&import);
    let sum = |name: &str| last[name].as_u64().expect("a number");
    assert_eq!((sum("points"), sum("records")), (count as u64, count as u64));
    assert_eq!(sum("written") + sum("skipped"), count as u64);
    assert_eq!(house.json(&import)["skipped"].as_u64(), Some(count as u64));
}

/// Killed between making its folders and its first files, an import leaves a directory that is
/// free.
#[test]
fn an_import_killed_at_creation_starts_over() {
    let house = House::new();
    house.write("v.npy", npy::encode(&[1.0, 2.0, 3.0, 4.0], 2));
    std::fs::create_dir_all(house.path("db/catalog")).expect("made");
    std::fs::create_dir_all(house.path("db/collection/1/manifest")).expect("made");
    house.write("db/.lock", "1");
    let done = house.json(&["import", "db", "--from", "v.npy"]);
    assert_eq!(done["points"].as_u64(), Some(2));
}
