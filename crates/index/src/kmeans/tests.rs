//! Clusters against plain loops in f64, over starts, precisions, threads and shapes.

use kvant_testkit::{Random, clustered};

use super::*;

const DIM: usize = 20;

fn rows(data: &[f32], metric: Metric) -> FloatRows<'_> {
    FloatRows::new(data, DIM, metric)
}

fn data(n: usize, metric: Metric) -> Vec<f32> {
    let mut data = clustered(n, DIM, 3);
    data.chunks_exact_mut(DIM).for_each(|row| metric.prepare(row));
    data
}

fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    match metric {
        Metric::Cosine => 1.0 - pairs().map(|(a, b)| a * b).sum::<f64>(),
        Metric::Euclid | Metric::Dot | Metric::Manhattan => {
            pairs().map(|(a, b)| (a - b).powi(2)).sum()
        }
    }
}

/// Everything that must hold of clusters, whatever the options.
fn check(data: &[f32], metric: Metric, k: usize, options: &KmeansOptions<'_>) -> Clusters {
    let found = kmeans(&rows(data, metric), k, options).unwrap();
    let n = data.len() / DIM;
    assert_eq!((found.centroids.len(), found.assigned.len()), (k * DIM, n));
    let mut sizes = vec![0; k];
    found.assigned.iter().for_each(|&cluster| sizes[cluster as usize] += 1);
    assert_eq!(sizes, found.sizes);
    let centroid = |at: usize| &found.centroids[at * DIM..][..DIM];
    let own = |(row, &at): (&[f32], &u32)| distance(metric, row, centroid(at as usize));
    let sum: f64 = data.chunks_exact(DIM).zip(&found.assigned).map(own).sum();
    assert!((sum - found.inertia).abs() <= 1e-4 * sum + 1e-4 * n as f64, "{sum} {found:?}");
    assert!(found.history.len() <= options.iterations);
    if metric == Metric::Cosine {
        for at in 0..k {
            let length = crate::metric::norm(centroid(at));
            assert!((length - 1.0).abs() < 1e-5 || length == 0.0, "{length}");
        }
    }
    found
}

#[test]
fn every_row_goes_to_a_nearest_centroid() {
    for metric in [Metric::Euclid, Metric::Cosine] {
        let data = data(1500, metric);
        for start in [Start::PlusPlus, Start::Random] {
            for precision in [Precision::Bytes, Precision::Floats] {
                let options = KmeansOptions { start, precision, ..KmeansOptions::default() };
                let found = check(&data, metric, 30, &options);
                let mut least_sum = 0.0;
                for row in data.chunks_exact(DIM) {
                    let all = found.centroids.chunks_exact(DIM);
                    least_sum += all.map(|c| distance(metric, row, c)).fold(f64::MAX, f64::min);
                }
                // Codes of 8 bits choose another only where both are nearly as far.
                let slack = if precision == Precision::Bytes { 0.01 } else { 1e-5 };
                let over = found.inertia - least_sum;
                assert!(over <= slack * least_sum, "{metric} {start:?} {precision:?}: {over}");
                let falls = found.history.windows(2).all(|w| w[1] <= w[0] * (1.0 + slack));
                assert!(falls, "{:?}", found.history);
            }
        }
    }
}

#[test]
fn clusters_that_are_apart_are_found() {
    let mut random = Random::new(5);
    let centres: Vec<f32> = (0..12 * DIM).map(|_| 10.0 * random.normal()).collect();
    let mut data = Vec::new();
    for row in 0..1200 {
        let centre = &centres[row % 12 * DIM..][..DIM];
        data.extend(centre.iter().map(|&x| x + 0.1 * random.normal()));
    }
    let found = check(&data, Metric::Euclid, 12, &KmeansOptions::default());
    assert_eq!(found.sizes, [100; 12]);
    let width = silhouette(&rows(&data, Metric::Euclid), &found, 600, (1, 2));
    assert!(width > 0.95, "{width}");
    // One cluster less joins two of them; one more splits one: both are worse.
    for k in [11, 13] {
        let other = check(&data, Metric::Euclid, k, &KmeansOptions::default());
        let less = silhouette(&rows(&data, Metric::Euclid), &other, 600, (1, 1));
        assert!(less < width, "{k}: {less}");
    }
}

#[test]
fn one_seed_gives_the_same_clusters_for_any_number_of_threads() {
    let data = data(2000, Metric::Euclid);
    for (batch, balance) in [(None, None), (Some(300), None), (None, Some(1.2))] {
        let run = |seed, threads| {
            let options = KmeansOptions {
                seed,
                threads,
                batch,
                balance,
                iterations: 6,
                ..KmeansOptions::default()
            };
            check(&data, Metric::Euclid, 40, &options)
        };
        let one = run(1, 1);
        for threads in [0, 2, 3] {
            assert_eq!(run(1, threads), one);
        }
        assert_ne!(run(2, 1).centroids, one.centroids);
    }
}

/// The way with candidates in rounds is for large products of rows and clusters.
#[test]
fn oversampled_starts_are_as_good() {
    let data = data(4000, Metric::Euclid);
    let rows = rows(&data, Metric::Euclid);
    let points = Points::new(&rows, &KmeansOptions::default());
    let spread_of = |rows: &[u32]| {
        let query = |row: &[f32]| {
            let all = rows.iter().map(|&at| distance(Metric::Euclid, row, points.row(at as usize)));
            all.fold(f64::MAX, f64::min)
        };
        data.chunks_exact(DIM).map(query).sum::<f64>()
    };
    let mut sums = [0.0; 3];
    for seed in 0..5 {
        let draw = &mut Draw::new(seed);
        let rounds = start::oversampled(&points, 50, draw);
        let plain = start::plus_plus(&data, &vec![1.0; 4000], (DIM, 50), draw);
        for (sum, rows) in sums.iter_mut().zip([rounds, plain, draw.some(50, 4000)]) {
            let mut rows = rows;
            *sum += spread_of(&rows);
            rows.sort_unstable();
            rows.dedup();
            assert_eq!(rows.len(), 50, "no row twice");
        }
    }
    assert!(sums[0] < 1.1 * sums[1] && sums[0] < sums[2], "{sums:?}");
}

#[test]
fn batches_come_close_to_all_rows() {
    let data = data(6000, Metric::Euclid);
    let all = check(&data, Metric::Euclid, 40, &KmeansOptions::default());
    let options = KmeansOptions { batch: Some(1000), ..KmeansOptions::default() };
    let some = check(&data, Metric::Euclid, 40, &options);
    assert!(some.inertia < 1.1 * all.inertia, "{} {}", some.inertia, all.inertia);
}

#[test]
fn balanced_clusters_keep_their_bound() {
    for metric in [Metric::Euclid, Metric::Cosine] {
        let mut data = data(3001, metric);
        // A third of the rows are one row.
        let same = data[..DIM].to_vec();
        data.chunks_exact_mut(DIM).step_by(3).for_each(|row| row.copy_from_slice(&same));
        for most in [1.0, 1.3, 2.0] {
            let options = KmeansOptions { balance: Some(most), ..KmeansOptions::default() };
            let found = check(&data, metric, 50, &options);
            let bound = ((3001.0 * most / 50.0) as u32).max(61);
            assert!(found.sizes.iter().all(|&size| size <= bound), "{most}: {:?}", found.sizes);
        }
    }
}

#[test]
fn doubles_and_few_rows_are_clustered() {
    for metric in [Metric::Euclid, Metric::Cosine] {
        for (n, k) in [(1, 1), (2, 2), (5, 5), (5, 3), (64, 64), (130, 129)] {
            let data = data(n, metric);
            for start in [Start::PlusPlus, Start::Random] {
                let options = KmeansOptions { start, ..KmeansOptions::default() };
                let found = check(&data, metric, k, &options);
                assert!(n != k || found.sizes.iter().all(|&size| size == 1), "{n} {k}");
            }
        }
        for value in [0.0, 0.25, -1e-30, 1e15] {
            let equal = vec![value; 300 * DIM];
            let found = kmeans(&rows(&equal, metric), 7, &KmeansOptions::default()).unwrap();
            assert_eq!(found.sizes.iter().sum::<u32>(), 300);
            assert!(found.centroids.iter().all(|x| x.is_finite()), "{metric} {value}");
        }
    }
}

#[test]
fn it_tells_how_far_it_is_and_stops_when_told() {
    let data = data(500, Metric::Euclid);
    let seen = std::sync::Mutex::new(Vec::new());
    let watch = |step: &Iteration| {
        seen.lock().unwrap().push(*step);
        if step.done == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = KmeansOptions { watch: Some(&watch), ..KmeansOptions::default() };
    let error = kmeans(&rows(&data, Metric::Euclid), 10, &options).unwrap_err();
    assert_eq!(error, KmeansError::Cancelled(3));
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.iter().map(|step| step.done).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(seen.iter().all(|step| step.of == 25 && step.inertia > 0.0));
    let options = KmeansOptions { tolerance: 0.05, ..KmeansOptions::default() };
    let early = kmeans(&rows(&data, Metric::Euclid), 10, &options).unwrap();
    assert!(early.history.len() < 25);
}

#[test]
fn what_cannot_be_clustered_is_refused() {
    let mut data = data(50, Metric::Euclid);
    let plain = KmeansOptions::default();
    let refused = |data: &[f32], metric, k, options: &KmeansOptions<'_>| {
        kmeans(&rows(data, metric), k, options).unwrap_err().to_string()
    };
    for k in [0, 51, usize::MAX] {
        let error = refused(&data, Metric::Euclid, k, &plain);
        assert!(error.contains("ask for 1 to 50"), "{error}");
    }
    for metric in [Metric::Dot, Metric::Manhattan] {
        assert!(refused(&data, metric, 3, &plain).contains("use euclid or cosine"));
    }
    for balance in [0.5, f64::NAN, -1.0] {
        let options = KmeansOptions { balance: Some(balance), ..plain };
        assert!(refused(&data, Metric::Euclid, 3, &options).contains("1 or more"));
    }
    let options = KmeansOptions { batch: Some(0), ..plain };
    assert!(refused(&data, Metric::Euclid, 3, &options).contains("batch is 0"));
    data[DIM + 1] = f32::NAN;
    assert!(refused(&data, Metric::Euclid, 3, &plain).contains("row 1, value 1"));
}
