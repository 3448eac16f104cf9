//! A durable collection in a directory: write, search with a filter, delete, open again.

use kvant_db::{Collection, Condition, Filter, Point, PointId, Query, Settings};
use kvant_index::{Metric, Spec};
use serde_json::json;

fn point(id: u64, vector: [f32; 3], kind: &str) -> Point {
    let mut payload = serde_json::Map::new();
    payload.insert("kind".into(), kind.into());
    Point { id: PointId::Number(id), vector: vector.to_vec(), payload }
}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("colours");

    let settings = Settings::new(Metric::Cosine, 3, Spec::Flat);
    let mut colours = Collection::create(&path, settings)?;

    // When `upsert` returns, the batch is on the disk: all of it, whatever happens next.
    colours.upsert(vec![
        point(1, [1.0, 0.1, 0.0], "warm"),
        point(2, [0.9, 0.3, 0.1], "warm"),
        point(3, [0.1, 0.2, 1.0], "cold"),
    ])?;
    colours.delete(&[PointId::Number(1)])?;
    drop(colours);

    let colours = Collection::open(&path)?;
    let mut query = Query { vector: vec![1.0, 0.0, 0.0], k: 2, ..Query::default() };
    for found in colours.search(&query)? {
        println!("{}  {:.3}  {}", found.id, found.score, found.payload["kind"]);
    }
    query.filter = Filter { must: vec![Condition { key: "kind".into(), value: json!("cold") }] };
    let cold = colours.search(&query)?;
    anyhow::ensure!(cold.len() == 1 && cold[0].id == PointId::Number(3), "the filter is obeyed");
    println!("cold: {}", cold[0].id);
    Ok(())
}
