//! Searches that are ended early: how much they measure, and what they give.

#![expect(clippy::expect_used, reason = "helpers of a test")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kvant_index::{
    Account, AnyShape, Bitmap, Budget, BuildOptions, Certainty, Effort, FloatRows, FloatScorer,
    Hit, Index, Metric, Row, Rows, Scorer, SearchOptions, Spec,
};
use kvant_testkit::clustered;

const DIM: usize = 24;
const N: usize = 3000;
const SHAPES: [Spec; 2] = [Spec::Flat, Spec::Hnsw { m: 8 }];
const SPECS: [&str; 12] = [
    "flat",
    "flat,int8",
    "flat,bound4",
    "flat,rq4,rerank32",
    "hnsw8",
    "hnsw8,f16",
    "hnsw8,rq1,rerank8",
    "hnsw8,bound2",
    "forest4,int8",
    "lsh8x6,rq1,rerank32",
    "lshcp8x6",
    "qg,int8",
];

fn data() -> (Vec<f32>, Vec<f32>) {
    let mut rows = clustered(N + 20, DIM, 3);
    let queries = rows.split_off(N * DIM);
    (rows, queries)
}

fn build<'a>(spec: &str, rows: &'a [f32]) -> Index<'a> {
    let spec = spec.parse().expect("a name");
    let rows = FloatRows::new(rows, DIM, Metric::Euclid);
    Index::build(&spec, rows, &BuildOptions::default()).expect("finite rows")
}

fn within(budget: Budget<'_>) -> SearchOptions<'_> {
    SearchOptions { budget, ..SearchOptions::default() }
}

fn distances(count: usize) -> Budget<'static> {
    Budget { distances: Some(count), ..Budget::default() }
}

/// Rows that remember which of them were measured for a query.
struct Counted<'a> {
    rows: FloatRows<'a>,
    met: Mutex<Bitmap>,
}

struct CountedScorer<'a>(FloatScorer<'a>, Option<&'a Mutex<Bitmap>>);

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
        CountedScorer(self.rows.scorer(query), Some(&self.met))
    }

    fn scorer_of(&self, row: Row) -> CountedScorer<'_> {
        CountedScorer(self.rows.scorer_of(row), None)
    }
}

impl Scorer for CountedScorer<'_> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        if let Some(met) = self.1 {
            let mut met = met.lock().expect("no other thread panicked");
            for &row in rows {
                met.insert(row);
            }
        }
        self.0.score(rows, out);
    }
}

#[test]
fn no_more_rows_are_measured_than_the_budget_says() {
    let (rows, queries) = data();
    let mut allowed = Bitmap::new(N);
    for row in (0..N as u32).step_by(2) {
        allowed.insert(Row(row));
    }
    for spec in SHAPES {
        let counted = Counted {
            rows: FloatRows::new(&rows, DIM, Metric::Euclid),
            met: Mutex::new(Bitmap::new(N)),
        };
        let shape = AnyShape::build(&spec, &counted, &BuildOptions::default());
        for allowed in [None, Some(&allowed)] {
            for budget in [0, 1, 2, 30, 255, 256, 257, 900, N] {
                let options = SearchOptions { allowed, ..within(distances(budget)) };
                for query in queries.chunks_exact(DIM) {
                    *counted.met.lock().unwrap() = Bitmap::new(N);
                    let account = Account::new(&options.budget);
                    let hits = shape.search_within(&counted, query, &options, &account);
                    let met = counted.met.lock().unwrap();
                    assert!(met.count() <= budget, "{spec} {budget}: {}", met.count());
                    assert!(hits.iter().all(|hit| met.contains(hit.row)), "{spec} {budget}");
                    assert!(account.is_cut() || hits.len() == 10, "{spec} {budget}");
                }
            }
        }
    }
}

/// A cut scan is a scan of the first rows; what a walk kept is in order and without doubles.
#[test]
fn the_best_found_so_far_comes_back_in_order() {
    let (rows, queries) = data();
    for spec in SPECS {
        let index = build(spec, &rows);
        for budget in [0, 1, 40, 300, 1000] {
            let options = within(distances(budget));
            for query in queries.chunks_exact(DIM) {
                let found = index.search(query, &options).unwrap();
                let full = index.search(query, &SearchOptions::default()).unwrap();
                let rising = |w: &[Hit]| w[0].distance <= w[1].distance && w[0].row != w[1].row;
                assert!(found.hits.windows(2).all(rising), "{spec} {budget}");
                assert!(found.hits.len() <= 10, "{spec} {budget}");
                if found.certainty == Certainty::Truncated {
                    let first = found.hits.first().map_or(f32::INFINITY, |hit| hit.distance);
                    assert!(first >= full.hits[0].distance, "{spec} {budget}");
                } else {
                    assert_eq!(found, full, "{spec} {budget}");
                }
                if spec == "flat" {
                    assert_eq!(found.certainty, Certainty::Truncated);
                    let few = build(spec, &rows[..budget * DIM]);
                    let few = few.search(query, &SearchOptions::default()).unwrap();
                    assert_eq!(found.hits, few.hits, "{budget}");
                }
            }
        }
    }
}

#[test]
fn a_budget_that_is_not_used_up_changes_nothing() {
    let (rows, queries) = data();
    let flag = AtomicBool::new(false);
    let budget = Budget {
        distances: Some(N),
        deadline: Some(Instant::now() + Duration::from_hours(1)),
        cancel: Some(&flag),
    };
    for spec in SPECS {
        let index = build(spec, &rows);
        for effort in [Effort::Default, Effort::Exact] {
            let free = SearchOptions { effort, ..SearchOptions::default() };
            let bound = SearchOptions { effort, ..within(budget) };
            let query = &queries[..DIM];
            assert_eq!(index.search(query, &bound), index.search(query, &free), "{spec}");
            let all = |options| index.search_batch(&queries, options, 2);
            assert_eq!(all(&bound), all(&free), "{spec}");
            assert_eq!(index.range(query, 9.0, &bound), index.range(query, 9.0, &free), "{spec}");
        }
    }
}

#[test]
fn a_flag_or_a_deadline_ends_everything() {
    let (rows, queries) = data();
    let flag = AtomicBool::new(false);
    let budgets = [
        Budget { cancel: Some(&flag), ..Budget::default() },
        Budget { deadline: Some(Instant::now()), ..Budget::default() },
    ];
    for spec in SPECS {
        let index = build(spec, &rows);
        for budget in budgets {
            flag.store(true, Ordering::Relaxed);
            let options = within(budget);
            let found = index.search(&queries[..DIM], &options).unwrap();
            assert_eq!((found.hits.len(), found.certainty), (0, Certainty::Truncated), "{spec}");
            for result in index.search_batch(&queries, &options, 2).unwrap() {
                assert_eq!((result.hits.len(), result.certainty), (0, Certainty::Truncated));
            }
            let near = index.range(&queries[..DIM], 1e9, &options).unwrap();
            assert_eq!((near.hits.len(), near.certainty), (0, Certainty::Truncated), "{spec}");
            flag.store(false, Ordering::Relaxed);
        }
        let options = within(budgets[0]);
        let found = index.search(&queries[..DIM], &options).unwrap();
        assert!(found.hits.len() == 10 && found.certainty != Certainty::Truncated, "{spec}");
    }
}

/// Every query of a batch has the whole budget, whichever thread searches.
#[test]
fn a_batch_is_its_queries_each_with_its_own_budget() {
    let (rows, queries) = data();
    for spec in SPECS {
        let index = build(spec, &rows);
        for effort in [Effort::Default, Effort::Exact] {
            let options = SearchOptions { effort, ..within(distances(500)) };
            let one: Vec<_> =
                queries.chunks_exact(DIM).map(|q| index.search(q, &options).unwrap()).collect();
            for threads in [1, 3] {
                assert_eq!(index.search_batch(&queries, &options, threads).unwrap(), one, "{spec}");
            }
            let exact = effort == Effort::Exact;
            let cut = |found: &kvant_index::SearchResult| found.certainty == Certainty::Truncated;
            assert!(!exact || one.iter().all(cut), "{spec}");
        }
    }
}

/// Allowed rows alone are counted, and a cut range holds what was near among the first.
#[test]
fn ranges_and_filters_count_allowed_rows() {
    let (rows, queries) = data();
    let mut last = Bitmap::new(N);
    for row in N as u32 - 50..N as u32 {
        last.insert(Row(row));
    }
    for spec in ["flat", "flat,bound4", "flat,int8,rerank16"] {
        let index = build(spec, &rows);
        let options = SearchOptions { allowed: Some(&last), ..within(distances(50)) };
        let found = index.search(&queries[..DIM], &options).unwrap();
        assert!(found.hits.len() == 10 && found.certainty != Certainty::Truncated, "{spec}");
        let options = within(distances(70));
        let near = index.range(&queries[..DIM], f32::INFINITY, &options).unwrap();
        assert_eq!((near.hits.len(), near.certainty), (70, Certainty::Truncated), "{spec}");
        assert!(near.hits.iter().all(|hit| hit.row.0 < 70), "{spec}");
    }
}
