//! One call to the disk fails, or power goes, at every call of a script: what was acknowledged is
//! there, batches are whole or absent, and nothing is wrong.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test file")]

use kvant_db::{Collection, OpenError, Point, PointId, Settings, Tuning, WriteError};
use kvant_index::{Metric, Spec};
use kvant_storage::{Dir, Fault, FaultDir, MemDir};
use kvant_testkit::Random;
use serde_json::json;
use std::collections::BTreeMap;

const DIM: usize = 2;

type Model = BTreeMap<PointId, Point>;

#[derive(Clone, Debug)]
enum Op {
    Upsert(Vec<Point>),
    Delete(Vec<PointId>),
    Flush,
    Compact,
    Reopen,
}

/// A hundred operations, the same every time.
fn script() -> Vec<Op> {
    let mut random = Random::new(42);
    let id = |random: &mut Random| PointId::Number(random.below(40) as u64);
    let op = |at: usize| match at % 20 {
        19 => Op::Compact,
        9 => Op::Flush,
        14 => Op::Reopen,
        4 | 12 => Op::Delete((0..4).map(|_| id(&mut random)).collect()),
        _ => Op::Upsert(
            (0..=random.below(5))
                .map(|_| Point {
                    id: id(&mut random),
                    vector: random.normals(DIM),
                    payload: json!({ "at": at }).as_object().unwrap().clone(),
                })
                .collect(),
        ),
    };
    (0..100).map(op).collect()
}

fn tuning() -> Tuning {
    Tuning { threads: 1, seal_points: 20, ..Tuning::default() }
}

fn open(dir: impl Dir + 'static) -> Result<Collection, OpenError> {
    Collection::open_in(Box::new(dir), tuning())
}

fn create(dir: impl Dir + 'static) -> Result<Collection, OpenError> {
    let settings = Settings::new(Metric::Euclid, DIM, Spec::default());
    Collection::create_in(Box::new(dir), settings, tuning())
}

fn applied(model: &Model, op: &Op) -> Model {
    let mut after = model.clone();
    match op {
        Op::Upsert(points) => after.extend(points.iter().map(|p| (p.id.clone(), p.clone()))),
        Op::Delete(ids) => ids.iter().for_each(|id| drop(after.remove(id))),
        Op::Flush | Op::Compact | Op::Reopen => {}
    }
    after
}

fn contents(c: &Collection) -> Model {
    let ids: Vec<PointId> = c.ids().cloned().collect();
    assert_eq!(ids.len(), c.len());
    ids.into_iter().map(|id| (id.clone(), c.get(&id).unwrap().unwrap())).collect()
}

/// What a run left: the acknowledged state, and the other one it may also be in.
struct Left {
    sure: Model,
    doubt: Option<Model>,
    created: bool,
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
    let mut left = Left { sure: Model::new(), doubt: None, created: false };
    let Ok(mut c) = create(dir.clone()) else { return left };
    left.created = true;
    for op in script() {
        let after = applied(&left.sure, &op);
        let done = match &op {
            Op::Upsert(points) => c.upsert(points.clone()),
            Op::Delete(ids) => c.delete(ids).map(|_| ()),
            Op::Flush => c.flush(),
            Op::Compact => c.compact(),
            Op::Reopen => {
                drop(c);
                let Ok(opened) = open(dir.clone()) else { return left };
                c = opened;
                Ok(())
            }
        };
        if let Err(error) = done {
            // The error says whether the batch is in doubt; memory never shows it.
            assert_eq!(contents(&c), left.sure, "{error}");
            left.doubt = matches!(error, WriteError::Log(_)).then_some(after);
            return left;
        }
        left.sure = after;
    }
    left
}

/// Opens what is there, checks it, writes to it, loses power and opens again.
fn survives(dir: &MemDir, left: &Left, seed: u64, when: &str) {
    let mut c = match open(dir.clone()) {
        Ok(c) => c,
        Err(OpenError::Missing { .. }) if !left.created => create(dir.clone()).unwrap(),
        Err(error) => panic!("{when}: {error}"),
    };
    left.check(&c, when);
    let before = contents(&c);
    let op = Op::Upsert(vec![Point {
        id: PointId::Number(1_000_000),
        vector: vec![0.5; DIM],
        payload: serde_json::Map::new(),
    }]);
    let Op::Upsert(points) = &op else { unreachable!() };
    c.upsert(points.clone()).unwrap();
    drop(c);
    let again = open(dir.after_power_cut(seed)).unwrap();
    assert_eq!(contents(&again), applied(&before, &op), "{when}, and again");
}

fn calls() -> u64 {
    let dir = FaultDir::new(MemDir::default(), 0);
    let left = run(&dir);
    let last = script().iter().fold(Model::new(), |model, op| applied(&model, op));
    assert_eq!(left.sure, last, "the script works without a fault");
    dir.calls()
}

#[test]
fn a_power_cut_at_every_call() {
    let calls = calls();
    assert!(calls > 300, "{calls} calls are no sweep");
    for at in 0..calls {
        let dir = FaultDir::new(MemDir::default(), at);
        dir.arm(Fault::PowerCut, at);
        let left = run(&dir);
        for seed in 0..3 {
            let image = dir.after_power_cut(seed ^ at << 8);
            survives(&image, &left, seed, &format!("power cut at call {at}, seed {seed}"));
        }
    }
}

#[test]
fn a_failure_at_every_call() {
    for at in 0..calls() {
        let dir = FaultDir::new(MemDir::default(), at);
        dir.arm(Fault::Fail, at);
        let left = run(&dir);
        for seed in 0..2 {
            let image = dir.after_power_cut(seed ^ at << 8);
            survives(&image, &left, seed, &format!("failure at call {at}, then power cut {seed}"));
        }
        // The process lives on, or was restarted: what the kernel holds is what it sees.
        survives(dir.memory(), &left, at, &format!("failure at call {at}"));
    }
}

/// A transient failure that left no batch in doubt does not stop the next write.
#[test]
fn after_a_failed_seal_writing_goes_on_or_says_why_not() {
    let (mut went_on, mut stopped) = (0, 0);
    for at in 0..40 {
        let dir = FaultDir::new(MemDir::default(), at);
        let mut c = create(dir.clone()).unwrap();
        let Some(Op::Upsert(points)) = script().into_iter().next() else { panic!("an upsert") };
        c.upsert(points.clone()).unwrap();
        dir.arm(Fault::Fail, at);
        if c.flush().is_ok() {
            continue;
        }
        match c.upsert(points.clone()) {
            Ok(()) => went_on += 1,
            Err(WriteError::Stopped { .. }) => stopped += 1,
            Err(error) => panic!("{error}"),
        }
        assert_eq!(c.len(), points.len());
        drop(c);
        assert_eq!(contents(&open(dir.after_power_cut(at)).unwrap()).len(), points.len());
    }
    assert!(went_on > 0 && stopped > 0, "{went_on} went on, {stopped} stopped");
}
