//! A collection of plain vectors from the first import to the last delete; no model needed.

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
    let first = house.json(&["import", "db/c", "--from", "v.jsonl"]);
    assert_eq!(first["written"], 4);
    assert_eq!(
        (&first["skipped"], &first["points"], &first["records"]),
        (&json!(0), &json!(4), &json!(4))
    );
    let again = house.json(&["import", "db/c", "--from", "v.jsonl"]);
    assert_eq!((&again["written"], &again["skipped"]), (&json!(0), &json!(4)));

    let info = house.json(&["info", "db/c"]);
    assert_eq!((&info["points"], &info["dim"]), (&json!(4), &json!(2)));
    assert_eq!((&info["metric"], &info["index"]), (&json!("cosine"), &json!("hnsw")));
    assert!(info["model"].is_null() && info["bytes_disk"].as_u64() > Some(0));

    let found = house.json(&["search", "db/c", "--vector", "[1,0.1]", "-k", "2"]);
    assert_eq!(ids(&found), [json!("a"), json!(3)]);
    assert_eq!(found["metric"], "cosine");
    assert_eq!(found["results"][0]["payload"], json!({"kind": "axis", "rank": 1}));
    let score = found["results"][0]["score"].as_f64().expect("a number");
    assert!((score - 1.0 / 1.01_f64.sqrt()).abs() < 1e-6, "{score}");

    let filtered = ["search", "db/c", "--vector", "[1,0]", "--filter", "kind=axis"];
    assert_eq!(ids(&house.json(&filtered)), [json!("a"), json!("b")]);
    let tagged = ["search", "db/c", "--vector", "[1,0]", "--filter", "tags=up", "--exact"];
    assert_eq!(ids(&house.json(&tagged)), [json!("b")]);
    let none = house.run("search db/c --vector [1,0] --filter kind=none");
    assert_eq!(none, "nothing found\n");
    let like = house.json(&["search", "db/c", "--like", "a", "-k", "1"]);
    assert_eq!(ids(&like), [json!(3)]);
    let table = house.run("search db/c --like a -k 3 --ef 50");
    assert_eq!(table.lines().count(), 4, "{table}");

    let deleted = house.json(&["delete", "db/c", "a", "nobody"]);
    assert_eq!(deleted, json!({"deleted": 1, "points": 3}));
    let deleted = house.json(&["delete", "db/c", "--filter", "kind=axis"]);
    assert_eq!(deleted, json!({"deleted": 1, "points": 2}));
    assert_eq!(house.json(&["info", "db/c"])["points"], 2);
    let restored = house.json(&["import", "db/c", "--from", "v.jsonl"]);
    assert_eq!((&restored["written"], &restored["skipped"]), (&json!(2), &json!(2)));
}

#[test]
fn a_changed_record_is_written_again() {
    let house = House::new();
    house.write("v.jsonl", "{\"vector\": [1, 2], \"v\": 1}\n{\"vector\": [3, 4]}");
    house.run("import db/c --from v.jsonl --metric euclid");
    house.write("v.jsonl", "{\"vector\": [1, 2], \"v\": 2}\n{\"vector\": [3, 5]}");
    let again = house.json(&["import", "db/c", "--from", "v.jsonl"]);
    assert_eq!((&again["written"], &again["points"]), (&json!(2), &json!(2)));
    let found = house.json(&["search", "db/c", "--vector", "[3,5]"]);
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
        for index in ["flat", "hnsw", "hnsw8"] {
            let name = format!("db/{metric}-{index}");
            house.run(&format!("import {name} --from v.npy --metric {metric} --index {index}"));
            let found = house.json(&["search", &name, "--vector", &text, "--exact", "-k", "5"]);
            let rows: Vec<u64> = ids(&found).iter().filter_map(serde_json::Value::as_u64).collect();
            let rows: Vec<usize> = rows.into_iter().map(|row| row as usize).collect();
            assert_eq!(rows, expected[..5], "{name}");
            let found = house.json(&["search", &name, "--vector", &text, "--ef", "400", "-k", "1"]);
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
    house.run("import db/c --from v.fvecs --metric euclid --index flat");
    let found = house.json(&["search", "db/c", "--vector", "[3,4]", "-k", "1"]);
    assert_eq!(found["results"], json!([{"id": 1, "score": 0.0, "payload": {}}]));
}

#[test]
fn a_second_process_is_told_that_the_collection_is_in_use() {
    let house = House::new();
    house.write("v.npy", npy::encode(&[1.0, 2.0], 1));
    house.run("import db/c --from v.npy");
    let held = kvant_db::Collection::open(&house.path("db/c")).expect("opens");
    let line = house.fail(&["info", "db/c"]);
    assert!(line.contains("db/c") && !line.contains("manifest"), "{line}");
    drop(held);
    house.run("info db/c");
}

/// Killed again and again, an import that is repeated ends with every row once.
#[test]
fn a_killed_import_resumes() {
    let house = House::new();
    let (count, dim) = (40_000, 16);
    house.write("v.npy", npy::encode(&Random::new(9).normals(count * dim), dim));
    let import = ["import", "db/c", "--from", "v.npy", "--batch", "32", "--index", "flat"];
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

/// Killed between making its folders and its first manifest, an import left a directory that was
/// neither a collection nor free.
#[test]
fn an_import_killed_at_creation_starts_over() {
    let house = House::new();
    house.write("v.npy", npy::encode(&[1.0, 2.0, 3.0, 4.0], 2));
    std::fs::create_dir_all(house.path("db/c/manifest")).expect("made");
    std::fs::create_dir_all(house.path("db/c/wal")).expect("made");
    let done = house.json(&["import", "db/c", "--from", "v.npy"]);
    assert_eq!(done["points"].as_u64(), Some(2));
}
