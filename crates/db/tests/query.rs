//! Questions of every kind over points in memory and in files, against plain scans.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kvant_db::{
    Arity, Change, Collection, Config, Database, Decay, Dense, Direction, Diversity, Edit, Effort,
    Expression, Facet, Filter, Groups, Input, Lookup, Matrix, Metric, Multi, Optimizing, OrderBy,
    Payloads, Point, PointId, Query, Scored, Search, Selector, SparseField, Strategy, Tuning,
    Variable, Vector, Vectors, Weighting, Wish, With,
};
use kvant_storage::MemDir;
use kvant_testkit::Random;
use serde_json::{Value, json};

const DIM: usize = 8;

fn config() -> Config {
    let mut config = Config::single(Dense::new(DIM, Metric::Cosine));
    config.dense.insert("l2".into(), Dense::new(DIM, Metric::Euclid));
    let many = Dense { multi: Arity::Many, ..Dense::new(4, Metric::Dot) };
    config.dense.insert("many".into(), many);
    config.sparse.insert("words".into(), SparseField { weighting: Weighting::Idf });
    config
}

fn point(id: u64, random: &mut Random) -> Point {
    let mut vectors = Vectors::new();
    vectors.insert(String::new(), Vector::Dense(random.normals(DIM)));
    vectors.insert("l2".into(), Vector::Dense(random.normals(DIM)));
    if !id.is_multiple_of(3) {
        let rows: Vec<Vec<f32>> = (0..=random.below(3)).map(|_| random.normals(4)).collect();
        vectors.insert("many".into(), Vector::Multi(Multi::new(&rows).unwrap()));
    }
    if id.is_multiple_of(2) {
        let indices: BTreeSet<u32> = (0..5).map(|_| random.below(30) as u32).collect();
        let indices: Vec<u32> = indices.into_iter().collect();
        let values: Vec<f32> = indices.iter().map(|_| random.normals(1)[0].abs() + 0.1).collect();
        vectors.insert("words".into(), Vector::sparse(&indices, &values).unwrap());
    }
    let city = ["Oslo", "Rome", "Lima"][id as usize % 3];
    let payload = json!({
        "city": city, "n": id, "price": id as f64 / 7.0, "tags": [city, "all"],
        "at": format!("2024-01-{:02}T00:00:00Z", id % 28 + 1),
        "place": { "lon": id as f64 % 90.0, "lat": 10.0 }, "deep": { "x": id % 5, "y": 1 },
    });
    Point { id: id.into(), vectors, payload: payload.as_object().unwrap().clone(), ttl: None }
}

/// Points half in files, half in memory, some replaced and some deleted.
fn filled() -> (Database, Arc<Collection>, BTreeMap<u64, Point>) {
    let tuning = Tuning {
        threads: 1,
        optimizer: Optimizing::Inline,
        clock: Arc::new(|| 1),
        ..Tuning::default()
    };
    let database = Database::open_in(Arc::new(MemDir::default()), tuning).unwrap();
    let collection = database.create("c", &config()).unwrap();
    let (mut random, mut model) = (Random::new(7), BTreeMap::new());
    for batch in 0..6u64 {
        let points: Vec<Point> =
            (batch * 40..batch * 40 + 60).map(|id| point(id, &mut random)).collect();
        model.extend(points.iter().map(|point| (point.id.clone(), point.clone())));
        collection.write(Change::upsert(points)).unwrap();
        if batch == 1 || batch == 3 {
            collection.flush().unwrap();
        }
    }
    let gone: Vec<PointId> = (0..200).step_by(9).map(PointId::Number).collect();
    for id in &gone {
        model.remove(id);
    }
    collection.write(Change::delete(gone)).unwrap();
    let number = |id: PointId| match id {
        PointId::Number(number) => number,
        PointId::Uuid(_) | PointId::Text(_) => unreachable!("numbers"),
    };
    (database, collection, model.into_iter().map(|(id, point)| (number(id), point)).collect())
}

fn ids(found: &[Scored]) -> Vec<u64> {
    let number = |scored: &Scored| match scored.found.id {
        PointId::Number(number) => number,
        PointId::Uuid(_) | PointId::Text(_) => unreachable!("numbers"),
    };
    found.iter().map(number).collect()
}

fn filter(json: Value) -> Filter {
    serde_json::from_value(json).unwrap()
}

fn ask(collection: &Collection, search: &Search) -> Vec<Scored> {
    collection.search(search, &With::default()).unwrap()
}

fn unit(vector: &[f32]) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter().map(|x| x / norm).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn dense<'p>(point: &'p Point, name: &str) -> &'p [f32] {
    match &point.vectors[name] {
        Vector::Dense(values) => values,
        Vector::Sparse(_) | Vector::Multi(_) => unreachable!("dense"),
    }
}

/// The best by a score, higher first.
fn best(model: &BTreeMap<u64, Point>, score: impl Fn(&Point) -> Option<f32>) -> Vec<(u64, f32)> {
    let mut all: Vec<(u64, f32)> =
        model.iter().filter_map(|(id, point)| score(point).map(|score| (*id, score))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

#[track_caller]
fn same(found: &[Scored], expected: &[(u64, f32)]) {
    let expected = &expected[..found.len()];
    assert_eq!(ids(found), expected.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    for (found, (_, score)) in found.iter().zip(expected) {
        let off = (found.score - score).abs();
        assert!(off <= 1e-4 * score.abs().max(1.0), "{} for {score}", found.score);
    }
}

#[test]
fn nearest_by_every_kind_of_vector() {
    let (_database, c, model) = filled();
    let query = Random::new(1).normals(DIM);
    let exact = |using: &str, vector: Vector, limit| Search {
        effort: Effort::Exact,
        limit,
        ..Search::nearest(using, vector)
    };
    let cosine = exact("", Vector::Dense(query.clone()), 20);
    let near = |point: &Point| Some(dot(&unit(dense(point, "")), &unit(&query)));
    let found = ask(&c, &cosine);
    assert_eq!(found.len(), 20);
    same(&found, &best(&model, near));
    let paged = ask(&c, &Search { offset: 5, limit: 15, ..cosine.clone() });
    assert_eq!(ids(&paged), ids(&found)[5..]);
    let half = found[9].score;
    assert_eq!(ask(&c, &Search { threshold: Some(half), ..cosine.clone() }).len(), 10);
    let oslo = filter(json!({ "must": [{ "key": "city", "match": { "value": "Oslo" } }] }));
    let some = Search { filter: Some(oslo), limit: 300, ..cosine };
    let of_oslo = |point: &Point| near(point).filter(|_| point.payload["city"] == "Oslo");
    let expected = best(&model, of_oslo);
    let found = ask(&c, &some);
    assert_eq!(found.len(), expected.len(), "never fewer than there are");
    same(&found, &expected);

    let found = ask(&c, &exact("l2", Vector::Dense(query.clone()), 10));
    let far = |point: &Point| {
        let sum: f32 = dense(point, "l2").iter().zip(&query).map(|(a, b)| (a - b).powi(2)).sum();
        Some(-sum.sqrt())
    };
    let turned: Vec<(u64, f32)> = best(&model, far).into_iter().map(|(id, s)| (id, -s)).collect();
    same(&found, &turned);
    let within =
        Search { threshold: Some(found[4].score), ..exact("l2", Vector::Dense(query.clone()), 10) };
    assert_eq!(ids(&ask(&c, &within)), ids(&found)[..5]);

    let rows = vec![query[..4].to_vec(), query[4..].to_vec()];
    let found = ask(&c, &exact("many", Vector::Multi(Multi::new(&rows).unwrap()), 10));
    let close = |point: &Point| match point.vectors.get("many") {
        Some(Vector::Multi(multi)) => Some(
            rows.iter().map(|q| multi.rows().map(|row| dot(q, row)).fold(f32::MIN, f32::max)).sum(),
        ),
        _ => None,
    };
    same(&found, &best(&model, close));
}

#[test]
fn sparse_queries_weigh_rare_indices() {
    let (_database, c, model) = filled();
    let sparse = |point: &Point| match point.vectors.get("words") {
        Some(Vector::Sparse(sparse)) => Some(sparse.clone()),
        _ => None,
    };
    let with = |index: u32| {
        model.values().filter_map(sparse).filter(|s| s.indices().contains(&index)).count() as f32
    };
    let n = model.len() as f32;
    let query = [(3u32, 1.0f32), (7, 0.5), (29, 2.0)];
    let weight = |index: u32| (1.0 + (n - with(index) + 0.5) / (with(index) + 0.5)).ln();
    let score = |point: &Point| {
        let sparse = sparse(point)?;
        let own: BTreeMap<u32, f32> =
            sparse.indices().iter().copied().zip(sparse.values().iter().copied()).collect();
        let terms: Vec<f32> = query
            .iter()
            .filter_map(|(index, value)| Some(own.get(index)? * value * weight(*index)))
            .collect();
        (!terms.is_empty()).then(|| terms.iter().sum())
    };
    let vector = Vector::sparse(&query.map(|q| q.0), &query.map(|q| q.1)).unwrap();
    let expected = best(&model, score);
    let found = ask(&c, &Search { limit: 300, ..Search::nearest("words", vector) });
    assert_eq!(found.len(), expected.len(), "those that share an index, all of them");
    same(&found, &expected);
}

#[test]
fn examples_pairs_and_points_by_name() {
    let (_database, c, model) = filled();
    let at = |id: u64| unit(dense(&model[&id], ""));
    let similar = |point: &Point, id: u64| dot(&unit(dense(point, "")), &at(id));
    let named = |id: u64| Input::Point(id.into());
    let ask = |query: Query| {
        ask(
            &c,
            &Search { query: Some(query), effort: Effort::Exact, limit: 8, ..Search::default() },
        )
    };
    let unnamed = |ids: &'static [u64], score: &dyn Fn(&Point) -> f32| {
        best(&model, |point| {
            let PointId::Number(id) = point.id else { unreachable!("numbers") };
            (!ids.contains(&id)).then(|| score(point))
        })
    };
    let found = ask(Query::Nearest { to: named(5), diversity: None });
    same(&found, &unnamed(&[5], &|point| similar(point, 5)));
    let recommend = |strategy| Query::Recommend {
        positive: vec![named(5), named(70)],
        negative: vec![named(100)],
        strategy,
    };
    let found = ask(recommend(Strategy::Average));
    let mean: Vec<f32> = (0..DIM).map(|i| at(5)[i] + at(70)[i] - at(100)[i]).collect();
    let by_mean = |point: &Point| dot(&unit(dense(point, "")), &unit(&mean));
    same(&found, &unnamed(&[5, 70, 100], &by_mean));
    let found = ask(recommend(Strategy::Sum));
    let by_sum = |point: &Point| similar(point, 5) + similar(point, 70) - similar(point, 100);
    same(&found, &unnamed(&[5, 70, 100], &by_sum));
    let sigmoid = |x: f32| f32::midpoint(x / (1.0 + x.abs()), 1.0);
    let found = ask(recommend(Strategy::Best));
    let by_best = |point: &Point| {
        let (near, far) = (similar(point, 5).max(similar(point, 70)), similar(point, 100));
        if near > far { sigmoid(near) } else { -sigmoid(far) }
    };
    same(&found, &unnamed(&[5, 70, 100], &by_best));
    let pairs = vec![(named(5), named(70)), (named(100), named(101))];
    let found = ask(Query::Discover { target: named(6), context: pairs.clone() });
    let side = |point: &Point| {
        let sign = |a: u64, b: u64| {
            let difference = similar(point, a) - similar(point, b);
            if difference > 0.0 { 1.0 } else { -1.0 }
        };
        sign(5, 70) + sign(100, 101) + sigmoid(similar(point, 6))
    };
    same(&found, &unnamed(&[5, 6, 70, 100, 101], &side));
    let found = ask(Query::Context(pairs));
    assert!(found.iter().all(|scored| scored.score <= 0.0 && scored.score > -0.01));
    let lookup = Search {
        query: Some(Query::Nearest { to: named(5), diversity: None }),
        using: "l2".into(),
        from: Some(Lookup { collection: Arc::clone(&c), using: Some(String::new()) }),
        effort: Effort::Exact,
        ..Search::default()
    };
    assert!(c.search(&lookup, &With::default()).unwrap().len() == 10);
    let missing = Query::Nearest { to: named(9_999), diversity: None };
    let missing = Search { query: Some(missing), ..Search::default() };
    let error = c.search(&missing, &With::default()).unwrap_err().to_string();
    assert!(error.contains("no point 9999"), "{error}");
}

#[test]
fn fusion_and_formulas() {
    let (_database, c, model) = filled();
    let query = Random::new(2).normals(DIM);
    let first = |using: &str, limit| Search {
        effort: Effort::Exact,
        limit,
        ..Search::nearest(using, Vector::Dense(query.clone()))
    };
    let lists = vec![first("", 15), first("l2", 15)];
    let places: Vec<Vec<u64>> = lists.iter().map(|one| ids(&ask(&c, one))).collect();
    let rank = |id: u64| -> f32 {
        let place = |list: &Vec<u64>| list.iter().position(|other| *other == id);
        places.iter().filter_map(place).map(|at| 1.0 / (60.0 + at as f32)).sum()
    };
    let both = |query| Search { prefetch: lists.clone(), query: Some(query), ..Search::default() };
    let fused = ask(&c, &both(Query::Rrf { k: 60.0, weights: None }));
    let number = |point: &Point| match point.id {
        PointId::Number(id) => id,
        PointId::Uuid(_) | PointId::Text(_) => unreachable!("numbers"),
    };
    let ranked = |point: &Point| Some(rank(number(point))).filter(|rank| *rank > 0.0);
    same(&fused, &best(&model, ranked));
    assert_eq!(ask(&c, &both(Query::Dbsf)).len(), 10);

    let price: kvant_db::Path = "price".parse().unwrap();
    let score = || Expression::Variable(Variable::Score(0));
    let formula = Expression::Sum(vec![
        score(),
        Expression::Product(vec![
            Expression::Constant(0.5),
            Expression::Decay {
                way: Decay::Linear,
                x: Box::new(Expression::Variable(Variable::Payload(price))),
                target: Some(Box::new(Expression::Constant(10.0))),
                scale: 5.0,
                midpoint: 0.5,
            },
        ]),
        Expression::Condition(Box::new(filter(
            json!({ "must": [{ "key": "city", "match": { "value": "Rome" } }] }),
        ))),
    ]);
    let found = ask(
        &c,
        &Search {
            prefetch: vec![first("", 40)],
            query: Some(Query::Formula { formula, defaults: serde_json::Map::new() }),
            ..Search::default()
        },
    );
    let near: BTreeMap<u64, f32> = ask(&c, &first("", 40))
        .iter()
        .map(|s| (ids(std::slice::from_ref(s))[0], s.score))
        .collect();
    let made = |point: &Point| {
        let decay = (1.0 - 0.5 * (point.payload["price"].as_f64()? - 10.0).abs() / 5.0).max(0.0);
        let rome = f32::from(u8::from(point.payload["city"] == "Rome"));
        Some(near.get(&number(point))? + 0.5 * decay as f32 + rome)
    };
    same(&found, &best(&model, made));
}

#[test]
fn order_by_value_by_chance_and_by_name() {
    let (_database, c, model) = filled();
    let by = |key: &str, direction| {
        let by = OrderBy { path: key.parse().unwrap(), direction, start: None };
        Search { query: Some(Query::OrderBy(by)), limit: 300, ..Search::default() }
    };
    let rising = ask(&c, &by("n", Direction::Ascending));
    assert!(ids(&rising).iter().eq(model.keys()));
    assert_eq!(rising[1].order, Some(json!(ids(&rising)[1])));
    assert!(ids(&ask(&c, &by("price", Direction::Descending))).iter().eq(model.keys().rev()));
    let moments = ask(&c, &by("at", Direction::Descending));
    assert!(moments.windows(2).all(|pair| {
        pair[0].order.as_ref().unwrap().as_str() >= pair[1].order.as_ref().unwrap().as_str()
    }));
    let chance =
        |seed| ids(&ask(&c, &Search { query: Some(Query::Sample { seed }), ..Search::default() }));
    assert!(chance(1) == chance(1) && chance(1) != chance(2) && chance(3).len() == 10);
    assert!(ids(&ask(&c, &Search { limit: 300, ..Search::default() })).iter().eq(model.keys()));
}

#[test]
fn nearness_can_give_way_to_variety() {
    let (_database, c, _) = filled();
    let query = Random::new(3).normals(DIM);
    let with = |weight| {
        let to = Input::Vector(Vector::Dense(query.clone()));
        let diversity = Some(Diversity { weight, candidates: Some(60) });
        let query = Some(Query::Nearest { to, diversity });
        ids(&ask(&c, &Search { query, effort: Effort::Exact, ..Search::default() }))
    };
    let plain =
        Search { effort: Effort::Exact, ..Search::nearest("", Vector::Dense(query.clone())) };
    let plain = ids(&ask(&c, &plain));
    assert_eq!(with(0.0), plain);
    let varied = with(0.7);
    assert!(varied[0] == plain[0] && varied != plain && varied.len() == 10);
}

#[test]
fn groups_facets_counts_and_matrices() {
    let (_database, c, model) = filled();
    let query = Vector::Dense(Random::new(4).normals(DIM));
    let search = Search { effort: Effort::Exact, ..Search::nearest("", query) };
    let groups = Groups { by: "city".parse().unwrap(), groups: 3, size: 4 };
    let with = With { payload: Payloads::All, vectors: Wish::None };
    let found = c.groups(&search, &groups, &with).unwrap();
    assert_eq!(found.len(), 3);
    for group in &found {
        assert_eq!(group.hits.len(), 4);
        assert!(group.hits.iter().all(|hit| hit.found.payload["city"] == group.of));
    }
    let cities = Facet { path: "tags".parse().unwrap(), filter: None, limit: 2 };
    let counts = c.facet(&cities).unwrap();
    assert_eq!((counts[0].value.clone(), counts[0].count), (json!("all"), model.len()));
    let of = |city: &str| model.values().filter(|point| point.payload["city"] == city).count();
    assert_eq!(counts[1].count, ["Oslo", "Rome", "Lima"].map(of).into_iter().max().unwrap());
    let rome = filter(json!({ "must": [{ "key": "city", "match": { "value": "Rome" } }] }));
    assert_eq!(c.count(Some(&rome)).unwrap(), of("Rome"));
    assert_eq!(c.count(None).unwrap(), model.len());
    let matrix = Matrix { using: "l2".into(), filter: Some(rome), sample: 12, limit: 3, seed: 5 };
    let rows = c.matrix(&matrix).unwrap();
    assert!(rows.len() == 12 && rows.iter().all(|row| row.near.len() == 3));
    let drawn: BTreeSet<_> = rows.iter().map(|row| row.id.clone()).collect();
    assert!(
        rows.iter().all(|row| row.near.iter().all(|(id, _)| drawn.contains(id) && *id != row.id))
    );
}

#[test]
fn parts_of_points_are_shown_and_changed() {
    let (_database, c, model) = filled();
    let paths = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let one = |with: &With| c.retrieve(&[5.into(), 99_999.into()], with).unwrap().remove(0);
    let only = With { payload: Payloads::Only(paths(&["city", "deep.x"])), vectors: Wish::None };
    assert_eq!(
        Value::Object((*one(&only).payload).clone()),
        json!({ "city": "Lima", "deep": { "x": 0 } })
    );
    let without = Payloads::Without(paths(&["city", "deep.x", "tags", "place", "at"]));
    let without = With { payload: without, vectors: Wish::Only(vec!["l2".into()]) };
    let found = one(&without);
    assert_eq!(
        Value::Object((*found.payload).clone()),
        json!({ "n": 5, "price": 5.0 / 7.0, "deep": { "y": 1 } })
    );
    assert_eq!(found.vectors.keys().collect::<Vec<_>>(), ["l2"]);
    assert_eq!(found.vectors["l2"], model[&5].vectors["l2"]);
    let all = one(&With { payload: Payloads::All, vectors: Wish::All });
    assert_eq!((all.vectors.len(), &*all.payload), (3, &model[&5].payload));
    let lima = filter(json!({ "must": [{ "key": "city", "match": { "value": "Lima" } }] }));
    let payload = json!({ "seen": true }).as_object().unwrap().clone();
    let of = Selector::Filter(lima.clone());
    let (_, done) =
        c.write(Change::Edit(Edit::SetPayload { payload, at: None, of: of.clone() })).unwrap();
    assert_eq!(done.points, c.count(Some(&lima)).unwrap());
    let seen = filter(json!({ "must": [{ "key": "seen", "match": { "value": true } }] }));
    assert_eq!(c.count(Some(&seen)).unwrap(), done.points);
    let names = vec!["l2".to_owned()];
    c.write(Change::Edit(Edit::DeleteVectors { names, of: of.clone() })).unwrap();
    let has = filter(json!({ "must_not": [{ "has_vector": "l2" }] }));
    assert_eq!(c.count(Some(&has)).unwrap(), done.points);
    c.write(Change::Edit(Edit::Delete(of))).unwrap();
    assert_eq!(c.len(), model.len() - done.points);
    c.compact().unwrap();
    assert_eq!((c.len(), c.info().dead_rows()), (model.len() - done.points, 0));
}

#[test]
fn indexes_of_fields_change_no_answer() {
    let (_database, c, model) = filled();
    let filters = [
        json!({ "must": [{ "key": "city", "match": { "any": ["Oslo", "Lima"] } }] }),
        json!({ "must_not": [{ "key": "city", "match": { "value": "Rome" } }] }),
        json!({ "must": [{ "key": "n", "range": { "gte": 50, "lt": 120.5 } }] }),
        json!({ "should": [{ "key": "n", "match": { "value": 7 } },
                           { "key": "tags", "match": { "value": "Lima" } }] }),
        json!({ "must": [{ "key": "price", "range": { "gt": 10.25 } },
                         { "key": "deep.x", "match": { "value": 2 } }] }),
        json!({ "must": [{ "key": "at", "range": { "lt": "2024-01-09T00:00:00Z" } }],
                "must_not": [{ "has_id": [100, 101, 102] }] }),
        json!({ "must": [{ "key": "place", "geo_radius":
                    { "center": { "lon": 20.0, "lat": 10.0 }, "radius": 900_000.0 } }] }),
        json!({ "must": [{ "key": "tags", "values_count": { "gte": 2 } },
                         { "has_vector": "words" }] }),
        json!({ "min_should": { "min_count": 2, "conditions": [
            { "key": "n", "range": { "lt": 90 } }, { "key": "city", "match": { "value": "Oslo" } },
            { "key": "deep.x", "match": { "value": 3 } }] } }),
        json!({ "must": [{ "is_empty": { "key": "nothing" } },
                         { "key": "city", "match": { "except": ["Oslo"] } }] }),
    ];
    let answers = || -> Vec<Vec<PointId>> {
        let ids = |found: Vec<kvant_db::Found>| found.into_iter().map(|f| f.id).collect();
        let all = |one: &Value| c.scroll(None, 1000, Some(&filter(one.clone()))).unwrap().0;
        filters.iter().map(|one| ids(all(one))).collect()
    };
    let before = answers();
    assert!(before.iter().all(|ids| !ids.is_empty() && ids.len() < model.len()));
    let fields = [
        ("city", json!("keyword")),
        ("tags", json!("keyword")),
        ("n", json!("integer")),
        ("price", json!("float")),
        ("at", json!("datetime")),
        ("place", json!("geo")),
        ("nothing", json!("bool")),
    ];
    for (path, schema) in fields {
        let (path, schema) = (path.parse().unwrap(), serde_json::from_value(schema).unwrap());
        c.write(Change::Edit(Edit::SetField { path, schema })).unwrap();
    }
    assert_eq!(answers(), before, "named, not built");
    while c.optimize().unwrap() {}
    c.flush().unwrap();
    assert_eq!(answers(), before, "built");
    c.verify().unwrap();
    c.compact().unwrap();
    assert_eq!(answers(), before, "merged");
    let path = "city".parse().unwrap();
    c.write(Change::Edit(Edit::DropField { path })).unwrap();
    c.flush().unwrap();
    assert_eq!(answers(), before, "dropped");
    assert_eq!(c.info().fields.len(), 6);
}
