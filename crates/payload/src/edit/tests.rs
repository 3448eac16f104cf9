//! Edits, limits, and what is read back.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn map(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("{value}") };
    map
}

fn nested(depth: usize) -> Map<String, Value> {
    let mut value = json!({});
    for _ in 1..depth {
        value = json!({ "x": value });
    }
    map(value)
}

fn sized(bytes: usize) -> Map<String, Value> {
    map(json!({ "t": "x".repeat(bytes - 8) }))
}

fn merge_at(key: &str, payload: Value) -> Edit {
    let key = (!key.is_empty()).then(|| key.parse().unwrap());
    Edit::Merge { key, payload: map(payload) }
}

fn remove(keys: &[&str]) -> Edit {
    Edit::Remove(keys.iter().map(|key| key.parse().unwrap()).collect())
}

#[test]
fn edits_as_the_protocol_has_them() {
    let before = json!({"a": 1, "b": {"c": 2, "d": [1, {"e": 3}]}, "n": null});
    for (edit, after) in [
        (Edit::Overwrite(map(json!({"z": null}))), json!({"z": null})),
        (Edit::Clear, json!({})),
        (
            merge_at("", json!({"a": null, "b": {"x": null}, "y": []})),
            json!({"b": {"x": null}, "n": null, "y": []}),
        ),
        (merge_at("", json!({})), before.clone()),
        (
            merge_at("b", json!({"c": 5})),
            json!({"a": 1, "b": {"c": 5, "d": [1, {"e": 3}]}, "n": null}),
        ),
        (
            merge_at("b.d[1]", json!({"e": null, "f": 4})),
            json!({"a": 1, "b": {"c": 2, "d": [1, {"f": 4}]}, "n": null}),
        ),
        (
            merge_at("new.deep", json!({"k": 1})),
            json!({"a": 1, "b": before["b"], "n": null, "new": {"deep": {"k": 1}}}),
        ),
        (remove(&["a", "b.d", "x"]), json!({"b": {"c": 2}, "n": null})),
        (remove(&["b.d[].e", "n"]), json!({"a": 1, "b": {"c": 2, "d": [1, {}]}})),
        (remove(&[]), before.clone()),
    ] {
        let payload = map(before.clone());
        let got = edit.apply(&payload).unwrap();
        assert_eq!(Value::Object(got.clone()), after, "{edit:?}");
        assert_eq!(edit.apply(&got).unwrap(), got, "twice is once: {edit:?}");
    }
}

#[test]
fn limits_hold_just_under_and_just_over() {
    let deepest = nested(PAYLOAD_DEPTH_MAX);
    assert_eq!(decode(&encode(&deepest).unwrap()), Some(deepest.clone()));
    let deeper = nested(PAYLOAD_DEPTH_MAX + 1);
    let largest = sized(PAYLOAD_SIZE_MAX);
    let over = sized(PAYLOAD_SIZE_MAX + 1);
    let size = PayloadError::Size { got: PAYLOAD_SIZE_MAX + 1 };
    assert_eq!(encode(&largest).unwrap().len(), PAYLOAD_SIZE_MAX);
    for (payload, expected) in [
        (&deepest, Ok(())),
        (&deeper, Err(PayloadError::Depth)),
        (&largest, Ok(())),
        (&over, Err(size)),
    ] {
        assert_eq!(check_payload(payload), expected);
        assert_eq!(encode(payload).map(|_| ()), expected);
        assert_eq!(Edit::Overwrite(payload.clone()).apply(&Map::new()).map(|_| ()), expected);
    }
}

#[test]
fn changes_that_go_over_the_limits_change_nothing() {
    let path = |text: &str| Some(text.parse::<Path>().unwrap());
    let deep = Edit::Merge { key: path(&"x.".repeat(64)[..127]), payload: Map::new() };
    assert_eq!(deep.apply(&Map::new()), Err(PayloadError::Depth));
    let less = Edit::Merge { key: path(&"x.".repeat(63)[..125]), payload: Map::new() };
    assert_eq!(less.apply(&Map::new()).unwrap(), nested(64));
    // A small request at many places.
    let many = map(json!({ "a": vec![Value::Null; 100_000] }));
    let payload = map(json!({ "k": "x".repeat(100) }));
    let error = Edit::Merge { key: path("a[]"), payload }.apply(&many).unwrap_err();
    assert!(matches!(error, PayloadError::Merge(MergeError::Size { places: 100_000, .. })));
    let text = error.to_string();
    assert!(text.starts_with("the keys cannot be set: 108 bytes would be"), "{text}");
}

#[test]
fn what_is_no_object_is_refused() {
    for bytes in [&b""[..], b"[]", b"1", b"{", b"{}x", b"{\"a\":\xff}"] {
        assert_eq!(decode(bytes), None);
    }
}

proptest! {
    #[test]
    fn numbers_and_texts_come_back(number: f64, whole: i64, text in "\\PC*") {
        let payload = map(json!({ "f": number, "i": whole, "t": text, "l": [null, true] }));
        prop_assert_eq!(decode(&encode(&payload).unwrap()), Some(payload));
    }

    #[test]
    fn bytes_are_a_payload_or_none(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Some(payload) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&payload).unwrap()), Some(payload));
        }
    }
}
