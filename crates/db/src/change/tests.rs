//! Changes: what is refused, what is decided, and that bytes bring it back.

use super::*;
use proptest::prelude::*;
use serde_json::{Map, json};

fn point(id: &str, vector: &[f32]) -> Point {
    Point { id: PointId::Text(id.to_owned()), vector: vector.to_vec(), payload: Map::new() }
}

fn upsert(points: Vec<Point>) -> Result<Change, WriteError> {
    Change::upsert(points, 2, Metric::Cosine)
}

#[test]
fn refusals_name_the_point() {
    let text = |points| upsert(points).unwrap_err().to_string();
    let dim = text(vec![point("a", &[1.0, 2.0]), point("b", &[1.0])]);
    assert_eq!(dim, "point b: vector of dimension 1, the collection has 2");
    for (bad, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let error = text(vec![point("7", &[0.0, bad])]);
        assert!(error.starts_with(&format!("point 7: component 1 is {shown}")), "{error}");
    }
    assert!(text(vec![point("", &[1.0, 2.0])]).contains("must not be empty"));
    let mut big = point("big", &[1.0, 2.0]);
    big.payload.insert("t".to_owned(), json!("x".repeat(PAYLOAD_SIZE_MAX)));
    assert!(text(vec![big]).starts_with("point big: payload of 1048584 bytes"));
    let many = vec![point("a", &[1.0, 2.0]); BATCH_POINTS_MAX + 1];
    assert!(text(many).starts_with("batch of 100001 points, at most 100000"));
}

#[test]
fn the_last_of_equal_identifiers_counts_and_vectors_are_prepared() {
    let points = vec![point("7", &[3.0, 4.0]), point("x", &[0.0, 0.0]), point("7", &[0.0, -2.0])];
    let Change::Upsert(rows) = upsert(points).unwrap() else { panic!("an upsert") };
    assert_eq!(rows.ids, [PointId::Text("x".to_owned()), PointId::Number(7)]);
    assert_eq!(rows.vectors, [0.0, 0.0, 0.0, -1.0]);
    let ids = ["b", "a", "b"].map(|t| PointId::Text(t.to_owned()));
    let Change::Delete(ids) = Change::delete(&ids).unwrap() else { panic!("a delete") };
    assert_eq!(ids.len(), 2);
}

#[test]
fn hostile_counts_and_values_are_refused() {
    let mut body = upsert(vec![point("a", &[1.0, 0.0])]).unwrap().encode(2);
    assert!(Change::decode(&body, 2).is_some());
    assert!(Change::decode(&body, 3).is_none(), "another dimension");
    let end = body.len();
    body[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(Change::decode(&body, 2).is_none(), "a NaN");
    for count in [2, 1000, u32::MAX] {
        body[1..5].copy_from_slice(&count.to_le_bytes());
        assert!(Change::decode(&body, 2).is_none(), "{count} points");
    }
    let mut long = Change::delete(&[PointId::Number(1)]).unwrap().encode(2);
    long.push(0);
    assert!(Change::decode(&long, 2).is_none(), "a byte too many");
}

proptest! {
    #[test]
    fn bytes_bring_changes_back(
        ids in prop::collection::vec("\\PC{1,12}", 0..20),
        texts in prop::collection::vec("\\PC{0,30}", 20),
        cut in 0.0..1.0f64,
    ) {
        let points = ids.iter().zip(&texts).map(|(id, text)| {
            let payload = json!({ "t": text }).as_object().unwrap().clone();
            Point { id: PointId::Text(id.clone()), vector: vec![id.len() as f32, 1.0], payload }
        });
        let ids: Vec<PointId> = ids.iter().map(|id| PointId::Text(id.clone())).collect();
        for change in [upsert(points.collect()).unwrap(), Change::delete(&ids).unwrap()] {
            let body = change.encode(2);
            prop_assert_eq!(Change::decode(&body, 2), Some(change));
            prop_assert_eq!(Change::decode(&body[..(body.len() as f64 * cut) as usize], 2), None);
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(mut body in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Change::decode(&body, 2);
        if let Some(first) = body.first_mut() {
            *first = 1 + *first % 2;
        }
        let _ = Change::decode(&body, 2);
    }
}
