//! One suite for every shape over every metric, against brute force in f64.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvant_index::{
    AnyShape, Bitmap, BuildOptions, Effort, Family, FloatRows, FloatScorer, Hit, Metric, Row, Rows,
    Scorer, SearchOptions, Spec, Spill,
};
use kvant_testkit::{Random, clustered};

const DIM: usize = 24;
const QUERIES: usize = 50;
/// Rows of most sets: enough that searches of default effort walk the graph; with 8 links also
/// behind a filter that halves the rows.
const N: usize = 5000;
/// What a search of default effort must find of the true neighbours, here and on text embeddings.
const RECALL_FLOOR: f64 = 0.95;

const SPECS: [Spec; 10] = [
    Spec::Flat,
    Spec::Hnsw { m: 16 },
    Spec::Hnsw { m: 8 },
    Spec::Ivf { lists: 0, spill: Spill::One },
    Spec::Ivf { lists: 100, spill: Spill::Two },
    Spec::Forest { trees: 32 },
    Spec::Forest { trees: 12 },
    Spec::Lsh { family: Family::Planes, tables: 0, bits: 0 },
    Spec::Lsh { family: Family::Polytopes, tables: 20, bits: 9 },
    Spec::Qg { links: 32 },
];

/// Rows and queries of one distribution, prepared for a metric.
struct Set {
    metric: Metric,
    rows: Vec<f32>,
    queries: Vec<f32>,
    /// The distances of every row to each query, computed when first asked for.
    truth: OnceLock<Vec<Vec<Distance>>>,
}

/// A distance in f64, and how far an f32 sum may be off it.
#[derive(Clone, Copy)]
struct Distance {
    value: f64,
    bound: f64,
}

impl Set {
    fn new(metric: Metric, rows: Vec<f32>, queries: Vec<f32>) -> Self {
        Self { metric, rows, queries, truth: OnceLock::new() }
    }

    /// Clusters; for the inner product of very different norms, which is the hard case there.
    fn clusters(n: usize, metric: Metric) -> Self {
        let mut data = clustered(n + QUERIES, DIM, 7);
        let mut random = Random::new(8);
        for vector in data.chunks_exact_mut(DIM) {
            metric.prepare(vector);
            let scale = if metric == Metric::Dot { (0.5 * random.normal()).exp() } else { 1.0 };
            for x in vector {
                *x *= scale;
            }
        }
        let queries = data.split_off(n * DIM);
        Self::new(metric, data, queries)
    }

    fn rows(&self) -> FloatRows<'_> {
        FloatRows::new(&self.rows, DIM, self.metric)
    }

    fn build(&self, spec: Spec) -> AnyShape {
        let options = BuildOptions { threads: 2, seed: 3, ..BuildOptions::default() };
        AnyShape::build(&spec, &self.rows(), &options)
    }

    fn query(&self, at: usize) -> &[f32] {
        &self.queries[at * DIM..][..DIM]
    }

    fn search(&self, at: usize, shape: &AnyShape, options: &SearchOptions<'_>) -> Vec<Hit> {
        shape.search(&self.rows(), self.query(at), options)
    }

    fn truth(&self, at: usize) -> &[Distance] {
        let all = |query| self.rows.chunks_exact(DIM).map(move |row| self.distance(query, row));
        &self.truth.get_or_init(|| {
            self.queries.chunks_exact(DIM).map(|query| all(query).collect()).collect()
        })[at]
    }

    /// The bound is 1e-5 of the sum of the magnitudes of the terms: 84 units in the last place,
    /// where sums of 24 terms are off by 24 at most; the rest is for unit rows that were rounded.
    fn distance(&self, query: &[f32], row: &[f32]) -> Distance {
        let pairs = || query.iter().zip(row).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let dot: f64 = pairs().map(|(a, b)| a * b).sum();
        let (value, size) = match self.metric {
            Metric::Cosine => {
                let norm = pairs().map(|(a, _)| a * a).sum::<f64>().sqrt();
                (if norm > 0.0 { 1.0 - dot / norm } else { 1.0 }, 2.0)
            }
            Metric::Dot => (-dot, pairs().map(|(a, b)| (a * b).abs()).sum()),
            Metric::Euclid => {
                let sum = pairs().map(|(a, b)| (a - b) * (a - b)).sum();
                (sum, sum)
            }
            Metric::Manhattan => {
                let sum = pairs().map(|(a, b)| (a - b).abs()).sum();
                (sum, sum)
            }
        };
        Distance { value, bound: 1e-5 * size }
    }
}

/// Checks everything but recall of one answer, and returns the share of true neighbours in it. A
/// row as close as the k-th true one is a true one: ties have no order.
fn judge(set: &Set, at: usize, options: &SearchOptions<'_>, hits: &[Hit]) -> f64 {
    let truth = set.truth(at);
    let allowed = |row: usize| options.allowed.is_none_or(|set| set.contains(Row(row as u32)));
    let mut ranked: Vec<Distance> =
        (0..truth.len()).filter(|&row| allowed(row)).map(|row| truth[row]).collect();
    ranked.sort_by(|a, b| a.value.total_cmp(&b.value));
    let k = options.k.min(ranked.len());
    assert_eq!(hits.len(), k, "as many as there are, up to k");
    for pair in hits.windows(2) {
        assert!(pair[0].distance <= pair[1].distance, "closest first");
    }
    let mut seen: Vec<Row> = hits.iter().map(|hit| hit.row).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), k, "no row twice");
    for hit in hits {
        let Distance { value, bound } = truth[hit.row.position()];
        assert!(allowed(hit.row.position()), "{} is not allowed", hit.row);
        assert!((f64::from(hit.distance) - value).abs() <= bound, "{hit:?}, not {value}");
    }
    if k == 0 {
        return 1.0;
    }
    let last = ranked[k - 1].value + ranked[k - 1].bound;
    let found = hits.iter().filter(|hit| truth[hit.row.position()].value <= last).count();
    found as f64 / k as f64
}

/// Mean recall over all queries.
fn recall(set: &Set, shape: &AnyShape, options: &SearchOptions<'_>) -> f64 {
    let each = |at| judge(set, at, options, &set.search(at, shape, options));
    (0..QUERIES).map(each).sum::<f64>() / QUERIES as f64
}

fn every_shape(set: &Set, check: impl Fn(&Set, &AnyShape, &str)) {
    for spec in SPECS {
        check(set, &set.build(spec), &format!("{spec} {}", set.metric));
    }
}

fn share(n: usize, one_in: usize) -> Bitmap {
    let mut random = Random::new(9);
    let mut allowed = Bitmap::new(n);
    for row in 0..n as u32 {
        if random.below(one_in) == 0 {
            allowed.insert(Row(row));
        }
    }
    allowed
}

#[test]
fn default_effort_finds_the_neighbours() {
    for metric in Metric::ALL {
        every_shape(&Set::clusters(N, metric), |set, shape, name| {
            for k in [1, 10, 50] {
                let options = SearchOptions { k, ..SearchOptions::default() };
                let found = recall(set, shape, &options);
                assert!(found >= RECALL_FLOOR, "{name}, k {k}: recall {found}");
                let exact = SearchOptions { effort: Effort::Exact, ..options };
                assert_eq!(recall(set, shape, &exact), 1.0, "{name}, exact");
            }
        });
    }
}

#[test]
fn filters_are_obeyed_and_cost_no_recall() {
    for metric in Metric::ALL {
        every_shape(&Set::clusters(N, metric), |set, shape, name| {
            for one_in in [1, 2, 3, 5, 20, 500, N] {
                let allowed = share(N, one_in);
                let options = SearchOptions { allowed: Some(&allowed), ..SearchOptions::default() };
                let found = recall(set, shape, &options);
                assert!(found >= RECALL_FLOOR, "{name}, 1 in {one_in}: recall {found}");
            }
            let none = Bitmap::new(N);
            let options = SearchOptions { allowed: Some(&none), ..SearchOptions::default() };
            assert_eq!(recall(set, shape, &options), 1.0);
        });
    }
}

/// A filter that allows only what is far away leads every walk through rows it may not return.
#[test]
fn filters_against_the_query_cost_no_recall() {
    for metric in Metric::ALL {
        every_shape(&Set::clusters(N, metric), |set, shape, name| {
            let mut sum = 0.0;
            for at in 0..QUERIES {
                let truth = set.truth(at);
                let mut ranked: Vec<usize> = (0..N).collect();
                ranked.sort_by(|&a, &b| truth[a].value.total_cmp(&truth[b].value));
                let mut allowed = Bitmap::full(N);
                for &row in &ranked[..N / 2] {
                    allowed.remove(Row(row as u32));
                }
                let options = SearchOptions { allowed: Some(&allowed), ..SearchOptions::default() };
                sum += judge(set, at, &options, &set.search(at, shape, &options));
            }
            let found = sum / QUERIES as f64;
            assert!(found >= RECALL_FLOOR, "{name}: recall {found}");
        });
    }
}

#[test]
fn any_k_on_any_number_of_rows() {
    for metric in Metric::ALL {
        for n in [0, 1, 2, 3, 5, 17, 64, 300] {
            every_shape(&Set::clusters(n, metric), |set, shape, name| {
                assert_eq!((shape.len(), shape.is_empty()), (n, n == 0), "{name}");
                for k in [0, 1, 2, n.saturating_sub(1), n, n + 1, usize::MAX] {
                    for effort in [Effort::Default, Effort::Ef(0), Effort::Ef(usize::MAX)] {
                        let options = SearchOptions { k, effort, ..SearchOptions::default() };
                        let found = recall(set, shape, &options);
                        assert!(found >= RECALL_FLOOR || k < 10, "{name}, n {n}, k {k}: {found}");
                    }
                }
            });
        }
    }
}

/// Equal rows are all at one distance from one another: pruning by distance alone either keeps
/// only them, and walks never leave, or drops them, and walks never arrive.
#[test]
fn equal_rows_are_found_and_hide_nothing() {
    for metric in Metric::ALL {
        for equal in [2, 6] {
            let mut set = Set::clusters(N, metric);
            // Rows in groups: one in `equal` stays, the others become one and the same row.
            let same = set.rows[..DIM].to_vec();
            for (at, row) in set.rows.chunks_exact_mut(DIM).enumerate() {
                if at % equal != 0 {
                    row.copy_from_slice(&same);
                }
            }
            set.queries[..DIM].copy_from_slice(&same);
            every_shape(&set, |set, shape, name| {
                let options = SearchOptions::default();
                let found = recall(set, shape, &options);
                assert!(found >= RECALL_FLOOR, "{name}, equal {equal}: recall {found}");
                let hits = set.search(0, shape, &options);
                assert_eq!(judge(set, 0, &options, &hits), 1.0, "{name}: not one is missed");
            });
        }
    }
}

#[test]
fn nothing_but_equal_rows_is_searchable() {
    for metric in Metric::ALL {
        for value in [0.0, 0.25] {
            let rows = vec![value; 3000 * DIM];
            let queries = vec![value; QUERIES * DIM];
            every_shape(&Set::new(metric, rows, queries), |set, shape, name| {
                assert_eq!(recall(set, shape, &SearchOptions::default()), 1.0, "{name}");
            });
        }
    }
}

/// Rows as collections often arrive: one cluster after the other.
#[test]
fn rows_in_sorted_order_cost_no_recall() {
    let mut set = Set::clusters(N, Metric::Euclid);
    let mut rows: Vec<&[f32]> = set.rows.chunks_exact(DIM).collect();
    rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
    set.rows = rows.concat();
    every_shape(&set, |set, shape, name| {
        let found = recall(set, shape, &SearchOptions::default());
        assert!(found >= RECALL_FLOOR, "{name}: recall {found}");
    });
}

#[test]
fn what_is_no_number_is_last_and_breaks_nothing() {
    let mut set = Set::clusters(3000, Metric::Euclid);
    set.rows[DIM * 5] = f32::NAN;
    set.rows[DIM * 6] = f32::INFINITY;
    every_shape(&set, |set, shape, name| {
        let rows = set.rows();
        let options = SearchOptions { k: 3000, ..SearchOptions::default() };
        let hits = shape.search(&rows, &set.queries[..DIM], &options);
        assert_eq!(hits.len(), 3000, "{name}");
        assert_eq!(hits[2998].row, Row(6), "{name}: infinity before NaN");
        assert!(hits[2999].row == Row(5) && hits[2999].distance.is_nan(), "{name}");
        let hits = shape.search(&rows, &[f32::NAN; DIM], &SearchOptions::default());
        assert_eq!(hits.len(), 10, "{name}: a query of NaN");
    });
}

#[test]
fn bytes_bring_back_the_same_shape() {
    for metric in Metric::ALL {
        for n in [0, 1, 2000] {
            every_shape(&Set::clusters(n, metric), |set, shape, name| {
                let bytes = shape.to_bytes();
                let read = AnyShape::from_bytes(&bytes, n).unwrap();
                assert_eq!((read.len(), read.spec()), (n, shape.spec()), "{name}");
                assert_eq!(read.to_bytes(), bytes, "{name}");
                let options = SearchOptions::default();
                for at in 0..QUERIES {
                    let expected = set.search(at, shape, &options);
                    assert_eq!(set.search(at, &read, &options), expected, "{name}");
                }
            });
        }
    }
}

#[test]
fn one_seed_gives_one_graph_for_any_number_of_threads() {
    let set = Set::clusters(3000, Metric::Dot);
    for spec in SPECS {
        let bytes = |seed, threads| {
            let options = BuildOptions { seed, threads, ..BuildOptions::default() };
            AnyShape::build(&spec, &set.rows(), &options).to_bytes()
        };
        let one = bytes(1, 1);
        for threads in [0, 2, 3] {
            assert!(bytes(1, threads) == one, "{spec}: {threads} threads");
        }
        assert!((bytes(2, 1) == one) == (spec == Spec::Flat), "{spec}: another seed");
    }
}

#[test]
fn progress_adds_up() {
    for n in [0, 1, 777] {
        let set = Set::clusters(n, Metric::Cosine);
        for spec in SPECS {
            let done = AtomicUsize::new(0);
            let progress = |rows| {
                done.fetch_add(rows, Ordering::Relaxed);
            };
            let options = BuildOptions { progress: Some(&progress), ..BuildOptions::default() };
            AnyShape::build(&spec, &set.rows(), &options);
            assert_eq!(done.into_inner(), n, "{spec}");
        }
    }
}

/// Rows that count the distances asked of them.
struct Counted<'a> {
    rows: FloatRows<'a>,
    measured: AtomicUsize,
}

struct CountedScorer<'a> {
    scorer: FloatScorer<'a>,
    measured: &'a AtomicUsize,
}

impl Rows for Counted<'_> {
    type Query = [f32];
    type Scorer<'q>
        = CountedScorer<'q>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn scorer<'q>(&'q self, query: &'q [f32]) -> CountedScorer<'q> {
        CountedScorer { scorer: self.rows.scorer(query), measured: &self.measured }
    }

    fn scorer_of(&self, row: Row) -> CountedScorer<'_> {
        CountedScorer { scorer: self.rows.scorer_of(row), measured: &self.measured }
    }
}

impl Scorer for CountedScorer<'_> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        self.measured.fetch_add(rows.len(), Ordering::Relaxed);
        self.scorer.score(rows, out);
    }
}

/// A walk that pays for itself, and a filter that never makes a search cost more than twice the
/// measuring of every allowed row (plus the descent, here well below 500).
#[test]
fn searches_measure_few_rows() {
    let n = 12_000;
    for metric in Metric::ALL {
        let set = Set::clusters(n, metric);
        let shape = set.build(Spec::default());
        let counted = Counted { rows: set.rows(), measured: AtomicUsize::new(0) };
        for one_in in [1, 2, 3, 4, 10, 100] {
            let allowed = share(n, one_in);
            let options = SearchOptions { allowed: Some(&allowed), ..SearchOptions::default() };
            for at in 0..QUERIES {
                let before = counted.measured.load(Ordering::Relaxed);
                assert_eq!(shape.search(&counted, set.query(at), &options).len(), 10);
                let cost = counted.measured.load(Ordering::Relaxed) - before;
                assert!(cost <= 2 * allowed.count() + 500, "{metric}, 1 in {one_in}: {cost}");
            }
            let mean = counted.measured.swap(0, Ordering::Relaxed) / QUERIES;
            assert!(one_in > 1 || mean < n / 6, "{metric}: {mean} rows a search");
        }
    }
}
