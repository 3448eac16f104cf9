//! Paths as text, the values at them, and changes there.

use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

fn map(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("{value}") };
    map
}

#[test]
fn texts_have_one_shortest_form() {
    let key = |key: &str| Step::Key(key.to_owned());
    for (text, first, rest, shortest) in [
        ("a", "a", vec![], "a"),
        ("a.b.c", "a", vec![key("b"), key("c")], "a.b.c"),
        ("a-1_b.ключ.日本", "a-1_b", vec![key("ключ"), key("日本")], "a-1_b.ключ.日本"),
        ("a.b[0].c", "a", vec![key("b"), Step::Index(0), key("c")], "a.b[0].c"),
        ("a[].b", "a", vec![Step::Every, key("b")], "a[].b"),
        ("a[][007]", "a", vec![Step::Every, Step::Index(7)], "a[][7]"),
        ("\"a.b\".c", "a.b", vec![key("c")], "\"a.b\".c"),
        ("\"a\".\"b\"[]", "a", vec![key("b"), Step::Every], "a.b[]"),
        (r#""x\"\\".y"#, r#"x"\"#, vec![key("y")], r#""x\"\\".y"#),
        ("\"\"", "", vec![], "\"\""),
        ("\"a b\"", "a b", vec![], "\"a b\""),
        ("0.1", "0", vec![key("1")], "0.1"),
    ] {
        let expected = Path::from_steps(first, rest).unwrap();
        assert_eq!(path(text), expected, "{text}");
        assert_eq!(expected.to_string(), shortest);
        let json = serde_json::to_string(&expected).unwrap();
        assert_eq!(serde_json::from_str::<Path>(&json).unwrap(), expected);
    }
}

#[test]
fn what_is_no_path_says_where() {
    for (text, at, expected) in [
        (".a", 0, "a key"),
        ("a.", 2, "a key"),
        ("a..b", 2, "a key"),
        ("[0]", 0, "a key"),
        ("a b", 1, "in double quotes"),
        ("a[", 1, "']'"),
        ("a[x]", 1, "an index or nothing"),
        ("a[-1]", 1, "an index or nothing"),
        ("a[0]b", 4, "'.', '['"),
        ("a[99999999999999999999]", 1, "a smaller index"),
        ("\"a", 2, "at the end of a quoted key"),
        ("\"a\\n\"", 2, "'\\\"'"),
        ("\"a\"b", 3, "'.', '['"),
        ("ä ö", 2, "'.', '['"),
    ] {
        let error = text.parse::<Path>().unwrap_err();
        let PathError::Form { at: got, expected: what, .. } = error else { panic!("{error}") };
        assert_eq!(got, at, "{text}");
        assert!(what.contains(expected), "{text}: {what}");
    }
    assert_eq!("".parse::<Path>(), Err(PathError::Empty));
    let error = serde_json::from_str::<Path>("\"a..b\"").unwrap_err().to_string();
    assert!(error.contains("path \"a..b\" at byte 2"), "{error}");
}

#[test]
fn length_is_bounded() {
    let long = "k".repeat(PATH_SIZE_MAX);
    assert_eq!(path(&long), Path::key(&long).unwrap());
    let over = format!("{long}k");
    assert!(matches!(over.parse::<Path>(), Err(PathError::TooLong { got: 1025, .. })));
    assert!(matches!(Path::key(&over), Err(PathError::TooLong { got: 1025, .. })));
    assert!(Path::key(&"\"".repeat(600)).is_err(), "quoted it is longer");
    let half = path(&"h".repeat(512));
    assert!(matches!(half.then(&half), Err(PathError::TooLong { got: 1025, .. })));
    assert_eq!(path(&format!("a{}", "[]".repeat(511))).steps().len(), 511);
}

#[test]
fn values_of_all_kinds_of_steps() {
    let payload = map(json!({
        "a": { "b": [{ "c": 1 }, { "c": [2, 3] }, { "d": null }, 7, []] },
        "n": null,
        "a.b": { "c": 8 },
        "m": [[1, 2], [3], 4],
    }));
    for (text, expected) in [
        ("a.b[0].c", json!([1])),
        ("a.b[].c", json!([1, [2, 3]])),
        ("a.b[].c[]", json!([2, 3])),
        ("a.b[].d", json!([null])),
        ("a.b[3]", json!([7])),
        ("a.b[4]", json!([[]])),
        ("a.b[4][]", json!([])),
        ("a.b[5]", json!([])),
        ("a.b.c", json!([])),
        ("\"a.b\".c", json!([8])),
        ("n", json!([null])),
        ("n.x", json!([])),
        ("n[]", json!([])),
        ("x", json!([])),
        ("m", json!([[[1, 2], [3], 4]])),
        ("m[]", json!([[1, 2], [3], 4])),
        ("m[][]", json!([1, 2, 3])),
        ("m[1][0]", json!([3])),
    ] {
        let path = path(text);
        let got: Vec<Value> = path.values(&payload).cloned().collect();
        assert_eq!(json!(got), expected, "{text}");
        assert_eq!(path.get(&payload), got.first(), "{text}");
    }
    let flat = |value: Value| elements(&value).cloned().collect::<Vec<_>>();
    assert_eq!(flat(json!([1, [2], null])), [json!(1), json!([2]), json!(null)]);
    assert_eq!(flat(json!({"a": 1})), [json!({"a": 1})]);
    assert!(flat(json!([])).is_empty());
}

#[test]
fn merging_makes_what_is_missing() {
    for (text, before, after) in [
        ("a", json!({}), json!({"a": {"x": 1}})),
        ("a", json!({"a": {"x": 0, "y": 2, "z": 3}}), json!({"a": {"x": 1, "y": 2}})),
        ("a", json!({"a": 5}), json!({"a": {"x": 1}})),
        ("a.b", json!({"a": []}), json!({"a": {"b": {"x": 1}}})),
        ("a.b", json!({"a": {"c": 1}}), json!({"a": {"b": {"x": 1}, "c": 1}})),
        ("a[0]", json!({"a": [5, {"y": 1}]}), json!({"a": [{"x": 1}, {"y": 1}]})),
        ("a[2]", json!({"a": [5, 6]}), json!({"a": [5, 6]})),
        ("a[0]", json!({}), json!({"a": []})),
        ("a[].b", json!({"a": [{}, 5]}), json!({"a": [{"b": {"x": 1}}, {"b": {"x": 1}}]})),
        ("a[]", json!({"a": {"k": 1}}), json!({"a": []})),
    ] {
        let mut payload = map(before);
        let source = map(json!({"x": 1, "z": null}));
        path(text).merge(&mut payload, &source, 1000).unwrap();
        assert_eq!(Value::Object(payload), after, "{text}");
    }
}

#[test]
fn merging_at_many_places_is_bounded() {
    let mut payload = map(json!({ "a": vec![json!(null); 100], "b": [[0, 1], [2], {}] }));
    let source = map(json!({ "x": "y".repeat(92) }));
    let size = serde_json::to_vec(&source).unwrap().len() + "a[]".len();
    let before = payload.clone();
    let error = path("a[]").merge(&mut payload, &source, 100 * size - 1).unwrap_err();
    assert_eq!(error, MergeError::Size { got: size - 3, places: 100, max: 100 * size - 1 });
    assert_eq!(payload, before);
    path("a[]").merge(&mut payload, &source, 100 * size).unwrap();
    assert_eq!(payload["a"][99]["x"], source["x"]);
    // One place is bounded by what the request has.
    path("b[0]").merge(&mut payload, &source, 0).unwrap();
    assert!(path("b[][]").merge(&mut payload, &source, 0).is_err());
}

#[test]
fn removing_is_the_same_once_and_twice() {
    for (text, before, after) in [
        ("a", json!({"a": 1, "b": 2}), json!({"b": 2})),
        ("a.b", json!({"a": {"b": 1, "c": 2}}), json!({"a": {"c": 2}})),
        ("a[].b", json!({"a": [{"b": 1}, {"c": 2}, 3]}), json!({"a": [{}, {"c": 2}, 3]})),
        ("a[1].b", json!({"a": [{"b": 1}, {"b": 2}]}), json!({"a": [{"b": 1}, {}]})),
        ("a[]", json!({"a": [1, 2]}), json!({"a": []})),
        ("a[][]", json!({"a": [[1], 2]}), json!({"a": [[], 2]})),
        ("a[0]", json!({"a": [1, 2]}), json!({"a": [1, 2]})),
        ("a.b", json!({"a": [{"b": 1}]}), json!({"a": [{"b": 1}]})),
        ("x.y", json!({"a": 1}), json!({"a": 1})),
    ] {
        let mut payload = map(before.clone());
        let changed = before != after;
        assert_eq!(path(text).remove(&mut payload), changed, "{text}");
        assert_eq!(Value::Object(payload.clone()), after, "{text}");
        assert!(!path(text).remove(&mut payload), "{text}");
    }
}

#[test]
fn overlaps_and_parts() {
    for (a, b, expected) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a.b", "a", true),
        ("a.b", "a.c", false),
        ("a.b", "a.b.c", true),
        ("a[0]", "a[1]", false),
        ("a[0].x", "a[].x", true),
        ("a[0].x", "a[].y", false),
        ("a.b", "a[]", true),
        ("a.b.c", "a[].d", true),
    ] {
        assert_eq!(path(a).overlaps(&path(b)), expected, "{a} {b}");
        assert_eq!(path(b).overlaps(&path(a)), expected, "{b} {a}");
    }
    assert_eq!(path("a").every(), path("a[]"));
    assert_eq!(path("a[]").every(), path("a[]"));
    assert_eq!(path("a[]").whole(), path("a"));
    assert_eq!(path("a[0]").whole(), path("a[0]"));
    assert_eq!(path("a[]").then(&path("b.c")).unwrap(), path("a[].b.c"));
    assert_eq!((path("a[]").first(), path("a[]").steps()), ("a", &[Step::Every][..]));
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        "\\PC{0,6}".prop_map(Step::Key),
        "[abc]".prop_map(Step::Key),
        (0..4usize).prop_map(Step::Index),
        Just(Step::Every),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(null)), (0..9u8).prop_map(|n| json!(n)), Just(json!("t"))];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| json!(values)),
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// The values by the definition, one step at a time.
fn slow_values(payload: &Map<String, Value>, path: &Path) -> Vec<Value> {
    let mut values: Vec<Value> = payload.get(path.first()).cloned().into_iter().collect();
    for step in path.steps() {
        values = values
            .iter()
            .flat_map(|value| match step {
                Step::Key(key) => value.get(key).cloned().into_iter().collect(),
                Step::Index(index) => value.get(index).cloned().into_iter().collect(),
                Step::Every => value.as_array().cloned().unwrap_or_default(),
            })
            .collect();
    }
    values
}

proptest! {
    #[test]
    fn paths_come_back(first in "\\PC{0,9}", rest in prop::collection::vec(any_step(), 0..5)) {
        let path = Path::from_steps(&first, rest).unwrap();
        prop_assert_eq!(path.to_string().parse::<Path>().unwrap(), path);
    }

    #[test]
    fn any_text_is_a_path_or_an_error(text in "[ab.\\[\\]\"\\\\0-9]{0,12}|\\PC{0,20}") {
        if let Ok(path) = text.parse::<Path>() {
            prop_assert!(path.to_string().len() <= text.len());
            prop_assert_eq!(path.to_string().parse::<Path>().unwrap(), path);
        }
    }

    #[test]
    fn values_are_those_of_the_definition(
        value in any_value(),
        rest in prop::collection::vec(any_step(), 0..4),
    ) {
        let payload = map(json!({ "a": value }));
        let path = Path::from_steps("a", rest).unwrap();
        let got: Vec<Value> = path.values(&payload).cloned().collect();
        prop_assert_eq!(got, slow_values(&payload, &path));
    }

    #[test]
    fn a_change_is_seen_only_where_paths_overlap(
        value in any_value(),
        changed in prop::collection::vec(any_step(), 0..4),
        seen in prop::collection::vec(any_step(), 0..4),
    ) {
        let payload = map(json!({ "a": value }));
        let changed = Path::from_steps("a", changed).unwrap();
        let seen = Path::from_steps("a", seen).unwrap();
        let mut merged = payload.clone();
        changed.merge(&mut merged, &map(json!({"a": 1, "b": null})), 1 << 20).unwrap();
        let mut removed = payload.clone();
        changed.remove(&mut removed);
        for after in [merged, removed] {
            let same = seen.values(&payload).eq(seen.values(&after));
            prop_assert!(same || changed.overlaps(&seen), "{changed} {seen}");
        }
    }
}
