//! What a condition costs a payload: `cargo bench -p kvant-payload --bench filter`.
//!
//! One thread over 50,000 decoded payloads of eleven fields, in nanoseconds a payload: the best of
//! several passes. Decoding a payload from its bytes is measured beside it.

use kvant_payload::{Compiled, Filter, PointId, Subject, decode, encode};
use kvant_testkit::Random;
use serde_json::{Map, Value, json};
use std::hint::black_box;
use std::time::Instant;

const POINTS: usize = 50_000;
const PASSES: usize = 7;

struct Point {
    id: PointId,
    payload: Map<String, Value>,
}

impl Subject for Point {
    fn id(&self) -> &PointId {
        &self.id
    }

    fn payload(&self) -> &Map<String, Value> {
        &self.payload
    }

    fn has_vector(&self, name: &str) -> bool {
        name.is_empty()
    }
}

fn points() -> Vec<Point> {
    let mut random = Random::new(7);
    let mut below = |n: usize| random.below(n) as u32;
    let mut point = |id: usize| {
        let day = 1 + below(28);
        let lang = ["en", "de", "fr", "ru"][below(4) as usize];
        let value = json!({
            "lang": lang,
            "year": 1990 + below(35),
            "price": f64::from(below(10_000)) / 100.0,
            "open": below(2) == 0,
            "tags": [format!("t{}", below(50)), format!("t{}", below(50)), "all"],
            "by": {"name": format!("author {}", below(1000)), "place": {"city": "x", "zip": 5}},
            "at": format!("2024-02-{day:02}T12:30:45Z"),
            "where": {"lon": f64::from(below(360)) - 180.0, "lat": f64::from(below(180)) - 90.0},
            "rows": [{"k": below(9), "v": below(9)}, {"k": below(9), "v": below(9)}],
            "title": format!("a title of some words and number {}", below(500)),
            "text": "Some text of the usual length of a short paragraph. ".repeat(8),
        });
        let payload = value.as_object().cloned().unwrap_or_default();
        Point { id: PointId::Number(id as u64), payload }
    };
    (0..POINTS).map(&mut point).collect()
}

/// Nanoseconds a point, and how many of them passed.
fn best(points: &[Point], mut ask: impl FnMut(&Point) -> bool) -> (f64, usize) {
    let mut passed = 0;
    let pass = |_| {
        let start = Instant::now();
        passed = points.iter().filter(|point| ask(black_box(point))).count();
        start.elapsed().as_nanos() as f64 / points.len() as f64
    };
    let least = (0..PASSES).map(pass).fold(f64::INFINITY, f64::min);
    (least, passed)
}

fn main() {
    let points = points();
    let words: Vec<String> = (0..1000).map(|n| format!("author {}", n * 3)).collect();
    let ids: Vec<usize> = (0..10_000).map(|n| n * 7).collect();
    let at = |lon: i32, lat: i32| json!({"lon": lon, "lat": lat});
    let ring: Vec<Value> = (0..=64)
        .map(|n| {
            let angle = std::f64::consts::TAU * f64::from(n % 64) / 64.0;
            json!({"lon": 60.0 * angle.cos(), "lat": 60.0 * angle.sin()})
        })
        .collect();
    let area = json!({"top_left": at(-60, 60), "bottom_right": at(60, -60)});
    let pair = json!([
        {"key": "k", "match": {"value": 3}}, {"key": "v", "match": {"value": 4}}
    ]);
    let field = |key: &str, test: &str, asked: Value| json!({"key": key, test: asked});
    for (name, condition) in [
        ("nothing", json!([])),
        ("text equal", field("lang", "match", json!({"value": "de"}))),
        ("whole number equal", field("year", "match", json!({"value": 2001}))),
        ("nested key equal", field("by.place.zip", "match", json!({"value": 5}))),
        ("any of 3 in an array", field("tags", "match", json!({"any": ["t1", "t2", "t3"]}))),
        ("any of 1000 texts", field("by.name", "match", json!({ "any": words }))),
        ("range of numbers", field("price", "range", json!({"gte": 10, "lt": 20.5}))),
        ("range of moments", field("at", "range", json!({"gte": "2024-02-10"}))),
        ("text within 400 bytes", field("text", "match", json!({"text": "nowhere"}))),
        ("box", field("where", "geo_bounding_box", area)),
        ("circle", field("where", "geo_radius", json!({"center": at(0, 0), "radius": 3e6}))),
        ("polygon of 64", field("where", "geo_polygon", json!({"exterior": {"points": ring}}))),
        ("elements of rows", field("rows[].k", "match", json!({"value": 3}))),
        ("nested filter", json!({"nested": {"key": "rows", "filter": {"must": pair}}})),
        ("one of 10,000 ids", json!({"has_id": ids})),
        ("slice", json!({"slice": {"index": 1, "total": 4}})),
        (
            "four conditions",
            json!([
                field("lang", "match", json!({"value": "de"})),
                field("year", "range", json!({"gte": 2000})),
                field("tags", "match", json!({"except": ["t1"]})),
                {"is_empty": {"key": "gone"}},
            ]),
        ),
    ] {
        let filter = Filter::from_json(json!({ "must": condition }));
        match filter.and_then(|filter| filter.compile()) {
            Ok(compiled) => report(name, &points, &compiled),
            Err(error) => println!("{name}: {error}"),
        }
    }
    let bytes: Vec<Vec<u8>> =
        points.iter().filter_map(|point| encode(&point.payload).ok()).collect();
    let start = Instant::now();
    let read = bytes.iter().filter_map(|bytes| decode(black_box(bytes))).count();
    let each = start.elapsed().as_nanos() as f64 / read as f64;
    let size = bytes.iter().map(Vec::len).sum::<usize>() / bytes.len();
    println!("{:<24}{each:>8.0} ns   ({size} bytes each)", "decoding");
}

fn report(name: &str, points: &[Point], compiled: &Compiled) {
    let (nanos, passed) = best(points, |point| compiled.matches(point));
    println!("{name:<24}{nanos:>8.0} ns   ({passed} pass)");
}
