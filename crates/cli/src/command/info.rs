//! `kvant info DATA`.

use std::fmt::Write;

use anyhow::Context;
use kvant_db::{Arity, Config, Database, SegmentInfo};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::args::Info;
use crate::print::{self, Lean, Table};

/// What `--json` prints.
#[derive(Serialize)]
struct Told {
    /// Bytes of the log, which all collections share.
    bytes_log: u64,
    /// In order of their names.
    collections: Vec<Collection>,
    /// Names of collections by their other names.
    aliases: Value,
}

/// One collection.
#[derive(Serialize)]
struct Collection {
    name: String,
    points: usize,
    vectors: Vec<Vector>,
    segments: Vec<Segment>,
    growing_points: usize,
    dead_rows: usize,
    bytes_disk: u64,
    bytes_memory: usize,
    notes: Map<String, Value>,
}

/// One vector of its points.
#[derive(Serialize)]
struct Vector {
    name: String,
    kind: &'static str,
    dim: Option<usize>,
    metric: Option<String>,
    /// Where one was asked for; else it follows from size.
    index: Option<String>,
}

/// Points in files, or in memory and the log.
#[derive(Serialize)]
struct Segment {
    sealed: bool,
    points: usize,
    dead: usize,
    bytes: u64,
    /// What each vector is indexed by.
    indexes: Map<String, Value>,
}

pub(super) fn run(args: &Info) -> anyhow::Result<()> {
    let database = Database::open_existing(&args.stored.data)?;
    let listing = database.listing();
    let names: Vec<String> = match &args.stored.collection {
        Some(name) => vec![name.clone()],
        None => listing.collections.into_keys().collect(),
    };
    let data = args.stored.data.display();
    let one = |name: &String| look(&database, name).with_context(|| data.to_string());
    let collections = names.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    let (bytes_log, aliases) = (database.log_bytes(), json!(listing.aliases));
    let told = Told { bytes_log, collections, aliases };
    if args.json {
        return print::json(&told);
    }
    let mut text = match &told.collections[..] {
        [one] => figures(one)?,
        several => overview(several),
    };
    writeln!(text, "{:<11} {}", "log", print::size(told.bytes_log))?;
    print::all(&text)
}

fn look(database: &Database, name: &str) -> anyhow::Result<Collection> {
    let info = database.collection(name)?.info();
    Ok(Collection {
        name: name.to_owned(),
        points: info.points,
        vectors: vectors(&info.config),
        growing_points: info.growing_points(),
        dead_rows: info.dead_rows(),
        bytes_disk: info.bytes_disk,
        bytes_memory: info.bytes_memory,
        notes: info.config.notes.clone(),
        segments: info.segments.iter().map(segment).collect(),
    })
}

fn vectors(config: &Config) -> Vec<Vector> {
    let dense = config.dense.iter().map(|(name, dense)| Vector {
        name: name.clone(),
        kind: if dense.multi == Arity::Many { "multi" } else { "dense" },
        dim: Some(dense.dim),
        metric: Some(dense.metric.to_string()),
        index: dense.index.clone(),
    });
    let sparse = config.sparse.keys().map(|name| Vector {
        name: name.clone(),
        kind: "sparse",
        dim: None,
        metric: None,
        index: None,
    });
    dense.chain(sparse).collect()
}

fn segment(of: &SegmentInfo) -> Segment {
    let indexes = of.vectors.iter().map(|(name, index, _)| (name.clone(), json!(index)));
    let SegmentInfo { sealed, points, dead, bytes, .. } = *of;
    Segment { sealed, points, dead, bytes, indexes: indexes.collect() }
}

/// A line a figure.
fn figures(of: &Collection) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| writeln!(text, "{name:<11} {value}");
    line("collection", &of.name)?;
    line("points", &of.points.to_string())?;
    for vector in &of.vectors {
        let name = if vector.name.is_empty() { "vector" } else { &vector.name };
        line(name, &describe(vector, of))?;
    }
    if let Some(Value::Object(notes)) = of.notes.get("kvant") {
        for (name, value) in notes {
            line(&name.replace('_', " "), value.as_str().unwrap_or_default())?;
        }
    }
    let sealed = of.segments.iter().filter(|segment| segment.sealed).count();
    line("segments", &sealed.to_string())?;
    line("not sealed", &format!("{} points", of.growing_points))?;
    line("deleted", &format!("{} rows that still take space", of.dead_rows))?;
    line("on disk", &print::size(of.bytes_disk))?;
    Ok(text)
}

/// Kind, dimension, metric, and every index that segments have over it.
fn describe(vector: &Vector, of: &Collection) -> String {
    let mut words = vec![vector.kind.to_owned()];
    words.extend(vector.dim.map(|dim| format!("{dim} components")));
    words.extend(vector.metric.clone());
    let mut indexes: Vec<&str> = of
        .segments
        .iter()
        .filter_map(|segment| segment.indexes.get(&vector.name)?.as_str())
        .collect();
    indexes.extend(vector.index.as_deref().filter(|_| indexes.is_empty()));
    indexes.sort_unstable();
    indexes.dedup();
    words.extend(indexes.into_iter().map(str::to_owned));
    words.join(" · ")
}

/// A line a collection.
fn overview(all: &[Collection]) -> String {
    let mut table = Table::new(&[
        ("collection", Lean::Left),
        ("points", Lean::Right),
        ("vectors", Lean::Right),
        ("segments", Lean::Right),
        ("not sealed", Lean::Right),
        ("deleted", Lean::Right),
        ("on disk", Lean::Right),
    ]);
    for of in all {
        table.row(vec![
            print::snippet(&of.name, 40),
            of.points.to_string(),
            of.vectors.len().to_string(),
            of.segments.iter().filter(|segment| segment.sealed).count().to_string(),
            of.growing_points.to_string(),
            of.dead_rows.to_string(),
            print::size(of.bytes_disk),
        ]);
    }
    table.to_string()
}
