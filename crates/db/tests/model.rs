//! Random operations against a map in memory, reopened at random.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test file")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kvant_db::{
    Arity, Change, Collection, Config, Database, Dense, Edit, Effort, Filter, Found, Metric, Multi,
    Only, Optimizing, Payloads, Point, PointId, Search, Selector, SparseField, Storage, Tuning,
    Vector, Vectors, Wish, With,
};
use kvant_storage::MemDir;
use kvant_testkit::Random;
use serde_json::{Map, Value, json};

const DIM: usize = 3;
const COLOURS: [&str; 3] = ["red", "green", "blue"];
const VECTORS: [&str; 4] = ["", "half", "many", "sparse"];

/// What a point is: the change that wrote it, vectors, payload.
type Held = (u64, Vectors, Map<String, Value>);
type Model = BTreeMap<PointId, Held>;

fn tuning(optimizer: Optimizing) -> Tuning {
    let time = AtomicU64::new(0);
    let clock = Arc::new(move || time.fetch_add(1, Ordering::Relaxed));
    Tuning { threads: 1, seal_points: 25, optimizer, clock, ..Tuning::default() }
}

fn config() -> Config {
    let mut config = Config::single(Dense::new(DIM, Metric::Euclid));
    let half = Dense { storage: Storage::F16, ..Dense::new(DIM, Metric::Cosine) };
    let many = Dense { multi: Arity::Many, ..Dense::new(2, Metric::Dot) };
    config.dense.extend([("half".to_owned(), half), ("many".to_owned(), many)]);
    config.sparse.insert("sparse".to_owned(), SparseField::default());
    config.graph.scan_kib = 0;
    config
}

fn id(random: &mut Random) -> PointId {
    match random.below(3) {
        0 => PointId::Number(random.below(30) as u64),
        1 => PointId::Uuid(random.below(30) as u128),
        _ => PointId::Text(format!("text {}", random.below(30))),
    }
}

fn ids(random: &mut Random) -> Vec<PointId> {
    (0..random.below(6)).map(|_| id(random)).collect()
}

fn vector(name: &str, random: &mut Random) -> Vector {
    match name {
        "many" => {
            let rows: Vec<Vec<f32>> = (0..=random.below(3)).map(|_| random.normals(2)).collect();
            Vector::Multi(Multi::new(&rows).unwrap())
        }
        "sparse" => {
            let mut indices: Vec<u32> = (0..4).map(|_| random.below(9) as u32).collect();
            indices.sort_unstable();
            indices.dedup();
            Vector::sparse(&indices, &random.normals(indices.len())).unwrap()
        }
        _ => Vector::Dense(random.normals(DIM)),
    }
}

/// Most of the vectors.
fn vectors(random: &mut Random) -> Vectors {
    let some = VECTORS.into_iter().filter(|_| random.below(4) > 0).collect::<Vec<_>>();
    some.into_iter().map(|name| (name.to_owned(), vector(name, random))).collect()
}

fn payload(random: &mut Random) -> Map<String, Value> {
    let value = json!({"colour": COLOURS[random.below(3)], "n": random.unit()});
    value.as_object().unwrap().clone()
}

fn point(random: &mut Random) -> Point {
    Point { id: id(random), vectors: vectors(random), payload: payload(random), ttl: None }
}

/// The points of one colour, said as a filter and as a function.
fn of_colour(colour: &str) -> Filter {
    Filter::of(format!("colour={colour}").parse().unwrap())
}

fn has_colour(payload: &Map<String, Value>, colour: &str) -> bool {
    payload.get("colour").is_some_and(|of| of == colour)
}

fn selector(random: &mut Random) -> (Selector, Option<&'static str>) {
    if random.below(4) > 0 {
        return (Selector::Ids(ids(random)), None);
    }
    let colour = COLOURS[random.below(3)];
    (Selector::Filter(of_colour(colour)), Some(colour))
}

/// The names that a selector means.
fn meant(model: &Model, (of, colour): &(Selector, Option<&str>)) -> Vec<PointId> {
    let is_meant = |id: &PointId, payload: &Map<String, Value>| match (of, colour) {
        (Selector::Ids(ids), _) => ids.contains(id),
        (_, Some(colour)) => has_colour(payload, colour),
        (_, None) => panic!("a filter has a colour"),
    };
    let of = model.iter().filter(|(id, (_, _, payload))| is_meant(id, payload));
    of.map(|(id, _)| id.clone()).collect()
}

/// A change, and what it does to the model when it is record `seq`: how many points it touches.
type Told = Box<dyn Fn(&mut Model, u64) -> usize>;

fn upsert(random: &mut Random) -> (Change, Told) {
    let points: Vec<Point> = (0..random.below(9)).map(|_| point(random)).collect();
    let only = [Only::All, Only::All, Only::New, Only::Old][random.below(4)];
    let colour = (random.below(4) == 0).then(|| COLOURS[random.below(3)]);
    let condition = colour.map(of_colour);
    let change = Change::Upsert { points: points.clone(), only, condition };
    let told = move |model: &mut Model, seq| {
        let last: BTreeMap<&PointId, &Point> = points.iter().map(|p| (&p.id, p)).collect();
        let mut count = 0;
        for (id, point) in last {
            let wanted = match (model.get(id), only) {
                (Some(_), Only::New) | (None, Only::Old) => false,
                (Some((_, _, payload)), _) => colour.is_none_or(|of| has_colour(payload, of)),
                (None, _) => true,
            };
            if wanted {
                let vectors = prepared(&point.vectors);
                model.insert(id.clone(), (seq, vectors, point.payload.clone()));
                count += 1;
            }
        }
        count
    };
    (change, Box::new(told))
}

fn prepared(vectors: &Vectors) -> Vectors {
    let mut vectors = vectors.clone();
    config().prepare(&mut vectors).unwrap();
    vectors
}

fn set_vectors(random: &mut Random) -> (Change, Told) {
    let points: Vec<_> = ids(random).into_iter().map(|id| (id, vectors(random))).collect();
    let change = Change::SetVectors { points: points.clone(), condition: None };
    let told = move |model: &mut Model, seq| {
        let mut all: BTreeMap<&PointId, Vectors> = BTreeMap::new();
        for (id, vectors) in &points {
            all.entry(id).or_default().extend(prepared(vectors));
        }
        let mut count = 0;
        for (id, vectors) in all {
            if let Some(held) = model.get_mut(id) {
                held.0 = seq;
                held.1.extend(vectors);
                count += 1;
            }
        }
        count
    };
    (change, Box::new(told))
}

fn edit(random: &mut Random) -> (Change, Told) {
    let of = selector(random);
    let (kind, payload) = (random.below(7), payload(random));
    let name = VECTORS[random.below(4)].to_owned();
    let at = of.0.clone();
    let change = match kind {
        0 => Edit::Delete(at),
        1 => Edit::DeleteVectors { names: vec![name.clone()], of: at },
        2 => Edit::SetPayload { payload: payload.clone(), at: None, of: at },
        3 => Edit::ReplacePayload { payload: payload.clone(), of: at },
        4 => Edit::DeleteKeys { keys: vec!["n".parse().unwrap()], of: at },
        5 => {
            let payload = payload.clone();
            Edit::SetPayload { payload, at: Some("meta".parse().unwrap()), of: at }
        }
        _ => Edit::ClearPayload(at),
    };
    let told = move |model: &mut Model, seq| {
        let ids = meant(model, &of);
        for id in &ids {
            if kind == 0 {
                model.remove(id);
                continue;
            }
            let (version, vectors, held) = model.get_mut(id).unwrap();
            *version = seq;
            match kind {
                1 => drop(vectors.remove(&name)),
                2 => held.extend(payload.clone()),
                3 => held.clone_from(&payload),
                4 => drop(held.remove("n")),
                5 => {
                    let meta = held.entry("meta").or_insert_with(|| json!({}));
                    meta.as_object_mut().unwrap().extend(payload.clone());
                }
                _ => held.clear(),
            }
        }
        ids.len()
    };
    (Change::Edit(change), Box::new(told))
}

fn step(c: &Collection, model: &mut Model, random: &mut Random) {
    let change = |random: &mut Random| match random.below(10) {
        0..5 => upsert(random),
        5 | 6 => set_vectors(random),
        _ => edit(random),
    };
    match random.below(14) {
        0..9 => {
            let (change, told) = change(random);
            let (stamp, outcome) = c.write(change).unwrap();
            assert_eq!(outcome.points, told(model, stamp.seq));
        }
        9 | 10 => {
            // Several on their way at once, of which the last is waited for.
            let all: Vec<_> = (0..3).map(|_| change(random)).collect();
            let submitted = all.into_iter().map(|(change, told)| (c.submit(change).unwrap(), told));
            let submitted: Vec<_> = submitted.collect();
            let last = submitted.len() - 1;
            for (at, (stamp, told)) in submitted.into_iter().enumerate() {
                let count = told(model, stamp.seq);
                if at == last {
                    assert_eq!(c.settle(stamp).unwrap().points, count);
                }
            }
        }
        11 => c.flush().unwrap(),
        12 => drop(c.optimize().unwrap()),
        _ => c.compact().unwrap(),
    }
}

fn held(found: Found) -> (PointId, Held) {
    (found.id, (found.version, found.vectors, Map::clone(&found.payload)))
}

fn check(c: &Collection, model: &Model, random: &mut Random) {
    assert_eq!((c.len(), c.info().points), (model.len(), model.len()));
    let asked: Vec<PointId> = (0..20).map(|_| id(random)).collect();
    let got = c.get(&asked).unwrap().into_iter().map(held);
    let expected = asked.iter().filter_map(|id| Some((id.clone(), model.get(id)?.clone())));
    assert_eq!(got.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let colour = (random.below(2) == 0).then(|| COLOURS[random.below(3)]);
    let passes = |payload: &Map<String, Value>| colour.is_none_or(|of| has_colour(payload, of));
    let filter = colour.map(of_colour);
    // A page after the other.
    let (mut from, mut pages) = (None, Model::new());
    loop {
        let limit = 1 + random.below(20);
        let (found, next) = c.scroll(from.as_ref(), limit, filter.as_ref()).unwrap();
        assert!(found.len() == limit || next.is_none());
        pages.extend(found.into_iter().map(held));
        let Some(next) = next else { break };
        from = Some(next);
    }
    let expected = model.iter().filter(|(_, (_, _, payload))| passes(payload));
    assert_eq!(pages, expected.map(|(id, held)| (id.clone(), held.clone())).collect());
    for name in VECTORS {
        nearest(c, &pages, (name, filter.clone()), random);
    }
}

/// Whole points.
fn all() -> With {
    With { payload: Payloads::All, vectors: Wish::All }
}

/// As people read it, higher or lower being closer; `None` where there is nothing to measure.
fn score(name: &str, query: &Vector, vector: &Vector) -> Option<f64> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    Some(match (query, vector) {
        (Vector::Dense(a), Vector::Dense(b)) if name.is_empty() => {
            a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
        }
        (Vector::Dense(a), Vector::Dense(b)) => dot(a, b) / dot(a, a).sqrt() / dot(b, b).sqrt(),
        (Vector::Multi(a), Vector::Multi(b)) => {
            let best = |a| b.rows().map(|b| dot(a, b)).fold(f64::NEG_INFINITY, f64::max);
            a.rows().map(best).sum()
        }
        (Vector::Sparse(a), Vector::Sparse(b)) => {
            let at = |index| b.indices().iter().position(|of| of == index);
            let shared = a.indices().iter().zip(a.values());
            let products: Vec<f64> = shared
                .filter_map(|(index, x)| Some(f64::from(*x) * f64::from(b.values()[at(index)?])))
                .collect();
            return (!products.is_empty()).then(|| products.iter().sum());
        }
        _ => panic!("vectors of one name are of one kind"),
    })
}

fn nearest(
    c: &Collection,
    model: &Model,
    (name, filter): (&str, Option<Filter>),
    random: &mut Random,
) {
    let (vector, k) = (vector(name, random), 1 + random.below(40));
    let of = |held: &Held| score(name, &vector, held.1.get(name)?);
    let mut expected: Vec<f64> = model.values().filter_map(of).collect();
    expected.sort_by(f64::total_cmp);
    if !name.is_empty() {
        expected.reverse();
    }
    expected.truncate(k);
    let near =
        Search { filter, limit: k, effort: Effort::Exact, ..Search::nearest(name, vector.clone()) };
    let scored = c.search(&near, &all()).unwrap();
    assert_eq!(scored.len(), expected.len(), "{name:?}");
    for (scored, expected) in scored.into_iter().zip(expected) {
        let (id, held) = held(scored.found);
        let its = of(&held).unwrap();
        assert_eq!(model[&id], held);
        let close = |got: f64| (f64::from(scored.score) - got).abs() < 2e-3;
        assert!(close(expected) && close(its), "{name:?}: {} {expected} {its}", scored.score);
    }
}

/// Collections by name with what they should hold, and other names for them.
struct House {
    dir: MemDir,
    database: Option<Database>,
    optimizer: Optimizing,
    models: BTreeMap<String, Model>,
    aliases: BTreeMap<String, String>,
}

impl House {
    fn database(&self) -> &Database {
        self.database.as_ref().unwrap()
    }

    fn reopen(&mut self, dir: MemDir) {
        self.database = None;
        self.dir = dir;
        let dir = Arc::new(self.dir.clone());
        self.database = Some(Database::open_in(dir, tuning(self.optimizer)).unwrap());
    }

    /// Makes, drops, or calls differently.
    fn rename(&mut self, random: &mut Random) {
        let name = ["a", "b", "c"][random.below(3)].to_owned();
        match random.below(4) {
            0 => {
                let was = self.models.remove(&name).is_some();
                assert_eq!(self.database().drop_collection(&name).unwrap(), was);
                self.aliases.retain(|_, of| *of != name);
            }
            1 | 2 => {
                let made = self.database().create(&name, &config());
                assert_eq!(made.is_ok(), !self.models.contains_key(&name));
                self.models.entry(name).or_default();
            }
            _ => {
                let alias = ["x", "y"][random.below(2)].to_owned();
                let changes = [(alias.clone(), Some(name.clone()))];
                let done = self.database().set_aliases(&changes);
                assert_eq!(done.is_ok(), self.models.contains_key(&name));
                if done.is_ok() {
                    self.aliases.insert(alias, name);
                }
            }
        }
    }

    fn check(&self, random: &mut Random) {
        let listing = self.database().listing();
        assert!(listing.collections.keys().eq(self.models.keys()));
        assert_eq!(listing.aliases, self.aliases);
        for (name, model) in &self.models {
            check(&self.database().collection(name).unwrap(), model, random);
        }
        for (alias, of) in &self.aliases {
            let collection = self.database().collection(alias).unwrap();
            assert_eq!(collection.len(), self.models[of].len());
        }
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(12) {
            0 => self.reopen(self.dir.clone()),
            1 => self.rename(random),
            _ => {
                let names: Vec<&String> = self.models.keys().collect();
                if names.is_empty() {
                    return;
                }
                let name = names[random.below(names.len())].clone();
                let collection = self.database().collection(&name).unwrap();
                step(&collection, self.models.get_mut(&name).unwrap(), random);
            }
        }
    }
}

fn run(seed: u64, optimizer: Optimizing) {
    let mut random = Random::new(seed);
    let (models, aliases) = (BTreeMap::new(), BTreeMap::new());
    let dir = MemDir::default();
    let mut house = House { dir: dir.clone(), database: None, optimizer, models, aliases };
    house.reopen(dir);
    house.database().create("a", &config()).unwrap();
    house.models.insert("a".to_owned(), Model::new());
    for at in 0..120 {
        eprintln!("seed {seed} step {at}");
        house.step(&mut random);
        if random.below(5) == 0 {
            house.check(&mut random);
        }
    }
    house.check(&mut random);
    // Nothing unneeded stays.
    for name in house.models.keys() {
        house.database().collection(name).unwrap().compact().unwrap();
    }
    house.check(&mut random);
    house.database().flush().unwrap();
    for (name, model) in &house.models {
        let info = house.database().collection(name).unwrap().info();
        let least = usize::from(!model.is_empty());
        assert_eq!((info.segments.len(), info.dead_rows()), (least, 0), "{name}: {info:?}");
    }
    let numbers = house.database().listing().collections;
    let of_none = |(name, _): &(kvant_storage::Name, Vec<u8>)| {
        let mut folders = numbers.values().map(|number| format!("collection/{number}/"));
        name.as_str().starts_with("collection/")
            && !folders.any(|folder| name.as_str().starts_with(&folder))
    };
    assert_eq!(house.dir.files().iter().find(|file| of_none(file)), None);
    // Power goes: all of it was waited for.
    house.step(&mut random);
    house.reopen(house.dir.after_power_cut(seed));
    house.check(&mut random);
}

#[test]
fn a_database_is_a_map_of_maps() {
    (0..40).for_each(|seed| run(seed, Optimizing::Inline));
}

#[test]
fn so_it_is_while_segments_are_made_in_the_background() {
    (100..120).for_each(|seed| run(seed, Optimizing::Background));
}
