//! Scores by examples against their definitions in f64, scans and walks against all scores.

use kvant_testkit::{Random, clustered};

use super::*;
use crate::{Bitmap, Budget, BuildOptions, Certainty, Flat, FloatRows, MultiRows, Sparse};
use crate::{SparseRows, Stored};

const DIM: usize = 16;
const N: usize = 8000;

fn prepared(metric: Metric, n: usize, seed: u64) -> Vec<f32> {
    let mut data = clustered(n, DIM, seed);
    data.chunks_exact_mut(DIM).for_each(|vector| metric.prepare(vector));
    data
}

fn similarity(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    let dot: f64 = pairs().map(|(a, b)| a * b).sum();
    let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    match metric {
        Metric::Cosine => dot / norm(a) / norm(b),
        Metric::Dot => dot,
        Metric::Euclid => -pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>(),
        Metric::Manhattan => -pairs().map(|(a, b)| (a - b).abs()).sum::<f64>(),
    }
}

fn sigmoid(x: f64) -> f64 {
    0.5 * (x / (1.0 + x.abs()) + 1.0)
}

/// The definitions.
fn slow(examples: &Examples, s: impl Fn(&[f32]) -> f64) -> f64 {
    let most = |all: &[Vec<f32>]| all.iter().map(|v| s(v)).fold(f64::NEG_INFINITY, f64::max);
    match examples {
        Examples::Best { positive, negative } => {
            let (near, far) = (most(positive), most(negative));
            if near > far { sigmoid(near) } else { -sigmoid(far) }
        }
        Examples::Sum { positive, negative } => {
            let sum = |all: &[Vec<f32>]| all.iter().map(|v| s(v)).sum::<f64>();
            sum(positive) - sum(negative)
        }
        Examples::Discover { target, context } => {
            let side = |(p, n): &(Vec<f32>, Vec<f32>)| if s(p) > s(n) { 1.0 } else { -1.0 };
            context.iter().map(side).sum::<f64>() + sigmoid(s(target))
        }
        Examples::Context { context } => {
            let loss = |(p, n): &(Vec<f32>, Vec<f32>)| {
                let apart = (s(p) - s(n) - f64::from(f32::EPSILON)).min(0.0);
                apart / (1.0 + apart.abs())
            };
            context.iter().map(loss).sum()
        }
        Examples::Weighted(terms) => terms.iter().map(|(v, w)| f64::from(*w) * s(v)).sum(),
    }
}

/// Every combination, of vectors `vector` draws.
fn kinds(mut vector: impl FnMut() -> Vec<f32>) -> Vec<Examples> {
    let mut some = |count: usize| (0..count).map(|_| vector()).collect::<Vec<_>>();
    let mut all = Vec::new();
    for (near, far) in [(2, 2), (3, 0), (1, 1), (0, 2)] {
        all.push(Examples::Best { positive: some(near), negative: some(far) });
        all.push(Examples::Sum { positive: some(near), negative: some(far) });
    }
    for pairs in [0, 1, 3] {
        let context: Vec<_> = some(pairs).into_iter().zip(some(pairs)).collect();
        let [target] = some(1).try_into().unwrap();
        all.push(Examples::Discover { target, context: context.clone() });
        if pairs > 0 {
            all.push(Examples::Context { context });
        }
    }
    all.push(Examples::Weighted(some(3).into_iter().zip([1.0, 0.5, -0.25]).collect()));
    all
}

/// The share of `hits` that are among the best `k` allowed rows, having checked scores and order.
fn judge(
    (metric, data, examples): (Metric, &[f32], &Examples),
    options: &SearchOptions<'_>,
    hits: &[Hit],
) -> f64 {
    let allowed = |row: &usize| options.allowed.is_none_or(|set| set.contains(Row(*row as u32)));
    let score = |row: usize| slow(examples, |v| similarity(metric, v, &data[row * DIM..][..DIM]));
    let mut all: Vec<f64> = (0..data.len() / DIM).filter(allowed).map(score).collect();
    all.sort_by(|a, b| b.total_cmp(a));
    let k = options.k.min(all.len());
    assert_eq!(hits.len(), k);
    assert!(hits.windows(2).all(|pair| pair[0].distance <= pair[1].distance), "best first");
    for hit in hits {
        let expected = score(hit.row.position());
        assert!(allowed(&hit.row.position()));
        let off = (f64::from(-hit.distance) - expected).abs();
        // Signs may differ where a row is as near to both of a pair as f32 tells.
        assert!(off < 2e-4 * (1.0 + expected.abs()), "{examples:?}: {hit:?}, not {expected}");
    }
    let last = all[k - 1] - 2e-4 * (1.0 + all[k - 1].abs());
    hits.iter().filter(|hit| score(hit.row.position()) >= last).count() as f64 / k as f64
}

#[test]
fn scans_find_the_best_scores() {
    for metric in Metric::ALL {
        let data = prepared(metric, 1200, 3);
        let rows = FloatRows::new(&data[200 * DIM..], DIM, metric);
        let index = Index::build(&"flat".parse().unwrap(), rows, &BuildOptions::default()).unwrap();
        let mut random = Random::new(1);
        let few = Bitmap::of(1000, |row| row.0 % 7 == 3);
        for examples in kinds(|| data[random.below(200) * DIM..][..DIM].to_vec()) {
            for allowed in [None, Some(&few)] {
                let options = SearchOptions { allowed, ..SearchOptions::default() };
                let found = index.search_examples(&examples, &options).unwrap();
                assert_eq!(found.certainty, Certainty::Exact);
                let set = (metric, &data[200 * DIM..], &examples);
                assert_eq!(judge(set, &options, &found.hits), 1.0, "{metric} {examples:?}");
            }
        }
    }
}

#[test]
fn walks_find_nearly_all_of_them() {
    for (metric, spec) in [
        (Metric::Cosine, "hnsw16"),
        (Metric::Euclid, "hnsw16,rq8,rerank32"),
        (Metric::Dot, "hnsw16,int8,rerank32"),
        (Metric::Cosine, "qg32"),
    ] {
        let data = prepared(metric, N + 500, 7);
        let (queries, data) = data.split_at(500 * DIM);
        let rows = FloatRows::new(data, DIM, metric);
        let index = Index::build(&spec.parse().unwrap(), rows, &BuildOptions::default()).unwrap();
        let half = Bitmap::of(N, |row| row.0 % 2 == 0);
        let mut random = Random::new(2);
        let mut sums = vec![(0.0, 0); kinds(|| vec![0.0; DIM]).len()];
        for _ in 0..8 {
            let drawn = kinds(|| queries[random.below(500) * DIM..][..DIM].to_vec());
            for (sum, examples) in sums.iter_mut().zip(drawn) {
                for allowed in [None, Some(&half)] {
                    let options = SearchOptions { allowed, ..SearchOptions::default() };
                    let found = index.search_examples(&examples, &options).unwrap();
                    assert_eq!(found.certainty, Certainty::Bounded);
                    sum.0 += judge((metric, data, &examples), &options, &found.hits);
                    sum.1 += 1;
                }
            }
        }
        for (kind, (sum, count)) in sums.iter().enumerate() {
            let recall = sum / f64::from(*count);
            assert!(recall >= 0.9, "{metric} {spec}, kind {kind}: {recall}");
        }
        let mean = sums.iter().map(|(sum, count)| sum / f64::from(*count)).sum::<f64>();
        assert!(mean / sums.len() as f64 >= 0.95, "{metric} {spec}: {sums:?}");
    }
}

#[test]
fn other_shapes_and_exact_efforts_measure_everything() {
    let metric = Metric::Euclid;
    let data = prepared(metric, 3100, 9);
    let (queries, data) = data.split_at(100 * DIM);
    for spec in ["ivf20,int8,rerank32", "forest4", "lsh4x6", "hnsw8,rq4,rerank32"] {
        let rows = FloatRows::new(data, DIM, metric);
        let index = Index::build(&spec.parse().unwrap(), rows, &BuildOptions::default()).unwrap();
        let bytes = index.to_bytes();
        let stored = Stored::open(bytes.into(), "x".as_ref(), crate::Check::Opened).unwrap();
        let again = stored.index().unwrap();
        let mut random = Random::new(3);
        for examples in kinds(|| queries[random.below(100) * DIM..][..DIM].to_vec()) {
            let exact = SearchOptions { effort: Effort::Exact, ..SearchOptions::default() };
            let found = index.search_examples(&examples, &exact).unwrap();
            assert_eq!(found.certainty, Certainty::Exact, "{spec}");
            assert_eq!(judge((metric, data, &examples), &exact, &found.hits), 1.0, "{spec}");
            assert_eq!(again.search_examples(&examples, &exact).unwrap(), found);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_budgets_end_it() {
    let data = prepared(Metric::Cosine, 500, 1);
    let rows = FloatRows::new(&data, DIM, Metric::Cosine);
    let index = Index::build(&"flat".parse().unwrap(), rows, &BuildOptions::default()).unwrap();
    let options = SearchOptions::default();
    let best = |positive| Examples::Best { positive, negative: vec![] };
    let refused = |examples, options| index.search_examples(&examples, &options).unwrap_err();
    let none = SearchError::Dimension { expected: DIM, got: 0 };
    assert_eq!(refused(best(vec![]), options), none);
    let short = SearchError::Dimension { expected: DIM, got: 1 };
    assert_eq!(refused(best(vec![vec![1.0; DIM], vec![1.0]]), options), short);
    assert_eq!(refused(best(vec![vec![f32::NAN; DIM]]), options), SearchError::NotFinite { at: 0 });
    let nothing = SearchOptions { k: 0, ..options };
    assert_eq!(refused(best(vec![vec![1.0; DIM]]), nothing), SearchError::Nothing);
    let budget = Budget { distances: Some(100), ..Budget::default() };
    let options = SearchOptions { budget, ..options };
    let found = index.search_examples(&best(vec![data[..DIM].to_vec()]), &options).unwrap();
    assert_eq!((found.certainty, found.hits[0].row), (Certainty::Truncated, Row(0)));
    assert!(found.hits.iter().all(|hit| hit.row.0 < 100));
}

#[test]
fn what_is_no_number_is_last() {
    let mut data = prepared(Metric::Euclid, 50, 2);
    data[7 * DIM] = f32::NAN;
    data[8 * DIM] = f32::INFINITY;
    let rows = FloatRows::new(&data, DIM, Metric::Euclid);
    let mut random = Random::new(6);
    for examples in kinds(|| random.normals(DIM)) {
        let over = ExampleRows::<_, Vec<f32>>::new(&rows, |_| 0.0);
        let options = SearchOptions { k: 50, ..SearchOptions::default() };
        let hits = Flat::new(50).search(&over, &examples, &options);
        assert!(hits.iter().filter(|hit| !hit.distance.is_nan()).count() >= 48, "{examples:?}");
        assert!(hits[49].distance.is_nan(), "{examples:?}: {:?}", hits[49]);
    }
}

#[test]
fn sparse_and_multiple_vectors_have_examples_too() {
    let mut random = Random::new(8);
    let mut draw = || {
        let pairs = (0..30).filter(|at| at % 2 == 0).map(|at| (at, random.normal())).collect();
        Sparse::new(pairs).unwrap()
    };
    let all: Vec<Sparse> = (0..100).map(|_| draw()).collect();
    let rows: SparseRows = all.iter().cloned().collect();
    let over = ExampleRows::<_, Sparse>::new(&rows, |_| 0.0);
    let examples = Examples::Sum { positive: vec![draw(), draw()], negative: vec![draw()] };
    let hits = Flat::new(100).search(&over, &examples, &SearchOptions::default());
    let score = |row: &Sparse| {
        let dot = |v: &Sparse| v.values().iter().zip(row.values()).map(|(a, b)| a * b).sum::<f32>();
        let [a, b, c] = examples.vectors().try_into().unwrap();
        dot(a) + dot(b) - dot(c)
    };
    let best = all.iter().map(score).fold(f32::MIN, f32::max);
    assert!((best + hits[0].distance).abs() < 1e-4, "{best} {hits:?}");

    let data = prepared(Metric::Cosine, 60, 4);
    let rows = FloatRows::new(&data, DIM, Metric::Cosine);
    let rows = MultiRows::new(rows, &[3; 20]).unwrap();
    let over = ExampleRows::<_, Vec<Vec<f32>>>::new(&rows, |query: &[Vec<f32>]| query.len() as f32);
    let own = |at: usize| data.chunks_exact(DIM).skip(3 * at).take(3).map(<[f32]>::to_vec);
    let positive = vec![own(4).collect::<Vec<_>>(), own(9).collect()];
    let examples = Examples::Best { positive, negative: vec![own(4).collect()] };
    let all = SearchOptions { k: 20, ..SearchOptions::default() };
    let hits = Flat::new(20).search(&over, &examples, &all);
    assert_eq!((hits[0].row, hits[19].row), (Row(9), Row(4)));
    assert!((hits[0].distance + 0.5 * (3.0 / 4.0 + 1.0)).abs() < 1e-5, "{hits:?}");
    assert!((hits[19].distance - 0.5 * (3.0 / 4.0 + 1.0)).abs() < 1e-5, "{hits:?}");
}
