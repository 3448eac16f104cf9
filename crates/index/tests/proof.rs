//! Exact search by bounds, one query at a time and in batches, against brute force in f64.

use kvant_index::{
    Account, Bitmap, BoundRows, BuildOptions, Certainty, Flat, FloatRows, Index, Metric, Packing,
    ProvenRows, Row, Rows, SearchOptions,
};
use kvant_testkit::{Random, clustered};

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::Euclid];

/// The distance in f64 and what f64 itself may be off by.
fn distance(metric: Metric, query: &[f32], row: &[f32]) -> (f64, f64) {
    let pairs = || query.iter().zip(row).map(|(&q, &x)| (f64::from(q), f64::from(x)));
    let (value, size) = if metric == Metric::Euclid {
        let sum = pairs().map(|(q, x)| (q - x) * (q - x)).sum();
        (sum, sum)
    } else {
        (-pairs().map(|(q, x)| q * x).sum::<f64>(), pairs().map(|(q, x)| (q * x).abs()).sum())
    };
    (value, 1e-12 * size)
}

/// Whether `hits` are the nearest allowed rows: none that was left out is closer than one that was
/// not, by more than f64 can tell; of exactly equal ones the first rows are kept.
fn check(
    rows: &FloatRows<'_>,
    query: &[f32],
    options: &SearchOptions<'_>,
    hits: &[Row],
    name: &str,
) {
    let allowed = |row: &Row| options.allowed.is_none_or(|set| set.contains(*row));
    let all: Vec<Row> = (0..rows.len() as u32).map(Row).filter(allowed).collect();
    assert_eq!(hits.len(), options.k.min(all.len()), "{name}");
    let measure = |row: &Row| distance(rows.metric(), query, rows.vector(*row));
    let worst = hits.iter().map(measure).fold(f64::NEG_INFINITY, |w, (d, e)| w.max(d - e));
    for row in all.iter().filter(|row| !hits.contains(row)) {
        let (value, off) = measure(row);
        assert!(value + off >= worst, "{name}: {row} at {value} was left out, {worst} was not");
    }
    let order: Vec<(f64, Row)> = hits.iter().map(|row| (measure(row).0, *row)).collect();
    for pair in order.windows(2) {
        let off = measure(&pair[0].1).1 + measure(&pair[1].1).1;
        assert!(pair[0].0 <= pair[1].0 + off, "{name}: out of order");
        let same = rows.vector(pair[0].1) == rows.vector(pair[1].1);
        assert!(!same || pair[0].1 < pair[1].1, "{name}: equal rows out of order");
    }
}

/// One by one and in a batch, over both codes, with and without a filter.
fn check_all(data: &[f32], queries: &[f32], dim: usize, name: &str) {
    for metric in METRICS {
        let rows = FloatRows::new(data, dim, metric);
        let n = rows.len();
        let mut allowed = Bitmap::full(n);
        for row in (0..n as u32).step_by(3) {
            allowed.remove(Row(row));
        }
        for packing in [Packing::Two, Packing::Four] {
            let bounds = BoundRows::encode(&rows, packing);
            let bounds = bounds.unwrap_or_else(|error| unreachable!("{name}: {error}"));
            let proven = ProvenRows::new(bounds, FloatRows::new(data, dim, metric));
            for k in [1, 10, n / 2, n + 1] {
                for allowed in [None, Some(&allowed)] {
                    let options = SearchOptions { k, allowed, ..SearchOptions::default() };
                    let name = format!("{name}, {metric}, {packing:?}, k {k}");
                    let one = |query: &[f32]| {
                        let hits = Flat::new(n).search(&proven, query, &options);
                        let found: Vec<Row> = hits.iter().map(|hit| hit.row).collect();
                        check(&rows, query, &options, &found, &name);
                        hits
                    };
                    let single: Vec<_> = queries.chunks_exact(dim).map(one).collect();
                    let all: Vec<&[f32]> = queries.chunks_exact(dim).collect();
                    let batch = proven.nearest_all(&all, &options, &Account::new(&options.budget));
                    assert!(batch.is_none_or(|batch| batch == single), "{name}: a batch");
                }
            }
        }
    }
}

#[test]
fn clusters_are_searched_exactly() {
    for dim in [1, 3, 64, 100] {
        let data = clustered(620, dim, 31);
        let (rows, queries) = data.split_at(600 * dim);
        check_all(rows, queries, dim, &format!("clusters of {dim}"));
    }
}

#[test]
fn whole_numbers_tie_exactly() {
    let mut random = Random::new(32);
    let dim = 20;
    let mut draw =
        |n: usize| -> Vec<f32> { (0..n * dim).map(|_| random.below(3) as f32).collect() };
    let (rows, queries) = (draw(500), draw(10));
    check_all(&rows, &queries, dim, "whole numbers");
    // Nothing but doubles of few rows.
    let mut rows = rows;
    for row in 0..500 {
        rows.copy_within((row % 7) * dim..(row % 7 + 1) * dim, row * dim);
    }
    check_all(&rows, &queries, dim, "doubles");
}

#[test]
fn huge_small_and_mixed_magnitudes_are_searched_exactly() {
    let mut random = Random::new(33);
    let dim = 33;
    for scales in
        [[1e18f32, 1e18], [1e-18, 1e-18], [1e-40, 1e-38], [1e-20, 1e20], [0.0, 1.0], [1e30, 3e37]]
    {
        let mut draw = |n: usize| -> Vec<f32> {
            (0..n)
                .flat_map(|_| {
                    let scale = scales[random.below(2)];
                    random.normals(dim).into_iter().map(move |x| x * scale).collect::<Vec<_>>()
                })
                .collect()
        };
        let (rows, queries) = (draw(300), draw(9));
        check_all(&rows, &queries, dim, &format!("scales {scales:?}"));
    }
}

/// Rows that differ from one another by the last bits: codes tell nothing.
#[test]
fn rows_within_a_rounding_of_one_another_are_searched_exactly() {
    let mut random = Random::new(34);
    let dim = 48;
    let middle = random.normals(dim);
    let mut draw = |n: usize| -> Vec<f32> {
        (0..n * dim)
            .map(|at| {
                let x = middle[at % dim];
                f32::from_bits(x.to_bits() + random.below(3) as u32)
            })
            .collect()
    };
    let (rows, queries) = (draw(300), draw(9));
    check_all(&rows, &queries, dim, "within a rounding");
}

/// One large value hides the rest of a row from a uniform code.
#[test]
fn outliers_are_searched_exactly() {
    let mut random = Random::new(35);
    let dim = 64;
    let mut draw = |n: usize| -> Vec<f32> {
        let mut data = random.normals(n * dim);
        data.chunks_exact_mut(dim).for_each(|row| row[random.below(4)] *= 1000.0);
        data
    };
    let (rows, queries) = (draw(400), draw(10));
    check_all(&rows, &queries, dim, "outliers");
}

/// A batch over rows of f32 gives what one query after the other gives, bit for bit.
#[test]
fn batches_of_floats_are_their_queries() {
    for metric in Metric::ALL {
        for dim in [1, 5, 96] {
            let mut data = clustered(1140, dim, 36);
            data.chunks_exact_mut(dim).for_each(|row| metric.prepare(row));
            let (rows, queries) = data.split_at(1000 * dim);
            let rows = FloatRows::new(rows, dim, metric);
            let index = Index::build(&"flat".parse().unwrap(), rows, &BuildOptions::default());
            let index = index.unwrap();
            for k in [1, 10, 100] {
                let options = SearchOptions { k, ..SearchOptions::default() };
                let one = |query| index.search(query, &options).unwrap();
                let single: Vec<_> = queries.chunks_exact(dim).map(one).collect();
                assert!(single.iter().all(|found| found.certainty == Certainty::Exact));
                for threads in [1, 3] {
                    let batch = index.search_batch(queries, &options, threads).unwrap();
                    assert!(batch == single, "{metric} {dim} {k} {threads}");
                }
            }
        }
    }
}
