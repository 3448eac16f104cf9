//! Random operations against a `BTreeMap`, reopened at random.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use kvant_db::{Collection, Filter, Point, PointId, Query, Settings, Tuning};
use kvant_index::{Effort, Metric, Spec};
use kvant_storage::MemDir;
use kvant_testkit::Random;
use serde_json::json;
use std::collections::BTreeMap;

const DIM: usize = 3;

type Model = BTreeMap<PointId, Point>;

fn tuning() -> Tuning {
    Tuning { threads: 1, seal_points: 25, ..Tuning::default() }
}

fn id(random: &mut Random) -> PointId {
    match random.below(3) {
        0 => PointId::Number(random.below(30) as u64),
        1 => PointId::Uuid(random.below(30) as u128),
        _ => PointId::Text(format!("text {}", random.below(30))),
    }
}

fn point(random: &mut Random) -> Point {
    let payload =
        json!({"colour": (["red", "green", "blue"][random.below(3)]), "n": random.unit()});
    let payload = payload.as_object().unwrap().clone();
    Point { id: id(random), vector: random.normals(DIM), payload }
}

fn step(c: &mut Collection, model: &mut Model, random: &mut Random) {
    match random.below(10) {
        0..6 => {
            let points: Vec<Point> = (0..random.below(9)).map(|_| point(random)).collect();
            c.upsert(points.clone()).unwrap();
            model.extend(points.into_iter().map(|p| (p.id.clone(), p)));
        }
        6..8 => {
            let ids: Vec<PointId> = (0..random.below(6)).map(|_| id(random)).collect();
            let expected = ids.iter().filter(|id| model.remove(id).is_some()).count();
            assert_eq!(c.delete(&ids).unwrap(), expected);
        }
        8 => c.flush().unwrap(),
        _ => c.compact().unwrap(),
    }
}

fn check(c: &Collection, model: &Model, random: &mut Random) {
    assert_eq!(c.len(), model.len());
    assert_eq!(c.ids().filter(|id| model.contains_key(id)).count(), model.len());
    for point in model.values() {
        assert_eq!(c.get(&point.id).unwrap().as_ref(), Some(point));
    }
    let stranger = id(random);
    assert_eq!(c.contains(&stranger), model.contains_key(&stranger));
    let filter = match random.below(2) {
        0 => Filter::default(),
        _ => Filter { must: vec!["colour=red".parse().unwrap()] },
    };
    let (vector, k) = (random.normals(DIM), random.below(40));
    let query = Query { vector: vector.clone(), k, filter: filter.clone(), effort: Effort::Exact };
    let found = c.search(&query).unwrap();
    let distance = |p: &Point| {
        let squares = p.vector.iter().zip(&vector).map(|(a, b)| f64::from(a - b).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let mut expected: Vec<f64> =
        model.values().filter(|p| filter.matches(&p.payload)).map(distance).collect();
    expected.sort_by(f64::total_cmp);
    expected.truncate(k);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        let point = &model[&found.id];
        assert_eq!(found.payload, point.payload);
        assert!((f64::from(found.score) - expected).abs() < 1e-4, "{found:?} {expected}");
        assert!((distance(point) - expected).abs() < 1e-4, "{found:?} {expected}");
    }
}

#[test]
fn the_collection_is_a_map() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let dir = MemDir::default();
        let settings = Settings::new(Metric::Euclid, DIM, Spec::default());
        let mut c = Collection::create_in(Box::new(dir.clone()), settings, tuning()).unwrap();
        let mut model = Model::new();
        for at in 0..80 {
            eprintln!("seed {seed} step {at}");
            if random.below(8) == 0 {
                drop(c);
                c = Collection::open_in(Box::new(dir.clone()), tuning()).unwrap();
            }
            step(&mut c, &mut model, &mut random);
            if random.below(4) == 0 {
                check(&c, &model, &mut random);
            }
        }
        check(&c, &model, &mut random);
        drop(c);
        let c = Collection::open_in(Box::new(dir.after_power_cut(seed)), tuning()).unwrap();
        check(&c, &model, &mut random);
        let files: Vec<String> = dir.files().iter().map(|(n, _)| n.to_string()).collect();
        assert!(files.len() <= c.info().segments + 2, "nothing unneeded stays: {files:?}");
    }
}
