//! Limits, each just under and just over.

use super::*;
use crate::limits::{
    CONDITIONS_MAX, FILTER_CORNERS_MAX, FILTER_DEPTH_MAX, FILTER_IDS_MAX, FILTER_VALUES_MAX,
    MATCH_SIZE_MAX, PATH_SIZE_MAX, VECTOR_NAME_SIZE_MAX,
};
use crate::shape::ShapeError;

#[track_caller]
fn limit(under: Value, over: Value, says: &str) {
    let ok = filter(under);
    ok.compile().unwrap();
    let error = Filter::from_json(over).unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
}

fn of(conditions: Vec<Value>) -> Value {
    object("must", Value::Array(conditions))
}

fn field(test: &str, asked: Value) -> Value {
    let mut field = object("key", json!("a"));
    field[test] = asked;
    field
}

#[test]
fn conditions_are_counted_wherever_they_stand() {
    let ids = |count: usize| vec![json!({"has_id": []}); count];
    let says = "10001 conditions, at most 10000 are allowed";
    limit(of(ids(CONDITIONS_MAX)), of(ids(CONDITIONS_MAX + 1)), says);
    let spread = |count: usize| {
        json!({
            "must": ids(100), "should": ids(100), "must_not": {"must": ids(count - 301)},
            "min_should": {"conditions": ids(100), "min_count": 1},
        })
    };
    limit(spread(CONDITIONS_MAX), spread(CONDITIONS_MAX + 1), says);
    let many = Filter::from_json(of(ids(100_000))).unwrap_err();
    assert!(many.to_string().contains(says), "{many}");
}

#[test]
fn texts_and_lists_are_bounded() {
    let text = |size: usize| "x".repeat(size);
    for kind in ["value", "text", "text_any", "phrase", "prefix"] {
        let asked = |size: usize| of(vec![field("match", json!({ kind: text(size) }))]);
        limit(asked(MATCH_SIZE_MAX), asked(MATCH_SIZE_MAX + 1), "65537 bytes, at most 65536");
    }
    for kind in ["any", "except"] {
        let list = |size: usize| of(vec![field("match", json!({ kind: [text(size)] }))]);
        limit(list(MATCH_SIZE_MAX), list(MATCH_SIZE_MAX + 1), "65537 bytes, at most 65536");
        let half = vec![1; FILTER_VALUES_MAX / 2];
        let several = |more: usize| {
            let rest = vec![json!("w"); FILTER_VALUES_MAX / 2 + more];
            of(vec![field("match", json!({ kind: half })), field("match", json!({ kind: rest }))])
        };
        limit(several(0), several(1), "100001 values in lists, at most 100000");
    }
    let key = |size: usize| of(vec![json!({"is_null": {"key": text(size)}})]);
    limit(key(PATH_SIZE_MAX), key(PATH_SIZE_MAX + 1), "has 1025 bytes, at most 1024");
    let name = |size: usize| of(vec![json!({"has_vector": text(size)})]);
    limit(name(VECTOR_NAME_SIZE_MAX), name(VECTOR_NAME_SIZE_MAX + 1), "1025 bytes, at most 1024");
}

#[test]
fn identifiers_and_corners_are_bounded() {
    let ids = |from: usize, to: usize| json!({"has_id": (from..to).collect::<Vec<_>>()});
    let half = FILTER_IDS_MAX / 2;
    let several = |more: usize| of(vec![ids(0, half), ids(half, FILTER_IDS_MAX + more)]);
    limit(several(0), several(1), "100001 identifiers, at most 100000");
    let million = Filter::from_json(of(vec![ids(0, 1_000_000)])).unwrap_err();
    assert!(million.to_string().contains("1000000 identifiers"), "{million}");
    let ring = |corners: usize| json!({"points": vec![json!({"lon": 0, "lat": 0}); corners]});
    let polygon = |corners: usize| {
        let area = json!({"exterior": ring(4), "interiors": [ring(corners - 4)]});
        of(vec![field("geo_polygon", area)])
    };
    let says = "100001 corners of polygons, at most 100000";
    limit(polygon(FILTER_CORNERS_MAX), polygon(FILTER_CORNERS_MAX + 1), says);
}

/// Filters within one another in the form that takes the most levels of JSON.
fn deep(depth: usize) -> Value {
    let point = json!({"lon": 0.0, "lat": 0.0});
    let ring = json!({"points": [point, point, point, point]});
    let area = json!({"exterior": ring, "interiors": [ring]});
    let mut value = json!({"must": [{"key": "a", "geo_polygon": area}]});
    for _ in 1..depth {
        let inner = json!({"nested": {"key": "a", "filter": value}});
        value = json!({"min_should": {"conditions": [inner], "min_count": 1}});
    }
    value
}

#[test]
fn depth_is_bounded_and_the_deepest_can_be_read_back() {
    let says = "21 filters in one another, at most 20 are allowed";
    limit(deep(FILTER_DEPTH_MAX), deep(FILTER_DEPTH_MAX + 1), says);
    let deepest = filter(deep(FILTER_DEPTH_MAX));
    let record = json!({"batch": [{"filter": [deepest]}]}).to_string();
    let back: Value = serde_json::from_str(&record).unwrap();
    let back: Filter = serde_json::from_value(back["batch"][0]["filter"][0].clone()).unwrap();
    assert_eq!(back, deepest);
    assert!(!deepest.compile().unwrap().matches(&point(json!({"a": [{"a": []}]}))));
    // Written as text the reader of JSON gives up first; neither overflows the stack.
    let open = "{\"must\":".repeat(10_000);
    let text = format!("{open}{{}}{}", "}".repeat(10_000));
    let error = serde_json::from_str::<Filter>(&text).unwrap_err().to_string();
    assert!(error.contains("recursion limit"), "{error}");
    let mut built = Filter::default();
    for _ in 0..1000 {
        built = Filter::of(Condition::Filter(built));
    }
    assert!(matches!(built.check(), Err(ShapeError::Limit { got: 21, .. })));
    assert!(built.compile().is_err());
}

#[test]
fn built_filters_are_checked_as_read_ones_are() {
    let key = || Path::key("a").unwrap();
    let field = |test| Condition::Field { key: key(), test };
    let part = MinShould { conditions: Vec::new(), min_count: 0 };
    for filter in [
        Filter::of(Condition::Slice(Slice { index: 1, total: 1 })),
        Filter::of(Condition::Slice(Slice { index: 0, total: 0 })),
        Filter { min_should: Some(part), ..Filter::default() },
        Filter::of(Condition::HasId(vec![PointId::Number(1); FILTER_IDS_MAX + 1])),
        Filter::of(field(Test::Range(Range::Datetime(Bounds::default())))),
        Filter::of(field(Test::Match(Match::Text("x".repeat(MATCH_SIZE_MAX + 1))))),
        Filter::of(field(Test::Match(Match::Any(MatchList::Integers(vec![0; 100_001]))))),
    ] {
        assert!(filter.check().is_err() && filter.compile().is_err());
    }
    let long = || Path::key(&"k".repeat(600)).unwrap();
    let inner =
        Filter::of(Condition::Field { key: long(), test: Test::Match(Match::Text(String::new())) });
    let nested = Filter::of(Condition::Nested { key: long(), filter: inner });
    assert_eq!(nested.check(), Ok(()));
    assert!(matches!(nested.compile(), Err(ShapeError::Path { .. })));
}
