//! The protocol's JSON.

use super::*;

#[test]
fn filters_are_written_as_they_are_read() {
    let all = |conditions| object("must", conditions);
    let at = |lon: f64, lat: f64| json!({"lon": lon, "lat": lat});
    let field = |test: &str, asked: Value| json!({"key": "a", test: asked});
    for value in [
        json!({}),
        json!({"must": [{"key": "a.b[].c", "match": {"value": "x"}}]}),
        all(json!([field("match", json!({"value": -5})), field("match", json!({"value": true}))])),
        json!({"should": [field("match", json!({"text": "x y"}))]}),
        json!({"should": [field("match", json!({"text_any": "x"}))]}),
        json!({"must_not": [field("match", json!({"phrase": "x"}))]}),
        json!({"must_not": [field("match", json!({"prefix": ""}))]}),
        all(json!([field("match", json!({"any": ["x", "x"]}))])),
        all(json!([field("match", json!({"except": [1, 2]}))])),
        json!({"must": [{"key": "a", "match": {"any": []}}]}),
        json!({"must": [{"key": "n", "range": {"gt": 1, "lte": 2.5}}, {"key": "n", "range": {}}]}),
        json!({"must": [{"key": "n", "range": {"gte": 1.0, "lt": u64::MAX}}]}),
        json!({"must": [{"key": "t", "range": {"lt": "2024-02-29T12:30:45.5Z"}}]}),
        json!({"must": [{"key": "g", "geo_bounding_box": {
            "top_left": {"lon": 170.0, "lat": 10.0}, "bottom_right": {"lon": -170.0, "lat": -10.5}
        }}]}),
        all(json!([field("geo_radius", json!({"center": at(1.5, 2.5), "radius": 1000.0}))])),
        all(json!([field(
            "geo_polygon",
            json!({
                "exterior": {"points": [at(0.0, 0.0), at(1.0, 0.0), at(1.0, 1.0), at(0.0, 0.0)]},
                "interiors": [{"points": [at(0.5, 0.1), at(0.6, 0.1), at(0.6, 0.2), at(0.5, 0.1)]}],
            })
        )])),
        json!({"must": [{"key": "a", "values_count": {"lt": 1, "gt": 2, "gte": 3, "lte": 4}}]}),
        json!({"must": [{"key": "a", "is_empty": false}, {"key": "a", "is_null": true}]}),
        json!({"must": [{"is_empty": {"key": "a"}}, {"is_null": {"key": "\"a b\""}}]}),
        all(json!([{"has_id": [1, "x", "0123abcd-89ab-cdef-0123-456789abcdef"]}, {"has_id": []}])),
        json!({"must": [{"has_vector": "image"}, {"has_vector": ""}]}),
        json!({"must": [{"slice": {"total": 4, "index": 3}}]}),
        json!({"must": [{"nested": {"key": "a", "filter": {"must": [{"has_vector": "v"}]}}}]}),
        json!({"must": [{"should": [{}]}]}),
        json!({"min_should": {"conditions": [{"has_id": [1]}, {"has_id": [2]}], "min_count": 1}}),
    ] {
        assert_eq!(serde_json::to_value(filter(value.clone())).unwrap(), value);
    }
}

#[test]
fn what_may_be_left_out_may() {
    for (given, written) in [
        (json!({"must": {"has_vector": "v"}}), json!({"must": [{"has_vector": "v"}]})),
        (json!({"must": null, "should": [], "min_should": null}), json!({})),
        (
            json!({"must": {"key": "a", "match": {"value": 1}, "range": null}}),
            json!({"must": [{"key": "a", "match": {"value": 1}}]}),
        ),
        (
            json!({"must": {"key": "a", "range": {"lt": 1, "gt": null}}}),
            json!({"must": [{"key": "a", "range": {"lt": 1}}]}),
        ),
        (
            json!({"must": {"key": "t", "range": {"gte": "2024-02-29T14:30:45+02:00"}}}),
            json!({"must": [{"key": "t", "range": {"gte": "2024-02-29T12:30:45Z"}}]}),
        ),
        (
            json!({"must": {"key": "\"a\".\"b\"", "match": {"any": [1]}}}),
            json!({"must": [{"key": "a.b", "match": {"any": [1]}}]}),
        ),
        // One of several tests of values is enough.
        (
            json!({"must": {"key": "a", "match": {"value": 1}, "range": {"gt": 5}}}),
            json!({"must": [{"should": [
                {"key": "a", "match": {"value": 1}}, {"key": "a", "range": {"gt": 5}}
            ]}]}),
        ),
    ] {
        assert_eq!(serde_json::to_value(filter(given)).unwrap(), written);
    }
    let condition: Condition = serde_json::from_value(json!({"has_vector": "v"})).unwrap();
    assert_eq!(condition, Condition::HasVector("v".to_owned()));
}

#[track_caller]
fn refused(value: Value, says: &str) {
    let text = value.to_string();
    let error = serde_json::from_value::<Filter>(value).unwrap_err().to_string();
    assert!(error.contains(says), "{text}: {error}");
}

#[test]
fn errors_name_the_key_and_what_was_expected() {
    refused(json!([]), "filter: expected an object with must, should");
    refused(json!({"musst": []}), "filter: unknown key \"musst\", expected must, should");
    refused(
        json!({"must": 5}),
        "filter.must: expected a condition or an array of conditions, got 5",
    );
    refused(json!({"must": [{}, 5]}), "filter.must[1]: expected an object with one of key");
    refused(json!({"must": {"kee": "a"}}), "filter.must: unknown key \"kee\", expected an object");
    refused(json!({"must": {"must": {"x": 1}}}), "filter.must.must: unknown key \"x\"");
    refused(json!({"must": {"has_id": [1], "must": []}}), "filter.must: unknown key \"must\"");
    refused(json!({"must": {"has_id": [1.5]}}), "has_id[0]: expected an identifier");
    refused(json!({"must": {"has_id": 1}}), "has_id: expected an array of identifiers, got 1");
    refused(json!({"must": {"has_vector": 1}}), "filter.must.has_vector: expected text, got 1");
    refused(json!({"must": {"is_null": "a"}}), "is_null: expected an object with key, got \"a\"");
    refused(json!({"must": {"is_empty": {"key": "a", "x": 1}}}), "unknown key \"x\", expected key");
    refused(json!({"must": {"nested": {"key": "a"}}}), "filter.must.nested: \"filter\" is missing");
    refused(json!({"must": {"nested": {"filter": {}}}}), "\"key\" is missing");
    refused(json!({"must": {"slice": {"index": 2, "total": 2}}}), "a whole number below \"total\"");
    refused(json!({"must": {"slice": {"index": 0, "total": 0}}}), "slice.total: expected a whole");
    refused(json!({"must": {"slice": {"index": 0}}}), "\"total\" is missing");
    let several = |value: Value| json!({ "min_should": value });
    refused(several(json!({"conditions": []})), "filter.min_should: \"min_count\" is missing");
    refused(several(json!({"conditions": [], "min_count": 0})), "a whole number from 1, got 0");
    refused(several(json!({"conditions": {}, "min_count": 1})), "an array of conditions");
}

#[test]
fn errors_of_fields_name_the_key_and_what_was_expected() {
    let field = |test: &str, value: Value| json!({"must": [{"key": "a", test: value}]});
    refused(json!({"must": {"key": "a"}}), "filter.must: expected beside key one of match, range");
    refused(json!({"must": {"key": "a..b", "is_null": true}}), "must.key: path \"a..b\" at byte 2");
    refused(json!({"must": {"key": 1, "is_null": true}}), "filter.must.key: expected text, got 1");
    refused(field("mach", json!({})), "filter.must[0]: unknown key \"mach\", expected beside key");
    refused(field("match", json!({})), "must[0].match: expected an object with one of value, text");
    refused(field("match", json!({"is": 1})), "match: unknown key \"is\"");
    refused(field("match", json!({"value": null})), "match.value: expected a text, a whole number");
    refused(field("match", json!({"value": 1.5})), "match.value: expected a text, a whole number");
    refused(field("match", json!({"value": u64::MAX})), "a whole number of 64 bits");
    refused(field("match", json!({"text": 1})), "match.text: expected text, got 1");
    refused(field("match", json!({"any": ["a", 1]})), "match.any[1]: expected texts throughout");
    refused(field("match", json!({"any": [1, "a"]})), "match.any[1]: expected whole numbers");
    refused(
        field("match", json!({"except": [true]})),
        "match.except[0]: expected a text or a whole",
    );
    refused(
        field("match", json!({"value": 1, "text": "a"})),
        "\"value\" cannot stand beside \"text\"",
    );
    refused(field("range", json!({"gt": true})), "range.gt: expected a number or a date");
    refused(field("range", json!({"above": 1})), "range: unknown key \"above\", expected lt, gt");
    refused(field("range", json!({"gt": "x"})), "range.gt: \"x\" is no date and time");
    refused(
        field("range", json!({"gt": "2024-01-01", "lt": 5})),
        "range.lt: expected a date and time",
    );
    refused(field("values_count", json!({"gt": -1})), "values_count.gt: expected a whole number");
    refused(field("is_empty", json!("a")), "is_empty: expected true or false, got \"a\"");
    let both = json!({"must": {"key": "a", "is_null": true, "match": {"value": 1}}});
    refused(both, "filter.must: \"is_null\" cannot stand beside \"match\": write two conditions");
    let at = |lon: f64| json!({"lon": lon, "lat": 0});
    let area = json!({"top_left": at(200.0), "bottom_right": at(0.0)});
    refused(field("geo_bounding_box", area), "top_left: longitude 200 must lie within");
    refused(field("geo_radius", json!({"center": at(0.0)})), "\"radius\" is missing");
    let circle = json!({"center": {"lon": 0}, "radius": 1});
    refused(field("geo_radius", circle), "geo_radius.center: \"lat\" is missing");
    let ring = |points: Value| json!({"exterior": {"points": points}});
    refused(field("geo_polygon", ring(json!([at(0.0)]))), "exterior: a ring has 1 points");
    let open = ring(json!([at(0.0), at(1.0), at(2.0), at(3.0)]));
    refused(field("geo_polygon", open), "must end where it began");
    refused(
        field("geo_polygon", ring(json!([1]))),
        "exterior.points[0]: expected an object with lon",
    );
}

#[test]
fn long_texts_are_not_repeated_in_errors() {
    let long = "x".repeat(100_000);
    for value in [
        json!({"must": {"key": long, "is_null": true}}),
        json!({"must": {"key": "a", "match": {"value": 1, "x": long}}}),
        json!({"must": {"key": "a", "range": {"gt": long}}}),
        json!({"must": {"key": "a", "match": {"any": [1, long]}}}),
        json!({"must": {long.as_str(): 1}}),
        json!({"must": {"has_id": [long]}}),
    ] {
        let error = Filter::from_json(value).unwrap_err().to_string();
        assert!(error.len() < 300, "{error}");
    }
}
