//! Codes: what they stand for, and that scans and single rows agree.

use kvant_testkit::clustered;

use super::*;
use crate::SearchOptions;

fn options(parts: usize) -> PqOptions {
    PqOptions { parts, axes: Axes::Own, training: 2000, seed: 1, threads: 2 }
}

#[test]
fn scans_and_single_rows_agree_at_every_place() {
    for (n, dim, parts) in [(1, 5, 3), (31, 8, 8), (32, 8, 0), (33, 16, 5), (300, 24, 0)] {
        let data = clustered(n, dim, 3);
        for metric in Metric::ALL {
            let rows = FloatRows::new(&data, dim, metric);
            let coded = PqRows::encode(&rows, None, &options(parts)).unwrap();
            let mut scorer = coded.scorer(&data[..dim]);
            let all: Vec<Row> = (0..n as u32).map(Row).collect();
            let mut out = vec![0.0; n];
            scorer.score(&all, &mut out);
            for (from, to) in [(0, n), (0, 1), (n / 3, n - n / 4), (n / 2, n / 2)] {
                for reach in [f32::INFINITY, out[n / 2], out[0], f32::NEG_INFINITY] {
                    let mut found = Vec::new();
                    scorer.scan(from as u32..to as u32, reach, &mut found);
                    let near = (from..to).filter(|&at| out[at] <= reach);
                    let expected: Vec<Hit> =
                        near.map(|at| Hit { row: Row(at as u32), distance: out[at] }).collect();
                    assert_eq!(found, expected, "{metric} {n} {from} {to} {reach}");
                }
            }
        }
    }
}

/// Distances are those of what codes stand for, but for the rounding of tables.
#[test]
fn distances_are_those_of_decoded_rows() {
    let (n, dim) = (400, 48);
    let data = clustered(n, dim, 4);
    for metric in Metric::ALL {
        let rows = FloatRows::new(&data, dim, metric);
        let coded = PqRows::encode(&rows, None, &options(0)).unwrap();
        let decoded: Vec<f32> = (0..n as u32).flat_map(|row| coded.decode(row)).collect();
        let plain = FloatRows::new(&decoded, dim, metric);
        let all: Vec<Row> = (0..n as u32).map(Row).collect();
        let (mut got, mut expected) = (vec![0.0; n], vec![0.0; n]);
        coded.scorer(&data[..dim]).score(&all, &mut got);
        plain.scorer(&data[..dim]).score(&all, &mut expected);
        let size = expected.iter().fold(0.0f32, |size, d| size.max(d.abs()));
        for (got, expected) in got.iter().zip(&expected) {
            assert!((got - expected).abs() < 0.02 * size, "{metric} {got} {expected}");
        }
        // Between rows, both ways are the same, to the bit.
        let mut there = [0.0];
        for row in [1, 77, 399] {
            coded.scorer_of(Row(0)).score(&[Row(row)], &mut got[..1]);
            coded.scorer_of(Row(row)).score(&[Row(0)], &mut there);
            assert_eq!(got[0], there[0], "{metric} {row}");
        }
    }
}

/// The error falls with parts, and rows of few values lose nothing.
#[test]
fn more_parts_lose_less() {
    let (n, dim) = (1000, 32);
    let data = clustered(n, dim, 5);
    let rows = FloatRows::new(&data, dim, Metric::Euclid);
    let loss = |parts: usize| {
        let coded = PqRows::encode(&rows, None, &options(parts)).unwrap();
        let decoded = (0..n as u32).flat_map(|row| coded.decode(row));
        decoded.zip(&data).map(|(d, &x)| f64::from(d - x).powi(2)).sum::<f64>()
    };
    let losses = [2, 4, 8, 16, 32].map(loss);
    assert!(losses.windows(2).all(|w| w[1] < w[0]), "{losses:?}");
    let few: Vec<f32> = (0..n * dim).map(|at| (at % 16) as f32).collect();
    let rows = FloatRows::new(&few, dim, Metric::Euclid);
    let coded = PqRows::encode(&rows, None, &options(dim)).unwrap();
    assert_eq!(coded.decode(7), few[7 * dim..8 * dim]);
    let hits = crate::Flat::new(n).search(&coded, &few[..dim], &SearchOptions::default());
    assert_eq!(hits.len(), 10);
}

/// Learnt axes lose less where dimensions go together, whatever their order, keep distances, and
/// are the same on any number of threads.
#[test]
fn learnt_axes_lose_less() {
    let (n, dim, parts) = (1500, 32, 8);
    let mixed = kvant_testkit::Random::new(9).normals(6 * dim);
    let few = clustered(n, 6, 8);
    let mut data = vec![0.0; n * dim];
    for (row, few) in data.chunks_exact_mut(dim).zip(few.chunks_exact(6)) {
        for (at, x) in row.iter_mut().enumerate() {
            *x = few.iter().enumerate().map(|(from, v)| v * mixed[from * dim + at]).sum();
        }
    }
    for metric in [Metric::Cosine, Metric::Dot, Metric::Euclid] {
        let rows = FloatRows::new(&data, dim, metric);
        let (own, learnt) = (options(parts), PqOptions { axes: Axes::Learnt, ..options(parts) });
        let [own, learnt, again] = [own, learnt, PqOptions { threads: 1, ..learnt }]
            .map(|options| PqRows::encode(&rows, None, &options).unwrap());
        assert_eq!(learnt.to_bytes(), again.to_bytes());
        assert_eq!((own.axes(), learnt.axes()), (Axes::Own, Axes::Learnt));
        let loss = |coded: &PqRows| -> f64 {
            let rows = data.chunks_exact(dim).zip(0..);
            let gap = |(row, at): (&[f32], u32)| -> f64 {
                let turned = coded.turned(row).unwrap_or_else(|| row.to_vec());
                let pairs = turned.iter().zip(coded.decode(at));
                pairs.map(|(x, y)| f64::from(x - y).powi(2)).sum()
            };
            rows.map(gap).sum()
        };
        let (own_loss, less) = (loss(&own), loss(&learnt));
        assert!(less < 0.7 * own_loss, "{metric}: {less} of {own_loss}");
        let turned = learnt.turned(&data[..dim]).unwrap();
        let gap = norm(&turned) - norm(&data[..dim]);
        assert!(gap.abs() < 1e-5 * norm(&turned), "{metric}: {gap}");
        let open = PqRows::open(learnt.to_bytes(), n).unwrap();
        let options = SearchOptions::default();
        let hits = crate::Flat::new(n).search(&open, &data[..dim], &options);
        assert_eq!(hits, crate::Flat::new(n).search(&learnt, &data[..dim], &options));
    }
    let rows = FloatRows::new(&data, dim, Metric::Manhattan);
    let learnt = PqOptions { axes: Axes::Learnt, ..options(parts) };
    assert!(PqRows::encode(&rows, None, &learnt).is_err());
    let wide = vec![0.5; crate::AXES_MAX + 1];
    let rows = FloatRows::new(&wide, wide.len(), Metric::Euclid);
    let error = PqRows::encode(&rows, None, &learnt).unwrap_err();
    assert_eq!(error, CodeError::Dimension { got: wide.len(), most: crate::AXES_MAX });
}

#[test]
fn more_parts_than_dimensions_are_refused() {
    let data = clustered(10, 6, 6);
    let rows = FloatRows::new(&data, 6, Metric::Euclid);
    let error = PqRows::encode(&rows, None, &options(7)).unwrap_err();
    assert!(error.to_string().contains("use 6 or fewer"), "{error}");
}
