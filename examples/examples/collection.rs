//! Durable collections in a directory: write, search with a filter, change, delete, open again.

use kvant_db::{
    Change, Config, Database, Dense, Edit, Filter, Metric, Payloads, Point, PointId, Search,
    Selector, Vector, Vectors, With,
};
use serde_json::{Map, Value, json};

fn point(id: u64, vector: [f32; 3], kind: &str) -> Point {
    let vectors = Vectors::from([(String::new(), Vector::Dense(vector.to_vec()))]);
    let payload = Map::from_iter([("kind".to_owned(), Value::from(kind))]);
    Point { id: PointId::Number(id), vectors, payload, ttl: None }
}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("shop");

    let database = Database::open(&path)?;
    let config = Config::single(Dense::new(3, Metric::Cosine));
    let colours = database.create("colours", &config)?;

    // When `write` returns, the batch is on the disk: all of it, whatever happens next.
    colours.write(Change::upsert(vec![
        point(1, [1.0, 0.1, 0.0], "warm"),
        point(2, [0.9, 0.3, 0.1], "warm"),
        point(3, [0.1, 0.2, 1.0], "cold"),
    ]))?;
    colours.write(Change::delete(vec![PointId::Number(1)]))?;
    let of = Selector::Ids(vec![PointId::Number(3)]);
    let payload = Map::from_iter([("name".to_owned(), json!("blue"))]);
    colours.write(Change::Edit(Edit::SetPayload { payload, at: None, of }))?;
    drop((colours, database));

    let database = Database::open(&path)?;
    let colours = database.collection("colours")?;
    let near = Search { limit: 2, ..Search::nearest("", Vector::Dense(vec![1.0, 0.0, 0.0])) };
    for one in colours.search(&near, &With { payload: Payloads::All, ..With::default() })? {
        println!("{}  {:.3}  {}", one.found.id, one.score, json!(*one.found.payload));
    }
    let cold = Search { filter: Some(Filter::of("kind=cold".parse()?)), ..near };
    let cold = colours.search(&cold, &With { payload: Payloads::All, ..With::default() })?;
    anyhow::ensure!(cold.len() == 1 && cold[0].found.payload["name"] == "blue", "the filter holds");
    println!("cold: {}", cold[0].found.id);
    let info = colours.info();
    println!("{} points, {} of them not sealed yet", info.points, info.growing_points());
    Ok(())
}
