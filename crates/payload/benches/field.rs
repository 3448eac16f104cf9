//! What building an index of each kind costs, how large it is, and how long answers take.
//!
//! `cargo bench -p kvant-payload -- [ROWS]`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

use kvant_payload::field::{
    Area, Direction, Fact, FieldBuilder, FieldIndex, Numbers, Question, Scalar, Walk,
};
use kvant_payload::text::Demand;
use kvant_payload::text::bm25::{Bm25, Bm25Options};
use kvant_payload::{FieldSchema, GeoBox, GeoCircle, GeoPoint};
use kvant_storage::Bytes;
use kvant_testkit::Random;
use roaring::RoaringBitmap;
use serde_json::{Value, json};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

/// The middle of 21 calls.
fn median(mut call: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[10]
}

fn build(name: &str, schema: Value, values: &[Value]) -> FieldIndex {
    let schema = FieldSchema::from_json(schema).unwrap();
    let start = Instant::now();
    let mut builder = FieldBuilder::new(&schema);
    for value in values {
        builder.push([value]);
    }
    let data = builder.finish().unwrap();
    let took = start.elapsed();
    let size = data.len() as f64 / values.len() as f64;
    println!("{name}: built in {took:.0?}, {size:.1} bytes a row");
    let bytes = Bytes::from(data);
    let open = median(|| drop(FieldIndex::open(bytes.clone(), Path::new("field")).unwrap()));
    let index = FieldIndex::open(bytes, Path::new("field")).unwrap();
    index.verify().unwrap();
    println!("  open {open:.1?}");
    index
}

fn ask(name: &str, index: &FieldIndex, question: &Question<'_>) {
    let rows = index.rows(question).unwrap().len();
    let answer = median(|| drop(black_box(index.rows(question).unwrap())));
    let estimate = median(|| drop(black_box(index.estimate(question))));
    println!("  {name}: {rows} rows in {answer:.1?}, estimate {estimate:.1?}");
}

fn facet(index: &FieldIndex, allowed: &RoaringBitmap) {
    let mut values = 0;
    let took = median(|| {
        values = 0;
        index.facet(allowed, &mut |_, _| values += 1).unwrap();
    });
    println!("  facet of {} rows: {values} values in {took:.1?}", allowed.len());
}

/// From 0 to 1.
fn share(random: &mut Random) -> f64 {
    random.below(1 << 53) as f64 / 2f64.powi(53)
}

fn texts(rows: usize, random: &mut Random) -> Vec<Value> {
    // Words as frequent as in texts: the n-th with 1/n.
    let mut word = || {
        let at = (share(random) * (20_000f64).ln()).exp() as usize;
        format!("word{at}")
    };
    (0..rows).map(|_| json!((0..30).map(|_| word()).collect::<Vec<_>>().join(" "))).collect()
}

fn keywords(rows: usize, half: &RoaringBitmap) {
    let values: Vec<Value> = (0..rows).map(|n| json!(format!("city-{}", n * 7919 % 100))).collect();
    let index = build("keyword, 100 values", json!("keyword"), &values);
    ask("one", &index, &Question::Any(&[Scalar::Text("city-42")]));
    ask("except one", &index, &Question::Except(&[Scalar::Text("city-42")]));
    ask("prefix of 11", &index, &Question::Prefix("city-4"));
    ask("filled", &index, &Question::Fact(Fact::Filled));
    facet(&index, half);
    let values: Vec<Value> =
        (0..rows).map(|n| json!(format!("item-{:06}", n * 7919 % rows))).collect();
    let index = build("keyword, unique", json!("keyword"), &values);
    ask("one", &index, &Question::Any(&[Scalar::Text("item-000042")]));
    ask("prefix", &index, &Question::Prefix("item-00"));
    facet(&index, half);
}

fn numbers(rows: usize, random: &mut Random, half: &RoaringBitmap) {
    let values: Vec<Value> = (0..rows).map(|_| json!((share(random) * 1e6) as i64)).collect();
    let index = build("integer, up to 1,000,000", json!("integer"), &values);
    let range = |share: f64| {
        let (whole, float) = ((0, (share * 1e6) as i128), (0.0, share * 1e6));
        Question::Range(Numbers { whole, float })
    };
    ask("one", &index, &Question::Any(&[Scalar::Integer(500_000)]));
    ask("range of 1 %", &index, &range(0.01));
    ask("range of 50 %", &index, &range(0.5));
    let walk = Walk { direction: Direction::Descending, start: None, limit: 100 };
    let took = median(|| drop(black_box(index.walk(&walk, half).unwrap())));
    println!("  100 in order among half: {took:.1?}");
    facet(&index, half);
    let values: Vec<Value> = (0..rows).map(|_| json!(share(random) * 1e6)).collect();
    let index = build("float", json!("float"), &values);
    ask("range of 50 %", &index, &range(0.5));
    let values: Vec<Value> = (0..rows).map(|n| json!(n % 3 == 0)).collect();
    let index = build("bool", json!("bool"), &values);
    ask("true", &index, &Question::Any(&[Scalar::Bool(true)]));
    let time =
        |n: usize| json!(format!("2024-01-{:02}T{:02}:00:{:02}Z", n % 28 + 1, n % 24, n % 60));
    let values: Vec<Value> = (0..rows).map(time).collect();
    let index = build("datetime", json!("datetime"), &values);
    let day = 1_704_067_200_000_000;
    ask("a week", &index, &Question::Period(day, day + 7 * 86_400_000_000));
    let uuid = |n: usize| json!(format!("{:08x}-0000-4000-8000-{n:012x}", n * 7919 % rows));
    let values: Vec<Value> = (0..rows).map(uuid).collect();
    let index = build("uuid, unique", json!("uuid"), &values);
    ask("one", &index, &Question::Any(&[Scalar::Uuid(0x4000_8000_0000_0000_0000)]));
}

fn places(rows: usize, random: &mut Random) {
    let mut place =
        || json!({ "lon": share(random) * 360.0 - 180.0, "lat": share(random) * 180.0 - 90.0 });
    let values: Vec<Value> = (0..rows).map(|_| place()).collect();
    let index = build("geo, all over the Earth", json!("geo"), &values);
    let point = |lon, lat| GeoPoint::new(lon, lat).unwrap();
    let area = GeoBox { top_left: point(5.0, 55.0), bottom_right: point(15.0, 47.0) };
    ask("box of 10 by 8 degrees", &index, &Question::Within(Area::Box(&area)));
    for metres in [100_000.0, 1_000_000.0] {
        let circle = GeoCircle::new(point(13.4, 52.5), metres).unwrap();
        ask(&format!("circle of {metres} m"), &index, &Question::Within(Area::Circle(&circle)));
    }
}

fn words(rows: usize, random: &mut Random) {
    let values = texts(rows, random);
    for (name, schema) in [
        ("text of 30 words", json!({ "type": "text" })),
        ("text with places", json!({ "type": "text", "phrase_matching": true })),
        ("text, prefixes", json!({ "type": "text", "tokenizer": "prefix" })),
    ] {
        let index = build(name, schema, &values);
        let cutter = index.cutter().unwrap();
        for (name, text, demand) in [
            ("all of two", "word5 word50", Demand::All),
            ("any of two", "word5 word50", Demand::Any),
            ("phrase", "word5 word50", Demand::Phrase),
        ] {
            let wanted = cutter.wanted(text, demand);
            let question = Question::Words(&wanted);
            if index.fits(&question) {
                ask(name, &index, &question);
            }
        }
    }
    let bm25 = Bm25::new(Bm25Options::default());
    let texts: Vec<&str> = values.iter().filter_map(Value::as_str).take(1000).collect();
    let took = median(|| texts.iter().for_each(|text| drop(black_box(bm25.document(text)))));
    println!("BM25 of a text of 30 words: {:.1?}", took / texts.len() as u32);
}

fn main() {
    let rows = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let rows: usize = rows.unwrap_or(100_000);
    println!("{rows} rows");
    let mut random = Random::new(7);
    let half: RoaringBitmap = (0..rows as u32).step_by(2).collect();
    keywords(rows, &half);
    numbers(rows, &mut random, &half);
    places(rows, &mut random);
    words(rows, &mut random);
}
