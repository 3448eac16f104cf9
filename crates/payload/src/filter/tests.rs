//! Which points pass which conditions, as the reference has it.

use super::*;
use crate::{Path, PointId};
use serde_json::{Map, Value, json};

mod generate;
mod limit;
mod wire;

/// A point called 7 with one vector.
pub(super) struct Point {
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
        name == "image"
    }
}

pub(super) fn point(payload: Value) -> Point {
    let Value::Object(payload) = payload else { panic!("{payload}") };
    Point { id: PointId::Number(7), payload }
}

pub(super) fn filter(value: Value) -> Filter {
    Filter::from_json(value).unwrap()
}

/// `{key: value}`.
pub(super) fn object(key: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), value)]))
}

fn matches(payload: &Value, condition: Value) -> bool {
    filter(object("must", condition)).compile().unwrap().matches(&point(payload.clone()))
}

#[track_caller]
fn check(payload: &Value, condition: Value, expected: bool) {
    let text = condition.to_string();
    assert_eq!(matches(payload, condition), expected, "{text} on {payload}");
}

/// Each test with the values of `v` it passes and those it does not.
#[track_caller]
fn table(test: &str, asked: &Value, yes: &[Value], no: &[Value]) {
    for (values, expected) in [(yes, true), (no, false)] {
        for value in values {
            check(&json!({ "v": value }), json!({"key": "v", test: asked}), expected);
        }
    }
    check(&json!({}), json!({"key": "v", test: asked}), false);
}

#[test]
fn values_are_matched_by_kind() {
    let text = json!({"value": "red"});
    table(
        "match",
        &text,
        &[json!("red"), json!(["blue", "red"])],
        &[
            json!("Red"),
            json!("redder"),
            json!(["blue", ["red"]]),
            json!({"red": "red"}),
            json!([]),
            json!(null),
        ],
    );
    let whole = json!({"value": 1});
    table(
        "match",
        &whole,
        &[json!(1), json!([0, 1])],
        &[json!(1.0), json!(1.5), json!("1"), json!(true), json!(18_446_744_073_709_551_615u64)],
    );
    table(
        "match",
        &json!({"value": true}),
        &[json!(true), json!([false, true])],
        &[json!(false), json!(1), json!("true")],
    );
    let least = json!({"value": i64::MIN});
    table("match", &least, &[json!(i64::MIN)], &[json!(i64::MIN + 1), json!(i64::MIN as f64)]);
}

#[test]
fn lists_and_their_opposite() {
    let words: Vec<String> = (0..40).map(|n| format!("w{n}")).collect();
    for (few, many) in [(json!(["w1", "w3"]), json!(words))] {
        for list in [few, many] {
            let other = [json!("x"), json!(1), json!(null), json!([]), json!([["w1"]])];
            table("match", &json!({"any": list}), &[json!("w1"), json!(["x", "w3"])], &other);
            let yes =
                [json!("x"), json!(["w1", "x"]), json!(1), json!(true), json!({}), json!([[]])];
            let no = [json!("w1"), json!(["w1", "w3"]), json!(null), json!([null]), json!([])];
            table("match", &json!({"except": list}), &yes, &no);
        }
    }
    let any = json!({"any": [5, -1, 5]});
    table("match", &any, &[json!(5), json!([0, -1])], &[json!(0), json!(5.0), json!("5")]);
    let except = json!({"except": [5, -1]});
    table(
        "match",
        &except,
        &[json!(0), json!(5.0), json!("5"), json!([5, 6])],
        &[json!(5), json!([5, -1]), json!(null)],
    );
    table("match", &json!({"any": []}), &[], &[json!(1), json!("a"), json!(null)]);
    table("match", &json!({"except": []}), &[json!(1), json!("a")], &[json!(null), json!([])]);
}

#[test]
fn texts_without_an_index_are_compared_as_they_are() {
    let story = json!("The quick brown fox");
    for (asked, expected) in [
        (json!({"text": "quick brown"}), true),
        (json!({"text": "ick bro"}), true),
        (json!({"text": "brown quick"}), false),
        (json!({"text": "Quick"}), false),
        (json!({"text": ""}), true),
        (json!({"text_any": "slow  fox"}), true),
        (json!({"text_any": "slow dog"}), false),
        (json!({"text_any": " "}), false),
        (json!({"phrase": "brown fox"}), true),
        (json!({"phrase": "brown  fox"}), false),
        (json!({"prefix": "The q"}), true),
        (json!({"prefix": "the"}), false),
        (json!({"prefix": ""}), true),
    ] {
        check(&json!({"v": story}), json!({"key": "v", "match": asked}), expected);
        check(&json!({"v": [1, story]}), json!({"key": "v", "match": asked}), expected);
        check(&json!({"v": 5}), json!({"key": "v", "match": asked}), false);
    }
}

#[test]
fn numbers_in_ranges_are_not_rounded() {
    let big = 9_007_199_254_740_993i64;
    for (bounds, yes, no) in [
        (
            json!({"gte": 1, "lt": 3}),
            vec![json!(1), json!(2.999), json!([9, 2])],
            vec![json!(3), json!(0.999), json!("2"), json!([0, 5]), json!(null), json!(true)],
        ),
        (json!({"gt": 1.5}), vec![json!(2), json!(1.500_000_1)], vec![json!(1.5), json!(1)]),
        (
            json!({"lte": big}),
            vec![json!(big), json!(big as f64)],
            vec![json!(big + 1), json!((big + 1) as f64)],
        ),
        (json!({"gte": big}), vec![json!(big), json!((big + 1) as f64)], vec![json!(big as f64)]),
        (json!({"gte": big as f64, "lte": big as f64}), vec![json!(big - 1)], vec![json!(big)]),
        (json!({"gt": u64::MAX}), vec![json!(1e20)], vec![json!(u64::MAX), json!(5)]),
        (
            json!({"lt": 1e300, "gt": -1e300}),
            vec![json!(u64::MAX), json!(1e299)],
            vec![json!(1e300), json!(-1e300)],
        ),
        (json!({"gt": -0.0}), vec![json!(1), json!(5e-324)], vec![json!(0), json!(-0.0)]),
        (json!({"gte": 0.0}), vec![json!(0), json!(-0.0)], vec![json!(-5e-324)]),
        (json!({}), vec![json!(1), json!(-1.5)], vec![json!("1"), json!(null)]),
        (json!({"gt": 3, "lt": 1}), vec![], vec![json!(2), json!([0, 5])]),
        (json!({"gte": 2, "gt": 1, "lte": 2, "lt": 3}), vec![json!(2)], vec![json!(2.5)]),
    ] {
        table("range", &bounds, &yes, &no);
    }
}

#[test]
fn moments_in_ranges() {
    let day = json!({"gte": "2024-02-29", "lt": "2024-03-01T00:00:00Z"});
    table(
        "range",
        &day,
        &[
            json!("2024-02-29"),
            json!("2024-02-29T23:59:59.999999Z"),
            json!("2024-03-01T00:30:00+01:00"),
            json!(["x", "2024-02-29 12:00"]),
        ],
        &[json!("2024-03-01"), json!("2024-02-28T23:59:59"), json!(1_709_164_800), json!("today")],
    );
    let open = json!({"gt": "2024-02-29T00:00:00Z", "lte": "9999-12-31T23:59:59Z"});
    table(
        "range",
        &open,
        &[json!("2024-02-29T00:00:00.000001Z"), json!("9999-12-31")],
        &[json!("2024-02-29"), json!("9999-12-31T23:59:59.5Z")],
    );
}

#[test]
fn places_in_areas() {
    let at = |lon: f64, lat: f64| json!({"lon": lon, "lat": lat});
    let berlin = at(13.4, 52.5);
    let area = json!({"top_left": at(13.0, 53.0), "bottom_right": at(14.0, 52.0)});
    let others = [at(13.0, 52.5), json!([13.4, 52.5]), json!("13.4,52.5"), json!({"lon": 13.4})];
    table(
        "geo_bounding_box",
        &area,
        &[berlin.clone(), json!([at(0.0, 0.0), berlin.clone()])],
        &others,
    );
    let near = json!({"center": at(13.5, 52.5), "radius": 7000.0});
    table("geo_radius", &near, std::slice::from_ref(&berlin), &[at(13.6, 52.6), at(200.0, 52.5)]);
    let ring =
        |w: f64, e: f64| json!({"points": [at(w, 52.0), at(e, 52.0), at(e, 53.0), at(w, 52.0)]});
    let polygon = json!({"exterior": ring(12.0, 14.0), "interiors": [ring(13.0, 13.8)]});
    table("geo_polygon", &polygon, &[at(13.0, 52.2)], &[at(13.7, 52.5), at(12.0, 52.0)]);
    table("geo_polygon", &json!({"exterior": ring(12.0, 14.0)}), &[at(13.7, 52.5)], &[]);
}

#[test]
fn counts_and_nothing() {
    let payload = json!({
        "none": null, "list": [1, 2], "empty": [], "nulls": [null], "one": "x", "object": {},
        "rows": [{"a": 1}, {"a": null}, {}, {"a": []}],
    });
    for (key, count, is_empty, is_null, all_empty, any_null) in [
        ("none", 0, true, true, true, true),
        ("list", 2, false, false, false, false),
        ("empty", 0, true, false, true, false),
        ("nulls", 1, false, true, false, false),
        ("one", 1, false, false, false, false),
        ("object", 1, false, false, false, false),
        ("missing", 0, true, false, true, false),
    ] {
        let field = |test: &str, asked: Value| matches(&payload, json!({"key": key, test: asked}));
        for n in 0..4 {
            let bounds = json!({"gte": n, "lt": n + 1});
            assert_eq!(field("values_count", bounds), n == count, "{key} {n}");
            assert_eq!(field("values_count", json!({"gt": n})), count > n, "{key} {n}");
            assert_eq!(field("values_count", json!({"lte": n})), count <= n, "{key} {n}");
        }
        assert_eq!(field("is_empty", json!(true)), is_empty, "{key}");
        assert_eq!(field("is_empty", json!(false)), !is_empty, "{key}");
        assert_eq!(field("is_null", json!(true)), is_null, "{key}");
        assert_eq!(field("is_null", json!(false)), !is_null, "{key}");
        check(&payload, json!({"is_empty": {"key": key}}), all_empty);
        check(&payload, json!({"is_null": {"key": key}}), any_null);
    }
    check(&payload, json!({"is_empty": {"key": "rows[].a"}}), false);
    check(&payload, json!({"is_null": {"key": "rows[].a"}}), true);
    check(&payload, json!({"key": "rows[].a", "is_empty": true}), true);
    check(&payload, json!({"key": "rows[].a", "values_count": {"lt": 1}}), true);
    check(&payload, json!({"key": "rows[].a", "values_count": {"gt": 1}}), false);
}

#[test]
fn paths_reach_into_payloads() {
    let payload = json!({"a": {"b": [{"c": 1}, {"c": [2, 3]}]}, "a.b": 4});
    for (key, value, expected) in [
        ("a.b[0].c", 1, true),
        ("a.b[].c", 3, true),
        ("a.b[].c", 4, false),
        ("a.b.c", 1, false),
        ("\"a.b\"", 4, true),
        ("a.b", 4, false),
    ] {
        check(&payload, json!({"key": key, "match": {"value": value}}), expected);
    }
}

#[test]
fn parts_of_a_filter_are_put_together() {
    let (yes, no) = (json!({"has_vector": "image"}), json!({"has_vector": "text"}));
    for (asked, expected) in [
        (json!({}), true),
        (json!({"must": []}), true),
        (json!({"should": []}), true),
        (json!({"must": [yes, yes]}), true),
        (json!({"must": [yes, no]}), false),
        (json!({"should": [no, yes]}), true),
        (json!({"should": [no, no]}), false),
        (json!({"should": no, "must": yes}), false),
        (json!({"must_not": [no, no]}), true),
        (json!({"must_not": [no, yes]}), false),
        (json!({"must_not": {}}), false),
        (json!({"min_should": {"conditions": [yes, no, yes], "min_count": 2}}), true),
        (json!({"min_should": {"conditions": [yes, no, no], "min_count": 2}}), false),
        (json!({"min_should": {"conditions": [yes], "min_count": 2}}), false),
        (json!({"min_should": {"conditions": [], "min_count": 1}}), false),
        (json!({"must": {"must_not": {"should": [no]}}}), true),
    ] {
        let text = asked.to_string();
        assert_eq!(filter(asked).compile().unwrap().matches(&point(json!({}))), expected, "{text}");
    }
}

#[test]
fn conditions_on_the_point_itself() {
    let empty = json!({});
    for (condition, expected) in [
        (json!({"has_id": [1, 7]}), true),
        (json!({"has_id": ["7"]}), true),
        (json!({"has_id": []}), false),
        (json!({"has_id": [8, "x", "0123abcd-89ab-cdef-0123-456789abcdef"]}), false),
        (json!({"has_vector": ""}), false),
        (json!({"slice": {"index": 0, "total": 1}}), true),
    ] {
        check(&empty, condition, expected);
    }
    let parts = (0..5).filter(|n| matches(&empty, json!({"slice": {"index": n, "total": 5}})));
    assert_eq!(parts.count(), 1);
    assert!(!filter(json!({"must": {"has_id": [7]}})).compile().unwrap().reads_payload());
    let inner = filter(json!({"must": {"should": {"is_null": {"key": "a"}}}}));
    assert!(inner.compile().unwrap().reads_payload());
}

#[test]
fn nested_filters_ask_one_element() {
    let payload = json!({
        "diet": [{"food": "leaves", "likes": false}, {"food": "meat", "likes": true}, 5],
        "one": {"food": "meat"},
        "deep": [{"rows": [{"x": 1, "y": 2}]}, {"rows": [{"x": 3, "y": 4}]}],
    });
    let both = |food: &str, likes: bool| {
        json!([
            {"key": "food", "match": {"value": food}}, {"key": "likes", "match": {"value": likes}}
        ])
    };
    for (key, inner, expected) in [
        ("diet", json!({"must": both("meat", true)}), true),
        ("diet[]", json!({"must": both("meat", true)}), true),
        ("diet", json!({"must": both("leaves", true)}), false),
        ("diet[0]", json!({"must": {"has_id": [7]}}), false),
        ("one", json!({}), false),
        ("missing", json!({}), false),
        ("diet", json!({"must_not": {"has_id": [7]}}), false),
        ("diet", json!({"must": {"has_id": [7]}}), true),
        ("deep[].rows", json!({"must": {"key": "x", "range": {"gt": 2}}}), true),
        (
            "deep",
            json!({"must": {"nested": {"key": "rows", "filter": {"must": [
                {"key": "x", "match": {"value": 1}}, {"key": "y", "match": {"value": 4}}
            ]}}}}),
            false,
        ),
    ] {
        check(&payload, json!({"nested": {"key": key, "filter": inner}}), expected);
    }
    // Without nesting the two are found in different elements.
    let across = json!({"must": [
        {"key": "diet[].food", "match": {"value": "leaves"}},
        {"key": "diet[].likes", "match": {"value": true}}
    ]});
    check(&payload, across, true);
}

#[derive(Debug)]
struct Word(String);

impl TextTest for Word {
    fn matches(&self, text: &str) -> bool {
        text.split(' ').any(|word| word.eq_ignore_ascii_case(&self.0))
    }
}

struct Indexed;

impl Texts for Indexed {
    fn prepare(&self, key: &Path, query: &Match) -> Option<Box<dyn TextTest>> {
        let Match::Text(text) = query else { return None };
        (key.to_string() == "rows[].t").then(|| Box::new(Word(text.clone())) as Box<dyn TextTest>)
    }
}

#[test]
fn indexed_texts_are_compared_as_the_index_does() {
    let payload = json!({"rows": [{"t": "A red fox"}], "t": "A red fox"});
    let direct = json!({"key": "rows[].t", "match": {"text": "FOX"}});
    let nested = json!({"nested": {"key": "rows", "filter": {
        "must": {"key": "t", "match": {"text": "FOX"}}
    }}});
    for (condition, expected) in [
        (direct, true),
        (nested, true),
        (json!({"key": "t", "match": {"text": "FOX"}}), false),
        (json!({"key": "rows[].t", "match": {"phrase": "FOX"}}), false),
    ] {
        let filter = filter(json!({ "must": condition }));
        let got = filter.compile_with(&Indexed).unwrap().matches(&point(payload.clone()));
        assert_eq!(got, expected, "{filter:?}");
        assert!(!filter.compile().unwrap().matches(&point(payload.clone())));
    }
}

#[test]
fn short_conditions() {
    let payload = json!({
        "lang": "en", "year": 2020, "score": 1.0, "open": true, "none": null, "eq": "a=b",
        "tags": ["a", 5], "by": {"name": "Ada", "roles": ["x"]}, "a.b": {"c=": 1},
        "list": [[1], {"k": 3}], "big": 9_007_199_254_740_993_u64,
    });
    let short = |text: &str| Filter::of(text.parse().unwrap());
    for (expected, texts) in [
        (
            true,
            vec![
                "lang=en",
                "lang=\"en\"",
                "year=2020",
                "year=2020.0",
                "score=1",
                "open=true",
                "none=null",
                "tags=a",
                "tags=5",
                "by.name=Ada",
                "by.roles=x",
                "list[].k=3",
                "eq=a=b",
                "\"a.b\".\"c=\"=1",
                "big=9007199254740993",
                "list[0]=1",
            ],
        ),
        (
            false,
            vec![
                "lang=EN",
                "lang=",
                "year=\"2020\"",
                "year=2020.5",
                "open=1",
                "none=0",
                "missing=null",
                "tags=b",
                "by=Ada",
                "by.name.x=Ada",
                "lang.x=en",
                "list=1",
                "list.k=3",
                "a.b=1",
                "big=9007199254740992",
                "open=\"true\"",
            ],
        ),
    ] {
        for text in texts {
            let filter = short(text);
            let got = filter.compile().unwrap().matches(&point(payload.clone()));
            assert_eq!(got, expected, "{text}");
            let json = serde_json::to_value(&filter).unwrap();
            assert_eq!(Filter::from_json(json).unwrap(), filter, "{text}");
        }
    }
}

#[test]
fn what_is_no_short_condition_is_refused() {
    for (bad, says) in [
        ("", "is not KEY=VALUE"),
        ("a", "is not KEY=VALUE"),
        ("=1", "is not KEY=VALUE"),
        ("\"a=1", "is not KEY=VALUE"),
        ("x' or id != '=1", "in double quotes"),
        ("a..b=1", "expected a key"),
        ("a=[1]", "expected text, a number"),
        ("a={}", "expected text, a number"),
    ] {
        let error = bad.parse::<Condition>().unwrap_err().to_string();
        assert!(error.contains(says), "{bad}: {error}");
    }
}
