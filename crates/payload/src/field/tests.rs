//! Every question of every kind against looking at each row, and what damaged files do.

use super::*;
use crate::text::Wanted;
use crate::{Datetime, GeoBox, GeoCircle, GeoPoint, GeoPolygon, Ring, TextParams, elements};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The values at the path of each row.
type Rows = Vec<Vec<Value>>;

const KINDS: [FieldKind; 8] = [
    FieldKind::Keyword,
    FieldKind::Integer,
    FieldKind::Float,
    FieldKind::Geo,
    FieldKind::Text,
    FieldKind::Bool,
    FieldKind::Datetime,
    FieldKind::Uuid,
];

const FACTS: [Fact; 6] =
    [Fact::Empty, Fact::PartEmpty, Fact::Filled, Fact::Null, Fact::NullWithin, Fact::PartSolid];

fn schema(kind: FieldKind) -> FieldSchema {
    if kind == FieldKind::Text {
        let text = json!({ "type": "text", "phrase_matching": true });
        return FieldSchema::from_json(text).unwrap();
    }
    FieldSchema::from(kind)
}

fn bytes(schema: &FieldSchema, rows: &Rows) -> Vec<u8> {
    let mut builder = FieldBuilder::new(schema);
    for values in rows {
        builder.push(values);
    }
    builder.finish().unwrap()
}

fn open(data: &[u8]) -> Result<FieldIndex, FieldError> {
    FieldIndex::open(Bytes::copy_of(data), Path::new("field"))
}

fn index(kind: FieldKind, rows: &Rows) -> FieldIndex {
    open(&bytes(&schema(kind), rows)).unwrap()
}

fn uuid(n: u8) -> String {
    format!("00000000-0000-4000-8000-0000000000{n:02x}")
}

/// One value of any kind, few different ones so that questions meet them.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-4i64..5).prop_map(Value::from),
        prop::sample::select(vec![i64::MIN, i64::MAX, 1 << 53, (1 << 53) + 1])
            .prop_map(Value::from),
        (-8i32..9).prop_map(|n| json!(f64::from(n) / 2.0)),
        Just(json!(u64::MAX)),
        "[ab]{0,3}".prop_map(Value::from),
        "(red|blue|green|not)( (red|blue|green|not)){0,4}".prop_map(Value::from),
        (0u8..6).prop_map(|n| json!(uuid(n))),
        Just(json!(uuid(0xab).to_uppercase())),
        (0i64..6).prop_map(|n| json!(Datetime::from_micros(n * 1_000_000).unwrap().to_string())),
        (-4i32..5, -2i32..3).prop_map(|(x, y)| json!({ "lon": x * 45, "lat": y * 45 })),
        (0i32..100, 0i32..100)
            .prop_map(|(x, y)| json!({ "lon": 13.0 + f64::from(x) / 99.0, "lat": 52 + y / 50 })),
        Just(json!({ "lon": 500, "lat": 0 })),
        Just(json!([1])),
    ]
}

fn rows() -> impl Strategy<Value = Rows> {
    let array = prop::collection::vec(scalar(), 0..4).prop_map(Value::from);
    let value = prop_oneof![4 => scalar(), 1 => array];
    let row = prop_oneof![
        6 => prop::collection::vec(value.clone(), 1),
        1 => prop::collection::vec(value, 0..3),
    ];
    prop::collection::vec(row, 0..60)
}

fn values(row: &[Value]) -> impl Iterator<Item = &Value> {
    row.iter().flat_map(elements).filter(|value| !value.is_null())
}

fn same(value: &Value, scalar: &Scalar<'_>) -> bool {
    match scalar {
        Scalar::Text(text) => value.as_str() == Some(text),
        Scalar::Integer(number) => value.as_i64() == Some(*number),
        Scalar::Float(number) => value.as_f64() == Some(*number),
        Scalar::Bool(flag) => value.as_bool() == Some(*flag),
        Scalar::Uuid(id) => value.as_str() == Some(&PointId::Uuid(*id).to_string()),
        Scalar::Moment(at) => Datetime::from_value(value).is_some_and(|time| time.micros() == *at),
    }
}

/// Whether a row is in the answer, by looking at its values.
fn holds(cutter: &Cutter, row: &[Value], question: &Question<'_>) -> bool {
    let empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let null = |value: &Value| elements(value).any(Value::is_null);
    match question {
        Question::Any(list) => values(row).any(|value| list.iter().any(|one| same(value, one))),
        Question::Except(list) => values(row).any(|value| !list.iter().any(|one| same(value, one))),
        Question::Prefix(prefix) => {
            values(row).any(|value| value.as_str().is_some_and(|text| text.starts_with(prefix)))
        }
        Question::Range(numbers) => values(row).any(|value| {
            let whole = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
            match whole {
                Some(whole) => (numbers.whole.0..=numbers.whole.1).contains(&whole),
                None => value
                    .as_f64()
                    .is_some_and(|float| (numbers.float.0..=numbers.float.1).contains(&float)),
            }
        }),
        Question::Period(from, to) => values(row).any(|value| {
            Datetime::from_value(value).is_some_and(|time| (*from..=*to).contains(&time.micros()))
        }),
        Question::Within(area) => {
            values(row).any(|v| GeoPoint::from_value(v).is_some_and(|point| area.contains(point)))
        }
        Question::Words(wanted) => {
            values(row).filter_map(Value::as_str).any(|text| cutter.matches(text, wanted))
        }
        Question::Fact(fact) => match fact {
            Fact::Empty => row.iter().all(empty),
            Fact::PartEmpty => row.is_empty() || row.iter().any(empty),
            Fact::Filled => row.iter().any(|value| !empty(value)),
            Fact::Null => row.iter().any(Value::is_null),
            Fact::NullWithin => row.iter().any(null),
            Fact::PartSolid => row.is_empty() || row.iter().any(|value| !null(value)),
        },
        Question::Count(from, to) => {
            let count = |value: &Value| {
                let one = u64::from(!value.is_null());
                value.as_array().map_or(one, |values| values.len() as u64)
            };
            let missing = row.is_empty() && *from == 0;
            missing || row.iter().any(|value| (*from..=*to).contains(&count(value)))
        }
    }
}

/// The answer is that of looking at every row, and the estimate holds it.
fn check(kind: FieldKind, rows: &Rows, question: &Question<'_>) {
    let index = index(kind, rows);
    let cutter = Cutter::new(&TextParams::default());
    assert!(index.fits(question), "{kind:?} {question:?}");
    let expected = (0u32..).zip(rows).filter(|(_, row)| holds(&cutter, row, question));
    let expected: RoaringBitmap = expected.map(|(row, _)| row).collect();
    let got = index.rows(question).unwrap();
    assert_eq!(got, expected, "{kind:?} {question:?}\n{rows:?}");
    let Estimate { min, likely, max } = index.estimate(question).unwrap();
    let all = min <= likely && likely <= max && (min..=max).contains(&got.len());
    assert!(all, "{kind:?} {question:?}: {} in {min} {likely} {max}\n{rows:?}", got.len());
}

fn number() -> impl Strategy<Value = f64> {
    let edges = vec![f64::INFINITY, f64::NEG_INFINITY, -9.3e18, 9.3e18, 9_007_199_254_740_992.0];
    let halves = (-10i32..11).prop_map(|n| f64::from(n) / 2.0);
    prop_oneof![4 => halves, 1 => prop::sample::select(edges)]
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let wholes = vec![i128::MIN, i128::MAX, 1 << 53, (1 << 53) + 1, 1 << 63, (1 << 64) - 1];
    let whole = || prop_oneof![4 => -6i128..7, 1 => prop::sample::select(wholes.clone())];
    ((whole(), whole()), (number(), number())).prop_map(|(whole, float)| Numbers { whole, float })
}

proptest! {
    #[test]
    fn keywords(rows in rows(), list in prop::collection::vec("[ab]{0,2}|red", 0..4)) {
        let scalars: Vec<Scalar<'_>> = list.iter().map(|text| Scalar::Text(text)).collect();
        check(FieldKind::Keyword, &rows, &Question::Any(&scalars));
        check(FieldKind::Keyword, &rows, &Question::Except(&scalars));
        check(FieldKind::Keyword, &rows, &Question::Prefix(list.first().map_or("", |t| t)));
    }

    #[test]
    fn integers(rows in rows(), list in prop::collection::vec(-5i64..6, 0..4),
                range in numbers()) {
        let scalars: Vec<Scalar<'_>> = list.into_iter().map(Scalar::Integer).collect();
        check(FieldKind::Integer, &rows, &Question::Any(&scalars));
        check(FieldKind::Integer, &rows, &Question::Except(&scalars));
        check(FieldKind::Integer, &rows, &Question::Range(range));
        check(FieldKind::Float, &rows, &Question::Range(range));
    }

    #[test]
    fn flags_and_uuids(rows in rows(), flags in prop::collection::vec(any::<bool>(), 0..3),
                              ids in prop::collection::vec(0u8..8, 0..3)) {
        let flags: Vec<Scalar<'_>> = flags.into_iter().map(Scalar::Bool).collect();
        check(FieldKind::Bool, &rows, &Question::Any(&flags));
        check(FieldKind::Bool, &rows, &Question::Except(&flags));
        let ids: Vec<Scalar<'_>> =
            ids.into_iter().map(|n| Scalar::Uuid(uuid_of(&uuid(n)).unwrap())).collect();
        check(FieldKind::Uuid, &rows, &Question::Any(&ids));
        check(FieldKind::Uuid, &rows, &Question::Except(&ids));
    }

    #[test]
    fn moments_and_facts(rows in rows(), kind in prop::sample::select(KINDS.to_vec()),
                         from in -1i64..7, to in -1i64..7, least in 0u64..4, most in 0u64..4) {
        let period = Question::Period(from * 1_000_000, to * 1_000_000);
        check(FieldKind::Datetime, &rows, &period);
        check(FieldKind::Datetime, &rows, &Question::Any(&[Scalar::Moment(2_000_000)]));
        for fact in FACTS {
            check(kind, &rows, &Question::Fact(fact));
        }
        check(kind, &rows, &Question::Count(least, most));
    }

    #[test]
    fn places(rows in rows(), x in -180i32..=180, y in -90i32..=90,
              w in -180i32..=180, h in 0i32..90,
              radius in prop_oneof![0f64..1000.0, 0f64..2e7]) {
        let point = |lon: i32, lat: i32| {
            GeoPoint::new(f64::from(lon), f64::from(lat.clamp(-90, 90))).unwrap()
        };
        let area = GeoBox { top_left: point(x, y), bottom_right: point(w, y - h) };
        check(FieldKind::Geo, &rows, &Question::Within(Area::Box(&area)));
        let circle = GeoCircle::new(point(x, y), radius).unwrap();
        check(FieldKind::Geo, &rows, &Question::Within(Area::Circle(&circle)));
        let near = GeoCircle::new(GeoPoint::new(13.3, 52.0).unwrap(), radius / 400.0).unwrap();
        check(FieldKind::Geo, &rows, &Question::Within(Area::Circle(&near)));
        let ring = Ring::new(vec![point(x, y), point(w, y), point(w, y - h), point(x, y)]).unwrap();
        let polygon = GeoPolygon { exterior: ring, interiors: Vec::new() };
        check(FieldKind::Geo, &rows, &Question::Within(Area::Polygon(&polygon)));
    }

    #[test]
    fn words(rows in rows(), text in "(red|blue|green|not|pink)( (red|blue|green|not)){0,3}|") {
        let cutter = Cutter::new(&TextParams::default());
        for demand in [Demand::All, Demand::Any, Demand::Phrase] {
            check(FieldKind::Text, &rows, &Question::Words(&cutter.wanted(&text, demand)));
        }
    }

    #[test]
    fn lists(rows in rows(), every in 1usize..4, start in number(), limit in 0usize..20) {
        let allowed: RoaringBitmap = (0..rows.len() as u32).step_by(every).collect();
        for kind in [FieldKind::Keyword, FieldKind::Integer, FieldKind::Bool, FieldKind::Uuid] {
            let mut expected: BTreeMap<String, u64> = BTreeMap::new();
            for row in &allowed {
                let mut seen: Vec<&Value> = Vec::new();
                for value in values(&rows[row as usize]).filter(|value| is_kind(kind, value)) {
                    if !seen.contains(&value) {
                        seen.push(value);
                        *expected.entry(value.to_string()).or_default() += 1;
                    }
                }
            }
            let mut got = BTreeMap::new();
            index(kind, &rows).facet(&allowed, &mut |value, count| {
                got.insert(as_json(value).to_string(), count);
            }).unwrap();
            prop_assert_eq!(got, expected);
        }
        check_walk(&rows, &allowed, Scalar::Float(start), limit);
        check_walk(&rows, &allowed, Scalar::Integer(start as i64), limit);
    }
}

/// A number as a whole one of halves, which all numbers of these tests are: exact.
fn halves(scalar: &Scalar<'_>) -> i128 {
    match scalar {
        Scalar::Integer(number) => i128::from(*number) * 2,
        Scalar::Float(number) => ((number * 2.0) as i128).clamp(-(1 << 70), 1 << 70),
        Scalar::Text(_) | Scalar::Bool(_) | Scalar::Uuid(_) | Scalar::Moment(_) => {
            panic!("no number: {scalar:?}")
        }
    }
}

fn check_walk(rows: &Rows, allowed: &RoaringBitmap, start: Scalar<'_>, limit: usize) {
    let index = index(FieldKind::Float, rows);
    for (direction, start) in [
        (Direction::Ascending, None),
        (Direction::Ascending, Some(start)),
        (Direction::Descending, None),
        (Direction::Descending, Some(start)),
    ] {
        let mut expected: Vec<(i128, u32)> = Vec::new();
        for row in allowed {
            expected.extend(values(&rows[row as usize]).filter_map(|value| {
                let whole = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
                let twice = whole.map(|n| n * 2).or(value.as_f64().map(|n| (n * 2.0) as i128))?;
                Some((twice, row))
            }));
        }
        expected.sort_unstable();
        expected.dedup();
        let from = start.as_ref().map(halves);
        if direction == Direction::Descending {
            expected.reverse();
            expected.retain(|(number, _)| from.is_none_or(|from| *number <= from));
        } else {
            expected.retain(|(number, _)| from.is_none_or(|from| *number >= from));
        }
        expected.truncate(limit);
        let walk = Walk { direction, start, limit };
        let got = index.walk(&walk, allowed).unwrap();
        // Above 64 bits with sign a whole number comes as the float next to it.
        let near = |number: i128| if number > i128::from(i64::MAX) * 2 { 1 << 65 } else { number };
        let got: Vec<_> = got.iter().map(|(value, row)| (near(halves(value)), *row)).collect();
        let expected: Vec<_> = expected.iter().map(|(n, row)| (near(*n), *row)).collect();
        assert_eq!(got, expected, "{walk:?}\n{rows:?}");
    }
    let all = (0..rows.len() as u32).collect();
    let end = |direction| {
        let walk = Walk { direction, start: None, limit: 1 };
        index.walk(&walk, &all).unwrap().first().map(|(value, _)| *value)
    };
    let ends = end(Direction::Ascending).zip(end(Direction::Descending));
    assert_eq!(index.extremes().unwrap(), ends);
}

fn is_kind(kind: FieldKind, value: &Value) -> bool {
    let uuid = || value.as_str().is_some_and(|text| uuid_of(text).is_some());
    kind == FieldKind::Keyword && value.is_string()
        || kind == FieldKind::Integer && value.is_i64()
        || kind == FieldKind::Bool && value.is_boolean()
        || kind == FieldKind::Uuid && uuid()
}

fn as_json(scalar: Scalar<'_>) -> Value {
    match scalar {
        Scalar::Text(text) => json!(text),
        Scalar::Integer(number) | Scalar::Moment(number) => json!(number),
        Scalar::Float(number) => json!(number),
        Scalar::Bool(flag) => json!(flag),
        Scalar::Uuid(id) => json!(PointId::Uuid(id).to_string()),
    }
}

/// Everything an index of a kind can be asked, for files that may be damaged.
fn ask_all(index: &FieldIndex) {
    let wanted: Vec<Wanted> = match index.cutter() {
        Some(cutter) => {
            [Demand::All, Demand::Any, Demand::Phrase].map(|d| cutter.wanted("red blue", d)).into()
        }
        None => Vec::new(),
    };
    let corner = |lon, lat| GeoPoint::new(lon, lat).unwrap();
    let area = GeoBox { top_left: corner(-170.0, 80.0), bottom_right: corner(170.0, -80.0) };
    let scalars = [
        Scalar::Text("a"),
        Scalar::Integer(1),
        Scalar::Float(0.5),
        Scalar::Bool(true),
        Scalar::Uuid(uuid_of(&uuid(1)).unwrap()),
        Scalar::Moment(1_000_000),
    ];
    let mut questions = vec![
        Question::Prefix("a"),
        Question::Range(Numbers { whole: (-1, 2), float: (-1.0, 2.0) }),
        Question::Range(Numbers { whole: (i128::MIN, i128::MAX), float: (f64::MIN, f64::MAX) }),
        Question::Period(i64::MIN, i64::MAX),
        Question::Within(Area::Box(&area)),
        Question::Count(1, u64::MAX),
    ];
    questions.extend(FACTS.map(Question::Fact));
    questions.extend(wanted.iter().map(Question::Words));
    for one in scalars.chunks(1) {
        questions.extend([Question::Any(one), Question::Except(one)]);
    }
    for question in questions.iter().filter(|question| index.fits(question)) {
        if let Ok(rows) = index.rows(question) {
            assert!(rows.max().is_none_or(|row| row < index.len()), "{question:?}");
        }
        let _ = index.estimate(question);
    }
    let all: RoaringBitmap = (0..index.len().min(100)).collect();
    let _ = index.facet(&all, &mut |_, _| ());
    let walk = Walk { direction: Direction::Descending, start: None, limit: 10 };
    let _ = (index.walk(&walk, &all), index.extremes());
}

fn sample() -> Rows {
    let texts = ["red blue", "blue red green", "a", "ab"];
    let mut rows: Rows = texts.iter().map(|text| vec![json!(text)]).collect();
    rows.extend((0u8..4).map(|n| vec![json!([n, f64::from(n) + 0.5, uuid(n), true, null])]));
    rows.extend((0..4).map(|n| vec![json!({ "lon": n * 20, "lat": n * 10 })]));
    rows.extend((0..4).map(|n| vec![json!(format!("1970-01-01T00:00:0{n}Z")), json!([])]));
    rows.push(Vec::new());
    rows
}

#[test]
fn cut_files_and_flipped_bits_are_errors_and_never_panic() {
    for kind in KINDS {
        let data = bytes(&schema(kind), &sample());
        ask_all(&open(&data).unwrap());
        open(&data).unwrap().verify().unwrap();
        for len in 0..data.len() {
            assert!(open(&data[..len]).is_err(), "{kind:?} cut to {len}");
        }
        for at in 0..data.len() {
            let mut data = data.clone();
            data[at] ^= 1 << (at % 8);
            let Ok(index) = open(&data) else { continue };
            // Only what lies between sections is not covered by a checksum.
            let padding = data[at] == 1 << (at % 8);
            assert!(index.verify().is_err() || padding, "{kind:?} at {at}");
            ask_all(&index);
        }
    }
}

#[test]
fn files_with_right_checksums_and_senseless_content_never_panic() {
    for kind in KINDS {
        let data = bytes(&schema(kind), &sample());
        let frame = Frame::open(Bytes::copy_of(&data), Path::new("field"), &KIND).unwrap();
        let names = [
            "schema",
            "head",
            "empty",
            "null",
            "other",
            "valued",
            "several",
            "distinct",
            "counts",
            "count-slots",
            "count-sets",
            "keys",
            "ends",
            "slots",
            "sets",
            "values",
            "rows",
            "starts",
            "places",
        ];
        let names: Vec<&str> = names.into_iter().filter(|name| frame.has(name)).collect();
        let parts: Vec<Vec<u8>> =
            names.iter().map(|name| frame.section(name).unwrap().to_vec()).collect();
        let changed = |which: usize, part: &[u8]| {
            let sections = (0..names.len()).map(|n| kvant_storage::frame::Section {
                name: names[n],
                data: if n == which { part } else { &parts[n] },
            });
            let sections: Vec<_> = sections.collect();
            kvant_storage::frame::to_bytes(&KIND, 0, &sections)
        };
        for which in 0..names.len() {
            for at in 0..parts[which].len() {
                for flip in [1, 0x80, 0xff] {
                    let mut part = parts[which].clone();
                    part[at] ^= flip;
                    if let Ok(index) = open(&changed(which, &part)) {
                        ask_all(&index);
                    }
                }
                if let Ok(index) = open(&changed(which, &parts[which][..at])) {
                    ask_all(&index);
                }
            }
        }
    }
}

#[test]
fn questions_of_other_kinds_are_refused_by_name() {
    let rows = sample();
    let numbers = index(FieldKind::Integer, &rows);
    let error = numbers.rows(&Question::Prefix("a")).unwrap_err().to_string();
    assert_eq!(error, "an index of integer values cannot be asked for beginnings of texts");
    assert!(numbers.estimate(&Question::Any(&[Scalar::Text("1")])).is_err());
    assert!(index(FieldKind::Keyword, &rows).extremes().is_err());
    assert!(index(FieldKind::Geo, &rows).facet(&RoaringBitmap::new(), &mut |_, _| ()).is_err());
    let plain = open(&bytes(&FieldSchema::from(FieldKind::Text), &rows)).unwrap();
    let phrase = plain.cutter().unwrap().wanted("red blue", Demand::Phrase);
    assert!(
        !plain.fits(&Question::Words(&phrase)) && plain.rows(&Question::Words(&phrase)).is_err()
    );
    let all = plain.cutter().unwrap().wanted("red blue", Demand::All);
    assert_eq!(plain.rows(&Question::Words(&all)).unwrap().len(), 2);
}

#[test]
fn a_file_says_what_it_is_over_and_is_the_same_every_time() {
    for kind in KINDS {
        let index = index(kind, &sample());
        assert_eq!((index.kind(), index.len(), index.is_empty()), (kind, 17, false));
        assert_eq!(index.schema(), &schema(kind));
        assert!(index.valued() > 0, "{kind:?}");
        assert_eq!(bytes(&schema(kind), &sample()), bytes(&schema(kind), &sample()));
        let empty = self::index(kind, &Vec::new());
        assert!(empty.is_empty() && empty.rows(&Question::Fact(Fact::Empty)).unwrap().is_empty());
    }
}

#[test]
fn unique_texts_cost_their_bytes_and_twelve_more() {
    let rows: Rows = (0..10_000).map(|n| vec![json!(format!("{n:05}"))]).collect();
    let size = bytes(&schema(FieldKind::Keyword), &rows).len();
    assert!(size < 10_000 * (5 + 12) + 4096, "{size}");
    let numbers: Rows = (0..10_000).map(|n| vec![json!(n)]).collect();
    let size = bytes(&schema(FieldKind::Integer), &numbers).len();
    assert!(size < 10_000 * 12 + 4096, "{size}");
}
