//! Builds that are ended and begun again.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvant_index::{BuildOptions, FloatRows, Index, IndexSpec, Metric, Stages};
use kvant_storage::Bytes;
use kvant_testkit::{Random, clustered};

const DIM: usize = 6;
/// Saves at the end of a build at each of which it is ended.
const LATE: usize = 8;

/// Parts in memory; a build ends, as one that is killed does, when it has saved as many as `most`.
#[derive(Default)]
struct Parts {
    kept: Mutex<BTreeMap<String, Bytes>>,
    saved: AtomicUsize,
    loaded: AtomicUsize,
    most: Option<usize>,
}

impl Parts {
    fn names(&self) -> Vec<String> {
        self.kept.lock().unwrap().keys().cloned().collect()
    }

    /// The same parts, for a build that is not ended.
    fn left(self) -> Self {
        Self { kept: self.kept, ..Self::default() }
    }
}

impl Stages for Parts {
    fn load(&self, name: &str) -> Option<Bytes> {
        let found = self.kept.lock().unwrap().get(name).cloned();
        self.loaded.fetch_add(usize::from(found.is_some()), Ordering::Relaxed);
        found
    }

    fn is_due(&self) -> bool {
        true
    }

    fn save(&self, name: &str, pieces: &[&[u8]]) {
        if self.most == Some(self.saved.fetch_add(1, Ordering::Relaxed)) {
            resume_unwind(Box::new(()));
        }
        self.kept.lock().unwrap().insert(name.to_owned(), Bytes::from(pieces.concat()));
    }
}

fn data(rows: usize) -> Vec<f32> {
    let mut data = clustered(rows, DIM, 3);
    let mut random = Random::new(8);
    for x in &mut data {
        *x += 0.01 * random.normal();
    }
    data
}

struct Case {
    spec: IndexSpec,
    metric: Metric,
    data: Vec<f32>,
}

impl Case {
    fn new(spec: &str, metric: Metric, rows: usize) -> Self {
        let mut data = data(rows);
        data.chunks_exact_mut(DIM).for_each(|row| metric.prepare(row));
        Self { spec: spec.parse().unwrap(), metric, data }
    }

    fn built(&self, stages: Option<&dyn Stages>, threads: usize) -> Vec<u8> {
        let done = AtomicUsize::new(0);
        let progress = |rows: usize| _ = done.fetch_add(rows, Ordering::Relaxed);
        let rows = FloatRows::new(&self.data, DIM, self.metric);
        let len = self.data.len() / DIM;
        let options = BuildOptions {
            seed: 5,
            threads,
            ef_construction: 24,
            progress: Some(&progress),
            stages,
            ..BuildOptions::default()
        };
        let bytes = Index::build(&self.spec, rows, &options).unwrap().to_bytes();
        // What lists are assigned to again is told again.
        let told = done.into_inner();
        assert!(told == len || stages.is_some_and(|_| told <= len), "{told} of {len} rows told");
        bytes
    }

    /// Ends builds at saves `step` apart and at the last few, goes on, and says which parts there
    /// were.
    fn ended_everywhere(&self, step: usize) -> Vec<String> {
        let expected = self.built(None, 1);
        let all = Parts::default();
        assert!(self.built(Some(&all), 2) == expected, "{}: saving changes nothing", self.spec);
        let saves = all.saved.load(Ordering::Relaxed);
        let late = |most: usize| most + LATE >= saves;
        for most in (0..saves).filter(|&most| most % step == 0 || late(most)) {
            let parts = Parts { most: Some(most), ..Parts::default() };
            let ended = catch_unwind(AssertUnwindSafe(|| self.built(Some(&parts), 2)));
            assert!(ended.is_err(), "{}: ended at save {most}", self.spec);
            let parts = parts.left();
            assert!(self.built(Some(&parts), 1) == expected, "{}: save {most}", self.spec);
            let loaded = parts.loaded.load(Ordering::Relaxed);
            assert!((loaded > 0) == (most > 0), "{}: {loaded} loads after {most}", self.spec);
        }
        all.names()
    }
}

#[test]
fn a_graph_by_walks_goes_on_from_every_batch() {
    for (spec, metric) in [("hnsw4", Metric::Manhattan), ("hnsw8,rq4,rerank8", Metric::Dot)] {
        let names = Case::new(spec, metric, 400).ended_everywhere(1);
        assert!(names.contains(&"graph".to_owned()), "{names:?}");
    }
}

#[test]
fn a_graph_by_leaves_goes_on_from_its_scales_and_between() {
    // Scales of 1,500 and 6,000 rows; the second chooses its links in two pieces.
    let names = Case::new("hnsw16", Metric::Euclid, 6000).ended_everywhere(16);
    assert_eq!(names, ["building", "graph", "links", "near"]);
    let names = Case::new("qg32,rq8", Metric::Cosine, 6000).ended_everywhere(64);
    assert_eq!(names, ["code", "graph", "links", "near"]);
}

#[test]
fn lists_trees_and_tables_go_on_from_every_part() {
    let euclid = |spec, rows| Case::new(spec, Metric::Euclid, rows).ended_everywhere(1);
    assert_eq!(euclid("ivf9", 900), ["means", "shape"]);
    // More rows than centroids are learnt from.
    assert_eq!(euclid("ivf4x2,pq,rerank8", 900), ["assigned", "code", "means", "rerank", "shape"]);
    assert_eq!(euclid("ivf4,rq1,rerank16", 900), ["assigned", "code", "means", "shape"]);
    assert_eq!(euclid("forest7,rq4", 500), ["code", "shape", "trees"]);
    assert_eq!(euclid("lsh5x4,int8", 3000), ["code", "keys", "shape"]);
    assert_eq!(euclid("lshcp5x4", 3000), ["keys", "shape"]);
    assert_eq!(euclid("flat,opq3,rerank8", 500), ["code", "rerank"]);
    assert_eq!(euclid("flat,bound4", 500), ["code"]);
    let dot = Case::new("forest5,sign", Metric::Dot, 500).ended_everywhere(1);
    assert_eq!(dot, ["code", "shape", "trees"]);
}

/// Checksums are the caller's; what does not fit all the same is made again.
#[test]
fn parts_of_something_else_are_made_again() {
    for (spec, rows) in
        [("hnsw16,rq8", 4100), ("hnsw8,pq", 300), ("ivf9x2,rq4", 900), ("forest4", 500)]
    {
        let case = Case::new(spec, Metric::Euclid, rows);
        let expected = case.built(None, 2);
        let other = Parts::default();
        Case::new(spec, Metric::Euclid, rows + 40).built(Some(&other), 2);
        assert!(case.built(Some(&other.left()), 2) == expected, "{spec}: of other rows");
        let whole = Parts::default();
        case.built(Some(&whole), 2);
        for cut in [3, 64] {
            let parts = Parts::default();
            for (name, bytes) in &*whole.kept.lock().unwrap() {
                let cut = bytes.slice(0..cut.min(bytes.len()));
                parts.kept.lock().unwrap().insert(name.clone(), cut);
            }
            assert!(case.built(Some(&parts), 2) == expected, "{spec}: {cut} bytes are left");
            let parts = parts.left();
            for bytes in parts.kept.lock().unwrap().values_mut() {
                *bytes = Bytes::from(vec![0xaa; bytes.len()]);
            }
            assert!(case.built(Some(&parts), 2) == expected, "{spec}: other bytes");
        }
    }
}

#[test]
fn an_identity_tells_builds_apart() {
    let (mut data, spec) = (data(20), "hnsw,rq4".parse().unwrap());
    let line = |data: &[f32], dim, metric, options: &BuildOptions<'_>, spec: &IndexSpec| {
        options.identity(spec, &FloatRows::new(data, dim, metric))
    };
    let usual = BuildOptions::default();
    let own = line(&data, DIM, Metric::Euclid, &usual, &spec);
    let threads = BuildOptions { threads: 7, ..usual };
    assert_eq!(line(&data, DIM, Metric::Euclid, &threads, &spec), own, "the bytes are the same");
    let mut others = vec![
        line(&data, DIM, Metric::Cosine, &usual, &spec),
        line(&data, DIM / 2, Metric::Euclid, &usual, &spec),
        line(&data[DIM..], DIM, Metric::Euclid, &usual, &spec),
        line(&data, DIM, Metric::Euclid, &usual, &"hnsw,rq5".parse().unwrap()),
        line(&data, DIM, Metric::Euclid, &BuildOptions { seed: 1, ..usual }, &spec),
        line(&data, DIM, Metric::Euclid, &BuildOptions { ef_construction: 9, ..usual }, &spec),
        line(&data, DIM, Metric::Euclid, &BuildOptions { training: 9, ..usual }, &spec),
        line(&data, DIM, Metric::Euclid, &BuildOptions { balance: Some(2.0), ..usual }, &spec),
    ];
    data[7] += 1.0;
    others.push(line(&data, DIM, Metric::Euclid, &usual, &spec));
    others.push(own);
    let count = others.len();
    others.sort();
    others.dedup();
    assert_eq!(others.len(), count, "{others:#?}");
}
