//! Changes as bytes, and what is refused.

use kvant_index::Metric;
use kvant_storage::crc32c;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Vector, config::Arity};

fn config() -> Config {
    let mut config = Config::single(Dense::new(2, Metric::Cosine));
    config.dense.insert("d".into(), Dense::new(3, Metric::Dot));
    let many = Dense { multi: Arity::Many, ..Dense::new(2, Metric::Dot) };
    config.dense.insert("m".into(), many);
    config.sparse.insert("s".into(), SparseField::default());
    config
}

fn point(id: u64, vectors: &[(&str, Vector)]) -> Point {
    let vectors = vectors.iter().map(|(name, vector)| ((*name).to_owned(), vector.clone()));
    let payload = json!({ "n": id, "t": "ä" }).as_object().unwrap().clone();
    Point {
        id: id.into(),
        vectors: vectors.collect(),
        payload,
        ttl: id.is_multiple_of(2).then_some(id),
    }
}

fn some() -> Vec<Change> {
    let multi = crate::Multi::new(&[vec![1.0, 2.0], vec![3.0, 4.0]]).unwrap();
    let dense = Vector::Dense(vec![3.0, 4.0]);
    let sparse = Vector::sparse(&[7, 1], &[0.5, -1.0]).unwrap();
    let points = vec![
        point(1, &[("", dense.clone()), ("s", sparse)]),
        point(2, &[("m", Vector::Multi(multi)), ("d", Vector::Dense(vec![0.0; 3]))]),
        point(3, &[]),
    ];
    let vectors = vec![(PointId::Number(9), points[0].vectors.clone())];
    vec![
        Change::Upsert { points: points.clone(), only: Only::New, condition: None },
        Change::upsert(points),
        Change::SetVectors { points: vectors, condition: None },
        Change::delete(vec![1.into(), "a".parse().unwrap()]),
        Change::Edit(Edit::ClearPayload(Selector::Ids(vec![4.into()]))),
        Change::Edit(Edit::Expire),
    ]
}

#[test]
fn changes_round_trip_and_foreign_bytes_are_refused() {
    for change in some() {
        let bytes = change.encode();
        assert_eq!(Change::decode(&bytes), Some(change.clone()));
        for len in 0..bytes.len() {
            assert_eq!(Change::decode(&bytes[..len]), None, "cut to {len} of {}", bytes.len());
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // Never a panic; what it is then, the checksum of the log tells.
            let _ = Change::decode(&bad);
            assert_ne!(crc32c(&bad), crc32c(&bytes));
        }
    }
    let mut promise = vec![1, 2, 0, 0, 0, b'{', b'}'];
    promise.extend_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Change::decode(&promise), None);
}

#[test]
fn vectors_are_held_to_the_collection_and_prepared() {
    let prepared = |vectors: &[(&str, Vector)]| {
        let mut change = Change::upsert(vec![point(1, vectors)]);
        change.prepare(&config()).map(|()| change)
    };
    let Ok(Change::Upsert { points, .. }) = prepared(&[("", Vector::Dense(vec![3.0, 4.0]))]) else {
        panic!("fits")
    };
    assert_eq!(points[0].vectors[""], Vector::Dense(vec![0.6, 0.8]));
    let multi = |rows: &[Vec<f32>]| Vector::Multi(crate::Multi::new(rows).unwrap());
    for (name, vector, said) in [
        ("", Vector::Dense(vec![1.0; 3]), "dimension 3, expected 2"),
        ("", Vector::Dense(vec![1.0, f32::NAN]), "component 1 is not a finite number"),
        ("x", Vector::Dense(vec![1.0]), "no vector \"x\" here: the collection has \"\", \"d\""),
        ("m", Vector::Dense(vec![1.0, 2.0]), "a dense vector, expected a multi-vector one"),
        ("d", multi(&[vec![1.0; 3]]), "a multi-vector vector, expected a dense one"),
        ("s", Vector::Dense(vec![1.0]), "a dense vector, expected a sparse one"),
        ("m", multi(&[vec![1.0; 3]]), "dimension 3, expected 2"),
    ] {
        let error = prepared(&[(name, vector)]).unwrap_err().to_string();
        assert!(error.contains(said) && error.starts_with("point 1: "), "{error}");
    }
    assert!(Vector::sparse(&[1, 1], &[1.0, 2.0]).is_err() && Vector::sparse(&[1], &[]).is_err());
    assert!(crate::Multi::new(&[vec![1.0], vec![1.0, 2.0]]).is_err());
}

#[test]
fn of_one_name_the_last_counts_and_vectors_add_up() {
    let mut change = Change::upsert(vec![point(1, &[]), point(2, &[]), point(1, &[])]);
    change.prepare(&config()).unwrap();
    let Change::Upsert { points, .. } = change else { panic!("an upsert") };
    assert!(points.iter().map(|point| point.id.clone()).eq([2.into(), 1.into()]));
    let set = |name: &str| {
        let vector = Vector::Dense(vec![1.0; if name == "d" { 3 } else { 2 }]);
        (PointId::Number(5), Vectors::from([(name.to_owned(), vector)]))
    };
    let mut change = Change::SetVectors { points: vec![set("d"), set("")], condition: None };
    change.prepare(&config()).unwrap();
    let Change::SetVectors { points, .. } = change else { panic!("vectors") };
    assert!(points.len() == 1 && points[0].1.len() == 2);
}

#[test]
fn alterations_keep_what_cannot_change_and_check_the_rest() {
    let mut after = config();
    let other = Dense { code: Some(Code::Binary), ..Dense::new(99, Metric::Euclid) };
    Alteration::Dense("d".into(), Some(Box::new(other))).apply(&mut after);
    let dense = &after.dense["d"];
    assert_eq!((dense.dim, dense.metric, dense.code), (3, Metric::Dot, Some(Code::Binary)));
    let refused = |one: Alteration| {
        let mut change = Change::Edit(Edit::Alter(vec![one]));
        change.prepare(&config()).unwrap_err().to_string()
    };
    let both = refused(Alteration::Sparse("d".into(), Some(SparseField::default())));
    assert!(both.contains("both dense and sparse"), "{both}");
    let dim = refused(Alteration::Dense("n".into(), Some(Box::new(Dense::new(0, Metric::Dot)))));
    assert!(dim.contains("dimension 0"), "{dim}");
    let lossy = Dense { index: Some("hnsw,rq4".into()), ..Dense::new(4, Metric::Dot) };
    let lossy = refused(Alteration::Dense("n".into(), Some(Box::new(lossy))));
    assert!(lossy.contains("end it with rerank32"), "{lossy}");
}

proptest! {
    #[test]
    fn dense_points_round_trip(id: u64, x: [f32; 2], text in "\\PC{0,20}", ttl: Option<u32>) {
        let vectors = Vectors::from([(String::new(), Vector::Dense(x.to_vec()))]);
        let payload = json!({ "t": text }).as_object().unwrap().clone();
        let ttl = ttl.map(u64::from);
        let change = Change::upsert(vec![Point { id: id.into(), vectors, payload, ttl }]);
        let bytes = change.encode();
        prop_assert_eq!(Change::decode(&bytes).unwrap().encode(), bytes);
    }
}
