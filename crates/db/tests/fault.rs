//! One call to the disk fails, or power goes, at every call of a script: what was acknowledged is
//! there, changes are whole or absent, and nothing is wrong.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test file")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kvant_db::{
    CatalogError, Change, Collection, Config, Database, Dense, Edit, Metric, OpenError, Optimizing,
    Point, PointId, Search, Selector, Tuning, Vector, Vectors, With, WriteError,
};
use kvant_storage::{Dir, Fault, FaultDir, MemDir};
use kvant_testkit::Random;
use serde_json::{Map, Value, json};

const DIM: usize = 2;

type Model = BTreeMap<PointId, (Vectors, Map<String, Value>)>;

#[derive(Clone, Debug)]
enum Op {
    Change(Box<Change>),
    Flush,
    Compact,
    Reopen,
}

/// A hundred operations, the same every time.
fn script() -> Vec<Op> {
    let mut random = Random::new(42);
    let id = |random: &mut Random| PointId::Number(random.below(40) as u64);
    let ids = |random: &mut Random| (0..4).map(|_| id(random)).collect::<Vec<_>>();
    let change = |change| Op::Change(Box::new(change));
    let op = |at: usize| match at % 20 {
        19 => Op::Compact,
        9 => Op::Flush,
        14 => Op::Reopen,
        4 | 12 => change(Change::delete(ids(&mut random))),
        6 | 16 => {
            let payload = json!({ "changed": at }).as_object().unwrap().clone();
            let of = Selector::Ids(ids(&mut random));
            change(Change::Edit(Edit::SetPayload { payload, at: None, of }))
        }
        _ => change(Change::upsert(
            (0..=random.below(5))
                .map(|_| point(id(&mut random), &random.normals(DIM), at))
                .collect(),
        )),
    };
    (0..100).map(op).collect()
}

fn point(id: PointId, vector: &[f32], at: usize) -> Point {
    let payload = json!({ "at": at }).as_object().unwrap().clone();
    let vectors = Vectors::from([(String::new(), Vector::Dense(vector.to_vec()))]);
    Point { id, vectors, payload, ttl: None }
}

fn tuning() -> Tuning {
    let time = AtomicU64::new(0);
    Tuning {
        threads: 1,
        seal_points: 20,
        optimizer: Optimizing::Inline,
        clock: Arc::new(move || time.fetch_add(1, Ordering::Relaxed)),
        ..Tuning::default()
    }
}

fn open(dir: impl Dir + 'static) -> Result<(Database, Arc<Collection>), CatalogError> {
    let database = Database::open_in(Arc::new(dir), tuning())?;
    let collection = match database.collection("c") {
        Err(CatalogError::Unknown { .. }) => {
            database.create("c", &Config::single(Dense::new(DIM, Metric::Euclid)))?
        }
        other => other?,
    };
    Ok((database, collection))
}

fn applied(model: &Model, op: &Op) -> Model {
    let mut after = model.clone();
    let Op::Change(change) = op else { return after };
    match &**change {
        Change::Upsert { points, .. } => {
            let points = points.iter().cloned();
            after.extend(points.map(|p| (p.id, (p.vectors, p.payload))));
        }
        Change::Edit(Edit::Delete(Selector::Ids(ids))) => {
            for id in ids {
                after.remove(id);
            }
        }
        Change::Edit(Edit::SetPayload { payload, of: Selector::Ids(ids), .. }) => {
            for id in ids {
                if let Some((_, object)) = after.get_mut(id) {
                    object.extend(payload.clone());
                }
            }
        }
        Change::SetVectors { .. } | Change::Edit(_) => panic!("not in the script"),
    }
    after
}

fn contents(c: &Collection) -> Model {
    let (found, next) = c.scroll(None, usize::MAX, None).unwrap();
    assert!(next.is_none() && found.len() == c.len());
    found.into_iter().map(|f| (f.id, (f.vectors, Map::clone(&f.payload)))).collect()
}

/// What a run left: the acknowledged state, and the other one it may also be in.
struct Left {
    sure: Model,
    doubt: Option<Model>,
}

impl Left {
    fn check(&self, c: &Collection, when: &str) {
        let got = contents(c);
        let fits = got == self.sure || self.doubt.as_ref() == Some(&got);
        assert!(fits, "{when}: {} points, expected {}", got.len(), self.sure.len());
    }
}

/// Runs the script until something fails.
fn run(dir: &FaultDir) -> Left {
    let mut left = Left { sure: Model::new(), doubt: None };
    let Ok((mut database, mut c)) = open(dir.clone()) else { return left };
    for op in script() {
        let after = applied(&left.sure, &op);
        let done = match &op {
            Op::Change(change) => c.write(Change::clone(change)).map(|_| ()),
            Op::Flush => database.flush(),
            Op::Compact => c.compact(),
            Op::Reopen => {
                drop((database, c));
                let Ok(opened) = open(dir.clone()) else { return left };
                (database, c) = opened;
                Ok(())
            }
        };
        if let Err(error) = done {
            // The error says whether the change is in doubt; memory never shows it.
            assert_eq!(contents(&c), left.sure, "{error}");
            left.doubt = matches!(error, WriteError::Log(_)).then_some(after);
            return left;
        }
        left.sure = after;
    }
    left
}

#[test]
fn the_script_runs_and_seals_and_merges() {
    let dir = FaultDir::new(MemDir::default(), 0);
    let left = run(&dir);
    assert!(left.doubt.is_none() && left.sure.len() > 10);
    let (_database, c) = open(dir.clone()).unwrap();
    left.check(&c, "at the end");
    let info = c.info();
    assert!(info.segments.iter().any(|segment| segment.sealed), "{info:?}");
    // All of it searches as a plain scan does.
    c.verify().unwrap();
    let query = Search {
        limit: 5,
        effort: kvant_db::Effort::Exact,
        ..Search::nearest("", Vector::Dense(vec![0.1, -0.2]))
    };
    let found = c.search(&query, &With::default()).unwrap();
    let mut expected: Vec<(f32, PointId)> = left
        .sure
        .iter()
        .map(|(id, (vectors, _))| {
            let Vector::Dense(v) = &vectors[""] else { panic!("dense") };
            (((v[0] - 0.1).powi(2) + (v[1] + 0.2).powi(2)).sqrt(), id.clone())
        })
        .collect();
    expected.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let names = |ids: Vec<PointId>| ids;
    assert_eq!(
        names(found.iter().map(|scored| scored.found.id.clone()).collect()),
        names(expected.iter().take(5).map(|(_, id)| id.clone()).collect())
    );
}

#[test]
fn at_every_call_a_failure_or_a_power_cut_loses_nothing() {
    let dir = FaultDir::new(MemDir::default(), 0);
    run(&dir);
    let calls = dir.calls();
    assert!(calls > 300, "{calls} calls");
    for fault in [Fault::Fail, Fault::PowerCut] {
        for at in 0..calls {
            let when = format!("{fault:?} at call {at}");
            let dir = FaultDir::new(MemDir::default(), at);
            dir.arm(fault, at);
            let left = run(&dir);
            let after = if fault == Fault::PowerCut {
                dir.after_power_cut(at * 31)
            } else {
                dir.memory().clone()
            };
            match open(after) {
                Ok((_database, c)) => left.check(&c, &when),
                Err(error) => panic!("{when}: {error}"),
            }
        }
    }
}

#[test]
fn after_a_failure_power_may_go_as_well() {
    for at in (0..400).step_by(3) {
        let dir = FaultDir::new(MemDir::default(), at);
        dir.arm(Fault::Fail, at);
        let left = run(&dir);
        let when = format!("power cut after a failure at call {at}");
        match open(dir.after_power_cut(at * 17)) {
            Ok((_database, c)) => left.check(&c, &when),
            Err(error) => panic!("{when}: {error}"),
        }
    }
}

#[test]
fn a_second_opener_is_told() {
    let dir = MemDir::default();
    let (_database, _) = open(dir.clone()).unwrap();
    let error = open(dir).unwrap_err();
    assert!(matches!(error, CatalogError::Open(OpenError::Lock(_))), "{error}");
}
